//! The prototypes that the programs are written for. With another prototype they would read the wrong
//! arguments without any error.

use super::btf::{BtfValue, Prototype};

/// A parameter or a result.
#[derive(Debug, Clone, Copy)]
enum Expected {
    Void,
    Integer,
    /// A pointer to this structure.
    To(&'static str),
}

use Expected::{Integer, To, Void};

const CONNECTION: Expected = To("nf_conn");
const NET: Expected = To("net");
const PACKET: Expected = To("sk_buff");
const STATE: Expected = To("nf_hook_state");
const TUPLE: Expected = To("nf_conntrack_tuple");
const TUPLE_HASH: Expected = To("nf_conntrack_tuple_hash");
const ZONE: Expected = To("nf_conntrack_zone");

/// Each function with its parameters and its result, as read in the types of Debian's 6.1, 6.12, 6.18
/// and 7.3, and in the sources of 5.10. `init_conntrack` is in no kernel's types under its own name.
const PROTOTYPES: [(&str, &[Expected], Expected); 18] = [
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
];

/// The functions that have a known prototype.
pub(super) fn functions() -> impl Iterator<Item = &'static str> {
    PROTOTYPES.iter().map(|(name, ..)| *name)
}

/// Describes how the prototype that a kernel has of `function` differs, if it does.
pub(super) fn difference(function: &str, found: &Prototype) -> Option<String> {
    let (_, parameters, result) = PROTOTYPES.iter().find(|(name, ..)| *name == function)?;
    if found.parameters.len() != parameters.len() {
        let (here, expected) = (found.parameters.len(), parameters.len());
        return Some(format!("{function} takes {here} parameters here, {expected} are expected"));
    }
    let pairs = (1..).zip(found.parameters.iter().zip(*parameters));
    for (number, (found, expected)) in pairs {
        if let Some(difference) = unlike(found, *expected) {
            return Some(format!("parameter {number} of {function} is {difference}"));
        }
    }
    unlike(&found.result, *result).map(|difference| format!("{function} returns {difference}"))
}

fn unlike(found: &BtfValue, expected: Expected) -> Option<String> {
    let expected = match expected {
        Void => BtfValue::Void,
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
        for probe in HOOKS.iter().flat_map(|hook| hook.ways).flat_map(|way| way.probes) {
            for function in probe.functions {
                assert!(functions().any(|known| known == *function), "{function}");
            }
        }
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
