//! The `# HELP` texts: one sentence for each documented field.
//!
//! The sentences hold for every kernel that ctpulse reads. Where a counter's meaning changed
//! between kernels they say so.

/// What a counter or gauge is, by its name behind the measurement's, without `_total`.
const TEXTS: [(&str, &str); 47] = [
    ("build_info", "The version of ctpulse; always 1."),
    (
        "chaintoolong",
        "Insertions refused because the hash chain was too long; drop does not count them.",
    ),
    ("clash_resolve", "Insertion races between two packets that were resolved without a loss."),
    (
        "create_table_full",
        "Entries that ctnetlink or BPF could not create because the table was full; no packets.",
    ),
    ("delete", "Entries destroyed, also those that had never been confirmed."),
    ("delete_list", "Entries taken out of the table."),
    (
        "drop",
        "Packets dropped because the table was full, a clash had no solution or a tracker said so.",
    ),
    ("drift", "Change of the entries that the probes did not see since they were attached."),
    ("drop_chaintoolong", "Packets dropped because the hash chain was too long."),
    ("drop_clash", "Packets dropped because an insertion clash could not be resolved."),
    ("drop_dying", "Packets dropped because their entry was dying before it could be inserted."),
    ("drop_other", "Packets dropped by conntrack for a reason that has no counter of its own."),
    ("drop_table_full", "Packets dropped because the table was full and nothing was evicted."),
    ("drop_tracker", "Packets dropped because the protocol tracker said so."),
    ("early_drop", "Entries evicted from a full table to make room for a new one."),
    ("entries", "Allocated entries of the network namespace, the same on every CPU."),
    ("entries_max", "Most entries seen by a sample of the emission interval."),
    ("entries_min", "Fewest entries seen by a sample of the emission interval."),
    (
        "events_missed",
        "Calls known to be missed by the probes since they were attached, in all namespaces.",
    ),
    ("expect_create", "Expectations created."),
    ("expect_delete", "Expectations removed."),
    ("expect_new", "Connections begun that an expectation had announced."),
    (
        "found",
        "Lookups that found an entry; of newer kernels NAT's for a free tuple only, or by probes all.",
    ),
    (
        "gc_early_drop",
        "Entries evicted by the garbage collector before their time, from an almost full table.",
    ),
    ("host_alloc_failed", "Entries of any network namespace refused: table full or no memory."),
    ("host_unplaced", "Events of all network namespaces together whose own was not known."),
    ("icmp_error", "Packets refused as erroneous; newer kernels count only ICMP errors here."),
    ("ignore", "Packets that already had an entry, or were marked as not to be tracked."),
    (
        "insert",
        "Entries put into the table; since 4.9 the kernel itself counts only ctnetlink's and BPF's.",
    ),
    (
        "insert_failed",
        "Insertions that failed: clash, long chain, dying entry; before 5.10 resolved clashes, too.",
    ),
    (
        "invalid",
        "Packets that could not be tracked; before 5.10 also TCP connections opened again.",
    ),
    (
        "new",
        "Connections that the tracker accepted and no expectation had announced, confirmed or not.",
    ),
    ("program_missed", "Calls that a probe missed because another ran or too many were under way."),
    ("program_run_time_seconds", "Time that a probe's program ran."),
    ("program_runs", "Times that a probe's program ran."),
    ("program_skipped", "Calls at which the kernel skipped a probe's program."),
    ("rows_lost", "Emissions that a stuck consumer did not take; their events are in later ones."),
    ("sample_seconds", "Nominal time between two samples."),
    (
        "samples_missed",
        "Samples not taken: the one before ran late, or ctnetlink gave no whole answer.",
    ),
    ("search_restart", "Lookups begun again because the table changed meanwhile."),
    ("searched", "Entries of other connections that lookups passed in their hash chains."),
    ("table_buckets", "Buckets of the hash table."),
    ("table_entries", "Entries in the table."),
    ("table_entries_max", "Most entries seen by a sample of the emission interval."),
    ("table_entries_min", "Fewest entries seen by a sample of the emission interval."),
    (
        "table_full_evictable",
        "Packets dropped on a full table although it held entries that could have been evicted.",
    ),
    ("table_limit", "Most entries that the table may hold; 0 is no limit."),
];

/// The names that are not those of a field of the row `conntrack`.
const NOT_A_FIELD: [&str; 5] = ["build_info", "drift", "host_", "program_", "table_"];

/// The fields of the table row, with the name that their text stands under.
const TABLE_FIELDS: [(&str, &str); 3] = [
    ("ip_conntrack_buckets", "table_buckets"),
    ("ip_conntrack_count", "table_entries"),
    ("ip_conntrack_max", "table_limit"),
];

/// Every documented field of the rows, with its text.
pub(super) fn fields() -> Vec<(String, String)> {
    let is_field = |name: &str| {
        name == "table_full_evictable" || !NOT_A_FIELD.iter().any(|start| name.starts_with(start))
    };
    let statistics = TEXTS.iter().map(|(name, _)| *name).filter(|name| is_field(name));
    let statistics = statistics.map(|name| (name.to_owned(), help(name)));
    TABLE_FIELDS.iter().map(|(name, of)| ((*name).to_owned(), help(of))).chain(statistics).collect()
}

/// The help text of a name; rates are explained by the counter that they belong to.
pub(super) fn help(field: &str) -> String {
    if let Some((_, text)) = TEXTS.iter().find(|(name, _)| *name == field) {
        (*text).to_owned()
    } else if let Some(counter) = field.strip_suffix("_rate_max") {
        format!("Highest rate of {counter} in any sample interval of the emission, per second.")
    } else if let Some(counter) = field.strip_suffix("_sample_max") {
        format!("Largest number of events of {counter} in one sample of the emission interval.")
    } else if let Some(counter) = field.strip_suffix("_rate") {
        format!("Rate of {counter} over the emission interval, per second.")
    } else if let Some(event) = field.strip_prefix("events_") {
        format!("Events of the kind {event} that the probes counted since they were attached.")
    } else {
        format!("Kernel value {field}, which ctpulse has no description of.")
    }
}
