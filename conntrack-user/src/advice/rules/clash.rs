//! One rule for insertions that failed: two first packets raced, or NAT had no port left.
//!
//! The kernel raises `insert_failed` and `drop` for both. Probes on the answers that NAT gets count
//! the latter (`drop_nat_exhausted`). Without them the two differ in `found`, the tuples that NAT found
//! taken: a search that fails tries up to 248 ports (128 + 64 + 32 + 16 + 8,
//! `nf_nat_l4proto_unique_tuple`) and never more than its range has; a race finds none. Searches
//! that succeed find taken ports, too: only what rows with failures show beyond the others is
//! brought by failures.

use conntrack_ebpf::Cause;

use super::super::evidence::Host;
use super::commands::{Side, drops, exhausted_ports, holders};
use super::failures::NO_LONG_CHAINS;
use super::{BY_SOURCE, Evidence, FULL, Finding, Severity, number, percent, within};
use crate::schema::fields::{CLASH_RESOLVE, DROP, DROP_CLASH, DROP_NAT_EXHAUSTED, REPORTED_CAUSES};
use crate::top::nat_ports;

/// Taken ports for each failure from which on a range of a few ports is no explanation, and below
/// which it was a race. Measured: 68 and more with 100 ports and more; 0.14 at most in races.
const MANY: f64 = 20.0;
const RACE: f64 = 0.2;

/// Rows with failures from which on they show whether the number is steady, and the share of the
/// mean that the lowest of them has to reach. In a mixture it is 0 in some row.
const ROWS: u64 = 3;
const STEADY: f64 = 0.75;

/// The keys by which `ctpulse drops` adds up what takes ports.
const BY_NAT: &str = "--top nat,destination,port";

/// The port of name servers.
const DNS: u16 = 53;

/// The most ports that one search tries.
const TRIES: f64 = nat_ports::TRIES as f64;

/// The share of failures that are surely exhausted ports, from which on races are no part of the
/// title, and from which on they need no remedy.
const MOSTLY: f64 = 0.25;
const NEARLY_ALL: f64 = 0.9;

/// The share of all ports found taken from which on those of searches that succeed are worth a
/// word.
const NOTICEABLE: f64 = 0.1;

/// The cause of the failures, by the number of ports found taken for each of them.
#[derive(Debug, Clone, Copy, PartialEq)]
enum ClashCause {
    /// So many packets found no port, and so many lost a race: both are counted.
    Counted { exhausted: f64, races: f64 },
    /// An exhausted range of so few ports.
    Few(f64),
    /// Each failure brought at least so many and at most so many: exhausted ports, or these and
    /// races.
    Ports(f64, f64),
    /// More than failures can bring: searches that succeeded beside them brought an unknown part.
    Crowded,
    /// Each failure brought less than one.
    MostlyRaces(f64),
    /// Races, as far as anything shows: at most so many for each failure.
    Race(f64),
    /// Rows without failures show as much, and each failure brought at most so many.
    Background(f64),
    /// So many for each failure at most, and how many of them failures brought is unknown; and
    /// whether something speaks for races: others that happened, or rows without failures.
    Inseparable(f64, bool),
    /// `found` does not count taken ports there.
    NotCounted,
}

impl ClashCause {
    fn of(evidence: &Evidence, failed: f64) -> Self {
        if let Some(exhausted) = evidence.counted(&DROP_NAT_EXHAUSTED) {
            return Self::Counted { exhausted, races: (failed - exhausted).max(0.0) };
        }
        let Some(ratio) = evidence.found_taken().map(|found| found / failed) else {
            return Self::NotCounted;
        };
        if ratio < RACE {
            return Self::Race(ratio);
        }
        let are_resolved = evidence.races_resolved() > 0.0;
        let Some((low, high)) = evidence.found_for_failures.brought else {
            return Self::Inseparable(ratio, are_resolved);
        };
        // A background takes from what the failures brought, and adds nothing.
        let (low, high) = (low.min(ratio), high.min(ratio));
        match (low, high) {
            (_, ..RACE) => Self::Race(high),
            // Other races are known to have happened.
            (..RACE, ..MANY) if are_resolved => Self::Race(high),
            (..RACE, ..MANY) => Self::Background(high),
            (..RACE, _) => Self::Inseparable(high, true),
            _ if low > TRIES => Self::Crowded,
            // Races come with the load, and so do the ports that searches that succeed find taken.
            _ if has_background(evidence) && evidence.races_resolved() >= failed => {
                Self::Inseparable(high, true)
            }
            (1.0..MANY, _) if is_steady(evidence, ratio) && !are_resolved => Self::Few(ratio),
            (_, ..1.0) => Self::MostlyRaces(high),
            _ => Self::Ports(low, high),
        }
    }

