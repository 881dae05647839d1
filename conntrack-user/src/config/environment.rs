//! Environment variables in a configuration.
//!
//! `${V}` and `$V` are the value; `${V:-d}` and `${V-d}` have a default, `${V:?e}` and
//! `${V?e}` a message for a missing variable, `${V:+t}` and `${V+t}` a text for a present one;
//! with the colon an empty variable counts as missing. `$$` is a plain `$`.
//!
//! Telegraf has done this in two ways, and a file written for either means the same here. Its
//! current releases read the file as TOML first and expand variables in its strings ([`expand`]),
//! so that no value can end its string. Earlier ones (and `--non-strict-env-handling`) put values
//! into the text; here that is done outside of strings only ([`fill_bare`]), as in
//! `interval = ${N}`. Comments are removed before anything else, as Telegraf does.
//!
//! [`Filled`] keeps the way back: an error found later is reported where the user wrote it.

use super::quoting::{QuoteState, quoted};

/// How deep a default may hold further variables; deeper ones stay as written.
const DEEPEST: usize = 16;

/// Where the values come from; `None` is an unset variable.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A string with its variables expanded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expanded {
    /// The string.
    pub text: String,
    /// Variables that are not set and stay as written.
    pub unset: Vec<String>,
}

/// Expands the variables of one string.
///
/// # Errors
/// The message about a variable that is required (`${V:?...}`) and missing.
pub(super) fn expand(text: &str, environment: Environment<'_>) -> Result<Expanded, String> {
    let mut expander = Expander { environment, unset: Vec::new() };
    let text = expander.all(text, 0)?;
    Ok(Expanded { text, unset: expander.unset })
}

/// A file's text without comments and with the variables outside of strings filled in.
#[derive(Debug)]
pub(super) struct Filled {
    /// The text to read.
    pub text: String,
    pieces: Vec<Piece>,
}

/// A stretch of the new text, up to the next piece.
#[derive(Debug)]
struct Piece {
    start: usize,
    original: usize,
    verbatim: bool,
}

impl Filled {
    /// The offset in the original text that became the offset `at` of the new one.
    pub(super) fn original(&self, at: usize) -> usize {
        let next = self.pieces.partition_point(|piece| piece.start <= at);
        match next.checked_sub(1).map(|last| &self.pieces[last]) {
            Some(piece) if piece.verbatim => piece.original + (at - piece.start),
            Some(piece) => piece.original,
            None => at,
        }
    }

    fn push(&mut self, piece: &str, original: usize, verbatim: bool) {
        if !piece.is_empty() {
            self.pieces.push(Piece { start: self.text.len(), original, verbatim });
            self.text.push_str(piece);
        }
    }
}

/// Removes the comments of `original` and fills in the variables outside of its strings.
///
/// An expression that cannot be filled in becomes a string that holds it. What it means is decided
/// where that string is read, which for the tables of other plugins is nowhere.
pub(super) fn fill_bare(original: &str, environment: Environment<'_>) -> Filled {
    let mut out = Filled { text: String::new(), pieces: Vec::new() };
    let mut place = QuoteState::Bare;
    let (mut copied, mut at) = (0, 0);
    while at < original.len() {
        let rest = &original[at..];
        if place == QuoteState::Bare && rest.starts_with('$') {
            out.push(&original[copied..at], copied, true);
            let mut expander = Expander { environment, unset: Vec::new() };
            let (value, length) = expander.one(rest, 0);
            match value {
                Ok(value) if expander.unset.is_empty() => out.push(&value, at, false),
                _ => out.push(&quoted(&rest[..length]), at, false),
            }
            at += length;
            copied = at;
            continue;
        }
        let before = place;
        let length = place.step(rest);
        match (before, place) {
            (QuoteState::Bare, QuoteState::Comment) => {
                out.push(&original[copied..at], copied, true);
            }
            (QuoteState::Comment, QuoteState::Bare) => copied = at,
            _ => {}
        }
        at += length;
    }
    if place != QuoteState::Comment {
        out.push(&original[copied..], copied, true);
    }
    out.pieces.push(Piece { start: out.text.len(), original: original.len(), verbatim: true });
    out
}

/// Expands expressions, and those in their defaults.
struct Expander<'e> {
    environment: Environment<'e>,
    unset: Vec<String>,
}

