//! Times with many INVALID packets, which an average over a long recording hides.

/// INVALID packets a second from which on they are worth a warning, and the share of the new
/// connections that they have to reach, too, where these are counted: scans bring a few to every
/// large gateway.
const RATE: f64 = 1.0;
const SHARE: f64 = 0.001;

/// Fewer are chance.
const FEWEST: f64 = 10.0;

/// The length of a window in seconds; a row that covers more is a window of its own.
const WINDOW: f64 = 10.0;

/// The INVALID packets of some time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct InvalidWindow {
    /// The length of the time.
    pub seconds: f64,
    /// INVALID packets.
    pub packets: f64,
    /// New connections, where they are counted.
    pub new: Option<f64>,
}

impl InvalidWindow {
    /// Returns INVALID packets per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.packets / self.seconds.max(f64::MIN_POSITIVE)
    }

    /// Returns INVALID packets for each new connection. A counter of new connections that is 0 is
    /// one that the kernel does not maintain, or no measure.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        self.new.filter(|new| *new > 0.0).map(|new| self.packets / new)
    }

    /// Returns the new connections of so many seconds at the same rate.
    #[must_use]
    pub fn new_in(&self, seconds: f64) -> Option<f64> {
        self.new.map(|new| new / self.seconds.max(f64::MIN_POSITIVE) * seconds)
    }

    /// Returns both together. New connections are counted where they are in both.
    fn and(self, other: Self) -> Self {
        Self {
            seconds: self.seconds + other.seconds,
            packets: self.packets + other.packets,
            new: self.new.zip(other.new).map(|(own, other)| own + other),
        }
    }

    /// Returns whether the packets are worth a warning.
    #[must_use]
    pub fn is_storm(&self) -> bool {
        self.packets >= FEWEST
            && self.rate() >= RATE
            && self.share().is_none_or(|share| share >= SHARE)
    }
}

/// Follows the INVALID packets of one source.
#[derive(Debug, Clone, Default)]
pub(super) struct InvalidStorms {
    open: Option<InvalidWindow>,
    worst: Option<InvalidWindow>,
    /// The time with the highest rate of those in which new connections are not counted all the time.
    worst_without_new: Option<InvalidWindow>,
    /// All rows in which new connections are counted.
    beside_new: Option<InvalidWindow>,
}

impl InvalidStorms {
    /// Takes what was counted between two rows. Rows are missing in a gap, so its average stands
    /// for itself.
    pub(super) fn take(&mut self, row: InvalidWindow, is_gap: bool) {
        if row.new.is_some() {
            self.beside_new = Some(self.beside_new.map_or(row, |sum| sum.and(row)));
        }
        if is_gap {
            self.judge(row);
            return;
        }
        let open = self.open.map_or(row, |open| open.and(row));
        self.open = Some(open);
        if open.seconds + row.seconds / 2.0 > WINDOW {
            self.open = None;
            self.judge(open);
        }
    }

    fn judge(&mut self, window: InvalidWindow) {
        let is_worse =
            |worst: Option<InvalidWindow>| worst.is_none_or(|worst| window.rate() > worst.rate());
        if window.new.is_some() && window.is_storm() && is_worse(self.worst) {
            self.worst = Some(window);
        } else if window.new.is_none() && window.is_storm() && is_worse(self.worst_without_new) {
            self.worst_without_new = Some(window);
        }
    }

    /// Returns the packets in rows in which new connections are counted.
    pub(super) fn beside_new(&self) -> Option<InvalidWindow> {
        self.beside_new
    }

    /// Returns the worst time, if there is one that is worth a warning. Where new connections are not
    /// counted, there are as many as on average where they are.
    pub(super) fn worst(&self) -> Option<InvalidWindow> {
        let mut all = self.clone();
        self.open.into_iter().for_each(|open| all.judge(open));
        let without = all.worst_without_new.filter(|window| {
            let usual = self.beside_new.and_then(|known| known.new_in(window.seconds));
            InvalidWindow { new: usual, ..*window }.is_storm()
        });
        without.into_iter().chain(all.worst).max_by(|a, b| a.rate().total_cmp(&b.rate()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(rows: impl IntoIterator<Item = (f64, f64, Option<f64>)>) -> Option<InvalidWindow> {
        let mut storms = InvalidStorms::default();
        for (seconds, packets, new) in rows {
            storms.take(InvalidWindow { seconds, packets, new }, false);
        }
        storms.worst()
    }

    #[test]
    fn a_storm_is_found_however_long_the_recording_is() {
        let of_second = |second| if (5000..5060).contains(&second) { 400.0 } else { 0.0 };
        let night = (0..43_200).map(|second| (1.0, of_second(second), None));
        assert_eq!(worst(night).map(|worst| worst.rate()), Some(400.0));
        let slow = (0..4320).map(|row| (10.0, if row == 7 { 12.0 } else { 0.0 }, None));
        assert_eq!(worst(slow).map(|worst| worst.packets), Some(12.0));
        let at_the_end = (0..11).map(|second| (1.0, if second == 10 { 400.0 } else { 0.0 }, None));
        assert_eq!(worst(at_the_end).map(|worst| worst.packets), Some(400.0));
        assert_eq!(worst((0..43_200).map(|_| (1.0, 0.9, None))), None);
    }

    /// The share is that of the same time, not of the busiest or of all.
    #[test]
    fn a_storm_is_judged_by_the_traffic_of_its_time() {
        let rows = |noon: f64, night: f64| {
            (0..200).map(move |second| match second {
                0..100 => (1.0, noon, Some(100_000.0)),
                _ => (1.0, night, Some(100.0)),
            })
        };
        assert_eq!(worst(rows(50.0, 0.0)), None);
        assert_eq!(worst(rows(50.0, 5.0)).map(|worst| worst.packets), Some(50.0));
    }

    /// The probes that count new connections were attached for a part of the time.
    #[test]
    fn a_share_is_one_of_the_time_with_both_counters() {
        let rows = |packets: f64| {
            (0..200).map(move |second| (1.0, packets, (second < 40).then_some(5000.0)))
        };
        assert_eq!(worst(rows(2.0)), None);
        let storm = worst(rows(20.0)).unwrap();
        assert_eq!((storm.rate(), storm.share()), (20.0, Some(0.004)));
        let mut storms = InvalidStorms::default();
        for (seconds, packets, new) in rows(2.0) {
            storms.take(InvalidWindow { seconds, packets, new }, false);
        }
        assert_eq!(storms.beside_new().and_then(|it| it.share()), Some(0.0004));
        assert_eq!(worst((0..40).map(|_| (1.0, 2.0, None))).map(|it| it.rate()), Some(2.0));
    }

    #[test]
    fn a_gap_is_judged_by_itself() {
        let mut storms = InvalidStorms::default();
        let gap = InvalidWindow { seconds: 600.0, packets: 24_000.0, new: None };
        storms.take(gap, true);
        assert_eq!(storms.worst(), Some(gap));
    }
}
