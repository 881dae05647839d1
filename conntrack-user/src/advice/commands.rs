//! Commands as they can be run on the host that the evidence is of.
//!
//! Names of namespaces may come from a recording, so from anyone: they are quoted for the shell.

use std::borrow::Cow;

use super::evidence::{Evidence, Host};
use super::rules::percent;
use crate::settings::Netns;
use crate::text::sanitize::is_plain;

/// The placeholder in a command for a name that cannot be printed.
const UNPRINTABLE: &str = "NAMESPACE";

/// Returns the prefix of a command that runs in the sampled namespace.
pub(super) fn inside(evidence: &Evidence) -> String {
    match &evidence.netns {
        Netns::Own => String::new(),
        Netns::Name(name) => format!("ip netns exec {} ", quoted(name)),
        Netns::Pid(pid) => format!("nsenter -t {pid} -n "),
        Netns::Path(path) => format!("nsenter --net={} ", quoted(&path.to_string_lossy())),
    }
}

/// Returns one word for the shell that is `text`. A name that begins with a hyphen would be an
/// option, and one with unprintable characters would be printed as another name: a placeholder
/// takes the place of both.
fn quoted(text: &str) -> Cow<'_, str> {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+,".contains(c);
    let is_printed = text.chars().all(|c| is_plain(c) && c != char::REPLACEMENT_CHARACTER);
    match text {
        "" => Cow::Borrowed("''"),
        _ if text.starts_with('-') || !is_printed => Cow::Borrowed(UNPRINTABLE),
        _ if text.chars().all(is_bare) => Cow::Borrowed(text),
        _ => Cow::Owned(format!("'{}'", text.replace('\'', r"'\''"))),
    }
}

/// Returns the option of ctpulse that names the namespace, with a space before it.
fn netns_option(evidence: &Evidence) -> String {
    match &evidence.netns {
        Netns::Own => String::new(),
        netns => format!(" --netns {}", quoted(&netns.to_string())),
    }
}

/// Returns a remedy: `ctpulse drops` with `options`, and what it shows. Where its probes could not
/// be attached, the reason takes the place of a command that would fail.
pub(super) fn drops(evidence: &Evidence, options: &str, shows: &str) -> String {
    let command = format!("ctpulse drops{} {options}", netns_option(evidence));
    match &evidence.host {
        Host::WithProbes => format!("{command} shows {shows}"),
        Host::Recorded => format!("where probes can be attached, {command} shows {shows}"),
        Host::WithoutProbes(reason) => {
            format!("only probes can show {shows}, and there are none: {reason}")
        }
    }
}

/// Returns a remedy: `ctpulse drops --invalid`; `None` where its probes could not be attached.
pub(super) fn invalid_packets(evidence: &Evidence) -> Option<String> {
    let command = format!("ctpulse drops{} --invalid", netns_option(evidence));
    let shows = format!(
        "{command} shows each packet with its reason and its connection, and {command} --top \
         reason,source,port the sources"
    );
    match (&evidence.host, &evidence.reasons) {
        (Host::Recorded, _) => Some(format!("where probes can be attached, {shows}")),
        (_, reasons) => reasons.is_some().then_some(shows),
    }
}

/// The side of a connection that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
}

/// Returns a remedy: the addresses that hold most entries, introduced by `who`. Where no census could be
/// taken, the pipeline that counts them, and its cost, take their place.
pub(super) fn holders(evidence: &Evidence, side: Side, who: &str) -> String {
    let Some(holders) = &evidence.holders else {
        return format!("{who}: {} {COST}", pipeline(evidence, side));
    };
    let (lines, keys) = match side {
        Side::Source => (&holders.sources, "source,port"),
        Side::Destination => (&holders.destinations, "destination,port"),
    };
    let line = |(address, share): &(String, f64)| format!("{address} ({})", percent(*share));
    let list = lines.iter().map(line).collect::<Vec<_>>().join(", ");
    let list = if list.is_empty() { "none at the end of the look".to_owned() } else { list };
    format!("{who}: {list}; {} shows more", top(evidence, &format!("--by {keys}")))
}

/// Returns the command `ctpulse top` with `options`.
fn top(evidence: &Evidence, options: &str) -> String {
    format!("ctpulse top{} {options}", netns_option(evidence))
}

/// Returns the remedies where ports of NAT run out: more of them, fewer connections, shorter timeouts.
pub(super) fn exhausted_ports(evidence: &Evidence) -> [String; 3] {
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
             (udp_timeout_stream, tcp_timeout_time_wait: 120 s by default; tcp_timeout_established: 5 \
             days)",
            inside(evidence)
        ),
    ]
}

