//! Byte offsets of kernel structures, from the running kernel's type information.
//!
//! The layout of `struct nf_conn`, `net` and `sk_buff` differs between kernels and builds, and a
//! wrong offset reads another field without any error, so none is written down here:
//! `types` reads them.

use conntrack_ebpf::{ABSENT, names};

use super::btf::{Btf, BtfError};

/// Where the kernel shows its own type information (from 5.4, `CONFIG_DEBUG_INFO_BTF`).
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// The offsets and sizes that the programs need, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offsets {
    /// `struct nf_conn`: `ct_net.net`.
    pub nf_conn_net: u32,
    /// `struct nf_conn`: `status`.
    pub nf_conn_status: u32,
    /// `struct nf_conn`: `tuplehash`.
    pub nf_conn_tuplehash: u32,
    /// `struct net`: `ns.inum`.
    pub net_inum: u32,
    /// `struct sk_buff`: `_nfct`.
    pub sk_buff_nfct: u32,
    /// `struct nf_hook_state`: `net`.
    pub hook_state_net: u32,
    /// Size of `struct nf_conntrack_tuple_hash`.
    pub tuple_hash_size: u32,
    /// `struct nf_conntrack_tuple_hash`: `hnnode`.
    pub tuple_hash_node: u32,
    /// `struct nf_conntrack_tuple_hash`: `tuple.dst.dir`.
    pub tuple_hash_dir: u32,
    /// `struct nf_conntrack_tuple_hash`: `tuple`.
    pub tuple_hash_tuple: u32,
    /// `struct nf_conn`: `timeout`, in jiffies.
    pub nf_conn_timeout: u32,
    /// `struct nf_conn`: `zone.id`; [`ABSENT`] without `CONFIG_NF_CONNTRACK_ZONES`.
    pub nf_conn_zone: u32,
    /// `struct nf_conn`: `mark`; [`ABSENT`] without `CONFIG_NF_CONNTRACK_MARK`.
    pub nf_conn_mark: u32,
    /// `struct nf_conn`: `proto.tcp.state`.
    pub nf_conn_tcp_state: u32,
    /// `struct nf_conn`: `ext`; [`ABSENT`] where `struct nf_ct_ext` has no `gen_id` (before 5.19, and in
    /// stable releases of 2026).
    pub nf_conn_ext: u32,
    /// `struct nf_ct_ext`: `gen_id`.
    pub ext_generation: u32,
    /// `struct nf_conntrack_tuple`.
    pub tuple: TupleLayout,
    /// The members that only reports of INVALID packets need.
    pub packet: PacketLayout,
}

/// Where a `struct sk_buff` and what belongs to it have what, in bytes. Without one of them the reports
/// lack a part, and all else is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketLayout {
    /// `struct sk_buff`: `head`; [`ABSENT`] where one of the next two is.
    pub head: u32,
    /// `struct sk_buff`: `tail`, an offset from `head`.
    pub tail: u32,
    /// `struct sk_buff`: `network_header`, an offset from `head`.
    pub network_header: u32,
    /// `struct sk_buff`: `dev`; [`ABSENT`] where the next one is.
    pub device: u32,
    /// `struct net_device`: `ifindex`.
    pub ifindex: u32,
    /// `struct nf_hook_state`: `hook`.
    pub hook: u32,
}

impl Default for PacketLayout {
    fn default() -> Self {
        let [head, tail, network_header, device, ifindex, hook] = [ABSENT; 6];
        Self { head, tail, network_header, device, ifindex, hook }
    }
}

impl PacketLayout {
    fn find(btf: &Btf<'_>) -> Self {
        let offset = |name, member| btf.offset(name, &[member]).unwrap_or(ABSENT);
        let [head, tail, network_header, device] =
            ["head", "tail", "network_header", "dev"].map(|member| offset("sk_buff", member));
        let ifindex = offset("net_device", "ifindex");
        let is_whole = ![head, tail, network_header].contains(&ABSENT);
        Self {
            head: if is_whole { head } else { ABSENT },
            tail,
            network_header,
            device: if ifindex == ABSENT { ABSENT } else { device },
            ifindex,
            hook: offset("nf_hook_state", "hook"),
        }
    }
}

/// Where a `struct nf_conntrack_tuple` has what, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TupleLayout {
    /// The source address: `src.u3`.
    pub source: u32,
    /// The source port, or an ICMP identifier: `src.u`.
    pub source_port: u32,
    /// The family (`NFPROTO_IPV4`, `NFPROTO_IPV6`): `src.l3num`.
    pub family: u32,
    /// The destination address: `dst.u3`.
    pub destination: u32,
    /// The destination port, or ICMP's type and code: `dst.u`.
    pub destination_port: u32,
    /// The protocol: `dst.protonum`.
    pub protocol: u32,
}

