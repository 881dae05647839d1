//! Names the built eBPF object to the build script of ctpulse, and the kernel's architecture to the
//! programs where they are built.

use std::env;
use std::path::PathBuf;

/// The architecture whose registers the programs read: aya's own variable.
const BPF_ARCHITECTURE: &str = "AYA_BPF_TARGET_ARCH";

fn main() {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let object = object_for(&env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default());
    println!("cargo::rerun-if-changed={object}");
    println!("cargo::metadata=object={}", package.join(object).display());

    println!("cargo::rerun-if-env-changed={BPF_ARCHITECTURE}");
    println!("cargo::rustc-check-cfg=cfg(bpf_target_arch, values(any()))");
    if let Ok(architecture) = env::var(BPF_ARCHITECTURE) {
        println!("cargo::rustc-cfg=bpf_target_arch=\"{architecture}\"");
    }
}

/// The object in this package whose programs run in a kernel of an architecture. A program for another
/// one never loads the object that it has.
fn object_for(architecture: &str) -> &'static str {
    match architecture {
        "aarch64" => "object/conntrack.aarch64.bpf.o",
        _ => "object/conntrack.x86_64.bpf.o",
    }
}
