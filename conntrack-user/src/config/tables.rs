//! The tables as the file has them: names and types, and nothing of what they mean.
//!
//! These structs are the one list of valid keys: error messages and the test of the sample
//! take the names from here. What the values mean is decided in `agent` and `input`.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{IgnoredAny, SeqAccess, Visitor, value::SeqAccessDeserializer};
use toml::Spanned;
use toml::de::ValueDeserializer;

/// A value and where it stands.
pub(super) type Placed<T> = Option<Spanned<T>>;

/// A list of strings, each with its place.
pub(super) type Strings = Vec<Spanned<String>>;

/// Telegraf's keys of `[agent]`, of all its releases, that have no meaning here: there is no output
/// to configure.
const UNUSED_AGENT_KEYS: [&str; 23] = [
    "buffer_directory",
    "buffer_disk_sync",
    "buffer_strategy",
    "config_url_retry_attempts",
    "flush_buffer_when_full", // until 0.13
    "flush_interval",
    "flush_jitter",
    "flush_retries", // until 0.10
    "log_with_timezone",
    "logfile",
    "logfile_rotation_interval",
    "logfile_rotation_max_archives",
    "logfile_rotation_max_size",
    "logformat",
    "logtarget",
    "metric_batch_size",
    "metric_buffer_limit",
    "skip_processors_after_aggregators",
    "skip_processors_before_aggregators",
    "snmp_translator",
    "statefile",
    "structured_log_message_key",
    "utc", // until 1.0
];

/// The keys that Telegraf takes in the table of any plugin and that mean nothing for an input.
const UNUSED_INPUT_KEYS: [&str; 18] = [
    "always_include_local_tags",
    "buffer_directory",
    "buffer_disk_sync",
    "buffer_strategy",
    "data_format",
    "data_type",
    "delay",
    "drop_original",
    "flush_interval",
    "flush_jitter",
    "grace",
    "id",
    "influx_parser_type",
    "lvm",
    "metric_batch_size",
    "metric_buffer_limit",
    "order",
    "period",
];

/// `[agent]`, without its unused keys.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AgentTable {
    pub interval: Placed<DurationValue>,
    pub round_interval: Option<bool>,
    pub collection_jitter: Placed<DurationValue>,
    pub collection_offset: Placed<DurationValue>,
    pub precision: Placed<DurationValue>,
    pub hostname: String,
    pub omit_hostname: bool,
    pub debug: bool,
    pub quiet: bool,
    pub always_include_local_tags: bool,
    pub always_include_global_tags: bool,
    /// Not Telegraf's: the `sample_interval` of inputs that have none.
    pub sample_interval: Placed<DurationValue>,
    /// Not Telegraf's: where scrapes are answered.
    pub listen: Placed<String>,
    /// Not Telegraf's: see [`crate::settings::Confine`].
    pub confine: Placed<String>,
    /// Not Telegraf's: the user to become.
    pub user: String,
}

/// `[[inputs.conntrack]]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ConntrackTable {
    // The plugin's own.
    pub collect: Strings,
    pub dirs: Vec<String>,
    pub files: Strings,
    // Those of every input.
    pub interval: Placed<DurationValue>,
    pub precision: Placed<DurationValue>,
    pub collection_jitter: Placed<DurationValue>,
    pub collection_offset: Placed<DurationValue>,
    pub alias: String,
    pub name_override: String,
    pub name_prefix: String,
    pub name_suffix: String,
    pub tags: BTreeMap<String, String>,
    pub log_level: Placed<String>,
    pub time_source: Placed<String>,
    pub startup_error_behavior: Placed<String>,
    #[serde(rename = "labels")]
    pub _labels: Option<IgnoredAny>,
    // What to let through.
    pub namepass: Strings,
    pub namepass_separator: String,
    pub namedrop: Strings,
    pub namedrop_separator: String,
    pub tagpass: BTreeMap<String, Spanned<Strings>>,
    pub tagdrop: BTreeMap<String, Spanned<Strings>>,
    pub fieldinclude: Strings,
    pub fieldexclude: Strings,
    pub taginclude: Strings,
    pub tagexclude: Strings,
    pub metricpass: Placed<String>,
    // Deprecated names of `fieldinclude` and `fieldexclude`.
    pub fieldpass: Placed<Strings>,
    pub fielddrop: Placed<Strings>,
    pub pass: Placed<Strings>,
    pub drop: Placed<Strings>,
    // Not Telegraf's.
    pub sample_interval: Placed<DurationValue>,
    pub netns: Placed<OneOrMany>,
    pub wait: bool,
    pub source: Placed<String>,
    pub ebpf: Placed<String>,
    pub compat: Placed<String>,
    pub ebpf_per_packet: bool,
    pub ebpf_invalid: bool,
    pub ebpf_attach: Placed<String>,
    pub composition: Placed<DurationValue>,
    pub percpu_rates: bool,
    pub internal: bool,
}

/// A duration before it is one.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum DurationValue {
    Text(String),
    Integer(i64),
    Float(f64),
}

