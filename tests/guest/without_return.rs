//! Changes that a guest cannot undo. By its name, this module runs after all others.

use std::fs;

use crate::in_guest;
use crate::support::{ctpulse, text};

const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

#[test]
fn a_locked_down_kernel_is_distinguished_from_other_refusals() {
    in_guest();
    fs::write(LOCKDOWN, "confidentiality").unwrap();
    let on = ctpulse().args(["--ebpf", "on", "--count", "1"]).output().unwrap();
    let printed = text(&on.stderr);
    assert_eq!(on.status.code(), Some(1), "{printed}");
    let Some((error, details)) = printed.split_once('\n') else { panic!("{printed}") };
    assert!(
        error.contains("error: probes are off: this kernel is locked down; ebpf on"),
        "{printed}"
    );
    assert!(details.contains(LOCKDOWN), "{printed}");

    let auto = ctpulse().args(["--count", "1", "--format", "influx"]).output().unwrap();
    let printed = text(&auto.stderr);
    assert!(auto.status.success(), "{printed}");
    assert_eq!(printed.lines().count(), 1, "{printed}");
    assert!(printed.contains("this kernel is locked down"), "{printed}");
    assert!(text(&auto.stdout).contains("cpu=all"));

    let doctor = ctpulse().arg("doctor").output().unwrap();
    let printed = text(&doctor.stdout);
    assert!(printed.contains("none integrity [confidentiality]"), "{printed}");
}
