//! The cost of the probes, measured in a virtual machine (tests/guest/bench.rs). Every figure is the
//! median of its rounds. Where two programs alternate, the ratio is the median of the ratios of the
//! rounds, because a busy host slows both programs of a round.

use anyhow::bail;

use super::measure::Stats;
use super::median;
use super::table::{Figure, Table};

/// The reports of a guest: the name of a figure, and its numbers in one round.
struct Reported {
    rounds: Vec<(String, Stats)>,
    /// Whether only some figures were asked for.
    is_part: bool,
}

impl Reported {
    fn parse(lines: &[String], is_part: bool) -> Self {
        let figures = lines.iter().filter_map(|line| line.split_once(' '));
        let rounds = figures.map(|(name, numbers)| (name.to_owned(), Stats::parse(numbers)));
        Self { rounds: rounds.collect(), is_part }
    }

    /// The median over the rounds of what `of` makes of one.
    fn median(
        &self,
        figure: &str,
        of: impl Fn(&Stats) -> anyhow::Result<f64>,
    ) -> anyhow::Result<f64> {
        let rounds = self.rounds.iter().filter(|(name, _)| name == figure);
        let numbers: Vec<f64> = rounds.map(|(_, stats)| of(stats)).collect::<Result<_, _>>()?;
        if numbers.is_empty() {
            bail!("{NOTHING}");
        }
        median(numbers)
    }

    /// The median of a number.
    fn get(&self, figure: &str, number: &str) -> anyhow::Result<f64> {
        self.median(figure, |round| round.get(number))
    }

    /// Two numbers that took turns in the rounds of a figure.
    fn turns(
        &self,
        figure: &str,
        [ours, other]: [&str; 2],
        name: &str,
        unit: &'static str,
    ) -> anyhow::Result<Figure> {
        let rounds = self.rounds.iter().filter(|(name, _)| name == figure);
        let rounds: Vec<_> = rounds
            .map(|(_, round)| Ok((round.get(ours)?, round.get(other)?)))
            .collect::<anyhow::Result<_>>()?;
        if rounds.is_empty() {
            bail!("{NOTHING}");
        }
        Figure::in_turns(name, unit, &rounds)
    }

    /// Whether a figure is to be shown: all are, but those that were not asked for.
    ///
    /// # Errors
    /// It was asked for and is missing.
    fn is_shown(&self, figure: &str) -> anyhow::Result<bool> {
        if !self.is_part && !self.has(figure) {
            bail!("no {figure}: {NOTHING}");
        }
        Ok(self.has(figure))
    }

    /// Whether there is a figure of this name, or where it ends in `_` one whose name begins so.
    fn has_group(&self, name: &str) -> bool {
        let is_of =
            |known: &String| known == name || name.ends_with('_') && known.starts_with(name);
        self.rounds.iter().any(|(known, _)| is_of(known))
    }

    fn has(&self, figure: &str) -> bool {
        self.rounds.iter().any(|(name, _)| name == figure)
    }
}

/// Why a figure is missing.
const NOTHING: &str = "nothing was reported; of a guest the console is in .cache/vm";

/// A group of figures: its name, how the names of its figures in the reports begin, and its lines in the
/// table.
type Group = (&'static str, &'static str, fn(&Reported) -> anyhow::Result<Vec<Figure>>);

const GROUPS: [Group; 9] = [
    ("run time per event", "run_time", run_time),
    ("run time of each hook", "run_time_of_insert", run_time_of_hooks),
    ("connections per second", "connections_", connections),
    ("connections beside bpftrace", "connections_beside_bpftrace", beside_bpftrace),
    ("events lost", "losses", losses),
    ("CPU per sample with probes", "cpu_per_sample", cpu),
    ("attach time, all probes", "attach", attach),
    ("cost per packet", "packet_cost", packets),
    ("cost per dropped packet", "drop_cost", drops),
];

/// Adds the figures that a guest reported, or the reason why they are missing; where only a part was asked
/// for, those that it measured.
pub(super) fn add(table: &mut Table, reported: anyhow::Result<Vec<String>>, is_part: bool) {
    let reported = match reported {
        Ok(lines) => Reported::parse(&lines, is_part),
        Err(error) => return table.add("probes, in a virtual machine", Err(error)),
    };
    let groups = GROUPS.into_iter().filter(|(_, group, _)| !is_part || reported.has_group(group));
    groups.for_each(|(name, _, figures)| table.add(name, figures(&reported)));
}

fn run_time(reported: &Reported) -> anyhow::Result<Vec<Figure>> {
    let against = |who: &str, name: &str| reported.turns("run_time", ["ours", who], name, "ns");
    Ok(vec![
        against("keyed", "run time per event, bpftrace by netns")?.at_most_times(0.7),
        against("bare", "run time per event, bpftrace count")?.at_most_times(1.3),
    ])
}

fn run_time_of_hooks(reported: &Reported) -> anyhow::Result<Vec<Figure>> {
    let hook = |name: &&str| {
        let shown = format!("run time of {name}: trampoline, kprobe");
        reported.turns(&format!("run_time_of_{name}"), ["trampoline", "kprobe"], &shown, "ns")
    };
    ["insert", "new", "delete", "delete_list"].iter().map(hook).collect()
}