    /// The share that is surely exhausted ports.
    fn exhausted(self) -> f64 {
        match self {
            Self::Counted { exhausted, races } => exhausted / (exhausted + races),
            Self::Few(_) => 1.0,
            Self::Ports(low, _) => low / TRIES,
            _ => 0.0,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Counted { exhausted: 0.0, .. } | Self::Race(_) => "first packets race",
            Self::Counted { races: 0.0, .. } | Self::Few(_) => "NAT runs out of ports",
            Self::Counted { .. } => "NAT runs out of ports, and first packets race",
            Self::Ports(..) if self.exhausted() >= MOSTLY => "NAT runs out of ports",
            Self::Ports(..) | Self::Crowded => "NAT runs out of ports, and first packets may race",
            Self::MostlyRaces(_) | Self::Background(_) => {
                "first packets race, and NAT may run out of ports"
            }
            Self::Inseparable(MANY..=TRIES, false) => {
                "NAT runs out of ports, or first packets race"
            }
            Self::Inseparable(..) | Self::NotCounted => {
                "first packets race, or NAT runs out of ports"
            }
        }
    }

    fn has_exhaustion(self) -> bool {
        !matches!(self, Self::Race(_) | Self::Counted { exhausted: 0.0, .. })
    }

    fn has_race(self) -> bool {
        match self {
            Self::Counted { races, .. } => races > 0.0,
            _ => self.exhausted() < NEARLY_ALL,
        }
    }

    /// Whether races are the cause, and a random port a remedy: beside exhausted ports it would make
    /// the searches longer.
    fn is_race(self) -> bool {
        match self {
            Self::Counted { exhausted, .. } => exhausted == 0.0,
            _ => matches!(self, Self::Race(_) | Self::Background(_)),
        }
    }

    /// Why it is concluded, and the share of each.
    fn reason(self, evidence: &Evidence) -> String {
        let resolved = match evidence.races_resolved() {
            0.0 => String::new(),
            resolved => format!("; the kernel resolved {} other races", number(resolved)),
        };
        let reason = match self {
            Self::Counted { exhausted: 0.0, .. } => "all of them lost a race".to_owned(),
            Self::Counted { races: 0.0, .. } => "no port was free for any of them".to_owned(),
            Self::Counted { exhausted, races } => format!(
                "no port was free for {} of them, and {} lost a race",
                number(exhausted),
                number(races)
            ),
            Self::Few(ratio) => format!(
                "a range of about {ratio:.0} port{} is exhausted, since the number is the same all the \
                 time; a race finds none taken",
                if ratio < 1.5 { "" } else { "s" }
            ),
            Self::Ports(low, high) => format!(
                "at least {} are exhausted ports (the failures brought {} each beyond what rows with \
                 few or none show, and a search that fails tries up to {TRIES}), and all of them if {} \
                 is exhausted; otherwise the rest are races (which find none taken)",
                percent((low / TRIES).min(1.0)),
                number(low),
                match high {
                    TRIES.. => "a wide range of ports".to_owned(),
                    _ => format!("a range of about {high:.0} ports"),
                }
            ),
            Self::Crowded => format!(
                "a search that fails tries {TRIES} ports at most, so many searches that succeeded \
                 found ports taken, too, and more where insertions failed than elsewhere: the share \
                 of races (which find none taken) is not known"
            ),
            Self::MostlyRaces(high) => format!(
                "at most {} are exhausted ports (a search that fails finds at least one taken), the \
                 rest races (which find none)",
                percent(high)
            ),
            Self::Race(high @ RACE..) => format!(
                "rows with few failures or none show as many, so the failures brought at most {} each, and a \
                 race finds none taken",
                number(high)
            ),
            Self::Race(_) => "a search for a port that fails finds at least one taken".to_owned(),
            Self::Background(high) => format!(
                "rows with few failures or none show as many, so the failures brought at most {} each: races \
                 (which find none taken), unless a range of so few ports is exhausted",
                number(high)
            ),
            Self::Inseparable(high, _) => format!(
                "searches that succeed find ports taken, too, and the rows do not show how many of \
                 these the failures brought: none if they are races, up to {} each if ports are \
                 exhausted{}",
                number(high.min(TRIES)),
                match evidence.found_for_failures.brought {
                    None => format!(" (then at least {} are)", percent((high / TRIES).min(1.0))),
                    Some(_) => String::new(),
                }
            ),
            Self::NotCounted => {
                "only the ports that NAT found taken tell the two apart, and they are not counted \
                 here"
                    .to_owned()
            }
        };
        reason + &resolved
    }
}

/// Whether searches find many ports taken where no insertion fails.
fn has_background(evidence: &Evidence) -> bool {
    let found = evidence.found_taken().unwrap_or(0.0);
    let background = evidence.found_for_failures.background;
    found > 0.0 && background * evidence.seconds >= NOTICEABLE * found
}

