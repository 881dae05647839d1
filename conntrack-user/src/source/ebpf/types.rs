//! The types of the running kernel that the programs need: offsets of members, and the prototypes
//! of the functions that hooks are attached to.

use std::path::Path;

use super::btf::{Btf, BtfError, BtfValue, Prototype};
use super::offsets::{Offsets, VMLINUX};
use super::prototypes;
use crate::schema::maintained::Release;

/// Where the kernel shows the module's types (from 5.11, `CONFIG_DEBUG_INFO_BTF_MODULES`).
const MODULE: &str = "/sys/kernel/btf/nf_conntrack";

/// From this release on the functions for INVALID packets take a `struct nf_hook_state` ("netfilter:
/// conntrack: pass hook state to log functions").
const STATE_FROM: Release = (5, 14);

/// The running kernel's types, as far as they are needed.
#[derive(Debug, Clone)]
pub struct Types {
    /// Where structures have what.
    pub offsets: Offsets,
    /// The functions of [`prototypes`] that the types have, by name.
    functions: Vec<(&'static str, Prototype)>,
    /// Their numbers in the types, in the same order.
    numbers: Vec<TypeNumber>,
}

/// The number of a function in the kernel's types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeNumber {
    /// The number, which goes on in the module's types where the kernel's end.
    pub id: u32,
    /// Whether it is in the module's types.
    pub in_module: bool,
}

impl Types {
    /// Reads the running kernel's types.
    ///
    /// # Errors
    /// [`BtfError`].
    pub fn of_running_kernel() -> Result<Self, BtfError> {
        Self::read(Path::new(VMLINUX), Path::new(MODULE))
    }

    /// Reads files of raw BTF: the kernel's, and where conntrack is a module, the module's.
    ///
    /// # Errors
    /// [`BtfError`].
    pub fn read(kernel: &Path, module: &Path) -> Result<Self, BtfError> {
        let bytes = std::fs::read(kernel);
        let bytes =
            bytes.map_err(|error| BtfError::Read { path: kernel.display().to_string(), error })?;
        let kernel = Btf::parse(&bytes, None)?;
        match std::fs::read(module) {
            // What the kernel itself has is in the module's, too.
            Ok(bytes) => Self::find(&Btf::parse(&bytes, Some(&kernel))?, true),
            Err(_) => Self::find(&kernel, false),
        }
    }

    fn find(btf: &Btf<'_>, is_modules: bool) -> Result<Self, BtfError> {
        let (mut functions, mut numbers) = (Vec::new(), Vec::new());
        for name in prototypes::functions() {
            if let (Some(prototype), Some((id, is_own))) =
                (btf.function(name)?, btf.function_id(name))
            {
                functions.push((name, prototype));
                numbers.push(TypeNumber { id, in_module: is_own && is_modules });
            }
        }
        Ok(Self { offsets: Offsets::find(btf)?, functions, numbers })
    }

    /// Returns the number of a function with this exact name, and whether it takes any number of
    /// arguments; `None` where the types do not have it.
    #[must_use]
    pub fn number(&self, function: &str) -> Option<(TypeNumber, bool)> {
        let at = self.functions.iter().position(|(name, _)| *name == function)?;
        let is_variadic = self.functions[at].1.parameters.last() == Some(&BtfValue::Void);
        Some((self.numbers[at], is_variadic))
    }

    /// Why a program must not be attached to `function`: its prototype is not the one that the
    /// programs are written for. `None` also where the kernel's types do not have the function,
    /// such as one that a compiler changed the name of.
    #[must_use]
    pub fn objection(&self, function: &str) -> Option<String> {
        let (name, found) = self.functions.iter().find(|(name, _)| *name == function)?;
        prototypes::difference(name, found)
    }

    /// Whether the functions for INVALID packets take a `struct nf_hook_state`: by their prototype, and
    /// where the kernel's types do not have them by the release.
    #[must_use]
    pub fn invalid_has_state(&self, release: Option<Release>) -> bool {
        let is_recent = || release.is_some_and(|release| release >= STATE_FROM);
        prototypes::invalid_has_state(&self.functions).unwrap_or_else(is_recent)
    }
}