/// Returns a remedy: the command that counts connections by translated address and destination.
pub(super) fn nat_ports_by_destination(evidence: &Evidence) -> String {
    let top = top(evidence, "--by nat,destination,port --where not-expired");
    format!("{top} counts them, by the destination before its translation")
}

/// Returns the command that lists unreplied entries, and what it does to them.
pub(super) fn unreplied(evidence: &Evidence) -> String {
    match evidence.holders {
        Some(_) => {
            let by_service = top(evidence, "--by destination,port --where unreplied");
            format!("{by_service} counts them")
        }
        None => format!("{}conntrack -L | grep UNREPLIED lists them {COST}", inside(evidence)),
    }
}

/// The pipeline that counts table entries by an address of their original direction. The reply's
/// addresses come second, after fields that differ by protocol.
fn pipeline(evidence: &Evidence, side: Side) -> String {
    let group = if side == Side::Source { 1 } else { 2 };
    format!(
        "{}conntrack -L 2>/dev/null | sed -n 's/.* src=\\([^ ]*\\) dst=\\([^ ]*\\).* src=.*/\\{group}/p' \
         | sort | uniq -c | sort -rn | head",
        inside(evidence)
    )
}

/// Returns a remedy: as many hash buckets.
pub(super) fn buckets(number: u64) -> String {
    format!(
        "sysctl -w net.netfilter.nf_conntrack_buckets={number} (in the host's own namespace; before \
         Linux 4.8: echo {number} > /sys/module/nf_conntrack/parameters/hashsize)"
    )
}

/// The cost of [`pipeline`].
const COST: &str = "(conntrack-tools; it dumps the whole table: some seconds of one CPU \
                               for each million entries)";

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn named(name: &str) -> Evidence {
        Evidence { netns: Netns::Name(name.to_owned()), ..Evidence::default() }
    }

    /// Any name is one word for the shell.
    #[test]
    fn a_name_from_a_recording_runs_no_command() {
        for name in [
            "gw",
            "x;reboot$(id)",
            "a b",
            "it's",
            "`id`",
            "a\\b",
            "$HOME",
            "a|b",
            "~",
            "*",
            "#",
            "'",
        ] {
            let evidence = named(name);
            let line = inside(&evidence).replacen("ip netns exec ", "printf %s: ", 1);
            let printed = Command::new("sh").args(["-c", &line]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&printed.stdout), format!("{name}:"), "{line}");
            let line = drops(&Evidence { host: Host::WithProbes, ..evidence }, "", "");
            let line = line.replacen("ctpulse drops", "printf %s:", 1);
            let printed = Command::new("sh").args(["-c", &line]).output().unwrap();
            let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
            assert_eq!(printed, format!("--netns:{name}:shows:"), "{line}");
        }
        for name in ["-all", "a\nb", "\u{202e}x", "\x1b[2J"] {
            assert_eq!(inside(&named(name)), "ip netns exec NAMESPACE ", "{name:?}");
        }
    }

    /// Lines as conntrack-tools prints them: the reply's addresses come second.
    #[test]
    fn holders_are_counted_by_their_original_addresses() {
        let lines = "\
tcp      6 431999 ESTABLISHED src=10.0.0.1 dst=192.0.2.1 sport=40000 dport=443 src=192.0.2.1 dst=10.0.0.1 sport=443 dport=40000 [ASSURED] mark=0 use=1
udp      17 29 src=10.0.0.2 dst=192.0.2.2 sport=5 dport=53 [UNREPLIED] src=192.0.2.2 dst=10.0.0.2 sport=53 dport=5 mark=0 use=1
icmp     1 29 src=10.0.0.3 dst=192.0.2.3 type=8 code=0 id=7 src=192.0.2.3 dst=10.0.0.3 type=0 code=0 id=7 mark=0 use=1
gre      47 179 timeout=180, stream_timeout=180 src=10.0.0.4 dst=192.0.2.4 srckey=0x1 dstkey=0x2 src=192.0.2.4 dst=10.0.0.4 srckey=0x2 dstkey=0x1 [ASSURED] mark=0 use=1
unknown  2 598 src=10.0.0.5 dst=224.0.0.22 [UNREPLIED] src=224.0.0.22 dst=10.0.0.5 mark=0 use=1
";
        for (side, expected) in [
            (Side::Source, ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"]),
            (Side::Destination, ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "224.0.0.22"]),
        ] {
            let pipeline = pipeline(&Evidence::default(), side);
            let pipeline = pipeline.replacen("conntrack -L 2>/dev/null", "printf %s \"$1\"", 1);
            let run = Command::new("sh").args(["-c", &pipeline, "sh", lines]).output().unwrap();
            let printed = String::from_utf8(run.stdout).unwrap();
            let mut found: Vec<_> =
                printed.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
            found.sort_unstable();
            assert_eq!(found, expected, "{pipeline}");
        }
    }
}
