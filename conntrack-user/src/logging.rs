//! Log lines: to standard error, one line each, in the form that the reader expects.
//!
//! Under execd Telegraf reads them by their prefix (`E! W! I! D! T! `) and takes at most
//! 64 KiB a line; elsewhere they look like any other tool's.

use std::borrow::Cow;
use std::io::Write;

use anstyle::{AnsiColor, Style};
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::text::colour;
use crate::text::sanitize::shown;

/// The longest line in bytes, below the 64 KiB of Telegraf's scanner.
const LONGEST_LINE: usize = 60 << 10;

/// The width of a message for a person, in characters.
const WIDTH: usize = 100;

/// The longest warning about a configuration, in characters: with its prefix a line of 100.
const BRIEF: usize = 82;

/// The end of one that is longer.
const MORE: &str = "… (see config --check)";

/// The reader of the log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogReader {
    /// A person: `ctpulse: warning: ...`, coloured on a terminal.
    Person,
    /// Telegraf's execd: `W! ...`.
    Telegraf,
}

/// The target of lines about one input, which has a level of its own (`log_level`).
pub const INPUT_TARGET: &str = "ctpulse::input";

/// The targets whose lines are shown: this program and its eBPF programs.
const OURS: [&str; 2] = ["ctpulse", crate::source::ebpf::diagnostics::TARGET];

/// Takes a line that would go to standard error; `false` where it should go there all the same.
type Divert = Box<dyn Fn(Level, &str) -> bool + Send + Sync>;

struct Logger {
    reader: LogReader,
    colour: bool,
    level: LevelFilter,
    divert: Option<Divert>,
}

/// Sends log lines up to `level` to standard error, and those of inputs as these decide.
pub fn start(reader: LogReader, level: LevelFilter) {
    begin(reader, level, None);
}

/// The same for a person, but each line is offered to `divert` first: a full-screen program has
/// another place for it. It must not block, and returns whether it took the line.
pub fn start_diverted(
    level: LevelFilter,
    divert: impl Fn(Level, &str) -> bool + Send + Sync + 'static,
) {
    begin(LogReader::Person, level, Some(Box::new(divert)));
}

/// Writes a line for a person to standard error.
pub fn say(level: Level, text: &str) {
    // If standard error is closed, the message is lost.
    let _ =
        std::io::stderr().lock().write_all(line(LogReader::Person, false, level, text).as_bytes());
}

/// The lines of a message: what is wrong in the first one, and what to do about it in another one where
/// the first has no room for both. A message is divided at a semicolon alone, so that names and commands
/// stay whole.
#[must_use]
pub fn divided(level: Level, text: &str) -> Vec<(Level, String)> {
    let mut parts = text.split("; ");
    let mut lines = vec![(level, parts.next().unwrap_or_default().to_owned())];
    for part in parts {
        let Some((level, last)) = lines.last_mut() else { break };
        let longer = format!("{last}; {part}");
        // With its newline.
        if line(LogReader::Person, false, *level, &longer).chars().count() <= WIDTH + 1 {
            *last = longer;
        } else {
            lines.push((Level::Info, part.to_owned()));
        }
    }
    lines
}

/// The same for a message among others: the further lines name the input, too, or are indented.
fn continued(level: Level, text: &str) -> Vec<(Level, String)> {
    let input = text.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    let begin = input.map_or("  ".to_owned(), |(input, _)| format!("[{input}]   "));
    let mut lines = divided(level, text);
    lines.iter_mut().skip(1).for_each(|(_, line)| line.insert_str(0, &begin));
    lines
}

fn begin(reader: LogReader, level: LevelFilter, divert: Option<Divert>) {
    let colour = colour::suits(&std::io::stderr());
    // Fails only when a logger is set already.
    let _ = log::set_boxed_logger(Box::new(Logger { reader, colour, level, divert }));
    log::set_max_level(LevelFilter::Trace);
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == INPUT_TARGET
            || metadata.level() <= self.level
                && OURS.iter().any(|ours| metadata.target().starts_with(ours))
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let text = record.args().to_string();
            if self.divert.as_ref().is_some_and(|divert| divert(record.level(), &text)) {
                return;
            }
            let lines = match self.reader {
                LogReader::Person if record.level() <= Level::Warn => {
                    continued(record.level(), &text)
                }
                _ => vec![(record.level(), text)],
            };
            let of = |(level, text): &(Level, String)| line(self.reader, self.colour, *level, text);
            let lines: String = lines.iter().map(of).collect();
            // If standard error is closed, the message is lost.
            let _ = std::io::stderr().lock().write_all(lines.as_bytes());
        }
    }

    fn flush(&self) {}
}

