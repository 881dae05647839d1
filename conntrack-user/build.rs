//! Tells the compiler what `ctpulse --version` says beyond the package's version: the commit, and
//! the digest of the eBPF object that is built in.
//!
//! No date and no path is in it, so the same sources give the same binary. Sources without a
//! checkout (an archive) build as well; the commit is then empty.

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

/// The sources of the binary, below the workspace's root: a change elsewhere is not in it.
const SOURCES: [&str; 4] = ["conntrack-user", "conntrack-ebpf", "Cargo.toml", "Cargo.lock"];

/// The variable in which the build script of conntrack-ebpf names the object.
const OBJECT: &str = "DEP_CONNTRACK_EBPF_OBJECT";

fn main() {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let root = package.parent().unwrap_or(&package);
    // Where the package stands alone, there is only itself.
    println!("cargo::rerun-if-changed={}", package.display());
    for source in SOURCES.map(|source| root.join(source)).iter().filter(|path| path.exists()) {
        println!("cargo::rerun-if-changed={}", source.display());
    }
    println!("cargo::rustc-env=CTPULSE_COMMIT={}", commit(root).unwrap_or_default());
    println!("cargo::rustc-env=CTPULSE_TARGET={}", env::var("TARGET").unwrap_or_default());
    let object = PathBuf::from(env::var_os(OBJECT).unwrap_or_default());
    println!("cargo::rerun-if-changed={}", object.display());
    println!("cargo::rustc-env=CTPULSE_OBJECT_FILE={}", object.display());
    match fs::read(&object) {
        Ok(object) => println!("cargo::rustc-env=CTPULSE_OBJECT={}", digest(&object)),
        Err(error) => println!("cargo::error={} cannot be read: {error}", object.display()),
    }
}

/// The commit of the checkout at `root`, with `-dirty` behind it when the sources are not the
/// commit's; `None` outside of a checkout, and inside of somebody else's.
pub(crate) fn commit(root: &Path) -> Option<String> {
    let top = PathBuf::from(git(root, &["rev-parse", "--show-toplevel"])?);
    if top.canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    for state in ["HEAD", "logs/HEAD"] {
        let path = root.join(git(root, &["rev-parse", "--git-path", state])?);
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    let mut commit = git(root, &["rev-parse", "HEAD"])?;
    let status = [&["--no-optional-locks", "status", "--porcelain", "--"], &SOURCES[..]].concat();
    if !git(root, &status)?.is_empty() {
        commit.push_str("-dirty");
    }
    Some(commit)
}

/// Returns the output of git; `None` without git, or where it refuses.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_owned())
}

/// SHA-256 in hexadecimal.
fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // a String takes everything
        text
    })
}
