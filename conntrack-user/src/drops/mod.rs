//! The forms in which `ctpulse drops` prints reports: causes and protocols in words, lines, and the heaviest.
//!
//! Pure: reports come from `source::events::drops`, and `command::drops` prints what is made here.

pub mod histogram;
pub mod invalid;
pub mod line;
pub mod top;
pub mod totals;

use conntrack_ebpf::Cause;

use crate::schema::fields::REPORTED_CAUSES;

/// The cause in a machine's words: the schema's `drop_...` field without its beginning, where
/// there is one.
#[must_use]
pub fn cause_name(cause: Cause) -> &'static str {
    REPORTED_CAUSES[cause as usize].word
}

/// The cause in a person's words.
#[must_use]
pub fn cause_words(cause: Cause) -> &'static str {
    REPORTED_CAUSES[cause as usize].words
}
