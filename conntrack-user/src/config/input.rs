//! The meaning of one `[[inputs.conntrack]]`: its schedule, its sources, its namespaces.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;
use toml::Spanned;

use super::agent::{Agent, long_enough};
use super::duration::{duration_text, parse_duration};
use super::error::nearest;
use super::files;
use super::filters::{filter, set};
use super::tables::{AgentTable, ConntrackTable, DurationValue, OneOrMany, Placed, Strings, Table};
use super::text::ConfigText;
use crate::settings::{Collect, Ebpf, EbpfAttach, Input, Netns, Source as StatSource};

/// Makes the inputs of `table`: one for each namespace that it names. A wrong value is reported to
/// `text`, and the default taken.
pub(super) fn inputs(
    table: &ConntrackTable,
    agent: &Agent,
    global_tags: &BTreeMap<String, String>,
    text: &ConfigText<'_>,
) -> Vec<Input> {
    let reader = InputReader { text };
    // In Telegraf zero is "not set" for all of these but the jitter.
    let interval = reader.duration("interval", &table.interval).filter(is_set);
    let interval = interval.filter(|it| long_enough::<ConntrackTable>(text, "interval", it));
    let interval = interval.map_or(agent.interval, Spanned::into_inner);
    let mut input = Input::new(interval);
    if let Some(sample_interval) = reader.sample_interval(table, agent, interval) {
        input.sample_interval = sample_interval;
    }
    input.round_interval = agent.round_interval;
    let jitter = reader.duration("collection_jitter", &table.collection_jitter);
    input.collection_jitter = jitter.map_or(agent.collection_jitter, Spanned::into_inner);
    let offset = reader.duration("collection_offset", &table.collection_offset).filter(is_set);
    input.collection_offset = offset.map_or(agent.collection_offset, Spanned::into_inner);

    input.compat_telegraf =
        reader.choice("compat", &table.compat, [("telegraf", true), ("", false)]).unwrap_or(false);
    let precision = reader.duration("precision", &table.precision).filter(is_set);
    input.precision = precision.map_or(agent.precision, Spanned::into_inner);

    input.collect = reader.collect(&table.collect);
    input.percpu_rates = table.percpu_rates;
    input.ebpf_per_packet = table.ebpf_per_packet;
    input.ebpf_invalid = table.ebpf_invalid;
    let composition = reader.duration("composition", &table.composition).filter(is_set);
    input.composition = composition.map(Spanned::into_inner);
    input.internal = table.internal;
    input.wait = table.wait;
    let whether = [("auto", Ebpf::Auto), ("on", Ebpf::On), ("off", Ebpf::Off), ("", Ebpf::Auto)];
    input.ebpf = reader.choice("ebpf", &table.ebpf, whether).unwrap_or_default();
    let how = [
        ("kprobe", Some(EbpfAttach::Kprobe)),
        ("trampoline", Some(EbpfAttach::Trampoline)),
        ("auto", Some(EbpfAttach::Auto)),
        ("", None),
    ];
    input.ebpf_attach = reader.choice("ebpf_attach", &table.ebpf_attach, how).flatten();
    input.source = reader.source(&table.source, input.compat_telegraf);
    if !table.dirs.is_empty() {
        input.dirs = table.dirs.iter().map(PathBuf::from).collect();
    }
    if !table.files.is_empty() {
        files::check_form(&table.files, text);
        // Other directories have files of their own.
        if table.dirs.is_empty() {
            files::check_names(&table.files, text);
        }
        input.files = table.files.iter().map(|name| name.get_ref().clone()).collect();
    }
    input.alias = set(&table.alias);
    input.log_level = reader.log_level(&table.log_level);
    reader.time_source(&table.time_source);
    let behaviors = ["error", "retry", "ignore", "probe", ""].map(|name| (name, ()));
    reader.choice("startup_error_behavior", &table.startup_error_behavior, behaviors);
    input.filter = filter(table, global_tags, text);
    input.filter.keeps_tags = agent.keeps_tags;
    input.filter.keeps_global_tags = agent.keeps_global_tags;

    let namespaces = reader.namespaces(&table.netns);
    if namespaces.is_empty() {
        return vec![input];
    }
    let in_namespace = |netns: Netns| Input { netns, ..input.clone() };
    namespaces.into_iter().map(in_namespace).collect()
}

fn is_set(duration: &Spanned<Duration>) -> bool {
    !duration.get_ref().is_zero()
}

/// Reads values of the table; its errors point at them.
struct InputReader<'a> {
    text: &'a ConfigText<'a>,
}

