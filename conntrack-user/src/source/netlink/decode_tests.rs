use netlink_packet_core::{NLM_F_DUMP_INTR, NLM_F_MULTIPART, NetlinkBuffer};
use proptest::prelude::*;

use super::*;

const SEQUENCE: u32 = 7;

/// A message with a payload, as the kernel lays it out.
fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = 16 + payload.len();
    let mut bytes = vec![0; length.next_multiple_of(4)];
    bytes[16..length].copy_from_slice(payload);
    let mut header = NetlinkBuffer::new(&mut bytes[..]);
    header.set_length(length as u32);
    header.set_message_type(kind);
    header.set_flags(flags);
    header.set_sequence_number(sequence);
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = (4 + value.len() as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn payload(cpu: u16, attributes: &[(u16, u32)]) -> Vec<u8> {
    let mut bytes = vec![0, 0];
    bytes.extend(cpu.to_be_bytes());
    bytes.extend(attributes.iter().flat_map(|(kind, v)| attribute(*kind, &v.to_be_bytes())));
    bytes
}

fn row(kind: u16, cpu: u16, attributes: &[(u16, u32)]) -> Vec<u8> {
    message(kind, NLM_F_MULTIPART, SEQUENCE, &payload(cpu, attributes))
}

fn code(kind: u16, code: i32) -> Vec<u8> {
    message(kind, 0, SEQUENCE, &code.to_ne_bytes())
}

fn entries(answer: &mut Answer, entries: u32, max: u32) {
    let datagram = row(0x105, 0, &[(1, entries), (2, max)]);
    assert_eq!(decode(&datagram, SEQUENCE, Request::Table, answer), Ok(Progress::Done));
}

fn counters(answer: &mut Answer, datagram: &[u8]) -> Result<Progress, NetlinkError> {
    decode(datagram, SEQUENCE, Request::Counters, answer)
}

fn table(answer: &mut Answer) -> (StatTable, Oddities) {
    let mut table = StatTable::default();
    let oddities = answer.fill(&mut table).unwrap();
    (table, oddities)
}

#[test]
fn attributes_become_columns_of_the_schema() {
    let mut answer = Answer::default();
    entries(&mut answer, 464, 262_144);
    let two =
        [row(0x104, 0, &[(2, 1), (10, 2), (14, 3)]), row(0x104, 5, &[(2, 4), (10, 5), (14, 6)])];
    assert_eq!(counters(&mut answer, &two.concat()), Ok(Progress::More));
    assert_eq!(counters(&mut answer, &code(NLMSG_DONE, 0)), Ok(Progress::Done));
    let expectations = [row(0x103, 0, &[(1, 7), (3, 8)]), row(0x203, 5, &[(1, 9), (3, 10)])];
    let expectations = [expectations.concat(), code(NLMSG_DONE, 0)].concat();
    let decoded = decode(&expectations, SEQUENCE, Request::Expectations, &mut answer);
    assert_eq!(decoded, Ok(Progress::Done));
    let (table, oddities) = table(&mut answer);
    let names = ["entries", "found", "drop", "clash_resolve", "expect_new", "expect_delete"];
    assert_eq!(table.layout.names, names);
    assert!(table.layout.maintained);
    assert_eq!(table.values, [464, 1, 2, 3, 7, 8, 464, 4, 5, 6, 9, 10]);
    assert_eq!((&table.filled[..], &table.cpus[..]), (&[6, 6][..], &[0, 5][..]));
    assert_eq!((answer.entries(), answer.max()), (Some(464), Some(262_144)));
    assert_eq!(oddities, Oddities::default());
}

/// Each with a number of its own, by the names of `nf_conntrack_netlink` as the kernel's header
/// counts them.
#[test]
fn every_attribute_has_its_name() {
    let mut answer = Answer::default();
    entries(&mut answer, 1, 2);
    let all: Vec<(u16, u32)> = (1..=15).map(|kind| (kind, 100 + u32::from(kind))).collect();
    counters(&mut answer, &row(0x104, 0, &all)).unwrap();
    let expectations = row(0x103, 0, &[(1, 201), (2, 202), (3, 203)]);
    decode(&expectations, SEQUENCE, Request::Expectations, &mut answer).unwrap();
    let (table, _) = table(&mut answer);
    for (name, value) in [
        ("searched", 101),
        ("found", 102),
        ("new", 103),
        ("invalid", 104),
        ("ignore", 105),
        ("delete", 106),
        ("delete_list", 107),
        ("insert", 108),
        ("insert_failed", 109),
        ("drop", 110),
        ("early_drop", 111),
        ("icmp_error", 112),
        ("search_restart", 113),
        ("clash_resolve", 114),
        ("chaintoolong", 115),
        ("expect_new", 201),
        ("expect_create", 202),
        ("expect_delete", 203),
    ] {
        assert_eq!(table.values[table.layout.column(name).unwrap()], value, "{name}");
    }
}

#[test]
fn an_unknown_attribute_is_kept_under_its_number() {
    let mut answer = Answer::default();
    entries(&mut answer, 1, 2);
    let mut odd = payload(0, &[(2, 1), (16, 9), (31, 8)]);
    // Neither of these is a 32-bit number of a type that is kept.
    odd.extend(attribute(32, &[0; 4]));
    odd.extend(attribute(17, b"text of nine"));
    counters(&mut answer, &message(0x104, 0, SEQUENCE, &odd)).unwrap();
    let (table, oddities) = table(&mut answer);
    assert_eq!(table.layout.names, ["entries", "found", "ctnetlink_16", "ctnetlink_31"]);
    assert_eq!(table.values, [1, 1, 9, 8]);
    assert_eq!(oddities, Oddities { long_rows: 1, ..Oddities::default() });
}

#[test]
fn a_cpu_without_a_counter_keeps_its_leading_counters() {
    let mut answer = Answer::default();
    entries(&mut answer, 1, 2);
    let rows = [row(0x104, 0, &[(2, 1), (4, 2), (5, 3)]), row(0x104, 1, &[(2, 4), (5, 6)])];
    counters(&mut answer, &rows.concat()).unwrap();
    let (table, oddities) = table(&mut answer);
    assert_eq!(table.filled, [4, 2]);
    assert_eq!(table.values, [1, 1, 2, 3, 1, 4, 0, 6]);
    assert_eq!(oddities.short_rows, 1);
}

#[test]
fn a_cpu_without_expectations_has_no_expectations_of_other_cpus() {
    let mut answer = Answer::default();
    entries(&mut answer, 1, 2);
    let rows: Vec<_> = (0..3).map(|cpu| row(0x104, cpu, &[(2, 5)])).collect();
    counters(&mut answer, &rows.concat()).unwrap();
    let rows: Vec<_> = [0, 2, 7].map(|cpu| row(0x103, cpu, &[(1, u32::from(cpu) + 10)])).into();
    decode(&rows.concat(), SEQUENCE, Request::Expectations, &mut answer).unwrap();
    let (table, oddities) = table(&mut answer);
    assert_eq!(table.values, [1, 5, 10, 1, 5, 0, 1, 5, 12]);
    assert_eq!((&table.filled[..], oddities.short_rows), (&[3, 2, 3][..], 1));
}

#[test]
fn an_answer_without_counters_is_incomplete() {
    let mut answer = Answer::default();
    entries(&mut answer, 1, 2);
    assert_eq!(answer.fill(&mut StatTable::default()), Err(NetlinkError::Incomplete));
}

#[test]
fn a_truncated_message_loses_no_other_row() {
    let mut answer = Answer::default();
    entries(&mut answer, 1, 2);
    let mut torn = payload(1, &[(2, 1)]);
    torn.extend([200, 0, 3, 0]);
    let rows = [
        row(0x104, 0, &[(2, 1)]),
        message(0x104, 0, SEQUENCE, &torn),
        message(0x104, 0, SEQUENCE, &[0]),
        row(0x104, 2, &[(2, 3)]),
        // A CPU comes once.
        row(0x104, 2, &[(2, 4)]),
    ];
    counters(&mut answer, &rows.concat()).unwrap();
    let (table, oddities) = table(&mut answer);
    assert_eq!((table.cpus, oddities.bad_rows), (vec![0, 2], 3));
    let cut = row(0x104, 3, &[(2, 1)]);
    let error = counters(&mut answer, &cut[..cut.len() - 4]).unwrap_err();
    assert!(error.is_passing() && error.to_string().contains("cut off"), "{error}");
}

#[test]
fn errors_of_the_kernel_are_distinguished() {
    let fail = |code: Vec<u8>| counters(&mut Answer::default(), &code).unwrap_err();
    let refused = fail(code(NLMSG_ERROR, -1));
    assert_eq!(refused, NetlinkError::Refused);
    for remedy in ["CAP_NET_ADMIN", "setcap cap_net_admin+ep", "AmbientCapabilities=CAP_NET_ADMIN"]
    {
        assert!(refused.to_string().contains(remedy), "{refused}");
    }
    assert_eq!(fail(code(NLMSG_ERROR, -22)), NetlinkError::Unsupported);
    for shortage in [-4, -11, -12, -105] {
        assert_eq!(fail(code(NLMSG_DONE, shortage)), NetlinkError::Overrun);
    }
    assert_eq!(fail(code(NLMSG_ERROR, -16)), NetlinkError::Incomplete);
    assert_eq!(fail(code(NLMSG_OVERRUN, 0)), NetlinkError::Overrun);
    for none in [i32::MIN, -4096] {
        assert!(matches!(fail(code(NLMSG_ERROR, none)), NetlinkError::Malformed(_)));
    }
    assert_eq!(
        fail(code(NLMSG_ERROR, -5)).to_string(),
        "ctnetlink answers: Input/output error (os error 5)"
    );
}

#[test]
fn an_interrupted_dump_is_an_error() {
    for flagged in [0, 1] {
        let flags = |at: usize| if at == flagged { NLM_F_DUMP_INTR } else { 0 };
        let one = message(0x104, flags(0), SEQUENCE, &payload(0, &[(2, 1)]));
        let two = message(NLMSG_DONE, flags(1), SEQUENCE, &[0; 4]);
        let decoded = counters(&mut Answer::default(), &[one, two].concat());
        assert_eq!(decoded, Err(NetlinkError::Interrupted));
    }
}

#[test]
fn answers_to_other_requests_are_skipped() {
    let mut answer = Answer::default();
    let stale = [
        message(0x104, 0, SEQUENCE - 1, &payload(0, &[(2, 1)])),
        message(NLMSG_ERROR, 0, SEQUENCE - 1, &(-1i32).to_ne_bytes()),
        message(NLMSG_DONE, 0, SEQUENCE + 1, &[0; 4]),
        row(0x105, 0, &[(1, 1)]),
    ];
    assert_eq!(counters(&mut answer, &stale.concat()), Ok(Progress::More));
    let mut table = StatTable::default();
    assert_eq!(answer.fill(&mut table), Err(NetlinkError::Incomplete));
    assert_eq!(table.rows(), 0);
}

#[test]
fn all_cpus_of_the_biggest_machine() {
    let mut answer = Answer::default();
    let mut table = StatTable::default();
    let mut layout = None;
    for round in 0..3 {
        answer.clear();
        entries(&mut answer, round, 9);
        // As many rows as a datagram of 32 KiB holds, and every second CPU is none.
        let rows: Vec<_> =
            (0..4096).map(|cpu| row(0x104, cpu * 2, &[(10, u32::from(cpu) + round)])).collect();
        for datagram in rows.chunks(300) {
            assert_eq!(counters(&mut answer, &datagram.concat()), Ok(Progress::More));
        }
        counters(&mut answer, &code(NLMSG_DONE, 0)).unwrap();
        assert_eq!(answer.fill(&mut table), Ok(Oddities::default()));
        assert_eq!(
            (table.rows(), table.cpus[4095], table.values[8191]),
            (4096, 8190, 4095 + round)
        );
        let first = layout.get_or_insert_with(|| Arc::clone(&table.layout));
        assert!(Arc::ptr_eq(first, &table.layout));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, expectations: bool) {
        let mut answer = Answer::default();
        let request = if expectations { Request::Expectations } else { Request::Counters };
        let _ = decode(&bytes, 0, request, &mut answer);
        let _ = decode(&bytes, 0, Request::Table, &mut answer);
        let _ = answer.fill(&mut StatTable::default());
    }

    #[test]
    fn any_error_number_has_a_text(number: i32) {
        let decoded = counters(&mut Answer::default(), &code(NLMSG_ERROR, number));
        prop_assert_eq!(decoded.is_err(), number < 0);
        prop_assert!(decoded.is_ok_and(|p| p == Progress::Done) || number < 0);
    }

    /// Messages as the kernel sends them, with some bytes changed.
    #[test]
    fn damaged_answers_never_panic(
        rows in prop::collection::vec((any::<u16>(), prop::collection::vec((0..40u16, any::<u32>()), 0..20)), 0..8),
        spoils in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut: prop::sample::Index,
    ) {
        let mut bytes: Vec<u8> = rows.iter().flat_map(|(cpu, a)| row(0x104, *cpu, a)).collect();
        bytes.extend(code(NLMSG_DONE, 0));
        for (at, byte) in &spoils {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        bytes.truncate(bytes.len() - cut.index(bytes.len()));
        let mut answer = Answer::default();
        entries(&mut answer, 1, 2);
        let _ = counters(&mut answer, &bytes);
        let mut table = StatTable::default();
        if answer.fill(&mut table).is_ok() {
            prop_assert_eq!(table.values.len(), table.rows() * table.columns());
            prop_assert_eq!(table.cpus.len(), table.rows());
            prop_assert!(table.filled.iter().all(|&filled| usize::from(filled) <= table.columns()));
        }
    }

    /// Counters are decoded for any attributes and any division into datagrams.
    #[test]
    fn counters_are_decoded_for_every_cpu(
        kinds in prop::collection::btree_set(1..32u16, 1..16),
        cpus in prop::collection::btree_set(any::<u16>(), 1..20),
        seed: u32,
        per_datagram in 1..6usize,
    ) {
        let value = |cpu: u16, kind: u16| seed ^ (u32::from(cpu) << 8) ^ u32::from(kind);
        let attributes = |cpu| kinds.iter().map(move |&kind| (kind, value(cpu, kind)));
        let rows: Vec<_> =
            cpus.iter().map(|&cpu| row(0x104, cpu, &attributes(cpu).collect::<Vec<_>>())).collect();
        let mut answer = Answer::default();
        entries(&mut answer, seed, 2);
        for datagram in rows.chunks(per_datagram) {
            prop_assert_eq!(counters(&mut answer, &datagram.concat()), Ok(Progress::More));
        }
        let (table, oddities) = table(&mut answer);
        let cpu_numbers: Vec<u32> = cpus.iter().map(|&cpu| cpu.into()).collect();
        prop_assert_eq!(&table.cpus, &cpu_numbers);
        let expected: Vec<u32> = cpus
            .iter()
            .flat_map(|&cpu| std::iter::once(seed).chain(attributes(cpu).map(|(_, value)| value)))
            .collect();
        prop_assert_eq!(table.values, expected);
        prop_assert_eq!(oddities, Oddities::default());
    }
}
