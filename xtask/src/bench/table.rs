//! The figures with their references, limits and verdicts.
//!
//! A figure that could not be measured is also a line, with the reason below the table: a limit that
//! was not measured is not met.

use std::fmt;

use super::median;

/// The relation of a figure to its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The limit is met.
    Ok,
    /// The limit is exceeded, or the figure could not be measured.
    Miss,
    /// The figure has no limit.
    Report,
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Figure {
    name: String,
    unit: &'static str,
    ours: Option<f64>,
    reference: Option<f64>,
    ratio: Option<f64>,
    /// Of the ratios of the rounds.
    quartiles: Option<[f64; 2]>,
    bar: String,
    verdict: Verdict,
}

impl Figure {
    /// A number of ours alone.
    pub(crate) fn value(name: &str, unit: &'static str, ours: f64) -> Self {
        Self {
            name: name.to_owned(),
            unit,
            ours: Some(ours),
            reference: None,
            ratio: None,
            quartiles: None,
            bar: String::new(),
            verdict: Verdict::Report,
        }
    }

    /// A number of ours beside the reference's, not to be divided.
    pub(crate) fn pair(name: &str, unit: &'static str, ours: f64, reference: f64) -> Self {
        Self { reference: Some(reference), ..Self::value(name, unit, ours) }
    }

    /// A number of ours and its ratio to the reference's.
    pub(crate) fn ratio(name: &str, unit: &'static str, ours: f64, reference: f64) -> Self {
        Self { ratio: Some(ours / reference), ..Self::pair(name, unit, ours, reference) }
    }

    /// Numbers of ours beside the reference's, of rounds in which they took turns: their medians, and the
    /// median and the quartiles of the ratios of the rounds, because a busy machine slows both programs of
    /// a round.
    ///
    /// # Errors
    /// When there is no round.
    pub(crate) fn in_turns(
        name: &str,
        unit: &'static str,
        rounds: &[(f64, f64)],
    ) -> anyhow::Result<Self> {
        let ours = median(rounds.iter().map(|(ours, _)| *ours).collect())?;
        let reference = median(rounds.iter().map(|(_, reference)| *reference).collect())?;
        let mut ratios: Vec<f64> = rounds.iter().map(|(ours, other)| ours / other).collect();
        ratios.sort_by(f64::total_cmp);
        let quarter = ratios.len().div_ceil(4);
        let quartiles =
            (ratios.len() > 3).then(|| [ratios[quarter - 1], ratios[ratios.len() - quarter]]);
        let ratio = Some(median(ratios)?);
        Ok(Self { ratio, quartiles, ..Self::pair(name, unit, ours, reference) })
    }

    /// The bar: ours is at most `bar` times the reference.
    pub(crate) fn at_most_times(self, bar: f64) -> Self {
        let holds = self.ratio.is_some_and(|ratio| ratio <= bar);
        self.judged(format!("<= {bar} x"), holds)
    }

    /// The bar: ours is at least `bar` times the reference.
    pub(crate) fn at_least_times(self, bar: f64) -> Self {
        let holds = self.ratio.is_some_and(|ratio| ratio >= bar);
        self.judged(format!(">= {bar} x"), holds)
    }

    /// The bar: ours is at most `bar`.
    pub(crate) fn at_most(self, bar: f64) -> Self {
        let holds = self.ours.is_some_and(|ours| ours <= bar);
        let bar = format!("<= {bar} {}", self.unit).trim_end().to_owned();
        self.judged(bar, holds)
    }

    /// The bar: ours is less than `bar`.
    pub(crate) fn below(self, bar: f64) -> Self {
        let holds = self.ours.is_some_and(|ours| ours < bar);
        let bar = format!("< {bar} {}", self.unit);
        self.judged(bar, holds)
    }

    fn judged(self, bar: String, holds: bool) -> Self {
        Self { bar, verdict: if holds { Verdict::Ok } else { Verdict::Miss }, ..self }
    }

