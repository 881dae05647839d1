//! The command lines of the documentation, of the packaged files and of the help are valid, and the
//! documented output is that of the program.

use std::path::Path;

use clap::Parser as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use ctpulse::cli::{Cli, DROPS_EXAMPLES, EXAMPLES, REPORT_EXAMPLES, TOP_EXAMPLES};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use crate::support::{ctpulse, repository, text};

/// The text of a page that can be a command line.
enum Code {
    /// A code block, with its language.
    Block(String, String),
    /// Code within a sentence or a table.
    Inline(String),
}

/// The files in a directory below the repository whose names have this end.
fn files(directory: &str, end: &str) -> Vec<String> {
    let entries = std::fs::read_dir(repository().join(directory)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(end)).map(|name| format!("{directory}/{name}")).collect()
}

fn pages() -> Vec<String> {
    let mut pages = files("docs", ".md");
    pages.extend(["README.md", "CONTRIBUTING.md", "fixtures/README.md"].map(str::to_owned));
    pages
}

fn read(file: &str) -> String {
    std::fs::read_to_string(repository().join(file)).unwrap()
}

fn code_of(page: &str) -> Vec<Code> {
    let page = read(page);
    let mut code = Vec::new();
    let mut block = None;
    for event in Parser::new_ext(&page, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                block = Some((language.to_string(), String::new()));
            }
            Event::Text(text) => {
                if let Some((_, block)) = &mut block {
                    block.push_str(&text);
                }
            }
            Event::End(TagEnd::CodeBlock) => {
                code.extend(block.take().map(|(language, block)| Code::Block(language, block)));
            }
            Event::Code(text) => code.push(Code::Inline(text.to_string())),
            _ => {}
        }
    }
    code
}

