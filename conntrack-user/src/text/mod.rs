//! Text for people: escaping of untrusted text, colours, and numbers, durations, dates and connections
//! in words.

pub(crate) mod colour;
pub(crate) mod connection;
pub(crate) mod human;
pub mod sanitize;
