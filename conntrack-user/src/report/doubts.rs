//! Events that may not have happened.

use std::collections::BTreeMap;

/// The doubts about the totals of a source.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Doubts {
    /// The reasons, a sentence each; they are among the unknowns of the source, too.
    pub reasons: Vec<String>,
    /// By counter: so many of its events may not have happened.
    pub events: BTreeMap<String, f64>,
    /// The highest fill of the table may be that of another one.
    pub is_fill_doubtful: bool,
    /// Those of the unknowns of the source that leave nothing but the fill of the table unknown.
    pub of_fill: Vec<String>,
}

/// The unknowns of a source, a sentence each.
#[derive(Debug, Default)]
pub(super) struct Unknowns {
    /// All of them.
    pub(super) sentences: Vec<String>,
    /// Those after which events may not have happened.
    pub(super) doubts: Vec<String>,
    /// Those that leave nothing but the fill of the table unknown.
    pub(super) of_fill: Vec<String>,
}

impl Unknowns {
    /// Takes an unknown that leaves the events of the rows true.
    pub(super) fn push(&mut self, sentence: String) {
        self.sentences.push(sentence);
    }

    /// Takes one after which events may not have happened.
    pub(super) fn doubt(&mut self, sentence: String) {
        self.doubts.push(sentence.clone());
        self.sentences.push(sentence);
    }

    /// Takes one that leaves nothing but the fill of the table unknown.
    pub(super) fn push_of_fill(&mut self, sentence: String) {
        self.of_fill.push(sentence.clone());
        self.sentences.push(sentence);
    }

    /// Takes all of others.
    pub(super) fn append(&mut self, others: Self) {
        self.sentences.extend(others.sentences);
        self.doubts.extend(others.doubts);
        self.of_fill.extend(others.of_fill);
    }
}
