//! Values of counters that were rounded on their way, so that small events are not in them.
//!
//! A program that prints six digits (`%.5e`) or stores numbers of 32 bits leaves values that are all
//! multiples of a power of 10 or 2. One such value is chance, and so is a counter that rises by the same
//! number in each row; many different values are not.

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
/// So many values at least that a counter changed to.
const FEWEST: u32 = 3;
/// The same of a counter without large values, of which there must be two that count different events.
const FEWEST_SMALL: u32 = 6;
/// Counters that a sentence names.
const NAMED: usize = 3;

/// What the values of one counter show.
#[derive(Debug, Clone, Copy, Default)]
struct Digits {
    value: f64,
    rise: f64,
    /// The row of the last change.
    row: u64,
    /// The rows from one change to the next.
    apart: u64,
    /// Values that it changed to, as long as they may be rounded.
    changes: u32,
    /// It rose by different numbers, or after different numbers of rows.
    varies: bool,
    /// Zeros at the end of its values, as long as all have one.
    decimal: u32,
    is_decimal_exact: bool,
    /// Bits that are 0 in large values, as long as they are so in all.
    bits: u32,
    is_binary_exact: bool,
}

impl Digits {
    fn take(&mut self, row: u64, value: f64) {
        let rise = value - std::mem::replace(&mut self.value, value);
        let apart = row - std::mem::replace(&mut self.row, row);
        self.varies |= self.changes > 1 && (rise != self.rise || apart != self.apart);
        (self.rise, self.apart) = (rise, apart);
        self.changes += 1;
        if !self.is_decimal_exact {
            let zeros = trailing_zeros(value as u64);
            self.is_decimal_exact = zeros == 0;
            self.decimal += zeros;
        }
        if value >= LARGEST_OF_SINGLE && !self.is_binary_exact {
            self.is_binary_exact = f64::from(value as f32) != value;
            self.bits += (value as u64).trailing_zeros().min(MOST_BITS);
        }
    }

    /// Whether its values are enough to say that they were rounded or not.
    fn is_decimal_judged(&self) -> bool {
        let fewest = if self.value < SIX_DIGITS { FEWEST_SMALL } else { FEWEST };
        self.changes >= fewest
    }

    fn is_decimal_rounded(&self) -> bool {
        !self.is_decimal_exact && self.decimal >= ENOUGH_DECIMAL && self.varies
    }
}

/// What the values of all counters of a source show.
#[derive(Debug, Default)]
pub(super) struct Precision {
    rows: u64,
    counters: Vec<Digits>,
    /// The number of a counter that has a value with a fraction.
    fraction: Option<usize>,
}

impl Precision {
    /// Begins a row.
    pub(super) fn take_row(&mut self) {
        self.rows += 1;
    }

