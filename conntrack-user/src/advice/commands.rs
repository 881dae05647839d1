//! Commands as they can be run on the host that the evidence is of.

use super::evidence::{Evidence, Host};
use crate::settings::Netns;

/// Returns the prefix of a command that is to run in the namespace that was sampled.
pub(super) fn inside(evidence: &Evidence) -> String {
    let prefix = match &evidence.netns {
        None | Some(Netns::Own) => return String::new(),
        Some(Netns::Name(name)) => format!("ip netns exec {name} "),
        Some(Netns::Pid(pid)) => format!("nsenter -t {pid} -n "),
        Some(Netns::Path(path)) => format!("nsenter --net={} ", path.display()),
    };
    prefix.escape_debug().to_string()
}

/// Returns a remedy: `ctpulse drops` with `options`, and what it shows. Where its probes could not
/// be attached, the reason takes the place of a command that would fail.
pub(super) fn drops(evidence: &Evidence, options: &str, shows: &str) -> String {
    let netns = evidence.netns.as_ref().map(|netns| format!(" --netns {netns}"));
    let command = format!("ctpulse drops{} {options}", netns.unwrap_or_default().escape_debug());
    match &evidence.host {
        Host::WithProbes => format!("{command} shows {shows}"),
        Host::Recorded => format!("where probes can be attached, {command} shows {shows}"),
        Host::WithoutProbes(reason) => {
            format!("only probes can show {shows}, and there are none: {reason}")
        }
    }
}

/// Returns a remedy: the pipeline that counts table entries by their original `address` (`src` or
/// `dst`), and its cost.
pub(super) fn holders(evidence: &Evidence, address: &str) -> String {
    let end = if address == "src" { "dst" } else { "sport" };
    format!(
        "{}conntrack -L 2>/dev/null | sed 's/ {end}=.*//; s/.*{address}=//' | sort | uniq -c | sort \
         -rn | head",
        inside(evidence)
    )
}

/// The cost of [`holders`].
pub(super) const COST: &str = "(conntrack-tools; it dumps the whole table: some seconds of one CPU \
                               for each million entries)";
