//! Capabilities of the calling thread, and how it drops them.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

/// The capabilities that any run may need later. After the change to another user no other
/// capability is kept, not even for a moment.
pub(super) const EVER: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::SYSLOG)
    .union(CapabilitySet::SYS_ADMIN)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::NET_BIND_SERVICE)
    // To empty the bounding set.
    .union(CapabilitySet::SETPCAP);

/// The permitted capabilities of the calling thread.
///
/// # Errors
/// The kernel's.
pub fn held() -> Result<CapabilitySet, Errno> {
    Ok(capabilities(None)?.permitted)
}

/// Their names as the kernel's manual has them, or `none`.
#[must_use]
pub fn names(set: CapabilitySet) -> String {
    let names: Vec<String> = set.iter_names().map(|(name, _)| format!("CAP_{name}")).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(" ") }
}

/// Gives up all but `needed`: in the effective and the permitted set that is what is left, the
/// inheritable and the ambient set are empty, and so is the bounding set, where this thread may
/// change it (`CAP_SETPCAP`).
pub(super) fn keep_only(needed: CapabilitySet) -> Result<CapabilitySet, Errno> {
    let now = capabilities(None)?;
    let kept = now.permitted & needed;
    if now.effective.contains(CapabilitySet::SETPCAP) {
        for bit in 0..u64::BITS {
            match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) {
                Ok(()) => {}
                // The kernel has no more of them.
                Err(Errno::INVAL) => break,
                Err(error) => return Err(error),
            }
        }
    }
    match clear_ambient_capability_set() {
        // Before 4.3 there is none.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(error),
    }
    raise_only(kept)?;
    Ok(kept)
}

/// Makes `kept` all that is permitted, and effective.
pub(super) fn raise_only(kept: CapabilitySet) -> Result<(), Errno> {
    let inheritable = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capability_names_are_those_of_the_manual() {
        assert_eq!(names(CapabilitySet::empty()), "none");
        let two = CapabilitySet::BPF | CapabilitySet::SYS_ADMIN;
        assert_eq!(names(two), "CAP_SYS_ADMIN CAP_BPF");
    }

    #[test]
    fn a_thread_drops_capabilities_permanently() {
        let Ok(before) = held() else { panic!("capabilities cannot be read") };
        std::thread::spawn(move || {
            let kept = keep_only(CapabilitySet::SYS_PTRACE).unwrap();
            assert_eq!(kept, before & CapabilitySet::SYS_PTRACE);
            let now = capabilities(None).unwrap();
            assert_eq!((now.effective, now.permitted), (kept, kept));
            assert!(now.inheritable.is_empty());
            if !before.is_empty() {
                assert_eq!(raise_only(before), Err(Errno::PERM));
            }
        })
        .join()
        .unwrap();
        assert_eq!(held(), Ok(before), "another thread keeps its own");
    }
}
