//! The kernel's type information (BTF), parsed just far enough to find members of structures and
//! prototypes of functions.
//!
//! Format: `Documentation/bpf/btf.rst`, kinds up to `ENUM64`. A module's goes on where the kernel's
//! ends. From 7.0 on a kind has 7 bits and a number of members 24, where older kernels leave bits 0,
//! and a layout section may give the sizes of all kinds, so that types of unknown kinds can be
//! skipped.

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

/// `BTF_KIND_*` of `include/uapi/linux/btf.h`.
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const POINTER: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const FORWARD: u32 = 7;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNCTION: u32 = 12;
    pub(super) const FUNCTION_PROTOTYPE: u32 = 13;
    pub(super) const VARIABLE: u32 = 14;
    pub(super) const DATA_SECTION: u32 = 15;
    pub(super) const FLOAT: u32 = 16;
    pub(super) const DECLARATION_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

/// A kind has 7 bits from 7.0 on, a number of members 24; older kernels leave the rest 0.
const KIND_SHIFT: u32 = 24;
const KIND_MASK: u32 = 0x7f;
const LENGTH_MASK: u32 = 0x00ff_ffff;

/// The bit of a structure whose members' offsets are packed with bit-field sizes, and the offset in
/// such a word.
const PACKED_SHIFT: u32 = 31;
const PACKED_OFFSET_MASK: u32 = 0x00ff_ffff;

/// Bytes behind the header of an array, and for each member, enumerator and parameter.
const ARRAY_BYTES: usize = 12;
const MEMBER_BYTES: usize = 12;
const WORD_PAIR_BYTES: usize = 8;

/// How many typedefs and qualifiers, or structures within structures, are followed at most.
const MOST_LEVELS: u32 = 16;

/// Bytes of a type's common header.
const TYPE_BYTES: usize = 12;

/// Bytes of a header that has a layout section.
const HEADER_WITH_LAYOUT: usize = 32;

/// How many members are read for one offset, at most: the kernel's largest structures have some
/// hundreds.
const MOST_MEMBERS: u32 = 1 << 16;

/// No function of the kernel has more parameters; BPF trampolines take 12 at most.
const MOST_PARAMETERS: usize = 64;

/// One BTF.
pub struct Btf<'a> {
    bytes: &'a [u8],
    /// The BTF that this one continues: its types and strings come first.
    base: Option<&'a Btf<'a>>,
    strings: usize,
    strings_length: usize,
    /// The position of each type; type 0 is `void` and has none.
    types: Vec<usize>,
    /// The names and positions of all structures that have members.
    structures: Vec<(u32, usize)>,
    /// The same of all functions.
    functions: Vec<(u32, usize)>,
    /// The position of the layout section, and its length in bytes; 0 without one.
    layout: (usize, usize),
}

/// The type of a parameter or a result, as far as registers and pointers depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BtfValue {
    /// Nothing; as the last parameter, any number of arguments.
    Void,
    /// An integer, a bool or an enumeration.
    Integer,
    /// A pointer, with the name of the structure that it points to; empty for anything else.
    Pointer(String),
    /// Anything else.
    Other,
}

impl std::fmt::Display for BtfValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Void => write!(f, "void"),
            Self::Integer => write!(f, "an integer"),
            Self::Pointer(name) if name.is_empty() => write!(f, "a pointer"),
            Self::Pointer(name) => write!(f, "a pointer to struct {name}"),
            Self::Other => write!(f, "another type"),
        }
    }
}

