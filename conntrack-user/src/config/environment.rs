//! Environment variables in the file's text, filled in before it is read as TOML.
//!
//! `${V}` and `$V` are the value; `${V:-d}` and `${V-d}` have a default, `${V:?e}` and
//! `${V?e}` a message for when it is missing, `${V:+t}` and `${V+t}` a text for when it is
//! not; with the colon an empty variable counts as missing. `$$` is a plain `$`. Comments
//! are left alone. Inside quotes a value is escaped, so that it cannot end the string: what
//! Telegraf's strict mode does. Outside of quotes it is put in as it stands.
//!
//! [`Substituted`] keeps the way back: an error found later is reported where the user wrote it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::quoting::Place;

/// How deep a default may hold further variables; deeper ones stay as written.
const DEEPEST: usize = 16;

/// Where the values come from; `None` is an unset variable.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A text with its variables filled in.
#[derive(Debug)]
pub(super) struct Substituted {
    /// The text to read.
    pub text: String,
    /// What the user should know: the offset in the original, and the message.
    pub warnings: Vec<(usize, String)>,
    pieces: Vec<Piece>,
}

/// A stretch of the new text, up to the next piece.
#[derive(Debug)]
struct Piece {
    start: usize,
    original: usize,
    verbatim: bool,
}

/// A variable that cannot be filled in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SubstitutionError {
    /// Offset of the `$` in the original text.
    pub offset: usize,
    /// What is wrong and what to do.
    pub message: String,
}

impl Substituted {
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

/// Fills the variables of `original` in.
pub(super) fn substitute(
    original: &str,
    environment: Environment<'_>,
) -> Result<Substituted, SubstitutionError> {
    let mut unset = BTreeSet::new();
    let mut out = Substituted { text: String::new(), warnings: Vec::new(), pieces: Vec::new() };
    let mut place = Place::Bare;
    let (mut copied, mut at) = (0, 0);
    while at < original.len() {
        let rest = &original[at..];
        if place == Place::Comment || !rest.starts_with('$') {
            at += place.step(rest);
            continue;
        }
        out.push(&original[copied..at], copied, true);
        let mut filler = Filler { environment, place, unset: Vec::new() };
        let (value, length) =
            filler.fill(rest, 0).map_err(|message| SubstitutionError { offset: at, message })?;
        out.push(&value, at, false);
        for name in filler.unset {
            if unset.insert(name.clone()) {
                let message = format!(
                    "the environment variable '{name}' is not set and stays as written; \
                     set it, write ${{{name}:-default}}, or $$ for a plain $"
                );
                out.warnings.push((at, message));
            }
        }
        at += length;
        copied = at;
    }
    out.push(&original[copied..], copied, true);
    out.pieces.push(Piece { start: out.text.len(), original: original.len(), verbatim: true });
    Ok(out)
}

/// Fills in one expression, and those in its default.
struct Filler<'e> {
    environment: Environment<'e>,
    place: Place,
    unset: Vec<String>,
}

