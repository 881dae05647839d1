//! The schema: raw samples, where a value comes from, and what a kernel maintains.

pub mod maintained;
pub mod provenance;
pub mod raw;
