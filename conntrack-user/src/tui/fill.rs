//! How full the table is.

/// How full a table is, in the words that the screen uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FillStep {
    /// Below 80 %.
    Room,
    /// From 80 % on.
    Filling,
    /// From 95 % on.
    AlmostFull,
    /// No room at all.
    Full,
}

impl FillStep {
    /// The step of a share in percent.
    #[must_use]
    pub fn of(percent: f64) -> Self {
        match percent {
            p if p >= 100.0 => Self::Full,
            p if p >= 95.0 => Self::AlmostFull,
            p if p >= 80.0 => Self::Filling,
            _ => Self::Room,
        }
    }

    /// The word for it; empty where there is room.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Room => "",
            Self::Filling => "filling",
            Self::AlmostFull => "almost full",
            Self::Full => "FULL",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_have_a_text() {
        let words = [79.9, 80.0, 94.9, 95.0, 99.9, 100.0, 120.0].map(|p| FillStep::of(p).word());
        assert_eq!(words, ["", "filling", "filling", "almost full", "almost full", "FULL", "FULL"]);
    }
}
