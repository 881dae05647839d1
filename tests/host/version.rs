//! The output of `--version`: the checkout's commit and the digest of the committed object, or
//! "unknown".

#[allow(dead_code, unreachable_pub, reason = "its `main` is cargo's")]
#[path = "../../conntrack-user/build.rs"]
mod build;

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{ctpulse, output, repository, text};

fn git(root: &Path, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.arg("-C").arg(root).args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(arguments);
    text(&output(&mut git).stdout).trim_end().to_owned()
}

/// Sources as the build looks at them, in no checkout.
fn sources() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for directory in ["conntrack-user/src", "conntrack-ebpf"] {
        fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    for file in ["Cargo.toml", "Cargo.lock", "README.md", "conntrack-user/src/main.rs"] {
        fs::write(root.path().join(file), "a").unwrap();
    }
    root
}

fn commit_all(root: &Path) -> String {
    git(root, &["init", "-q"]);
    git(root, &["add", "."]);
    git(root, &["commit", "-q", "-m", "a"]);
    git(root, &["rev-parse", "HEAD"])
}

#[test]
fn the_object_and_the_commit_are_the_checkouts() {
    let long = text(&output(ctpulse().arg("--version")).stdout);
    let lines: Vec<_> = long.lines().collect();
    let [first, commit, object, target] = lines[..] else { panic!("{long}") };
    assert_eq!(first, concat!("ctpulse ", env!("CARGO_PKG_VERSION")));
    assert!(target.starts_with("target       ") && target.contains("-linux-"), "{long}");

    let manifest = repository().join("conntrack-ebpf/object/manifest.toml");
    let manifest = fs::read_to_string(manifest).unwrap();
    let digest = object.strip_prefix("eBPF object  ").unwrap();
    assert_eq!(digest.len(), 12, "{long}");
    assert!(manifest.contains(&format!("= \"{digest}")), "{long}");

    let commit = commit.strip_prefix("commit       ").unwrap();
    let known = build::commit(&repository());
    assert_eq!(commit, known.as_deref().unwrap_or("unknown: built outside of a git checkout"));

    let short = text(&output(ctpulse().arg("-V")).stdout);
    assert_eq!(short.lines().count(), 1, "{short}");
    assert!(short.contains(digest), "{short}");
    assert!(known.is_none_or(|commit| short.contains(&commit[..12])), "{short}");
}

#[test]
fn an_archive_has_no_commit_even_inside_another_checkout() {
    let archive = sources();
    assert_eq!(build::commit(archive.path()), None);

    let outer = sources();
    let inner = outer.path().join("vendor/ctpulse");
    fs::create_dir_all(&inner).unwrap();
    commit_all(outer.path());
    assert_eq!(build::commit(&inner), None);
}

#[test]
fn changed_sources_make_the_commit_dirty() {
    let root = sources();
    let root = root.path();
    let commit = commit_all(root);
    let dirty = Some(format!("{commit}-dirty"));
    assert_eq!(build::commit(root), Some(commit.clone()));

    fs::write(root.join("README.md"), "b").unwrap();
    assert_eq!(build::commit(root), Some(commit.clone()), "the readme is not in the binary");
    fs::write(root.join("conntrack-user/src/new.rs"), "b").unwrap();
    assert_eq!(build::commit(root), dirty, "a new source");
    fs::remove_file(root.join("conntrack-user/src/new.rs")).unwrap();
    fs::write(root.join("Cargo.lock"), "b").unwrap();
    assert_eq!(build::commit(root), dirty, "other dependencies");
    git(root, &["add", "."]);
    assert_eq!(build::commit(root), dirty, "staged is not committed");
    fs::write(root.join("Cargo.lock"), "a").unwrap();
    git(root, &["add", "."]);
    assert_eq!(build::commit(root), Some(commit));
}
