//! The state of a hook: attached, or why not.

use super::offsets;
use super::probe_table::AttachWhen;
use super::refusal::Refusal;

/// How the programs of a hook are attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attachment {
    /// By kprobes; where trampolines were asked for, with the reason why they are not used.
    Kprobe(Option<String>),
    /// By trampolines.
    Trampoline,
}

impl std::fmt::Display for Attachment {
    /// Prints what is added to the list of functions.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kprobe(None) => write!(f, " by kprobe"),
            Self::Kprobe(Some(why)) => write!(f, " by kprobe, and not by trampoline: {why}"),
            Self::Trampoline => write!(f, " by trampoline"),
        }
    }
}

/// The state of one hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookState {
    /// Attached to these functions.
    Attached {
        /// Which of its ways, 0 for the preferred one.
        way: usize,
        /// As the kernel calls them.
        functions: Vec<String>,
        /// How its programs are attached.
        by: Attachment,
    },
    /// The kernel has none of these functions.
    NoFunction(&'static [&'static str]),
    /// The kernel's types are not known.
    NoTypes,
    /// The kernel has these copies of a function, of which a probe would see one.
    Copies(Vec<String>),
    /// The prototype of a function is not the expected one: a description of the difference.
    Differs(String),
    /// The kernel refused the programs.
    Refused(Refusal),
    /// The hook of this name is not attached, without which it would count the wrong thing.
    Lacks(&'static str),
    /// It was not asked for.
    NotAsked(AttachWhen),
}

impl HookState {
    /// Whether its events are counted.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        matches!(self, Self::Attached { .. })
    }

    /// Whether the kernel has the function, but not as the programs expect it.
    #[must_use]
    pub fn is_unexpected(&self) -> bool {
        matches!(self, Self::Copies(_) | Self::Differs(_))
    }

    /// Whether the kernel has the function, and its events are not counted all the same.
    fn is_left_out(&self) -> bool {
        self.is_unexpected() || matches!(self, Self::Refused(_))
    }

    /// Why the hook `name` is left out, in one line, if the kernel has its function.
    pub(super) fn warning(&self, name: &str) -> Option<String> {
        let text = self.is_left_out().then(|| self.to_string())?;
        // A refusal may have the verifier's log behind its first line.
        Some(format!("no {name}: {}", text.lines().next().unwrap_or_default()))
    }
}

/// How many hooks have probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HookCount {
    /// Hooks that have them.
    pub attached: usize,
    /// Hooks that were asked for.
    pub of: usize,
}

impl std::fmt::Display for HookCount {
    /// Prints `14 hooks`, or `11 of 14 hooks`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.attached != self.of {
            write!(f, "{} of ", self.attached)?;
        }
        write!(f, "{} hooks", self.of)
    }
}

impl std::fmt::Display for HookState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Attached { functions, by, .. } => {
                write!(f, "attached to {}{by}", functions.join(", "))
            }
            Self::NoFunction(names) => {
                write!(f, "this kernel has no function {}", names.join(" or "))
            }
            Self::Copies(names) => write!(
                f,
                "this kernel has {} copies of the function ({}), and a probe sees the calls of one",
                names.len(),
                names.join(", ")
            ),
            Self::Differs(difference) => write!(f, "{difference}"),
            Self::NoTypes => write!(f, "needs the kernel's types ({})", offsets::VMLINUX),
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::Lacks(name) => write!(f, "not attached, as {name} is not"),
            Self::NotAsked(AttachWhen::PerPacket) => {
                write!(f, "costs something for each packet; --ebpf-per-packet")
            }
            Self::NotAsked(AttachWhen::Reports) => write!(f, "serves only `ctpulse drops`"),
            Self::NotAsked(AttachWhen::Invalid) => {
                write!(f, "serves only --ebpf-invalid and `ctpulse drops --invalid`")
            }
            Self::NotAsked(_) => write!(f, "serves only the row about ctpulse itself; --internal"),
        }
    }
}
