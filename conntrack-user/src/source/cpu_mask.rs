//! The mask of possible CPUs, which gives the CPU of each row of the statistics file.
//!
//! The kernel prints one row per possible CPU and leaves the CPU's number out
//! (`ct_cpu_seq_start` walks `cpu_possible`), so a mask with holes shifts the rows.

use std::path::Path;

use super::opened;
use crate::text::sanitize::shown;

/// More CPUs than any kernel is built for (`CONFIG_NR_CPUS` is at most 8192).
const MOST_CPUS: u32 = 65_536;

/// The path below the sys root.
pub const POSSIBLE: &str = "devices/system/cpu/possible";

/// The mask could not be read or understood.
#[derive(Debug, thiserror::Error)]
pub enum CpuMaskError {
    /// The file could not be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// The system's reason.
        error: std::io::Error,
    },
    /// The text is not a list of CPU ranges such as `0-3,8`.
    #[error("'{0}' is not a list of CPUs such as 0-3,8")]
    Text(String),
}

/// Reads `SYS_ROOT/devices/system/cpu/possible`.
///
/// # Errors
/// [`CpuMaskError`] with the path or the text.
pub fn read(sys_root: &Path) -> Result<Vec<u32>, CpuMaskError> {
    let path = sys_root.join(POSSIBLE);
    let text = opened::text(&path)
        .map_err(|error| CpuMaskError::Read { path: path.display().to_string(), error })?;
    parse(&text)
}

/// Returns one more than the highest of `cpus`, and at least 1: the length of an array by CPU number.
/// With holes in the mask, it is more than the number of CPUs.
#[must_use]
pub fn length(cpus: &[u32]) -> usize {
    cpus.last().map_or(1, |&last| last as usize + 1)
}

/// The CPU numbers in a kernel CPU list (`bitmap_print_to_pagebuf`), ascending.
///
/// # Errors
/// [`CpuMaskError::Text`] for anything but ascending ranges of at most 65,536 CPUs.
pub fn parse(text: &str) -> Result<Vec<u32>, CpuMaskError> {
    let fail = || {
        let start: String = text.trim().chars().take(64).collect();
        CpuMaskError::Text(shown(&start).into_owned())
    };
    let mut cpus: Vec<u32> = Vec::new();
    for range in text.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let first: u32 = first.parse().map_err(|_| fail())?;
        let last: u32 = last.parse().map_err(|_| fail())?;
        let ascends = cpus.last().is_none_or(|&previous| previous < first);
        if !ascends || first > last || last >= MOST_CPUS {
            return Err(fail());
        }
        cpus.extend(first..=last);
    }
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_holes_and_single_cpus() {
        assert_eq!(parse("0-1\n").unwrap(), [0, 1]);
        assert_eq!(parse("0").unwrap(), [0]);
        assert_eq!(parse("0-1,4,6-7\n").unwrap(), [0, 1, 4, 6, 7]);
        assert_eq!(parse("0-4095\n").unwrap().len(), 4096);
    }

    #[test]
    fn invalid_cpu_lists_are_refused() {
        for text in ["", "a", "1-", "3-1", "0,0", "0-99999999", "0x1", "0-1 3"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_text_never_panics(text: String) {
            let _ = parse(&text);
        }
    }
}
