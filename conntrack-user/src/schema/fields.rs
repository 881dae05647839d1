//! The catalog: every field of the schema, declared once.
//!
//! Everything that knows fields asks here: the sources for their columns and attributes, `rows`
//! for what a row has, Prometheus and the manual for names, kinds and texts, the live view and the
//! report for order and words, `drops`, `advice` and `doctor` for causes.
//!
//! One row declares one field; its second string is also the constant's documentation. The order
//! of the rows is the order of the report's tables: losses first, then what was done, then the
//! rest. `CONTRIBUTING.md` has the recipes for a new counter and a new drop cause.

use conntrack_ebpf::{Cause, Event};

use super::field::{
    Attribute, CpuTrack, DerivedDrop, Field, LiveGroup, Part, PlotGroup, ProgramField, Raises,
    ReportedCause, WindowValue,
};
use super::measure::suffix;
use super::raw::{Counted, EVENTS};

/// Declares a constant for each field, and [`FIELDS`] with all of them.
macro_rules! catalog {
    ($(
        $id:ident = $kind:ident($name:literal, $help:literal) $(.$set:ident($($value:expr),*))*;
    )*) => {
        $(
            #[doc = $help]
            pub const $id: Field = Field::$kind(
                [
                    $name,
                    concat!($name, suffix!(Rate)),
                    concat!($name, suffix!(PeakRate)),
                    concat!($name, suffix!(PeakCount)),
                ],
                $help,
            )$(.$set($($value),*))*;
        )*
        /// Every field, in the order of the report's tables.
        pub const FIELDS: &[Field] = &[$($id),*];
    };
}

