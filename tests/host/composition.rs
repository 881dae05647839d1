//! `--composition` where no table can be read, and its values.

use crate::support::{ctpulse, fixture, output, roots, text};

#[test]
fn plain_files_have_no_entries_which_is_one_warning() {
    for format in ["influx", "json", "prometheus", "csv", "table"] {
        let rows = |arguments: &[&str]| {
            let mut command = ctpulse();
            command.args(["--count", "3", "--interval", "20ms", "--format", format]);
            let outcome = output(command.args(arguments).args(roots(&fixture("5.15"))));
            (text(&outcome.stdout), text(&outcome.stderr))
        };
        let (with, errors) = rows(&["--composition", "20ms"]);
        let (without, _) = rows(&[]);
        assert!(!with.contains("conntrack_entries_by_state") && !with.contains("expire_within"));
        assert_eq!(with.lines().count(), without.lines().count(), "{format}: {with}");
        let warning = "warning: no rows conntrack_entries: --proc-root has no entries\n";
        assert_eq!(errors.matches(warning).count(), 1, "{format}: {errors}");
        let of_table = "warning: the table has no rows conntrack_entries; write another --format\n";
        assert_eq!(errors.contains(of_table), format == "table", "{format}: {errors}");
    }
}

#[test]
fn a_wrong_value_is_an_error_with_its_place() {
    for (value, problem) in [("often", "often"), ("0s", "positive"), ("", "is not a duration")] {
        let refused = ctpulse().args(["--composition", value]).output().unwrap();
        let error = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{error}");
        assert!(error.contains("--composition") && error.contains(problem), "{error}");
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ctpulse.conf");
    let check = |value: &str| {
        std::fs::write(&file, format!("[[inputs.conntrack]]\n  composition = {value}\n")).unwrap();
        let outcome = ctpulse().args(["config", "--check"]).arg(&file).output().unwrap();
        (outcome.status.code(), text(&outcome.stdout) + &text(&outcome.stderr))
    };
    assert_eq!(check("\"10s\"").0, Some(0));
    for wrong in ["10", "\"often\""] {
        let (code, printed) = check(wrong);
        assert_eq!(code, Some(1), "{printed}");
        assert!(printed.contains("ctpulse.conf:2:17: 'composition' in"), "{printed}");
    }
}
