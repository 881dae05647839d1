//! Packages of any Debian suite, without a change to the system's sources.
//!
//! They may be of another architecture than the system's. apt gets a list of sources and directories of its own. The list has the repositories of the
//! system's sources, with another suite, so this file contains no address of a repository.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use super::tool;
use crate::architecture::Architecture;
use crate::workspace::run_checked;

/// The packages of a suite, as they were when this was made.
#[derive(Debug)]
pub(crate) struct Apt {
    directory: PathBuf,
    architecture: Architecture,
}

impl Apt {
    /// Reads what `suite` and its security updates have for an architecture, into `directory`.
    ///
    /// # Errors
    /// When apt-get is missing or fails, or the system has no sources.
    pub(crate) fn update(
        suite: &str,
        architecture: Architecture,
        directory: &Path,
    ) -> anyhow::Result<Self> {
        let apt = Self { directory: directory.to_owned(), architecture };
        for needed in ["lists/partial", "cache/archives/partial", "empty"] {
            let path = directory.join(needed);
            fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        let format = "$(REPO_URI) $(RELEASE) $(SIGNED_BY)";
        let targets = tool("apt-get")?
            .args(["indextargets", "--format", format, "Created-By: Packages"])
            .output();
        let targets = targets.context("kernels come by apt-get, which cannot be started")?;
        let sources = sources(&String::from_utf8_lossy(&targets.stdout), suite);
        if sources.is_empty() {
            bail!("this system has no apt sources to download kernels from");
        }
        fs::write(directory.join("sources.list"), sources).context("cannot write apt's sources")?;
        eprintln!("xtask: reading the packages of {suite} for {}", architecture.debian());
        run_checked(apt.command("apt-get")?.args(["-qq", "update"]).stderr(Stdio::inherit()))?;
        Ok(apt)
    }

    /// Where the system has its packages of releases from.
    ///
    /// # Errors
    /// When it has no sources.
    pub(crate) fn mirror() -> anyhow::Result<String> {
        let format = "$(SUITE) $(REPO_URI)";
        let mut targets = tool("apt-get")?;
        targets.args(["indextargets", "--format", format, "Created-By: Packages"]);
        let targets = run_checked(&mut targets)?;
        let plain = |line: &str| {
            let (suite, uri) = line.split_once(' ')?;
            (!suite.is_empty() && !suite.contains('-')).then(|| uri.to_owned())
        };
        targets.lines().find_map(plain).context("this system has no apt sources")
    }

    /// The names of packages that begin with `prefix`.
    ///
    /// # Errors
    /// When apt-cache fails.
    pub(crate) fn packages(&self, prefix: &str) -> anyhow::Result<Vec<String>> {
        let names = run_checked(self.command("apt-cache")?.args(["pkgnames", prefix]))?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// Downloads a package, which apt verifies; the path of its file.
    ///
    /// # Errors
    /// The package does not exist, or apt-get fails.
    pub(crate) fn download(&self, package: &str) -> anyhow::Result<PathBuf> {
        let place = self.directory.join("download");
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
        let mut command = self.command("apt-get")?;
        command.args(["-qq", "download", package]).current_dir(&place).stderr(Stdio::inherit());
        run_checked(&mut command)?;
        let file = fs::read_dir(&place).into_iter().flatten().flatten().next();
        Ok(file.with_context(|| format!("apt-get downloaded no {package}"))?.path())
    }

    /// Downloads packages with all that they depend on, and unpacks them below `root`.
    ///
    /// # Errors
    /// One of them does not exist, or apt-get fails.
    pub(crate) fn unpack(&self, packages: &[&str], root: &Path) -> anyhow::Result<()> {
        let mut command = self.command("apt-get")?;
        command.args(["-qq", "install", "--download-only", "--no-install-recommends", "-y"]);
        run_checked(command.args(packages).stderr(Stdio::inherit()))?;
        let archives = self.directory.join("cache/archives");
        let cannot = || format!("cannot read {}", archives.display());
        for entry in fs::read_dir(&archives).with_context(cannot)? {
            let file = entry.with_context(cannot)?.path();
            if file.extension().is_some_and(|extension| extension == "deb") {
                run_checked(tool("dpkg-deb")?.arg("-x").arg(&file).arg(root))?;
            }
        }
        Ok(())
    }

    /// An apt program with this list and these directories.
    fn command(&self, program: &str) -> anyhow::Result<Command> {
        let mut command = tool(program)?;
        for (option, path) in [
            ("Dir::Etc::sourcelist", "sources.list"),
            ("Dir::Etc::sourceparts", "empty"),
            ("Dir::State::Lists", "lists"),
            ("Dir::Cache", "cache"),
        ] {
            let path = self.directory.join(path);
            command.arg("-o").arg(format!("{option}={}", path.display()));
        }
        // Ignore the installed packages, skip translations, and do not download as the user _apt, who
        // may not write here.
        for option in
            ["Dir::State::status=/dev/null", "Acquire::Languages=none", "APT::Sandbox::User="]
        {
            command.args(["-o", option]);
        }
        for option in ["APT::Architecture", "APT::Architectures"] {
            command.arg("-o").arg(format!("{option}={}", self.architecture.debian()));
        }
        Ok(command)
    }
}

/// Lines of sources.list for `suite`, and for the security updates of its release, from lines
/// with the address, the suite and the key of the system's own.
fn sources(targets: &str, suite: &str) -> String {
    let release = suite.split('-').next().unwrap_or(suite);
    let mut lines = Vec::new();
    for target in targets.lines() {
        let mut words = target.split_whitespace();
        let (Some(uri), Some(theirs)) = (words.next(), words.next()) else { continue };
        let key = words.next().filter(|key| key.starts_with('/'));
        let key = key.map(|key| format!("[signed-by={key}] ")).unwrap_or_default();
        let mut add = |suite: &str| lines.push(format!("deb {key}{uri} {suite} main\n"));
        if theirs.ends_with("-security") {
            add(&format!("{release}-security"));
        } else if !theirs.contains('-') {
            add(release);
            if suite != release && !suite.ends_with("-security") {
                add(suite);
            }
        }
    }
    lines.sort();
    lines.dedup();
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_the_systems_with_another_suite() {
        let targets = "http://a/debian/ bookworm \n\
                       http://a/debian/ bookworm \n\
                       http://a/debian/ bookworm-updates \n\
                       http://b/security/ bookworm-security /usr/share/keyrings/b.gpg\n";
        let security = "deb [signed-by=/usr/share/keyrings/b.gpg] http://b/security/ ";
        assert_eq!(
            sources(targets, "bullseye"),
            format!("{security}bullseye-security main\ndeb http://a/debian/ bullseye main\n")
        );
        assert_eq!(
            sources(targets, "trixie-backports"),
            format!(
                "{security}trixie-security main\ndeb http://a/debian/ trixie main\n\
                 deb http://a/debian/ trixie-backports main\n"
            )
        );
        assert_eq!(sources("", "bullseye"), "");
    }
}
