//! Why ctnetlink does not give the statistics, and what to do about it.

use rustix::io::Errno;

/// `MAX_ERRNO` of `linux/err.h`; [`Errno`] panics at any other number.
const HIGHEST_ERRNO: i32 = 4095;

/// ctnetlink could not be asked, or its answer not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetlinkError {
    /// The kernel requires a capability for every message (`nfnetlink_rcv`).
    #[error(
        "ctnetlink cannot be asked: missing CAP_NET_ADMIN; run as root, or grant it (setcap \
         cap_net_admin+ep, or AmbientCapabilities=CAP_NET_ADMIN in a systemd unit)"
    )]
    Refused,
    /// The kernel has no such message.
    #[error(
        "ctnetlink does not answer: this kernel has no module nf_conntrack_netlink with \
         statistics, or it may not be loaded (modprobe nf_conntrack_netlink)"
    )]
    Unsupported,
    /// Asking would load conntrack, which is not there.
    #[error(
        "ctnetlink is not asked: the nf_conntrack module is not loaded (modprobe nf_conntrack)"
    )]
    NotLoaded,
    /// There is no socket for it.
    #[error(
        "cannot open a netlink socket: {0}; a service's RestrictAddressFamilies, or a container's \
         seccomp profile, has to allow AF_NETLINK"
    )]
    Socket(Errno),
    /// Another error of the kernel's.
    #[error("ctnetlink answers: {0}")]
    Kernel(Errno),
    /// A system call failed.
    #[error("cannot talk to ctnetlink: {0}")]
    Talk(Errno),
    /// Another module is loaded than the one that was asked before.
    #[error("the nf_conntrack module was loaded again; its counters start again")]
    Reloaded,
    /// The question or a part of the answer was lost for lack of memory (`ENOBUFS`, `ENOMEM`,
    /// `EAGAIN`, `NLMSG_OVERRUN`).
    #[error("a part of ctnetlink's answer was lost for lack of memory")]
    Overrun,
    /// The kernel's tables changed while it answered (`NLM_F_DUMP_INTR`).
    #[error("ctnetlink's answer was interrupted by a change")]
    Interrupted,
    /// The answer ended too early.
    #[error("ctnetlink's answer is incomplete")]
    Incomplete,
    /// The answer is not netlink.
    #[error("ctnetlink's answer cannot be read: {0}")]
    Malformed(&'static str),
}

impl NetlinkError {
    /// The meaning of an errno that the kernel sent, negative as it sends it.
    pub(super) fn of_kernel(code: i32) -> Self {
        if !(-HIGHEST_ERRNO..0).contains(&code) {
            return Self::Malformed("it has an error that is none");
        }
        match Errno::from_raw_os_error(-code) {
            Errno::PERM => Self::Refused,
            Errno::INVAL | Errno::OPNOTSUPP | Errno::PROTONOSUPPORT => Self::Unsupported,
            errno if is_shortage(errno) => Self::Overrun,
            // Another dump of this socket is not read to its end.
            Errno::BUSY => Self::Incomplete,
            errno => Self::Kernel(errno),
        }
    }

    /// The meaning of a system call's failure on the socket.
    pub(super) fn of_call(errno: Errno) -> Self {
        if is_shortage(errno) { Self::Overrun } else { Self::Talk(errno) }
    }

    /// Whether it lasts until the system or this program's rights are changed.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        matches!(self, Self::Refused | Self::Unsupported | Self::Socket(_))
    }

    /// Whether asking again may do.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Overrun | Self::Interrupted | Self::Incomplete | Self::Malformed(_))
    }
}

/// The kernel has no memory for the moment.
fn is_shortage(errno: Errno) -> bool {
    matches!(errno, Errno::NOBUFS | Errno::NOMEM | Errno::AGAIN | Errno::INTR)
}
