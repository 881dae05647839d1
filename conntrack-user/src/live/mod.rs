//! The dashboard of `ctpulse live`.
//!
//! ```text
//!   sink's thread or a recording       terminal's keys, signals, log lines
//!            | rows (feed)                      | events (tui::ui)
//!            v                                  v
//!     state, history: what is known      app, keys: what is shown
//!            +---------------+------------------+
//!                            v
//!                          draw -> ratatui's buffer -> tui::terminal
//! ```
//!
//! `tui::ui` runs the loop on a thread of its own, and `view` is what it runs; everything above it is
//! pure. The sampling thread knows nothing of it: rows come through the sink's ring, and a screen that
//! is stuck costs rows their resolution and nothing else.

pub mod app;
mod counter;
mod cpu_rates;
pub mod doubt;
pub mod draw;
pub mod feed;
pub mod gather;
pub mod history;
pub mod keys;
pub mod layout;
pub mod load;
pub mod namespace;
pub mod reasons;
pub mod replay;
pub mod series;
pub mod state;
pub mod view;
pub mod zoom;