impl Offsets {
    /// The value of each global of the programs that is an offset or a size.
    #[must_use]
    pub fn globals(&self) -> [(&'static str, u32); 23] {
        [
            (names::NF_CONN_NET, self.nf_conn_net),
            (names::NF_CONN_STATUS, self.nf_conn_status),
            (names::NF_CONN_TUPLEHASH, self.nf_conn_tuplehash),
            (names::NF_CONN_TIMEOUT, self.nf_conn_timeout),
            (names::NF_CONN_ZONE, self.nf_conn_zone),
            (names::NF_CONN_MARK, self.nf_conn_mark),
            (names::NF_CONN_TCP_STATE, self.nf_conn_tcp_state),
            (names::NF_CONN_EXT, self.nf_conn_ext),
            (names::EXT_GENERATION, self.ext_generation),
            (names::TUPLE_HASH_SIZE, self.tuple_hash_size),
            (names::TUPLE_HASH_NODE, self.tuple_hash_node),
            (names::TUPLE_HASH_DIR, self.tuple_hash_dir),
            (names::TUPLE_HASH_TUPLE, self.tuple_hash_tuple),
            (names::NET_INUM, self.net_inum),
            (names::SK_BUFF_NFCT, self.sk_buff_nfct),
            (names::HOOK_STATE_NET, self.hook_state_net),
            (names::HOOK_STATE_HOOK, self.packet.hook),
            (names::SK_BUFF_HEAD, self.packet.head),
            (names::SK_BUFF_TAIL, self.packet.tail),
            (names::SK_BUFF_NETWORK_HEADER, self.packet.network_header),
            (names::SK_BUFF_DEV, self.packet.device),
            (names::NET_DEVICE_IFINDEX, self.packet.ifindex),
            (names::TUPLE_PROTOCOL, self.tuple.protocol),
        ]
    }

    /// Finds the offsets in types that were read.
    ///
    /// # Errors
    /// [`BtfError`].
    pub fn find(btf: &Btf<'_>) -> Result<Self, BtfError> {
        let generation = btf.offset("nf_ct_ext", &["gen_id"]);
        Ok(Self {
            nf_conn_net: btf.offset("nf_conn", &["ct_net", "net"])?,
            nf_conn_status: btf.offset("nf_conn", &["status"])?,
            nf_conn_tuplehash: btf.offset("nf_conn", &["tuplehash"])?,
            net_inum: btf.offset("net", &["ns", "inum"])?,
            sk_buff_nfct: btf.offset("sk_buff", &["_nfct"])?,
            hook_state_net: btf.offset("nf_hook_state", &["net"])?,
            tuple_hash_size: btf.size("nf_conntrack_tuple_hash")?,
            tuple_hash_node: btf.offset("nf_conntrack_tuple_hash", &["hnnode"])?,
            tuple_hash_dir: btf.offset("nf_conntrack_tuple_hash", &["tuple", "dst", "dir"])?,
            tuple_hash_tuple: btf.offset("nf_conntrack_tuple_hash", &["tuple"])?,
            nf_conn_timeout: btf.offset("nf_conn", &["timeout"])?,
            nf_conn_zone: btf.offset("nf_conn", &["zone", "id"]).unwrap_or(ABSENT),
            nf_conn_mark: btf.offset("nf_conn", &["mark"]).unwrap_or(ABSENT),
            nf_conn_tcp_state: btf.offset("nf_conn", &["proto", "tcp", "state"]).unwrap_or(ABSENT),
            nf_conn_ext: match generation {
                Ok(_) => btf.offset("nf_conn", &["ext"])?,
                Err(_) => ABSENT,
            },
            ext_generation: generation.unwrap_or(0),
            tuple: TupleLayout {
                source: btf.offset("nf_conntrack_tuple", &["src", "u3"])?,
                source_port: btf.offset("nf_conntrack_tuple", &["src", "u"])?,
                family: btf.offset("nf_conntrack_tuple", &["src", "l3num"])?,
                destination: btf.offset("nf_conntrack_tuple", &["dst", "u3"])?,
                destination_port: btf.offset("nf_conntrack_tuple", &["dst", "u"])?,
                protocol: btf.offset("nf_conntrack_tuple", &["dst", "protonum"])?,
            },
            packet: PacketLayout::find(btf),
        })
    }
}
