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
    open: InvalidWindow,
    worst: Option<InvalidWindow>,
}

impl InvalidStorms {
    /// Takes what was counted between two rows. Rows are missing in a gap, so its average stands
    /// for itself.
    pub(super) fn take(&mut self, row: InvalidWindow, is_gap: bool) {
        if is_gap {
            self.judge(row);
            return;
        }
        self.open.seconds += row.seconds;
        self.open.packets += row.packets;
        if let Some(new) = row.new {
            *self.open.new.get_or_insert(0.0) += new;
        }
        if self.open.seconds + row.seconds / 2.0 > WINDOW {
            let window = std::mem::take(&mut self.open);
            self.judge(window);
        }
    }

    fn judge(&mut self, window: InvalidWindow) {
        if window.is_storm() && self.worst.is_none_or(|worst| window.rate() > worst.rate()) {
            self.worst = Some(window);
        }
    }

    /// Returns the worst time, if there is one that is worth a warning.
    pub(super) fn worst(&self) -> Option<InvalidWindow> {
        let mut all = Self { open: InvalidWindow::default(), worst: self.worst };
        all.judge(self.open);
        all.worst
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

    #[test]
    fn a_gap_is_judged_by_itself() {
        let mut storms = InvalidStorms::default();
        let gap = InvalidWindow { seconds: 600.0, packets: 24_000.0, new: None };
        storms.take(gap, true);
        assert_eq!(storms.worst(), Some(gap));
    }
}