/// Logs what the author of a configuration should know, each in a line of a terminal;
/// `ctpulse config --check` prints them whole.
pub fn warn_briefly(warnings: &[String]) {
    for warning in warnings {
        log::warn!("{}", brief(warning));
    }
}

/// As many words as fit into [`BRIEF`] characters.
fn brief(text: &str) -> Cow<'_, str> {
    if text.chars().count() <= BRIEF {
        return text.into();
    }
    let end =
        text.char_indices().nth(BRIEF - MORE.chars().count()).map_or(text.len(), |(at, _)| at);
    let cut = text[..end].rfind(' ').unwrap_or(end);
    format!("{}{MORE}", text[..cut].trim_end_matches([',', ';', ':'])).into()
}

/// One whole line: prefix, text with what is not plain escaped, newline.
fn line(reader: LogReader, colour: bool, level: Level, text: &str) -> String {
    let mut line = match (reader, level) {
        (LogReader::Telegraf, Level::Error) => "E! ".to_owned(),
        (LogReader::Telegraf, Level::Warn) => "W! ".to_owned(),
        (LogReader::Telegraf, Level::Info) => "I! ".to_owned(),
        (LogReader::Telegraf, Level::Debug) => "D! ".to_owned(),
        (LogReader::Telegraf, Level::Trace) => "T! ".to_owned(),
        (LogReader::Person, level) => {
            let (word, hue) = match level {
                Level::Error => ("error: ", AnsiColor::Red),
                Level::Warn => ("warning: ", AnsiColor::Yellow),
                Level::Info => ("", AnsiColor::White),
                Level::Debug => ("debug: ", AnsiColor::Blue),
                Level::Trace => ("trace: ", AnsiColor::Blue),
            };
            let style = if colour { Style::new().fg_color(Some(hue.into())) } else { Style::new() };
            format!("ctpulse: {style}{word}{style:#}")
        }
    };
    for c in shown(text).chars() {
        if line.len() >= LONGEST_LINE {
            line.push('…');
            break;
        }
        line.push(c);
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_warning_is_cut_between_words() {
        assert_eq!(brief("t.conf: short"), "t.conf: short");
        let long = format!("t.conf: ignored: {}", "inputs.cpu, ".repeat(20));
        let brief = brief(&long);
        assert_eq!(
            brief,
            "t.conf: ignored: inputs.cpu, inputs.cpu, inputs.cpu, inputs.cpu… (see config --check)"
                .replace(
                    "inputs.cpu, inputs.cpu, inputs.cpu, inputs.cpu…",
                    "inputs.cpu, inputs.cpu, inputs.cpu…"
                )
        );
        assert!(brief.chars().count() <= BRIEF);
    }

    #[test]
    fn a_text_of_many_lines_is_one_line() {
        let line = line(LogReader::Telegraf, false, Level::Warn, "a\nb\x1b[2J\u{202e}\\ü");
        assert_eq!(line, "W! a\\nb\\u{1b}[2J\\u{202e}\\ü\n");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_one_plain_line(text in crate::text::sanitize::tests::harmful()) {
            for reader in [LogReader::Person, LogReader::Telegraf] {
                let line = line(reader, false, Level::Warn, &text);
                let line = line.strip_suffix('\n').unwrap();
                proptest::prop_assert!(line.chars().all(crate::text::sanitize::is_plain), "{line:?}");
            }
        }
    }

    #[test]
    fn a_long_text_stays_below_telegrafs_limit() {
        let line = line(LogReader::Telegraf, false, Level::Error, &"ä".repeat(100_000));
        assert!(line.len() < 64 << 10 && line.ends_with("…\n"));
    }

    #[test]
    fn a_long_message_has_its_remedy_in_a_line_of_its_own() {
        let lines = |text: &str| divided(Level::Error, text);
        assert_eq!(lines("no; do"), [(Level::Error, "no; do".to_owned())]);
        let what = "what ".repeat(12).trim().to_owned();
        let expected = [
            (Level::Error, format!("{what}; do this")),
            (Level::Info, format!("or {what}; or that")),
        ];
        assert_eq!(lines(&format!("{what}; do this; or {what}; or that")), expected);
    }

    /// A name, a path or a command must be found and copied whole.
    #[test]
    fn a_part_of_a_message_is_not_broken() {
        let path = "/a/long/path".repeat(20);
        let lines = divided(Level::Error, &format!("no {path}; write {path}"));
        let expected =
            [(Level::Error, format!("no {path}")), (Level::Info, format!("write {path}"))];
        assert_eq!(lines, expected);
    }

    #[test]
    fn lines_for_a_person_name_the_level() {
        assert_eq!(line(LogReader::Person, false, Level::Warn, "x"), "ctpulse: warning: x\n");
        assert!(line(LogReader::Person, true, Level::Error, "x").contains("\x1b[31m"));
    }
}
