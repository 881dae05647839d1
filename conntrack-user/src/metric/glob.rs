//! Telegraf's glob lists: which strings an option such as `fieldinclude` matches.
//!
//! A list is a list of globs only when some entry contains `*`, `?` or `[`, or when a
//! separator is set; otherwise its entries are compared as they stand (Telegraf's
//! `filter.Compile`), so `{a,b}` alone is literal.

use std::sync::Arc;

use regex_lite::Regex;

/// A compiled, non-empty list of names or globs.
#[derive(Debug, Clone)]
pub struct GlobList(Matcher);

#[derive(Debug, Clone)]
enum Matcher {
    Exact(Arc<[String]>),
    Globs(Arc<[Regex]>),
}

/// A pattern that is not a glob.
#[derive(Debug, thiserror::Error)]
#[error("'{pattern}' is not a valid glob: {reason}")]
pub struct GlobError {
    /// The pattern as it was written.
    pub pattern: String,
    /// The mistake in it.
    pub reason: &'static str,
}

impl GlobList {
    /// Compiles `patterns`; `None` where the list is empty, which in Telegraf means "no filter".
    ///
    /// `separators` are the characters that `*` and `?` do not match (`namepass_separator`).
    ///
    /// # Errors
    /// [`GlobError`] for an unclosed `[` or `{`, an empty class, or a trailing `\`.
    pub fn compile(patterns: &[String], separators: &str) -> Result<Option<Self>, GlobError> {
        if patterns.is_empty() {
            return Ok(None);
        }
        let globs = !separators.is_empty() || patterns.iter().any(|p| p.contains(['*', '?', '[']));
        if !globs {
            return Ok(Some(Self(Matcher::Exact(patterns.into()))));
        }
        let compiled = patterns.iter().map(|p| compile_glob(p, separators));
        Ok(Some(Self(Matcher::Globs(compiled.collect::<Result<_, _>>()?))))
    }

    /// Whether any entry matches the whole of `text`.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        match &self.0 {
            Matcher::Exact(names) => names.iter().any(|name| name == text),
            Matcher::Globs(globs) => globs.iter().any(|glob| glob.is_match(text)),
        }
    }
}

/// Translates one glob of the gobwas dialect (`*` `**` `?` `[a-z]` `[!x]` `{a,b}` `\x`).
fn compile_glob(pattern: &str, separators: &str) -> Result<Regex, GlobError> {
    let fail = |reason| GlobError { pattern: pattern.to_owned(), reason };
    let any = if separators.is_empty() {
        ".".to_owned()
    } else {
        format!("[^{}]", separators.chars().map(class_escape).collect::<String>())
    };
    let mut regex = String::from("(?s)^(?:");
    let mut depth = 0usize;
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => regex.push_str(".*"),
            '*' => regex.push_str(&format!("{any}*")),
            '?' => regex.push_str(&any),
            '[' => {
                let negated = chars.next_if_eq(&'!').is_some();
                regex.push_str(if negated { "[^" } else { "[" });
                let mut members = 0;
                loop {
                    match chars.next() {
                        None => return Err(fail("a '[' without its ']'")),
                        Some(']') if members > 0 => break,
                        Some(']') => return Err(fail("an empty '[]'")),
                        Some('-') if members > 0 && chars.peek() != Some(&']') => regex.push('-'),
                        Some('\\') => {
                            let c = chars.next().ok_or_else(|| fail("a '\\' at the end"))?;
                            regex.push_str(&class_escape(c));
                        }
                        Some(c) => regex.push_str(&class_escape(c)),
                    }
                    members += 1;
                }
                regex.push(']');
            }
            '{' => {
                depth += 1;
                regex.push_str("(?:");
            }
            '}' if depth > 0 => {
                depth -= 1;
                regex.push(')');
            }
            ',' if depth > 0 => regex.push('|'),
            '\\' => {
                let c = chars.next().ok_or_else(|| fail("a '\\' at the end"))?;
                regex.push_str(&regex_lite::escape(c.encode_utf8(&mut [0; 4])));
            }
            c => regex.push_str(&regex_lite::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    if depth > 0 {
        return Err(fail("a '{' without its '}'"));
    }
    regex.push_str(")$");
    Regex::new(&regex).map_err(|_| fail("its character range is not valid"))
}

fn class_escape(c: char) -> String {
    if c.is_alphanumeric() || c == '_' || c == ' ' { c.to_string() } else { format!("\\{c}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(patterns: &[&str], separators: &str) -> GlobList {
        let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        GlobList::compile(&patterns, separators).unwrap().unwrap()
    }

    #[test]
    fn braces_are_literal_until_a_wildcard_makes_the_list_globs() {
        assert!(list(&["{a,b}"], "").matches("{a,b}"));
        assert!(!list(&["{a,b}"], "").matches("a"));
        assert!(list(&["{a,b}", "x*"], "").matches("a"));
        assert!(list(&["{a,b}"], ".").matches("b"));
    }

    #[test]
    fn wildcards_classes_and_escapes() {
        assert!(list(&["insert*"], "").matches("insert_failed"));
        assert!(!list(&["insert"], "").matches("insert_failed"));
        assert!(list(&["cpu?"], "").matches("cpu7") && !list(&["cpu?"], "").matches("cpu12"));
        assert!(
            list(&["cpu[0-3]"], "").matches("cpu2") && !list(&["cpu[!0-3]"], "").matches("cpu2")
        );
        assert!(list(&["a\\*[x]"], "").matches("a*x"));
        assert!(list(&["a.b*"], "").matches("a.bc") && !list(&["a.b*"], "").matches("axbc"));
    }

    #[test]
    fn separators_stop_one_star_and_not_two() {
        assert!(!list(&["a.*.c"], ".").matches("a.b.b.c"));
        assert!(list(&["a.**.c"], ".").matches("a.b.b.c"));
        assert!(!list(&["a.?.c"], ".").matches("a...c"));
    }

    #[test]
    fn errors_of_globs_name_the_mistake() {
        let error = |p: &str| GlobList::compile(&[p.to_owned()], "").unwrap_err().to_string();
        assert_eq!(error("cpu[0-3"), "'cpu[0-3' is not a valid glob: a '[' without its ']'");
        assert_eq!(error("*{a"), "'*{a' is not a valid glob: a '{' without its '}'");
        assert_eq!(error("*\\"), "'*\\' is not a valid glob: a '\\' at the end");
    }
}