impl Expander<'_> {
    /// `text` with all its expressions expanded.
    fn all(&mut self, text: &str, depth: usize) -> Result<String, String> {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            expanded.push_str(&rest[..at]);
            let (value, length) = self.one(&rest[at..], depth);
            expanded.push_str(&value?);
            rest = &rest[at + length..];
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    /// The text for the `$` that `rest` starts with, and how many bytes of `rest` it replaces.
    fn one(&mut self, rest: &str, depth: usize) -> (Result<String, String>, usize) {
        let after = &rest[1..];
        if after.starts_with('$') {
            return (Ok("$".to_owned()), 2);
        }
        if let Some(inside) = after.strip_prefix('{') {
            let name = name_at(inside);
            let braced = closing_brace(inside).map(|length| &inside[..length]);
            let Some(braced) = braced.filter(|_| !name.is_empty() && depth <= DEEPEST) else {
                return (Ok("$".to_owned()), 1);
            };
            let whole = &rest[..braced.len() + 3];
            return (self.value(whole, name, &braced[name.len()..], depth), whole.len());
        }
        let name = name_at(after);
        let whole = &rest[..1 + name.len()];
        if name.is_empty() {
            return (Ok("$".to_owned()), 1);
        }
        (self.value(whole, name, "", depth), whole.len())
    }

    /// The value of `${name operator}`, whose full text is `whole`.
    fn value(
        &mut self,
        whole: &str,
        name: &str,
        operator: &str,
        depth: usize,
    ) -> Result<String, String> {
        let value = (self.environment)(name);
        let (empty_is_missing, operator) = match operator.strip_prefix(':') {
            Some(rest) => (true, rest),
            None => (false, operator),
        };
        let present = value.filter(|value| !(empty_is_missing && value.is_empty()));
        let mut operator_chars = operator.chars();
        match (operator_chars.next(), operator_chars.as_str(), present) {
            (None, _, Some(value)) if !empty_is_missing => Ok(value),
            (None, _, None) if !empty_is_missing => {
                self.unset.push(name.to_owned());
                Ok(whole.to_owned())
            }
            (Some('-' | '?'), _, Some(value)) => Ok(value),
            (Some('-'), default, None) | (Some('+'), default, Some(_)) => {
                self.all(default, depth + 1)
            }
            (Some('+'), _, None) => Ok(String::new()),
            (Some('?'), message, None) => {
                let message = if message.is_empty() { "it is required" } else { message };
                let state = if empty_is_missing { "not set or empty" } else { "not set" };
                Err(format!("the environment variable '{name}' is {state}: {message}"))
            }
            _ => Ok(whole.to_owned()), // not a variable: Telegraf keeps it, such as a regex's ${1}
        }
    }
}

/// Where in `text`, which follows a `${`, its `}` is, on the same line.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 1usize;
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' => return None,
            b'}' if open == 1 => return Some(at),
            b'}' => open -= 1,
            b'{' if at > 0 && bytes[at - 1] == b'$' => open += 1,
            _ => {}
        }
    }
    None
}

