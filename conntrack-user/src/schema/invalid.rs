//! Why packets are INVALID: the texts of the kernel's protocol trackers, and a reason for each.
//!
//! The trackers call `nf_ct_l4proto_log_invalid` or `nf_l4proto_log_invalid` with a text for a packet that
//! they refuse, and also for some that they accept. The texts are those of Debian's 5.10, 6.1, 6.12, 6.18
//! and 7.3, read in the sources (6.18: in the module's strings).

/// What a text says about its packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The packet is INVALID, for this reason.
    Invalid(Reason),
    /// The tracker accepts the packet all the same.
    Accepted,
    /// Another call for the same packet had the reason.
    SecondMessage,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident => $name:literal, $words:literal;)+) => {
        /// Why a packet is INVALID.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $variant,)+
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its name, which stays the same from release to release.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// A short explanation.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self {
                    $(Self::$variant => $words,)+
                }
            }
        }
    };
}

reasons! {
    /// A TCP packet other than a SYN, of no connection (`tcp_new`): an ACK only with `tcp_loose` 0.
    NoConnection => "no_connection", "the first packet that is seen does not begin a connection";
    /// Data above the receiver's window (`tcp_in_window`).
    TcpWindowSeqHigh => "tcp_window_seq_high", "data beyond the receiver's window";
    /// Data that were acknowledged already; from 6.1 on accepted.
    TcpWindowSeqLow => "tcp_window_seq_low", "data that were acknowledged before (5.10)";
    /// An acknowledgement of data that conntrack has not seen.
    TcpWindowAckHigh => "tcp_window_ack_high", "acknowledges data that were not seen here";
    /// An acknowledgement that is far behind; from 6.1 on accepted.
    TcpWindowAckLow => "tcp_window_ack_low", "an acknowledgement far behind (5.10)";
    /// The state table of TCP has no transition (`nf_conntrack_tcp_packet`).
    TcpState => "tcp_state", "does not fit the state of the connection";
    /// A RST with a sequence number below what was acknowledged.
    TcpRst => "tcp_rst", "a RST outside of the window";
    /// A combination of flags that no TCP sends (`tcp_error`).
    TcpFlags => "tcp_flags", "flags that exclude each other, or none";
    /// A wrong checksum, tested in PREROUTING with `nf_conntrack_checksum`.
    Checksum => "checksum", "a wrong checksum";
    /// A packet that is shorter than its header, or than the header says.
    Truncated => "truncated", "shorter than its headers say";
    /// An unknown type of ICMP.
    IcmpType => "icmp_type", "an unknown type of ICMP";
    /// A redirect of `ICMPv6` that is not valid.
    IcmpRedirect => "icmp_redirect", "an ICMPv6 redirect that is not valid";
    /// An ICMP error whose receiver is not the sender of the packet that it is about.
    IcmpAddresses => "icmp_addresses", "an ICMP error for another host's packet";
    /// A chunk that is not valid.
    SctpChunk => "sctp_chunk", "an SCTP chunk that is not valid";
    /// Another verification tag than that of the connection.
    SctpVerificationTag => "sctp_verification_tag", "another SCTP verification tag";
    /// The state table of SCTP has no transition.
    SctpState => "sctp_state", "does not fit the state of the SCTP connection";
    /// The state table of DCCP has no transition.
    DccpState => "dccp_state", "does not fit the state of the DCCP connection";
    /// A packet type that is reserved or needs longer sequence numbers.
    DccpType => "dccp_type", "a DCCP packet type that is not valid";
}

use Meaning::{Accepted, Invalid, SecondMessage};
use Reason::{
    Checksum, DccpState, DccpType, IcmpAddresses, IcmpRedirect, IcmpType, NoConnection, SctpChunk,
    SctpState, SctpVerificationTag, TcpFlags, TcpRst, TcpState, TcpWindowAckHigh, TcpWindowAckLow,
    TcpWindowSeqHigh, TcpWindowSeqLow, Truncated,
};

