//! The container image: the static binary and its licences, and nothing else.
//!
//! buildah makes it of a tarball's tree by packaging/container/Containerfile, in a store of its own.
//! The image is an archive that `podman load` and `docker load` read.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::directory;
use crate::tools;
use crate::workspace::{self, run_checked, shown};

/// The name of the image after it was loaded.
const NAME: &str = concat!("localhost/ctpulse:", env!("CARGO_PKG_VERSION"));

/// Builds the image of a tarball of `archive`; its path.
///
/// # Errors
/// When buildah cannot be had or fails.
pub(super) fn image(tarball: &Path) -> anyhow::Result<PathBuf> {
    if let Some(reason) = tools::provide_packages(&["buildah"], "it builds the container image")? {
        bail!("the container image cannot be built here: {reason}");
    }
    let place = directory().join("container");
    if place.exists() {
        fs::remove_dir_all(&place).context("cannot remove the last image's tree")?;
    }
    let tree = place.join("tree");
    fs::create_dir_all(&tree).with_context(|| format!("cannot make {}", tree.display()))?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--strip-components", "1", "--file"]).arg(tarball);
    run_checked(tar.arg("--directory").arg(&tree))?;

    let containerfile = workspace::root().join("packaging/container/Containerfile");
    let mut build = buildah(&place);
    // No RUN and no base image: nothing is executed, nothing is fetched.
    build.args(["build", "--isolation", "chroot", "--timestamp", "0", "--tag", NAME, "--file"]);
    build.arg(&containerfile).arg(&tree);
    eprintln!("xtask: {}", shown(&build));
    run_checked(&mut build)?;

    let archive = directory().join(format!("ctpulse-{}-image.tar", env!("CARGO_PKG_VERSION")));
    let _ = fs::remove_file(&archive);
    let mut push = buildah(&place);
    push.args(["push", "--quiet", NAME]);
    push.arg(format!("docker-archive:{}:{NAME}", archive.display()));
    run_checked(&mut push)?;
    fs::remove_dir_all(&place).context("cannot remove the image's tree")?;
    Ok(archive)
}

/// buildah with its store below `place`.
fn buildah(place: &Path) -> Command {
    let mut buildah = Command::new("buildah");
    buildah.arg("--root").arg(place.join("store")).arg("--runroot").arg(place.join("run"));
    buildah.args(["--storage-driver", "vfs"]);
    buildah
}
