//! The manifest beside the committed objects: their sources and their toolchain.
//!
//! SHA-256 digests tie the objects to their sources without a compiler: one of each object, one
//! of everything that decides about their bytes (the files of `conntrack-ebpf`, and the versions
//! of aya's kernel-side crates in `Cargo.lock`). Nothing here builds anything.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Objects;

/// The crate of the programs, below the workspace's root.
const CRATE: &str = "conntrack-ebpf";

/// Crates with these name prefixes are part of the object.
const KERNEL_SIDE: [&str; 4] = ["aya-ebpf", "aya-log-common", "aya-log-ebpf", "aya-log-parser"];

const HEAD: &str = "# Written by `cargo xtask build-ebpf`, as the objects beside it; `cargo xtask \
                    check-ebpf`\n# proves that they and the sources belong together.\n\n";

/// The facts about the committed objects.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// SHA-256 of their sources, see [`Sources`].
    pub(crate) sources: String,
    /// SHA-256 of each object, by the name of its file.
    pub(crate) objects: BTreeMap<String, String>,
    /// The toolchain of the build.
    pub(crate) toolchain: Versions,
    /// The crates that are part of them, with their versions.
    pub(crate) crates: BTreeMap<String, String>,
}

/// The versions of what makes an object out of sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Versions {
    /// The compiler's own line.
    pub(crate) rustc: String,
    /// The linker, which generates the code.
    pub(crate) bpf_linker: String,
    /// The LLVM that the linker was built with.
    pub(crate) llvm: String,
}

/// The sources of the objects in the checkout.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sources {
    /// SHA-256 over the files and the crates' versions, each with its name and length.
    pub(crate) digest: String,
    /// aya's kernel-side crates in `Cargo.lock`, with their versions.
    pub(crate) crates: BTreeMap<String, String>,
}

impl Manifest {
    /// Reads the manifest at `path`.
    ///
    /// # Errors
    /// The manifest is missing or not valid.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not a manifest", path.display()))
    }

    /// The manifest's text.
    pub(crate) fn to_text(&self) -> anyhow::Result<String> {
        let text = toml::to_string(self).context("the manifest cannot be written as TOML")?;
        Ok(format!("{HEAD}{text}"))
    }

    /// Why `objects` and `sources` are not what this manifest is about, if they are not.
    pub(crate) fn disagreement(&self, objects: &Objects, sources: &Sources) -> Option<String> {
        if self.crates != sources.crates {
            let (now, then) = (listed(&sources.crates), listed(&self.crates));
            return Some(format!("Cargo.lock has {now}, and the objects were built with {then}"));
        }
        if self.sources != sources.digest {
            return Some(format!("the sources of {CRATE} differ from those of the objects"));
        }
        let digests = digests(objects);
        let differs = |name: &&String| self.objects.get(*name) != digests.get(*name);
        let name = self.objects.keys().chain(digests.keys()).find(differs)?;
        Some(format!("{name} differs from the manifest's"))
    }
}

impl Sources {
    /// Reads the sources in the workspace `root`.
    ///
    /// # Errors
    /// When one cannot be read, or `Cargo.lock` is no lock file.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut files = BTreeMap::new();
        for name in ["Cargo.toml", "build.rs"] {
            let name = format!("{CRATE}/{name}");
            files.insert(name.clone(), read(&root.join(name))?);
        }
        add_directory(&root.join(CRATE).join("src"), &format!("{CRATE}/src"), &mut files)?;

        let lock = root.join("Cargo.lock");
        let text =
            fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
        let crates =
            kernel_side(&text).with_context(|| format!("{} is not a lock file", lock.display()))?;

        let mut hash = Sha256::new();
        for (name, content) in &files {
            add(&mut hash, name.as_bytes());
            add(&mut hash, content);
        }
        for (name, version) in &crates {
            add(&mut hash, name.as_bytes());
            add(&mut hash, version.as_bytes());
        }
        Ok(Self { digest: hex(&hash.finalize()), crates })
    }
}

/// SHA-256 of each object.
pub(crate) fn digests(objects: &Objects) -> BTreeMap<String, String> {
    objects.iter().map(|(name, object)| (name.clone(), digest(object))).collect()
}

