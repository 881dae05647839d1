//! The kernel's symbols: which of the functions that hooks name it has, and under what name.
//!
//! Functions are found in `/proc/kallsyms`, because compilers rename static ones
//! (`init_conntrack.isra.0`). Every process can read the names; addresses are 0 where
//! `kernel.kptr_restrict` hides them.

use std::collections::{HashMap, HashSet};
use std::io;

use super::probe_table::HOOKS;

/// The kernel's hash table of connections: a pointer to its buckets.
pub const TABLE: &str = "nf_conntrack_hash";

/// How many buckets it has.
pub const TABLE_SIZE: &str = "nf_conntrack_htable_size";

/// The generation of connections' extensions: a number.
pub const EXTENSION_GENERATION: &str = "nf_conntrack_ext_genid";

/// The sequence counter of the table's resizes: odd while the table is resized.
pub const RESIZE_SEQUENCE: &str = "nf_conntrack_generation";

/// The variables that the programs read by their addresses.
const VARIABLES: [&str; 4] = [TABLE, TABLE_SIZE, EXTENSION_GENERATION, RESIZE_SEQUENCE];

/// The symbols of the kernel that hooks and programs can use.
#[derive(Debug, Default)]
pub struct Symbols {
    functions: Vec<String>,
    variables: HashMap<&'static str, u64>,
}

