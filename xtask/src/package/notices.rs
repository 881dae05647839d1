//! The crates in the binary with their licences and the texts of these.
//!
//! A permissive licence only requires that its text is passed on with the program. A crate under
//! another licence is an error here, before it is in a package. deny.toml lists the licences.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::workspace::{self, run_checked};

const HEAD: &str = "\
Crates that are part of ctpulse, with their licences; the texts follow.

The program also contains the Rust standard library (MIT or Apache-2.0) and zstd (BSD-3-Clause).
The static binaries also contain the GNU C library; glibc.txt beside them names its version.

";

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    manifest_path: PathBuf,
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    /// None for linked packages, otherwise `build` or `dev`.
    kind: Option<String>,
}

/// The list, with the texts.
///
/// # Errors
/// When a crate's licence is not permissive, or cargo does not know the crates.
pub(super) fn text() -> anyhow::Result<String> {
    let mut cargo = workspace::cargo();
    cargo.args(["metadata", "--locked", "--format-version", "1"]);
    // With what only the committed object is made of.
    cargo.args(["--features", "conntrack-ebpf/programs"]);
    cargo.args(["--filter-platform", "x86_64-unknown-linux-gnu"]);
    let metadata: Metadata = serde_json::from_str(&run_checked(&mut cargo)?)
        .context("the output of cargo metadata has an unknown form")?;

    let permissive = permissive()?;
    let mut list = String::from(HEAD);
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in linked(&metadata)? {
        let name = format!("{} {}", package.name, package.version);
        let license = package.license.as_deref().unwrap_or_default();
        if !is_permissive(license, &permissive) {
            bail!("{name} is under {license:?}, which deny.toml does not allow");
        }
        list.push_str(&format!("{name}: {license}\n"));
        for text in license_files(&package.manifest_path)? {
            texts.entry(text).or_default().insert(name.clone());
        }
    }
    for (text, names) in texts {
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        list.push_str(&format!("\n{}\n{names}\n\n{}\n", "-".repeat(80), text.trim_end()));
    }
    Ok(list)
}

/// The foreign packages that are linked into ctpulse, by name.
fn linked(metadata: &Metadata) -> anyhow::Result<Vec<&Package>> {
    let packages: HashMap<_, _> = metadata.packages.iter().map(|it| (&*it.id, it)).collect();
    let nodes: HashMap<_, _> = metadata.resolve.nodes.iter().map(|it| (&*it.id, it)).collect();
    let ours = metadata.packages.iter().find(|it| it.name == "ctpulse" && it.source.is_none());
    let mut found: BTreeSet<&str> = BTreeSet::new();
    let mut next = vec![&*ours.context("cargo metadata has no package ctpulse")?.id];
    while let Some(id) = next.pop() {
        if found.insert(id) {
            let node = nodes.get(id).context("cargo metadata lacks a package")?;
            let is_linked = |it: &&Dependency| it.dep_kinds.iter().any(|it| it.kind.is_none());
            next.extend(node.deps.iter().filter(is_linked).map(|it| &*it.pkg));
        }
    }
    let mut found: Vec<_> = found.into_iter().filter_map(|id| packages.get(id).copied()).collect();
    found.retain(|package| package.source.is_some());
    found.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok(found)
}

/// The licences that a crate may have, or offer among others: those that deny.toml allows.
fn permissive() -> anyhow::Result<Vec<String>> {
    let file = workspace::root().join("deny.toml");
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let rules: Rules = toml::from_str(&text).context("deny.toml is not valid")?;
    Ok(rules.licenses.allow)
}

#[derive(Deserialize)]
struct Rules {
    licenses: Licenses,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

/// Returns whether each part of an SPDX expression offers a permissive licence. Parentheses may not
/// be nested.
fn is_permissive(license: &str, permissive: &[String]) -> bool {
    let license = license.replace('/', " OR ");
    let plain = |part: &str| part.trim().trim_matches(['(', ')']).trim().to_owned();
    license
        .split(" AND ")
        .all(|part| part.split(" OR ").any(|choice| permissive.contains(&plain(choice))))
}

/// The texts of the licence files beside a manifest.
fn license_files(manifest: &Path) -> anyhow::Result<Vec<String>> {
    let directory = manifest.parent().unwrap_or(manifest);
    let mut texts = Vec::new();
    for entry in fs::read_dir(directory).context("the sources of a crate are missing")? {
        let path = entry.context("the sources of a crate cannot be read")?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        let is_license = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"]
            .iter()
            .any(|start| name.starts_with(start));
        if is_license && path.is_file() {
            let text = fs::read_to_string(&path);
            texts.push(text.with_context(|| format!("cannot read {}", path.display()))?);
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_to_offer_a_permissive_licence() {
        let permissive = permissive().unwrap();
        for good in ["MIT", "MIT OR GPL-2.0", "MIT/Apache-2.0", "(MIT OR X) AND Unicode-3.0"] {
            assert!(is_permissive(good, &permissive), "{good}");
        }
        for bad in ["", "GPL-2.0", "MIT AND GPL-2.0", "LGPL-2.1 OR MPL-2.0"] {
            assert!(!is_permissive(bad, &permissive), "{bad}");
        }
    }

    #[test]
    fn the_crates_of_this_workspace_are_permissive() {
        let text = text().unwrap();
        for part in ["aya 0.", "clap 4.", "aya-ebpf 0.", "aya-ebpf-bindings 0."] {
            assert!(text.contains(&format!("\n{part}")), "{part}: {text}");
        }
        assert!(!text.contains("\nproptest "), "what only tests use is not linked");
    }
}
