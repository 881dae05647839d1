//! Values of counters that were rounded on their way, so that small events are not in them.
//!
//! A program that prints six digits (`%.5e`) or stores numbers of 32 bits leaves large values that
//! are all multiples of a power of 10 or 2. One such value is chance, many are not.

/// Values below this have up to six digits.
const SIX_DIGITS: f64 = 1_000_000.0;
/// A float of 32 bits holds every integer up to this.
const LARGEST_OF_SINGLE: f64 = 16_777_216.0;
/// Every tenth value ends in 0 by chance: the zeros of all values together that are no chance.
const ENOUGH_DECIMAL: u32 = 6;
/// The same for multiples of 2: bits of all values together.
const ENOUGH_BITS: u32 = 17;
/// So many bits of one value count at most, since a round number is chance.
const MOST_BITS: u32 = 12;
/// So many different values at least, for decimal digits and for bits.
const FEWEST: (usize, usize) = (3, 2);

/// Values that are compared, so that none counts twice.
const DISTINCT: usize = 16;

/// What the values of all counters of a source show.
#[derive(Debug, Default)]
pub(super) struct Precision {
    /// The last large values.
    seen: [f64; DISTINCT],
    next: usize,
    /// Trailing zeros of large values, as long as all have one.
    decimal: u32,
    is_decimal_exact: bool,
    /// Bits that are 0 in large values, as long as they are so in all.
    bits: u32,
    is_binary_exact: bool,
    /// The number of a counter that has a value with a fraction.
    fraction: Option<usize>,
}

impl Precision {
    /// Takes a value that the counter `number` did not have in the row before.
    pub(super) fn take(&mut self, number: usize, value: f64) {
        if self.is_decimal_exact && self.is_binary_exact {
            return;
        }
        if value as u64 as f64 != value {
            self.fraction.get_or_insert(number);
            return;
        }
        let least = if self.is_decimal_exact { LARGEST_OF_SINGLE } else { SIX_DIGITS };
        if value < least || self.seen.contains(&value) {
            return;
        }
        self.seen[self.next % DISTINCT] = value;
        self.next += 1;
        if !self.is_decimal_exact {
            self.is_decimal_exact = value % 10.0 != 0.0;
            self.decimal += trailing_zeros(value);
        }
        if value >= LARGEST_OF_SINGLE && !self.is_binary_exact {
            self.is_binary_exact = f64::from(value as f32) != value;
            self.bits += (value as u64).trailing_zeros().min(MOST_BITS);
        }
    }

    /// Returns a sentence about it, if values are not those of a counter.
    pub(super) fn unknown(&self, names: &[String]) -> Option<String> {
        if let Some(name) = self.fraction.and_then(|number| names.get(number)) {
            return Some(format!(
                "values of {name} have fractions, which no counter has: they are averages, or numbers \
                 with separators, and events are not known"
            ));
        }
        if !self.is_decimal_exact && self.decimal >= ENOUGH_DECIMAL && self.next >= FEWEST.0 {
            return Some(
                "all values of 1,000,000 and more are multiples of 10 or more: they were rounded, and \
                 small numbers of events are not in them"
                    .to_owned(),
            );
        }
        (!self.is_binary_exact && self.bits >= ENOUGH_BITS && self.next >= FEWEST.1).then(|| {
            "large values have the precision of floats of 32 bits (24 bits): they were rounded, and \
             small numbers of events are not in them"
                .to_owned()
        })
    }
}

/// Returns the zeros at the end of an integer; at most three count, since a round number is chance.
fn trailing_zeros(value: f64) -> u32 {
    [10.0, 100.0, 1000.0].iter().filter(|power| value % **power == 0.0).count() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = f64>) -> Option<String> {
        let mut precision = Precision::default();
        values.into_iter().for_each(|value| precision.take(0, value));
        precision.unknown(&["drop".to_owned()])
    }

    #[test]
    fn rounded_values_are_found() {
        let exact = (0..300).map(|at| 40_123_457.0 + 13.0 * f64::from(at));
        assert_eq!(of(exact.clone()), None);
        let six_digits = exact.clone().map(|value| (value / 100.0).round() * 100.0);
        assert!(of(six_digits).unwrap().contains("multiples of 10"));
        assert!(of(exact.map(|value| f64::from(value as f32))).unwrap().contains("32 bits"));
        assert!(of([4.0, 4.012]).unwrap().starts_with("values of drop have fractions"));
    }

    #[test]
    fn round_values_by_chance_are_none() {
        assert_eq!(of((0..999).map(f64::from)), None);
        assert_eq!(of([1_000_000.0, 5_000_000.0]), None);
        assert_eq!(of([2_000_000.0; 300]), None);
        assert_eq!(of((0..300).map(|at| 2_000_000.0 + f64::from(at))), None);
        assert_eq!(of([16_777_216.0, 16_777_218.0, 16_777_220.0]), None);
    }
}
