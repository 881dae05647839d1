//! Byte offsets of kernel structures, from the running kernel's type information (BTF).
//!
//! The layout of `struct nf_conn`, `net` and `sk_buff` differs between kernels and builds, and a
//! wrong offset reads another field without any error, so none is written down: they are looked
//! up in `/sys/kernel/btf/vmlinux`. Format: `Documentation/bpf/btf.rst`, kinds up to `ENUM64`.

use std::path::Path;

/// Where the kernel shows its own type information (from 5.4, `CONFIG_DEBUG_INFO_BTF`).
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// The offsets that the programs need, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offsets {
    /// `struct nf_conn`: `ct_net.net`.
    pub nf_conn_net: u32,
    /// `struct nf_conn`: `status`.
    pub nf_conn_status: u32,
    /// `struct nf_conn`: `tuplehash`.
    pub nf_conn_tuplehash: u32,
    /// `struct net`: `ns.inum`.
    pub net_inum: u32,
    /// `struct sk_buff`: `_nfct`.
    pub sk_buff_nfct: u32,
}

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

impl Offsets {
    /// Reads the offsets of the running kernel.
    ///
    /// # Errors
    /// [`BtfError`].
    pub fn of_running_kernel() -> Result<Self, BtfError> {
        Self::read(Path::new(VMLINUX))
    }

    /// Reads the offsets from a file of raw BTF.
    ///
    /// # Errors
    /// [`BtfError`].
    pub fn read(path: &Path) -> Result<Self, BtfError> {
        let bytes = std::fs::read(path)
            .map_err(|error| BtfError::Read { path: path.display().to_string(), error })?;
        let btf = Btf::parse(&bytes)?;
        Ok(Self {
            nf_conn_net: btf.offset("nf_conn", &["ct_net", "net"])?,
            nf_conn_status: btf.offset("nf_conn", &["status"])?,
            nf_conn_tuplehash: btf.offset("nf_conn", &["tuplehash"])?,
            net_inum: btf.offset("net", &["ns", "inum"])?,
            sk_buff_nfct: btf.offset("sk_buff", &["_nfct"])?,
        })
    }
}

const MAGIC: u16 = 0xeb9f;
const STRUCT: u32 = 4;
const UNION: u32 = 5;

/// Parsed just far enough to find members of structures.
struct Btf<'a> {
    bytes: &'a [u8],
    strings: usize,
    /// Where each type stands; type 0 is `void` and stands nowhere.
    types: Vec<usize>,
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
    fn parse(bytes: &'a [u8]) -> Result<Self, BtfError> {
        let mut btf = Self { bytes, strings: 0, types: vec![0] };
        if btf.word(0)? as u16 != MAGIC {
            return Err(BtfError::Malformed(0));
        }
        let header = btf.word(4)? as usize;
        let (start, length) = (header + btf.word(8)? as usize, btf.word(12)? as usize);
        btf.strings = header + btf.word(16)? as usize;
        let mut at = start;
        while at < start + length {
            btf.types.push(at);
            let this = btf.type_at(at)?;
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
        let text = self.bytes.get(self.strings + offset as usize..).unwrap_or_default();
        text.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }

    /// The byte offset of a member, or of a member of a member, of a structure by name.
    fn offset(&self, structure: &str, path: &[&str]) -> Result<u32, BtfError> {
        let absent = || BtfError::Absent(format!("struct {structure}.{}", path.join(".")));
        for &at in &self.types[1..] {
            let this = self.type_at(at)?;
            if this.kind == STRUCT && this.length > 0 && self.is_named(this.name, structure) {
                let bits = self.offset_in(at, path, 0)?.ok_or_else(absent)?;
                return if bits % 8 == 0 { Ok(bits / 8) } else { Err(absent()) };
            }
        }
        Err(absent())
    }

    /// The same, in bits, inside the structure or union at `at`. `depth` bounds a text that
    /// refers to itself.
    fn offset_in(&self, at: usize, path: &[&str], depth: u32) -> Result<Option<u32>, BtfError> {
        let [name, rest @ ..] = path else { return Ok(Some(0)) };
        let this = self.type_at(at)?;
        if depth > 16 || !matches!(this.kind, STRUCT | UNION) {
            return Ok(None);
        }
        for member in 0..this.length {
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
                let structure = self.structure(self.word(member + 4)?)?;
                structure.map_or(Ok(None), |at| self.offset_in(at, inside, depth + 1))?
            };
            if let Some(found) = found {
                return Ok(Some(bits + found));
            }
        }
        Ok(None)
    }

    /// Where the type stands, with typedefs and qualifiers taken off.
    fn structure(&self, id: u32) -> Result<Option<usize>, BtfError> {
        let mut id = id;
        for _ in 0..16 {
            let Some(&at) = self.types.get(id as usize).filter(|_| id != 0) else {
                return Ok(None);
            };
            let this = self.type_at(at)?;
            match this.kind {
                8..=11 | 18 => id = this.size_or_type,
                _ => return Ok(Some(at)),
            }
        }
        Ok(None)
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
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(btf.offset("s", &["a"]).unwrap(), 0);
        assert_eq!(btf.offset("s", &["b"]).unwrap(), 4);
        assert_eq!(btf.offset("s", &["c", "d"]).unwrap(), 8);
    }

    #[test]
    fn what_is_not_there_is_said() {
        let bytes = sample();
        let btf = Btf::parse(&bytes).unwrap();
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
            if let Ok(btf) = Btf::parse(&bytes) {
                let _ = btf.offset("s", &["c", "d"]);
            }
        }
    }
}
