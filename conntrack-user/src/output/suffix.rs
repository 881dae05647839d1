//! Names of output files that promise another content than they get.

use std::path::Path;

use crate::format::Format;

/// Returns a warning where the end of the name stands for another format or a compression that the file
/// does not get. `format` is the one that was asked for, if any was.
#[must_use]
pub fn warning(output: &Path, format: Option<Format>) -> Option<String> {
    let suffix = output.extension()?.to_str()?;
    let name = output.display();
    let another = |option: &str| {
        format!("{name} gets line protocol; with --format {option} it would be {option}")
    };
    match suffix.to_ascii_lowercase().as_str() {
        "csv" | "json" if format.is_none() => Some(another(&suffix.to_ascii_lowercase())),
        "prom" if format.is_none() => Some(another("prometheus")),
        "gz" | "xz" | "bz2" => {
            Some(format!("{name} is not compressed; one that ends in .zst would be"))
        }
        "zst" if suffix != "zst" => {
            Some(format!("{name} is not compressed: write .zst in lower case"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_promises_another_content_gets_a_warning() {
        let warning = |name: &str, format| warning(Path::new(name), format);
        for name in ["a.csv", "a.JSON", "a.prom", "a.csv.gz", "a.ZST"] {
            assert!(warning(name, None).is_some_and(|warning| warning.contains(name)), "{name}");
        }
        for name in ["a", "a.influx", "a.influx.zst", "a.log", ".csv", "-"] {
            assert_eq!(warning(name, None), None, "{name}");
        }
        assert_eq!(warning("a.csv", Some(Format::Csv)), None);
        assert_eq!(warning("a.csv", Some(Format::Influx)), None, "asked for");
        assert!(warning("a.gz", Some(Format::Influx)).is_some());
    }
}
