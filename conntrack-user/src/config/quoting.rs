//! TOML's quotes and comments, as far as filling in variables has to know them.
//!
//! The text need not be valid TOML: it is only followed here, and judged later by the parser.

/// What the text is at one point, as far as quotes and comments go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QuoteState {
    Bare,
    Comment,
    Basic,
    Literal,
    MultiBasic,
    MultiLiteral,
}

impl QuoteState {
    /// Takes the next character, or quotes or escape, of `rest`; its length in bytes.
    pub(super) fn step(&mut self, rest: &str) -> usize {
        let Some(next) = rest.chars().next() else { return 0 };
        let quotes = |most: usize| rest.chars().take(most).take_while(|&c| c == next).count();
        let (place, length) = match (*self, next) {
            (Self::Bare, '#') => (Self::Comment, 1),
            (Self::Bare, '"') if quotes(3) == 3 => (Self::MultiBasic, 3),
            (Self::Bare, '\'') if quotes(3) == 3 => (Self::MultiLiteral, 3),
            (Self::Bare, '"') => (Self::Basic, 1),
            (Self::Bare, '\'') => (Self::Literal, 1),
            (Self::Basic, '"' | '\n') | (Self::Literal, '\'' | '\n') | (Self::Comment, '\n') => {
                (Self::Bare, 1)
            }
            // Up to two quotes before the closing three belong to the string.
            (Self::MultiBasic, '"') | (Self::MultiLiteral, '\'') if quotes(3) == 3 => {
                (Self::Bare, quotes(5))
            }
            (Self::Basic | Self::MultiBasic, '\\') => match rest[1..].chars().next() {
                Some(escaped) if escaped != '\n' && escaped != '$' => {
                    (*self, 1 + escaped.len_utf8())
                }
                _ => (*self, 1),
            },
            (place, next) => (place, next.len_utf8()),
        };
        *self = place;
        length
    }
}

/// `text` as a TOML string.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One letter for the place of each character that is not a quote.
    fn places(text: &str) -> String {
        let mut place = QuoteState::Bare;
        let mut at = 0;
        let mut letters = String::new();
        while at < text.len() {
            let length = place.step(&text[at..]);
            letters.push(match place {
                QuoteState::Bare => '.',
                QuoteState::Comment => '#',
                QuoteState::Basic => 'b',
                QuoteState::Literal => 'l',
                QuoteState::MultiBasic => 'B',
                QuoteState::MultiLiteral => 'L',
            });
            at += length;
        }
        letters
    }

    #[test]
    fn quotes_open_and_close() {
        assert_eq!(places("a \"x\" b"), "..bb...");
        assert_eq!(places("'x\\' #'\nb"), "lll..##..", "no escapes in a literal");
        assert_eq!(places("\"\\\"x\"."), "bbb..", "an escaped quote is one step");
        assert_eq!(places("\"\"a"), "b..", "an empty string");
        assert_eq!(places("\"\"\"a\"b\"\"\"\"\"."), "BBBB..", "two quotes inside, then three");
        assert_eq!(places("'''a\n#'''."), "LLLL..");
    }

    #[test]
    fn a_quoted_text_is_read_back() {
        for text in ["", "a\"b\\c\td\u{85}", "it's", "$\u{fc}"] {
            let table: toml::Table = toml::from_str(&format!("a = {}", quoted(text))).unwrap();
            assert_eq!(table["a"].as_str(), Some(text));
        }
    }
}
