//! What the counters of one row say of each other where they went back.

use super::Track;
use super::stretch::{Fall, Point, Reach};
use super::wrap::{Pace, WRAP, may_wrap, shortened, wrapped_beside_others};

/// Settles how counters of the same rows came from one part of the rows to the next, where these came in
/// another order: one alone does not show whether all began again. `is_of_probes` is for the number of a
/// counter; returns how many times counters are taken to have begun again that are no lower.
pub(in crate::report) fn settle<'a>(
    tracks: impl Iterator<Item = &'a mut Track>,
    is_of_probes: impl Fn(usize) -> bool,
) -> u64 {
    let mut tracks: Vec<_> = tracks.collect();
    let mut places: Vec<(i64, i64)> = Vec::new();
    for (from, to) in tracks.iter().flat_map(|track| track.new_neighbours()) {
        if !places.contains(&(from.0, to.0)) {
            places.push((from.0, to.0));
        }
    }
    let mut inferred = 0;
    for place in places {
        let mut falls = Falls::default();
        let mut at_place = Vec::new();
        for (number, track) in tracks.iter().enumerate() {
            let found = track.new_neighbours().find(|(from, to)| (from.0, to.0) == place);
            if let Some((from, to)) = found {
                falls.take_neighbours(from, to, is_of_probes(number), || track.pace());
                at_place.push((number, (from, to)));
            }
        }
        let no_lower = |(_, (from, to)): &(usize, (Point, Point))| from.1 > 0.0 && to.1 >= from.1;
        inferred += u64::from(falls.began_again() && at_place.iter().any(no_lower));
        for (number, neighbours) in at_place {
            tracks[number].settle(neighbours, falls.fall(is_of_probes(number)));
        }
    }
    inferred
}

/// A counter that has come so far is hardly there again in the first row behind a reset.
const STANDING: f64 = 100.0;

/// How the counters of one row went back. Those of the kernel begin again all together; those of
/// the probes do so with them, and when ctpulse is started again.
#[derive(Debug, Default)]
pub(in crate::report) struct Falls {
    has_changed: bool,
    /// ctpulse was started again before the row.
    is_restart: bool,
    is_reset: bool,
    /// A counter above 0 has the value of the row before.
    has_still: bool,
    /// The first of the rows with 0 with which counters began again.
    zeros_ns: Option<i64>,
    /// The value before a possible wrap.
    wrapped: Option<f64>,
    kernel: FallsOf,
    probes: FallsOf,
}

/// The reach of the counters of one row.
#[derive(Debug, Clone, Copy)]
pub(in crate::report) struct RowReach {
    kernel: Reach,
    probes: Reach,
    are_different: bool,
}

impl RowReach {
    pub(in crate::report) fn of(&self, is_of_probes: impl Fn() -> bool) -> Reach {
        if self.are_different && is_of_probes() { self.probes } else { self.kernel }
    }
}

/// How the counters of the kernel or of the probes went back.
#[derive(Debug)]
struct FallsOf {
    /// To a value above 0.
    fell: u32,
    /// To 0, as a query with `fill(0)` writes it, too.
    to_zero: u32,
    /// To a value above 0, with 0 in the rows between.
    behind_zeros: u32,
    /// Counters above 0 that rose.
    rose: u32,
    /// Those of them that had come so far that they would hardly be there again.
    stood: u32,
    /// The smallest value from which one fell.
    lowest: f64,
    /// One fell by so much that it cannot have wrapped, whatever the others show.
    is_beyond: bool,
}

impl Default for FallsOf {
    fn default() -> Self {
        Self {
            fell: 0,
            to_zero: 0,
            behind_zeros: 0,
            rose: 0,
            stood: 0,
            lowest: f64::INFINITY,
            is_beyond: false,
        }
    }
}

impl FallsOf {
    /// Whether all of them began again: a single wrong value is no reset.
    fn began_again(&self) -> bool {
        self.fell > 0 && self.fell + self.to_zero > 1
    }

    /// Whether all that fell came from a value near which 32 bits end.
    fn may_wrap(&self) -> bool {
        self.fell + self.to_zero > 0 && self.lowest >= WRAP / 2.0 && !self.is_beyond
    }
}

impl Falls {
    /// The falls of a row. `zeros_ns` is that of the falls of the row before; ctpulse was started again
    /// before the row if `is_restart`.
    pub(in crate::report) fn new(zeros_ns: Option<i64>, is_restart: bool) -> Self {
        Self { zeros_ns, is_restart, ..Self::default() }
    }

    /// Takes one counter of the row.
    pub(in crate::report) fn take(
        &mut self,
        track: &Track,
        point: Point,
        is_of_probes: impl Fn() -> bool,
    ) {
        // Most counters of most rows did not move.
        if point.1 == track.latest {
            self.has_still |= point.1 > 0.0;
        } else {
            self.take_change(track, point, is_of_probes());
        }
    }

