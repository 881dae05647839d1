//! The page of `ctpulse report --html`: what is in it, and how a browser takes it.
//!
//! The browser is Debian's `chromium`, if it is there: 200 MB are too much to install for one
//! test.

use std::path::Path;
use std::process::Command;

use crate::support::{binary, ctpulse, not_run_here, output, repository, text};

/// The page of recordings among the fixtures.
fn page(recordings: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("page.html");
    let mut command = ctpulse();
    command.current_dir(repository().join("fixtures/recordings"));
    output(command.arg("report").args(recordings).arg("--html").arg(&path));
    std::fs::read_to_string(&path).unwrap()
}

#[test]
fn the_page_needs_no_other_file() {
    let page = page(&["namespaces.influx"]);
    for part in [
        "<h2>conntrack host=gw netns=calm</h2>",
        "<h2>conntrack host=gw netns=lan</h2>",
        "<figcaption>Fill of the table, percent</figcaption>",
        "<figcaption>Lost and refused, per second</figcaption>",
        "<figcaption>Packets lost on each CPU</figcaption>",
        "07:10:06.000: burst of drop, 900 per second at its peak",
        "a race between two first packets",
        "<dt>emissions missing</dt><dd>3</dd>",
        "prefers-color-scheme:dark",
        "@media print",
    ] {
        assert!(page.contains(part), "{part}");
    }
    // Each drawing has a description and a table.
    let drawings = page.matches("<svg").count();
    assert!(drawings >= 6);
    assert_eq!(page.matches("<svg role=\"img\" aria-label=\"").count(), drawings);
    assert_eq!(page.matches("<summary>Numbers").count(), drawings);
    // No scripts, and no address but the name of SVG.
    assert!(!page.contains("<script") && !page.contains("src=") && !page.contains("url("));
    let addresses = page.matches("://").count();
    assert_eq!(addresses, page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count());
    let loads = page.matches("href=").count();
    assert_eq!(loads, page.matches("href=\"data:,\"").count());
}

/// The target was opened for reading first, which waited for ever.
#[test]
fn a_page_can_go_to_a_stream() {
    const PAGE: &str = "<!DOCTYPE html>";
    let directory = tempfile::tempdir().unwrap();
    let recording = repository().join("fixtures/recordings/burst.influx");
    output(Command::new("mkfifo").arg(directory.path().join("fifo")));
    let report = "\"$0\" report \"$1\" --html";
    for (script, has_text) in [
        (format!("cat fifo & {report} fifo >/dev/null; wait"), false),
        (format!("exec 3>&1; {report} >(cat >&3) >text; cat text"), true),
        (format!("{report} -"), false),
        (format!("{report} - | head -c 15 && test ${{PIPESTATUS[0]}} = 0"), false),
        (format!("{report} /dev/stdout | cat"), true),
    ] {
        let mut shell = Command::new("timeout");
        shell.args(["30", "bash", "-c", &script]).arg(binary()).arg(&recording);
        let printed = text(&output(shell.current_dir(&directory)).stdout);
        assert!(printed.contains(PAGE), "{script}\n{printed}");
        let reported = printed.contains("\ninterval    10 s; 60 emissions");
        assert_eq!(reported, has_text, "{script}\n{printed}");
    }
    assert!(!directory.path().join("-").exists());
}

#[test]
fn a_burst_is_drawn_as_high_as_it_was() {
    let page = page(&["burst.influx"]);
    assert!(page.contains("07:12:10: burst of drop, 10,000 per second at its peak"));
    // 100 drops in 10 ms, in a tooltip of the stretch of time that has it.
    assert!(page.contains("drop 20 to 10,000"), "no tooltip has the peak");
}