    /// Takes a value that the counter `number` did not have in the row before.
    pub(super) fn take(&mut self, number: usize, value: f64) {
        if value as u64 as f64 != value {
            self.fraction.get_or_insert(number);
            return;
        }
        if self.counters.len() <= number {
            self.counters.resize(number + 1, Digits::default());
        }
        let digits = &mut self.counters[number];
        let is_decided = digits.is_decimal_exact && digits.changes >= FEWEST_SMALL;
        if !is_decided || value >= LARGEST_OF_SINGLE && !digits.is_binary_exact {
            digits.take(self.rows, value);
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
        if let Some(rounded) = self.decimal_rounded(names) {
            return Some(format!(
                "all values of {rounded} are multiples of 10 or more: they were rounded, and small \
                 numbers of events are not in them"
            ));
        }
        self.is_single().then(|| {
            "large values have the precision of floats of 32 bits (24 bits): they were rounded, and \
             small numbers of events are not in them"
                .to_owned()
        })
    }

    /// Returns the counters with rounded decimal values, if no counter shows that values are exact.
    fn decimal_rounded(&self, names: &[String]) -> Option<String> {
        let judged = || self.counters.iter().zip(names).filter(|(at, _)| at.is_decimal_judged());
        let has_large = judged().any(|(at, _)| at.value >= SIX_DIGITS);
        // Six digits hold small values exactly.
        let judged = || judged().filter(|(at, _)| !has_large || at.value >= SIX_DIGITS);
        if judged().any(|(at, _)| at.is_decimal_exact) {
            return None;
        }
        let rounded: Vec<_> = judged().filter(|(at, _)| at.is_decimal_rounded()).collect();
        let [(first, _), rest @ ..] = &rounded[..] else { return None };
        // Counters of the same events are one witness.
        let are_different =
            rest.iter().any(|(at, _)| at.rise != first.rise || at.value != first.value);
        if !has_large && !are_different {
            return None;
        }
        let named: Vec<_> = rounded.iter().take(NAMED).map(|(_, name)| name.as_str()).collect();
        let more = match rounded.len() - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(named.join(", ") + &more)
    }

    /// Whether large values are all those of a float of 32 bits.
    fn is_single(&self) -> bool {
        let large = self.counters.iter().filter(|at| at.value >= LARGEST_OF_SINGLE);
        let moved: Vec<_> = large.filter(|at| at.changes >= FEWEST && at.varies).collect();
        moved.iter().all(|at| !at.is_binary_exact)
            && moved.iter().map(|at| at.bits).sum::<u32>() >= ENOUGH_BITS
    }
}

/// Returns the zeros at the end of an integer; at most three count, since a round number is chance.
fn trailing_zeros(value: u64) -> u32 {
    [10, 100, 1000].iter().filter(|power| value.is_multiple_of(**power)).count() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = f64>) -> Option<String> {
        let mut precision = Precision::default();
        for value in values {
            precision.take_row();
            precision.take(0, value);
        }
        precision.unknown(&["drop".to_owned()])
    }

    fn of_two(values: impl IntoIterator<Item = (f64, f64)>) -> Option<String> {
        let mut precision = Precision::default();
        for (drop, found) in values {
            precision.take_row();
            precision.take(0, drop);
            precision.take(1, found);
        }
        precision.unknown(&["drop", "found"].map(str::to_owned))
    }

    #[test]
    fn rounded_values_are_found() {
        let exact = (0..300).map(|at| 40_123_457.0 + f64::from(13 * at + 7 * at % 5));
        assert_eq!(of(exact.clone()), None);
        let six_digits = exact.clone().map(|value| (value / 100.0).round() * 100.0);
        assert!(of(six_digits).unwrap().contains("multiples of 10"));
        assert!(of(exact.map(|value| f64::from(value as f32))).unwrap().contains("32 bits"));
        assert!(of([4.0, 4.012]).unwrap().starts_with("values of drop have fractions"));
    }

    #[test]
    fn small_values_are_rounded_if_those_of_two_counters_are() {
        let values = |at: i32| (f64::from(at * at / 7 * 10), f64::from(at * 3 / 2 * 100));
        let rounded = of_two((0..50).map(values)).unwrap();
        assert!(rounded.starts_with("all values of drop, found are multiples of 10"), "{rounded}");
        // One of them is exact, or counts the same events.
        let exact = |at| (values(at).0, values(at).1 + f64::from(at % 3));
        assert_eq!(of_two((0..50).map(exact)), None);
        assert_eq!(of_two((0..50).map(|at| (values(at).0, values(at).0))), None);
    }

    #[test]
    fn a_slow_counter_rises_by_what_it_is_rounded_to() {
        let mut precision = Precision::default();
        for row in 0..300 {
            precision.take_row();
            let value = 40_123_457 + row * row / 90;
            if row * row / 9000 != (row - 1) * (row - 1) / 9000 {
                precision.take(0, f64::from(value / 100 * 100));
            }
        }
        assert!(precision.unknown(&["drop".to_owned()]).unwrap().contains("multiples of 10"));
    }

    #[test]
    fn a_steady_rate_is_not_rounded() {
        // A generator of 10,000 packets a second, and one of 2^20 in ten minutes.
        assert_eq!(of((0..300).map(|at| 10_000.0 * f64::from(at))), None);
        assert_eq!(of((0..300).map(|at| 67_108_864.0 + 1_048_576.0 * f64::from(at))), None);
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