impl<'de> Deserialize<'de> for DurationValue {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Shape;
        impl Visitor<'_> for Shape {
            type Value = DurationValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"10s\"")
            }

            fn visit_str<E>(self, text: &str) -> Result<DurationValue, E> {
                Ok(DurationValue::Text(text.to_owned()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<DurationValue, E> {
                Ok(DurationValue::Integer(number))
            }

            fn visit_f64<E>(self, number: f64) -> Result<DurationValue, E> {
                Ok(DurationValue::Float(number))
            }
        }
        deserializer.deserialize_any(Shape)
    }
}

/// A string, or several.
#[derive(Debug)]
pub(super) enum OneOrMany {
    One(String),
    Many(Strings),
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Shape;
        impl<'de> Visitor<'de> for Shape {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }

            fn visit_str<E>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, texts: A) -> Result<OneOrMany, A::Error> {
                Strings::deserialize(SeqAccessDeserializer::new(texts)).map(OneOrMany::Many)
            }
        }
        deserializer.deserialize_any(Shape)
    }
}

/// A table of this file, as its struct and its name in messages.
pub(super) trait Table: for<'de> Deserialize<'de> + Default {
    /// As the user writes it.
    const NAME: &str;

    /// Further keys, which are accepted and have no effect.
    const UNUSED: &[&str];

    /// The keys whose value is `true` or `false`.
    const FLAGS: &[&str];

    /// Whether Telegraf ignores case and `_` in this key.
    fn is_in_any_writing(key: &str) -> bool;

    /// The table of ours that has the key `name`, which this one has not.
    fn of_another_table(_name: &str) -> Option<&'static str> {
        None
    }

    /// Every key that the struct accepts, as serde's own refusal of another one names them.
    fn keys() -> Vec<String> {
        let refused = ValueDeserializer::parse("{ '' = 0 }").and_then(Self::deserialize);
        let message = refused.err().map(|error| error.message().to_owned()).unwrap_or_default();
        // "unknown field ``, expected one of `a`, `b`": between the backticks, after the first.
        let quoted = message.split('`').skip(1).step_by(2);
        quoted.filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect()
    }
}

impl Table for AgentTable {
    const NAME: &str = "[agent]";
    const UNUSED: &[&str] = &UNUSED_AGENT_KEYS;
    const FLAGS: &[&str] = &[
        "always_include_global_tags",
        "always_include_local_tags",
        "debug",
        "omit_hostname",
        "quiet",
        "round_interval",
    ];

    fn of_another_table(name: &str) -> Option<&'static str> {
        ConntrackTable::keys().iter().any(|key| key == name).then_some(ConntrackTable::NAME)
    }

    fn is_in_any_writing(_: &str) -> bool {
        true
    }
}

impl Table for ConntrackTable {
    const NAME: &str = "[[inputs.conntrack]]";
    const UNUSED: &[&str] = &UNUSED_INPUT_KEYS;
    const FLAGS: &[&str] = &["ebpf_invalid", "ebpf_per_packet", "internal", "percpu_rates", "wait"];

    fn of_another_table(name: &str) -> Option<&'static str> {
        AgentTable::keys().iter().any(|key| key == name).then_some(AgentTable::NAME)
    }

    // The fields of the plugin; the keys of all inputs have one writing only.
    fn is_in_any_writing(key: &str) -> bool {
        matches!(key, "collect" | "dirs" | "files")
    }
}

/// The keys of `[[inputs.execd]]` that matter for a command which is ctpulse.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ExecdTable {
    pub command: Placed<Strings>,
    pub signal: Placed<String>,
    pub data_format: Placed<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_come_from_the_structs() {
        let agent = AgentTable::keys();
        assert_eq!(agent.len(), 15, "{agent:?}");
        assert!(agent.iter().any(|key| key == "omit_hostname"));
        let conntrack = ConntrackTable::keys();
        assert_eq!(conntrack.len(), 43, "{conntrack:?}");
        assert!(conntrack.iter().any(|key| key == "labels"));
    }

    #[test]
    fn no_key_is_both_used_and_unused() {
        let agent = AgentTable::keys();
        assert!(UNUSED_AGENT_KEYS.iter().all(|unused| agent.iter().all(|key| key != unused)));
        assert!(UNUSED_AGENT_KEYS.is_sorted());
        let input = ConntrackTable::keys();
        assert!(UNUSED_INPUT_KEYS.iter().all(|unused| input.iter().all(|key| key != unused)));
        assert!(UNUSED_INPUT_KEYS.is_sorted());
    }

    #[test]
    fn the_flags_are_the_keys_that_take_no_string() {
        fn flags<T: Table>() -> Vec<String> {
            let takes_true = |key: &String| {
                let table = |value: &str| {
                    let text = format!("{{ {key} = {value} }}");
                    ValueDeserializer::parse(&text).and_then(T::deserialize).is_ok()
                };
                table("true") && !table("'x'") && !table("1")
            };
            T::keys().into_iter().filter(takes_true).collect()
        }
        let sorted = |mut flags: Vec<String>| {
            flags.sort();
            flags
        };
        assert_eq!(sorted(flags::<AgentTable>()), AgentTable::FLAGS);
        assert_eq!(sorted(flags::<ConntrackTable>()), ConntrackTable::FLAGS);
    }
}
