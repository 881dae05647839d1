//! The decision whether output has colours.

use std::io::IsTerminal;

/// Returns whether the user permits colours: `NO_COLOR` is unset or empty.
pub(crate) fn is_permitted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Returns whether text on `stream` has colours: on a terminal, where the user permits them.
pub(crate) fn suits(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && is_permitted()
}