#[test]
fn two_recordings_are_one_page() {
    let page = page(&["mixed.influx", "burst.influx"]);
    for part in ["<h2>Before</h2>", "<h2>After</h2>", "<td>insert</td>", "\u{d7}</td>"] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn names_from_a_recording_are_text() {
    let dir = tempfile::tempdir().unwrap();
    let (recording, out) = (dir.path().join("<b>x"), dir.path().join("out.html"));
    let mut rows = String::new();
    for second in 1..5 {
        rows += &format!(
            "conntrack,cpu=all,host=<script>alert(1)</script>,q=\"'&\u{202e} \
             drop={second}i,<img/src\\=x>={second}i,entries={second}i,ip_conntrack_max=5 \
             179559060{second}\n"
        );
    }
    std::fs::write(&recording, rows + "<svg onload=alert(2)>\n").unwrap();
    let mut command = ctpulse();
    output(command.arg("report").arg(&recording).arg("--html").arg(&out));
    let page = std::fs::read_to_string(&out).unwrap();
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(page.contains("&lt;b&gt;x") && page.contains("&lt;img/src=x&gt;"));
    for raw in ["<script", "<img", "<b>", "<svg onload", "\u{202e}", "\"'&"] {
        assert!(!page.contains(raw), "{raw}");
    }
}

/// Opens a page in a browser. Returns the document after scripts have run, and the log.
fn browse(path: &Path, dark: bool) -> (String, String) {
    let profile = tempfile::tempdir().unwrap();
    let mut chromium = Command::new("timeout");
    // 0 is dark, 1 is light (blink's PreferredColorScheme).
    let scheme = format!("--blink-settings=preferredColorScheme={}", u8::from(!dark));
    chromium.args(["60", "chromium", "--headless", "--no-sandbox", "--disable-gpu"]);
    chromium.args(["--disable-dev-shm-usage", "--enable-logging=stderr", "--dump-dom", &scheme]);
    chromium.arg(format!("--user-data-dir={}", profile.path().display()));
    let found = chromium.arg(format!("file://{}", path.display())).output().unwrap();
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    (text(&found.stdout), String::from_utf8_lossy(&found.stderr).into_owned())
}

#[test]
fn a_browser_takes_the_page_without_errors_or_requests_in_both_schemes() {
    let name = "a_browser_takes_the_page_without_errors_or_requests_in_both_schemes";
    let is_there = |dir: &Path| dir.join("chromium").is_file();
    if !std::env::split_paths(&std::env::var_os("PATH").unwrap()).any(|dir| is_there(&dir)) {
        not_run_here(name, "there is no `chromium`; sudo apt-get install chromium brings it");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("page.html");
    let page = page(&["namespaces.influx"]);
    std::fs::write(&path, &page).unwrap();
    let (document, log) = browse(&path, false);
    assert!(document.contains("<figcaption>Fill of the table, percent</figcaption>"));
    assert!(!log.contains("CONSOLE"), "{log}");

    // The page forbids scripts, so a copy with a script reports the computed style.
    let policy = page.find("<meta http-equiv").unwrap();
    let end = policy + page[policy..].find('>').unwrap() + 1;
    let script = "<script>\
        const colour = (at, of) => getComputedStyle(document.querySelector(at))[of];\
        document.title = [colour('body', 'backgroundColor'), colour('svg text', 'fill'),\
            performance.getEntriesByType('resource').length,\
            document.documentElement.scrollWidth <= innerWidth].join('|');</script></body>";
    let copy = [&page[..policy], &page[end..]].concat().replace("</body>", script);
    std::fs::write(&path, copy).unwrap();
    for (dark, expected) in [
        (false, "rgb(255, 255, 255)|rgb(36, 43, 51)|0|true"),
        (true, "rgb(22, 27, 33)|rgb(227, 231, 235)|0|true"),
    ] {
        let (document, log) = browse(&path, dark);
        assert!(
            document.contains(&format!("<title>{expected}</title>")),
            "{dark}: {document:.900}"
        );
        assert!(!log.contains("CONSOLE"), "{log}");
    }
}
