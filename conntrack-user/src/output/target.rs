//! What `--output` names: whatever open(2) takes.
//!
//! `/dev/stdout`, `/dev/fd/N` and links to them name an open descriptor: standard output and
//! standard error are taken as they are, since a socket, such as the journal's, cannot be opened
//! again. Other links lead to the file that is written, also where that is not there yet.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::text::Output;
use crate::format::Format;
use crate::recording::{Content, RecordingFile, Rotation, is_compressed, refusal};

/// As many links as the kernel follows (`MAXSYMLINKS`).
const MOST_LINKS: usize = 40;

/// Where rows are to go.
#[derive(Debug)]
pub enum Target {
    /// An open descriptor, and what messages call it.
    Descriptor(String, File),
    /// A file, with no link in the way.
    Path(PathBuf),
}

impl Target {
    /// The target that `output` names; standard output for `-` or without one.
    ///
    /// # Errors
    /// A descriptor that is not open, or links that lead in a circle.
    pub fn resolve(output: Option<&Path>) -> anyhow::Result<Self> {
        let Some(output) = output.filter(|output| *output != Path::new("-")) else {
            return standard_output();
        };
        if output.as_os_str().is_empty() {
            bail!("--output is empty; write a file, or - for standard output");
        }
        let mut path = output.to_owned();
        for _ in 0..MOST_LINKS {
            if let Some(number) = descriptor_of(&path) {
                return descriptor(number, output);
            }
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or(Path::new(".")).to_owned();
            match std::fs::read_link(&path) {
                Ok(target) => path = parent.join(target),
                // The way to it may have links, too.
                Err(_) => match (parent.canonicalize(), path.file_name()) {
                    (Ok(parent), Some(name)) if parent.join(name) != path => {
                        path = parent.join(name);
                    }
                    _ => return Ok(Self::Path(path)),
                },
            }
        }
        bail!("{} leads in a circle of links", output.display())
    }

    /// Whether somebody looks at it.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Descriptor(_, file) if file.is_terminal())
    }

    /// Opens it for rows in `format`, to be replaced by each batch where that needs it; with it the
    /// header of a CSV file that goes on.
    ///
    /// # Errors
    /// What is wrong with the file or its directory.
    pub fn open(
        self,
        format: Format,
        rotation: Option<Rotation>,
    ) -> anyhow::Result<(Output, Option<String>)> {
        let path = match self {
            Self::Descriptor(name, _) if rotation.is_some() => {
                bail!("{name} cannot be rotated; name a file")
            }
            Self::Descriptor(name, file) => return Ok((Output::new(name, file), None)),
            Self::Path(path) => path,
        };
        let kind = std::fs::metadata(&path).map(|metadata| metadata.file_type());
        if kind.as_ref().is_ok_and(std::fs::FileType::is_dir) {
            bail!("cannot write to {}: it is a directory", path.display());
        }
        if kind.as_ref().map_or(true, std::fs::FileType::is_file) {
            return regular(path, format, rotation);
        }
        if rotation.is_some() || is_compressed(&path) {
            bail!("{} is no file that can be rotated or compressed", path.display());
        }
        let file = OpenOptions::new().append(true).open(&path).map_err(|error| {
            let is_socket = kind.as_ref().is_ok_and(std::fs::FileType::is_socket);
            if is_socket { io::Error::other("it is a socket") } else { refusal(&path, error) }
        });
        let file = file.with_context(|| format!("cannot write to {}", path.display()))?;
        Ok((Output::new(path.display().to_string(), file), None))
    }
}

/// A regular file, or one that will be.
fn regular(
    path: PathBuf,
    format: Format,
    rotation: Option<Rotation>,
) -> anyhow::Result<(Output, Option<String>)> {
    let name = path.display().to_string();
    if format == Format::Prometheus {
        let old = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            old => old.with_context(|| format!("cannot read {name}"))?,
        };
        if !old.is_empty() && !old.starts_with(b"# HELP ") {
            bail!("{name} is no Prometheus text, and would be replaced; use another file");
        }
        return Ok((Output::replacing(path), None));
    }
    let content = Content::of(format, &path);
    let (file, begun) = RecordingFile::append(path, content, rotation)?;
    if begun.cut > 0 {
        log::warn!("{name} ended within a record; its {} bytes are cut off", begun.cut);
    }
    Ok((Output::recording(name, file), begun.header))
}

fn standard_output() -> anyhow::Result<Target> {
    let duplicate = io::stdout().as_fd().try_clone_to_owned();
    let file = File::from(duplicate.context("cannot write to standard output")?);
    Ok(Target::Descriptor("standard output".to_owned(), file))
}

/// The number of the own descriptor that a path names.
fn descriptor_of(path: &Path) -> Option<u32> {
    let path = path.to_str()?;
    match path {
        "/dev/stdin" => return Some(0),
        "/dev/stdout" => return Some(1),
        "/dev/stderr" => return Some(2),
        _ => {}
    }
    let own = format!("/proc/{}/fd/", std::process::id());
    let directories = ["/dev/fd/", "/proc/self/fd/", "/proc/thread-self/fd/", own.as_str()];
    directories.iter().find_map(|directory| path.strip_prefix(directory)?.parse().ok())
}

fn descriptor(number: u32, output: &Path) -> anyhow::Result<Target> {
    let name = output.display().to_string();
    let file = match number {
        1 => return standard_output(),
        2 => io::stderr().as_fd().try_clone_to_owned().map(File::from),
        _ => OpenOptions::new().append(true).open(format!("/proc/self/fd/{number}")),
    };
    let file = file.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::other(format!("descriptor {number} is not open")),
        _ => error,
    });
    let file = file.with_context(|| format!("cannot write to {name}"))?;
    Ok(Target::Descriptor(name, file))
}
