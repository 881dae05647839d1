//! `ctpulse`: a high-frequency sampler of Linux connection tracking (netfilter conntrack).
//!
//! Data flows one way, and each stage knows only the stage before it:
//!
//! ```text
//!  /proc/net/stat/nf_conntrack  /proc/sys/net/netfilter/*   probes (conntrack-ebpf)
//!       or ctnetlink                      |                          |
//!        source::reader (procfs, netlink, sysctl, namespace)    source::ebpf (the only
//!               |     reads, decodes, keeps files open          user of aya): mapped counters
//!               +-------------------------+--------------------------+
//!                            v
//!                       schema::raw                          raw integers, types only
//!                            v
//!   sampling (own thread,  accumulate                        64-bit counters, events per
//!   own schedule)          and its derived_drops             interval, bursts: a Window
//!                       ------ bounded channel ------        losses are counted
//!                            v
//!   output: one thread     rows -> metric                    source, known or unknown
//!   for all inputs           v
//!                       metric::filter                       Telegraf's pass, drop, rename
//!                            v
//!                     format  |  live  |  scrape             influx json prometheus csv table;
//!                        v                                   or the dashboard's thread;
//!                   output::text                             stdout, file, recording; or the
//!                                                            latest rows, for HTTP clients
//! ```
//!
//! For `report`, `recording` reads the files that `output` wrote, `report` summarizes them, and
//! `advice` recommends changes. `drops` prints the probes' reports of single drops, and `top` counts
//! the entries that `source::ebpf::census` reads from the kernel's table. `composition` counts them for
//! rows, in a thread of its own beside the samplers, which hands its numbers to that of `output`. `tui` is the terminal of `live`
//! and of the screen of `top`.
//!
//! `config` and `cli` become `settings`, the only form in which options reach the other modules.
//! `command` acts on the command line; `pipeline` starts and ends the threads, and `confine` drops
//! privileges before they start. No stage prints: a message for people travels as a typed notice
//! to the output thread, which logs it.

// `println!` and `eprintln!` panic where nothing can be written, and a panic ends the process.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod accumulate;
pub mod advice;
pub mod cli;
mod closed;
pub mod command;
pub mod composition;
pub mod config;
pub mod confine;
pub mod drops;
pub mod format;
pub mod live;
pub mod logging;
pub mod metric;
pub mod notices;
pub mod output;
pub mod pipeline;
pub mod recording;
pub mod report;
pub mod rows;
pub mod sampling;
pub mod schema;
pub mod scrape;
pub mod settings;
pub mod source;
pub mod text;
pub mod top;
pub mod tui;
pub mod version;