impl InputReader<'_> {
    fn problem(&self, span: &Range<usize>, key: &str, problem: impl std::fmt::Display) {
        self.text.value_problem::<ConntrackTable>(span, key, problem);
    }

    /// A duration, which has to be text: Telegraf leaves a number here unread.
    fn duration(&self, key: &str, value: &Placed<DurationValue>) -> Placed<Duration> {
        let value = value.as_ref()?;
        let span = value.span();
        let number = match value.get_ref() {
            DurationValue::Text(text) => {
                let duration = parse_duration(text);
                return duration
                    .map_err(|error| self.problem(&span, key, error))
                    .map(|duration| Spanned::new(span.clone(), duration))
                    .ok();
            }
            DurationValue::Integer(number) => number.to_string(),
            DurationValue::Float(number) => number.to_string(),
        };
        let problem = format!(
            "the number {number} is not a duration here; write it as a string with its unit: \
             {key} = \"{number}s\""
        );
        self.problem(&span, key, problem);
        None
    }

    /// The `sample_interval`, its own or the agent's, where either is set.
    fn sample_interval(
        &self,
        table: &ConntrackTable,
        agent: &Agent,
        interval: Duration,
    ) -> Option<Duration> {
        let key = "sample_interval";
        let own = self.duration(key, &table.sample_interval);
        let own = own.filter(|own| long_enough::<ConntrackTable>(self.text, key, own));
        let sample = own.as_ref().or(agent.sample_interval.as_ref())?;
        let (duration, span) = (*sample.get_ref(), sample.span());
        if duration <= interval {
            return Some(duration);
        }
        let problem = format!(
            "{} is longer than the interval of {}; write at most that",
            duration_text(duration),
            duration_text(interval)
        );
        match own {
            Some(_) => self.problem(&span, key, problem),
            None => self.text.value_problem::<AgentTable>(&span, key, problem),
        }
        None
    }

    fn collect(&self, list: &Strings) -> Collect {
        let mut collect = Collect::default();
        for entry in list {
            match entry.get_ref().as_str() {
                "all" => collect.all = true,
                "percpu" => collect.percpu = true,
                _ => self.not_a_choice("collect", entry, &["all", "percpu"]),
            }
        }
        collect
    }

    fn source(&self, value: &Placed<String>, compat_telegraf: bool) -> StatSource {
        let sources = [
            ("auto", StatSource::Auto),
            ("procfs", StatSource::Procfs),
            ("netlink", StatSource::Netlink),
            ("", StatSource::Auto),
        ];
        let source = self.choice("source", value, sources).unwrap_or_default();
        if let Some(value) = value
            && source == StatSource::Netlink
            && compat_telegraf
        {
            let problem = "\"netlink\" does not have the columns that compat = \"telegraf\" counts; \
                           remove one of the two";
            self.problem(&value.span(), "source", problem);
        }
        source
    }

    /// The time of Telegraf's rows; ours is that of the kernel read.
    fn time_source(&self, value: &Placed<String>) {
        let is_own = ["metric", "collection_start", "collection_end", ""]
            .map(|name| (name, matches!(name, "metric" | "")));
        if let Some(value) = value
            && self.choice("time_source", &Some(value.clone()), is_own) == Some(false)
        {
            let text = format!(
                "'time_source' in {}: \"{}\" has no effect, rows have the time at which the kernel's \
                 counters were read",
                ConntrackTable::NAME,
                value.get_ref()
            );
            self.text.warn_at(&value.span(), text);
        }
    }

    fn log_level(&self, value: &Placed<String>) -> Option<LevelFilter> {
        let levels = [
            ("error", Some(LevelFilter::Error)),
            ("warn", Some(LevelFilter::Warn)),
            ("info", Some(LevelFilter::Info)),
            ("debug", Some(LevelFilter::Debug)),
            ("trace", Some(LevelFilter::Trace)),
            ("", None),
        ];
        let lower =
            |value: &Spanned<String>| Spanned::new(value.span(), value.get_ref().to_lowercase());
        self.choice("log_level", &value.as_ref().map(lower), levels).flatten()
    }

    /// One of `choices`, by its name; the empty name is "not set" and not advertised.
    fn choice<T, const N: usize>(
        &self,
        key: &str,
        value: &Placed<String>,
        choices: [(&str, T); N],
    ) -> Option<T> {
        let value = value.as_ref()?;
        let names = choices.each_ref().map(|(name, _)| *name);
        let choice = choices.into_iter().find(|(name, _)| name == value.get_ref());
        if choice.is_none() {
            self.not_a_choice(key, value, &names);
        }
        choice.map(|(_, choice)| choice)
    }

    fn not_a_choice(&self, key: &str, value: &Spanned<String>, valid: &[&str]) {
        let wrong = value.get_ref();
        let valid: Vec<&str> = valid.iter().copied().filter(|name| !name.is_empty()).collect();
        let advice = match nearest(wrong, &valid) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("supported: \"{}\"", valid.join("\", \"")),
        };
        self.problem(&value.span(), key, format!("\"{wrong}\" is not supported; {advice}"));
    }

    /// The namespaces that `netns` names; none for the one that the program runs in.
    fn namespaces(&self, value: &Placed<OneOrMany>) -> Vec<Netns> {
        let Some(value) = value else { return Vec::new() };
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
            match name.get_ref().parse::<Netns>() {
                Err(problem) => self.problem(&name.span(), "netns", problem),
                Ok(namespace) if namespaces.contains(&namespace) => {
                    let problem = format!("'{namespace}' is listed twice; remove one");
                    self.problem(&name.span(), "netns", problem);
                }
                Ok(namespace) => namespaces.push(namespace),
            }
        }
        namespaces
    }
}
