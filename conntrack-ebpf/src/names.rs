//! Names of maps and globals in the object.

/// The map of counters: an array of [`crate::Counters`] that user space maps into its memory.
/// CPU `c` counts slot `s` at index `c * SLOTS + s`; slot 0 is for every namespace that has
/// no slot of its own.
pub const COUNTERS: &str = "COUNTERS";
/// The map from a namespace's inode number (`u32`) to its slot (`u32`), for more than one.
pub const NAMESPACES: &str = "NAMESPACES";
/// The array of one [`crate::Call`]: the run of the garbage collector that is under way.
pub const GC_RUN: &str = "GC_RUN";
/// The array of [`crate::Call`]s, `1 << CALL_BITS` of them.
pub const CALLS: &str = "CALLS";
/// Global `u32`: log2 of the number of calls, at most 20.
pub const CALL_BITS: &str = "CALL_BITS";
/// The ring of [`crate::DropRecord`]s.
pub const DROPS: &str = "DROPS";
/// The array of one [`crate::Reporting`] for each CPU.
pub const REPORTING: &str = "REPORTING";
/// The array of one [`crate::Latency`] for each CPU.
pub const LATENCIES: &str = "LATENCIES";
/// Global `u32`: 1 where the time of insertions is taken.
pub const TAKE_LATENCY: &str = "TAKE_LATENCY";
/// Global `u64`: how many drops one CPU may report in one window, 0 for none at all.
pub const REPORTS: &str = "REPORTS";
/// The ring of [`crate::InvalidRecord`]s.
pub const INVALID_PACKETS: &str = "INVALID_PACKETS";
/// The map from the address of a text to it, a [`crate::InvalidText`].
pub const INVALID_TEXTS: &str = "INVALID_TEXTS";
/// The map from a [`crate::InvalidKey`] to the number of calls (`u64`), of each CPU.
pub const INVALID_COUNTS: &str = "INVALID_COUNTS";
/// The array of one [`crate::InvalidReporting`] for each CPU.
pub const INVALID_REPORTING: &str = "INVALID_REPORTING";
/// The array of `1 << REFUSED_BITS` addresses of connections.
pub const REFUSED: &str = "REFUSED";
/// Global `u32`: 1 where the functions for INVALID packets take a `struct nf_hook_state` (5.14 on).
pub const INVALID_HAS_STATE: &str = "INVALID_HAS_STATE";
/// The array of one [`crate::CensusRun`].
pub const CENSUS: &str = "CENSUS";
/// The ring of `aya-log`.
pub const DIAGNOSTICS: &str = "AYA_LOGS";
/// Global `u8`: the highest level (`log::Level` as a number) of diagnostics, 0 for none.
pub const DIAGNOSTICS_LEVEL: &str = "AYA_LOG_LEVEL";
/// Global `u32`: 1 where the tuples that NAT finds taken are counted, too.
pub const COUNT_FOUND: &str = "COUNT_FOUND";
/// Global `u32`: slots per CPU.
pub const SLOTS: &str = "SLOTS";
/// Global `u32`: the inode number of the namespace of slot 1, if there is one namespace; 0
/// where there are more, or the offsets below are not known: slot 0 then counts everything.
pub const NAMESPACE: &str = "NAMESPACE";
/// Global `u32`: 1 where [`NAMESPACES`] is to be asked instead.
pub const MANY: &str = "MANY";
/// Global `u32`: byte offset of `ct_net.net` in `struct nf_conn`.
pub const NF_CONN_NET: &str = "NF_CONN_NET";
/// Global `u32`: byte offset of `status` in `struct nf_conn`.
pub const NF_CONN_STATUS: &str = "NF_CONN_STATUS";
/// Global `u32`: byte offset of `tuplehash` in `struct nf_conn`.
pub const NF_CONN_TUPLEHASH: &str = "NF_CONN_TUPLEHASH";
/// Global `u32`: size of `struct nf_conntrack_tuple_hash`, of which a connection has two.
pub const TUPLE_HASH_SIZE: &str = "TUPLE_HASH_SIZE";
/// Global `u32`: byte offset of `hnnode` in `struct nf_conntrack_tuple_hash`.
pub const TUPLE_HASH_NODE: &str = "TUPLE_HASH_NODE";
/// Global `u32`: byte offset of `tuple.dst.dir` in `struct nf_conntrack_tuple_hash`.
pub const TUPLE_HASH_DIR: &str = "TUPLE_HASH_DIR";
/// Global `u32`: byte offset of `ns.inum` in `struct net`.
pub const NET_INUM: &str = "NET_INUM";
/// Global `u32`: byte offset of `tuple` in `struct nf_conntrack_tuple_hash`.
pub const TUPLE_HASH_TUPLE: &str = "TUPLE_HASH_TUPLE";
/// Global `u32`: byte offset of `timeout` in `struct nf_conn`.
pub const NF_CONN_TIMEOUT: &str = "NF_CONN_TIMEOUT";
/// Global `u32`: byte offset of `zone.id` in `struct nf_conn`, [`crate::ABSENT`] without zones.
pub const NF_CONN_ZONE: &str = "NF_CONN_ZONE";
/// Global `u32`: byte offset of `mark` in `struct nf_conn`, [`crate::ABSENT`] without marks.
pub const NF_CONN_MARK: &str = "NF_CONN_MARK";
/// Global `u32`: byte offset of `proto.tcp.state` in `struct nf_conn`.
pub const NF_CONN_TCP_STATE: &str = "NF_CONN_TCP_STATE";
/// Global `u32`: byte offset of `ext` in `struct nf_conn`, [`crate::ABSENT`] where extensions
/// have no generation.
pub const NF_CONN_EXT: &str = "NF_CONN_EXT";
/// Global `u32`: byte offset of `gen_id` in `struct nf_ct_ext`.
pub const EXT_GENERATION: &str = "EXT_GENERATION";
/// Global `u64`: the address of `nf_conntrack_ext_genid`, 0 where it is hidden.
pub const GENERATION: &str = "GENERATION";
/// Global `u32`: byte offset of `_nfct` in `struct sk_buff`.
pub const SK_BUFF_NFCT: &str = "SK_BUFF_NFCT";
/// Global `u32`: byte offset of `net` in `struct nf_hook_state`.
pub const HOOK_STATE_NET: &str = "HOOK_STATE_NET";
/// Global `u32`: byte offset of `hook` in `struct nf_hook_state`, [`crate::ABSENT`] where it is not known.
pub const HOOK_STATE_HOOK: &str = "HOOK_STATE_HOOK";
/// Global `u32`: byte offset of `head` in `struct sk_buff`, [`crate::ABSENT`] where the offsets below are
/// not known.
pub const SK_BUFF_HEAD: &str = "SK_BUFF_HEAD";
/// Global `u32`: byte offset of `tail` in `struct sk_buff`.
pub const SK_BUFF_TAIL: &str = "SK_BUFF_TAIL";
/// Global `u32`: byte offset of `network_header` in `struct sk_buff`.
pub const SK_BUFF_NETWORK_HEADER: &str = "SK_BUFF_NETWORK_HEADER";
/// Global `u32`: byte offset of `dev` in `struct sk_buff`, [`crate::ABSENT`] where it is not known.
pub const SK_BUFF_DEV: &str = "SK_BUFF_DEV";
/// Global `u32`: byte offset of `ifindex` in `struct net_device`.
pub const NET_DEVICE_IFINDEX: &str = "NET_DEVICE_IFINDEX";
/// Global `u32`: byte offset of `dst.protonum` in `struct nf_conntrack_tuple`.
pub const TUPLE_PROTOCOL: &str = "TUPLE_PROTOCOL";
/// Global `u64`: the address of `nf_conntrack_hash`, 0 where it is hidden.
pub const TABLE: &str = "TABLE";
/// Global `u64`: the address of `nf_conntrack_htable_size`, 0 where it is hidden.
pub const TABLE_SIZE: &str = "TABLE_SIZE";
/// Global `u64`: the address of `nf_conntrack_generation`, which counts the steps of the table's
/// resizes, 0 where it is hidden.
pub const RESIZES: &str = "RESIZES";