/// SHA-256 of `bytes`, in hexadecimal.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Adds bytes with their length in front, so that none can move into its neighbour unseen.
fn add(hash: &mut Sha256, bytes: &[u8]) {
    hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
    hash.update(bytes);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The files below `directory`, by their paths relative to the root: `name` is its own.
fn add_directory(
    directory: &Path,
    name: &str,
    files: &mut BTreeMap<String, Vec<u8>>,
) -> anyhow::Result<()> {
    let cannot = || format!("cannot read {}", directory.display());
    for entry in fs::read_dir(directory).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        let (path, name) = (entry.path(), format!("{name}/{}", entry.file_name().display()));
        if path.is_dir() {
            add_directory(&path, &name, files)?;
        } else {
            files.insert(name, read(&path)?);
        }
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// aya's kernel-side crates and their versions in the text of a lock file.
fn kernel_side(lock: &str) -> anyhow::Result<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    struct Lock {
        package: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
    }
    let lock: Lock = toml::from_str(lock)?;
    let packages = lock.package.into_iter().map(|Package { name, version }| (name, version));
    Ok(packages
        .filter(|(name, _)| KERNEL_SIDE.iter().any(|start| name.starts_with(start)))
        .collect())
}

fn listed(crates: &BTreeMap<String, String>) -> String {
    let crates: Vec<_> = crates.iter().map(|(name, version)| format!("{name} {version}")).collect();
    crates.join(", ")
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const LOCK: &str = "[[package]]\nname = \"aya-ebpf\"\nversion = \"0.2.1\"\n\n\
                        [[package]]\nname = \"other\"\nversion = \"1.0.0\"\n";

    fn workspace() -> TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("conntrack-ebpf/src/deep")).unwrap();
        for (name, content) in [
            ("Cargo.lock", LOCK),
            ("conntrack-ebpf/Cargo.toml", "[package]"),
            ("conntrack-ebpf/build.rs", "fn main() {}"),
            ("conntrack-ebpf/src/main.rs", "mod deep;"),
            ("conntrack-ebpf/src/deep/mod.rs", "const ONE: u32 = 1;"),
        ] {
            fs::write(root.path().join(name), content).unwrap();
        }
        root
    }

    fn objects(contents: &[&str]) -> Objects {
        contents.iter().zip(["a.o", "b.o"]).map(|(it, name)| (name.into(), (*it).into())).collect()
    }

    fn manifest(objects: &Objects, sources: &Sources) -> Manifest {
        Manifest {
            sources: sources.digest.clone(),
            objects: digests(objects),
            toolchain: Versions {
                rustc: "rustc 1.96.0 (\"quoted\")".to_owned(),
                bpf_linker: "0.13.0".to_owned(),
                llvm: "22.1.8".to_owned(),
            },
            crates: sources.crates.clone(),
        }
    }

    #[test]
    fn a_digest_is_sha_256() {
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest(b"abc"), known);
    }

    #[test]
    fn a_changed_byte_is_noticed_wherever_it_is() {
        let root = workspace();
        let before = Sources::read(root.path()).unwrap();
        let objects = objects(&["one", "two"]);
        let manifest = manifest(&objects, &before);
        assert_eq!(manifest.disagreement(&objects, &before), None);
        for name in [
            "conntrack-ebpf/Cargo.toml",
            "conntrack-ebpf/build.rs",
            "conntrack-ebpf/src/main.rs",
            "conntrack-ebpf/src/deep/mod.rs",
        ] {
            let path = root.path().join(name);
            let content = fs::read(&path).unwrap();
            let mut changed = content.clone();
            *changed.last_mut().unwrap() ^= 1;
            fs::write(&path, changed).unwrap();
            let after = Sources::read(root.path()).unwrap();
            let message = manifest.disagreement(&objects, &after).unwrap();
            assert!(message.contains("sources of conntrack-ebpf"), "{name}: {message}");
            fs::write(&path, content).unwrap();
        }
        assert_eq!(Sources::read(root.path()).unwrap(), before);
    }

    #[test]
    fn an_object_that_is_changed_missing_or_new_is_noticed() {
        let root = workspace();
        let sources = Sources::read(root.path()).unwrap();
        let manifest = manifest(&objects(&["one", "two"]), &sources);
        let message = |contents: &[&str]| manifest.disagreement(&objects(contents), &sources);
        assert_eq!(message(&["one", "two"]), None);
        for contents in [&["one", "twp"][..], &["one"]] {
            assert_eq!(message(contents).as_deref(), Some("b.o differs from the manifest's"));
        }
        let mut more = objects(&["one", "two"]);
        more.insert("c.o".to_owned(), Vec::new());
        let message = manifest.disagreement(&more, &sources);
        assert_eq!(message.as_deref(), Some("c.o differs from the manifest's"));
    }

    #[test]
    fn names_new_files_and_moved_bytes_are_noticed() {
        let root = workspace();
        let path = |name: &str| root.path().join("conntrack-ebpf/src").join(name);
        let digest = || Sources::read(root.path()).unwrap().digest;
        let first = digest();
        fs::rename(path("main.rs"), path("main2.rs")).unwrap();
        let renamed = digest();
        fs::rename(path("main2.rs"), path("main.rs")).unwrap();
        fs::write(path("new.rs"), "").unwrap();
        let with_new = digest();
        fs::write(path("main.rs"), "mod deep").unwrap();
        fs::write(path("new.rs"), ";").unwrap();
        let moved = digest();
        let mut all = vec![first, renamed, with_new, moved];
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 4);
    }

    #[test]
    fn only_kernel_side_crates_count() {
        let root = workspace();
        let before = Sources::read(root.path()).unwrap();
        assert_eq!(before.crates, BTreeMap::from([("aya-ebpf".to_owned(), "0.2.1".to_owned())]));
        let lock = root.path().join("Cargo.lock");
        fs::write(&lock, LOCK.replace("1.0.0", "1.0.1")).unwrap();
        assert_eq!(Sources::read(root.path()).unwrap(), before);
        fs::write(&lock, LOCK.replace("0.2.1", "0.2.2")).unwrap();
        let after = Sources::read(root.path()).unwrap();
        assert_ne!(after.digest, before.digest);
        let message = manifest(&objects(&[]), &before).disagreement(&objects(&[]), &after).unwrap();
        assert_eq!(
            message,
            "Cargo.lock has aya-ebpf 0.2.2, and the objects were built with aya-ebpf 0.2.1"
        );
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let root = workspace();
        let written = manifest(&objects(&["one"]), &Sources::read(root.path()).unwrap());
        let path = root.path().join("manifest.toml");
        fs::write(&path, written.to_text().unwrap()).unwrap();
        assert_eq!(Manifest::read(&path).unwrap(), written);
        fs::write(&path, "object = 1").unwrap();
        assert!(Manifest::read(&path).is_err());
    }
}