catalog! {
    // Losses, and what caused them.
    DROP = counter("drop",
        "Packets dropped because the table was full, a clash had no solution or a tracker said so.")
        .documented(10).stats(10)
        .live(2, "packets dropped").alarm("DROPPING")
        .plot(PlotGroup::Losses, 0).per_cpu(CpuTrack::Lost);
    DROP_TABLE_FULL = counter("drop_table_full",
        "Packets dropped because the table was full and nothing was evicted.")
        .event(Event::TableFull)
        .cause("table full", "the table was full and nothing could be evicted", Raises::Drop);
    TABLE_FULL_EVICTABLE = counter("table_full_evictable",
        "Packets dropped on a full table although it held entries that could have been evicted.")
        .event(Event::TableFullEvictable)
        .part_of_cause(&DROP_TABLE_FULL, "evictable elsewhere");
    DROP_CLASH = counter("drop_clash",
        "Packets dropped because an insertion clash could not be resolved.")
        .event(Event::ClashDropped)
        .cause("race not resolvable", "a race between two first packets", Raises::Both);
    DROP_NAT_EXHAUSTED = counter("drop_nat_exhausted",
        "Packets dropped because NAT found no free port for their connection.")
        .event(Event::NatExhausted)
        .cause("NAT ports exhausted", "NAT found no free port", Raises::Both);
    // Each insertion that is refused because of a long chain is a packet lost.
    DROP_CHAINTOOLONG = counter("drop_chaintoolong",
        "Packets dropped because the hash chain was too long.")
        .copy_of(&CHAINTOOLONG)
        .cause("hash chain too long", "a hash chain was too long", Raises::InsertFailed);
    CHAINTOOLONG = counter("chaintoolong",
        "Insertions refused because the hash chain was too long; drop does not count them.")
        .header("chainlength").stats(15)
        .live(7, "refused, hash chain too long").alarm("REFUSING").label("chain")
        .plot(PlotGroup::Losses, 1).per_cpu(CpuTrack::Lost);
    DROP_DYING = counter("drop_dying",
        "Packets dropped because their entry was dying before it could be inserted.")
        .derived(DerivedDrop::Dying)
        .cause("entry was dying", "the entry was dying before it was inserted",
            Raises::InsertFailed)
        .plot(PlotGroup::Losses, 2);
    DROP_TRACKER = counter("drop_tracker",
        "Packets dropped because the protocol tracker said so.")
        .event(Event::TrackerDropped)
        .cause("TCP tracker", "the TCP tracker said so", Raises::Drop);
    DROP_OTHER = counter("drop_other",
        "Packets dropped by conntrack for a reason that has no counter of its own.")
        .derived(DerivedDrop::Other)
        .cause("other", "none of these", Raises::Drop);
    EARLY_DROP = counter("early_drop",
        "Entries evicted from a full table to make room for a new one.")
        .documented(11).stats(11).unmistakable()
        .live(4, "entries evicted to make room").alarm("EVICTING").label("early")
        .plot(PlotGroup::Losses, 4);
    GC_EARLY_DROP = counter("gc_early_drop",
        "Entries evicted by the garbage collector before their time, from an almost full table.")
        .event(Event::GcEarlyDrop).plot(PlotGroup::Losses, 5);
    CREATE_TABLE_FULL = counter("create_table_full",
        "Entries that ctnetlink or BPF could not create because the table was full; no packets.")
        .event(Event::CreateTableFull).plot(PlotGroup::Losses, 6);
    INSERT_FAILED = counter("insert_failed",
        "Insertions that failed: clash, long chain, dying entry; before 5.10 resolved clashes, too.")
        .documented(9).stats(9).unmistakable()
        .live(3, "insertions that failed").alarm("FAILING").label("ins_fail")
        .plot(PlotGroup::Losses, 3);
    CLASH_RESOLVE = counter("clash_resolve",
        "Insertion races between two packets that were resolved without a loss.")
        .header("clashres").stats(14)
        .live(5, "insertion races resolved").label("clash")
        .plot(PlotGroup::Connections, 3);
    INVALID = counter("invalid",
        "Packets that could not be tracked; before 5.10 also TCP connections opened again.")
        .documented(4).stats(4)
        .live(8, "packets that cannot be tracked")
        .plot(PlotGroup::Connections, 4);

    // Connections and entries. Commit 8e8118f ("remove packet hotpath stats", 4.9) made most of
    // these a constant 0; 5.10 gave up `ignore`.
    NEW = counter("new",
        "Connections that the tracker accepted and no expectation had announced, confirmed or not.")
        .documented(3).stats(3).constant_from(4, 9).event(Event::New)
        .live(6, "connections begun")
        .plot(PlotGroup::Connections, 1);
    INSERT = counter("insert",
        "Entries put into the table; since 4.9 the kernel itself counts only ctnetlink's and BPF's.")
        .documented(8).stats(8).event(Event::Insert)
        .part(Part {
            doctor: "counts only what ctnetlink and BPF insert, not packets",
            live: "by ctnetlink only; probes count all",
            zero_is_uncounted: true
        })
        .live(0, "entries put into the table")
        .plot(PlotGroup::Connections, 0).per_cpu(CpuTrack::Inserted);
    DELETE = counter("delete",
        "Entries destroyed, also those that had never been confirmed.")
        .documented(6).stats(6).constant_from(4, 9).event(Event::Delete)
        .live(1, "connections destroyed")
        .plot(PlotGroup::Connections, 2);
    DELETE_LIST = counter("delete_list",
        "Entries taken out of the table.")
        .documented(7).stats(7).constant_from(4, 9).event(Event::DeleteList);
    FOUND = counter("found",
        "Lookups that found an entry; of newer kernels NAT's for a free tuple only, or by probes all.")
        .documented(2).stats(2).event(Event::Found)
        .part(Part {
            doctor: "counts only tuples that NAT finds taken (--ebpf-per-packet: lookups too)",
            live: "NAT ports taken; probes count all",
            zero_is_uncounted: false
        })
        .live(9, "lookups and NAT ports taken");
    IGNORE = counter("ignore",
        "Packets that already had an entry, or were marked as not to be tracked.")
        .documented(5).stats(5).constant_from(5, 10).event(Event::Ignored);
    SEARCH_RESTART = counter("search_restart",
        "Lookups begun again because the table changed meanwhile.")
        .documented(16).stats(13)
        .live(10, "lookups started again").label("restart");
    EXPECT_CREATE = counter("expect_create",
        "Expectations created.")
        .documented(14).expectations(2);
    EXPECT_DELETE = counter("expect_delete",
        "Expectations removed.")
        .documented(15).expectations(3);
    EXPECT_NEW = counter("expect_new",
        "Connections begun that an expectation had announced.")
        .documented(13).expectations(1);
    ICMP_ERROR = counter("icmp_error",
        "Packets refused as erroneous; newer kernels count only ICMP errors here.")
        .documented(12).stats(12)
        .live(11, "packets refused as malformed").label("icmp_err");
    SEARCHED = counter("searched",
        "Entries of other connections that lookups passed in their hash chains.")
        .documented(1).stats(1).constant_from(4, 9)
        .uncountable("the kernel gave it up in 4.9, and no probe reaches that loop");

    // The number of entries, and what the measurement missed.
    ENTRIES = gauge("entries",
        "Allocated entries of the network namespace, the same on every CPU.")
        .documented(0).value(WindowValue::Entries);
    ENTRIES_MAX = gauge("entries_max",
        "Most entries seen by a sample of the emission interval.")
        .value(WindowValue::EntriesMax);
    ENTRIES_MIN = gauge("entries_min",
        "Fewest entries seen by a sample of the emission interval.")
        .value(WindowValue::EntriesMin);
    EVENTS_MISSED = own("events_missed",
        "Calls known to be missed by the probes since they were attached, in all namespaces.")
        .value(WindowValue::EventsMissed);
    ROWS_LOST = own("rows_lost",
        "Emissions that a stuck consumer did not take; their events are in later ones.")
        .value(WindowValue::RowsLost);
    SAMPLE_SECONDS = gauge("sample_seconds",
        "Nominal time between two samples.")
        .value(WindowValue::SampleSeconds);
    SAMPLES_MISSED = own("samples_missed",
        "Samples not taken: the one before ran late, or ctnetlink gave no whole answer.")
        .value(WindowValue::SamplesMissed);

    // The row of the table.
    BUCKETS = gauge("ip_conntrack_buckets",
        "Buckets of the hash table.")
        .of_table("table_buckets");
    COUNT = gauge("ip_conntrack_count",
        "Entries in the table.")
        .of_table("table_entries").value(WindowValue::Count).unmistakable();
    COUNT_MAX = gauge("ip_conntrack_count_max",
        "Most entries seen by a sample of the emission interval.")
        .of_table("table_entries_max").value(WindowValue::EntriesMax);
    COUNT_MIN = gauge("ip_conntrack_count_min",
        "Fewest entries seen by a sample of the emission interval.")
        .of_table("table_entries_min").value(WindowValue::EntriesMin);
    LIMIT = gauge("ip_conntrack_max",
        "Most entries that the table may hold; 0 is no limit.")
        .of_table("table_limit").value(WindowValue::Limit).unmistakable();

    // The row about `ctpulse` itself; it has `samples_missed` and `rows_lost`, too.
    DRIFT = gauge("drift",
        "Change of the entries that the probes did not see since they were attached.")
        .of_own_row();
    HOST_ALLOC_FAILED = own("host_alloc_failed",
        "Entries of any network namespace refused: table full or no memory.")
        .of_own_row();
    HOST_UNPLACED = own("host_unplaced",
        "Events of all network namespaces together whose own was not known.")
        .of_own_row();
}