fn connections(reported: &Reported) -> anyhow::Result<Vec<Figure>> {
    let rate = |who: &str, figure: &str, what: &str| {
        let name = format!("new connections, {who}: {what}");
        reported.turns(figure, [who, "off"], &name, "/s")
    };
    let mut figures = Vec::new();
    for (figure, what, bars) in [
        ("connections_of_new_sockets", "UDP, a socket each", [Some(0.95), Some(0.97)]),
        ("connections_of_new_sockets_whole_life", "and removed", [None; 2]),
        ("connections_of_tcp", "TCP", [None, Some(0.98)]),
        ("connections_of_tcp_whole_life", "and removed", [None; 2]),
        ("connections_of_one_socket", "UDP of one socket", [None; 2]),
        ("connections_with_internal_whole_life", "--internal, and removed", [None; 2]),
    ] {
        if !reported.is_shown(figure)? {
            continue;
        }
        for (who, bar) in ["kprobe", "trampoline"].into_iter().zip(bars) {
            let figure = rate(who, figure, what)?;
            figures.push(match bar {
                Some(bar) => figure.at_least_times(bar),
                None => figure,
            });
        }
    }
    Ok(figures)
}

fn beside_bpftrace(reported: &Reported) -> anyhow::Result<Vec<Figure>> {
    let against = |who: &str, figure: &str, what: &str| {
        let name = format!("new connections, {who}, bpftrace count{what}");
        reported.turns(figure, [who, "bpftrace"], &name, "/s")
    };
    let mut figures = Vec::new();
    for (figure, what) in [
        ("connections_beside_bpftrace", ""),
        ("connections_beside_bpftrace_whole_life", ", and removed"),
    ] {
        figures.push(against("kprobe", figure, what)?);
        figures.push(against("trampoline", figure, what)?);
    }
    Ok(figures)
}

fn losses(reported: &Reported) -> anyhow::Result<Vec<Figure>> {
    let (ours, reference) = (reported.get("losses", "ours")?, reported.get("losses", "reference")?);
    let name = format!(
        "events lost of {} at {:.0}/s, conntrack -E",
        reported.get("losses", "of")?,
        reported.get("losses", "per_second")?
    );
    Ok(vec![Figure::pair(&name, "", ours, reference).at_most(0.0)])
}

fn cpu(reported: &Reported) -> anyhow::Result<Vec<Figure>> {
    let (pair, name) = (["ours", "reference"], "CPU per sample with probes");
    Ok(vec![reported.turns("cpu_per_sample", pair, name, "µs")?.at_most_times(1.5)])
}

fn attach(reported: &Reported) -> anyhow::Result<Vec<Figure>> {
    let time = |who: &str| {
        let name = format!("attach time, all probes, {who}");
        Ok(Figure::value(&name, "ms", reported.get("attach", who)?).at_most(1000.0))
    };
    ["kprobe", "trampoline"].into_iter().map(time).collect()
}

fn packets(reported: &Reported) -> anyhow::Result<Vec<Figure>> {
    let runs = reported.get("packet_cost", "runs")?;
    let time = reported.get("packet_cost", "ours")?;
    Ok(vec![
        Figure::value(&format!("per packet: run time of {runs:.1} programs"), "ns", time),
        reported.turns(
            "packets_per_second",
            ["ours", "reference"],
            "per packet: datagrams of one flow",
            "/s",
        )?,
    ])
}

fn drops(reported: &Reported) -> anyhow::Result<Vec<Figure>> {
    let pair = ["ours", "reference"];
    Ok(vec![
        reported.turns("drop_cost", pair, "per drop: reported, and only counted", "ns")?,
        reported.turns("drops_per_second", pair, "drops in a flood, the same", "/s")?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_medians_of_what_the_guest_told() {
        let lines = ["run_time ours=9 keyed=30 bare=8", "run_time ours=12 keyed=20 bare=10"];
        let mut table = Table::default();
        add(&mut table, Ok(lines.map(str::to_owned).to_vec()), false);
        let shown = table.to_string();
        assert!(shown.contains("10.50 ns   25.00 ns  0.45 x  <= 0.7 x  ok"), "{shown}");
        assert!(shown.contains("10.50 ns    9.00 ns  1.16 x  <= 1.3 x  ok"), "{shown}");
        // A figure without a report is not met.
        assert!(shown.contains("events lost: not measured: nothing was reported"), "{shown}");
        assert!(!table.is_ok());
        // Only some were asked for, of a group of several.
        let some = ["connections_of_new_sockets off=100 kprobe=96 trampoline=98".to_owned()];
        let mut table = Table::default();
        add(&mut table, Ok(some.to_vec()), true);
        let shown = table.to_string();
        assert!(shown.contains("0.98 x  >= 0.97 x  ok") && shown.lines().count() == 3, "{shown}");
        let mut table = Table::default();
        add(&mut table, Ok(lines.map(str::to_owned).to_vec()), true);
        assert!(!table.to_string().contains("not measured"), "{table}");
    }

    #[test]
    fn turns_are_compared_round_by_round() {
        let rounds = ["10 reference=20", "40 reference=50", "90 reference=100", "50 reference=25"];
        let lines = rounds.map(|round| format!("cpu_per_sample ours={round}"));
        let mut table = Table::default();
        table.add("cpu", cpu(&Reported::parse(&lines, false)));
        let shown = table.to_string();
        assert!(
            shown.contains("45.00 µs   37.50 µs  0.850 x (0.500-2.000)  <= 1.5 x  ok"),
            "{shown}"
        );
    }

    #[test]
    fn without_a_guest_one_line_says_why() {
        let mut table = Table::default();
        add(&mut table, Err(anyhow::anyhow!("missing: qemu")), false);
        let reason = "probes, in a virtual machine: not measured: missing: qemu\n";
        assert!(table.to_string().ends_with(reason));
    }
}
