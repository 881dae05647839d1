//! Telegraf's dialect of TOML, as far as it differs from TOML.
//!
//! Telegraf's parser (influxdata/toml) takes several keys on one line of a table, and a carriage
//! return alone as the end of a line. Both become newlines here, so that the text keeps its length.
//! It also takes an inline table that is continued by a table or by another inline table, DEL in
//! strings, inline tables without commas, and dates that do not exist. These are left as they are:
//! in the table of another plugin they have no effect on ours ([`Sections::other_plugin`]), and in
//! our own they are errors.

use super::error::nearest;
use super::quoting::QuoteState;

/// Telegraf's tables of plugins that are never ours.
pub(super) const OTHERS: [&str; 4] = ["aggregators", "outputs", "processors", "secretstores"];

/// The top-level tables that mean something here, with their older names and that of our input.
const OURS: [&str; 6] = ["agent", "global_tags", "inputs", "tags", "plugins", "conntrack"];

/// What separates the words of a line.
const BLANKS: [char; 2] = [' ', '\t'];

/// The parts of a file from one header of a table to the next one.
#[derive(Debug, Default)]
pub(super) struct Sections(Vec<Section>);

#[derive(Debug)]
struct Section {
    start: usize,
    /// The words between the brackets.
    name: Vec<String>,
    is_array: bool,
    /// Whether every bracket and string in it is closed, so that it does not take in the next one.
    is_closed: bool,
    /// Whether it starts ctpulse, or may.
    names_us: bool,
}

impl Sections {
    /// The header of the table at `offset`, where it is that of another plugin.
    pub(super) fn other_plugin(&self, offset: usize) -> Option<String> {
        let next = self.0.partition_point(|section| section.start <= offset);
        let section = &self.0[next.checked_sub(1)?];
        let is_other = section.is_closed && !section.names_us && is_another_plugin(&section.name);
        let name = section.name.join(".");
        is_other.then(|| if section.is_array { format!("[[{name}]]") } else { format!("[{name}]") })
    }
}

/// Whether a table of this name is another plugin's, and no misspelt one of ours.
fn is_another_plugin(name: &[String]) -> bool {
    let name: Vec<&str> = name.iter().map(String::as_str).collect();
    match name.as_slice() {
        [top, ..] if OTHERS.contains(top) => true,
        ["inputs" | "plugins", plugin, ..] => nearest(plugin, &["conntrack"]).is_none(),
        [top, ..] => nearest(top, &OURS).is_none() && nearest(top, &OTHERS).is_none(),
        [] => false,
    }
}

/// Makes newlines of what ends a line for Telegraf only, and finds the sections.
pub(super) fn translate(text: &mut String) -> Sections {
    let mut sections: Vec<Section> = Vec::new();
    let mut newlines = Vec::new();
    let (mut place, mut depth, mut line, mut at) = (QuoteState::Bare, 0_usize, 0, 0);
    // Where the value of the line ended, if it has one.
    let mut has_key = false;
    while at < text.len() {
        let rest = &text[at..];
        let next = rest.as_bytes()[0];
        if place != QuoteState::Bare {
            at += place.step(rest);
            continue;
        }
        let starts_line = text[line..at].trim_matches(BLANKS).is_empty();
        match next {
            b'[' if starts_line && depth == 0 => {
                let header = rest.lines().next().unwrap_or_default();
                if let Some((name, is_array, length)) = header_of(header) {
                    let section =
                        Section { start: at, name, is_array, is_closed: true, names_us: false };
                    sections.push(section);
                    (has_key, at) = (true, at + length);
                    continue;
                }
                depth += 1;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'=' if depth == 0 => {
                let before = &text[line..key_before(text, line, at)];
                let is_after_value = before.trim_end_matches(BLANKS).ends_with(is_end_of_value);
                if has_key && is_after_value && before.ends_with(BLANKS) && !sections.is_empty() {
                    newlines.push(line + before.len() - 1);
                }
                has_key = true;
            }
            b'\r' if rest.as_bytes().get(1) != Some(&b'\n') => {
                newlines.push(at);
                (line, has_key) = (at + 1, has_key && depth > 0);
            }
            b'\n' => (line, has_key) = (at + 1, has_key && depth > 0),
            _ => {}
        }
        at += place.step(rest);
    }
    let is_open = depth > 0 || place != QuoteState::Bare;
    if let Some(last) = sections.last_mut() {
        last.is_closed = !is_open;
    }
    let ends: Vec<usize> =
        sections.iter().skip(1).map(|section| section.start).chain([text.len()]).collect();
    for (section, end) in sections.iter_mut().zip(ends) {
        let is_execd = section.name.get(1).is_some_and(|name| name == "execd");
        section.names_us = is_execd && text[section.start..end].contains("ctpulse");
    }
    if !newlines.is_empty() {
        let mut bytes = std::mem::take(text).into_bytes();
        // Each is one ASCII character.
        newlines.into_iter().for_each(|at| bytes[at] = b'\n');
        *text = String::from_utf8(bytes).unwrap_or_default();
    }
    Sections(sections)
}

/// The names in the header of a table, whether it is one of an array, and the header's length.
fn header_of(line: &str) -> Option<(Vec<String>, bool, usize)> {
    let is_array = line.starts_with("[[");
    let (opening, closing) = if is_array { (2, "]]") } else { (1, "]") };
    let mut place = QuoteState::Bare;
    let (mut at, mut names, mut name) = (opening, Vec::new(), String::new());
    loop {
        let rest = line.get(at..).filter(|rest| !rest.is_empty())?;
        if place == QuoteState::Bare && rest.starts_with(closing) {
            names.push(name.trim().to_owned());
            return Some((names, is_array, at + closing.len()));
        }
        let before = place;
        let length = place.step(rest);
        match (before, place) {
            (QuoteState::Bare, QuoteState::Bare) if rest.starts_with('.') => {
                names.push(std::mem::take(&mut name).trim().to_owned());
            }
            (QuoteState::Bare, QuoteState::Bare) if rest.starts_with([',', '[', '{']) => {
                return None;
            }
            // The quotes are not part of the name.
            (before, after) if before != after => {}
            _ => name.push_str(&rest[..length]),
        }
        at += length;
    }
}

/// Whether a value or a header may end with this character.
fn is_end_of_value(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '"' | '\'' | ']' | '}')
}

