//! Rules about the size of the table and of its hash.

use super::commands::{self, Side, drops, holders};
use super::{BY_SOURCE, Evidence, FILLING, FULL, Finding, SYSCTL, Severity};
use super::{number, percent, within};
use crate::schema::field::Field;
use crate::schema::fields::{
    CREATE_TABLE_FULL, DROP, DROP_TABLE_FULL, EARLY_DROP, GC_EARLY_DROP, INSERT_FAILED,
    TABLE_FULL_EVICTABLE,
};

/// Entries for each bucket above which lookups are slow; the kernel's own default is 1 from 5.15
/// on and was 4 before (`nf_conntrack_init_start`). Each entry stands in two chains.
const LONG: f64 = 4.0;

/// How long an entry lives at least, in seconds: what a table needs room for at once is what came
/// within that time (`nf_conntrack_udp_timeout`, the shortest of the common ones).
const LIFETIME: f64 = 30.0;

/// Memory of an entry in bytes, about, with the usual extensions.
const ENTRY: f64 = 400.0;

/// More entries than this, some 3 GiB, are no remedy for a burst: it is a flood.
const MOST_ENTRIES: f64 = 8_388_608.0;

/// The kernel keeps the limit as an `int`.
const LARGEST: f64 = 2_147_483_647.0;

/// Room for entries that are created by other programs is missing, too.
const EVICTED: [(Field, &str); 2] =
    [(EARLY_DROP, "entries evicted"), (GC_EARLY_DROP, "entries evicted by the garbage collector")];

/// A table that is full or will soon be.
pub(super) fn too_small(evidence: &Evidence) -> Option<Finding> {
    let (peak, max, fill) = (evidence.peak?, evidence.max?, evidence.fill()?);
    let dropped = match evidence.counted(&DROP_TABLE_FULL) {
        Some(dropped) => dropped,
        // Without probes: the drops that no failed insertion explains, in a full table mostly these.
        None if fill >= FULL => evidence.undivided(),
        None => 0.0,
    };
    let evicted: f64 = EVICTED.iter().map(|(counter, _)| evidence.count(counter)).sum();
    let not_created = evidence.count(&CREATE_TABLE_FULL);
    let is_full = dropped + evicted + not_created > 0.0;
    let severity = match fill {
        _ if is_full => Severity::Problem,
        FILLING.. => Severity::Warning,
        _ => return None,
    };
    let mut text =
        format!("at most {} of {} entries ({})", number(peak), number(max), percent(fill));
    if fill < FULL && is_full {
        text.push_str(" in any sample, though full in between");
    }
    let evictions = EVICTED.map(|(counter, what)| (evidence.count(&counter), what));
    let is_sure = evidence.counted(&DROP_TABLE_FULL).or(evidence.counted(&INSERT_FAILED)).is_some();
    let packets = if is_sure {
        "packets dropped"
    } else {
        "packets dropped for this or other causes (insert_failed is not known)"
    };
    let counts = [(dropped, packets)]
        .into_iter()
        .chain(evictions)
        .chain([(not_created, "entries of other programs (ctnetlink, BPF) refused")]);
    for (count, what) in counts.filter(|(count, _)| *count > 0.0) {
        text.push_str(&format!(", {} {what}", number(count)));
    }
    let evictable = evidence.count(&TABLE_FULL_EVICTABLE);
    if evictable > 0.0 && dropped > 0.0 {
        text.push_str(&format!(
            " ({} of the drops although entries could have been evicted: the kernel searches 8 \
             buckets only)",
            number(evictable)
        ));
    }
    let turned_away = turned_away(evidence, dropped + evicted + not_created);
    let (most, last) = evidence.under_other_limits.unwrap_or((peak, max));
    let room = most.max(max) + turned_away;
    let wanted = room.max(2.0 * max);
    let mut remedies = Vec::new();
    if last == 0.0 || last >= wanted {
        let last = if last > 0.0 { number(last) } else { "none".to_owned() };
        remedies.push(format!(
            "the limit is {last} at the end of the rows, which is enough: set it before there is traffic, and \
             again when the module is loaded (at boot: load nf_conntrack before sysctl.d is applied)"
        ));
    } else if room > MOST_ENTRIES && turned_away > max {
        remedies.push(for_flood(turned_away));
    } else if max >= LARGEST {
        remedies.push(format!("nf_conntrack_max cannot be larger than {}", number(LARGEST)));
    } else {
        let wanted = (wanted.min(LARGEST) as u64).next_power_of_two().min(LARGEST as u64);
        remedies.push(format!(
            "sysctl -w net.netfilter.nf_conntrack_max={wanted} or more (in the host's own namespace; \
             some {} MiB when full)",
            number((wanted as f64 * ENTRY / f64::from(1 << 20)).round())
        ));
        if evidence.buckets.is_some_and(|buckets| buckets < wanted as f64 / LONG) {
            remedies.push(buckets(wanted as f64));
        }
    }
    remedies.push(holders(evidence, Side::Source, "the sources that hold most entries"));
    remedies.push(drops(evidence, BY_SOURCE, "who is turned away or evicted"));
    let title = match severity {
        Severity::Problem => "the table is too small",
        _ => "the table is filling",
    };
    Some(Finding {
        severity,
        title: title.to_owned(),
        evidence: format!("{text} {}", within(evidence)),
        remedies,
        see: SYSCTL,
    })
}

