//! Outputs that are refused, or that get other content than their names promise: what messages name.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::support::{self, NOBODY, Nobody, copy_of, ctpulse, fixture, output, roots, text};

/// The directory above the one of the file refused, and the latter was named.
#[test]
fn the_directory_that_cannot_be_entered_is_named() {
    let nobody = Nobody::new();
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let closed = dir.path().join("closed");
    fs::create_dir_all(closed.join("open")).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let id = NOBODY.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
    command.arg(nobody.ctpulse().get_program()).args(["--once", "--format", "influx", "--output"]);
    let refused = command.arg(closed.join("open/rows")).output().unwrap();
    let printed = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{printed}");
    assert!(printed.contains(&format!("{} cannot be entered", closed.display())), "{printed}");
}

#[test]
fn a_current_directory_that_was_removed_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for format in ["influx", "prometheus"] {
        let script = format!(
            "mkdir gone && cd gone && rmdir ../gone && exec \"$0\" --once --format {format} --output rows"
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).arg(support::binary()).current_dir(dir.path());
        let printed = text(&shell.output().unwrap().stderr);
        assert!(printed.contains("the current directory was removed"), "{format}: {printed}");
    }
}

/// The help says that a name that ends in .zst is compressed.
#[test]
fn a_link_with_another_suffix_than_its_file_is_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    for (link, target, is_said) in
        [("a.zst", "a", true), ("b", "b.zst", true), ("c.zst", "d.zst", false), ("e", "f", false)]
    {
        std::os::unix::fs::symlink(target, dir.path().join(link)).unwrap();
        let mut command = ctpulse();
        command.args(["--once", "--format", "influx", "--output"]).arg(dir.path().join(link));
        let printed = text(&output(command.args(roots(&fixture("5.15")))).stderr);
        assert_eq!(
            printed.contains("only one of the two names ends in .zst"),
            is_said,
            "{printed}"
        );
    }
}

/// Another exporter's metrics were gone.
#[test]
fn a_textfile_of_another_exporter_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.prom");
    for content in
        ["# HELP node_x x\n# TYPE node_x gauge\nnode_x 1\n", "# TYPE node_x gauge\nnode_x 1\n"]
    {
        fs::write(&path, content).unwrap();
        let mut command = ctpulse();
        command.args(["--once", "--format", "prometheus", "--output"]).arg(&path);
        let refused = command.args(roots(&fixture("5.15"))).output().unwrap();
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains("would be replaced"), "{}", text(&refused.stderr));
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
}

/// `nf_conntrack_max` alone was hidden, and the count was said to be missing, too, or nothing was said.
#[test]
fn the_table_file_that_is_missing_is_named() {
    for (removed, expected) in [
        (&["nf_conntrack_max"][..], "no sysctl file has the table's limit"),
        (&["nf_conntrack_count"], "no sysctl file has the table's count ("),
        (&["nf_conntrack_count", "nf_conntrack_max"], "the table's count and limit"),
    ] {
        let root = copy_of("5.15");
        for file in removed {
            fs::remove_file(root.path().join("proc/sys/net/netfilter").join(file)).unwrap();
        }
        let mut command = ctpulse();
        command.args(["--once", "--format", "influx"]).args(roots(root.path()));
        let printed = text(&output(&mut command).stderr);
        assert!(printed.contains(expected), "{removed:?}: {printed}");
    }
}
