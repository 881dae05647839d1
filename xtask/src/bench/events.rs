//! What the probes cost, as a virtual machine measured it (tests/guest/bench.rs): every figure is
//! the median of its rounds, and of two that took turns.

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

    /// The median of a number over the rounds.
    fn get(&self, figure: &str, number: &str) -> anyhow::Result<f64> {
        let rounds = self.0.iter().filter(|(name, _)| name == figure);
        let numbers: Vec<f64> =
            rounds.map(|(_, stats)| stats.get(number)).collect::<Result<_, _>>()?;
        if numbers.is_empty() {
            bail!("the guest did not tell; its console is in .cache/vm");
        }
        median(numbers)
    }

    fn pair(&self, figure: &str) -> anyhow::Result<(f64, f64)> {
        Ok((self.get(figure, "ours")?, self.get(figure, "reference")?))
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
    let of = |who| told.get("run_time", who);
    let (ours, keyed, bare) = (of("ours")?, of("keyed")?, of("bare")?);
    Ok(vec![
        Figure::ratio("run time per event, bpftrace by netns", "ns", ours, keyed)
            .at_most_times(0.7),
        Figure::ratio("run time per event, bpftrace count", "ns", ours, bare).at_most_times(1.3),
    ])
}

fn connections(told: &Told) -> anyhow::Result<Vec<Figure>> {
    let rate = |name: &str, figure: &str| {
        let (ours, reference) = told.pair(figure)?;
        anyhow::Ok(Figure::ratio(name, "/s", ours, reference))
    };
    Ok(vec![
        rate("connections: UDP, a socket each", "connections_of_new_sockets")?.at_least_times(0.97),
        rate("connections: the same with --internal", "connections_with_internal")?,
        rate("connections: the same, bpftrace count", "connections_beside_bpftrace")?,
        rate("connections: UDP of one socket", "connections_of_one_socket")?,
        rate("connections: TCP", "connections_of_tcp")?,
    ])
}

fn losses(told: &Told) -> anyhow::Result<Vec<Figure>> {
    let (ours, reference) = told.pair("losses")?;
    let name = format!(
        "events lost of {} at {:.0}/s, conntrack -E",
        told.get("losses", "of")?,
        told.get("losses", "per_second")?
    );
    Ok(vec![Figure::pair(&name, "", ours, reference).at_most(0.0)])
}

fn cpu(told: &Told) -> anyhow::Result<Vec<Figure>> {
    let (ours, reference) = told.pair("cpu_per_sample")?;
    Ok(vec![Figure::ratio("CPU per sample with probes", "µs", ours, reference).at_most_times(1.5)])
}

fn attach(told: &Told) -> anyhow::Result<Vec<Figure>> {
    Ok(vec![Figure::value("attach time, all probes", "ms", told.get("attach", "ours")?)])
}

fn packets(told: &Told) -> anyhow::Result<Vec<Figure>> {
    let (ours, reference) = told.pair("packets_per_second")?;
    let runs = told.get("packet_cost", "runs")?;
    let time = told.get("packet_cost", "ours")?;
    Ok(vec![
        Figure::value(&format!("per packet: run time of {runs:.1} programs"), "ns", time),
        Figure::ratio("per packet: datagrams of one flow", "/s", ours, reference),
    ])
}

fn drops(told: &Told) -> anyhow::Result<Vec<Figure>> {
    let (cost, counting) = told.pair("drop_cost")?;
    let (rate, counted) = told.pair("drops_per_second")?;
    Ok(vec![
        Figure::ratio("per drop: reported, and only counted", "ns", cost, counting),
        Figure::ratio("drops in a flood, the same", "/s", rate, counted),
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
        assert!(shown.contains("10.50 ns   25.00 ns  0.42 x  <= 0.7 x  ok"), "{shown}");
        assert!(shown.contains("10.50 ns    9.00 ns  1.17 x  <= 1.3 x  ok"), "{shown}");
        // What it did not tell was not held.
        assert!(shown.contains("events lost: not measured: the guest did not tell"), "{shown}");
        assert!(!table.is_ok());
    }

    #[test]
    fn without_a_guest_one_line_says_why() {
        let mut table = Table::default();
        add(&mut table, Err(anyhow::anyhow!("missing: qemu")));
        let reason = "probes, in a virtual machine: not measured: missing: qemu\n";
        assert!(table.to_string().ends_with(reason));
    }
}
