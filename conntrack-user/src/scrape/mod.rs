//! The endpoint for Prometheus: the latest rows over HTTP.
//!
//! ```text
//!  sink's thread:  Published (a Destination) -> latest: rows of each input, swapped as a whole
//!  main thread:    server (connections, their bounds) -> answer (paths, `negotiation`) -> latest
//! ```
//!
//! A scrape reads what is there: it asks no sampler for anything and shares no lock with one.
//! The text of an emission is made by the first scrape that wants it and shared by all others.

mod answer;
mod latest;
mod negotiation;
mod server;

pub use latest::{Published, Snapshot};
pub use server::{ListenError, MOST_CONNECTIONS, PATIENCE, Server};