/// The symbols that the kernel has of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<'a> {
    /// The function, under this name.
    One(&'a str),
    /// More than one: copies that a compiler made, or functions of different files. A probe would
    /// be attached to one of them, and count the calls of that one.
    Several(Vec<&'a str>),
    /// Nothing.
    None,
}

impl Symbols {
    /// Reads the running kernel's symbols.
    ///
    /// # Errors
    /// The system's error.
    pub fn read() -> io::Result<Self> {
        Self::read_by(|| std::fs::read("/proc/kallsyms"))
    }

    /// Reads a second time where functions are there more than once: the kernel finds its place in the
    /// file by counting (`get_ksymbol_mod`), so symbols are repeated while
    /// a module is loaded.
    fn read_by(mut read: impl FnMut() -> io::Result<Vec<u8>>) -> io::Result<Self> {
        let symbols = Self::parse(&read()?);
        if symbols.has_repetitions() { Ok(Self::parse(&read()?)) } else { Ok(symbols) }
    }

    fn has_repetitions(&self) -> bool {
        let mut names = HashSet::new();
        !self.functions.iter().all(|name| names.insert(name))
    }

    /// The symbols in a text of lines `address type name [module]`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let mut symbols = Self::default();
        let ways = HOOKS.iter().flat_map(|hook| hook.ways);
        let probes = ways.flat_map(|way| way.probes.iter().chain(way.trampolines));
        let hooked: HashSet<&str> = probes.flat_map(|probe| probe.functions).copied().collect();
        for line in text.split(|&byte| byte == b'\n') {
            let mut words = line.split(u8::is_ascii_whitespace);
            let (Some(address), Some([kind]), Some(Ok(name))) =
                (words.next(), words.next(), words.next().map(str::from_utf8))
            else {
                continue;
            };
            if kind.eq_ignore_ascii_case(&b't') {
                if hooked.contains(base(name)) {
                    symbols.functions.push(name.to_owned());
                }
            } else if let Some(variable) = VARIABLES.into_iter().find(|v| *v == name) {
                let address = str::from_utf8(address).ok();
                let address = address.and_then(|text| u64::from_str_radix(text, 16).ok());
                symbols.variables.insert(variable, address.unwrap_or(0));
            }
        }
        symbols
    }

    /// The first of `functions` that the kernel has: under its own name, or if `renamed_too`,
    /// under one with what a compiler added.
    #[must_use]
    pub fn find(&self, functions: &[&str], renamed_too: bool) -> Found<'_> {
        for function in functions {
            let copies = self.functions.iter().filter(|name| base(name) == *function);
            let copies: Vec<&str> = copies.map(String::as_str).collect();
            match copies[..] {
                [one] if renamed_too || one == *function => return Found::One(one),
                [_, _, ..] => return Found::Several(copies),
                _ => {}
            }
        }
        Found::None
    }

    /// Whether the kernel has any function that hooks name.
    #[must_use]
    pub fn has_functions(&self) -> bool {
        !self.functions.is_empty()
    }

    /// Whether the kernel has a variable, though its address may be hidden.
    #[must_use]
    pub fn has_variable(&self, variable: &str) -> bool {
        self.variables.contains_key(variable)
    }

    /// The address of a variable; 0 where it is not there or hidden.
    #[must_use]
    pub fn address(&self, variable: &str) -> u64 {
        self.variables.get(variable).copied().unwrap_or(0)
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
        let init = Found::One("init_conntrack.constprop.0");
        assert_eq!(symbols.find(&["init_conntrack"], true), init);
        assert_eq!(symbols.find(&["init_conntrack"], false), Found::None);
        let destroy = ["nf_ct_destroy", "destroy_conntrack"];
        assert_eq!(symbols.find(&destroy, false), Found::One("destroy_conntrack"));
        let delete = ["__nf_ct_delete_from_lists", "nf_ct_delete_from_lists"];
        let part = Found::One("nf_ct_delete_from_lists.part.0.isra.3");
        assert_eq!(symbols.find(&delete, true), part);
        assert_eq!(symbols.find(&delete, false), Found::None);
        assert_eq!(symbols.find(&["early_drop"], true), Found::None);
    }

    /// As 6.18 for x86-64 has `nf_ct_gc_expired` and `nf_ct_gc_expired.part.0`.
    #[test]
    fn a_function_with_copies_is_ambiguous() {
        for copies in [
            ["early_drop", "early_drop.constprop.0"],
            ["early_drop.isra.0", "early_drop.constprop.0"],
            ["early_drop", "early_drop"],
        ] {
            let text = copies.map(|name| format!("ffffffffc0a2 t {name}\t[nf_conntrack]\n"));
            let symbols = Symbols::parse(text.concat().as_bytes());
            for renamed_too in [false, true] {
                let found = symbols.find(&["early_drop"], renamed_too);
                assert_eq!(found, Found::Several(copies.to_vec()));
            }
        }
        let cold = b"ffffffffc0a2 t early_drop\nffffffffc0a3 t early_drop.cold\n";
        assert_eq!(Symbols::parse(cold).find(&["early_drop"], true), Found::One("early_drop"));
    }

    /// Seen on 5.10: the probes were refused since each function was there twice.
    #[test]
    fn symbols_that_are_repeated_while_a_module_is_loaded_are_read_again() {
        let line = "0000000000000000 t early_drop\t[nf_conntrack]\n";
        let read = |texts: [String; 2]| {
            let mut texts = texts.into_iter();
            let symbols = Symbols::read_by(|| Ok(texts.next().unwrap().into_bytes())).unwrap();
            (symbols.find(&["early_drop"], true) == Found::One("early_drop"), texts.count())
        };
        assert_eq!(read([line.repeat(2), line.to_owned()]), (true, 0));
        assert_eq!(read([line.repeat(2), line.repeat(2)]), (false, 0));
        assert_eq!(read([line.to_owned(), String::new()]), (true, 1));
    }

    #[test]
    fn addresses_of_variables_may_be_hidden() {
        let text = b"ffffffffc0b9d7c8 B nf_conntrack_hash\t[nf_conntrack]\n\
            0000000000000000 b nf_conntrack_htable_size\t[nf_conntrack]\n\
            ffffffffc0b9d7d8 t nf_conntrack_hash_resize\t[nf_conntrack]";
        let symbols = Symbols::parse(text);
        assert_eq!(symbols.address(TABLE), 0xffff_ffff_c0b9_d7c8);
        assert_eq!(symbols.address(TABLE_SIZE), 0);
    }
}
