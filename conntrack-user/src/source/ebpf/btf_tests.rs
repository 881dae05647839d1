use super::kind::{
    CONST, FORWARD, FUNCTION, FUNCTION_PROTOTYPE, INT, POINTER, STRUCT, TYPEDEF, UNION,
};
use super::*;

/// Builds BTF by hand: types as words, then strings.
fn btf(types: &[u32], strings: &str) -> Vec<u8> {
    let types_length = types.len() as u32 * 4;
    let header =
        [0x0001_0000 | u32::from(MAGIC), 24, 0, types_length, types_length, strings.len() as u32];
    let words = header.iter().chain(types).flat_map(|word| word.to_le_bytes());
    words.chain(strings.bytes()).collect()
}

/// The same with a header of 7.x, with a layout section that has the length of each kind.
fn with_layout(types: &[u32], layout: &[[u8; 4]], strings: &str) -> Vec<u8> {
    let types_length = types.len() as u32 * 4;
    let strings_length = strings.len().next_multiple_of(4) as u32;
    let header = [
        0x0001_0000 | u32::from(MAGIC),
        32,
        0,
        types_length,
        types_length,
        strings_length,
        types_length + strings_length,
        layout.len() as u32 * 4,
    ];
    let words = header.iter().chain(types).flat_map(|word| word.to_le_bytes());
    let padding = vec![0; strings_length as usize - strings.len()];
    words.chain(strings.bytes()).chain(padding).chain(layout.concat()).collect()
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
            kind(INT, 0),
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
            kind(TYPEDEF, 0),
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
fn types_of_a_module_follow_those_of_the_kernel() {
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
fn a_missing_member_is_named() {
    let bytes = sample();
    let btf = Btf::parse(&bytes, None).unwrap();
    let absent = |structure, path: &[&str]| btf.offset(structure, path).unwrap_err().to_string();
    assert_eq!(absent("s", &["c", "nope"]), "no struct s.c.nope");
    assert_eq!(absent("u", &["a"]), "no struct u.a");
    assert_eq!(absent("s", &["a", "x"]), "no struct s.a.x");
}

/// `int f(struct s *, unsigned long, ...)` and `void g(void)`, where `s` is the sample's.
fn functions() -> Vec<u32> {
    let (s, f, g) = (1, 16, 18);
    let kind = |kind: u32, length: u32| kind << 24 | length;
    vec![
        0,
        kind(CONST, 0),
        7, // 6: const struct s
        s,
        kind(FORWARD, 0),
        0, // 7: struct s
        0,
        kind(POINTER, 0),
        6, // 8: const struct s *
        0,
        kind(FUNCTION_PROTOTYPE, 3),
        1,
        0,
        8,
        0,
        1,
        0,
        0, // 9
        f,
        kind(FUNCTION, 1),
        9, // 10: f
        0,
        kind(FUNCTION_PROTOTYPE, 0),
        0, // 11
        g,
        kind(FUNCTION, 0),
        11, // 12: g
    ]
}

#[test]
fn prototypes_are_read() {
    let kernel = sample();
    let kernel = Btf::parse(&kernel, None).unwrap();
    let module = btf(&functions(), "\0f\0g\0");
    let module = Btf::parse(&module, Some(&kernel)).unwrap();
    let f = module.function("f").unwrap().unwrap();
    let pointer = BtfValue::Pointer("s".to_owned());
    assert_eq!(f.parameters, [pointer, BtfValue::Integer, BtfValue::Void]);
    assert_eq!(f.result, BtfValue::Integer);
    let g = Prototype { parameters: Vec::new(), result: BtfValue::Void };
    assert_eq!(module.function("g").unwrap(), Some(g));
    assert_eq!(module.function("h").unwrap(), None);
    let numbers = ["f", "g", "h"].map(|name| module.function_id(name));
    assert_eq!(numbers, [Some((10, true)), Some((12, true)), None]);
}

/// A kind of 7 bits that no kernel has yet, with a word of its own and two for each of its two
/// members, before the structure.
#[test]
fn a_type_of_an_unknown_kind_is_skipped_where_the_layout_gives_its_size() {
    const UNKNOWN: u32 = 0x65;
    let kind = |kind: u32, length: u32| kind << 24 | length;
    let types = [
        0,
        kind(UNKNOWN, 2),
        0,
        77,
        77,
        77,
        77,
        77, // 1
        1,
        kind(STRUCT, 1),
        4,
        3,
        2,
        32, // 2: struct s with itself as a
    ];
    let strings = "\0s\0a\0";
    let mut layout = vec![[0; 4]; UNKNOWN as usize + 1];
    layout[UNKNOWN as usize] = [4, 8, 0, 0];
    let known = with_layout(&types, &layout, strings);
    assert_eq!(Btf::parse(&known, None).unwrap().offset("s", &["a"]).unwrap(), 4);
    layout.pop();
    let shorter = with_layout(&types, &layout, strings);
    assert!(matches!(Btf::parse(&shorter, None), Err(BtfError::Malformed(32))));
    let without = btf(&types, strings);
    assert!(matches!(Btf::parse(&without, None), Err(BtfError::Malformed(24))));
}

/// As many members as 16 bits cannot count.
#[test]
fn a_structure_may_have_members_beyond_the_old_limit() {
    let members = 0x1_0001;
    let mut types = vec![1, STRUCT << 24 | members, 4];
    for _ in 0..members {
        types.extend([0, 0, 0]);
    }
    types.extend([3, STRUCT << 24 | 1, 8, 5, 0, 32]);
    let bytes = btf(&types, "\0s\0t\0x\0");
    assert_eq!(Btf::parse(&bytes, None).unwrap().offset("t", &["x"]).unwrap(), 4);
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
            let _ = btf.function("s");
        }
    }
}
