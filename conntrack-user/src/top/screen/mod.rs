//! The screen of `ctpulse top`.
//!
//! ```text
//!  the thread of the census        terminal's keys, signals, log lines
//!          | answers (look)                 | events (tui::ui)
//!          v                                v
//!   app: the last look, and the choices of the keys
//!          |                                |
//!          | question                       v
//!          v                        draw -> ratatui's buffer -> tui::terminal
//!  the thread of the census
//! ```
//!
//! `app`, `prompt` and `draw` are pure; `view` is what `tui::ui` runs.

pub mod app;
mod draw;
pub mod keys;
mod prompt;
pub mod view;