    fn take_change(&mut self, track: &Track, (time_ns, value): Point, is_of_probes: bool) {
        self.has_changed = true;
        let of = if is_of_probes { &mut self.probes } else { &mut self.kernel };
        let Some((from, to)) = track.neighbours((time_ns, value)) else { return };
        let zeros_ns = track.zeros_in_front_of((time_ns, value));
        if zeros_ns.is_some() && to.1 > 0.0 {
            // Those that leave 0 later began again with the first one, however high they are.
            let is_known = zeros_ns == self.zeros_ns;
            if is_known || to.1 < from.1 {
                of.behind_zeros += 1 + u32::from(is_known);
                (self.zeros_ns, self.is_reset) = (zeros_ns, true);
            }
            return;
        }
        self.take_neighbours(from, to, is_of_probes, || track.pace());
    }

    /// Takes two values of a counter that are neighbours in time. `pace` is asked for where it went back.
    fn take_neighbours(
        &mut self,
        from: Point,
        to: Point,
        is_of_probes: bool,
        pace: impl Fn() -> Pace,
    ) {
        if from.1 == to.1 {
            self.has_still |= to.1 > 0.0;
            return;
        }
        let of = if is_of_probes { &mut self.probes } else { &mut self.kernel };
        let has_lost_bits =
            || self.is_restart && !is_of_probes && from.1 >= WRAP && shortened(from, to).is_some();
        if to.1 >= from.1 || has_lost_bits() {
            of.rose += u32::from(from.1 > 0.0);
            of.stood += u32::from(from.1 >= STANDING);
            return;
        }
        of.fell += u32::from(to.1 > 0.0);
        of.to_zero += u32::from(to.1 == 0.0);
        of.lowest = of.lowest.min(from.1);
        of.is_beyond |= wrapped_beside_others(from, to, pace()).is_none();
        // Two counters wrap together only if they count the same.
        let is_other = self.wrapped.replace(from.1).is_some_and(|other| other != from.1);
        self.is_reset |= is_other || may_wrap(from, to).is_none();
    }

    /// Ends the row. Where ctpulse was started again before it, the probes began again.
    pub(in crate::report) fn end(&mut self) {
        let lower = self.probes.fell + self.probes.to_zero;
        self.probes.fell += if self.is_restart && lower > 0 { 2 } else { 0 };
    }

    /// The first of the rows with 0 with which counters began again last, for the row behind.
    pub(in crate::report) fn zeros_ns(&self) -> Option<i64> {
        self.zeros_ns
    }

    /// Whether any counter has another value than before.
    pub(in crate::report) fn has_changed(&self) -> bool {
        self.has_changed
    }

    /// Whether several counters of the kernel began again, so that all of them did.
    pub(in crate::report) fn began_again(&self) -> bool {
        self.fall(false) == Fall::BeganAgain
    }

    /// Whether a single counter of the kernel began again while others rose from above 0.
    pub(in crate::report) fn fell_alone(&self) -> bool {
        let fell = self.kernel.fell + self.kernel.to_zero;
        fell == 1 && self.kernel.rose > 0 && self.fall(false) == Fall::Resets
    }

    /// Whether all counters of the kernel that are lower than before wrapped.
    pub(in crate::report) fn have_wrapped(&self) -> bool {
        self.kernel.fell + self.kernel.to_zero > 0
            && matches!(self.fall(false), Fall::Wraps | Fall::MayWrap)
    }

    /// Returns the reach of the row's counters; `reach` is that of its times.
    pub(in crate::report) fn reach(&self, reach: Reach) -> RowReach {
        let of = |is_of_probes| Reach { fall: self.fall(is_of_probes), ..reach };
        let (kernel, probes) = (of(false), of(true));
        RowReach { kernel, probes, are_different: kernel.fall != probes.fall }
    }

    /// What a counter of the row did that went back.
    pub(in crate::report) fn fall(&self, is_of_probes: bool) -> Fall {
        let (kernel, probes) = (&self.kernel, &self.probes);
        // A reset leaves no counter as it was, and hardly any above that.
        let have_others = kernel.stood + u32::from(self.has_still) > 1;
        if kernel.may_wrap() && have_others {
            return if is_of_probes { self.fall_of(probes) } else { Fall::Wraps };
        }
        let have_probes = is_of_probes && probes.began_again();
        if self.is_reset && (kernel.began_again() || have_probes) {
            return Fall::BeganAgain;
        }
        self.fall_of(if is_of_probes { probes } else { kernel })
    }

    /// The same where the counters of the kernel did not begin again.
    fn fall_of(&self, falls: &FallsOf) -> Fall {
        match self.is_reset {
            true if falls.behind_zeros > 1 => Fall::BeganAgainBehindZeros,
            true => Fall::Resets,
            false if self.is_restart => Fall::Shortened,
            false => Fall::MayWrap,
        }
    }
}
