//! Falls of a counter that its other rises show to be wraps or resets: those behind it as well as those in front,
//! so that the total does not depend on the order of the rows.

use super::stretch::{Fall, Point, Step};
use super::wrap::{Pace, may_wrap, wrapped};

/// Falls that are judged at the end; later ones stay as they were judged at first.
const MOST: usize = 16;

/// A fall, and the events that it was taken for.
#[derive(Debug, Clone, Copy)]
struct OpenFall {
    from: Point,
    to: Point,
    events: f64,
    is_reset: bool,
}

/// The falls of one counter.
#[derive(Debug, Clone, Default)]
pub(super) struct OpenFalls(Vec<OpenFall>);

/// What the last judgement adds to the first ones.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Settled {
    pub(super) events: f64,
    pub(super) resets: i64,
}

impl OpenFalls {
    /// Takes the step between two values without a gap, if it is such a fall.
    #[inline]
    pub(super) fn take(&mut self, (from, to): (Point, Point), fall: Fall, step: Step) {
        if to.1 < from.1 && fall == Fall::MayWrap && step.events >= 0.0 {
            self.take_fall(OpenFall { from, to, events: step.events, is_reset: step.is_reset });
        }
    }

    #[cold]
    fn take_fall(&mut self, fall: OpenFall) {
        if self.0.len() < MOST && may_wrap(fall.from, fall.to).is_some() {
            self.0.push(fall);
        }
    }

    /// Judges them by all rises of the counter, which `pace` is of.
    pub(super) fn settled(&self, mut pace: Pace) -> Settled {
        self.0.iter().for_each(|fall| pace.remove(fall.events, fall.from, fall.to));
        let mut settled = Settled::default();
        for OpenFall { from, to, events, is_reset } in &self.0 {
            let wrap = wrapped(*from, *to, pace);
            settled.events += wrap.unwrap_or(to.1) - events;
            settled.resets += i64::from(wrap.is_none()) - i64::from(*is_reset);
        }
        settled
    }
}
