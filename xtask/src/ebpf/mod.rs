//! `cargo xtask build-ebpf` and `check-ebpf`: build and verify the committed eBPF objects, one for each
//! architecture, since kprobes read its registers.
//!
//! Users build with stable Rust alone, since the objects are committed in `conntrack-ebpf/object`.
//! `manifest` records their sources and toolchain, `toolchain` builds them, and `compare` checks whether
//! two objects are equal for the kernel. The check has two parts: the digests, which need no tools,
//! and a rebuild, where the toolchain can be installed.

mod compare;
pub(crate) mod manifest;
mod toolchain;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use self::manifest::{Manifest, Sources, Versions};
use self::toolchain::Toolchain;
use crate::architecture::Architecture;
use crate::workspace;

const MANIFEST: &str = "manifest.toml";
const REMEDY: &str = "run `cargo xtask build-ebpf`";

/// The objects by the names of their files.
pub(crate) type Objects = BTreeMap<String, Vec<u8>>;

/// Where objects and manifest are committed.
fn directory() -> PathBuf {
    workspace::root().join("conntrack-ebpf/object")
}

/// The name of an architecture's object.
fn file_name(architecture: Architecture) -> String {
    format!("conntrack.{}.bpf.o", architecture.name())
}

/// Builds the objects and writes them and their manifest.
///
/// # Errors
/// When the toolchain cannot be had or the build fails.
pub(crate) fn build() -> anyhow::Result<ExitCode> {
    if let Some(reason) = toolchain::obstacle()? {
        bail!("the eBPF objects cannot be built here: {reason}");
    }
    let (objects, sources, toolchain) = built()?;
    let directory = directory();
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    for (name, object) in &objects {
        let changed = write(&directory.join(name), object)?;
        let is = if changed { "new" } else { "the same as before" };
        println!("conntrack-ebpf/object/{name}: {} bytes, {is}", object.len());
    }
    let manifest = Manifest {
        sources: sources.digest,
        objects: manifest::digests(&objects),
        toolchain,
        crates: sources.crates,
    };
    write(&directory.join(MANIFEST), manifest.to_text()?.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Proves that the committed objects are the sources', as far as that can be done here.
///
/// # Errors
/// When they are not, or the build fails.
pub(crate) fn check() -> anyhow::Result<ExitCode> {
    let (manifest, committed) = check_digests()?;
    if let Some(reason) = toolchain::obstacle()? {
        eprintln!(
            "xtask: NOT RUN HERE: a rebuild of the eBPF objects (cargo xtask check-ebpf): {reason}"
        );
        return Ok(ExitCode::SUCCESS);
    }
    let (objects, _, versions) = built()?;
    for (name, object) in &objects {
        let of_checkout = committed.get(name).map_or(&[][..], Vec::as_slice);
        let verdict = verdict(&manifest.toolchain, &versions, of_checkout, object);
        println!("{name}: {}", verdict.with_context(|| name.clone())?);
    }
    Ok(ExitCode::SUCCESS)
}

/// The part of the check that takes no tools: sources, manifest and objects belong together.
/// Returns the latter two.
///
/// # Errors
/// When they do not.
pub(crate) fn check_digests() -> anyhow::Result<(Manifest, Objects)> {
    let mut objects = Objects::new();
    for name in Architecture::ALL.map(file_name) {
        let path = directory().join(&name);
        let object = fs::read(&path).with_context(|| format!("no {}: {REMEDY}", path.display()))?;
        objects.insert(name, object);
    }
    let manifest = Manifest::read(&directory().join(MANIFEST)).context(REMEDY)?;
    if let Some(reason) = manifest.disagreement(&objects, &Sources::read(&workspace::root())?) {
        bail!("{reason}: {REMEDY}");
    }
    println!("the eBPF objects and their sources match the manifest");
    Ok((manifest, objects))
}

/// Builds; the objects, the sources that they are of, and the versions of what built them.
fn built() -> anyhow::Result<(Objects, Sources, Versions)> {
    let root = workspace::root();
    let sources = Sources::read(&root)?;
    let toolchain = Toolchain::new(&root.join(".cache"))?;
    let mut objects = Objects::new();
    for architecture in Architecture::ALL {
        objects.insert(file_name(architecture), toolchain.build(architecture)?);
    }
    if sources != Sources::read(&root)? {
        bail!("the sources of the eBPF objects changed while they were built");
    }
    Ok((objects, sources, toolchain.versions))
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
        let object = compare::tests::committed();
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
