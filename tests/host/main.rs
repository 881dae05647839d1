//! The program as its users run it, on this host: a module for each subject.
//!
//! `cargo test --test host SUBJECT::` runs one subject. What needs a kernel with probes is in
//! `tests/guest`, which `cargo xtask vm` runs in virtual machines.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod advice;
mod cli;
mod completions;
mod composition;
mod config;
mod confine;
mod corpus;
mod documented;
mod execd;
mod faults;
mod kernel;
mod labelled;
mod live;
mod manual;
mod output;
mod outside;
mod packaging;
mod page;
mod prometheus;
mod recording;
mod recordings;
mod report;
mod sampling;
mod scrape;
mod support;
mod terminal;
mod top;
mod version;

/// The patience with a program in a terminal.
const SOON: std::time::Duration = std::time::Duration::from_secs(10);
