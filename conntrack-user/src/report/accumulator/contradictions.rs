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
        let rates = |at: usize| &self.counters[at].rates;
        let contradicting =
            counters.clone().filter_map(|(at, name)| rates(at).agreement().contradiction(name));
        let contradicting = first_of(contradicting).map(|sentence| {
            sentence
                + ": rows of several sources have the same tags, rows were left out, or values are \
             damaged"
        });
        let too_fast = counters.filter(|(at, name)| {
            let field = fields::find(name);
            let is_loss = field.is_some_and(|field| {
                let is_plotted = field.plot.is_some_and(|(plot, _)| plot == PlotGroup::Losses);
                is_plotted || field.cause.is_some()
            });
            is_loss && rates(*at).fastest() > FASTEST_LOSS
        });
        let too_fast = too_fast.map(|(at, name)| {
            let fastest = number(rates(at).fastest(), 15);
            format!("{name} counted {fastest} a second, which no kernel does")
        });
        let too_fast =
            first_of(too_fast).map(|sentence| sentence + ": its total has a damaged value");
        contradicting.into_iter().chain(too_fast).collect()
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
