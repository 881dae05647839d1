//! One rule for insertions that failed: two first packets raced, or NAT had no port left.
//!
//! The kernel raises `insert_failed` and `drop` for both. They differ in `found`, the tuples that
//! NAT found taken: a search that fails tries up to 248 ports (128 + 64 + 32 + 16 + 8,
//! `nf_nat_l4proto_unique_tuple`) and never more than its range has; a race finds none.

use conntrack_ebpf::Cause;

use super::commands::{drops, holders, inside};
use super::{BY_SOURCE, Evidence, FULL, Finding, Severity, number, percent, within};
use crate::schema::fields::{
    CHAINTOOLONG, CLASH_RESOLVE, DROP, DROP_CLASH, DROP_DYING, INSERT_FAILED, REPORTED_CAUSES,
};

/// Taken ports for each failure from which on ports ran out, and below which it was a race.
/// Measured: 68 and more with 100 ports and more; 0.14 at most in races.
const EXHAUSTED: f64 = 20.0;
const RACE: f64 = 0.2;

/// Rows with failures from which on they show whether the number is steady, and the share of the
/// mean that the lowest of them has to reach. In a mixture it is 0 in some row.
const ROWS: u64 = 3;
const STEADY: f64 = 0.75;

/// The port of name servers.
const DNS: u16 = 53;

/// The most ports that one search tries.
const TRIES: f64 = 248.0;

/// What the failures were, by the ports found taken for each of them.
#[derive(Debug, Clone, Copy, PartialEq)]
enum ClashCause {
    Exhausted(f64),
    /// A range of so few ports.
    Few(f64),
    /// A range of a few ports, or some of both.
    Mixed(f64),
    Race(f64),
    /// `found` does not count taken ports there.
    Unknown,
}

impl ClashCause {
    fn of(evidence: &Evidence, failed: f64) -> Self {
        match evidence.found_taken().map(|found| found / failed) {
            None => Self::Unknown,
            Some(ratio) if ratio >= EXHAUSTED => Self::Exhausted(ratio),
            Some(ratio) if ratio < RACE => Self::Race(ratio),
            Some(ratio) if is_steady(evidence, ratio) => Self::Few(ratio),
            Some(ratio) => Self::Mixed(ratio),
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Exhausted(_) | Self::Few(_) => "NAT runs out of ports",
            Self::Mixed(1.0..) => "NAT runs out of ports, and first packets may race",
            Self::Mixed(_) => "first packets race, and NAT may run out of ports",
            Self::Race(_) => "first packets race",
            Self::Unknown => "first packets race, or NAT runs out of ports",
        }
    }

    fn has_exhaustion(self) -> bool {
        !matches!(self, Self::Race(_))
    }

    fn has_race(self) -> bool {
        !matches!(self, Self::Exhausted(_) | Self::Few(_))
    }

    /// Why it is concluded, and the share of each.
    fn reason(self) -> String {
        match self {
            Self::Exhausted(ratio) if ratio > TRIES => format!(
                "a search that fails tries {TRIES} ports at most, so many searches that succeeded \
                 found ports taken, too; a race finds none"
            ),
            Self::Exhausted(_) => {
                format!("a search that fails tries up to {TRIES} ports, a race finds none taken")
            }
            Self::Few(ratio) => format!(
                "a range of about {ratio:.0} ports is exhausted, since the number is the same all the \
                 time; a race finds none taken"
            ),
            Self::Mixed(ratio @ 1.0..) => format!(
                "a range of about {ratio:.0} ports that is exhausted, or a mixture: at least {} are \
                 exhausted ports (a search that fails tries up to {TRIES}), the rest races (which \
                 find none taken)",
                percent(ratio / TRIES)
            ),
            Self::Mixed(ratio) => format!(
                "at most {} are exhausted ports (a search that fails finds at least one taken), the \
                 rest races (which find none)",
                percent(ratio)
            ),
            Self::Race(_) => "a search for a port that fails finds at least one taken".to_owned(),
            Self::Unknown => {
                "only the ports that NAT found taken tell the two apart, and they are not counted \
                 here"
                    .to_owned()
            }
        }
    }
}

/// Whether all rows show the same: a range of at least one port that is exhausted.
fn is_steady(evidence: &Evidence, ratio: f64) -> bool {
    let of_rows = evidence.found_for_failures;
    ratio >= 1.0 && of_rows.rows >= ROWS && of_rows.lowest >= STEADY * ratio
}

