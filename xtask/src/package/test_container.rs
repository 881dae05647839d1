//! `cargo xtask test-container`: the container image under podman, in a machine of its own.
//!
//! `test_container.sh` runs the command lines that docs/install.md gives.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::system::{self, MachineOptions, System};

/// crun runs containers, netavark is what podman asks for a network even where it needs none, procps
/// has sysctl.
const SYSTEM: System =
    System { packages: "podman,crun,netavark,procps", test: include_str!("test_container.sh") };

/// The options of `cargo xtask test-container`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// An image to test, instead of building one
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    #[command(flatten)]
    machine: MachineOptions,
}

/// Builds the image and runs it; fails when a step does.
///
/// # Errors
/// When the image or the machine cannot be made.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if let Some(reason) = system::obstacle()? {
        eprintln!("xtask: NOT RUN HERE: the image in a container: {reason}");
        return Ok(ExitCode::SUCCESS);
    }
    let image = options.image.clone().map_or_else(super::image, Ok)?;
    let passed = SYSTEM.run(&options.machine, |home| {
        fs::copy(&image, home.join("image.tar")).map(|_| ()).context("cannot copy the image")
    });
    Ok(if passed? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use crate::workspace;

    /// Lines of a shell that continue each other, as one.
    fn joined(text: &str) -> String {
        text.replace("\\\n", " ")
            .split(' ')
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn every_documented_command_line_is_run() {
        let pages = std::fs::read_to_string(workspace::root().join("docs/install.md")).unwrap();
        let run = "podman run --rm --network host --read-only --cap-drop ALL";
        let script = joined(super::SYSTEM.test);
        assert!(script.contains(&format!("run=\"{run}\"")));
        let script = script.replace("$run ", &format!("{run} "));
        let pages = joined(&pages);
        let documented = pages.lines().filter(|line| line.starts_with("podman run "));
        let options = documented.filter_map(|line| line.split(" localhost/ctpulse").next());
        let options: Vec<_> = options.collect();
        assert_eq!(options.len(), 3, "{options:?}");
        for options in options {
            assert!(script.contains(&format!("{options} \"$(cat image)\"")), "not run: {options}");
        }
    }
}
