//! Compares two objects as the kernel loads them.
//!
//! Two versions of a compiler describe the same program with different types and line numbers.
//! The kernel loads the sections that take part in execution: instructions, maps, globals and
//! the license, with the names in them and what they refer to. Only those are compared here.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use object::elf::SHF_ALLOC;
use object::read::{File, Object, ObjectSection, ObjectSymbol, RelocationTarget};
use object::{RelocationFlags, SectionFlags, SectionKind};

/// A section's content that matters.
#[derive(Debug, PartialEq, Eq)]
struct Section {
    is_code: bool,
    bytes: Vec<u8>,
    /// Offset, size and name of each program, map or global.
    symbols: BTreeSet<(u64, u64, String)>,
    /// Offset, type and target of each reference.
    references: BTreeSet<(u64, u32, String)>,
}

/// The differences of `built`, one line per section. Differences without an effect are left out.
///
/// # Errors
/// When one of them is no object.
pub(crate) fn differences(committed: &[u8], built: &[u8]) -> anyhow::Result<Vec<String>> {
    let committed = sections(committed).context("the committed object cannot be read")?;
    let built = sections(built).context("the built object cannot be read")?;
    let names: BTreeSet<_> = committed.keys().chain(built.keys()).collect();
    let lines = names.into_iter().filter_map(|name| {
        let line = match (committed.get(name), built.get(name)) {
            (Some(committed), Some(built)) => difference(committed, built)?,
            (Some(_), None) => "is missing from the built object".to_owned(),
            _ => "is missing from the committed object".to_owned(),
        };
        Some(format!("section {name}: {line}"))
    });
    Ok(lines.collect())
}

fn difference(committed: &Section, built: &Section) -> Option<String> {
    if committed == built {
        return None;
    }
    let names = |section: &Section| -> BTreeSet<String> {
        section.symbols.iter().map(|(.., name)| name.clone()).collect()
    };
    let (ours, theirs) = (names(committed), names(built));
    if ours != theirs {
        let other: Vec<_> = ours.symmetric_difference(&theirs).map(String::as_str).collect();
        return Some(format!("only one of the two has {}", other.join(", ")));
    }
    if committed.bytes != built.bytes {
        let what = if committed.is_code { "instructions differ" } else { "content differs" };
        return Some(format!("the {what}"));
    }
    Some("its programs, maps or globals lie or refer elsewhere".to_owned())
}

/// The sections of an object that are loaded.
fn sections(object: &[u8]) -> anyhow::Result<BTreeMap<String, Section>> {
    let file = File::parse(object)?;
    // Definitions in the newer form are types, so there the types matter too.
    let types_matter = file.section_by_name(".maps").is_some();
    let mut sections = BTreeMap::new();
    for section in file.sections() {
        let name = section.name()?;
        let SectionFlags::Elf { sh_flags } = section.flags() else { continue };
        if sh_flags & u64::from(SHF_ALLOC) == 0 && !(types_matter && name == ".BTF") {
            continue;
        }
        let mut symbols = BTreeSet::new();
        for symbol in file.symbols().filter(|it| it.section_index() == Some(section.index())) {
            symbols.insert((symbol.address(), symbol.size(), symbol.name()?.to_owned()));
        }
        let mut references = BTreeSet::new();
        for (offset, relocation) in section.relocations() {
            let target = match relocation.target() {
                RelocationTarget::Symbol(index) => file.symbol_by_index(index)?.name()?.to_owned(),
                other => format!("{other:?}"),
            };
            let RelocationFlags::Elf { r_type } = relocation.flags() else { continue };
            references.insert((offset, r_type, target));
        }
        let is_code = section.kind() == SectionKind::Text;
        let bytes = section.data()?.to_owned();
        sections.insert(name.to_owned(), Section { is_code, bytes, symbols, references });
    }
    Ok(sections)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::architecture::Architecture;
    use crate::ebpf;

    pub(crate) fn committed() -> Vec<u8> {
        std::fs::read(ebpf::directory().join(ebpf::file_name(Architecture::X86_64))).unwrap()
    }

    /// The committed object with one byte of a section changed.
    pub(crate) fn changed(section: &str) -> Vec<u8> {
        let mut object = committed();
        let file = File::parse(&*object).unwrap();
        let (start, size) = file.section_by_name(section).unwrap().file_range().unwrap();
        let at = usize::try_from(start + size - 1).unwrap();
        object[at] ^= 1;
        object
    }

    #[test]
    fn an_object_is_itself() {
        assert_eq!(differences(&committed(), &committed()).unwrap(), Vec::<String>::new());
        assert!(differences(b"", &committed()).is_err());
    }

    #[test]
    fn what_is_loaded_matters() {
        let object = committed();
        for (section, message) in [
            ("kprobe", "section kprobe: the instructions differ"),
            ("license", "section license: the content differs"),
            ("maps", "section maps: the content differs"),
        ] {
            assert_eq!(differences(&object, &changed(section)).unwrap(), [message]);
        }
    }

    #[test]
    fn a_description_does_not_matter() {
        assert_ne!(committed(), changed(".BTF.ext"));
        assert!(differences(&committed(), &changed(".BTF.ext")).unwrap().is_empty());
    }

    #[test]
    fn a_renamed_program_is_noticed() {
        let mut object = committed();
        let (old, new) = (b"\0hash_insert\0", b"\0hash_inserz\0");
        let names = object.windows(old.len()).enumerate();
        let places: Vec<_> = names.filter(|(_, it)| it == old).map(|(at, _)| at).collect();
        for at in places {
            object[at..at + new.len()].copy_from_slice(new);
        }
        let message = differences(&committed(), &object).unwrap();
        assert_eq!(message, ["section kprobe: only one of the two has hash_insert, hash_inserz"]);
    }
}
