//! The toolchain of the eBPF objects, and the build.
//!
//! The compiler is Debian's, because its sources are needed to build `core` for the kernel. The linker
//! is bpf-linker, built against Debian's LLVM into `.cache/bpf-linker`. This module sets everything that
//! could influence the bytes of the object: profile, flags and architecture do not depend on the
//! caller's environment, and paths are replaced, so that every checkout builds the same object.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde::Deserialize;

use super::manifest::Versions;
use crate::architecture::Architecture;
use crate::tools;
use crate::workspace::{self, run_checked, shown};

/// Debian's packages with the compiler, `core` and what bpf-linker is built with. `LLVM` and
/// `LINKER_FEATURE` go with them: rustc-web's LLVM must not be newer than the linker's.
const PACKAGES: [&str; 8] = [
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    "llvm-22",
    "llvm-22-dev",
    "libpolly-22-dev",
    "libzstd-dev",
    "clang",
];
const LLVM: &str = "/usr/lib/llvm-22";
const LINKER_FEATURE: &str = "llvm-22";
const LINKER_PREFIXES: [&str; 2] = ["LLVM_PREFIX", "LLVM_SYS_221_PREFIX"];
const LINKER_VERSION: &str = "0.13.0";

const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";
const PACKAGE: &str = "conntrack-ebpf";
const TARGET: &str = "bpfel-unknown-none";

/// Environment variables that influence a build; none of them is passed on.
const FOREIGN: [&str; 7] = [
    "RUSTC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
    "CARGO_BUILD_",
    "CARGO_ENCODED_",
    "CARGO_PROFILE_",
    "CARGO_TARGET_",
];

/// The profile, which does not depend on that of the workspace.
const PROFILE: [(&str, &str); 9] = [
    ("OPT_LEVEL", "3"),
    ("DEBUG", "2"), // bpf-linker makes BTF of it; the rest is stripped below
    ("STRIP", "none"),
    ("LTO", "thin"),
    ("CODEGEN_UNITS", "1"),
    ("PANIC", "abort"),
    ("DEBUG_ASSERTIONS", "false"),
    ("OVERFLOW_CHECKS", "false"),
    ("INCREMENTAL", "false"),
];

/// Installs the requirements of a build, and returns why it is impossible here, if it is.
///
/// # Errors
/// When an installation was tried and failed.
pub(crate) fn obstacle() -> anyhow::Result<Option<String>> {
    tools::provide_packages(&PACKAGES, "they build the eBPF object")
}

/// All that it takes.
#[derive(Debug)]
pub(crate) struct Toolchain {
    cache: PathBuf,
    linker: PathBuf,
    /// The versions of it.
    pub(crate) versions: Versions,
}

impl Toolchain {
    /// Reads the installed versions, and builds the linker if `cache` has none of this version.
    ///
    /// # Errors
    /// When something does not run, or compiler and linker do not go together.
    pub(crate) fn new(cache: &Path) -> anyhow::Result<Self> {
        let rustc = run_checked(clean(RUSTC).arg("-vV"))?;
        let line = rustc.lines().next().unwrap_or_default().to_owned();
        let theirs = rustc.lines().find_map(|line| line.strip_prefix("LLVM version: "));
        let theirs = theirs.context("rustc prints no LLVM version")?;
        let llvm = run_checked(Command::new(format!("{LLVM}/bin/llvm-config")).arg("--version"))?;
        let llvm = llvm.trim().to_owned();
        if major(theirs) > major(&llvm) {
            bail!(
                "{line} is of LLVM {theirs}, newer than the linker's {llvm}: xtask's toolchain.rs \
                 has to name the newer packages and a bpf-linker that knows them"
            );
        }
        let linker = cache.join("bpf-linker").join(format!("{LINKER_VERSION}-llvm-{llvm}"));
        if !linker.join("bin/bpf-linker").is_file() {
            install_linker(&linker)?;
        }
        let linker = linker.join("bin");
        let bpf_linker = run_checked(Command::new(linker.join("bpf-linker")).arg("--version"))?;
        let bpf_linker = bpf_linker.split_whitespace().last().unwrap_or_default().to_owned();
        let versions = Versions { rustc: line, bpf_linker, llvm };
        Ok(Self { cache: cache.to_owned(), linker, versions })
    }

