//! Escapes text from outside: names of namespaces and files, tags, output of the kernel.
//!
//! An escaped text cannot move a terminal's cursor, begin a line, change the direction of writing or
//! be invisible: each character that does more than show itself is escaped.

use std::borrow::Cow;

/// Returns whether a character only shows itself.
pub(crate) fn is_plain(c: char) -> bool {
    matches!(c, ' '..='~') || c.escape_debug().len() == 1
}

/// Returns `text` with each character that is not plain escaped as in Rust (`\n`, `\u{1b}`).
/// Backslashes are not escaped, so that a second call changes nothing.
#[must_use]
pub fn shown(text: &str) -> Cow<'_, str> {
    let ascii = |byte| matches!(byte, b' '..=b'~');
    if text.bytes().all(ascii) || text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_plain(c) { out.push(c) } else { out.extend(c.escape_debug()) }
    }
    Cow::Owned(out)
}

/// Returns JSON with each character that is not plain as `\uXXXX`, which has the same value. Ends of
/// lines stay.
#[must_use]
pub fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_plain(c) || c == '\n' {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Generates hostile names: escape sequences, ends of lines, NUL, replacement characters of
    /// invalid UTF-8, other directions of writing, quotes and separators, among other characters.
    pub(crate) fn harmful() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            prop::sample::select(vec![
                "\x1b[2J",
                "\x1b]0;t\x07",
                "\u{9b}31m",
                "\n",
                "\r",
                "\r\n",
                "\0",
                "\t",
                "\u{7f}",
                "\u{202e}",
                "\u{2066}",
                "\u{200b}",
                "\u{feff}",
                "\u{2028}",
                "\u{fffd}",
                "\"",
                "'",
                "\\",
                ",",
                "=",
                " ",
                "{",
                "}",
                "<script>",
                "&",
                "# HELP ",
                "ü",
                "",
            ])
            .prop_map(str::to_owned),
            any::<char>().prop_map(String::from),
            "[a-z]{1,4}",
        ];
        prop::collection::vec(piece, 1..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn escaping_is_complete_and_idempotent(text in harmful()) {
            let once = shown(&text).into_owned();
            prop_assert!(once.chars().all(is_plain), "{once:?}");
            prop_assert_eq!(shown(&once).into_owned(), once);
        }

        #[test]
        fn escaped_json_has_the_same_value(text in harmful()) {
            let raw = serde_json::to_string(&text).unwrap();
            let safe = json(&raw);
            prop_assert!(safe.chars().all(is_plain), "{safe:?}");
            prop_assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), text);
        }
    }

    #[test]
    fn printable_text_is_not_changed() {
        for text in ["", "fw1", "C:\\x \"y\" 'z'", "Zürich 東京 é"] {
            assert_eq!(shown(text), text);
        }
        assert_eq!(shown("a\x1b[2J\n\u{202e}\u{9b}"), r"a\u{1b}[2J\n\u{202e}\u{9b}");
    }
}