/// The counters that move only while the table is full (`__nf_conntrack_alloc`, `early_drop`), or more than 95 % full
/// (`gc_worker`).
pub const NEED_A_FULL_TABLE: [Field; 4] =
    [EARLY_DROP, GC_EARLY_DROP, DROP_TABLE_FULL, CREATE_TABLE_FULL];

/// Calls that a program's probe missed.
pub const PROGRAM_MISSED: ProgramField = ProgramField {
    suffix: "_missed",
    prometheus: "program_missed",
    help: "Calls that a probe missed because another ran or too many were under way.",
};
/// Calls at which the kernel skipped a program.
pub const PROGRAM_SKIPPED: ProgramField = ProgramField {
    suffix: "_skipped",
    prometheus: "program_skipped",
    help: "Calls at which the kernel skipped a probe's program.",
};
/// The time for which a program ran; seconds in Prometheus.
pub const PROGRAM_RUN_TIME: ProgramField = ProgramField {
    suffix: "_run_time_ns",
    prometheus: "program_run_time_seconds",
    help: "Time that a probe's program ran.",
};
/// How often a program ran.
pub const PROGRAM_RUNS: ProgramField = ProgramField {
    suffix: "_runs",
    prometheus: "program_runs",
    help: "Times that a probe's program ran.",
};
/// The fields that the row about `ctpulse` has for each program.
pub const PROGRAM_FIELDS: [ProgramField; 4] =
    [PROGRAM_MISSED, PROGRAM_SKIPPED, PROGRAM_RUN_TIME, PROGRAM_RUNS];