/// Returns the entries that were turned away within the shortest lifetime of an entry, in the worst
/// part of the time: they would have stood in the table at once.
fn turned_away(evidence: &Evidence, all: f64) -> f64 {
    let counters =
        [DROP_TABLE_FULL, CREATE_TABLE_FULL].into_iter().chain(EVICTED.map(|(field, _)| field));
    let worst: f64 = counters.filter_map(|field| evidence.busiest.get(field.name)).sum();
    // Without probes the table's drops are among the others.
    let drops = evidence.busiest.get(DROP.name).copied().unwrap_or(0.0);
    let without_probes = evidence.counted(&DROP_TABLE_FULL).is_none();
    let worst = if without_probes { worst + drops } else { worst };
    let mean = all / evidence.seconds.max(LIFETIME);
    (worst.max(mean) * LIFETIME).min(all)
}

/// Returns the remedy where more connections begin than any table has room for.
fn for_flood(turned_away: f64) -> String {
    format!(
        "a flood: {} more within {LIFETIME:.0} s are more than any table has room for (each takes \
         some {ENTRY:.0} bytes). Limit it before it is tracked: nft `notrack` or a drop by source \
         in a prerouting chain of priority raw, SYN cookies by nft `synproxy`, or new connections \
         per source by nft `ct count over`",
        number(turned_away)
    )
}

/// Returns the remedy against few buckets. The kernel refuses a hash of more than 2^29.
fn buckets(wanted: f64) -> String {
    commands::buckets(wanted.min(MOST_ENTRIES) as u64)
}

/// Insertions that were refused for the length of a hash chain.
pub(super) fn chains_too_long(evidence: &Evidence) -> Option<Finding> {
    let refused = evidence.long_chains().unwrap_or(0.0);
    if refused == 0.0 {
        return None;
    }
    let limit = evidence.max.filter(|max| *max > 0.0);
    let mut remedies = Vec::new();
    if let Some(max) = limit.filter(|max| evidence.buckets.is_none_or(|buckets| buckets < *max)) {
        let unless = if evidence.buckets.is_some() { "" } else { "unless there are more: " };
        remedies.push(format!("{unless}{}", buckets(max)));
    }
    remedies.push(format!(
        "if there are as many buckets as entries, addresses may be chosen to collide: {}",
        drops(evidence, BY_SOURCE, "the sources")
    ));
    Some(Finding {
        severity: Severity::Problem,
        title: "hash chains are too long".to_owned(),
        evidence: format!("{} insertions refused {}", number(refused), within(evidence)),
        remedies,
        see: SYSCTL,
    })
}

/// Buckets that are too few for the table's limit.
pub(super) fn few_buckets(evidence: &Evidence) -> Option<Finding> {
    let max = evidence.max.filter(|max| *max > 0.0)?;
    let are = evidence.buckets.filter(|buckets| *buckets > 0.0)?;
    let (possible, now) = (max / are, evidence.peak.unwrap_or(0.0) / are);
    (possible > LONG).then(|| Finding {
        severity: Severity::Warning,
        title: "there are few buckets for the table's size".to_owned(),
        evidence: format!(
            "{} buckets for {} entries: {possible:.0} for each bucket when full, {now:.1} at the \
             peak, each in two chains",
            number(are),
            number(max)
        ),
        remedies: vec![buckets(max)],
        see: SYSCTL,
    })
}
