//! `ctpulse`: a high-frequency sampler of Linux connection tracking (netfilter conntrack).
//!
//! Numbers flow one way, and each stage knows only the one before it:
//!
//! ```text
//!  /proc/net/stat/nf_conntrack  /proc/sys/net/netfilter/*   probes (conntrack-ebpf)
//!       or ctnetlink                      |                          |
//!        source::reader (procfs, netlink, sysctl, namespace)    source::events (the only
//!               |     reads, decodes, keeps open                user of aya): mapped counters
//!               +-------------------------+--------------------------+
//!                            v
//!                         sample                               raw integers, types only
//!                            v
//!   sampler, schedule:    merge, tally                         widens, rates, bursts: a Window
//!   own thread, own       event_merge, attribution
//!   clock             ------ bounded ring ------               loss counts what found no room
//!                            v
//!   sink: one thread       rows -> metric                      which source, known or unknown
//!   for all inputs           v
//!                          filter                              Telegraf's pass, drop, rename
//!                            v
//!                     format  |  live  |  scrape               influx json prometheus csv table;
//!                        v                                     or the dashboard's thread;
//!                     output                                   stdout, file, recording; or the
//!                                                              latest rows, for HTTP's readers
//! ```
//!
//! And back, for `report`: `recording` reads what `output` wrote to a file, `report` says what is in
//! it, and `advice` what to change. Beside it `drops` words the probes' reports of single drops.
//!
//! `config` and `cli` become `settings`, the only form in which options reach the rest;
//! `command` acts on the command line; `pipeline` starts and ends the threads, `confine` takes
//! away before what they do not need. No stage prints:
//! what a person should know travels as a typed notice to the sink, which logs it.

pub mod accepted;
pub mod advice;
pub mod attacher;
pub mod attribution;
pub mod cli;
pub mod command;
pub mod compat;
pub mod config;
pub mod confine;
pub mod drops;
pub mod event_merge;
pub mod event_wiring;
pub mod filter;
pub mod format;
pub mod glob;
pub mod handoff;
pub mod internal;
pub mod kernel;
pub mod lateness;
pub mod live;
pub mod logging;
pub mod loss;
pub mod merge;
pub mod metric;
pub mod notices;
pub mod origin;
pub mod output;
pub mod pipeline;
pub mod plain;
pub mod probes;
pub mod recording;
pub mod report;
pub mod rows;
pub mod sample;
pub mod sampler;
pub mod schedule;
pub mod scrape;
pub mod settings;
pub mod sink;
pub mod source;
pub mod tally;
pub mod timestamp;
pub mod version;
