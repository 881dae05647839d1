//! Runs the fuzzer's functions on the kept inputs and on the fixtures, so that a fixed crash stays
//! fixed.

#[allow(unreachable_pub, reason = "of the fuzzer it is a library")]
#[path = "../fuzz/targets.rs"]
mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use targets::{TARGETS, Target};

/// All inputs together, in bytes: they are in everybody's clone.
const MOST: usize = 500_000;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files of a directory, in their order.
fn files(directory: &Path) -> BTreeSet<PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn feed((name, target): Target, file: &Path) -> usize {
    let bytes = fs::read(file).unwrap();
    let fed = std::panic::catch_unwind(|| target(&bytes));
    assert!(fed.is_ok(), "{name}: {}", file.display());
    bytes.len()
}

#[test]
fn every_input_of_the_corpus_satisfies_its_target() {
    let mut bytes = 0;
    for target in TARGETS {
        let inputs = files(&repository().join("tests/fuzz/corpus").join(target.0));
        assert!(!inputs.is_empty(), "{} has no corpus", target.0);
        bytes += inputs.iter().map(|input| feed(target, input)).sum::<usize>();
    }
    assert!(bytes < MOST, "{bytes} bytes of inputs");
}

#[test]
fn every_fixture_satisfies_its_target() {
    let target = |name| *TARGETS.iter().find(|(known, _)| *known == name).unwrap();
    let mut fed = 0;
    for directory in files(&repository().join("fixtures")) {
        let known = [
            ("stat_text", "proc/net/stat/nf_conntrack"),
            ("cpu_mask", "sys/devices/system/cpu/possible"),
            ("sysctl", "proc/sys/net/netfilter/nf_conntrack_max"),
        ];
        for (name, path) in known.map(|(name, path)| (name, directory.join(path))) {
            if path.exists() {
                feed(target(name), &path);
                fed += 1;
            }
        }
    }
    assert!(fed > 30, "{fed} files of kernels");
    for recording in files(&repository().join("fixtures/recordings")) {
        feed(target("recording"), &recording);
    }
    feed(target("config"), &repository().join("conntrack-user/src/config/sample.toml"));
}

#[test]
fn every_target_has_a_fuzzer_and_a_corpus() {
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    for directory in ["fuzz_targets", "corpus"] {
        let files = files(&repository().join("tests/fuzz").join(directory));
        let stems = files.iter().map(|file| file.file_stem().unwrap().to_string_lossy());
        let found: BTreeSet<String> = stems.map(std::borrow::Cow::into_owned).collect();
        assert_eq!(found, names, "{directory}");
    }
}
