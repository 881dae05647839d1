//! The schema: raw samples, every field of the rows, where a value comes from, and what a kernel
//! maintains.
//!
//! It uses nothing of the crate, and of `conntrack-ebpf` only the events and causes.

#[cfg(test)]
mod documents;
pub mod field;
pub mod fields;
pub mod invalid;
pub mod labelled;
pub mod maintained;
pub mod measure;
pub mod provenance;
pub mod raw;
