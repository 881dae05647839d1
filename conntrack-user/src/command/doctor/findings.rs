//! The output of `ctpulse doctor`: facts, problems with their remedy, lists.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};

use crate::text::sanitize::shown;

/// The printed text, and the parts of its conclusion.
pub(super) struct Findings {
    text: String,
    pub(super) problems: Vec<String>,
    works: Vec<String>,
    off: Vec<String>,
    good: Style,
    bad: Style,
    bold: Style,
}

impl Findings {
    /// Returns empty findings.
    pub(super) fn new(colour: bool) -> Self {
        let hue = |hue: AnsiColor| {
            if colour { Style::new().fg_color(Some(hue.into())) } else { Style::new() }
        };
        Self {
            text: String::new(),
            problems: Vec::new(),
            works: Vec::new(),
            off: Vec::new(),
            good: hue(AnsiColor::Green),
            bad: hue(AnsiColor::Red),
            bold: if colour { Style::new().bold() } else { Style::new() },
        }
    }

    /// A line above what follows.
    pub(super) fn heading(&mut self, text: &str) {
        let bold = self.bold;
        let gap = if self.text.is_empty() { "" } else { "\n" };
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{gap}{bold}{}{bold:#}", shown(text));
    }

    /// Adds a good finding.
    pub(super) fn fact(&mut self, what: &str, text: &str) {
        let good = self.good;
        let _ = writeln!(self.text, "{good}ok{good:#}  {:<24} {}", shown(what), shown(text));
    }

    /// Adds a problem and its remedy.
    pub(super) fn problem(&mut self, what: &str, text: &str, remedy: &str) {
        let (bad, text) = (self.bad, shown(text));
        let _ =
            writeln!(self.text, "{bad}!!{bad:#}  {what:<24} {text}\n    {:<24} -> {remedy}", "");
        self.problems.push(format!("{what}: {text}"));
    }

    /// Adds a working part to the conclusion.
    pub(super) fn works(&mut self, what: &str) {
        if !self.works.iter().any(|known| known == what) {
            self.works.push(what.to_owned());
        }
    }

    /// Adds a part to the conclusion that is off, with the reason.
    pub(super) fn off(&mut self, what: &str, why: &str) {
        let text = format!("{what}: {}", shown(why));
        if !self.off.contains(&text) {
            self.off.push(text);
        }
    }

    /// Adds an item of a list, neither good nor bad.
    pub(super) fn field(&mut self, name: &str, source: &str) {
        let _ = writeln!(self.text, "    {:<26} {}", shown(name), shown(source));
    }

    /// All of it, with a summary.
    pub(super) fn conclude(mut self) -> String {
        let (good, bad) = (self.good, self.bad);
        let text = &mut self.text;
        let _ = match self.works.as_slice() {
            [] => writeln!(text, "\n{bad}Nothing works.{bad:#}"),
            works => writeln!(text, "\n{good}Works:{good:#} {}", works.join(", ")),
        };
        for off in &self.off {
            let _ = writeln!(text, "{bad}Off:{bad:#}   {off}");
        }
        let _ = match self.problems.as_slice() {
            [] if self.off.is_empty() => writeln!(text, "{good}All well.{good:#}"),
            [] => Ok(()),
            [one] => writeln!(text, "{bad}1 problem:{bad:#} {one}"),
            more => writeln!(text, "{bad}{} problems:{bad:#} {}", more.len(), more.join("; ")),
        };
        self.text
    }
}