/// The lines of a block that a shell runs; in a recorded session they have a prompt.
fn shell_lines(language: &str, block: &str) -> Vec<String> {
    let block = block.replace("\\\n", " ");
    let lines = block.lines().map(str::to_owned);
    match language {
        "sh" => lines.collect(),
        "console" => lines.filter_map(|line| prompted(&line).map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

fn prompted(line: &str) -> Option<&str> {
    ["# ", "$ "].iter().find_map(|prompt| line.strip_prefix(prompt))
}

fn is_program(word: &String) -> bool {
    word == "ctpulse" || word.ends_with("/ctpulse") || word.starts_with("localhost/ctpulse:")
}

/// The words of each call of `ctpulse` in a line of a shell, without redirections; `None` where its quotes
/// do not match.
fn calls(line: &str) -> Option<Vec<Vec<String>>> {
    let words = shlex::split(&line.replace(';', " ; "))?;
    let ends = ["|", "||", "&", "&&", ";", ">", ">>", "..."];
    let commands = words.split(|word| ends.contains(&word.as_str()));
    let call = |command: &[String]| {
        let program = command.iter().position(is_program)?;
        Some([&["ctpulse".to_owned()], &command[program + 1..]].concat())
    };
    Some(commands.filter_map(call).collect())
}

/// What is wrong with a command line.
fn fault(words: &[String]) -> Option<clap::Error> {
    let error = Cli::try_parse_from(words).err()?;
    let shows = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    (!shows).then_some(error)
}

/// The same within a sentence, which can name a command or an option without a value.
fn fault_in_sentence(words: &[String]) -> Option<clap::Error> {
    fault(words).filter(|error| match error.kind() {
        ErrorKind::MissingRequiredArgument => words.len() > 2,
        ErrorKind::InvalidValue => {
            let value = error.get(ContextKind::InvalidValue);
            !matches!(value, Some(ContextValue::String(value)) if value.is_empty())
        }
        _ => true,
    })
}

/// Checks the command lines in a file, each with the check that it has to pass.
#[derive(Default)]
struct Checked {
    valid: usize,
    faults: Vec<String>,
}

impl Checked {
    fn check(&mut self, file: &str, line: &str, fault: fn(&[String]) -> Option<clap::Error>) {
        let Some(calls) = calls(line) else {
            if line.contains("ctpulse ") {
                self.faults.push(format!("{file}: {line}\nits quotes do not match"));
            }
            return;
        };
        for words in calls {
            match fault(&words) {
                None => self.valid += 1,
                Some(error) => self.faults.push(format!("{file}: {line}\n{error}")),
            }
        }
    }

    /// Panics where a line is not valid, or where fewer were found than are known to be there.
    fn conclude(&self, at_least: usize) {
        assert!(self.faults.is_empty(), "{}", self.faults.join("\n"));
        assert!(self.valid >= at_least, "only {} command lines were found", self.valid);
    }
}

#[test]
fn every_documented_command_line_is_valid() {
    let mut checked = Checked::default();
    for page in pages() {
        for code in code_of(&page) {
            match code {
                Code::Block(language, block) => {
                    for line in shell_lines(&language, &block) {
                        checked.check(&page, &line, fault);
                    }
                }
                Code::Inline(text) if text.starts_with("ctpulse ") => {
                    checked.check(&page, &text, fault_in_sentence);
                }
                Code::Inline(_) => {}
            }
        }
    }
    checked.conclude(100);
}

#[test]
fn every_packaged_command_line_is_valid() {
    let mut checked = Checked::default();
    let mut packaged = files("packaging/systemd", "");
    packaged.extend(files("packaging/prometheus", ".yml"));
    packaged.push("packaging/ctpulse.conf".to_owned());
    for file in packaged {
        let text = read(&file);
        for line in text.lines() {
            let commented = line.trim_start_matches(['#', ' ']);
            if let Some(command) = line.strip_prefix("ExecStart=") {
                checked.check(&file, command, fault);
            } else if ["ctpulse report", "ctpulse doctor"]
                .iter()
                .any(|it| commented.starts_with(it))
            {
                checked.check(&file, commented, fault);
            }
        }
        for quoted in text.split('`').skip(1).step_by(2).filter(|it| it.starts_with("ctpulse ")) {
            checked.check(&file, quoted, fault_in_sentence);
        }
    }
    checked.conclude(20);
}

#[test]
fn every_example_of_the_help_is_valid() {
    let mut checked = Checked::default();
    for examples in [EXAMPLES, DROPS_EXAMPLES, REPORT_EXAMPLES, TOP_EXAMPLES] {
        for line in examples.lines() {
            // Two spaces begin the explanation.
            checked.check("help", line.split("  ").next().unwrap_or(line), fault);
        }
    }
    checked.conclude(30);
}

/// A directory in which the documented commands find their files.
fn directory_of_a_reader() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for name in ["fixtures", "packaging"] {
        let target = std::fs::canonicalize(repository().join(name)).unwrap();
        std::os::unix::fs::symlink(target, directory.path().join(name)).unwrap();
    }
    let broken = "[[inputs.conntrack]]\ninterval = \"10\"\ncolect = [\"all\"]\n";
    std::fs::write(directory.path().join("broken.conf"), broken).unwrap();
    directory
}

/// What the command prints in the directory, on both outputs, as in a terminal.
fn printed(words: &[String], directory: &Path) -> String {
    let output = ctpulse().args(&words[1..]).current_dir(directory).output().unwrap();
    text(&output.stdout) + &text(&output.stderr)
}

/// Those that need no privilege, no traffic and no certain kernel.
#[test]
fn the_documented_output_is_the_programs() {
    let directory = directory_of_a_reader();
    let mut seen = Vec::new();
    for page in pages() {
        for code in code_of(&page) {
            let Code::Block(language, block) = code else { continue };
            if language != "console" {
                continue;
            }
            // The configuration as the package installs it.
            let block = block.replace("/etc/ctpulse/", "packaging/");
            let mut lines = block.lines().peekable();
            while let Some(line) = lines.next() {
                let documented: String = std::iter::from_fn(|| {
                    lines.next_if(|line| prompted(line).is_none()).map(|line| format!("{line}\n"))
                })
                .collect();
                let Some(calls) = prompted(line).and_then(calls) else { continue };
                let Some(words) = calls.into_iter().next() else { continue };
                let repeatable = words.ends_with(&["fixtures/recordings/burst.influx".to_owned()])
                    || words.get(1).is_some_and(|word| word == "config");
                if repeatable {
                    assert_eq!(printed(&words, directory.path()), documented, "{page}: {line}");
                    seen.push(line.to_owned());
                }
            }
        }
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
}
