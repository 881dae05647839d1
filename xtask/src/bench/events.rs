//! What the probes cost, as a virtual machine measured it (tests/guest/bench.rs): every figure is
//! the median of its rounds. Where two took turns the ratio is the median of the rounds' ratios: a
//! busy host slows both of a round.

use anyhow::bail;

use super::measure::Stats;
use super::median;
use super::table::{Figure, Table};

/// What a guest told: the name of a figure, and its numbers in one round.
struct Told(Vec<(String, Stats)>);

impl Told {
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
            bail!("the guest did not tell; its console is in .cache/vm");
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

/// Adds the figures of what a guest told, or says why there are none.
pub(super) fn add(table: &mut Table, told: anyhow::Result<Vec<String>>) {
    let told = match told {
        Ok(lines) => Told::parse(&lines),
        Err(error) => return table.add("probes, in a virtual machine", Err(error)),
    };
    table.add("run time per event", run_time(&told));
    table.add("connections per second", connections(&told));
    table.add("events lost", losses(&told));
    table.add("CPU per sample with probes", cpu(&told));
    table.add("attach time, all probes", attach(&told));
    table.add("cost per packet", packets(&told));
    table.add("cost per dropped packet", drops(&told));
}

fn run_time(told: &Told) -> anyhow::Result<Vec<Figure>> {
    let against = |who: &str, name: &str| told.turns("run_time", who, name, "ns");
    Ok(vec![
        against("keyed", "run time per event, bpftrace by netns")?.at_most_times(0.7),
        against("bare", "run time per event, bpftrace count")?.at_most_times(1.3),
    ])
}

fn connections(told: &Told) -> anyhow::Result<Vec<Figure>> {
    let rate = |name: &str, figure: &str| told.turns(figure, "reference", name, "/s");
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

fn losses(told: &Told) -> anyhow::Result<Vec<Figure>> {
    let (ours, reference) = (told.get("losses", "ours")?, told.get("losses", "reference")?);
    let name = format!(
        "events lost of {} at {:.0}/s, conntrack -E",
        told.get("losses", "of")?,
        told.get("losses", "per_second")?
    );
    Ok(vec![Figure::pair(&name, "", ours, reference).at_most(0.0)])
}

fn cpu(told: &Told) -> anyhow::Result<Vec<Figure>> {
    let figure = told.turns("cpu_per_sample", "reference", "CPU per sample with probes", "µs")?;
    Ok(vec![figure.at_most_times(1.5)])
}

fn attach(told: &Told) -> anyhow::Result<Vec<Figure>> {
    Ok(vec![Figure::value("attach time, all probes", "ms", told.get("attach", "ours")?)])
}

fn packets(told: &Told) -> anyhow::Result<Vec<Figure>> {
    let runs = told.get("packet_cost", "runs")?;
    let time = told.get("packet_cost", "ours")?;
    Ok(vec![
        Figure::value(&format!("per packet: run time of {runs:.1} programs"), "ns", time),
        told.turns("packets_per_second", "reference", "per packet: datagrams of one flow", "/s")?,
    ])
}

fn drops(told: &Told) -> anyhow::Result<Vec<Figure>> {
    Ok(vec![
        told.turns("drop_cost", "reference", "per drop: reported, and only counted", "ns")?,
        told.turns("drops_per_second", "reference", "drops in a flood, the same", "/s")?,
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
        // What it did not tell was not held.
        assert!(shown.contains("events lost: not measured: the guest did not tell"), "{shown}");
        assert!(!table.is_ok());
    }

    #[test]
    fn turns_are_compared_round_by_round() {
        let rounds = ["10 reference=20", "40 reference=50", "90 reference=100"];
        let lines = rounds.map(|round| format!("cpu_per_sample ours={round}"));
        let mut table = Table::default();
        table.add("cpu", cpu(&Told::parse(&lines)));
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
