//! `ctpulse report`: recordings in, one report or a comparison out.

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::UsageError;
use super::generate::print_quietly;
use crate::cli::{ReportArgs, ReportFormat};
use crate::recording::{self, Catalog, LEFT_OUT, ReadCounts};
use crate::report::{
    Aggregator, Options, Report, compare, comparison_page, comparison_text, report_page,
    report_text,
};
use crate::source::namespace::identity;

/// The name by which standard output is asked for.
const STANDARD_OUTPUT: &str = "-";

/// How every page begins.
const PAGE: &[u8] = b"<!doctype html";

pub(super) fn run(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let drawn = args.html.is_some();
    let page = args.html.as_deref().filter(|page| *page != Path::new("-"));
    page.map_or(Ok(()), may_be_replaced)?;
    let options = Options { window: args.window, bursts: args.bursts, drawn };
    let merged = args.merge || args.files.len() == 1;
    if !merged && args.files.len() > 2 {
        let many = args.files.len();
        let what = "one is reported, two are compared; give --merge to read them as one";
        return Err(UsageError(format!("{many} files: {what}")).into());
    }
    let (text, page) = if merged {
        let report = read(&args.files, &[], options)?;
        let text = match args.format {
            ReportFormat::Text => report_text(&report),
            ReportFormat::Json => json(&report)?,
        };
        (text, drawn.then(|| report_page(&report)))
    } else {
        let (before, after) = args.files.split_at(1);
        let comparison = compare(read(before, after, options)?, read(after, before, options)?);
        let text = match args.format {
            ReportFormat::Text => comparison_text(&comparison),
            ReportFormat::Json => json(&comparison)?,
        };
        (text, drawn.then(|| comparison_page(&comparison)))
    };
    match args.html.as_deref().zip(page) {
        // In place of the text, which a browser does not take.
        Some((path, page)) if path.as_os_str() == STANDARD_OUTPUT => {
            return print_quietly(page.as_bytes());
        }
        Some((path, page)) => write_page(path, &page)?,
        None => {}
    }
    print_quietly(text.as_bytes())
}

/// Writes the page. A reader of a pipe that has gone is no error.
fn write_page(path: &Path, page: &str) -> anyhow::Result<()> {
    match std::fs::write(path, page) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.with_context(|| format!("cannot write {}", path.display())),
    }
}

/// Refuses a page in the place of anything but a page: a forgotten argument must not cost a
/// recording.
fn may_be_replaced(page: &Path) -> anyhow::Result<()> {
    // Opening or reading a stream would wait for its other end.
    if !page.metadata().is_ok_and(|file| file.is_file()) {
        return Ok(());
    }
    let mut start = [0; PAGE.len()];
    let old =
        std::fs::File::open(page).and_then(|mut file| file.read(&mut start)).map(|read| read > 0);
    match old {
        Ok(true) if !start.eq_ignore_ascii_case(PAGE) => {
            let path = page.display();
            bail!("{path} is no page, and would be replaced; --html OUT names a file to write")
        }
        // Any other fault is reported when the page is written.
        _ => Ok(()),
    }
}

fn json(value: &impl serde::Serialize) -> anyhow::Result<String> {
    Ok(crate::text::sanitize::json(&serde_json::to_string_pretty(value)?) + "\n")
}

/// One report of all `paths`, each with what was rotated away from it, but for the files of the other
/// side of a comparison.
fn read(paths: &[PathBuf], others: &[PathBuf], options: Options) -> anyhow::Result<Report> {
    let files = paths.iter().flat_map(|path| recording::files_of(path));
    let mut seen = HashSet::new();
    let files = files.filter(|file| paths.contains(file) || !others.contains(file));
    // A shell's `fw.influx*` names the parts again.
    let is_new = |file: &PathBuf| match identity(file) {
        Ok(identity) => seen.insert(identity),
        Err(_) => true,
    };
    let files: Vec<_> = files.filter(is_new).collect();
    let (mut catalog, mut tally) = (Catalog::default(), ReadCounts::default());
    let left_out = paths.iter().flat_map(|path| recording::parts_left_out(path));
    let left_out = left_out.filter(|path| !files.contains(path) && !others.contains(path));
    tally.unreadable.extend(left_out.map(|path| format!("{}: {LEFT_OUT}", path.display())));
    let mut aggregator = Aggregator::new(options);
    recording::read(&files, &mut catalog, &mut tally, &mut |catalog, row| {
        aggregator.push(catalog, row);
    });
    let report = aggregator.finish(tally);
    if report.sources.is_empty() {
        bail!("{}", nothing_in(&report));
    }
    Ok(report)
}

/// Why there is nothing to report.
fn nothing_in(report: &Report) -> String {
    let ReadCounts { files, bytes, rows, bad_lines, first_bad_line, unreadable, .. } =
        &report.recording;
    if let (true, Some(why)) = (files.is_empty(), unreadable.first()) {
        return format!("cannot read {why}");
    }
    let names = files.join(", ");
    let mut text = if *bytes == 0 && *bad_lines == 0 {
        format!("{names} is empty")
    } else {
        format!(
            "there is no row of conntrack in {names}: {rows} rows of others, {bad_lines} lines that \
             are neither line protocol nor JSON nor CSV"
        )
    };
    for why in first_bad_line.iter().chain(unreadable) {
        text += &format!("; {why}");
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::sanitize::{is_plain, tests::harmful};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        /// The author of the recording, who also chose the name of its file.
        #[test]
        fn text_from_a_recording_is_escaped_in_every_report(
            key in harmful(), value in harmful(), field in harmful(), name in harmful(),
        ) {
            let directory = tempfile::tempdir().unwrap();
            let name: String = name.chars().filter(|c| !"/\0".contains(*c)).take(40).collect();
            let path = directory.path().join(format!("r{name}"));
            let tags = serde_json::json!({ "cpu": "all", key: value });
            let row = |count: u64, time: u64| {
                let fields = serde_json::json!({ "drop": count, field.clone(): count });
                serde_json::json!({
                    "fields": fields, "name": "conntrack", "tags": tags, "timestamp": time,
                })
            };
            let rows = (0..3u64).map(|n| row(n * 7, 1_795_590_600_000_000_000 + n * 1_000_000_000));
            let text: String = rows.map(|row| format!("{row}\n")).collect();
            std::fs::write(&path, text).unwrap();
            let options = Options { window: std::time::Duration::from_secs(1), bursts: 3, drawn: true };
            let report = read(&[path], &[], options).unwrap();
            let page = report_page(&report);
            prop_assert!(!page.contains("<script>"), "{page:?}");
            for text in [report_text(&report), json(&report).unwrap(), page] {
                prop_assert!(text.chars().all(|c| is_plain(c) || c == '\n'), "{text:?}");
            }
        }
    }
}
