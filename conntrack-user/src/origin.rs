//! Where a field's numbers come from, for whoever shows them beside the numbers.

/// A source of a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The kernel's own counter.
    Kernel,
    /// The kernel's own counter, which leaves most of what the name promises out
    /// ([`crate::kernel::counts_a_part`]).
    Part,
    /// The event source.
    Events,
    /// What is left of the kernel's counter when the event source's are taken off.
    Both,
}

impl Origin {
    /// One word of at most six letters.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Part => "part",
            Self::Events => "events",
            Self::Both => "both",
        }
    }
}
