//! Names the built eBPF object to the build script of ctpulse.

use std::env;
use std::path::PathBuf;

/// The object, in this package.
const OBJECT: &str = "object/conntrack.bpf.o";

fn main() {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    println!("cargo::rerun-if-changed={OBJECT}");
    println!("cargo::metadata=object={}", package.join(OBJECT).display());
}
