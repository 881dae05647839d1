//! The text of a configuration file, and every message about a place in it.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};

use super::dialect::{Sections, translate};
use super::environment::{Environment, Filled, fill_bare};
use super::error::{ConfigError, Position, Problem};
use super::tables::Table;
use crate::text::sanitize::shown;

/// More problems than this are not reported: the file is something else than a configuration.
pub(super) const MOST_PROBLEMS: usize = 100;

/// A file's text, as decoded.
pub(super) struct Decoded<'a> {
    pub text: &'a str,
    /// Whether bytes that are not UTF-8 became U+FFFD, as Telegraf reads them.
    pub has_replacements: bool,
}

/// The text of a configuration file, with what was found wrong in it so far.
///
/// Readers report a problem and go on with a default, so that a check finds all of them.
pub(super) struct ConfigText<'a> {
    pub file_name: &'a str,
    pub environment: Environment<'a>,
    pub has_replacements: bool,
    pub filled: Filled,
    /// The parts of the filled text.
    pub sections: Sections,
    /// Where the filled text is not TOML.
    pub syntax_errors: RefCell<Vec<RangeInclusive<usize>>>,
    original: &'a str,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<(Option<Position>, String)>>,
}

impl<'a> ConfigText<'a> {
    /// Takes a file's text and fills in the variables outside of its strings.
    pub(super) fn new(
        file_name: &'a str,
        decoded: &Decoded<'a>,
        environment: Environment<'a>,
    ) -> Self {
        let original = decoded.text.strip_prefix('\u{feff}').unwrap_or(decoded.text);
        let mut filled = fill_bare(original, environment);
        let sections = translate(&mut filled.text);
        Self {
            file_name,
            environment,
            has_replacements: decoded.has_replacements,
            filled,
            sections,
            syntax_errors: RefCell::default(),
            original,
            problems: RefCell::default(),
            warnings: RefCell::default(),
        }
    }

    /// The place of the text at `span`, as the user wrote it.
    pub(super) fn position(&self, span: &Range<usize>) -> Position {
        Position::of(self.original, self.filled.original(span.start))
    }

    /// The line of the text at `span`, as the user wrote it.
    pub(super) fn line(&self, span: &Range<usize>) -> &'a str {
        let original = self.original;
        let at = self.filled.original(span.start).min(original.len());
        let begin = original.get(..at).unwrap_or(original).rfind('\n').map_or(0, |end| end + 1);
        original[begin..].lines().next().unwrap_or_default()
    }

    /// Whether the parser had to guess at the value at `span`.
    pub(super) fn is_guess(&self, span: &Range<usize>) -> bool {
        let errors = self.syntax_errors.borrow();
        errors.iter().any(|region| span.start <= *region.end() && *region.start() <= span.end)
    }

    /// Reports that the text at `span` is wrong.
    pub(super) fn problem(&self, span: &Range<usize>, message: impl AsRef<str>) {
        let position = self.position(span);
        let message = shown(message.as_ref()).into_owned();
        self.problems.borrow_mut().push(Problem { position, message });
    }

    /// Reports that the value of `key` in the table `T` is wrong.
    pub(super) fn value_problem<T: Table>(
        &self,
        span: &Range<usize>,
        key: &str,
        problem: impl std::fmt::Display,
    ) {
        self.problem(span, format!("'{key}' in {}: {problem}", T::NAME));
    }

    /// Adds a warning about the text at `span`.
    pub(super) fn warn_at(&self, span: &Range<usize>, message: impl AsRef<str>) {
        let message = shown(message.as_ref()).into_owned();
        self.warnings.borrow_mut().push((Some(self.position(span)), message));
    }

    /// Adds a warning about the file.
    pub(super) fn warn(&self, message: impl AsRef<str>) {
        self.warnings.borrow_mut().push((None, shown(message.as_ref()).into_owned()));
    }

    /// The warnings, a line each.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with every problem that was reported.
    pub(super) fn finish(self) -> Result<Vec<String>, ConfigError> {
        let file = self.file_name;
        let mut problems = self.problems.into_inner();
        let mut warnings = self.warnings.into_inner();
        warnings.sort_by_key(|(position, _)| *position);
        let line = |(position, text): (Option<Position>, String)| match position {
            Some(position) => format!("{file}:{position}: {text}"),
            None => format!("{file}: {text}"),
        };
        let mut warnings: Vec<String> = warnings.into_iter().map(line).collect();
        warnings.dedup();
        if problems.is_empty() {
            return Ok(warnings);
        }
        // What is reported later of one place is a consequence.
        problems.sort_by_key(|problem| problem.position);
        problems.dedup_by_key(|problem| problem.position);
        let left_out = problems.len().saturating_sub(MOST_PROBLEMS);
        if left_out > 0 {
            problems.truncate(MOST_PROBLEMS);
            let position =
                problems.last().map_or(Position { line: 1, column: 1 }, |it| it.position);
            problems.push(Problem { position, message: format!("and {left_out} more problems") });
        }
        Err(ConfigError::Invalid { file: file.to_owned(), problems, warnings })
    }
}