/// Each text as the kernel has it before its arguments are inserted, without spaces at its end. The
/// comments name the releases where not all five have it.
const TEXTS: [(&str, Meaning); 46] = [
    // 6.12 on; before, `tcp_new` refuses without a text.
    ("invalid new", Invalid(NoConnection)),
    ("SEQ is over upper bound %u (over the window of the receiver)", Invalid(TcpWindowSeqHigh)),
    ("ACK is over upper bound %u (ACKed data not seen yet)", Invalid(TcpWindowAckHigh)),
    // 5.10.
    ("SEQ is over the upper bound (over the window of the receiver)", Invalid(TcpWindowSeqHigh)),
    ("SEQ is under the lower bound (already ACKed data retransmitted)", Invalid(TcpWindowSeqLow)),
    ("ACK is over the upper bound (ACKed data not seen yet)", Invalid(TcpWindowAckHigh)),
    ("ACK is under the lower bound (possible overly delayed ACK)", Invalid(TcpWindowAckLow)),
    // 6.1 on.
    ("packet (index %d) in dir %d invalid, state %s", Invalid(TcpState)),
    // 5.10.
    ("invalid state", Invalid(TcpState)),
    ("invalid rst", Invalid(TcpRst)),
    ("invalid tcp flag combination", Invalid(TcpFlags)),
    ("truncated packet", Invalid(Truncated)),
    ("bad checksum", Invalid(Checksum)),
    ("short packet", Invalid(Truncated)),
    ("truncated/malformed packet", Invalid(Truncated)),
    // UDP-Lite, to 6.18.
    ("invalid checksum coverage", Invalid(Checksum)),
    ("checksum missing", Invalid(Checksum)),
    ("bad hw icmp checksum", Invalid(Checksum)),
    ("ICMPv6 checksum failed", Invalid(Checksum)),
    ("invalid icmp type", Invalid(IcmpType)),
    ("short redirect", Invalid(Truncated)),
    ("redirect without options", Invalid(IcmpRedirect)),
    ("invalid saddr or hoplimit for redirect", Invalid(IcmpRedirect)),
    ("outer daddr %pI4 != inner %pI4", Invalid(IcmpAddresses)),
    ("outer daddr %pI6 != inner %pI6", Invalid(IcmpAddresses)),
    ("nf_ct_sctp: short packet", Invalid(Truncated)),
    ("nf_ct_sctp: failed to read header", Invalid(Truncated)),
    ("nf_ct_sctp: bad CRC", Invalid(Checksum)),
    // 6.1 on.
    ("%s failed. chunk num %d, type %d, len %d flag %d", Invalid(SctpChunk)),
    ("verification tag check failed %x vs %x for dir %d", Invalid(SctpVerificationTag)),
    ("Invalid, old_state %d, dir %d, type %d", Invalid(SctpState)),
    // DCCP, to 6.12.
    ("nf_ct_dccp: short packet", Invalid(Truncated)),
    ("nf_ct_dccp: truncated/malformed packet", Invalid(Truncated)),
    ("nf_ct_dccp: bad checksum coverage", Invalid(Checksum)),
    ("nf_ct_dccp: bad checksum", Invalid(Checksum)),
    ("nf_ct_dccp: reserved packet type", Invalid(DccpType)),
    ("nf_ct_dccp: type lacks 48bit sequence numbers", Invalid(DccpType)),
    ("not picking up existing connection", Invalid(NoConnection)),
    ("invalid state transition", Invalid(DccpState)),
    // `CT_DCCP_IGNORE`.
    ("invalid packet", Accepted),
    // 6.1 on.
    ("packet (index %d) in dir %d ignored, state %s", Accepted),
    ("%u bytes more than expected", Accepted),
    ("SEQ is under lower bound %u (already ACKed data retransmitted)", Accepted),
    ("ignored ACK under lower bound %u (possible overly delayed)", Accepted),
    // 5.10.
    ("invalid packet ignored in state %s", Accepted),
    ("challenge-ack ignored", Accepted),
];

/// The texts of a packet that another text was for: 6.1, 6.12 and 7.3, and 6.18.
const SECOND: [&str; 2] = [
    "lowered timeout to UNACK",
    "packet (index %d, dir %d) response for index %d lower timeout to %u",
];

/// What a text says about its packet; `None` for a text that is not known.
#[must_use]
pub fn meaning(text: &str) -> Option<Meaning> {
    let text = text.trim_end();
    if SECOND.contains(&text) {
        return Some(SecondMessage);
    }
    TEXTS.iter().find(|(known, _)| *known == text).map(|(_, meaning)| *meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts that a packet of each kind had in a guest, and its share of the kernel's `invalid`:
    /// the packets of a row are refused in all releases, or accepted.
    #[test]
    fn texts_of_each_release_have_the_meaning_that_the_counters_have() {
        for (texts, expected) in [
            (
                &[
                    "SEQ is over upper bound %u (over the window of the receiver)",
                    "SEQ is over the upper bound (over the window of the receiver)",
                ][..],
                Invalid(TcpWindowSeqHigh),
            ),
            (
                &[
                    "ACK is over upper bound %u (ACKed data not seen yet)",
                    "ACK is over the upper bound (ACKed data not seen yet)",
                ],
                Invalid(TcpWindowAckHigh),
            ),
            (
                &["invalid state", "packet (index %d) in dir %d invalid, state %s"],
                Invalid(TcpState),
            ),
            (
                &[
                    "invalid packet ignored in state %s ",
                    "packet (index %d) in dir %d ignored, state %s",
                    "challenge-ack ignored",
                    "%u bytes more than expected",
                ],
                Accepted,
            ),
            (&["bad checksum", "bad hw icmp checksum", "nf_ct_sctp: bad CRC "], Invalid(Checksum)),
            (
                &["short packet", "truncated packet", "nf_ct_sctp: short packet "],
                Invalid(Truncated),
            ),
            (&["lowered timeout to UNACK"], SecondMessage),
        ] {
            for text in texts {
                assert_eq!(meaning(text), Some(expected), "{text}");
            }
        }
    }

    /// 5.10 refuses old data and old acknowledgements, and later kernels accept both.
    #[test]
    fn a_text_below_the_window_is_refused_by_old_kernels_only() {
        let old = "SEQ is under the lower bound (already ACKed data retransmitted)";
        assert_eq!(meaning(old), Some(Invalid(TcpWindowSeqLow)));
        let new = "SEQ is under lower bound %u (already ACKed data retransmitted)";
        assert_eq!(meaning(new), Some(Accepted));
    }

    #[test]
    fn an_unknown_text_has_no_meaning() {
        assert_eq!(meaning("SEQ is over"), None);
        assert_eq!(meaning(""), None);
    }

    #[test]
    fn texts_are_listed_once_and_reasons_have_names_of_their_own() {
        for (at, (text, _)) in TEXTS.iter().enumerate() {
            assert!(TEXTS[..at].iter().all(|(known, _)| known != text), "{text}");
            assert_eq!(text.trim_end(), *text);
            assert!(!SECOND.contains(text));
        }
        for reason in Reason::ALL {
            let same = Reason::ALL.iter().filter(|other| other.name() == reason.name());
            assert_eq!(same.count(), 1, "{reason:?}");
            let is_used = TEXTS.iter().any(|(_, meaning)| *meaning == Invalid(*reason));
            assert!(is_used, "{reason:?}");
            let is_snake = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(reason.name().chars().all(is_snake), "{reason:?}");
        }
    }
}