    /// Builds the object for kernels of an architecture out of the checkout's sources; its bytes.
    ///
    /// # Errors
    /// When the build fails, or a path of this machine is left in the object.
    pub(crate) fn build(&self, architecture: Architecture) -> anyhow::Result<Vec<u8>> {
        let (root, target) = (workspace::root(), self.cache.join("ebpf-target"));
        // Freshness is a matter of times to cargo, and here everything depends on it.
        let mut forget = self.cargo("clean", &target);
        run_checked(forget.args(["--quiet", "--release", "--package", PACKAGE]))?;

        let sysroot = run_checked(clean(RUSTC).args(["--print", "sysroot"]))?;
        let core = Path::new(sysroot.trim()).join("lib/rustlib/src/rust");
        // Where several apply, the compiler takes the last.
        let mut paths = vec![(root.clone(), "."), (target.clone(), "target")];
        paths.extend(self.crate_directories(&target)?.into_iter().map(|path| (path, "crates")));
        paths.push((core, "rust"));

        let mut flags = OsString::from("-Clink-arg=--btf");
        for (path, name) in &paths {
            flags.push("\u{1f}--remap-path-prefix=");
            flags.push(path);
            flags.push(format!("={name}"));
        }
        let mut build = self.cargo("build", &target);
        build.args(["--release", "--locked", "-Z", "build-std=core", "--package", PACKAGE]);
        build.args(["--features", "programs", "--bin", PACKAGE]);
        build.env("CARGO_ENCODED_RUSTFLAGS", flags);
        // The registers that hold a probed function's arguments are this architecture's.
        build.env("AYA_BPF_TARGET_ARCH", architecture.name());
        eprintln!("xtask: {}", shown(&build));
        run_checked(build.stderr(Stdio::inherit()))?;

        let linked = target.join(TARGET).join("release").join(PACKAGE);
        let stripped = target.join("conntrack.bpf.o");
        let mut strip = Command::new(format!("{LLVM}/bin/llvm-objcopy"));
        run_checked(strip.arg("--strip-debug").args([&linked, &stripped]))?;
        let object =
            fs::read(&stripped).with_context(|| format!("cannot read {}", stripped.display()))?;

        let mut paths: Vec<_> = paths.into_iter().map(|(path, _)| path).collect();
        paths.extend(std::env::home_dir());
        if let Some(path) = paths.iter().find(|path| mentions(&object, path)) {
            bail!("the object must be the same from everywhere, but {} is in it", path.display());
        }
        Ok(object)
    }

    /// Where the sources of the crates lie that are part of the object.
    fn crate_directories(&self, target: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
        #[derive(Deserialize)]
        struct Metadata {
            packages: Vec<Package>,
        }
        #[derive(Deserialize)]
        struct Package {
            name: String,
            source: Option<String>,
            manifest_path: PathBuf,
        }
        let mut metadata = self.cargo("metadata", target);
        metadata.args(["--quiet", "--locked", "--format-version", "1", "--all-features"]);
        let metadata: Metadata = serde_json::from_str(&run_checked(&mut metadata)?)
            .context("the output of cargo metadata has an unknown form")?;
        let ours = metadata.packages.into_iter().filter(|package| package.source.is_some());
        let ours: BTreeSet<_> = ours
            .filter(|package| package.name.starts_with("aya-ebpf"))
            .filter_map(|package| Some(package.manifest_path.parent()?.parent()?.to_owned()))
            .collect();
        if ours.is_empty() {
            bail!("cargo metadata has no package aya-ebpf");
        }
        Ok(ours)
    }

    /// Debian's cargo in the workspace, for a subcommand that has a target directory.
    fn cargo(&self, subcommand: &str, target: &Path) -> Command {
        let mut cargo = clean(CARGO);
        cargo.current_dir(workspace::root()).arg(subcommand);
        if subcommand != "metadata" {
            cargo.args(["--target", TARGET, "--target-dir"]).arg(target);
        }
        let mut path = self.linker.clone().into_os_string();
        path.push(":/usr/bin:/bin");
        cargo.env("PATH", path);
        cargo.env("RUSTC", RUSTC);
        cargo.env("RUSTC_BOOTSTRAP", "1"); // build-std is not stable yet
        for (name, value) in PROFILE {
            cargo.env(format!("CARGO_PROFILE_RELEASE_{name}"), value);
        }
        cargo
    }
}

/// A command without the environment variables about builds and without the libraries of the
/// toolchain that started this program.
fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let bytes = name.as_bytes();
        if name == "LD_LIBRARY_PATH" || FOREIGN.iter().any(|it| bytes.starts_with(it.as_bytes())) {
            command.env_remove(name);
        }
    }
    command
}

/// Builds bpf-linker with the workspace's own toolchain.
fn install_linker(place: &Path) -> anyhow::Result<()> {
    eprintln!("xtask: installing bpf-linker {LINKER_VERSION}: it links the eBPF object");
    let mut cargo = workspace::cargo();
    cargo.args(["install", "bpf-linker", "--version", LINKER_VERSION, "--locked"]);
    cargo.args(["--no-default-features", "--features", LINKER_FEATURE, "--root"]).arg(place);
    cargo.env_remove("CARGO_TARGET_DIR").env_remove("CARGO_BUILD_TARGET");
    for name in LINKER_PREFIXES {
        cargo.env(name, LLVM);
    }
    eprintln!("xtask: {}", shown(&cargo));
    run_checked(cargo.stdout(Stdio::null()).stderr(Stdio::inherit()))?;
    Ok(())
}

/// The first number of a version.
fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

/// Returns whether the text of `path` is in `object`. A root directory is not checked.
fn mentions(object: &[u8], path: &Path) -> bool {
    let path = path.as_os_str().as_bytes();
    path.len() > 1 && object.windows(path.len()).any(|window| window == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_in_an_object() {
        let object = b"\x7fELF\0/home/me/checkout/src/main.rs\0";
        assert!(mentions(object, Path::new("/home/me")));
        assert!(!mentions(object, Path::new("/home/you")));
        assert!(!mentions(object, Path::new("/")));
        assert!(!mentions(b"", Path::new("/home")));
    }

    #[test]
    fn versions_are_compared_by_their_first_number() {
        assert_eq!(major("22.1.8"), Some(22));
        assert!(major("23.0.0") > major("22.1.8"));
        assert_eq!(major("x"), None);
    }
}