/// Whether all rows show the same: a range of at least one port that is exhausted.
fn is_steady(evidence: &Evidence, ratio: f64) -> bool {
    let of_rows = evidence.found_for_failures;
    of_rows.rows >= ROWS && of_rows.lowest >= STEADY * ratio
}

/// Failed insertions of all causes, with their numbers.
pub(super) fn races_or_ports(evidence: &Evidence) -> Option<Finding> {
    // A long chain and a dying entry raise it, too.
    let failed = (evidence.failed() - evidence.dying()).max(0.0);
    let exhausted = evidence.counted(&DROP_NAT_EXHAUSTED);
    let dropped = evidence.counted(&DROP_CLASH).map(|races| races + exhausted.unwrap_or(0.0));
    let lost = dropped.unwrap_or(failed).max(exhausted.unwrap_or(0.0));
    if lost == 0.0 {
        return None;
    }
    let cause = ClashCause::of(evidence, lost);
    // From 4.7 to 5.9 races that were resolved are among the failures, and not in `drop`.
    let is_full = evidence.fill().is_some_and(|fill| fill >= FULL);
    let are_lost = dropped.is_some()
        || evidence.counted(&CLASH_RESOLVE).is_some()
        || (!is_full && evidence.count(&DROP) >= lost);
    let drops_of_all = evidence.count(&DROP);
    let is_recorded = evidence.host == Host::Recorded;
    let what = match dropped {
        Some(_) => "packets lost before their entry was inserted".to_owned(),
        None if are_lost => "insertions failed, and their packets were lost".to_owned(),
        None if evidence.is_up_to_4_8() => {
            "insertions failed: races, whose packets were lost up to Linux 4.6 and are not in drop; from 4.7 on the \
             kernel resolves them"
                .to_owned()
        }
        None if drops_of_all > 0.0 => format!(
            "insertions failed, some perhaps races that the kernel resolved (before 5.10), and {} \
             packets were dropped for these or other causes",
            number(drops_of_all)
        ),
        // Telegraf's rows do not show the release.
        None if is_recorded => {
            "insertions failed: races that the kernel resolved (before 5.10), or \
                                packets lost to long chains or dying entries (from 5.10 on)"
                .to_owned()
        }
        None => {
            "insertions failed, perhaps races that the kernel resolved (before 5.10)".to_owned()
        }
    };
    let mut text = format!("{} {what} {}", number(lost), within(evidence));
    if let Some(found) = evidence.found_taken().filter(|_| exhausted.is_none()) {
        let each = number(found / lost);
        text.push_str(&format!("; NAT found {} ports taken, {each} for each", number(found)));
        let background = evidence.found_for_failures.background;
        if has_background(evidence) {
            let rate = number(background);
            text.push_str(&format!(" ({rate} a second without failures, too)"));
        }
    }
    text.push_str(&format!(": {}", cause.reason(evidence)));
    let mut remedies = Vec::new();
    if cause.has_exhaustion() {
        remedies.extend(for_exhaustion(evidence));
    }
    if exhausted.is_some_and(|exhausted| exhausted > 0.0) {
        let whose = "the address whose ports run out, and the destination";
        remedies.push(format!("NAT ports: {}", drops(evidence, BY_NAT, whose)));
    }
    if cause.has_race() {
        let (note, of_races) = for_races(evidence, cause);
        if is_recorded && evidence.long_chains().is_none() {
            text.push_str(NO_LONG_CHAINS);
        }
        text.push_str(&note);
        remedies.extend(of_races);
    }
    remedies.push(drops(evidence, BY_SOURCE, "who loses them"));
    Some(Finding {
        // Which of the causes a drop had is another question than whether there was one.
        severity: if are_lost || drops_of_all > 0.0 {
            Severity::Problem
        } else if is_recorded {
            Severity::Unknown
        } else {
            Severity::Warning
        },
        title: cause.title().to_owned(),
        evidence: text,
        remedies,
        see: "nft(8), NAT statements; resolv.conf(5)",
    })
}

/// A random port is no remedy: none is free.
fn for_exhaustion(evidence: &Evidence) -> [String; 4] {
    let [more, fewer, shorter] = exhausted_ports(evidence);
    let most =
        holders(evidence, Side::Destination, "NAT ports: the destinations with most entries");
    [more, fewer, shorter, most]
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
        let if_so = if seen == 0 { "if these are name lookups: they" } else { "name lookups" };
        remedies.push(format!(
            "races: {if_so} send A and AAAA from one socket at once: `options \
             single-request-reopen` (glibc) or `use-vc` in resolv.conf, or a cache on the host itself \
             (NodeLocal DNSCache)"
        ));
    }
    if cause.is_race() {
        remedies.push(
            "races: where source translation picks the port: nft `masquerade fully-random`, iptables \
             `-j MASQUERADE --random-fully`"
                .to_owned(),
        );
    }
    (note, remedies)
}

#[cfg(test)]
#[path = "clash_tests.rs"]
mod tests;
