//! `cargo xtask build-ebpf` and `check-ebpf`: build and verify the committed eBPF object.
//!
//! Users build with stable Rust alone, since the object is committed in `conntrack-ebpf/object`.
//! `manifest` records its sources and toolchain, `toolchain` builds it, and `compare` checks whether
//! two objects are equal for the kernel. The check has two parts: the digests, which need no tools,
//! and a rebuild, where the toolchain can be installed.

mod compare;
pub(crate) mod manifest;
mod toolchain;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use self::manifest::{Manifest, Sources, Versions};
use self::toolchain::Toolchain;
use crate::workspace;

const OBJECT: &str = "conntrack.bpf.o";
const MANIFEST: &str = "manifest.toml";
const REMEDY: &str = "run `cargo xtask build-ebpf`";

/// Where object and manifest are committed.
fn directory() -> PathBuf {
    workspace::root().join("conntrack-ebpf/object")
}

/// Builds the object and writes it and its manifest.
///
/// # Errors
/// When the toolchain cannot be had or the build fails.
pub(crate) fn build() -> anyhow::Result<ExitCode> {
    if let Some(reason) = toolchain::obstacle()? {
        bail!("the eBPF object cannot be built here: {reason}");
    }
    let (object, sources, toolchain) = built()?;
    let manifest = Manifest {
        object: manifest::digest(&object),
        sources: sources.digest,
        toolchain,
        crates: sources.crates,
    };
    let directory = directory();
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let changed = write(&directory.join(OBJECT), &object)?;
    write(&directory.join(MANIFEST), manifest.to_text()?.as_bytes())?;
    let is = if changed { "new" } else { "the same as before" };
    println!("conntrack-ebpf/object: {} bytes, {is}", object.len());
    Ok(ExitCode::SUCCESS)
}

/// Proves that the committed object is the sources', as far as that can be done here.
///
/// # Errors
/// When it is not, or the build fails.
pub(crate) fn check() -> anyhow::Result<ExitCode> {
    let (manifest, committed) = check_digests()?;
    if let Some(reason) = toolchain::obstacle()? {
        eprintln!(
            "xtask: NOT RUN HERE: a rebuild of the eBPF object (cargo xtask check-ebpf): {reason}"
        );
        return Ok(ExitCode::SUCCESS);
    }
    let (object, _, versions) = built()?;
    println!("{}", verdict(&manifest.toolchain, &versions, &committed, &object)?);
    Ok(ExitCode::SUCCESS)
}

/// The part of the check that takes no tools: sources, manifest and object belong together.
/// Returns the latter two.
///
/// # Errors
/// When they do not.
pub(crate) fn check_digests() -> anyhow::Result<(Manifest, Vec<u8>)> {
    let path = directory().join(OBJECT);
    let object = fs::read(&path).with_context(|| format!("no {}: {REMEDY}", path.display()))?;
    let manifest = Manifest::read(&directory().join(MANIFEST)).context(REMEDY)?;
    if let Some(reason) = manifest.disagreement(&object, &Sources::read(&workspace::root())?) {
        bail!("{reason}: {REMEDY}");
    }
    println!("the eBPF object and its sources match the manifest");
    Ok((manifest, object))
}

/// Builds; the object, the sources that it is of, and the versions of what built it.
fn built() -> anyhow::Result<(Vec<u8>, Sources, Versions)> {
    let root = workspace::root();
    let sources = Sources::read(&root)?;
    let toolchain = Toolchain::new(&root.join(".cache"))?;
    let object = toolchain.build()?;
    if sources != Sources::read(&root)? {
        bail!("the sources of the eBPF object changed while it was built");
    }
    Ok((object, sources, toolchain.versions))
}

/// The result of comparing a rebuild with the committed object.
///
/// # Errors
/// When it does not.
fn verdict(
    committed_by: &Versions,
    built_by: &Versions,
    committed: &[u8],
    built: &[u8],
) -> anyhow::Result<String> {
    let same = committed_by == built_by;
    if committed == built {
        let with = if same { "" } else { ", although the toolchain differs from the manifest's" };
        return Ok(format!("the eBPF object is identical to a build of its sources{with}"));
    }
    let differences = compare::differences(committed, built)?;
    let other = format!(
        "the toolchain of the manifest differs (manifest: {}; here: {})",
        shown(committed_by),
        shown(built_by)
    );
    if !differences.is_empty() {
        let toolchains = if same { String::new() } else { format!("\n  {other}") };
        let differences = differences.join("\n  ");
        bail!(
            "the eBPF object differs from a build of its sources: {REMEDY}\n  {differences}{toolchains}"
        );
    }
    if same {
        bail!(
            "the eBPF object has the same programs and maps as a build of its sources, but describes \
             them differently (BTF), with the same toolchain: {REMEDY}"
        );
    }
    Ok(format!(
        "the eBPF object has the same programs and maps as a build of its sources; bytes that describe \
         them (BTF) differ, because {other}"
    ))
}

fn shown(Versions { rustc, bpf_linker, llvm }: &Versions) -> String {
    format!("{rustc}, bpf-linker {bpf_linker}, LLVM {llvm}")
}

/// Writes a file unless it already has this content, so that cargo does not rebuild its dependents.
/// Returns whether the content changed.
fn write(path: &Path, content: &[u8]) -> anyhow::Result<bool> {
    if fs::read(path).is_ok_and(|present| present == content) {
        return Ok(false);
    }
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(rustc: &str) -> Versions {
        let text = |text: &str| text.to_owned();
        Versions { rustc: text(rustc), bpf_linker: text("0.13.0"), llvm: text("22.1.8") }
    }

    /// The committed object, and two changed ones: in its instructions, in a description.
    fn objects() -> [Vec<u8>; 3] {
        let object = fs::read(directory().join(OBJECT)).unwrap();
        let changed = |section| compare::tests::changed(section);
        [object, changed("kprobe"), changed(".BTF.ext")]
    }

    #[test]
    fn other_instructions_never_pass() {
        let [committed, instructions, _] = objects();
        for rustc in ["rustc 1.96.0", "rustc 1.97.0"] {
            let [then, now] = [versions("rustc 1.96.0"), versions(rustc)];
            let message = verdict(&then, &now, &committed, &instructions).unwrap_err().to_string();
            assert!(message.contains("section kprobe: the instructions differ"), "{message}");
            assert!(message.contains(REMEDY), "{message}");
            assert_eq!(message.contains("here: rustc 1.97.0"), then != now, "{message}");
        }
    }

    #[test]
    fn other_descriptions_pass_with_another_toolchain_only() {
        let [committed, _, description] = objects();
        let [then, now] = [versions("rustc 1.96.0"), versions("rustc 1.97.0")];
        let message = verdict(&then, &now, &committed, &description).unwrap();
        assert!(message.contains("here: rustc 1.97.0"), "{message}");
        assert!(verdict(&then, &then, &committed, &description).is_err());
        assert!(verdict(&then, &now, &committed, &committed).unwrap().contains("is identical"));
    }
}
