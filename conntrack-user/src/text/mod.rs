//! Text for people: escaping of untrusted text, and numbers, durations and dates in words.

pub(crate) mod human;
pub mod sanitize;
