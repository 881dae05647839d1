//! The configuration file: Telegraf's TOML, read into the [`Settings`] that everything runs on.
//!
//! A file that Telegraf accepts for `inputs.conntrack` means the same here (but for an unset
//! `precision`, see [`crate::settings::Input::rounding`]); what cannot mean the same is refused,
//! never guessed. Only our own tables are judged. The flow: `environment` fills in variables,
//! `document` finds the tables, `value` reads one of them into its struct in `tables`, `agent`,
//! `input` and `filters` interpret it, and `text` collects every problem at the user's own line
//! and column. Nothing here touches the kernel's files.

mod agent;
mod dialect;
mod document;
mod duration;
mod environment;
mod error;
mod execd;
mod files;
mod filters;
mod input;
#[cfg(test)]
mod input_tests;
mod quoting;
mod series;
mod syntax;
mod tables;
#[cfg(test)]
mod telegraf_tests;
mod text;
mod trust;
mod value;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

pub use agent::system_host;
pub use duration::{DurationError, duration_text, parse_duration};
pub(crate) use error::nearest;
pub use error::{ConfigError, Position, Problem};
pub use execd::{ExecdCommand, SUBCOMMANDS, Setting};

use crate::closed::{check_input, is_standard_input};
use crate::settings::{Roots, Settings};
use agent::Agent;
use environment::Environment;
use text::{ConfigText, Decoded};

/// A commented configuration with every key; but for `collect`, its uncommented lines are all
/// defaults.
pub const SAMPLE: &str = include_str!("sample.toml");

/// The longest configuration in bytes. A device or a disk image would take all memory.
const LONGEST: u64 = 1 << 20;

/// A configuration, and what its author should know.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings in the file; `roots` is left to the command line.
    pub settings: Settings,
    /// One line each: deprecated keys, ignored tables, unset variables. For the caller to log.
    pub warnings: Vec<String>,
    /// Every `[[inputs.execd]]` by which Telegraf would start ctpulse.
    pub execd: Vec<ExecdCommand>,
    /// The tables of Telegraf's other inputs that start ctpulse in a way that is not checked, such as a
    /// script with other commands in it.
    pub unjudged: Vec<String>,
}

/// Reads the configuration file at `path`, with this process's environment variables.
///
/// # Errors
/// [`ConfigError`] where the file cannot be read, may be changed by others than root while root
/// reads it, or is refused by [`parse`].
pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
    runnable(&path.display().to_string(), read(path)?)
}

/// Reads the configuration file at `path` as [`load`] does, to check it: it may be one by which
/// Telegraf starts ctpulse and have no input to run.
///
/// # Errors
/// As [`load`].
pub fn read(path: &Path) -> Result<Loaded, ConfigError> {
    let file = path.display().to_string();
    let unreadable = |reason| ConfigError::Unreadable { file: file.clone(), reason };
    check_input(path).map_err(unreadable)?;
    let mut open = open_at_once(path).map_err(unreadable)?;
    let metadata = open.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(unreadable(io::Error::other("it is a directory; name one file of it")));
    }
    // A socket has no mode; it is what the parent gave.
    if !metadata.file_type().is_socket() {
        trust::check(path, &metadata)?;
    }
    if metadata.file_type().is_fifo() {
        while !has_writer(&open, None).map_err(unreadable)? {}
    }
    let bytes = read_whole(&mut open).map_err(unreadable)?;
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        let message = "this file is UTF-16; save it as UTF-8".to_owned();
        let problem = Problem { position: Position { line: 1, column: 1 }, message };
        let problems = vec![problem];
        return Err(ConfigError::Invalid { file, problems, warnings: Vec::new() });
    }
    let text = String::from_utf8_lossy(&bytes);
    let decoded = Decoded { text: &text, has_replacements: matches!(text, Cow::Owned(_)) };
    let read = read_text(&file, &decoded, &|name| {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    });
    match read {
        // Each line of a program is a problem.
        Err(ConfigError::Invalid { problems, .. })
            if problems.len() > text::MOST_PROBLEMS && bytes.contains(&0) =>
        {
            Err(unreadable(io::Error::other("it is not a text file")))
        }
        read => read,
    }
}

