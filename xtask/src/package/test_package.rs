//! `cargo xtask test-package`: the life of the Debian package in a machine of its own.
//!
//! The package and an older one go into the system; `test_package.sh` installs, starts, upgrades,
//! removes and purges.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context;

use super::system::{self, MachineOptions, System};
use super::{debian_package, directory};
use crate::workspace::run_checked;

const SYSTEM: System = System { packages: "logrotate", test: include_str!("test_package.sh") };

/// A line that the older package's configuration has beside, so that dpkg has to choose.
const OLD_LINE: &str = "\n# A line of the old package.\n";

/// The options of `cargo xtask test-package`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A package to test, instead of building one
    #[arg(long, value_name = "FILE")]
    package: Option<PathBuf>,
    #[command(flatten)]
    machine: MachineOptions,
}

/// Builds the package and leads it through its life; fails when a step does.
///
/// # Errors
/// When the package or the machine cannot be made.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if let Some(reason) = system::obstacle()? {
        eprintln!("xtask: NOT RUN HERE: the life of the package: {reason}");
        return Ok(ExitCode::SUCCESS);
    }
    let package = options.package.clone().map_or_else(debian_package, Ok)?;
    let passed = SYSTEM.run(&options.machine, |home| {
        fs::copy(&package, home.join("new.deb")).context("cannot copy the package")?;
        older(&package, &home.join("old.deb"))
    });
    Ok(if passed? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The same package with a lower version and a line more in its configuration.
fn older(package: &Path, old: &Path) -> anyhow::Result<()> {
    let tree = directory().join("old");
    if tree.exists() {
        fs::remove_dir_all(&tree).context("cannot remove the last package's tree")?;
    }
    run_checked(Command::new("dpkg-deb").arg("-R").arg(package).arg(&tree))?;
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control).context("the package has no control file")?;
    let older = |line: &str| {
        let is_version = line.starts_with("Version: ");
        format!("{}\n", if is_version { "Version: 0.0.1-1" } else { line })
    };
    fs::write(&control, text.lines().map(older).collect::<String>())
        .context("cannot write the older control file")?;
    let configuration = tree.join("etc/ctpulse/ctpulse.conf");
    let text = fs::read_to_string(&configuration).context("the package has no configuration")?;
    fs::write(&configuration, text + OLD_LINE).context("cannot write the older configuration")?;
    run_checked(Command::new("dpkg-deb").args(["--root-owner-group", "-b"]).arg(&tree).arg(old))?;
    fs::remove_dir_all(&tree).context("cannot remove the package's tree")
}

#[cfg(test)]
mod tests {
    use crate::workspace;

    #[test]
    fn the_documented_listing_has_every_step_in_its_order() {
        let page = std::fs::read_to_string(workspace::root().join("docs/install.md")).unwrap();
        let steps = super::SYSTEM.test.split("steps=(").nth(1).unwrap().split(')').next().unwrap();
        let steps: Vec<_> = steps.split_whitespace().collect();
        let mut blocks = page.split("```text\n").filter_map(|block| block.split("```").next());
        let documented = blocks.find(|block| block.starts_with(steps[0])).unwrap_or_default();
        assert_eq!(documented.split_whitespace().collect::<Vec<_>>(), steps);
    }

    #[test]
    fn the_documented_drop_in_is_tried() {
        let page = std::fs::read_to_string(workspace::root().join("docs/install.md")).unwrap();
        let drop_in = page.split("```ini\n").nth(1).unwrap().split("```").next().unwrap();
        assert!(super::SYSTEM.test.contains(&format!("<< 'END'\n{drop_in}END\n")), "{drop_in}");
    }
}