/// A function's parameters and result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prototype {
    /// In order.
    pub parameters: Vec<BtfValue>,
    /// Its type of result.
    pub result: BtfValue,
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
    /// Parses `bytes`, which continue `base` if they are a module's.
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
            functions: Vec::new(),
            layout: (0, 0),
        };
        if btf.word(0)? as u16 != MAGIC {
            return Err(BtfError::Malformed(0));
        }
        let header = btf.word(4)? as usize;
        let (start, length) = (header + btf.word(8)? as usize, btf.word(12)? as usize);
        btf.strings = header + btf.word(16)? as usize;
        btf.strings_length = btf.word(20)? as usize;
        if header >= HEADER_WITH_LAYOUT {
            btf.layout = (header + btf.word(24)? as usize, btf.word(28)? as usize);
        }
        let mut at = start;
        while at < start + length {
            btf.types.push(at);
            let this = btf.type_at(at)?;
            if this.kind == kind::STRUCT && this.length > 0 {
                btf.structures.push((this.name, at));
            } else if this.kind == kind::FUNCTION {
                btf.functions.push((this.name, at));
            }
            let more = btf.bytes_behind(&this).ok_or(BtfError::Malformed(at))?;
            at = at.checked_add(TYPE_BYTES + more).ok_or(BtfError::Malformed(at))?;
        }
        Ok(btf)
    }

    /// Returns the number of bytes between a type's common header and the next type.
    fn bytes_behind(&self, this: &Type) -> Option<usize> {
        Some(match this.kind {
            kind::POINTER | kind::FORWARD..=kind::FUNCTION | kind::FLOAT | kind::TYPE_TAG => 0,
            kind::INT | kind::VARIABLE | kind::DECLARATION_TAG => 4,
            kind::ARRAY => ARRAY_BYTES,
            kind::STRUCT | kind::UNION | kind::DATA_SECTION | kind::ENUM64 => {
                MEMBER_BYTES * this.length
            }
            kind::ENUM | kind::FUNCTION_PROTOTYPE => WORD_PAIR_BYTES * this.length,
            kind => {
                let (once, each) = self.layout_of(kind)?;
                once + each * this.length
            }
        })
    }

    /// Returns the sizes that the layout section has of a kind: once for a type, and for each member.
    fn layout_of(&self, kind: u32) -> Option<(usize, usize)> {
        let (start, length) = self.layout;
        let at = 4 * kind as usize;
        if at + 4 > length {
            return self.base.and_then(|base| base.layout_of(kind));
        }
        let [once, each, ..] = self.word(start + at).ok()?.to_le_bytes();
        Some((once.into(), each.into()))
    }

    fn word(&self, at: usize) -> Result<u32, BtfError> {
        let word = self.bytes.get(at..).and_then(<[u8]>::first_chunk);
        word.map(|word| u32::from_le_bytes(*word)).ok_or(BtfError::Malformed(at))
    }

    fn type_at(&self, at: usize) -> Result<Type, BtfError> {
        let info = self.word(at + 4)?;
        Ok(Type {
            name: self.word(at)?,
            kind: info >> KIND_SHIFT & KIND_MASK,
            length: (info & LENGTH_MASK) as usize,
            packed: info >> PACKED_SHIFT == 1,
            size_or_type: self.word(at + 8)?,
        })
    }

    /// Whether the string at an offset is this one. It is asked of each type of a kernel, so it does not search
    /// the string's end.
    fn is_named(&self, offset: u32, name: &str) -> bool {
        let rest = self.text_from(offset).and_then(|text| text.strip_prefix(name.as_bytes()));
        rest.is_some_and(|rest| rest.first() == Some(&0))
    }

    /// Returns the string at an offset, without its end; `None` for an invalid offset.
    fn name(&self, offset: u32) -> Option<&[u8]> {
        let text = self.text_from(offset)?;
        text.iter().position(|&byte| byte == 0).map(|end| &text[..end])
    }

    /// Returns what begins with the string at an offset; `None` for an invalid offset.
    fn text_from(&self, offset: u32) -> Option<&[u8]> {
        let mut offset = offset as usize;
        if let Some(base) = self.base {
            match offset.checked_sub(base.strings_length) {
                None => return base.text_from(offset as u32),
                Some(own) => offset = own,
            }
        }
        self.bytes.get(self.strings + offset..)
    }

    /// Returns the prototype of a function; `None` where it is not there.
    ///
    /// # Errors
    /// [`BtfError::Malformed`].
    pub fn function(&self, name: &str) -> Result<Option<Prototype>, BtfError> {
        let found = self.functions.iter().find(|(offset, _)| self.is_named(*offset, name));
        let Some((_, at)) = found else {
            return self.base.map_or(Ok(None), |base| base.function(name));
        };
        let prototype = self.type_at(*at)?.size_or_type;
        let (btf, at) = self.by_id(prototype).ok_or(BtfError::Malformed(*at))?;
        let this = btf.type_at(at)?;
        if this.kind != kind::FUNCTION_PROTOTYPE || this.length > MOST_PARAMETERS {
            return Err(BtfError::Malformed(at));
        }
        let parameter =
            |number| btf.value(btf.word(at + TYPE_BYTES + WORD_PAIR_BYTES * number + 4)?);
        let parameters = (0..this.length).map(parameter).collect::<Result<_, _>>()?;
        Ok(Some(Prototype { parameters, result: btf.value(this.size_or_type)? }))
    }

    /// Returns the number of a function's type, and whether it is of these types and not of those that
    /// they continue; `None` where it is not there.
    #[must_use]
    pub fn function_id(&self, name: &str) -> Option<(u32, bool)> {
        let found = self.functions.iter().find(|(offset, _)| self.is_named(*offset, name));
        let Some((_, at)) = found else {
            return self.base.and_then(|base| base.function_id(name)).map(|(id, _)| (id, false));
        };
        let before = self.base.map_or(0, |base| base.types.len());
        // Types are in the order of their positions; that of type 0 is 0.
        let number = before + self.types.binary_search(at).ok()?;
        Some((u32::try_from(number).ok()?, true))
    }

    /// Returns the kind of value of type `id`.
    fn value(&self, id: u32) -> Result<BtfValue, BtfError> {
        let Some((btf, at)) = self.unqualified(id)? else { return Ok(BtfValue::Void) };
        let this = btf.type_at(at)?;
        Ok(match this.kind {
            kind::INT | kind::ENUM | kind::ENUM64 => BtfValue::Integer,
            kind::POINTER => {
                let pointee = btf.unqualified(this.size_or_type)?;
                let structure = pointee.map(|(btf, at)| Ok((btf, btf.type_at(at)?))).transpose()?;
                let structure =
                    structure.filter(|(_, to)| [kind::STRUCT, kind::FORWARD].contains(&to.kind));
                let name = structure.and_then(|(btf, to)| btf.name(to.name)).unwrap_or_default();
                BtfValue::Pointer(String::from_utf8_lossy(name).into_owned())
            }
            _ => BtfValue::Other,
        })
    }

    /// Returns the structure of this name, and the BTF that has it.
    fn structure(&self, name: &str) -> Option<(&Self, usize)> {
        let found = self.structures.iter().find(|(offset, _)| self.is_named(*offset, name));
        let own = found.map(|(_, at)| (self, *at));
        own.or_else(|| self.base.and_then(|base| base.structure(name)))
    }

    /// Returns the size of a structure in bytes.
    ///
    /// # Errors
    /// [`BtfError`].
    pub fn size(&self, structure: &str) -> Result<u32, BtfError> {
        match self.structure(structure) {
            Some((btf, at)) => Ok(btf.type_at(at)?.size_or_type),
            None => Err(BtfError::Absent(format!("struct {structure}"))),
        }
    }

    /// Returns the byte offset of a member, or of a member of a member, of a structure by name.
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

    /// The same, in bits, inside the structure or union at `at`. `depth` and `left`, the number of
    /// members that may still be read, bound types that refer to themselves.
    fn offset_in(
        &self,
        at: usize,
        path: &[&str],
        depth: u32,
        left: &mut u32,
    ) -> Result<Option<u32>, BtfError> {
        let [name, rest @ ..] = path else { return Ok(Some(0)) };
        let this = self.type_at(at)?;
        if depth > MOST_LEVELS || !matches!(this.kind, kind::STRUCT | kind::UNION) {
            return Ok(None);
        }
        for member in 0..this.length {
            let Some(less) = left.checked_sub(1) else { return Ok(None) };
            *left = less;
            let member = at + TYPE_BYTES + MEMBER_BYTES * member;
            let mut bits = self.word(member + 8)?;
            if this.packed {
                bits &= PACKED_OFFSET_MASK;
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

    /// Returns the position of a type behind its typedefs and qualifiers.
    fn unqualified(&self, id: u32) -> Result<Option<(&Self, usize)>, BtfError> {
        let mut id = id;
        for _ in 0..MOST_LEVELS {
            let Some((btf, at)) = self.by_id(id) else { return Ok(None) };
            let this = btf.type_at(at)?;
            match this.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = this.size_or_type;
                }
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
#[path = "btf_tests.rs"]
mod tests;