/// Reads a configuration, which is not longer than [`LONGEST`].
///
/// # Errors
/// The system's, or that the file is longer.
pub(crate) fn read_whole(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(io::Error::other("it is longer than 1 MiB"));
    }
    Ok(bytes)
}

/// Opens a file for reading, also a FIFO that no process writes yet: open(2) would wait for one,
/// and would not let process 1 end. Standard input is taken as it is where it cannot be opened: a socket,
/// or a pipe of another user.
///
/// # Errors
/// The system's.
pub(crate) fn open_at_once(path: &Path) -> io::Result<File> {
    let opened =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = match opened {
        Err(error)
            if is_standard_input(path)
                && matches!(error.raw_os_error(), Some(libc::ENXIO | libc::EACCES)) =>
        {
            io::stdin().as_fd().try_clone_to_owned()?.into()
        }
        opened => opened?,
    };
    // Reading waits.
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}

/// Whether a process wrote to `fifo` or closed it since it was opened. Waits for that until a signal
/// comes, or for `patience`.
///
/// # Errors
/// The system's.
pub(crate) fn has_writer(fifo: &File, patience: Option<&Timespec>) -> io::Result<bool> {
    let mut waiting = [PollFd::new(fifo, PollFlags::IN)];
    match poll(&mut waiting, patience) {
        Err(Errno::INTR) => Ok(false),
        polled => Ok(polled? > 0),
    }
}

