//! How certain a share is that was measured on a sample.

/// Standard deviations on each side of the middle: 95 % of a normal distribution.
pub(super) const Z: f64 = 1.959_964;

/// The 95 % interval of a share, from 0 to 1 (Wilson 1927). `part` of `of` entries were counted in a
/// sample of `sampled` of the table (above 0, at most 1): the variance is smaller by what is not left
/// to chance. The interval of the whole table is the share itself.
#[must_use]
pub fn of_share(part: u64, of: u64, sampled: f64) -> (f64, f64) {
    let (count, share) = (of as f64, part as f64 / of.max(1) as f64);
    if of == 0 {
        return if sampled >= 1.0 { (0.0, 0.0) } else { (0.0, 1.0) };
    }
    let z2 = Z * Z * (1.0 - sampled).max(0.0);
    let middle = (share + z2 / (2.0 * count)) / (1.0 + z2 / count);
    let half = (z2 * (share * (1.0 - share) / count + z2 / (4.0 * count * count))).sqrt()
        / (1.0 + z2 / count);
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

/// The estimate of a number of entries in the whole table, and its 95 % interval, from `counted` in a
/// sample of `sampled` of it. Entries are in the buckets independently of each other.
#[must_use]
pub fn of_number(counted: u64, sampled: f64) -> (f64, f64, f64) {
    let estimate = counted as f64 / sampled;
    let half = Z * (counted as f64 * (1.0 - sampled).max(0.0)).sqrt() / sampled;
    (estimate, (estimate - half).max(counted as f64), estimate + half)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of 100,000 entries is in the sample or not, as the buckets of a keyed hash have it.
    #[test]
    fn ninety_five_of_a_hundred_intervals_hold_the_truth() {
        let mut random = fastrand::Rng::with_seed(7);
        for (truth, sampled) in [(0.16, 1.0 / 16.0), (0.013, 1.0 / 16.0), (0.16, 0.5)] {
            let entries = 100_000;
            let part = (truth * f64::from(entries)) as u32;
            let (mut shares, mut numbers) = (0, 0);
            for _ in 0..400 {
                let mut drawn = |n: u32| (0..n).filter(|_| random.f64() < sampled).count() as u64;
                let (ours, others) = (drawn(part), drawn(entries - part));
                let (low, high) = of_share(ours, ours + others, sampled);
                shares += u32::from((low..=high).contains(&truth));
                let (_, low, high) = of_number(ours + others, sampled);
                numbers += u32::from((low..=high).contains(&f64::from(entries)));
            }
            assert!((368..=392).contains(&shares), "{truth} {sampled}: {shares} of 400");
            assert!((368..=392).contains(&numbers), "{truth} {sampled}: {numbers} of 400");
        }
    }

    #[test]
    fn the_whole_table_leaves_no_doubt_and_no_entry_leaves_all() {
        assert_eq!(of_share(3, 10, 1.0), (0.3, 0.3));
        assert_eq!(of_share(0, 0, 1.0), (0.0, 0.0));
        assert_eq!(of_share(0, 0, 0.5), (0.0, 1.0));
        assert_eq!(of_number(10, 1.0), (10.0, 10.0, 10.0));
        let (low, high) = of_share(0, 100, 0.1);
        assert!(low == 0.0 && high > 0.0 && high < 0.05, "{low} {high}");
    }
}
