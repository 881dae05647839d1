//! Text for people: escaping of untrusted text, colours, and numbers, durations and dates in words.

pub(crate) mod colour;
pub(crate) mod human;
pub mod sanitize;
