//! The sizes of the dashboard's parts, in cells of the terminal.

/// The columns of the rates, each with the space before it: the name, the source, each number.
pub(super) const NAME: u16 = 14;
pub(super) const FROM: u16 = 7;
pub(super) const NUMBER: u16 = 7;
/// All of them; the picture is beside it.
pub(super) const TEXT: u16 = NAME + FROM + 3 * NUMBER;

/// The number of columns of time on a screen of this width.
pub(super) fn columns(width: u16) -> u16 {
    width.saturating_sub(TEXT + 2).max(1)
}
