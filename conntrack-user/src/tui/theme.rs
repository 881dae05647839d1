//! Styles and glyphs.

use ratatui::style::{Color, Modifier, Style};

/// The abilities of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    /// Colours; without them bold, dim and reversed text show the same.
    pub colour: bool,
    /// Nothing but ASCII, for terminals and locales without UTF-8.
    pub ascii: bool,
}

/// The meaning of a piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A number or a name.
    Plain,
    /// An explanation.
    Dim,
    /// A panel's name.
    Heading,
    /// Something to check.
    Warning,
    /// Something that is wrong now.
    Alarm,
    /// A mean, or what is taken.
    Bar,
    /// A peak.
    Wick,
}

impl Theme {
    pub(crate) fn style(self, role: Role) -> Style {
        let plain = Style::new();
        let style = match role {
            Role::Plain => return plain,
            Role::Dim => return plain.add_modifier(Modifier::DIM),
            Role::Heading => return plain.add_modifier(Modifier::BOLD),
            Role::Warning => plain.fg(Color::Yellow).add_modifier(Modifier::BOLD),
            Role::Alarm => plain.fg(Color::Red).add_modifier(Modifier::BOLD),
            Role::Bar => plain.fg(Color::Cyan),
            Role::Wick => plain.fg(Color::Yellow),
        };
        match role {
            _ if self.colour => style,
            Role::Alarm => plain.add_modifier(Modifier::BOLD | Modifier::REVERSED),
            _ => Style { fg: None, ..style },
        }
    }

    /// Fills from empty to full in eighths.
    pub(crate) fn eighth(self, eighths: usize) -> &'static str {
        let ramp = if self.ascii {
            [" ", "_", "_", "_", "-", "-", "=", "=", "#"]
        } else {
            [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]
        };
        ramp[eighths.min(8)]
    }

    /// The line above a mean, up to the peak.
    pub(crate) fn wick(self) -> &'static str {
        if self.ascii { "|" } else { "│" }
    }

    /// The character for a rate of 0.
    pub(crate) fn zero(self) -> &'static str {
        if self.ascii { "." } else { "·" }
    }

    pub(crate) fn taken(self) -> &'static str {
        if self.ascii { "#" } else { "█" }
    }

    pub(crate) fn free(self) -> &'static str {
        if self.ascii { "-" } else { "░" }
    }

    pub(crate) fn rule(self) -> &'static str {
        if self.ascii { "-" } else { "─" }
    }
}
