//! Selects one of the two formats for a scraper: `Accept`, with quality values (RFC 9110, 12.5.1).

use crate::format::Dialect;

/// The preference of an `Accept` for one format: the quality in thousandths, then the exactness of
/// the name.
type Preference = (u16, u8);

/// The format for a scraper that accepts `accept`: the one that it prefers; of two that it names
/// alike `OpenMetrics`, and the text format for all that name neither. No client is refused.
pub(super) fn dialect(accept: &str) -> Dialect {
    let text = preference(accept, "text", "plain", "0.0.4");
    let open_metrics = preference(accept, "application", "openmetrics-text", "1.0.0");
    match (open_metrics, text) {
        ((quality, exactness), text) if quality > 0 && exactness > 0 => {
            if quality > text.0 || quality == text.0 && exactness >= text.1 {
                Dialect::OpenMetrics
            } else {
                Dialect::Text
            }
        }
        _ => Dialect::Text,
    }
}

/// Returns the preference of the most exact range that matches `kind/subtype` in this version; of
/// several equally exact ranges the best one.
fn preference(accept: &str, kind: &str, subtype: &str, version: &str) -> Preference {
    let matching = accept.split(',').filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let (range_kind, range_subtype) = parts.next()?.split_once('/')?;
        let is = |text: &str, name: &str| text.eq_ignore_ascii_case(name);
        let mut exactness = match (range_kind, range_subtype) {
            ("*", "*") => 0,
            (range, "*") if is(range, kind) => 1,
            (range, sub) if is(range, kind) && is(sub, subtype) => 2,
            _ => return None,
        };
        let mut quality = 1000;
        for parameter in parts {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let (name, value) = (name.trim_end(), value.trim().trim_matches('"'));
            if is(name, "q") {
                quality = thousandths(value)?;
                break; // What follows is no part of the type.
            } else if is(name, "version") {
                exactness = 3;
                if value != version {
                    return None;
                }
            }
        }
        Some((exactness, quality))
    });
    matching.max().map_or((0, 0), |(exactness, quality)| (quality, exactness))
}

/// A quality value, 0 to 1; one that is none makes its range void.
fn thousandths(text: &str) -> Option<u16> {
    let value: f32 = text.parse().ok()?;
    (0.0..=1.0).contains(&value).then(|| (value * 1000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_header_selects_the_format() {
        use Dialect::{OpenMetrics, Text};
        let exact = "application/openmetrics-text;version=1.0.0";
        for (accept, expected) in [
            ("", Text),
            ("*/*", Text),
            ("text/plain", Text),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Text),
            ("application/json", Text),
            ("nonsense", Text),
            (exact, OpenMetrics),
            ("application/openmetrics-text", OpenMetrics),
            ("application/openmetrics-text; version=\"1.0.0\"; charset=utf-8", OpenMetrics),
            ("APPLICATION/OpenMetrics-Text;Version=1.0.0", OpenMetrics),
            ("application/*", OpenMetrics),
            ("application/openmetrics-text;version=0.0.1", Text),
            ("application/openmetrics-text;version=2.0.0,text/plain;q=0.1", Text),
            // Prometheus 2.42, and 3.
            (
                "application/openmetrics-text;version=1.0.0,\
                 application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                 application/openmetrics-text;version=0.0.1;q=0.4,\
                 text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
                 text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                OpenMetrics,
            ),
            // Quality decides, then how exactly a format is named.
            ("application/openmetrics-text;q=0.4, text/plain;q=0.5", Text),
            ("application/openmetrics-text;q=0.5, text/plain;q=0.4", OpenMetrics),
            ("application/openmetrics-text, text/plain", OpenMetrics),
            ("text/plain, application/openmetrics-text", OpenMetrics),
            ("application/*, text/plain", Text),
            ("*/*, application/openmetrics-text;q=0.9", Text),
            ("*/*;q=0.1, application/openmetrics-text;q=0.2", OpenMetrics),
            ("application/openmetrics-text;q=0", Text),
            ("application/openmetrics-text;q=0, */*", Text),
            ("application/openmetrics-text;q=2, text/plain;q=0.1", Text),
            ("text/plain;q=0, application/openmetrics-text;q=0.001", OpenMetrics),
        ] {
            assert_eq!(dialect(accept), expected, "{accept}");
        }
        assert_eq!(dialect(&format!("{exact};q=0.3,{exact};q=0.8,text/plain;q=0.5")), OpenMetrics);
    }
}