/// Insertions that failed, whatever the cause, with the numbers that show it.
pub(super) fn races_or_ports(evidence: &Evidence) -> Option<Finding> {
    // A long chain and a dying entry raise it, too.
    let others = evidence.count(&CHAINTOOLONG) + evidence.count(&DROP_DYING);
    let failed = (evidence.count(&INSERT_FAILED) - others).max(0.0);
    let dropped = evidence.counted(&DROP_CLASH);
    let lost = dropped.unwrap_or(failed);
    if lost == 0.0 {
        return None;
    }
    let cause = ClashCause::of(evidence, lost);
    // From 4.7 to 5.9 races that were resolved are among the failures, and not in `drop`.
    let is_full = evidence.fill().is_some_and(|fill| fill >= FULL);
    let are_lost = dropped.is_some()
        || evidence.counted(&CLASH_RESOLVE).is_some()
        || (!is_full && evidence.count(&DROP) >= lost);
    let what = match dropped {
        Some(_) => "packets lost before their entry was inserted",
        None if are_lost => "insertions failed, and their packets were lost",
        None => "insertions failed, some perhaps races that the kernel resolved (before 5.10)",
    };
    let mut text = format!("{} {what} {}", number(lost), within(evidence));
    if let Some(found) = evidence.found_taken() {
        let each = number(found / lost);
        text.push_str(&format!("; NAT found {} ports taken, {each} for each", number(found)));
    }
    text.push_str(&format!(": {}", cause.reason()));
    let mut remedies = Vec::new();
    if cause.has_exhaustion() {
        remedies.extend(for_exhaustion(evidence));
    }
    if cause.has_race() {
        let (note, of_races) = for_races(evidence, cause);
        text.push_str(&note);
        remedies.extend(of_races);
    }
    remedies.push(drops(evidence, BY_SOURCE, "who loses them"));
    Some(Finding {
        severity: if are_lost { Severity::Problem } else { Severity::Warning },
        title: cause.title().to_owned(),
        evidence: text,
        remedies,
        see: "nft(8), NAT statements; resolv.conf(5)",
    })
}

/// A random port is no remedy: none is free.
fn for_exhaustion(evidence: &Evidence) -> [String; 4] {
    [
        "NAT ports: more source addresses, or a wider range of ports (nft `snat to \
         192.0.2.1-192.0.2.8`, or the rule's `:1024-65535`); each client keeps to one address of a \
         range"
            .to_owned(),
        "NAT ports: a port is taken once for each destination; fewer connections to one destination \
         (a cache or a proxy before it, or several addresses for it) need fewer ports"
            .to_owned(),
        format!(
            "NAT ports: shorter timeouts free them sooner: {}sysctl net.netfilter | grep timeout \
             (udp_timeout_stream, tcp_timeout_time_wait: 120 s by default)",
            inside(evidence)
        ),
        format!("NAT ports: the destinations with the most entries: {}", holders(evidence, "dst")),
    ]
}

/// Returns what is known of raced lookups of names, and the remedies.
fn for_races(evidence: &Evidence, cause: ClashCause) -> (String, Vec<String>) {
    let clash = REPORTED_CAUSES[Cause::Clash as usize].word;
    let of_clash = evidence.ports.iter().filter(|((cause, _), _)| *cause == clash);
    let seen: u64 = of_clash.map(|(_, count)| *count).sum();
    let dns = evidence.ports.get(&(clash, DNS)).copied().unwrap_or(0);
    let note = match seen {
        0 => String::new(),
        _ => format!("; {dns} of {seen} that were reported went to port 53"),
    };
    let mut remedies = Vec::new();
    if 2 * dns >= seen {
        let if_so = if seen == 0 { "if these are name look-ups: they" } else { "name look-ups" };
        remedies.push(format!(
            "races: {if_so} send A and AAAA from one socket at once: `options \
             single-request-reopen` (glibc) or `use-vc` in resolv.conf, or a cache on the host itself \
             (NodeLocal DNSCache)"
        ));
    }
    // Beside exhausted ports it would make the searches longer.
    if !cause.has_exhaustion() {
        remedies.push(
            "races: where source translation picks the port: nft `masquerade fully-random`, iptables \
             `-j MASQUERADE --random-fully`"
                .to_owned(),
        );
    }
    (note, remedies)
}
