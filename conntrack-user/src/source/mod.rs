//! Sources: what reads the kernel.
//!
//! Reading and parsing are two functions; a parser takes bytes, so each of its tests is a
//! text. A reader keeps its descriptors open and returns typed samples or a typed error; it
//! prints nothing.

pub mod cpu_mask;
pub mod ebpf;
pub mod existence;
pub mod mounts;
pub mod namespace;
pub mod netlink;
pub(crate) mod opened;
pub mod procfs;
pub mod reader;
pub mod release;
pub mod roots;
pub mod stat_text;
pub mod sysctl;