/// The variable name that `text` starts with, empty if none.
fn name_at(text: &str) -> &str {
    let end = text.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    if text.starts_with(|c: char| c.is_ascii_digit()) { "" } else { &text[..end] }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "V" => Some("value".to_owned()),
            "EMPTY" => Some(String::new()),
            "QUOTES" => Some("a\"b\\c\td".to_owned()),
            "DOLLAR" => Some("$V".to_owned()),
            _ => None,
        }
    }

    fn expanded(text: &str) -> String {
        expand(text, &environment).unwrap().text
    }

    fn filled(original: &str) -> String {
        fill_bare(original, &environment).text
    }

    #[test]
    fn every_form_of_a_variable_is_substituted() {
        for (original, expected) in [
            ("$V", "value"),
            ("${V}", "value"),
            ("a${V}b", "avalueb"),
            ("$V.x$V", "value.xvalue"),
            ("${EMPTY}", ""),
            ("${V:-d}", "value"),
            ("${NONE:-d}", "d"),
            ("${EMPTY:-d}", "d"),
            ("${EMPTY-d}", ""),
            ("${NONE-d}", "d"),
            ("${NONE:-}", ""),
            ("${NONE:-a}b}", "ab}"),
            ("${V:?e}", "value"),
            ("${EMPTY?e}", ""),
            ("${V:+t}", "t"),
            ("${EMPTY:+t}", ""),
            ("${EMPTY+t}", "t"),
            ("${NONE+t}", ""),
            ("${NONE:-${V}}!", "value!"),
            ("${NONE:-$V and $$}", "value and $"),
            ("$$V", "$V"),
            ("$$", "$"),
            ("$DOLLAR", "$V"),
        ] {
            assert_eq!(expanded(original), expected, "{original}");
            assert_eq!(filled(original), expected, "{original}");
        }
    }

    #[test]
    fn text_without_a_variable_stays() {
        for original in
            ["$", "a $ b", "$1", "${1}", "${", "${V", "${}", "${V!x}", "${V:}", "${V:x}", "${V\n}"]
        {
            assert_eq!(expanded(original), original);
            assert_eq!(filled(original), original);
        }
    }

    #[test]
    fn an_unset_variable_stays_and_is_named() {
        let unset = |text| expand(text, &environment).unwrap();
        assert_eq!(
            unset("a${NONE}"),
            Expanded { text: "a${NONE}".into(), unset: vec!["NONE".into()] }
        );
        assert_eq!(unset("${A:-$B}").unset, ["B"]);
        // Outside of strings it becomes one: other plugins' tables stay readable without it.
        assert_eq!(filled("port = $NONE\n"), "port = \"$NONE\"\n");
        assert_eq!(filled("port = ${NONE:?x\"y}"), "port = \"${NONE:?x\\\"y}\"");
    }

    #[test]
    fn a_required_variable_is_an_error() {
        let error = |original: &str| expand(original, &environment).unwrap_err();
        assert_eq!(
            error("${NONE:?name the host}"),
            "the environment variable 'NONE' is not set or empty: name the host"
        );
        assert!(error("${EMPTY:?}").ends_with("not set or empty: it is required"));
        assert!(error("${NONE?no}").ends_with("is not set: no"));
    }

    #[test]
    fn comments_are_removed_and_strings_are_left_alone() {
        for (original, expected) in [
            ("# $V\n$V", "\nvalue"),
            ("a = 1 # ${V:?x}\r\nb = 2", "a = 1 \nb = 2"),
            ("a = \"# $V\"", "a = \"# $V\""),
            ("a = '# $V' # $V", "a = '# $V' "),
            ("a = \"\\\"# $V\" # \u{1b}\u{c}", "a = \"\\\"# $V\" "),
            ("a = '\\' # $V", "a = '\\' "),
            ("a = \"\"\"\n\"# $V\"\"\"\" # $V", "a = \"\"\"\n\"# $V\"\"\"\" "),
            ("a = '''\n# $V''' # $V\n$V", "a = '''\n# $V''' \nvalue"),
            ("a = \"open\n# $V", "a = \"open\n"),
            ("a = ${NONE:-\"x\"}", "a = \"x\""),
        ] {
            assert_eq!(filled(original), expected, "{original}");
        }
    }

    #[test]
    fn a_value_cannot_end_its_string() {
        assert_eq!(expanded("$QUOTES"), "a\"b\\c\td");
    }

    #[test]
    fn positions_of_errors_are_those_before_substitution() {
        let original = "a = $V ${NONE:-} # c\n b";
        let filled = fill_bare(original, &environment);
        assert_eq!(filled.text, "a = value  \n b");
        let back = |needle: &str| filled.original(filled.text.find(needle).unwrap());
        assert_eq!(back("a"), 0);
        assert_eq!(back("value"), 4);
        assert_eq!(back("lue"), 4);
        assert_eq!(back("b"), original.find('b').unwrap());
        assert_eq!(back("\n"), original.find('\n').unwrap());
        assert_eq!(filled.original(filled.text.len()), original.len());
    }

    #[test]
    fn deep_nesting_ends() {
        let deep = "${A:-".repeat(2000) + &"}".repeat(2000);
        assert!(expand(&deep, &environment).is_ok());
    }

    proptest! {
        #[test]
        fn without_a_dollar_or_comment_nothing_changes(original in "[^$#]{0,200}") {
            let filled = fill_bare(&original, &environment);
            prop_assert_eq!(&filled.text, &original);
            for at in 0..=original.len() {
                prop_assert_eq!(filled.original(at), at);
            }
        }

        #[test]
        fn variables_are_substituted_in_any_text(original in "([$}{:?+VN\"'#\\\\\n-]|\\PC){0,60}") {
            let filled = fill_bare(&original, &environment);
            for at in 0..=filled.text.len() {
                prop_assert!(filled.original(at) <= original.len());
            }
            let _ = expand(&original, &environment);
        }
    }
}
