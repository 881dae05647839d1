//! The cost of the probes, measured in a virtual machine (tests/guest/bench.rs). Every figure is the
//! median of its rounds. Where two programs alternate, the ratio is the median of the ratios of the
//! rounds, because a busy host slows both programs of a round.

use anyhow::bail;

use super::measure::Stats;
use super::median;
use super::table::{Figure, Table};

/// The reports of a guest: the name of a figure, and its numbers in one round.
struct Reported(Vec<(String, Stats)>);

impl Reported {
    fn parse(lines: &[String]) -> Self {
        let figures = lines.iter().filter_map(|line| line.split_once(' '));
        Self(figures.map(|(name, numbers)| (name.to_owned(), Stats::parse(numbers))).collect())
    }

    /// The median over the rounds of what `of` makes of one.
    fn median(
        &self,
        figure: &str,
        of: impl Fn(&Stats) -> anyhow::Result<f64>,
    ) -> anyhow::Result<f64> {
        let rounds = self.0.iter().filter(|(name, _)| name == figure);
        let numbers: Vec<f64> = rounds.map(|(_, stats)| of(stats)).collect::<Result<_, _>>()?;
        if numbers.is_empty() {
            bail!("the guest reported no figures; its console is in .cache/vm");
        }
        median(numbers)
    }

    /// The median of a number.
    fn get(&self, figure: &str, number: &str) -> anyhow::Result<f64> {
        self.median(figure, |round| round.get(number))
    }

    /// What took turns with `other`, its reference.
    fn turns(
        &self,
        figure: &str,
        other: &str,
        name: &str,
        unit: &'static str,
    ) -> anyhow::Result<Figure> {
        let pair = [self.get(figure, "ours")?, self.get(figure, other)?];
        let ratio = self.median(figure, |round| Ok(round.get("ours")? / round.get(other)?))?;
        Ok(Figure::in_turns(name, unit, pair, ratio))
    }
}

/// Adds the figures that a guest reported, or the reason why they are missing.
pub(super) fn add(table: &mut Table, reported: anyhow::Result<Vec<String>>) {
    let reported = match reported {
        Ok(lines) => Reported::parse(&lines),
        Err(error) => return table.add("probes, in a virtual machine", Err(error)),
    };
    table.add("run time per event", run_time(&reported));
    table.add("connections per second", connections(&reported));
    table.add("events lost", losses(&reported));
    table.add("CPU per sample with probes", cpu(&reported));
    table.add("attach time, all probes", attach(&reported));
    table.add("cost per packet", packets(&reported));
    table.add("cost per dropped packet", drops(&reported));
}

fn run_time(reported: &Reported) -> anyhow::Result<Vec<Figure>> {
    let against = |who: &str, name: &str| reported.turns("run_time", who, name, "ns");
    Ok(vec![
        against("keyed", "run time per event, bpftrace by netns")?.at_most_times(0.7),
        against("bare", "run time per event, bpftrace count")?.at_most_times(1.3),
    ])
}

fn connections(reported: &Reported) -> anyhow::Result<Vec<Figure>> {
    let rate = |name: &str, figure: &str| reported.turns(figure, "reference", name, "/s");
    Ok(vec![
        rate("new connections: UDP, a socket each", "connections_of_new_sockets")?
            .at_least_times(0.97),
        rate("and taken away again", "connections_of_new_sockets_whole_life")?,
        rate("the same with --internal", "connections_with_internal_whole_life")?,
        rate("the same, bpftrace count", "connections_beside_bpftrace_whole_life")?,
        rate("new connections: UDP of one socket", "connections_of_one_socket")?,
        rate("new connections: TCP", "connections_of_tcp")?,
    ])
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
    let figure =
        reported.turns("cpu_per_sample", "reference", "CPU per sample with probes", "µs")?;
    Ok(vec![figure.at_most_times(1.5)])
}

fn attach(reported: &Reported) -> anyhow::Result<Vec<Figure>> {
    Ok(vec![Figure::value("attach time, all probes", "ms", reported.get("attach", "ours")?)])
}

fn packets(reported: &Reported) -> anyhow::Result<Vec<Figure>> {
    let runs = reported.get("packet_cost", "runs")?;
    let time = reported.get("packet_cost", "ours")?;
    Ok(vec![
        Figure::value(&format!("per packet: run time of {runs:.1} programs"), "ns", time),
        reported.turns(
            "packets_per_second",
            "reference",
            "per packet: datagrams of one flow",
            "/s",
        )?,
    ])
}

fn drops(reported: &Reported) -> anyhow::Result<Vec<Figure>> {
    Ok(vec![
        reported.turns("drop_cost", "reference", "per drop: reported, and only counted", "ns")?,
        reported.turns("drops_per_second", "reference", "drops in a flood, the same", "/s")?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_medians_of_what_the_guest_told() {
        let lines = ["run_time ours=9 keyed=30 bare=8", "run_time ours=12 keyed=20 bare=10"];
        let mut table = Table::default();
        add(&mut table, Ok(lines.map(str::to_owned).to_vec()));
        let shown = table.to_string();
        assert!(shown.contains("10.50 ns   25.00 ns  0.45 x  <= 0.7 x  ok"), "{shown}");
        assert!(shown.contains("10.50 ns    9.00 ns  1.16 x  <= 1.3 x  ok"), "{shown}");
        // A figure without a report is not met.
        assert!(
            shown.contains("events lost: not measured: the guest reported no figures"),
            "{shown}"
        );
        assert!(!table.is_ok());
    }

    #[test]
    fn turns_are_compared_round_by_round() {
        let rounds = ["10 reference=20", "40 reference=50", "90 reference=100"];
        let lines = rounds.map(|round| format!("cpu_per_sample ours={round}"));
        let mut table = Table::default();
        table.add("cpu", cpu(&Reported::parse(&lines)));
        assert!(table.to_string().contains("40.00 µs   50.00 µs  0.80 x  <= 1.5 x  ok"));
    }

    #[test]
    fn without_a_guest_one_line_says_why() {
        let mut table = Table::default();
        add(&mut table, Err(anyhow::anyhow!("missing: qemu")));
        let reason = "probes, in a virtual machine: not measured: missing: qemu\n";
        assert!(table.to_string().ends_with(reason));
    }
}
