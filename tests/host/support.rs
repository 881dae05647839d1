//! What the subjects share: what the guests use, too, and this checkout's fixtures, the reasons for
//! which a test cannot run here, and an ordinary user.

#[path = "../support.rs"]
mod shared;

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) use self::shared::*;

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    repository().join("fixtures").join(name)
}

/// `--proc-root` and `--sys-root` of a fixture.
pub(crate) fn roots(root: &Path) -> [PathBuf; 4] {
    ["--proc-root".into(), root.join("proc"), "--sys-root".into(), root.join("sys")]
}

/// A copy of a fixture that a test may change.
pub(crate) fn copy_of(name: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let status =
        Command::new("cp").arg("-r").arg(fixture(name).join(".")).arg(copy.path()).status();
    assert!(status.unwrap().success());
    copy
}

/// Returns whether this process may make namespaces. Prints `NOT RUN HERE` where it may not.
pub(crate) fn may_make_namespaces(test: &str) -> bool {
    let missing = ["ip", "nft", "conntrack"].iter().find(|tool| {
        !["/usr/sbin", "/sbin", "/usr/bin", "/bin"].iter().any(|d| Path::new(d).join(tool).exists())
    });
    let reason = match missing {
        Some(tool) => format!("there is no `{tool}`"),
        None if !rustix::process::geteuid().is_root() => "it needs root".to_owned(),
        None => return true,
    };
    let required = std::env::var_os("CTPULSE_TEST_ROOT").is_some();
    assert!(!required, "{test} must run here, but {reason}");
    not_run_here(test, &format!("{reason}; `cargo xtask test` as root runs it"));
    false
}

/// Prints that a test did not run, to the terminal: the test harness hides the output of tests.
pub(crate) fn not_run_here(test: &str, reason: &str) {
    let line = format!("NOT RUN HERE: {test}: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// The user id of `nobody`.
pub(crate) const NOBODY: u32 = 65534;

/// The binary as an ordinary user, who may not be able to reach where it was built.
pub(crate) struct Nobody {
    directory: tempfile::TempDir,
}

impl Nobody {
    /// Copies it.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        // By another program: a descriptor of this one that can write to it would be inherited by
        // what other tests start, and nothing executes a file that is being written to.
        let mut copy = Command::new("install");
        copy.arg("-m755").arg(ctpulse().get_program()).arg(directory.path().join("ctpulse"));
        output(&mut copy);
        Self { directory }
    }

    /// The copy, to be run by that user.
    pub(crate) fn ctpulse(&self) -> Command {
        let mut command = Command::new(self.directory.path().join("ctpulse"));
        command.uid(NOBODY).gid(NOBODY).stdin(Stdio::null()).current_dir("/");
        with_default_signals(&mut command);
        command
    }
}
