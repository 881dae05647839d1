//! The completion scripts, loaded into the shells themselves.
//!
//! bash and fish can be asked for candidates. zsh completes only what is typed, so it gets a
//! terminal.

use std::io::{Read, Write};
use std::num::NonZero;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::{Namespace, ctpulse, output, text};

/// Names of files with characters that mean something to a shell, each with another beginning.
const NAMES: [&str; 8] =
    ["a file", "do$lar", "q\"uote", "ti'ck", "co:lon", "eq=ual", "sta*r", "back\\slash"];

/// A directory with ctpulse, its script for a shell, and some files.
struct Place {
    dir: tempfile::TempDir,
    path: String,
}

impl Place {
    fn new(shell: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let binary = ctpulse();
        symlink(binary.get_program(), dir.path().join("ctpulse")).unwrap();
        let script = output(ctpulse().args(["completions", shell])).stdout;
        std::fs::write(dir.path().join("script"), script).unwrap();
        std::fs::write(dir.path().join("unique-recording.influx"), "").unwrap();
        std::fs::create_dir(dir.path().join("names")).unwrap();
        for name in NAMES {
            std::fs::write(dir.path().join("names").join(name), "").unwrap();
        }
        let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
        Self { dir, path }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("PATH", &self.path).current_dir(self.dir.path()).env_remove("COMPLETE");
        command
    }
}

/// Returns bash's completions of the last of these words.
fn bash(place: &Place, words: &[&str]) -> Vec<String> {
    const ASK: &str = "source ./script; COMP_LINE=\"$*\"; COMP_POINT=${#COMP_LINE}; \
                       _ctpulse ctpulse \"${!#}\" x; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut bash = place.command("bash");
    bash.args(["--norc", "-c", ASK, "bash"]).args(words);
    candidates(&text(&output(&mut bash).stdout))
}

/// Returns fish's completions of this line.
fn fish(place: &Place, words: &[&str]) -> Vec<String> {
    let mut fish = place.command("fish");
    fish.args(["--no-config", "-c", "source ./script; complete -C $argv[1]"]);
    candidates(&text(&output(fish.arg(words.join(" ")).env("HOME", place.dir.path())).stdout))
}

