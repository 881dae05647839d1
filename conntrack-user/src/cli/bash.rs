//! Completion in bash, which splits words at `=` and `:` as well, and inserts candidates as they are.
//!
//! The script hands over the line as it was typed. The words are read from it as bash reads them, and
//! of each candidate the part that bash replaces is returned, with the quotes that it needs there.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

use clap::Command;
use clap_complete::engine::complete;
use clap_complete::env::EnvCompleter;

/// The script. `$2` is the part of the word that a candidate replaces. An older bash has no `nosort`.
const SCRIPT: &str = r#"_ctpulse() {
    mapfile -t COMPREPLY < <(VARIABLE=bash ctpulse -- "${COMP_LINE:0:COMP_POINT}" "$2" 2>/dev/null)
    if [[ ${COMPREPLY-} == *[=/:] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -o bashdefault -o nosort -F _ctpulse ctpulse 2>/dev/null ||
    complete -o bashdefault -F _ctpulse ctpulse
"#;

/// The shell.
pub(super) struct Bash;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        "bash"
    }

    fn is(&self, name: &str) -> bool {
        name == self.name()
    }

    fn write_registration(
        &self,
        variable: &str,
        _name: &str,
        _bin: &str,
        _completer: &str,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        to.write_all(SCRIPT.replace("VARIABLE", variable).as_bytes())
    }

    fn write_complete(
        &self,
        command: &mut Command,
        arguments: Vec<OsString>,
        current_dir: Option<&Path>,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        let text = |at: usize| arguments.get(at).map_or("".into(), |text| text.to_string_lossy());
        let (line, replaced) = (text(0), text(1));
        let typed = Typed::read(&line);
        let kept = typed.last.strip_suffix(&*replaced).unwrap_or_default();
        let kept = Typed::read(kept);
        let head = kept.words.last().map_or("", String::as_str);
        let has_tilde = kept.last.is_empty() && typed.last.starts_with('~');
        let words: Vec<OsString> = typed.words.iter().map(OsString::from).collect();
        let at = words.len() - 1;
        for candidate in complete(command, words, at, current_dir)? {
            let rest = candidate.get_value().to_str().and_then(|text| text.strip_prefix(head));
            // A name with a newline would be two candidates.
            let is_plain = |rest: &&str| !rest.is_empty() && !rest.contains(char::is_control);
            match rest.filter(is_plain) {
                Some(rest) if has_tilde && rest.starts_with('~') => {
                    writeln!(to, "~{}", quoted(&rest[1..], kept.quote))?;
                }
                Some(rest) => writeln!(to, "{}", quoted(rest, kept.quote))?,
                None => {}
            }
        }
        Ok(())
    }
}

/// A line up to the cursor.
#[derive(Debug, PartialEq, Eq)]
struct Typed<'a> {
    /// The words without their quotes; the last one is empty behind a blank.
    words: Vec<String>,
    /// The last word as it was typed.
    last: &'a str,
    /// The quote that is open at the end.
    quote: Option<char>,
}

impl<'a> Typed<'a> {
    fn read(line: &'a str) -> Self {
        let (mut words, mut word, mut start) = (Vec::new(), String::new(), 0);
        let mut quote = None;
        let mut chars = line.char_indices();
        while let Some((at, c)) = chars.next() {
            match (quote, c) {
                (None, ' ' | '\t' | '\n') => {
                    if at > start {
                        words.push(std::mem::take(&mut word));
                    }
                    start = at + 1;
                }
                (None, '\'' | '"') => quote = Some(c),
                (Some(open), _) if open == c => quote = None,
                (None | Some('"'), '\\') => {
                    let Some((_, next)) = chars.next() else { break };
                    if quote.is_some() && !"$`\"\\".contains(next) {
                        word.push(c);
                    }
                    word.push(next);
                }
                _ => word.push(c),
            }
        }
        words.push(word);
        Self { words, last: &line[start..], quote }
    }
}

/// The text as bash reads it unchanged behind this open quote.
fn quoted(text: &str, quote: Option<char>) -> String {
    let needs_escape = |c: char| match quote {
        None => c.is_ascii() && !c.is_ascii_alphanumeric() && !"_-./,:=+@%^".contains(c),
        Some(_) => "$`\"\\".contains(c),
    };
    if quote == Some('\'') {
        return text.replace('\'', r"'\''");
    }
    let mut quoted = String::new();
    for c in text.chars() {
        if needs_escape(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_bash_reads_them() {
        for (line, words, last, quote) in [
            ("ctpulse ", &["ctpulse", ""][..], "", None),
            ("ctpulse  report\ta", &["ctpulse", "report", "a"], "a", None),
            (r"ctpulse a\ b\$", &["ctpulse", "a b$"], r"a\ b\$", None),
            (r#"ctpulse "a \b\"' c"#, &["ctpulse", r#"a \b"' c"#], r#""a \b\"' c"#, Some('"')),
            (r"ctpulse '' --o='a\ ", &["ctpulse", "", r"--o=a\ "], r"--o='a\ ", Some('\'')),
            (r"ctpulse a\", &["ctpulse", "a"], r"a\", None),
        ] {
            let words = words.iter().map(ToString::to_string).collect();
            assert_eq!(Typed::read(line), Typed { words, last, quote }, "{line}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_quoted_text_is_read_as_itself(text in "[ -~äß]{0,12}") {
            for (open, quote) in [("", None), ("\"", Some('"')), ("'", Some('\''))] {
                let line = format!("ctpulse x{open}{}", quoted(&text, quote));
                let words = Typed::read(&line).words;
                proptest::prop_assert_eq!(words, ["ctpulse".to_owned(), format!("x{text}")]);
            }
        }
    }
}
