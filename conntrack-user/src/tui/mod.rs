//! The parts of a full-screen program that `live` and `top` share: the loop, the terminal,
//! its styles, and text that stays inside its cell.

pub mod fill;
#[cfg(test)]
pub(crate) mod golden;
pub(crate) mod help;
pub mod messages;
pub mod pen;
pub mod terminal;
pub mod theme;
pub mod ui;

/// The smallest screen that everything fits on, in columns and lines.
pub const SMALLEST: (u16, u16) = (80, 24);
