//! The textfile of `node_exporter`'s collector, where it cannot simply be replaced.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::{Command, Output};

use rustix::process::Signal;

use crate::output::{Writer, length, until};
use crate::support::{self, NOBODY, Nobody, ctpulse, fixture, roots, text};

fn is_exposition(text: &str) -> bool {
    text.matches("# TYPE conntrack_drop_total counter").count() == 1 && text.ends_with('\n')
}

/// The binary as process 1 of a container, in `directory`.
fn as_process_1(directory: &Path) -> Output {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc"]).arg(support::binary());
    command.args(["--once", "--format", "prometheus", "--output", "a.prom"]);
    command.args(roots(&fixture("5.15"))).current_dir(directory).output().unwrap()
}

/// A container that was killed between creating the new file and renaming it did not start again.
#[test]
fn a_file_left_by_a_killed_process_is_replaced() {
    if !support::may_make_namespaces("a_file_left_by_a_killed_process_is_replaced") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let left = dir.path().join("a.prom.1.new");
    let written = || {
        let found = as_process_1(dir.path());
        assert!(found.status.success(), "{}", text(&found.stderr));
        let path = dir.path().join("a.prom");
        assert!(is_exposition(&fs::read_to_string(&path).unwrap()));
        fs::remove_file(path).unwrap();
    };
    fs::write(&left, "half of it").unwrap();
    written();
    assert!(!left.exists());
    // A link is removed, not followed.
    let diary = dir.path().join("diary");
    fs::write(&diary, "dear diary\n").unwrap();
    symlink("diary", &left).unwrap();
    written();
    assert_eq!(fs::read_to_string(&diary).unwrap(), "dear diary\n");
    // A directory cannot be removed; the file that another container's process 1 writes is not.
    fs::create_dir(&left).unwrap();
    written();
    fs::remove_dir(&left).unwrap();
    let other = fs::File::create(&left).unwrap();
    rustix::fs::flock(&other, rustix::fs::FlockOperation::LockExclusive).unwrap();
    written();
    assert!(left.exists());
    drop(other);
    written();
    assert!(!left.exists());
}

/// A process that was killed left its file for ever, as the next one has another number.
#[test]
fn files_that_killed_processes_left_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut ended = Command::new("true").spawn().unwrap();
    let gone = ended.id();
    ended.wait().unwrap();
    let here = std::process::id();
    let path = |name: String| dir.path().join(name);
    let left = [path(format!("a.prom.{gone}.new")), path(format!("a.prom.{gone}.3.new"))];
    let locked = path(format!("a.prom.{gone}.4.new"));
    let kept = [
        locked.clone(),
        path(format!("a.prom.{here}.new")),
        path(format!("b.prom.{gone}.new")),
        path(format!("a.prom.{gone}.99.new")),
        path(format!("a.prom.{gone}.new.gz")),
        path("a.prom.x.new".into()),
        path("a.prom.new".into()),
        path("a.prom.+1.new".into()),
    ];
    for file in left.iter().chain(&kept) {
        fs::write(file, "half of it").unwrap();
    }
    let locked = fs::File::open(locked).unwrap();
    rustix::fs::flock(&locked, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let mut command = ctpulse();
    command.args(["--once", "--format", "prometheus", "--output", "a.prom"]);
    command.args(roots(&fixture("5.15"))).current_dir(dir.path());
    support::output(&mut command);
    assert!(is_exposition(&fs::read_to_string(dir.path().join("a.prom")).unwrap()));
    for file in left {
        assert!(!file.exists(), "{}", file.display());
    }
    for file in kept {
        assert!(file.exists(), "{}", file.display());
    }
}

