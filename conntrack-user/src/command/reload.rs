//! SIGHUP: the configuration is read again, and followed as far as that is possible without a new
//! start.
//!
//! A run that gave up privileges cannot have them back, and a call that it no longer makes ends it:
//! settings that would need more than was kept are refused before anything is tried.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::bail;

use super::stream::PATIENCE;
use crate::cli::CollectArgs;
use crate::config::read_whole;
use crate::confine::Needs;
use crate::logging;
use crate::notices::CannotBegin;
use crate::pipeline::Pipeline;
use crate::schema::labelled::ENTRIES_BY_STATE;
use crate::settings::{Ebpf, Input, Settings, Source};
use crate::source::ebpf::check_host;
use crate::source::reader::settled;
use crate::source::roots::Place;

/// The configuration file, as it was read last. A pipe is read once, and has no text here.
pub(super) struct Configuration {
    path: Option<PathBuf>,
    text: Vec<u8>,
    /// The text of a new configuration until it is in use.
    new_text: Vec<u8>,
}

impl Configuration {
    /// The file that the arguments name, if they name one.
    pub(super) fn of(args: &CollectArgs) -> Self {
        let path = args.sample.config.clone();
        Self { text: path.as_deref().map(text).unwrap_or_default(), path, new_text: Vec::new() }
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Returns the settings of a changed configuration, with the parts that cannot change, to be
    /// [accepted](Self::accept) or [refused](Self::refuse). Where the settings of `pipeline` stay in
    /// force, the reason is logged.
    pub(super) fn reload(
        &mut self,
        load: impl FnOnce() -> anyhow::Result<(Settings, Vec<String>)>,
        old: &Settings,
        pipeline: &Pipeline,
    ) -> Option<Settings> {
        let path = self.path.as_deref()?;
        let name = path.display();
        if is_pipe(path) {
            log::info!("{name} is a pipe, which is read once; {OLD_STAYS}");
            return None;
        }
        let text = text(path);
        if text == self.text && !text.is_empty() {
            log::info!("{name} is unchanged");
            return None;
        }
        let fitted = load().and_then(|(mut new, warnings)| {
            logging::warn_briefly(&warnings);
            keep_what_is_fixed(&mut new, old);
            check_probes(&new, pipeline)?;
            if let Some(kept) = &pipeline.confined {
                fit(&mut new, kept).map_err(anyhow::Error::msg)?;
            }
            // Otherwise there would be no output for the new settings.
            if !pipeline.has_reopened(PATIENCE) {
                bail!("the output is stuck");
            }
            Ok(new)
        });
        match fitted {
            Ok(new) => {
                self.new_text = text;
                Some(new)
            }
            Err(error) => {
                self.refuse(&error);
                None
            }
        }
    }

    /// The new settings are in use.
    pub(super) fn accept(&mut self) {
        self.text = std::mem::take(&mut self.new_text);
        if let Some(path) = &self.path {
            log::info!("{} is reloaded", path.display());
        }
    }

    /// The old settings stay in use; the next SIGHUP tries the new ones again.
    pub(super) fn refuse(&mut self, error: &anyhow::Error) {
        self.new_text.clear();
        super::log_error(error);
        if let Some(path) = &self.path {
            log::error!("{} is not reloaded; {OLD_STAYS}", path.display());
        }
    }
}

const OLD_STAYS: &str = "the old configuration stays in force";

/// Checks what can be known about probes before the old ones are detached.
///
/// # Errors
/// Why there cannot be any, where an input requires them.
fn check_probes(new: &Settings, pipeline: &Pipeline) -> anyhow::Result<()> {
    if !new.inputs.iter().any(|input| input.ebpf == Ebpf::On) {
        return Ok(());
    }
    check_host().map_err(|error| CannotBegin::without_probes(&error))?;
    // The reason of the start is the reason why no privilege for probes was kept.
    let is_given_up = pipeline.confined.as_ref().is_some_and(|kept| !kept.probes);
    match pipeline.without_probes.clone().filter(|_| is_given_up) {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

fn text(path: &Path) -> Vec<u8> {
    if is_pipe(path) {
        return Vec::new();
    }
    let read = File::open(path).and_then(|mut file| read_whole(&mut file));
    read.unwrap_or_default()
}

/// Whether a file can be read once only: what is read is gone.
pub(super) fn is_pipe(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| !file.is_file() && !file.is_dir())
}

/// Takes over the settings that need a new start.
fn keep_what_is_fixed(new: &mut Settings, old: &Settings) {
    let changed = [
        ("listen", new.listen != old.listen),
        ("user", new.user != old.user),
        ("confine", new.confine != old.confine),
        ("debug or quiet", new.log_level != old.log_level),
    ];
    for (key, _) in changed.iter().filter(|(_, is_changed)| *is_changed) {
        log::warn!("{key} needs a restart; the old value stays in force");
    }
    new.listen = old.listen;
    new.user.clone_from(&old.user);
    new.confine = old.confine;
    new.log_level = old.log_level;
}

/// Leaves out what `auto` may do without and this process no longer may.
///
/// # Errors
/// A required change that is not possible.
fn fit(settings: &mut Settings, kept: &Needs) -> Result<(), String> {
    let mut lacks_census = false;
    for input in &mut settings.inputs {
        let place = Place::resolve(&settings.roots, &input.netns);
        if !kept.probes && input.ebpf == Ebpf::Auto {
            input.ebpf = Ebpf::Off;
        }
        if !kept.census {
            lacks_census |= input.composition_interval().is_some() && place.is_live();
            input.composition = None;
        }
        if !kept.netlink && settled(input.source, &place) == Source::Auto {
            input.source = Source::Procfs;
        }
        let probes = input.ebpf != Ebpf::Off && (kept.probes || input.ebpf == Ebpf::On);
        let one = |input: &Input| Input { source: settled(input.source, &place), ..input.clone() };
        let needs = Needs::new(&[one(input)], std::slice::from_ref(&place), probes, false, None);
        if let Some(what) = needs.beyond(kept) {
            return Err(format!(
                "it needs {what}, for which privileges were given up at the start; restart ctpulse"
            ));
        }
    }
    if lacks_census {
        let name = ENTRIES_BY_STATE.name;
        log::warn!("no rows {name}: privileges were given up at the start; restart ctpulse");
    }
    Ok(())
}
