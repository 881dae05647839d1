//! The manual pages: which there are, what stands in them, and that groff sets them without a
//! warning.

use std::path::PathBuf;
use std::process::Command;

use crate::support::{ctpulse, output, text};

/// The pages, in a directory of their own.
fn pages() -> (tempfile::TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    output(ctpulse().args(["man", "--output"]).arg(dir.path()));
    let sections = ["man1", "man5"].map(|section| std::fs::read_dir(dir.path().join(section)));
    let pages = sections.into_iter().flat_map(Result::unwrap).map(|page| page.unwrap().path());
    let pages = pages.collect();
    (dir, pages)
}

#[test]
fn each_command_and_the_configuration_have_a_page() {
    let (dir, pages) = pages();
    let read = |page: &str| std::fs::read_to_string(dir.path().join(page)).unwrap();
    let help = text(&output(ctpulse().arg("--help")).stdout);
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let commands =
        commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let commands: Vec<&str> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.contains(&"doctor"), "{commands:?}");
    for command in commands.iter().filter(|command| **command != "help") {
        let page = read(&format!("man1/ctpulse-{command}.1"));
        assert!(
            page.contains(".SH \"EXIT STATUS\"") || page.contains(".SH EXIT STATUS"),
            "{command}"
        );
        assert!(page.contains("ctpulse.conf(5)"), "{command}");
        assert!(!page.contains(&format!("ctpulse\\-{command}(1)")), "{command} refers to itself");
    }
    assert_eq!(pages.len(), commands.len() + 1, "a page for ctpulse, none for help");
    let run = read("man1/ctpulse-run.1");
    for section in ["COLUMNS", "FIELDS", "EXAMPLES", "FILES", "ENVIRONMENT", "SEE ALSO"] {
        assert!(run.contains(&format!(".SH {section}\n")), "{section}");
    }
    for word in ["insrt fail", "clash_resolve", "ip_conntrack_max", "/etc/ctpulse/ctpulse.conf"] {
        assert!(run.contains(word), "{word}");
    }
    assert!(!run.contains("build_info"), "not a field of a row");
}

#[test]
fn the_page_of_the_configuration_has_every_key_of_the_sample() {
    let (dir, _) = pages();
    let page = std::fs::read_to_string(dir.path().join("man5/ctpulse.conf.5")).unwrap();
    let sample = text(&output(ctpulse().args(["config", "--print-default"])).stdout);
    let mut keys = 0;
    for line in sample.lines().map(|line| line.trim().trim_start_matches("# ")) {
        if line.starts_with("##") || !line.contains(" = ") {
            continue;
        }
        assert!(page.contains(&format!("\\fB{}\\fR\n", line.replace('-', "\\-"))), "{line}");
        keys += 1;
    }
    assert!(keys > 40, "{keys}");
    assert!(page.contains("Time between emitted rows"));
}

#[test]
fn groff_has_no_warning() {
    let groff = Command::new("groff").arg("--version").output();
    if groff.is_err() {
        crate::support::not_run_here("groff_has_no_warning", "there is no `groff`");
        return;
    }
    let (_dir, pages) = pages();
    for page in pages {
        let mut groff = Command::new("groff");
        groff.args(["-man", "-ww", "-z", "-Tutf8", "-Kutf8"]).arg(&page);
        let found = groff.output().unwrap();
        assert_eq!(text(&found.stderr), "", "{}", page.display());
    }
}