/// Mounted by itself, and not root's: a confined root may not open it, and its owner may not make a
/// file beside it.
#[test]
fn a_mounted_textfile_of_another_user_is_written_in_place() {
    if !support::may_make_namespaces("a_mounted_textfile_of_another_user_is_written_in_place") {
        return;
    }
    let nobody = Nobody::new();
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(dir.path().join("m")).unwrap();
    fs::write(dir.path().join("m/t.prom"), "").unwrap();
    let source = dir.path().join("source");
    let binary = nobody.ctpulse().get_program().to_owned();
    let fixtures = dir.path().join("fixture");
    support::output(Command::new("cp").arg("-r").arg(fixture("5.15")).arg(&fixtures));
    let as_nobody = format!("setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups");
    for (prefix, options) in
        [("", &[][..]), ("", &["--user", "nobody"]), (&as_nobody, &[]), ("", &["--confine", "off"])]
    {
        fs::write(&source, crate::output::OLD_METRIC.repeat(10_000)).unwrap();
        chown(&source, Some(NOBODY), Some(NOBODY)).unwrap();
        let script = format!("mount --bind source m/t.prom && exec {prefix} \"$@\"");
        let mut shell = Command::new("unshare");
        shell.args(["--mount", "sh", "-c", &script, "sh"]).arg(&binary);
        shell.args(["--count", "3", "--interval", "20ms", "--format", "prometheus"]);
        shell.args(["--output", "m/t.prom"]).args(options).args(roots(&fixtures));
        support::output(shell.current_dir(dir.path()));
        let text = fs::read_to_string(&source).unwrap();
        assert!(
            is_exposition(&text) && !text.contains("conntrack_x"),
            "{prefix} {options:?}: {text}"
        );
        assert_eq!(fs::read_dir(dir.path().join("m")).unwrap().count(), 1);
    }
    // The same of a file that is not mounted, in a directory that takes no new ones.
    let own = dir.path().join("m/own.prom");
    fs::write(&own, "").unwrap();
    chown(&own, Some(NOBODY), Some(NOBODY)).unwrap();
    let mut command = nobody.ctpulse();
    command.args(["--once", "--format", "prometheus", "--output"]).arg(&own).args(roots(&fixtures));
    support::output(&mut command);
    assert!(is_exposition(&fs::read_to_string(&own).unwrap()));
    // And of one that it may not write, the directory is named.
    chown(&own, Some(0), Some(0)).unwrap();
    let refused = command.output().unwrap();
    let stderr = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("takes no new files: Permission denied"), "{stderr}");
}

/// A recording outlives its directory; so does a textfile.
#[test]
fn a_textfile_that_others_block_is_reported_and_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.prom");
    let writer = Writer::start(&path, &["--format", "prometheus"]);
    fs::remove_file(&path).unwrap();
    writer.until("the file is there again", || length(&path) > 0);
    // Until a directory takes its place between two batches.
    writer.until("a directory in its place", || {
        let _ = fs::remove_file(&path);
        fs::create_dir(&path).is_ok()
    });
    writer.until_logged("a.prom: it is a directory; rows are lost until it can be written again");
    fs::remove_dir(&path).unwrap();
    writer.until_logged("a.prom can be written again");
    writer.until("the file is there again", || length(&path) > 0);
    writer.running.signal(Signal::HUP);
    writer.until_logged("a.prom is replaced by each emission; it needs no reopening");
    writer.until_logged("there is no configuration to read again");
    writer.end();
    // At the start it is an error.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let mut command = ctpulse();
    command.args(["--format", "prometheus", "--output"]).arg(&path).args(roots(&fixture("5.15")));
    let refused = command.output().unwrap();
    assert!(text(&refused.stderr).contains("a.prom: it is a directory"));
    assert_eq!(refused.status.code(), Some(1));
}

/// Each replaced the rows of the other, and both ended with success.
#[test]
fn a_textfile_that_another_process_writes_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.prom");
    let writer = Writer::start(&path, &["--format", "prometheus"]);
    let mut second = ctpulse();
    second.args(["--once", "--format", "prometheus", "--output"]).arg(&path);
    let refused = second.args(roots(&fixture("5.15"))).output().unwrap();
    let printed = text(&refused.stderr);
    assert!(printed.contains("a.prom: it is written by another process"), "{printed}");
    assert_eq!(refused.status.code(), Some(1));
    // As it does not write what another has put in its place meanwhile; one that comes at the moment of
    // its own replacement is replaced.
    let other = dir.path().join("b.prom");
    let mut locked = Vec::new();
    until("the refusal", || {
        fs::write(&other, "").unwrap();
        let file = fs::File::open(&other).unwrap();
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
        fs::rename(&other, &path).unwrap();
        locked.push(file);
        writer.log.text().contains("a.prom: it is written by another process")
    });
    drop(locked);
    writer.until_logged("a.prom can be written again");
    writer.end();
    support::output(&mut second);
    assert!(is_exposition(&fs::read_to_string(&path).unwrap()));
}

/// The new file beside it has a longer name.
#[test]
fn a_textfile_may_have_the_longest_name_of_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x".repeat(250) + ".prom");
    let mut command = ctpulse();
    command.args(["--once", "--format", "prometheus", "--output"]).arg(&path);
    support::output(command.args(roots(&fixture("5.15"))));
    assert!(is_exposition(&fs::read_to_string(&path).unwrap()));
}
