//! The programs of a guest, and the libraries that they need: this system's, or for another architecture
//! those of Debian's packages, unpacked and not installed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use object::Endianness;
use object::elf::{DT_NEEDED, FileHeader64};
use object::read::elf::{Dyn, FileHeader};

use super::kernel::Kernels;
use super::tool;
use crate::architecture::Architecture;
use crate::{cross, tools};

/// Tools that the tests call, and busybox for the init.
pub(super) const TOOLS: [&str; 5] = ["ip", "nft", "conntrack", "bpftool", "setpriv"];

/// Debian's packages with them.
const PACKAGES: [&str; 6] =
    ["iproute2", "nftables", "conntrack", "bpftool", "util-linux", "busybox-static"];

/// Where packages have programs.
const DIRECTORIES: [&str; 4] = ["usr/sbin", "usr/bin", "sbin", "bin"];

/// The loader of programs for aarch64, and where Debian has their libraries.
const LOADER: &str = "lib/ld-linux-aarch64.so.1";
const LIBRARIES: [&str; 2] = ["lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu"];

/// Files to put into a guest, by their paths there, without a leading slash.
pub(super) type Libraries = BTreeMap<String, PathBuf>;

/// Where the programs of a guest come from.
#[derive(Debug)]
pub(super) enum Programs {
    /// This system.
    Installed,
    /// Packages for aarch64 below a directory.
    Unpacked(PathBuf),
}

impl Programs {
    /// The programs of an architecture.
    ///
    /// # Errors
    /// A package cannot be downloaded.
    pub(super) fn of(kernels: &mut Kernels) -> anyhow::Result<Self> {
        Ok(match kernels.architecture() {
            Architecture::X86_64 => Self::Installed,
            Architecture::Aarch64 => Self::Unpacked(kernels.programs(&PACKAGES)?),
        })
    }

    /// The path of a program.
    ///
    /// # Errors
    /// It is missing.
    pub(super) fn find(&self, program: &str) -> anyhow::Result<PathBuf> {
        match self {
            Self::Installed => tools::find(program)?,
            Self::Unpacked(root) => {
                let root = root.canonicalize().context("the programs are gone")?;
                let paths = DIRECTORIES.map(|directory| root.join(directory).join(program));
                // An absolute link leads to this system.
                let is_there =
                    |path: &PathBuf| path.canonicalize().is_ok_and(|it| it.starts_with(&root));
                paths.into_iter().find(is_there)
            }
        }
        .with_context(|| {
            format!("there is no `{program}` here; for arm64, remove .cache/kernels/programs-arm64 to unpack it again")
        })
    }

    /// The program that removes debug information.
    pub(super) fn strip(&self) -> &'static str {
        match self {
            Self::Installed => "strip",
            Self::Unpacked(_) => cross::STRIP,
        }
    }

    /// Adds the libraries of a program, and the loader that it names; none if it is static.
    ///
    /// # Errors
    /// One of them is missing.
    pub(super) fn add_libraries(
        &self,
        program: &Path,
        libraries: &mut Libraries,
    ) -> anyhow::Result<()> {
        match self {
            Self::Installed => {
                let paths = installed_libraries(program)?.into_iter();
                libraries.extend(
                    paths.map(|path| (path.trim_start_matches('/').to_owned(), path.into())),
                );
                Ok(())
            }
            Self::Unpacked(root) => add_unpacked(root, program, libraries),
        }
    }
}

/// The libraries of a program of this system, and its loader.
fn installed_libraries(program: &Path) -> anyhow::Result<Vec<String>> {
    let mut ldd = tool("ldd")?;
    let output = ldd.arg(program).output().context("cannot start ldd")?;
    // It fails for a static program.
    let text = String::from_utf8_lossy(&output.stdout);
    if let Some(line) = text.lines().find(|line| line.contains("not found")) {
        bail!("{} misses a library: {}", program.display(), line.trim());
    }
    let path =
        |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(Into::into);
    Ok(text.lines().filter_map(path).collect())
}

/// Adds what a file needs, and what that needs.
fn add_unpacked(root: &Path, file: &Path, libraries: &mut Libraries) -> anyhow::Result<()> {
    for name in needed(file).with_context(|| format!("cannot read {}", file.display()))? {
        libraries.entry(LOADER.to_owned()).or_insert_with(|| root.join(LOADER));
        let place = format!("{}/{name}", LIBRARIES[0]);
        if libraries.contains_key(&place) || LOADER.ends_with(&name) {
            continue;
        }
        let paths = LIBRARIES.map(|directory| root.join(directory).join(&name));
        let path = paths.into_iter().find(|path| path.is_file());
        let path = path.with_context(|| format!("{} misses {name}", file.display()))?;
        libraries.insert(place, path.clone());
        add_unpacked(root, &path, libraries)?;
    }
    Ok(())
}

/// The names of the libraries that a file is linked with.
fn needed(file: &Path) -> anyhow::Result<Vec<String>> {
    let data = fs::read(file)?;
    let header = FileHeader64::<Endianness>::parse(&*data)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, &*data)?;
    let Some((entries, strings)) = sections.dynamic(endian, &*data)? else { return Ok(Vec::new()) };
    let strings = sections.strings(endian, &*data, strings)?;
    let mut names = Vec::new();
    for entry in entries.iter().filter(|entry| entry.tag(endian) == DT_NEEDED) {
        let name = entry.string(endian, strings)?;
        names.push(String::from_utf8_lossy(name).into_owned());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_static_program_has_no_libraries() {
        assert_eq!(installed_libraries(Path::new("/proc/self/cmdline")).unwrap(), [""; 0]);
        let libraries = installed_libraries(&std::env::current_exe().unwrap()).unwrap();
        assert!(libraries.iter().any(|library| library.contains("libc.so")), "{libraries:?}");
        assert!(libraries.iter().all(|library| library.starts_with('/')), "{libraries:?}");
    }

    #[test]
    fn what_a_program_needs_is_in_it() {
        let needed = needed(&std::env::current_exe().unwrap()).unwrap();
        assert!(needed.iter().any(|name| name.starts_with("libc.so")), "{needed:?}");
    }
}