    fn cells(&self) -> [String; 6] {
        let number = |value: Option<f64>| {
            let digits = |value: f64| if value.abs() >= 1000.0 { 0 } else { 2 };
            value.map_or("-".into(), |value| format!("{value:.*} {}", digits(value), self.unit))
        };
        [
            self.name.clone(),
            number(self.ours).trim_end().to_owned(),
            number(self.reference).trim_end().to_owned(),
            match (self.ratio, self.quartiles) {
                (None, _) => "-".into(),
                (Some(ratio), None) => format!("{ratio:.2} x"),
                (Some(ratio), Some([low, high])) => format!("{ratio:.3} x ({low:.3}-{high:.3})"),
            },
            if self.bar.is_empty() { "-".into() } else { self.bar.clone() },
            match self.verdict {
                Verdict::Ok => "ok".into(),
                Verdict::Miss => "MISS".into(),
                Verdict::Report => "report".into(),
            },
        ]
    }
}

/// All lines, in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct Table {
    figures: Vec<Figure>,
    reasons: Vec<String>,
}

impl Table {
    /// Adds the figures, or one line named `subject` for a failed measurement.
    pub(crate) fn add(&mut self, subject: &str, measured: anyhow::Result<Vec<Figure>>) {
        match measured {
            Ok(figures) => self.figures.extend(figures),
            Err(error) => {
                let figure = Figure { ours: None, ..Figure::value(subject, "", 0.0) };
                self.figures.push(figure.judged(String::new(), false));
                self.reasons.push(format!("{subject}: not measured: {error:#}"));
            }
        }
    }

    /// Returns whether every limit is met.
    pub(crate) fn is_ok(&self) -> bool {
        self.figures.iter().all(|figure| figure.verdict != Verdict::Miss)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["figure", "ours", "reference", "ratio", "bar", "verdict"].map(String::from);
        let rows: Vec<_> =
            std::iter::once(header).chain(self.figures.iter().map(Figure::cells)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let widths: [usize; 6] = std::array::from_fn(|column| width(column).unwrap_or_default());
        for row in &rows {
            let [name, ours, reference, ratio, bar, verdict] = row;
            let [w0, w1, w2, w3, w4, _] = widths;
            writeln!(
                f,
                "{name:w0$}  {ours:>w1$}  {reference:>w2$}  {ratio:>w3$}  {bar:>w4$}  {verdict}"
            )?;
        }
        self.reasons.iter().try_for_each(|reason| writeln!(f, "{reason}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_held_or_missed() {
        let mut table = Table::default();
        table.add("a", Ok(vec![Figure::ratio("cpu", "µs", 12.0, 10.0).at_most_times(1.3)]));
        table.add("b", Ok(vec![Figure::ratio("parse", "ns", 12.0, 1.0)]));
        table.add("c", Ok(vec![Figure::value("growth", "KiB", 0.0).below(128.0)]));
        assert!(table.is_ok());
        table.add("c", Ok(vec![Figure::ratio("rate", "/s", 97.0, 100.0).at_least_times(0.97)]));
        table.add("c", Ok(vec![Figure::pair("lost", "", 0.0, 9.0).at_most(0.0)]));
        assert!(table.is_ok());
        table.add("d", Ok(vec![Figure::value("resident", "MiB", 8.5).at_most(8.0)]));
        assert!(!table.is_ok());
        assert_eq!(
            table.to_string(),
            "\
figure        ours  reference    ratio        bar  verdict
cpu       12.00 µs   10.00 µs   1.20 x   <= 1.3 x  ok
parse     12.00 ns    1.00 ns  12.00 x          -  report
growth    0.00 KiB          -        -  < 128 KiB  ok
rate      97.00 /s  100.00 /s   0.97 x  >= 0.97 x  ok
lost          0.00       9.00        -       <= 0  ok
resident  8.50 MiB          -        -   <= 8 MiB  MISS
"
        );
    }

    #[test]
    fn what_could_not_be_measured_is_missed() {
        let mut table = Table::default();
        table.add("memory", Err(anyhow::anyhow!("it ended")));
        assert!(!table.is_ok());
        assert!(table.to_string().ends_with("memory: not measured: it ended\n"));
    }
}