/// The candidates of lines that may have an explanation behind a tab.
fn candidates(lines: &str) -> Vec<String> {
    let words = lines.lines().filter_map(|line| line.split('\t').next());
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Checks what `offered` gives for each kind of value.
fn check(place: &Place, offered: fn(&Place, &[&str]) -> Vec<String>) {
    for (words, expected) in [
        (vec!["ctpulse", "doc"], vec!["doctor"]),
        (vec!["ctpulse", "run", "--sample-i"], vec!["--sample-interval"]),
        (vec!["ctpulse", "--collect", "p"], vec!["percpu"]),
        (vec!["ctpulse", "--collect", "all,"], vec!["all,percpu"]),
        (vec!["ctpulse", "drops", "--top", "cause,so"], vec!["cause,source"]),
        (vec!["ctpulse", "top", "--where", "unr"], vec!["unreplied"]),
        (vec!["ctpulse", "--ebpf", ""], vec!["auto", "on", "off"]),
        (vec!["ctpulse", "--user", "roo"], vec!["root"]),
        (vec!["ctpulse", "--netns", "se"], vec!["self"]),
        (vec!["ctpulse", "report", "unique"], vec!["unique-recording.influx"]),
        (vec!["ctpulse", "--config", "unique"], vec!["unique-recording.influx"]),
        (vec!["ctpulse", "live", "--replay", "unique"], vec!["unique-recording.influx"]),
        (vec!["ctpulse", "completions", "z"], vec!["zsh"]),
        (vec!["ctpulse", "--interval", "uni"], vec![]),
    ] {
        assert_eq!(offered(place, &words), expected, "{words:?}");
    }
}

/// Checks that a namespace's name is offered.
fn check_namespace(place: &Place, test: &str, offered: fn(&Place, &[&str]) -> Vec<String>) {
    if !crate::support::may_make_namespaces(test) {
        return;
    }
    let namespace = Namespace::new();
    let own = format!("pid:{}", std::process::id());
    assert!(offered(place, &["ctpulse", "--netns", &own]).contains(&own));
    let found = offered(place, &["ctpulse", "--netns", "ctpulse-"]);
    assert!(found.contains(&namespace.name), "{found:?}");
    let found = offered(place, &["ctpulse", "doctor", "--netns", "/run/netns/ctpulse-"]);
    assert!(found.contains(&format!("/run/netns/{}", namespace.name)), "{found:?}");
}

/// Returns whether the shell is installed. Prints `NOT RUN HERE` where it is not.
fn is_there(shell: &str, test: &str) -> bool {
    let found = ["/bin", "/usr/bin", "/usr/local/bin"].map(|dir| Path::new(dir).join(shell));
    if found.iter().any(|path| path.exists()) {
        return true;
    }
    let required = std::env::var_os("CTPULSE_TEST_ROOT").is_some();
    assert!(!required, "{test} must run here, but there is no `{shell}`");
    crate::support::not_run_here(
        test,
        &format!("there is no `{shell}`; `cargo xtask test` installs it"),
    );
    false
}

#[test]
fn bash_completes_each_kind_of_value() {
    if is_there("bash", "bash_completes_each_kind_of_value") {
        let place = Place::new("bash");
        check(&place, bash);
        let prompt = Prompt::bash(&place);
        for (line, completed) in [
            ("ctpulse doc", "ctpulse doctor "),
            ("ctpulse --output=uni", "--output=unique-recording.influx "),
            ("ctpulse --output=./uni", "--output=./unique-recording.influx "),
            ("ctpulse --collect=all,p", "--collect=all,percpu "),
            ("ctpulse --netns=se", "--netns=self "),
            ("ctpulse --netns pi", "--netns pid:"),
            ("ctpulse top --where prot", "--where protocol="),
            ("ctpulse --quiet --format='ta", "--format='table' "),
            ("true; ctpulse --count 1 --format js", "--format json "),
            ("ctpulse report nam", "report names/"),
        ] {
            prompt.completes(line, completed);
        }
        prompt.reads_each_name(&place);
        check_namespace(&place, "bash_completes_each_kind_of_value", bash);
    }
}

#[test]
fn fish_completes_each_kind_of_value() {
    if is_there("fish", "fish_completes_each_kind_of_value") {
        let place = Place::new("fish");
        check(&place, fish);
        check_namespace(&place, "fish_completes_each_kind_of_value", fish);
    }
}

fn cells(count: u16) -> NonZero<u16> {
    NonZero::new(count).unwrap()
}

/// An interactive shell at its prompt, with the script loaded.
struct Prompt {
    shell: &'static str,
    child: std::process::Child,
    pty: Arc<pty_process::blocking::Pty>,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Prompt {
    fn bash(place: &Place) -> Self {
        Self::start("bash", &["--norc", "-i"], place, "PS1='bash: '; source ./script")
    }

    fn zsh(place: &Place) -> Self {
        Self::zsh_with(place, "autoload -U compinit; compinit -u -D; source ./script")
    }

    /// zsh after the commands of `load`.
    fn zsh_with(place: &Place, load: &str) -> Self {
        Self::start("zsh", &["-f", "-i"], place, &format!("PROMPT='zsh: '; {load}"))
    }

    fn start(shell: &'static str, arguments: &[&str], place: &Place, load: &str) -> Self {
        let (pty, pts) = pty_process::blocking::open().unwrap();
        pty.resize(pty_process::Size::new(24, 160)).unwrap();
        let command = pty_process::blocking::Command::new(shell).args(arguments);
        let command = command.env("PATH", &place.path).env("TERM", "vt100");
        let command = command.env("HOME", place.dir.path()).current_dir(place.dir.path());
        let child = command.spawn(pts).unwrap();
        let (pty, screen) =
            (Arc::new(pty), Arc::new(Mutex::new(vt100::Parser::new(cells(24), cells(160), 0))));
        let (from, to) = (Arc::clone(&pty), Arc::clone(&screen));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = (&*from).read(&mut buffer) {
                to.lock().unwrap().process(&buffer[..length]);
            }
        });
        let prompt = Self { shell, child, pty, screen };
        prompt.write(&format!("{load}; "));
        prompt.clear();
        prompt
    }

    fn clear(&self) {
        self.write("clear; echo loaded\n");
        self.until(&format!("loaded\n{}:", self.shell));
    }

    /// Has each of `words` completed and the line executed, which reads the file `name`.
    fn reads(&self, words: &[&str], name: &str) {
        for word in words {
            self.clear();
            self.write(&format!("ctpulse report {word}\t\n"));
            self.until(&format!("ctpulse: error: {name} is empty"));
        }
    }

    /// Checks names with characters that mean something to the shell.
    fn reads_each_name(&self, place: &Place) {
        for name in NAMES {
            let start: String = name.chars().take_while(char::is_ascii_alphabetic).collect();
            let start = format!("names/{}", &start[..start.len().min(2)]);
            let quoted = [start.clone(), format!("\"{start}"), format!("'{start}")];
            let words = quoted.each_ref().map(String::as_str);
            // A quote of the same kind takes more than TAB.
            let words: Vec<_> = words.into_iter().filter(|w| !name.contains(&w[..1])).collect();
            self.reads(&words, &format!("names/{name}"));
        }
        self.reads(&["names/a\\ f", "names/a\" f", "\"names/a f"], "names/a file");
        self.reads(&["names/co:l"], "names/co:lon");
        self.reads(&["names/eq=u"], "names/eq=ual");
        let home = place.dir.path().join("unique-recording.influx").display().to_string();
        self.reads(&["~/uniq"], &home);
    }

    fn write(&self, text: &str) {
        (&*self.pty).write_all(text.as_bytes()).unwrap();
    }

    fn until(&self, wanted: &str) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(20) {
            if self.screen.lock().unwrap().screen().contents().contains(wanted) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{wanted:?} does not come: {}", self.screen.lock().unwrap().screen().contents());
    }

    /// Types `line`, has it completed to what contains `completed`, and takes it back.
    fn completes(&self, line: &str, completed: &str) {
        self.write(&format!("{line}\t"));
        self.until(completed);
        self.write("\x15");
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Public reports: installed as documented, the first TAB of each shell completed nothing.
#[test]
fn zsh_completes_at_the_first_attempt() {
    if !is_there("zsh", "zsh_completes_at_the_first_attempt") {
        return;
    }
    let place = Place::new("zsh");
    let functions = place.dir.path().join("functions");
    std::fs::create_dir(&functions).unwrap();
    std::fs::copy(place.dir.path().join("script"), functions.join("_ctpulse")).unwrap();
    let load = "fpath=($PWD/functions $fpath); autoload -U compinit; compinit -u -D";
    let zsh = Prompt::zsh_with(&place, load);
    zsh.completes("ctpulse doc", "ctpulse doctor");
}

#[test]
fn zsh_completes_each_kind_of_value() {
    const TEST: &str = "zsh_completes_each_kind_of_value";
    if !is_there("zsh", TEST) {
        return;
    }
    let place = Place::new("zsh");
    let zsh = Prompt::zsh(&place);
    for (line, completed) in [
        ("ctpulse doc", "ctpulse doctor"),
        ("ctpulse run --sample-i", "--sample-interval"),
        ("ctpulse --collect all,p", "--collect all,percpu"),
        ("ctpulse drops --top cause,so", "--top cause,source"),
        ("ctpulse --user roo", "--user root"),
        ("ctpulse --netns se", "--netns self"),
        ("ctpulse report uniq", "report unique-recording.influx"),
    ] {
        zsh.completes(line, completed);
    }
    zsh.reads_each_name(&place);
    if crate::support::may_make_namespaces(TEST) {
        let namespace = Namespace::new();
        let (start, _) = namespace.name.rsplit_once('-').unwrap();
        zsh.completes(&format!("ctpulse --netns {start}"), &format!("--netns {}", namespace.name));
    }
}
