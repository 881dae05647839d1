//! The names in `files`: a file that is absent is left out without a word, as in Telegraf, so a name that
//! is nearly that of a file is taken for a mistake.

use toml::Spanned;

use super::error::nearest;
use super::text::ConfigText;

/// The files of conntrack in `/proc/sys/net/netfilter` without `nf_conntrack_`, of Linux 4.9 to 7.3
/// (`nf_conntrack_standalone.c` and the protocols' own until 5.0). Kernels before 4.10 have some of them
/// as `ip_conntrack_...`, too.
const NAMES: [&str; 55] = [
    "acct",
    "buckets",
    "checksum",
    "count",
    "dccp_loose",
    "dccp_timeout_closereq",
    "dccp_timeout_closing",
    "dccp_timeout_open",
    "dccp_timeout_partopen",
    "dccp_timeout_request",
    "dccp_timeout_respond",
    "dccp_timeout_timewait",
    "events",
    "expect_max",
    "frag6_high_thresh",
    "frag6_low_thresh",
    "frag6_timeout",
    "generic_timeout",
    "gre_timeout",
    "gre_timeout_stream",
    "helper",
    "icmp_timeout",
    "icmpv6_timeout",
    "log_invalid",
    "max",
    "sctp_timeout_closed",
    "sctp_timeout_cookie_echoed",
    "sctp_timeout_cookie_wait",
    "sctp_timeout_established",
    "sctp_timeout_heartbeat_acked",
    "sctp_timeout_heartbeat_sent",
    "sctp_timeout_shutdown_ack_sent",
    "sctp_timeout_shutdown_recd",
    "sctp_timeout_shutdown_sent",
    "tcp_be_liberal",
    "tcp_ignore_invalid_rst",
    "tcp_loose",
    "tcp_max_retrans",
    "tcp_no_window_check",
    "tcp_timeout_close",
    "tcp_timeout_close_wait",
    "tcp_timeout_established",
    "tcp_timeout_fin_wait",
    "tcp_timeout_last_ack",
    "tcp_timeout_max_retrans",
    "tcp_timeout_syn_recv",
    "tcp_timeout_syn_sent",
    "tcp_timeout_syn_sent2",
    "tcp_timeout_time_wait",
    "tcp_timeout_unacknowledged",
    "timestamp",
    "udp_timeout",
    "udp_timeout_stream",
    "udplite_timeout",
    "udplite_timeout_stream",
];

/// Warns of the names that give no field.
pub(super) fn check_form(names: &[Spanned<String>], text: &ConfigText<'_>) {
    for name in names.iter().filter(|name| !name.get_ref().contains('_')) {
        let (file, why) = (name.get_ref(), "a field is called by what is behind the first '_'");
        text.warn_at(&name.span(), format!("the file '{file}' is left out: {why}"));
    }
}

/// Warns of the names that are nearly those of the kernel's files.
pub(super) fn check_names(names: &[Spanned<String>], text: &ConfigText<'_>) {
    for name in names {
        let file = name.get_ref();
        if let Some(near) = meant(file) {
            text.warn_at(
                &name.span(),
                format!("no kernel has a file '{file}'; did you mean '{near}'?"),
            );
        }
    }
}

/// The file that a name of none probably stands for.
fn meant(name: &str) -> Option<String> {
    let prefixes = ["nf_conntrack_", "ip_conntrack_"];
    let (prefix, rest) =
        prefixes.iter().find_map(|prefix| Some((prefix, name.strip_prefix(prefix)?)))?;
    let near = nearest(rest, &NAMES)?;
    // `nearest` does not see some differences.
    (!NAMES.contains(&rest)).then(|| format!("{prefix}{near}"))
}

#[cfg(test)]
mod tests {
    use super::meant;
    use crate::config::tests::loaded;

    #[test]
    fn a_name_that_is_nearly_that_of_a_file_gets_a_warning() {
        for (name, file) in [
            ("nf_conntrack_cuont", "nf_conntrack_count"),
            ("ip_conntrack_cout", "ip_conntrack_count"),
            ("nf_conntrack_bucket", "nf_conntrack_buckets"),
        ] {
            assert_eq!(meant(name).as_deref(), Some(file));
        }
        let other = "[[inputs.conntrack]]\ndirs = ['/proc/sys/fs']\nfiles = ['file-nr', 'nf_conntrack_cuont']";
        assert_eq!(
            loaded(other).warnings,
            [
                "t.conf:3:10: the file 'file-nr' is left out: a field is called by what is behind the \
              first '_'"
            ]
        );
        let keys = "files = ['nf_conntrack_max', 'nf_conntrack_cuont']";
        assert_eq!(
            loaded(&format!("[[inputs.conntrack]]\n{keys}")).warnings,
            ["t.conf:2:30: no kernel has a file 'nf_conntrack_cuont'; did you mean \
                 'nf_conntrack_count'?"]
        );
    }

    #[test]
    fn a_name_that_gives_no_field_gets_a_warning() {
        assert_eq!(
            loaded("[[inputs.conntrack]]\nfiles = ['nounderscore', 'a_b']").warnings,
            [
                "t.conf:2:10: the file 'nounderscore' is left out: a field is called by what is behind \
              the first '_'"
            ]
        );
    }

    #[test]
    fn names_of_files_get_none() {
        for name in super::NAMES {
            assert_eq!(meant(&format!("nf_conntrack_{name}")), None);
        }
        assert_eq!(meant("ip_conntrack_max"), None);
        assert_eq!(meant("file-nr"), None, "a file of another directory in dirs");
        assert_eq!(meant("arp_cache"), None);
    }
}
