//! The tarballs of the static binary, and the checksums of all packages.
//!
//! A tarball of the same files is the same to the byte: its names are sorted, its times and
//! owners fixed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::binary::c_library;
use super::{deb, directory, documents};
use crate::architecture::Architecture;
use crate::ebpf::manifest::digest;
use crate::workspace::{self, run_checked};

/// Where Debian has the text of the C library's licence.
const LGPL: &str = "/usr/share/common-licenses/LGPL-2.1";

/// Packs the binary with its manual pages, completions, documentation and licences; the tarball's path.
///
/// # Errors
/// When a file is missing or tar fails.
pub(super) fn tarball(architecture: Architecture, binary: &Path) -> anyhow::Result<PathBuf> {
    let name = format!("ctpulse-{}-{}-linux", env!("CARGO_PKG_VERSION"), architecture.name());
    let (root, place) = (workspace::root(), directory());
    let tree = place.join(&name);
    if tree.exists() {
        fs::remove_dir_all(&tree).context("cannot remove the last tree")?;
    }
    let generated = deb::generated()?;
    let copy = |from: &Path, to: &str| -> anyhow::Result<()> {
        let to = tree.join(to);
        fs::create_dir_all(to.parent().unwrap_or(&tree)).context("cannot make a directory")?;
        fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        Ok(())
    };
    copy(binary, "bin/ctpulse")?;
    for section in ["man1", "man5"] {
        let pages = fs::read_dir(generated.join("man").join(section));
        for page in pages.context("there are no manual pages")? {
            let page = page.context("there are no manual pages")?;
            copy(&page.path(), &format!("share/man/{section}/{}", page.file_name().display()))?;
        }
    }
    for (from, to) in [
        ("ctpulse.bash", "share/bash-completion/completions/ctpulse"),
        ("_ctpulse", "share/zsh/site-functions/_ctpulse"),
        ("ctpulse.fish", "share/fish/vendor_completions.d/ctpulse.fish"),
        ("third-party.txt", "third-party.txt"),
    ] {
        copy(&generated.join(from), to)?;
    }
    for (from, to) in [
        ("packaging/ctpulse.conf", "etc/ctpulse/ctpulse.conf"),
        ("packaging/systemd/ctpulse.service", "lib/systemd/system/ctpulse.service"),
        ("LICENSE-MIT", "LICENSE-MIT"),
        ("LICENSE-APACHE", "LICENSE-APACHE"),
    ] {
        copy(&root.join(from), to)?;
    }
    documents::copy(&tree)?;
    copy(Path::new(LGPL), "COPYING.LIB")
        .context("Debian's base-files has the licence of the C library")?;
    fs::write(tree.join("glibc.txt"), glibc(architecture)?).context("cannot write a licence")?;
    let packed = place.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"]);
    tar.args(["--use-compress-program", "gzip -n9", "--create", "--file"]).arg(&packed);
    run_checked(tar.arg("--directory").arg(&place).arg(&name))?;
    fs::remove_dir_all(&tree).context("cannot remove the tree")?;
    Ok(packed)
}

/// The notice about the C library in the binary, as its licence requires.
fn glibc(architecture: Architecture) -> anyhow::Result<String> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat", "${Version} ${source:Package} ${source:Version}"]);
    let package = c_library(architecture);
    let printed = run_checked(query.arg(package))
        .context("only Debian's C library is known by its version")?;
    let [version, name, of] = *printed.split(' ').collect::<Vec<_>>() else {
        bail!("unexpected output of dpkg-query: {printed:?}");
    };
    Ok(format!(
        "bin/ctpulse contains the GNU C Library of Debian's package {package} {version},\n\
         Copyright (C) 1991 and later, Free Software Foundation, Inc., under the GNU Lesser General\n\
         Public License, version 2.1 or later, whose text is COPYING.LIB. Its sources are\n\
         https://snapshot.debian.org/package/{name}/{of}/. With the sources of ctpulse\n\
         `cargo xtask package` links it with any other version that is installed.\n"
    ))
}

/// Writes `SHA256SUMS` for the packages and tarballs in `directory`, as `sha256sum -c` reads it.
///
/// # Errors
/// When a file cannot be read or written.
pub(super) fn checksums(directory: &Path) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(directory).context("there are no packages")? {
        let entry = entry.context("the packages cannot be read")?;
        let name = entry.file_name().display().to_string();
        if ![".deb", ".tar.gz", ".tar"].iter().any(|end| name.ends_with(end)) {
            continue;
        }
        let content = fs::read(entry.path()).with_context(|| format!("cannot read {name}"))?;
        lines.push(format!("{}  {name}\n", digest(&content)));
    }
    lines.sort_by(|a, b| a[64..].cmp(&b[64..]));
    fs::write(directory.join("SHA256SUMS"), lines.concat()).context("cannot write the checksums")
}
