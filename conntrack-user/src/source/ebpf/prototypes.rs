//! The prototypes that the programs are written for. With another prototype they would read the wrong
//! arguments without any error.

use super::btf::{BtfValue, Prototype};

/// A parameter or a result.
#[derive(Debug, Clone, Copy)]
enum Expected {
    Void,
    Integer,
    /// A pointer to this structure; without a name, to anything else.
    To(&'static str),
    /// Any number of arguments, as the last parameter.
    More,
}

use Expected::{Integer, More, To, Void};

const EXPECTATION: Expected = To("nf_conntrack_expect");
const CONNECTION: Expected = To("nf_conn");
const HEADER: Expected = To("tcphdr");
const NET: Expected = To("net");
const PACKET: Expected = To("sk_buff");
const STATE: Expected = To("nf_hook_state");
const TEXT: Expected = To("");
const TUPLE: Expected = To("nf_conntrack_tuple");
const TUPLE_HASH: Expected = To("nf_conntrack_tuple_hash");
const ZONE: Expected = To("nf_conntrack_zone");

/// Each function with its parameters and its result, as read in the types of Debian's 6.1, 6.12, 6.18
/// and 7.3, and in the sources of 5.10. `init_conntrack` is in no kernel's types under its own name.
/// A function that kernels have with different prototypes is there more than once.
const PROTOTYPES: [(&str, &[Expected], Expected); 26] = [
    ("__nf_conntrack_hash_insert", &[CONNECTION, Integer, Integer], Void),
    ("__nf_conntrack_insert_prepare", &[CONNECTION], Void),
    ("nf_conntrack_hash_check_insert", &[CONNECTION], Integer),
    ("__nf_conntrack_confirm", &[PACKET], Integer),
    ("nf_ct_destroy", &[To("nf_conntrack")], Void),
    ("destroy_conntrack", &[To("nf_conntrack")], Void),
    ("__nf_ct_delete_from_lists", &[CONNECTION], Void),
    ("nf_ct_delete_from_lists", &[CONNECTION], Void),
    ("__nf_conntrack_alloc", &[NET, ZONE, TUPLE, TUPLE, Integer, Integer], CONNECTION),
    ("nf_conntrack_free", &[CONNECTION], Void),
    ("early_drop", &[NET, Integer], Integer),
    ("gc_worker", &[To("work_struct")], Void),
    ("nf_ct_resolve_clash", &[PACKET, TUPLE_HASH, Integer], Integer),
    ("__nf_conntrack_find_get", &[NET, ZONE, TUPLE, Integer], TUPLE_HASH),
    ("nf_conntrack_tuple_taken", &[TUPLE, CONNECTION], Integer),
    ("nf_conntrack_in", &[PACKET, STATE], Integer),
    ("nf_conntrack_tcp_packet", &[CONNECTION, PACKET, Integer, Integer, STATE], Integer),
    ("init_conntrack", &[NET, CONNECTION, TUPLE, PACKET, Integer, Integer], TUPLE_HASH),
    ("nf_ct_find_expectation", &[NET, ZONE, TUPLE, Integer], EXPECTATION),
    ("nf_ct_find_expectation", &[NET, ZONE, TUPLE], EXPECTATION),
    (CONNECTION_INVALID, &[PACKET, CONNECTION, STATE, TEXT, More], Void),
    (CONNECTION_INVALID, &[PACKET, CONNECTION, TEXT, More], Void),
    ("nf_l4proto_log_invalid", &[PACKET, STATE, Integer, TEXT, More], Void),
    ("nf_l4proto_log_invalid", &[PACKET, NET, Integer, Integer, TEXT, More], Void),
    ("tcp_new", &[CONNECTION, PACKET, Integer, HEADER, STATE], Integer),
    ("tcp_new", &[CONNECTION, PACKET, Integer, HEADER], Integer),
];

/// The function for INVALID packets of a connection.
const CONNECTION_INVALID: &str = "nf_ct_l4proto_log_invalid";

/// Whether the functions for INVALID packets take a `struct nf_hook_state` (5.14 on). `None` where the
/// prototype is not known.
pub(super) fn invalid_has_state(functions: &[(&'static str, Prototype)]) -> Option<bool> {
    let (_, prototype) = functions.iter().find(|(name, _)| *name == CONNECTION_INVALID)?;
    let state = BtfValue::Pointer("nf_hook_state".to_owned());
    Some(prototype.parameters.get(2) == Some(&state))
}

/// The functions that have a known prototype, each once.
pub(super) fn functions() -> impl Iterator<Item = &'static str> {
    let is_first = |at: usize| at == 0 || PROTOTYPES[at - 1].0 != PROTOTYPES[at].0;
    PROTOTYPES.iter().enumerate().filter(move |(at, _)| is_first(*at)).map(|(_, (name, ..))| *name)
}

/// Describes how the prototype that a kernel has of `function` differs, if no known prototype is the same.
pub(super) fn difference(function: &str, found: &Prototype) -> Option<String> {
    let known = PROTOTYPES.iter().filter(|(name, ..)| *name == function);
    let mut differences =
        known.map(|(_, parameters, result)| difference_from(function, found, parameters, *result));
    let first = differences.next()??;
    if differences.any(|other| other.is_none()) { None } else { Some(first) }
}

fn difference_from(
    function: &str,
    found: &Prototype,
    parameters: &[Expected],
    result: Expected,
) -> Option<String> {
    if found.parameters.len() != parameters.len() {
        let (here, expected) = (found.parameters.len(), parameters.len());
        return Some(format!("{function} takes {here} parameters here, {expected} are expected"));
    }
    let pairs = (1..).zip(found.parameters.iter().zip(parameters));
    for (number, (found, expected)) in pairs {
        if let Some(difference) = unlike(found, *expected) {
            return Some(format!("parameter {number} of {function} is {difference}"));
        }
    }
    unlike(&found.result, result).map(|difference| format!("{function} returns {difference}"))
}

fn unlike(found: &BtfValue, expected: Expected) -> Option<String> {
    let expected = match expected {
        Void | More => BtfValue::Void,
        Integer => BtfValue::Integer,
        To(name) => BtfValue::Pointer(name.to_owned()),
    };
    (*found != expected).then(|| format!("{found} here, {expected} is expected"))
}

#[cfg(test)]
mod tests {
    use super::super::probe_table::HOOKS;
    use super::*;

    fn pointer(name: &str) -> BtfValue {
        BtfValue::Pointer(name.to_owned())
    }

    #[test]
    fn the_prototype_of_every_hooked_function_is_known() {
        let ways = HOOKS.iter().flat_map(|hook| hook.ways);
        for probe in ways.flat_map(|way| way.probes.iter().chain(way.trampolines)) {
            for function in probe.functions {
                assert!(functions().any(|known| known == *function), "{function}");
            }
        }
    }

    #[test]
    fn each_known_prototype_of_a_function_is_accepted() {
        let text = || BtfValue::Pointer(String::new());
        let (packet, connection, state) =
            (pointer("sk_buff"), pointer("nf_conn"), pointer("nf_hook_state"));
        let old = [packet.clone(), connection.clone(), text(), BtfValue::Void];
        let new = [packet, connection, state, text(), BtfValue::Void];
        for (parameters, has_state) in [(&old[..], false), (&new, true)] {
            let prototype = Prototype { parameters: parameters.to_vec(), result: BtfValue::Void };
            assert_eq!(difference(CONNECTION_INVALID, &prototype), None);
            let functions = [(CONNECTION_INVALID, prototype)];
            assert_eq!(invalid_has_state(&functions), Some(has_state));
        }
        let short = Prototype { parameters: new[..4].to_vec(), result: BtfValue::Void };
        assert!(difference(CONNECTION_INVALID, &short).is_some());
        assert_eq!(invalid_has_state(&[]), None);
        let names: Vec<_> = functions().collect();
        assert_eq!(names.iter().filter(|name| **name == "tcp_new").count(), 1);
    }

    #[test]
    fn a_difference_is_named() {
        let prototype =
            |parameters: &[BtfValue], result| Prototype { parameters: parameters.to_vec(), result };
        let early_drop = |parameters: &[BtfValue], result| {
            difference("early_drop", &prototype(parameters, result))
        };
        let good = [pointer("net"), BtfValue::Integer];
        assert_eq!(early_drop(&good, BtfValue::Integer), None);
        for (parameters, result, expected) in [
            (&good[..1], BtfValue::Integer, "early_drop takes 1 parameters here, 2 are expected"),
            (
                &[pointer("nf_conn"), BtfValue::Integer],
                BtfValue::Integer,
                "parameter 1 of early_drop is a pointer to struct nf_conn here, a pointer to struct \
                 net is expected",
            ),
            (
                &[pointer("net"), BtfValue::Void],
                BtfValue::Integer,
                "parameter 2 of early_drop is void here, an integer is expected",
            ),
            (&good, BtfValue::Void, "early_drop returns void here, an integer is expected"),
        ] {
            assert_eq!(early_drop(parameters, result).as_deref(), Some(expected));
        }
    }
}
