//! The hooks: which program goes to which kernel function, and what it counts.
//!
//! Functions are found in `/proc/kallsyms`, because compilers rename static ones
//! (`init_conntrack.isra.0`) and kernels renamed some (`destroy_conntrack` became
//! `nf_ct_destroy` in 5.19 or before 6.1).

use std::io;

use conntrack_ebpf::Event;

/// A program, the functions that it can hook (the first that exists), and what it counts.
#[derive(Debug, Clone, Copy)]
pub struct Hook {
    /// The program's name in the object.
    pub program: &'static str,
    /// Names of the function, in order of preference, without what a compiler adds.
    pub functions: &'static [&'static str],
    /// What the program counts; nothing where it only helps another one.
    pub events: &'static [Event],
}

const fn hook(
    program: &'static str,
    functions: &'static [&'static str],
    events: &'static [Event],
) -> Hook {
    Hook { program, functions, events }
}

/// Every hook, helpers before those that they help.
pub const HOOKS: [Hook; 10] = [
    hook("hash_insert", &["__nf_conntrack_hash_insert"], &[Event::Insert]),
    hook("alloc_return", &["__nf_conntrack_alloc"], &[Event::Alloc, Event::AllocFailed]),
    hook("free", &["nf_conntrack_free"], &[Event::Free]),
    hook("destroy", &["nf_ct_destroy", "destroy_conntrack"], &[Event::Delete]),
    hook(
        "delete_from_lists",
        &["__nf_ct_delete_from_lists", "nf_ct_delete_from_lists"],
        &[Event::DeleteList],
    ),
    hook("init_return", &["init_conntrack"], &[Event::New, Event::ExpectNew]),
    hook("early_drop", &["early_drop"], &[]),
    hook("early_drop_return", &["early_drop"], &[Event::TableFull, Event::EarlyDrop]),
    hook("resolve_clash", &["nf_ct_resolve_clash"], &[]),
    hook(
        "resolve_clash_return",
        &["nf_ct_resolve_clash"],
        &[Event::ClashResolved, Event::ClashDropped],
    ),
];

/// The kernel's functions whose names start like one of the hooks'.
#[derive(Debug, Default)]
pub struct Symbols(Vec<String>);

impl Symbols {
    /// Reads the running kernel's symbols.
    ///
    /// # Errors
    /// The system's error.
    pub fn read() -> io::Result<Self> {
        Ok(Self::parse(&std::fs::read("/proc/kallsyms")?))
    }

    /// The functions in a text of lines `address type name [module]`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let mut found = Vec::new();
        for line in text.split(|&byte| byte == b'\n') {
            let mut words = line.split(u8::is_ascii_whitespace);
            let Some((b't' | b'T', name)) = words
                .nth(1)
                .zip(words.next())
                .and_then(|(kind, name)| Some((*kind.first()?, str::from_utf8(name).ok()?)))
            else {
                continue;
            };
            let base = base(name);
            if HOOKS.iter().any(|hook| hook.functions.contains(&base)) {
                found.push(name.to_owned());
            }
        }
        Self(found)
    }

    /// The name under which the kernel has the first of `functions`: as it is, or with what a
    /// compiler added.
    #[must_use]
    pub fn find(&self, functions: &[&str]) -> Option<&str> {
        functions.iter().find_map(|function| {
            let exact = self.0.iter().find(|name| name == function);
            exact.or_else(|| self.0.iter().find(|name| base(name) == *function)).map(String::as_str)
        })
    }
}

/// The name without `.isra.0`, `.constprop.0` and `.part.0`; one that ends in `.cold` is a part
/// of a function that is not its beginning, and keeps its whole name.
fn base(name: &str) -> &str {
    let (base, added) = name.split_once('.').unwrap_or((name, ""));
    let known = |word: &str| {
        matches!(word, "isra" | "constprop" | "part") || word.bytes().all(|b| b.is_ascii_digit())
    };
    if added.split('.').all(known) { base } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_under_the_names_that_compilers_make() {
        let text = b"ffffffffc0a2 t init_conntrack.constprop.0\t[nf_conntrack]\n\
            0000000000000000 t init_conntrack.cold\t[nf_conntrack]\n\
            ffffffffc0a3 t destroy_conntrack\t[nf_conntrack]\n\
            ffffffffc0a4 T nf_conntrack_free\t[nf_conntrack]\n\
            ffffffffc0a5 d early_drop\n\
            broken\n\
            ffffffffc0a6 t nf_ct_delete_from_lists.part.0.isra.3";
        let symbols = Symbols::parse(text);
        assert_eq!(symbols.find(&["init_conntrack"]), Some("init_conntrack.constprop.0"));
        assert_eq!(
            symbols.find(&["nf_ct_destroy", "destroy_conntrack"]),
            Some("destroy_conntrack")
        );
        assert_eq!(
            symbols.find(&["__nf_ct_delete_from_lists", "nf_ct_delete_from_lists"]),
            Some("nf_ct_delete_from_lists.part.0.isra.3")
        );
        assert_eq!(symbols.find(&["early_drop"]), None);
    }

    #[test]
    fn every_event_is_counted_by_one_hook() {
        for event in Event::ALL {
            let hooks = HOOKS.iter().filter(|hook| hook.events.contains(&event));
            assert_eq!(hooks.count(), 1, "{event:?}");
        }
    }
}