/// The prefix of the fields with the events of the probes, on the row about `ctpulse`.
pub const EVENTS_PREFIX: &str = "events_";

/// The fields of the causes in `ctpulse drops`, by [`Cause`].
pub const REPORTED_CAUSES: [ReportedCause; Cause::ALL.len()] = [
    reported(Cause::TableFull, "table_full", "table full"),
    reported(Cause::NoMemory, "no_memory", "no memory"),
    reported(Cause::Evicted, "evicted", "evicted"),
    reported(Cause::Clash, "clash", "lost a race"),
    reported(Cause::Dying, "dying", "entry dying"),
    reported(Cause::LongChain, "chaintoolong", "chain too long"),
    reported(Cause::Tracker, "tracker", "tracker"),
    reported(Cause::CreateTableFull, "create_table_full", "not created"),
    reported(Cause::GcEarlyDrop, "gc_early_drop", "evicted by gc"),
    reported(Cause::NatExhausted, "nat_exhausted", "no NAT port"),
];

const fn reported(cause: Cause, word: &'static str, words: &'static str) -> ReportedCause {
    ReportedCause { cause, word, words }
}

/// How many counters Telegraf's documentation has.
pub const DOCUMENTED_COUNT: usize = 17;

/// The names of the counters of Telegraf's documentation, in the order of the kernel's columns up
/// to 5.9. A row of statistics always has all of them.
pub const DOCUMENTED: [&str; DOCUMENTED_COUNT] = {
    let mut names = [""; DOCUMENTED_COUNT];
    let mut at = 0;
    while at < FIELDS.len() {
        if let Some(position) = FIELDS[at].documented {
            assert!(names[position].is_empty(), "two fields have one position");
            names[position] = FIELDS[at].name;
        }
        at += 1;
    }
    names
};

/// The events that explain a packet in the kernel's `drop`.
pub const IN_DROP: Counted = explaining(Raises::Drop);

/// The events that explain a packet in the kernel's `insert_failed`.
pub const IN_INSERT_FAILED: Counted = explaining(Raises::InsertFailed);

/// Returns the events of the causes that raise this counter of the kernel.
const fn explaining(counter: Raises) -> Counted {
    let mut events = [false; EVENTS];
    let mut at = 0;
    while at < FIELDS.len() {
        if let (Some(cause), Some(event)) = (FIELDS[at].cause, FIELDS[at].event) {
            events[event as usize] = cause.raises.includes(counter);
        }
        at += 1;
    }
    events
}

/// Returns the field with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.name == name)
}

/// Returns the schema's name of a column that the kernel's header calls `column`.
#[must_use]
pub fn name_of_column(column: &str) -> &str {
    FIELDS.iter().find(|field| field.header == Some(column)).map_or(column, |field| field.name)
}

/// Returns the field that ctnetlink sends in this attribute.
#[must_use]
pub fn of_attribute(attribute: Attribute) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.attribute == Some(attribute))
}

/// Returns the place of a field in the report's tables; fields without a row here come last.
#[must_use]
pub fn rank(name: &str) -> usize {
    FIELDS.iter().position(|field| field.name == name).unwrap_or(FIELDS.len())
}

/// Returns the drop causes, in the order of the catalog.
pub fn causes() -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().filter(|field| field.cause.is_some())
}

/// Returns the parts of a cause that the live view shows below it.
pub fn parts_of(cause: &Field) -> impl Iterator<Item = &'static Field> {
    let group = LiveGroup::PartOf(cause.name);
    FIELDS.iter().filter(move |field| field.live.is_some_and(|live| live.group == group))
}

#[cfg(test)]
#[path = "fields_tests.rs"]
mod tests;