/// Where the key begins that ends before the `=` at `at`, in the line from `line` on.
fn key_before(text: &str, line: usize, at: usize) -> usize {
    let before = text[line..at].trim_end_matches(BLANKS);
    let start = match before.strip_suffix('"') {
        Some(quoted) => quoted.rfind('"').unwrap_or(0),
        None => {
            let is_key = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            before.trim_end_matches(is_key).len()
        }
    };
    line + start
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn translated(text: &str) -> String {
        let mut text = text.to_owned();
        translate(&mut text);
        text
    }

    #[test]
    fn each_key_has_a_line_of_its_own() {
        for (text, expected) in [
            ("[a] x = 1 y = 2\n", "[a]\nx = 1\ny = 2\n"),
            (
                "[[a]] x = \"b = 1\" \"y z\" = [1, 2] z=3",
                "[[a]]\nx = \"b = 1\"\n\"y z\" = [1, 2]\nz=3",
            ),
            ("[a]\n  x = [\n 1 ] y = 2", "[a]\n  x = [\n 1 ]\ny = 2"),
            ("[a]\nx = { y = 1, z = 2 } t = 1", "[a]\nx = { y = 1, z = 2 }\nt = 1"),
            ("[a]\nx = '''\n''' t = 1", "[a]\nx = '''\n'''\nt = 1"),
            ("[a]\rx = 1\r\r\ny = 2", "[a]\nx = 1\n\r\ny = 2"),
        ] {
            assert_eq!(translated(text), expected, "{text:?}");
        }
    }

    #[test]
    fn other_text_stays() {
        for text in [
            "x = 1 y = 2\n",
            "[a]\n  x = 1\n\ty = 2\r\n",
            "[a]\nx = 10 s\n",
            "[a]\nx = [[1], [2]]\n  [a.b]\n",
            "[a]\nx = [\n[1],\n[2],\n]\ny = 1",
            "[a]x = 1",
            "[a]\nx = = 1\n",
            "[a]\nx = 1; y = 2\n",
            "[a]\nx = 1, y = 2\n",
        ] {
            assert_eq!(translated(text), text);
        }
    }

    #[test]
    fn a_table_of_another_plugin_is_known_by_its_header() {
        let at = |text: &str| {
            let offset = text.find('!').unwrap();
            translate(&mut text.to_owned()).other_plugin(offset)
        };
        for (text, expected) in [
            ("[[outputs.x]]\n!", Some("[[outputs.x]]")),
            ("[[inputs.conntrack]]\n[[inputs.cpu]] !", Some("[[inputs.cpu]]")),
            ("[ inputs . \"c.d\" ]\nx = [\n[1],\n]\n!", Some("[inputs.c.d]")),
            ("[cpu]\n!", Some("[cpu]")),
            ("!\n[[outputs.x]]\n", None),
            ("[[outputs.x]]\n[agent]\n!", None),
            ("[[inputs.contrack]]\n!", None),
            ("[[input.cpu]]\n!", None),
            ("[[output.file]]\n!", None),
            ("[[inputs.execd]]\ncommand = ['ctpulse']\n!", None),
            ("[[inputs.execd]]\ncommand = ['other']\n!", Some("[[inputs.execd]]")),
            ("[[outputs.x]]\nx = [\n[[inputs.conntrack]]\n!", None),
            ("[[outputs.x]]\nx = '''\n[[inputs.conntrack]]\n!", None),
        ] {
            assert_eq!(at(text).as_deref(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_keeps_its_length(text in "\\PC*|[\\[\\]{}=.,'\"\\\\ \n\ra-c0-9\u{fc}-]{0,80}") {
            let new = translated(&text);
            prop_assert_eq!(new.len(), text.len());
            for (old, new) in text.bytes().zip(new.bytes()) {
                prop_assert!(old == new || matches!(old, b' ' | b'\t' | b'\r') && new == b'\n');
            }
        }
    }
}