impl Filler<'_> {
    /// The text for the `$` that `rest` starts with, and how many bytes of `rest` it replaces.
    fn fill(&mut self, rest: &str, depth: usize) -> Result<(String, usize), String> {
        let after = &rest[1..];
        if after.starts_with('$') {
            return Ok(("$".to_owned(), 2));
        }
        if let Some(inside) = after.strip_prefix('{') {
            let braced = self.closing_brace(inside).map(|length| &inside[..length]);
            let name = name_at(inside);
            let (Some(braced), false) = (braced, name.is_empty() || depth > DEEPEST) else {
                return Ok(("$".to_owned(), 1));
            };
            let whole = &rest[..braced.len() + 3];
            let value = self.braced(whole, name, &braced[name.len()..], depth)?;
            return Ok((value, whole.len()));
        }
        let name = name_at(after);
        if name.is_empty() {
            return Ok(("$".to_owned(), 1));
        }
        let whole = &rest[..1 + name.len()];
        Ok((self.braced(whole, name, "", depth)?, whole.len()))
    }

    /// The value of `${name operator}`, whose full text is `whole`.
    fn braced(
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
        let value_present = value.filter(|value| !(empty_is_missing && value.is_empty()));
        let mut operator_chars = operator.chars();
        match (operator_chars.next(), operator_chars.as_str(), value_present) {
            (None, _, Some(value)) if !empty_is_missing => self.quoted(name, &value),
            (None, _, None) if !empty_is_missing => {
                self.unset.push(name.to_owned());
                Ok(whole.to_owned())
            }
            (Some('-' | '?'), _, Some(value)) => self.quoted(name, &value),
            (Some('-'), default, None) | (Some('+'), default, Some(_)) => {
                self.fill_all(default, depth + 1)
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

    fn quoted(&self, name: &str, value: &str) -> Result<String, String> {
        self.place.quote(value).map(Cow::into_owned).map_err(|what| {
            format!(
                "the value of the environment variable '{name}' has {what}, which would end \
                 this string; write the string in double quotes"
            )
        })
    }

    /// `text`, which is a default, with its own variables filled in.
    fn fill_all(&mut self, text: &str, depth: usize) -> Result<String, String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            filled.push_str(&rest[..at]);
            let (value, length) = self.fill(&rest[at..], depth)?;
            filled.push_str(&value);
            rest = &rest[at + length..];
        }
        filled.push_str(rest);
        Ok(filled)
    }

    /// Where in `text`, which follows a `${`, its `}` is: on this line and in this string.
    fn closing_brace(&self, text: &str) -> Option<usize> {
        let mut open = 1usize;
        let mut place = self.place;
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            let length = match rest.as_bytes()[0] {
                b'\n' => return None,
                b'}' => {
                    open -= 1;
                    if open == 0 {
                        return Some(at);
                    }
                    1
                }
                b'$' if rest.starts_with("${") => {
                    open += 1;
                    2
                }
                // Outside of quotes the braces alone count, as the default may hold a string.
                _ if self.place == Place::Bare => rest.chars().next().map_or(1, char::len_utf8),
                _ => place.step(rest),
            };
            if place != self.place {
                return None;
            }
            at += length;
        }
        None
    }
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
            "APOSTROPHE" => Some("it's".to_owned()),
            "DOLLAR" => Some("$V".to_owned()),
            _ => None,
        }
    }

    fn text(original: &str) -> String {
        substitute(original, &environment).unwrap().text
    }

    #[test]
    fn every_form() {
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
            assert_eq!(text(original), expected, "{original}");
        }
    }

    #[test]
    fn what_is_no_variable_stays() {
        for original in
            ["$", "a $ b", "$1", "${1}", "${", "${V", "${}", "${V!x}", "${V:}", "${V:x}", "${V\n}"]
        {
            assert_eq!(text(original), original);
        }
    }

    #[test]
    fn an_unset_variable_stays_and_is_warned_of_once() {
        let substituted = substitute("a = \"${NONE}\"\nb = '$NONE'", &environment).unwrap();
        assert_eq!(substituted.text, "a = \"${NONE}\"\nb = '$NONE'");
        let [(5, warning)] = substituted.warnings.as_slice() else { panic!("{substituted:?}") };
        assert!(warning.starts_with("the environment variable 'NONE' is not set"), "{warning}");
        assert!(warning.contains("${NONE:-default}"), "{warning}");
    }

    #[test]
    fn a_required_variable_is_an_error_at_its_place() {
        let error = |original: &str| substitute(original, &environment).unwrap_err();
        let missing = error("a = \"${NONE:?name the host}\"");
        assert_eq!(missing.offset, 5);
        assert_eq!(
            missing.message,
            "the environment variable 'NONE' is not set or empty: name the host"
        );
        assert!(error("${EMPTY:?}").message.ends_with("not set or empty: it is required"));
        assert!(error("${NONE?no}").message.ends_with("is not set: no"));
    }

    #[test]
    fn comments_are_left_alone_and_a_hash_in_a_string_is_none() {
        for (original, expected) in [
            ("# $V\n$V", "# $V\nvalue"),
            ("a = 1 # ${V:?x}\n", "a = 1 # ${V:?x}\n"),
            ("a = \"# $V\"", "a = \"# value\""),
            ("a = '# $V' # $V", "a = '# value' # $V"),
            ("a = \"\\\"# $V\" # $V", "a = \"\\\"# value\" # $V"),
            ("a = '\\' # $V", "a = '\\' # $V"),
            ("a = \"\"\"\n\"# $V\"\"\"\" # $V", "a = \"\"\"\n\"# value\"\"\"\" # $V"),
            ("a = '''\n# $V''' # $V", "a = '''\n# value''' # $V"),
            ("a = \"\" # $V", "a = \"\" # $V"),
            ("a = \"open\n# $V", "a = \"open\n# $V"),
        ] {
            assert_eq!(text(original), expected, "{original}");
        }
    }

    #[test]
    fn a_value_cannot_end_its_string() {
        assert_eq!(text("a = \"$QUOTES\""), "a = \"a\\\"b\\\\c\\u0009d\"");
        assert_eq!(text("a = '$QUOTES'"), "a = 'a\"b\\c\td'");
        let error = substitute("a = '$APOSTROPHE'", &environment).unwrap_err();
        assert!(error.message.contains("write the string in double quotes"), "{error:?}");
        assert_eq!(text("a = \"${NONE:-x\", b = \"}\""), "a = \"${NONE:-x\", b = \"}\"");
        assert_eq!(text("a = ${NONE:-\"x\"}"), "a = \"x\"");
    }

    #[test]
    fn later_errors_find_the_way_back() {
        let original = "a = \"$V\" ${NONE:-} b";
        let substituted = substitute(original, &environment).unwrap();
        assert_eq!(substituted.text, "a = \"value\"  b");
        let back = |needle: &str| substituted.original(substituted.text.find(needle).unwrap());
        assert_eq!(back("a"), 0);
        assert_eq!(back("value"), 5);
        assert_eq!(back("lue"), 5);
        assert_eq!(back("b"), original.find('b').unwrap());
        assert_eq!(substituted.original(substituted.text.len()), original.len());
    }

    #[test]
    fn deep_nesting_ends() {
        let deep = "${A:-".repeat(2000) + &"}".repeat(2000);
        assert!(substitute(&deep, &environment).is_ok());
    }

    proptest! {
        #[test]
        fn without_a_dollar_nothing_changes(original in "[^$]{0,200}") {
            let substituted = substitute(&original, &environment).unwrap();
            prop_assert_eq!(&substituted.text, &original);
            for at in 0..=original.len() {
                prop_assert_eq!(substituted.original(at), at);
            }
        }

        #[test]
        fn any_text_is_filled_in_or_refused(original in "([$}{:?+VN\"'#\\\\\n-]|\\PC){0,60}") {
            if let Ok(substituted) = substitute(&original, &environment) {
                for at in 0..=substituted.text.len() {
                    prop_assert!(substituted.original(at) <= original.len());
                }
            }
        }
    }
}
