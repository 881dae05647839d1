//! The measures of a counter, and the suffixes that they add to its name.

/// Expands to the suffix of a measure as a literal, so that names can be joined at compile time.
macro_rules! suffix {
    (Rate) => {
        "_rate"
    };
    (PeakRate) => {
        "_rate_max"
    };
    (PeakCount) => {
        "_sample_max"
    };
}
pub(super) use suffix;

/// A measure of a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// The counter itself.
    Total,
    /// Events per second since the last row.
    Rate,
    /// The largest rate of one sample since then.
    PeakRate,
    /// The largest number of events in one sample since then.
    PeakCount,
}

impl Measure {
    /// The measures beside the total. The peaks exist only where samples are taken between rows.
    pub const BESIDE_TOTAL: [Self; 3] = [Self::Rate, Self::PeakRate, Self::PeakCount];

    /// Returns what the measure adds to the counter's name.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Total => "",
            Self::Rate => suffix!(Rate),
            Self::PeakRate => suffix!(PeakRate),
            Self::PeakCount => suffix!(PeakCount),
        }
    }

    /// Splits a field's name into the counter's name and the measure.
    #[must_use]
    pub fn split(field: &str) -> (&str, Self) {
        let of = |measure: Self| Some((field.strip_suffix(measure.suffix())?, measure));
        Self::BESIDE_TOTAL.into_iter().find_map(of).unwrap_or((field, Self::Total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measure_is_split_from_its_counter() {
        for measure in Measure::BESIDE_TOTAL {
            assert_eq!(Measure::split(&format!("drop{}", measure.suffix())), ("drop", measure));
        }
        assert_eq!(Measure::split("entries_max"), ("entries_max", Measure::Total));
    }
}