/// Reads a configuration from its text; `file_name` is for messages, `environment` looks a
/// variable up.
///
/// # Errors
/// [`ConfigError`] with all that is wrong: text that is not TOML, an unknown key, a value that is
/// not valid or not supported, a required variable that is not set; or no `[[inputs.conntrack]]`.
pub fn parse(
    file_name: &str,
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, ConfigError> {
    let decoded = Decoded { text, has_replacements: false };
    runnable(file_name, read_text(file_name, &decoded, environment)?)
}

/// Refuses a configuration without an input to run.
fn runnable(file_name: &str, loaded: Loaded) -> Result<Loaded, ConfigError> {
    let file = file_name.to_owned();
    let is_for_telegraf = !loaded.execd.is_empty() || !loaded.unjudged.is_empty();
    match (loaded.settings.inputs.is_empty(), !is_for_telegraf) {
        (false, _) => Ok(loaded),
        (true, false) => Err(ConfigError::ForTelegraf { file }),
        (true, true) => Err(ConfigError::NoInput { file }),
    }
}

fn read_text(
    file_name: &str,
    decoded: &Decoded<'_>,
    environment: Environment<'_>,
) -> Result<Loaded, ConfigError> {
    let text = ConfigText::new(file_name, decoded, environment);
    let document::Tables { global_tags, agent, inputs: tables, execd, unjudged, .. } =
        document::tables(&text);
    let agent = Agent::new(agent, &text);
    let inputs = tables.iter().flat_map(|table| input::inputs(table, &agent, &global_tags, &text));
    let mut inputs: Vec<_> = inputs.collect();
    let namespaces: HashSet<_> = inputs.iter().map(|input| input.netns.clone()).collect();
    for input in &mut inputs {
        input.netns_tag = namespaces.len() > 1;
    }
    series::check(&inputs, &text);
    let settings = Settings {
        inputs,
        global_tags,
        host: agent.host,
        roots: Roots::default(),
        listen: agent.listen,
        log_level: agent.log_level,
        confine: agent.confine,
        user: agent.user,
    };
    Ok(Loaded { settings, warnings: text.finish()?, execd, unjudged })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::tables::{AgentTable, ConntrackTable, Table};
    use super::*;

    fn environment(name: &str) -> Option<String> {
        (name == "INTERVAL").then(|| "5s".to_owned())
    }

    /// What the file `t.conf` with this text gives.
    pub(super) fn loaded(text: &str) -> Loaded {
        parse("t.conf", text, &environment).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    /// What is wrong with the file `t.conf` with this text.
    pub(super) fn error(text: &str) -> String {
        parse("t.conf", text, &environment).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_gets_its_place_and_the_nearest_name() {
        assert_eq!(
            error("# c\n[[inputs.conntrack]]\n  colect = ['all']"),
            "t.conf:3:3: unknown key 'colect' in [[inputs.conntrack]]; did you mean 'collect'?"
        );
        let far = error("[[inputs.conntrack]]\nservers = 1");
        assert!(far.starts_with("t.conf:2:1: unknown key 'servers'"), "{far}");
        assert!(far.ends_with("; the valid names are in ctpulse.conf(5)"), "{far}");
        assert_eq!(
            error("[input.conntrack]"),
            "t.conf:1:2: unknown table or key 'input'; did you mean 'inputs'?"
        );
        assert_eq!(
            error("x = 1\n[[inputs.conntrack]]"),
            "t.conf:1:1: unknown table or key 'x'; valid names: agent, aggregators, \
             global_tags, inputs, outputs, processors, secretstores"
        );
    }

    #[test]
    fn a_key_in_the_wrong_table_is_led_to_the_right_one() {
        for (text, expected) in [
            ("[[inputs.conntrack]]\nuser = 'x'", "[[inputs.conntrack]]; it belongs in [agent]"),
            ("[[inputs.conntrack]]\nround_interval = true", "it belongs in [agent]"),
            (
                "[agent]\ncollect = ['all']\n[[inputs.conntrack]]",
                "[agent]; it belongs in [[inputs.conntrack]]",
            ),
            ("[agent]\ninternal = true\n[[inputs.conntrack]]", "in [[inputs.conntrack]]"),
        ] {
            assert!(error(text).ends_with(expected), "{}", error(text));
        }
    }

    #[test]
    fn positions_are_those_of_the_users_text() {
        assert_eq!(
            error("[agent]\ninterval = '${INTERVAL}'; x = 1"),
            "t.conf:2:25: this is not valid TOML: unexpected key or value, expected newline, `#`"
        );
        let after = error("[agent]\nhostname = \"\u{fc}${INTERVAL}\"\ninterval = '${INTERVAL}x'\n");
        assert!(after.starts_with("t.conf:3:12: 'interval' in [agent]: '5sx'"), "{after}");
        let inline =
            error("inputs.conntrack = [{ alias = \"\u{fc}${INTERVAL}$INTERVAL\", x = 1 }]");
        assert!(inline.starts_with("t.conf:1:56: unknown key 'x'"), "{inline}");
        let missing = error("[agent]\n  interval = \"${NONE:?set NONE}\"\n");
        assert_eq!(
            missing,
            "t.conf:2:14: the environment variable 'NONE' is not set or empty: set NONE"
        );
        let mark = error("\u{feff}[agent]\nx = 1");
        assert!(mark.starts_with("t.conf:2:1: unknown key"), "{mark}");
        assert!(error("\u{feff}x = 1").starts_with("t.conf:1:1: "));
    }

    #[test]
    fn an_unset_variable_is_warned_of() {
        let warnings = loaded("[[inputs.conntrack]]\nalias = '$NONE'").warnings;
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].starts_with("t.conf:2:9: the environment variable 'NONE'"));
        assert_eq!(
            loaded("[[inputs.conntrack]]\nalias = 'a$$b'").settings.inputs[0].alias.as_deref(),
            Some("a$b")
        );
    }

    #[test]
    fn warnings_are_kept_beside_errors() {
        let text = "[agent]\ninterval = \"${UNSET}\"\n[[inputs.conntrack]]\n";
        let error = parse("t.conf", text, &environment).unwrap_err();
        assert_eq!(error.lines().len(), 1, "{error}");
        let warnings = error.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(
            warnings[0].contains("the environment variable 'UNSET' is not set"),
            "{warnings:?}"
        );
    }

    #[test]
    fn other_plugins_are_ignored_with_one_warning() {
        let loaded = loaded(
            "[[outputs.influxdb]]\nurls = ['x']\n[[outputs.file]]\n[[inputs.cpu]]\npercpu = true\n\
             [[processors.regex]]\n[inputs.conntrack]\n",
        );
        assert_eq!(loaded.settings.inputs.len(), 1);
        assert_eq!(
            loaded.warnings,
            ["t.conf: only inputs.conntrack is read here; ignored: inputs.cpu, outputs.file, \
              outputs.influxdb, processors.regex"]
        );
    }

    #[test]
    fn two_inputs_of_the_same_series_are_warned_of() {
        let table = "[[inputs.conntrack]]\n";
        let repeated = loaded(&format!("{table}interval = '1s'\n{table}netns = 'blue'\n{table}"));
        assert_eq!(
            repeated.warnings,
            [
                "t.conf: inputs 1 and 3 write the same series; give one of them a tag or a name_suffix"
            ]
        );
        for other in ["netns = 'blue'", "tags = { a = 'b' }", "name_suffix = '_fast'"] {
            assert!(loaded(&format!("{table}{table}{other}")).warnings.is_empty(), "{other}");
        }
    }

    #[test]
    fn a_file_without_input_is_an_error_with_the_missing_line() {
        for text in ["", "[agent]", "[[inputs.cpu]]", "[inputs]", "inputs.conntrack = []"] {
            assert!(error(text).starts_with("t.conf: no [[inputs.conntrack]] here"), "{text}");
        }
        assert_eq!(
            error("[[inputs.contrack]]"),
            "t.conf:1:10: unknown plugin 'contrack' in [inputs]; did you mean 'conntrack'?"
        );
        assert_eq!(
            error("[agent]\ndebug = true\ndebug = true"),
            "t.conf:3:1: this is not valid TOML: duplicate key 'debug'; keep one, or write \
             [[...]] around the name of a table that repeats"
        );
        assert!(error("inputs = 1").starts_with("t.conf:1:10: 'inputs' is a table"));
        assert!(error("inputs.conntrack = 1").contains("[[inputs.conntrack]] is a table"));
    }

    #[test]
    fn one_table_or_many() {
        assert_eq!(loaded("[inputs.conntrack]").settings.inputs.len(), 1);
        let two = loaded("[[inputs.conntrack]]\nalias = 'a'\n[[inputs.conntrack]]").settings;
        assert_eq!(two.inputs.len(), 2);
        assert_eq!(two.inputs[0].alias.as_deref(), Some("a"));
        assert_eq!(two.inputs[1].alias, None);
    }

    #[test]
    fn files_that_cannot_be_read() {
        let missing = load(Path::new("/does/not/exist.conf")).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read /does/not/exist.conf: "), "{missing}");
        assert!(missing.contains("No such file or directory"), "{missing}");
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"\xff\xfe[\0").unwrap();
        let error = load(file.path()).unwrap_err().to_string();
        assert!(error.contains(":1:1: this file is UTF-16; save it as UTF-8"), "{error}");
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"[[inputs.conntrack]]\n").unwrap();
        assert!(load(file.path()).is_ok());
        // Public reports: `--config /dev/zero` took all memory, and a program was 100 problems.
        let of_bytes = |bytes: &[u8]| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(bytes).unwrap();
            load(file.path()).map(|_| ()).unwrap_err().to_string()
        };
        let endless = load(Path::new("/dev/zero")).unwrap_err().to_string();
        let long = of_bytes("#\n".repeat((1 << 19) + 1).as_bytes());
        for error in [endless, long] {
            assert!(error.ends_with(": it is longer than 1 MiB"), "{error}");
        }
        let program = of_bytes(&b"\x7fELF\x02\0\0\n".repeat(300));
        assert!(program.ends_with(": it is not a text file"), "{program}");
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let text = "[agent]\ninterval = 'x'\nquiet = 3\n[global_tags]\na = 1\nb = 2\n\
                    [[inputs.conntrack]]\ncolect = 1\ncollect = ['al', 1, 'percpu', 'x']\n\
                    netns = ['pid:x', 'a', 'a']\nfieldinclude = ['a[', 'b', 'c[']\n\
                    [[inputs.conntrack]]\ndirs = 3\nalias = '${NONE:?set it}'\n";
        let lines: Vec<String> = error(text).lines().map(ToOwned::to_owned).collect();
        let places: Vec<&str> = lines
            .iter()
            .map(|line| line.strip_prefix("t.conf:").unwrap().split(": ").next().unwrap())
            .collect();
        assert_eq!(
            places,
            [
                "2:12", "3:9", "5:5", "6:5", "8:1", "9:12", "9:18", "9:31", "10:10", "10:24",
                "11:17", "11:28", "13:8", "14:9"
            ],
            "{lines:#?}"
        );
    }

    #[test]
    fn errors_of_syntax_do_not_hide_others() {
        let lines = error("[agent]\ninterval = \nquiet = 3\n[[inputs.conntrack]]\nx = 1\n");
        let lines: Vec<&str> = lines.lines().collect();
        assert!(lines[0].starts_with("t.conf:2:"), "{lines:?}");
        assert!(
            lines.iter().any(|line| line.starts_with("t.conf:5:1: unknown key 'x'")),
            "{lines:?}"
        );
    }

    /// The parser goes on in an array without an end, and makes up values for what it finds there.
    #[test]
    fn values_that_the_parser_made_up_are_not_judged() {
        let array = "the array is not closed; write ] at its end";
        for (text, expected) in [
            ("[[inputs.conntrack]]\ncollect=[\"all\"\nfiles=[\"x\"]\n", array),
            (
                "[[inputs.conntrack]]\ncollect=[\"all\",\nfiles=[\"x\"]\n[agent]\nquiet = true",
                array,
            ),
            ("[[inputs.conntrack]]\ncollect=[[\"all\"", array),
            (
                "[[inputs.conntrack]]\ntags   ={a = 'b'\ncollect = ['all']\n",
                "the inline table is not closed; write } at its end",
            ),
        ] {
            assert_eq!(
                error(text),
                format!("t.conf:2:9: this is not valid TOML: {expected}"),
                "{text}"
            );
        }
        let error_of = |interval: &str| error(&format!("[agent]\ninterval = {interval}\n"));
        let number = "t.conf:2:15: this is not valid TOML: invalid fraction, expected digits";
        assert_eq!(error_of("10."), number);
        let unquoted = "t.conf:2:12: this is not valid TOML: string values must be quoted, \
                        expected literal string; write \"10s\"";
        assert_eq!(error_of("10s"), unquoted);
        assert_eq!(error_of("\u{201c}10s\u{201d}"), format!("{unquoted}, with straight quotes"));
        // The plugin of another one hides what is behind it.
        assert_eq!(
            error("[[inputs.cpu]]\n  tags = [ 'a'\n[[inputs.conntrack]]\n"),
            format!("t.conf:2:10: this is not valid TOML: {array}")
        );
    }

    #[test]
    fn what_is_not_seen_in_a_line_is_named() {
        for (line, code) in [
            ("\u{a0} interval = '1s'", "00A0"),
            ("interval = \u{200b}'1s'", "200B"),
            ("\u{c}", "000C"),
            ("\0\0\0", "0000"),
        ] {
            let found = error(&format!("[[inputs.conntrack]]\n{line}\n"));
            let advice = format!("the character U+{code}, which editors do not show: remove it");
            assert!(found.contains(&advice), "{line:?}: {found}");
        }
        let comment = error("[[inputs.conntrack]]\ninterval 5 # caf\u{a0}e\n");
        assert!(!comment.contains("00A0"), "{comment}");
        let environment = |name: &str| (name == "EMPTY").then(String::new);
        let text = "[agent]\ninterval = ${EMPTY}\n[[inputs.conntrack]]";
        let found = parse("t.conf", text, &environment).map(|_| ()).unwrap_err().to_string();
        let advice = "a variable of this line is empty: set it, or write a value";
        assert!(found.starts_with("t.conf:2:") && found.ends_with(advice), "{found}");
    }

    #[test]
    fn a_string_without_an_end_is_reported_where_it_begins() {
        for quotes in ["\"\"\"", "'''"] {
            assert_eq!(
                error(&format!("[[inputs.conntrack]]\nalias = {quotes}a\ncollect = ['x']\n\n")),
                format!(
                    "t.conf:2:9: this is not valid TOML: the string is not closed; write {quotes} \
                     at its end"
                )
            );
        }
    }

    #[test]
    fn the_number_of_problems_is_limited() {
        let text: String = (0..300).map(|n| format!("k{n} = 1\n")).collect();
        let lines = error(&format!("[[inputs.conntrack]]\n{text}"));
        assert_eq!(lines.lines().count(), 101);
        assert!(lines.ends_with(": and 200 more problems"), "{lines}");
        // Wrong types are found one after the other; that, too, ends.
        let text: String = (0..5_000).map(|n| format!("k{n} = 1\n")).collect();
        let lines = error(&format!("[global_tags]\n{text}[[inputs.conntrack]]"));
        assert_eq!(lines.lines().count(), 100);
    }

    #[test]
    fn the_sample_is_the_defaults_and_statistics() {
        let sample = loaded(SAMPLE);
        let empty = loaded("[[inputs.conntrack]]\ncollect = ['all', 'percpu']");
        assert_eq!(format!("{:?}", sample.settings), format!("{:?}", empty.settings));
        assert!(sample.warnings.is_empty(), "{:?}", sample.warnings);
    }

    #[test]
    fn the_sample_has_every_key() {
        let keys = AgentTable::keys().into_iter().chain(ConntrackTable::keys());
        let unused = AgentTable::UNUSED.iter().chain(ConntrackTable::UNUSED);
        for key in keys.chain(unused.map(|key| (*key).to_owned())) {
            let word = |c: char| !c.is_alphanumeric() && c != '_';
            assert!(SAMPLE.split(word).any(|found| found == key), "'{key}' is not in sample.toml");
        }
    }

    #[test]
    fn each_commented_key_of_the_sample_is_valid() {
        // Prose starts with "##", a key that could be set with "# ".
        let uncommented: Vec<&str> =
            SAMPLE.lines().map(|line| line.trim_start().trim_start_matches("# ")).collect();
        let loaded = loaded(&uncommented.join("\n"));
        assert!(loaded.settings.inputs[0].collect.percpu);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*|[\\[\\]{}=.,'\"\\\\#$ \na-c0-9-]{0,80}") {
            let _ = parse("t.conf", &text, &environment);
        }

        #[test]
        fn any_values_are_read_or_refused(
            lines in proptest::collection::vec(
                (
                    proptest::sample::select(
                        ConntrackTable::keys().into_iter().chain(AgentTable::keys())
                            .collect::<Vec<_>>()
                    ),
                    "[0-9]{1,20}|-?[0-9]\\.[0-9]e[0-9]{1,3}|'[^'\n]{0,9}'|\\['[^'\n]{0,9}'\\]|\
                     \\{ a = ['[^'\n]{0,5}'] \\}|true|1979-05-27|nan|-inf"
                ),
                0..6,
            ),
            table in "\\[\\[inputs\\.conntrack\\]\\]|\\[agent\\]|\\[global_tags\\]",
        ) {
            let lines: Vec<String> =
                lines.iter().map(|(key, value)| format!("{key} = {value}")).collect();
            let text = format!("{table}\n{}\n[[inputs.conntrack]]", lines.join("\n"));
            let _ = parse("t.conf", &text, &environment);
        }
    }
}
