//! The few forms of roff that the manual pages need.

use std::fmt::Write;

/// Escapes `text`, so that backslashes and hyphens are printed as such and no line is a request.
pub(super) fn escaped(text: &str) -> String {
    let line = |line: &str| {
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// A page while it is written.
#[derive(Default)]
pub(super) struct Page(String);

impl Page {
    /// The first line: clap's own has no date, and its neighbour is then taken for one. No date
    /// would be the same in every build of the same sources.
    pub(super) fn titled(name: &str, section: u8, version: &str, manual: &str) -> Self {
        let title = escaped(&name.to_uppercase());
        Self(format!(".TH \"{title}\" {section} \"\" \"ctpulse {version}\" \"{manual}\"\n"))
    }

    pub(super) fn section(&mut self, heading: &str) {
        self.line(&format!(".SH {heading}"));
    }

    /// A paragraph, whose lines are filled.
    pub(super) fn paragraph(&mut self, text: &str) {
        self.line(".PP");
        self.line(&escaped(text));
    }

    /// Lines that are not filled.
    pub(super) fn preformatted(&mut self, text: &str) {
        self.line(".nf");
        self.line(&escaped(text));
        self.line(".fi");
    }

    /// Terms, and what they mean together.
    pub(super) fn definition(&mut self, terms: &[String], text: &str) {
        for (at, term) in terms.iter().enumerate() {
            self.line(if at == 0 { ".TP" } else { ".TQ" });
            let _ = writeln!(self.0, "\\fB{}\\fR", escaped(term)); // a String takes everything
        }
        if !text.is_empty() {
            self.line(&escaped(text));
        }
    }

    /// Roff text of another writer.
    pub(super) fn raw(&mut self, roff: &str) {
        self.0.push_str(roff);
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roff_prints_text_unchanged() {
        assert_eq!(escaped("a\\n --b\n.SH x\n'quoted"), "a\\en \\-\\-b\n\\&.SH x\n\\&'quoted");
    }
}
