//! What one `[[inputs.conntrack]]` means: its schedule, what it reads, its namespaces.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;
use toml::Spanned;

use super::agent::{Agent, long_enough};
use super::document::Source;
use super::duration::parse_duration;
use super::error::{ConfigError, nearest};
use super::filters::{filter, set};
use super::tables::{AgentTable, ConntrackTable, DurationValue, OneOrMany, Placed, Strings};
use crate::settings::{Collect, Ebpf, Input, Netns, Source as StatSource};

/// Makes the inputs of `table`: one for each namespace that it names.
pub(super) fn inputs(
    table: &ConntrackTable,
    agent: &Agent,
    global_tags: &BTreeMap<String, String>,
    source: &Source<'_>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Input>, ConfigError> {
    let reader = Reader { source };
    // In Telegraf zero is "not set" for all of these but the jitter.
    let interval = reader.duration("interval", &table.interval)?.filter(is_set);
    if let Some(interval) = &interval {
        long_enough::<ConntrackTable>(source, "interval", interval)?;
    }
    let interval = interval.map_or(agent.interval, Spanned::into_inner);
    let mut input = Input::new(interval);
    if let Some(sample_interval) = reader.sample_interval(table, agent, interval)? {
        input.sample_interval = sample_interval;
    }
    input.round_interval = agent.round_interval;
    let jitter = reader.duration("collection_jitter", &table.collection_jitter)?;
    input.collection_jitter = jitter.map_or(agent.collection_jitter, Spanned::into_inner);
    let offset = reader.duration("collection_offset", &table.collection_offset)?.filter(is_set);
    input.collection_offset = offset.map_or(agent.collection_offset, Spanned::into_inner);

    input.compat_telegraf =
        reader.choice("compat", &table.compat, [("telegraf", true), ("", false)])?.unwrap_or(false);
    let precision = reader.duration("precision", &table.precision)?.filter(is_set);
    input.precision = precision.map_or(agent.precision, Spanned::into_inner);

    input.collect = reader.collect(&table.collect)?;
    input.percpu_rates = table.percpu_rates;
    input.ebpf_per_packet = table.ebpf_per_packet;
    input.internal = table.internal;
    input.wait = table.wait;
    let whether = [("auto", Ebpf::Auto), ("on", Ebpf::On), ("off", Ebpf::Off), ("", Ebpf::Auto)];
    input.ebpf = reader.choice("ebpf", &table.ebpf, whether)?.unwrap_or_default();
    input.source = reader.source(&table.source, input.compat_telegraf)?;
    if !table.dirs.is_empty() {
        input.dirs = table.dirs.iter().map(PathBuf::from).collect();
    }
    if !table.files.is_empty() {
        input.files.clone_from(&table.files);
    }
    input.alias = set(&table.alias);
    input.log_level = reader.log_level(&table.log_level)?;
    reader.choice("time_source", &table.time_source, [("metric", ()), ("", ())])?;
    let behaviors = ["error", "retry", "ignore", ""].map(|name| (name, ()));
    reader.choice("startup_error_behavior", &table.startup_error_behavior, behaviors)?;
    input.filter = filter(table, global_tags, source, warnings)?;

    let namespaces = reader.namespaces(&table.netns)?;
    if namespaces.is_empty() {
        return Ok(vec![input]);
    }
    let in_namespace = |netns| Input { netns: Some(netns), ..input.clone() };
    Ok(namespaces.into_iter().map(in_namespace).collect())
}

fn is_set(duration: &Spanned<Duration>) -> bool {
    !duration.get_ref().is_zero()
}

/// Reads values of the table; its errors point at them.
struct Reader<'a> {
    source: &'a Source<'a>,
}

