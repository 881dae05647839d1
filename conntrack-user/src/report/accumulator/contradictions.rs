//! Numbers of one counter that contradict each other, and losses that are faster than a kernel.

use super::SourceAccumulator;
use crate::schema::field::PlotGroup;
use crate::schema::fields;
use crate::text::human::number;

/// No kernel loses more a second.
const FASTEST_LOSS: f64 = 16_777_216.0;

impl SourceAccumulator {
    /// Returns the sentences about the counters with these numbers and names, in their order.
    pub(super) fn contradictions<'a>(
        &self,
        counters: impl Iterator<Item = (usize, &'a String)> + Clone,
    ) -> Vec<String> {
        let contradicting = counters.clone().filter_map(|(at, name)| self.disagreement(at, name));
        let contradicting = first_of(contradicting).map(|sentence| {
            sentence
                + ": rows of several sources have the same tags, rows were left out, or values are \
             damaged"
        });
        let too_fast = counters.filter(|(at, name)| self.is_too_fast(*at, name));
        let too_fast = too_fast.map(|(at, name)| {
            let fastest = number(self.counters[at].rates.fastest(), 15);
            format!("{name} counted {fastest} a second, which no kernel does")
        });
        let too_fast =
            first_of(too_fast).map(|sentence| sentence + ": its total has a damaged value");
        contradicting.into_iter().chain(too_fast).collect()
    }

    /// Whether the numbers of a counter contradict each other.
    pub(super) fn is_contradictory(&self, at: usize, name: &str) -> bool {
        self.disagreement(at, name).is_some() || self.is_too_fast(at, name)
    }

    fn disagreement(&self, at: usize, name: &str) -> Option<String> {
        self.counters[at].rates.agreement().contradiction(name)
    }

    /// Whether a counter of losses counted more than a kernel can lose.
    fn is_too_fast(&self, at: usize, name: &str) -> bool {
        let is_loss = fields::find(name).is_some_and(|field| {
            let is_plotted = field.plot.is_some_and(|(plot, _)| plot == PlotGroup::Losses);
            is_plotted || field.cause.is_some()
        });
        is_loss && self.counters[at].rates.fastest() > FASTEST_LOSS
    }
}

/// Returns the first sentence, with the number of the others.
fn first_of(mut sentences: impl Iterator<Item = String>) -> Option<String> {
    let first = sentences.next()?;
    Some(match sentences.count() {
        0 => first,
        1 => first + " (and 1 more counter)",
        more => format!("{first} (and {more} more counters)"),
    })
}
