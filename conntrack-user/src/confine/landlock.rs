//! Landlock: which files may still be opened, in a kernel that has it (5.13).
//!
//! What is open stays open. The kernel's own files and what is sampled can be read; files are made
//! and replaced in the output's directory only; nothing can be executed. From ABI 4 no TCP port
//! can be bound or connected to, from 6 no process outside be signalled.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::{LayerError, Needs};

/// The newest version whose rights are known here; an older kernel restricts what it can.
const NEWEST: ABI = ABI::V6;

/// Restricts this thread to what `needs` names; the kernel's version of Landlock.
pub(super) fn restrict(needs: &Needs) -> Result<u32, LayerError> {
    if needs.processes {
        // `hook_ptrace_access_check`: none outside of the own domain, not even to read a link.
        return Err(LayerError::InTheWay(super::OTHER_PROCESSES));
    }
    let refused = |error: RulesetError| LayerError::Refused(error.to_string());
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write: BitFlags<AccessFs> =
        read | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg | AccessFs::RemoveFile;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(NEWEST)))
        .and_then(|rules| rules.scope(Scope::from_all(NEWEST)))
        .and_then(Ruleset::create)
        .and_then(|rules| rules.add_rules(path_beneath_rules(needs.readable(), read)))
        .and_then(|rules| rules.add_rules(path_beneath_rules(needs.writable(), write)))
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(refused)?;
    match (status.landlock, status.ruleset) {
        (LandlockStatus::NotImplemented, _) => {
            Err(LayerError::Absent("this kernel has none: it came in 5.13"))
        }
        (LandlockStatus::NotEnabled, _) => {
            Err(LayerError::Absent("this kernel was booted without it (lsm=landlock,...)"))
        }
        (_, RulesetStatus::NotEnforced) => Err(LayerError::Refused("not enforced".to_owned())),
        (LandlockStatus::Available { effective_abi, kernel_abi }, _) => {
            Ok(kernel_abi.map_or(effective_abi as u32, i32::unsigned_abs))
        }
    }
}
