//! The kernel's type information (BTF), parsed just far enough to find members of structures.
//!
//! Format: `Documentation/bpf/btf.rst`, kinds up to `ENUM64`. A module's goes on where the kernel's
//! ends.

/// Why offsets are not known.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// This kernel has none.
    #[error("{path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// The system's reason.
        error: std::io::Error,
    },
    /// The bytes are not BTF, or of a kind that is not known.
    #[error("not understood at byte {0}")]
    Malformed(usize),
    /// The structure or member is not there.
    #[error("no {0}")]
    Absent(String),
}

const MAGIC: u16 = 0xeb9f;
const STRUCT: u32 = 4;
const UNION: u32 = 5;

/// How many members are looked at for one question, at most: the kernel's largest structures have
/// some hundreds.
const MOST_MEMBERS: u32 = 1 << 16;

/// One BTF.
pub struct Btf<'a> {
    bytes: &'a [u8],
    /// What this goes on from: its types and strings come first.
    base: Option<&'a Btf<'a>>,
    strings: usize,
    strings_length: usize,
    /// Where each type stands; type 0 is `void` and stands nowhere.
    types: Vec<usize>,
    /// The names of all structures that have members, and where each stands.
    structures: Vec<(u32, usize)>,
}

/// A type's common header.
struct Type {
    name: u32,
    kind: u32,
    /// Number of members, parameters or values.
    length: usize,
    /// Member offsets are packed with bit-field sizes.
    packed: bool,
    /// Size, or the type referred to.
    size_or_type: u32,
}

impl<'a> Btf<'a> {
    /// Reads `bytes`, which go on from `base` if they are a module's.
    ///
    /// # Errors
    /// [`BtfError::Malformed`].
    pub fn parse(bytes: &'a [u8], base: Option<&'a Self>) -> Result<Self, BtfError> {
        let void = usize::from(base.is_none());
        let mut btf = Self {
            bytes,
            base,
            strings: 0,
            strings_length: 0,
            types: vec![0; void],
            structures: Vec::new(),
        };
        if btf.word(0)? as u16 != MAGIC {
            return Err(BtfError::Malformed(0));
        }
        let header = btf.word(4)? as usize;
        let (start, length) = (header + btf.word(8)? as usize, btf.word(12)? as usize);
        btf.strings = header + btf.word(16)? as usize;
        btf.strings_length = btf.word(20)? as usize;
        let mut at = start;
        while at < start + length {
            btf.types.push(at);
            let this = btf.type_at(at)?;
            if this.kind == STRUCT && this.length > 0 {
                btf.structures.push((this.name, at));
            }
            let more = match this.kind {
                2 | 7..=12 | 16 | 18 => 0,
                1 | 14 | 17 => 4,
                3 => 12,
                STRUCT | UNION | 15 | 19 => 12 * this.length,
                6 | 13 => 8 * this.length,
                _ => return Err(BtfError::Malformed(at)),
            };
            at += 12 + more;
        }
        Ok(btf)
    }

    fn word(&self, at: usize) -> Result<u32, BtfError> {
        let word = self.bytes.get(at..).and_then(<[u8]>::first_chunk);
        word.map(|word| u32::from_le_bytes(*word)).ok_or(BtfError::Malformed(at))
    }

    fn type_at(&self, at: usize) -> Result<Type, BtfError> {
        let info = self.word(at + 4)?;
        Ok(Type {
            name: self.word(at)?,
            kind: info >> 24 & 0x1f,
            length: (info & 0xffff) as usize,
            packed: info >> 31 == 1,
            size_or_type: self.word(at + 8)?,
        })
    }

    fn is_named(&self, offset: u32, name: &str) -> bool {
        let mut offset = offset as usize;
        if let Some(base) = self.base {
            match offset.checked_sub(base.strings_length) {
                None => return base.is_named(offset as u32, name),
                Some(own) => offset = own,
            }
        }
        let text = self.bytes.get(self.strings + offset..).unwrap_or_default();
        text.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }

    /// The structure of this name, and the BTF that it stands in.
    fn structure(&self, name: &str) -> Option<(&Self, usize)> {
        let found = self.structures.iter().find(|(offset, _)| self.is_named(*offset, name));
        let own = found.map(|(_, at)| (self, *at));
        own.or_else(|| self.base.and_then(|base| base.structure(name)))
    }

    /// The size of a structure in bytes.
    ///
    /// # Errors
    /// [`BtfError`].
    pub fn size(&self, structure: &str) -> Result<u32, BtfError> {
        match self.structure(structure) {
            Some((btf, at)) => Ok(btf.type_at(at)?.size_or_type),
            None => Err(BtfError::Absent(format!("struct {structure}"))),
        }
    }

    /// The byte offset of a member, or of a member of a member, of a structure by name.
    ///
    /// # Errors
    /// [`BtfError`].
    pub fn offset(&self, structure: &str, path: &[&str]) -> Result<u32, BtfError> {
        let absent = || BtfError::Absent(format!("struct {structure}.{}", path.join(".")));
        let (btf, at) = self.structure(structure).ok_or_else(absent)?;
        let mut left = MOST_MEMBERS;
        let bits = btf.offset_in(at, path, 0, &mut left)?.ok_or_else(absent)?;
        if bits % 8 == 0 { Ok(bits / 8) } else { Err(absent()) }
    }

