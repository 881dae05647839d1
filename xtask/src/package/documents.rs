//! The documentation that every package contains, laid out as in the repository.
//!
//! README.md and the pages in `docs` link to each other and to the files that they describe. A
//! package that keeps the layout keeps the links; [`broken_links`] proves it of the packaged tree.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use pulldown_cmark::{Event, Parser, Tag, TagEnd};

use crate::workspace;

/// Files and directories, from the repository's root.
const DOCUMENTS: [&str; 12] = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs",
    "fixtures/recordings",
    "packaging/container",
    "packaging/grafana",
    "packaging/kubernetes",
    "packaging/logrotate",
    "packaging/prometheus",
    "packaging/systemd",
    "packaging/telegraf",
];

/// Copies the documentation into the directory `to` and checks its links there.
///
/// # Errors
/// When a file cannot be copied, or a link of a page leads nowhere in `to`.
pub(super) fn copy(to: &Path) -> anyhow::Result<()> {
    for document in DOCUMENTS {
        copy_tree(&workspace::root().join(document), &to.join(document))?;
    }
    let broken = broken_links(to)?;
    if !broken.is_empty() {
        bail!("links that lead nowhere in the package:\n{}", broken.join("\n"));
    }
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    let cannot = || format!("cannot copy {}", from.display());
    if from.is_dir() {
        for entry in fs::read_dir(from).with_context(cannot)? {
            let name = entry.with_context(cannot)?.file_name();
            copy_tree(&from.join(&name), &to.join(&name))?;
        }
        return Ok(());
    }
    fs::create_dir_all(to.parent().unwrap_or(to)).with_context(cannot)?;
    fs::copy(from, to).map(|_| ()).with_context(cannot)
}

/// The links in the Markdown pages of `tree` to files or headings that are not in it, each as
/// `page: link`. Links to other hosts are not followed.
///
/// # Errors
/// When a page cannot be read.
pub(super) fn broken_links(tree: &Path) -> anyhow::Result<Vec<String>> {
    let mut broken = Vec::new();
    for page in pages(tree)? {
        let text = read(&page)?;
        for link in links(&text).filter(|link| !link.contains("://")) {
            if !resolves(&page, &link)? {
                let page = page.strip_prefix(tree).unwrap_or(&page);
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    Ok(broken)
}

/// The Markdown files below `directory`, sorted.
fn pages(directory: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut pages = BTreeSet::new();
    let entries = fs::read_dir(directory);
    for entry in entries.with_context(|| format!("cannot read {}", directory.display()))? {
        let path = entry.with_context(|| format!("cannot read {}", directory.display()))?.path();
        if path.is_dir() {
            pages.extend(self::pages(&path)?);
        } else if path.extension().is_some_and(|end| end == "md") {
            pages.insert(path);
        }
    }
    Ok(pages)
}

fn read(page: &Path) -> anyhow::Result<String> {
    fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))
}

/// The destinations of a page's links and pictures.
fn links(text: &str) -> impl Iterator<Item = String> {
    Parser::new(text).filter_map(|event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
            Some(dest_url.into_string())
        }
        _ => None,
    })
}

/// Returns whether the file of a link on `page` exists and has the heading in the link.
fn resolves(page: &Path, link: &str) -> anyhow::Result<bool> {
    let (file, heading) = link.split_once('#').map_or((link, None), |(f, h)| (f, Some(h)));
    let target = match file {
        "" => page.to_owned(),
        file => page.parent().unwrap_or(page).join(file),
    };
    let Some(heading) = heading else { return Ok(target.exists()) };
    Ok(target.is_file() && headings(&read(&target)?).contains(heading))
}

/// The anchors of a page's headings as code hosts make them: letters, digits, `-` and `_` in lower
/// case, a `-` for each space.
fn headings(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut heading: Option<String> = None;
    for event in Parser::new(text) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => anchors.extend(heading.take()),
            Event::Text(part) | Event::Code(part) => {
                if let Some(heading) = &mut heading {
                    heading.extend(part.to_lowercase().chars().filter_map(anchor));
                }
            }
            _ => {}
        }
    }
    anchors
}

fn anchor(character: char) -> Option<char> {
    match character {
        ' ' => Some('-'),
        kept if kept.is_alphanumeric() || "-_".contains(kept) => Some(kept),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packaged_link_resolves() {
        let tree = tempfile::tempdir().unwrap();
        copy(tree.path()).unwrap();
        assert!(pages(tree.path()).unwrap().len() > 8, "README.md, docs and more");
    }

    #[test]
    fn every_runbook_is_a_heading_of_a_packaged_page() {
        let root = workspace::root();
        let alerts = read(&root.join("packaging/prometheus/alerts.yml")).unwrap();
        let alerts: Vec<_> = alerts.lines().map(str::trim).collect();
        let start = "runbook_url: file:///usr/share/doc/ctpulse/";
        let runbooks: Vec<_> = alerts.iter().filter_map(|line| line.strip_prefix(start)).collect();
        let count = alerts.iter().filter(|line| line.starts_with("- alert: ")).count();
        assert_eq!(runbooks.len(), count, "each alert has one");
        for runbook in runbooks {
            assert!(
                runbook.contains('#') && resolves(&root.join("page"), runbook).unwrap(),
                "{runbook}"
            );
        }
    }

    #[test]
    fn links_without_a_target_are_named() {
        let tree = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            fs::create_dir_all(tree.path().join("docs")).unwrap();
            fs::write(tree.path().join(name), text).unwrap();
        };
        write(
            "README.md",
            "[a](docs/a.md) [b](docs/a.md#the-head-and-tail) [c](docs) [d](https://x.example/y)\n\
             [e](docs/b.md) [f](docs/a.md#none) [g](#here)\n\n# Here\n\n`[code](no.md)`\n",
        );
        write("docs/a.md", "## The `head`, and tail\n[up](../README.md#here) ![p](no.png)\n");
        let expected = ["README.md: docs/b.md", "README.md: docs/a.md#none", "docs/a.md: no.png"];
        assert_eq!(broken_links(tree.path()).unwrap(), expected);
    }
}