impl Reader<'_> {
    fn error(&self, span: Range<usize>, key: &str, problem: impl std::fmt::Display) -> ConfigError {
        self.source.value_error::<ConntrackTable>(span, key, problem)
    }

    /// A duration, which has to be text: Telegraf leaves a number here unread.
    fn duration(
        &self,
        key: &str,
        value: &Placed<DurationValue>,
    ) -> Result<Placed<Duration>, ConfigError> {
        let Some(value) = value else { return Ok(None) };
        let number = match value.get_ref() {
            DurationValue::Text(text) => {
                let duration =
                    parse_duration(text).map_err(|error| self.error(value.span(), key, error))?;
                return Ok(Some(Spanned::new(value.span(), duration)));
            }
            DurationValue::Integer(number) => number.to_string(),
            DurationValue::Float(number) => number.to_string(),
        };
        let problem = format!(
            "the number {number} is not a duration here; write it as a string with its unit: \
             {key} = \"{number}s\""
        );
        Err(self.error(value.span(), key, problem))
    }

    /// The `sample_interval`, its own or the agent's, where either is set.
    fn sample_interval(
        &self,
        table: &ConntrackTable,
        agent: &Agent,
        interval: Duration,
    ) -> Result<Option<Duration>, ConfigError> {
        let own = self.duration("sample_interval", &table.sample_interval)?;
        if let Some(own) = &own {
            long_enough::<ConntrackTable>(self.source, "sample_interval", own)?;
        }
        let Some(sample) = own.as_ref().or(agent.sample_interval.as_ref()) else {
            return Ok(None);
        };
        let (duration, span) = (*sample.get_ref(), sample.span());
        if duration <= interval {
            return Ok(Some(duration));
        }
        let key = "sample_interval";
        let problem =
            format!("{duration:?} is longer than the interval of {interval:?}; write at most that");
        Err(match own {
            Some(_) => self.error(span, key, problem),
            None => self.source.value_error::<AgentTable>(span, key, problem),
        })
    }

    fn collect(&self, list: &Strings) -> Result<Collect, ConfigError> {
        let mut collect = Collect::default();
        for entry in list {
            match entry.get_ref().as_str() {
                "all" => collect.all = true,
                "percpu" => collect.percpu = true,
                _ => return Err(self.not_a_choice("collect", entry, &["all", "percpu"])),
            }
        }
        Ok(collect)
    }

    fn source(
        &self,
        value: &Placed<String>,
        compat_telegraf: bool,
    ) -> Result<StatSource, ConfigError> {
        let sources = [
            ("auto", StatSource::Auto),
            ("procfs", StatSource::Procfs),
            ("netlink", StatSource::Netlink),
            ("", StatSource::Auto),
        ];
        let source = self.choice("source", value, sources)?.unwrap_or_default();
        match value {
            Some(value) if source == StatSource::Netlink && compat_telegraf => {
                let problem = "\"netlink\" has not the columns that compat = \"telegraf\" counts; \
                               remove one of the two";
                Err(self.error(value.span(), "source", problem))
            }
            _ => Ok(source),
        }
    }

    fn log_level(&self, value: &Placed<String>) -> Result<Option<LevelFilter>, ConfigError> {
        let levels = [
            ("error", Some(LevelFilter::Error)),
            ("warn", Some(LevelFilter::Warn)),
            ("info", Some(LevelFilter::Info)),
            ("debug", Some(LevelFilter::Debug)),
            ("trace", Some(LevelFilter::Trace)),
            ("", None),
        ];
        Ok(self.choice("log_level", value, levels)?.flatten())
    }

    /// One of `choices`, by its name; the empty name is "not set" and not advertised.
    fn choice<T, const N: usize>(
        &self,
        key: &str,
        value: &Placed<String>,
        choices: [(&str, T); N],
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = value else { return Ok(None) };
        let names = choices.each_ref().map(|(name, _)| *name);
        match choices.into_iter().find(|(name, _)| name == value.get_ref()) {
            Some((_, choice)) => Ok(Some(choice)),
            None => Err(self.not_a_choice(key, value, &names)),
        }
    }

    fn not_a_choice(&self, key: &str, value: &Spanned<String>, valid: &[&str]) -> ConfigError {
        let wrong = value.get_ref();
        let valid: Vec<&str> = valid.iter().copied().filter(|name| !name.is_empty()).collect();
        let advice = match nearest(wrong, &valid) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("supported: \"{}\"", valid.join("\", \"")),
        };
        self.error(value.span(), key, format!("\"{wrong}\" is not supported; {advice}"))
    }

    /// The namespaces that `netns` names; none for the one that the program runs in.
    fn namespaces(&self, value: &Placed<OneOrMany>) -> Result<Vec<Netns>, ConfigError> {
        let Some(value) = value else { return Ok(Vec::new()) };
        let one;
        let names = match value.get_ref() {
            OneOrMany::One(name) => {
                one = [Spanned::new(value.span(), name.clone())];
                &one
            }
            OneOrMany::Many(names) => names.as_slice(),
        };
        let mut namespaces = Vec::new();
        for name in names {
            let fail = |problem| self.error(name.span(), "netns", problem);
            let namespace: Netns = name.get_ref().parse().map_err(fail)?;
            if namespaces.contains(&namespace) {
                return Err(fail(format!("'{namespace}' is listed twice; remove one")));
            }
            namespaces.push(namespace);
        }
        Ok(namespaces)
    }
}