    /// The same, in bits, inside the structure or union at `at`. `depth` and `left`, the members
    /// that are looked at yet, bound types that refer to themselves.
    fn offset_in(
        &self,
        at: usize,
        path: &[&str],
        depth: u32,
        left: &mut u32,
    ) -> Result<Option<u32>, BtfError> {
        let [name, rest @ ..] = path else { return Ok(Some(0)) };
        let this = self.type_at(at)?;
        if depth > 16 || !matches!(this.kind, STRUCT | UNION) {
            return Ok(None);
        }
        for member in 0..this.length {
            let Some(less) = left.checked_sub(1) else { return Ok(None) };
            *left = less;
            let member = at + 12 + 12 * member;
            let mut bits = self.word(member + 8)?;
            if this.packed {
                bits &= 0x00ff_ffff;
            }
            let member_name = self.word(member)?;
            let unnamed = self.is_named(member_name, "");
            let inside = if unnamed { path } else { rest };
            if !unnamed && !self.is_named(member_name, name) {
                continue;
            }
            let found = if inside.is_empty() {
                Some(0)
            } else {
                let within = self.unqualified(self.word(member + 4)?)?;
                within.map_or(Ok(None), |(btf, at)| btf.offset_in(at, inside, depth + 1, left))?
            };
            if let Some(found) = found {
                return Ok(bits.checked_add(found));
            }
        }
        Ok(None)
    }

    /// Where the type stands, with typedefs and qualifiers taken off.
    fn unqualified(&self, id: u32) -> Result<Option<(&Self, usize)>, BtfError> {
        let mut id = id;
        for _ in 0..16 {
            let Some((btf, at)) = self.by_id(id) else { return Ok(None) };
            let this = btf.type_at(at)?;
            match this.kind {
                8..=11 | 18 => id = this.size_or_type,
                _ => return Ok(Some((btf, at))),
            }
        }
        Ok(None)
    }

    fn by_id(&self, id: u32) -> Option<(&Self, usize)> {
        let mut index = id as usize;
        if let Some(base) = self.base {
            match index.checked_sub(base.types.len()) {
                None => return base.by_id(id),
                Some(own) => index = own,
            }
        }
        self.types.get(index).filter(|_| id != 0).map(|&at| (self, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds BTF by hand: types as words, then strings.
    fn btf(types: &[u32], strings: &str) -> Vec<u8> {
        let types_length = types.len() as u32 * 4;
        let header = [
            0x0001_0000 | u32::from(MAGIC),
            24,
            0,
            types_length,
            types_length,
            strings.len() as u32,
        ];
        let words = header.iter().chain(types).flat_map(|word| word.to_le_bytes());
        words.chain(strings.bytes()).collect()
    }

    /// `struct s { int a; union { int b; struct t c; }; }` with `t` behind a typedef
    /// `struct t { int x; int d; }`.
    fn sample() -> Vec<u8> {
        let strings = "\0s\0a\0b\0c\0t\0x\0d\0";
        let (s, a, b, c, t, x, d) = (1, 3, 5, 7, 9, 11, 13);
        let kind = |kind: u32, length: u32| kind << 24 | length;
        btf(
            &[
                0,
                kind(1, 0),
                4,
                32, // 1: int
                t,
                kind(STRUCT, 2),
                8,
                x,
                1,
                0,
                d,
                1,
                32, // 2: struct t
                t,
                kind(8, 0),
                2, // 3: typedef t
                0,
                kind(UNION, 2),
                8,
                b,
                1,
                0,
                c,
                3,
                0, // 4: union
                s,
                kind(STRUCT, 2),
                12,
                a,
                1,
                0,
                0,
                4,
                32, // 5: struct s
            ],
            strings,
        )
    }

    #[test]
    fn members_are_found_through_unnamed_unions_and_typedefs() {
        let bytes = sample();
        let btf = Btf::parse(&bytes, None).unwrap();
        assert_eq!(btf.offset("s", &["a"]).unwrap(), 0);
        assert_eq!(btf.offset("s", &["b"]).unwrap(), 4);
        assert_eq!(btf.offset("s", &["c", "d"]).unwrap(), 8);
        assert_eq!(btf.size("s").unwrap(), 12);
    }

    /// A module's `struct m { struct t e; int f; }`, where `t` and the names before `m` are the
    /// kernel's.
    #[test]
    fn a_module_goes_on_where_the_kernel_ends() {
        let kernel = sample();
        let kernel = Btf::parse(&kernel, None).unwrap();
        let (e, f, m) = (16, 18, 20);
        assert_eq!(kernel.strings_length, 15);
        let types = [m, STRUCT << 24 | 2, 12, e, 3, 0, f, 1, 64];
        let module = btf(&types, "\0e\0f\0m\0");
        let module = Btf::parse(&module, Some(&kernel)).unwrap();
        assert_eq!(module.offset("m", &["f"]).unwrap(), 8);
        assert_eq!(module.offset("m", &["e", "d"]).unwrap(), 4);
        assert_eq!(module.size("m").unwrap(), 12);
        assert_eq!(module.offset("s", &["c", "d"]).unwrap(), 8);
    }

    #[test]
    fn what_is_not_there_is_said() {
        let bytes = sample();
        let btf = Btf::parse(&bytes, None).unwrap();
        let absent =
            |structure, path: &[&str]| btf.offset(structure, path).unwrap_err().to_string();
        assert_eq!(absent("s", &["c", "nope"]), "no struct s.c.nope");
        assert_eq!(absent("u", &["a"]), "no struct u.a");
        assert_eq!(absent("s", &["a", "x"]), "no struct s.a.x");
    }

    proptest::proptest! {
        #[test]
        fn damaged_bytes_never_panic(at in 0usize..200, byte: u8, cut in 0usize..220) {
            let mut bytes = sample();
            if let Some(there) = bytes.get_mut(at) {
                *there = byte;
            }
            bytes.truncate(cut);
            if let Ok(btf) = Btf::parse(&bytes, None) {
                let _ = btf.offset("s", &["c", "d"]);
            }
        }
    }
}
