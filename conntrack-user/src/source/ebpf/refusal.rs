//! A refusal by the kernel: of a map, a perf event or another object, with its error number.

use std::error::Error;
use std::fmt;
use std::io;

use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;
use rustix::io::Errno;

/// A refusal by the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The whole error in words; the verifier's log is in it where there is one.
    pub(super) text: String,
    /// The kernel's error number, where it gave one.
    pub(super) errno: Option<Errno>,
    pub(super) object: Object,
}

/// The refused object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Object {
    Map,
    PerfEvent,
    Other,
}

impl Refusal {
    /// Describes why the object could not be loaded.
    #[must_use]
    pub fn of_object(error: &EbpfError) -> Self {
        let (errno, object) = match error {
            EbpfError::MapError(error) => map_cause(error),
            EbpfError::ProgramError(error) => program_cause(error),
            // The object's types are memory that is counted like that of maps.
            EbpfError::BtfError(error) => (errno(error), Object::Map),
            error => (errno(error), Object::Other),
        };
        Self { text: explain(error), errno, object }
    }

    /// Describes why a program could not be loaded or attached.
    #[must_use]
    pub fn of_program(error: &ProgramError) -> Self {
        let (errno, object) = program_cause(error);
        Self { text: explain(error), errno, object }
    }

    /// Describes why a map could not be made or filled.
    #[must_use]
    pub fn of_map(error: &MapError) -> Self {
        let (errno, object) = map_cause(error);
        Self { text: explain(error), errno, object }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn program_cause(error: &ProgramError) -> (Option<Errno>, Object) {
    match error {
        ProgramError::MapError(error) => map_cause(error),
        ProgramError::SyscallError(call) if call.call == "perf_event_open" => {
            (errno(&call.io_error), Object::PerfEvent)
        }
        // Transparent: the walk over its sources would pass over the error itself.
        ProgramError::IOError(error) => (errno(error), Object::Other),
        error => (errno(error), Object::Other),
    }
}

fn map_cause(error: &MapError) -> (Option<Errno>, Object) {
    match error {
        MapError::IoError(error) => (errno(error), Object::Map),
        error => (errno(error), Object::Map),
    }
}

/// Returns the error number of the first system's error among an error and its sources.
fn errno(error: &(dyn Error + 'static)) -> Option<Errno> {
    let mut source = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Errno::from_io_error(error);
        }
        source = error.source();
    }
    None
}

/// Prints an error with all its sources in one line; the verifier's log is in it where the kernel gave
/// one.
#[must_use]
pub(super) fn explain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use aya::sys::SyscallError;
    use aya_obj::VerifierLog;

    use super::*;

    fn denied() -> io::Error {
        Errno::PERM.into()
    }

    fn call(call: &'static str) -> SyscallError {
        SyscallError { call, io_error: denied() }
    }

    /// However deep aya wraps it.
    #[test]
    fn the_error_number_is_found_in_each_form_of_an_error() {
        let name = || "COUNTERS".to_owned();
        let of_program = |error| Refusal::of_program(&error);
        let created = || MapError::CreateError { name: name(), io_error: denied() };
        for (refusal, object) in [
            (Refusal::of_map(&created()), Object::Map),
            (Refusal::of_map(&MapError::from(denied())), Object::Map),
            (Refusal::of_map(&MapError::from(call("bpf_map_update_elem"))), Object::Map),
            (Refusal::of_object(&EbpfError::from(created())), Object::Map),
            (Refusal::of_object(&EbpfError::from(ProgramError::from(created()))), Object::Map),
            (of_program(ProgramError::from(denied())), Object::Other),
            (of_program(ProgramError::from(call("bpf_link_create"))), Object::Other),
            (of_program(ProgramError::from(call("perf_event_open"))), Object::PerfEvent),
            (
                of_program(ProgramError::LoadError {
                    io_error: denied(),
                    verifier_log: VerifierLog::new("os error 13)".to_owned()),
                }),
                Object::Other,
            ),
        ] {
            assert_eq!((refusal.errno, refusal.object), (Some(Errno::PERM), object), "{refusal}");
        }
        assert_eq!(of_program(ProgramError::NotLoaded).errno, None);
    }
}
