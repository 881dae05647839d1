//! The meaning of `[agent]`: the defaults of the inputs, the host's name, the log level.

use std::net::SocketAddr;
use std::time::Duration;

use log::LevelFilter;
use toml::Spanned;

use super::duration::{DurationError, duration_text, from_seconds, parse_agent_duration};
use super::tables::{AgentTable, DurationValue, Placed, Table};
use super::text::ConfigText;
use crate::settings::{Confine, DEFAULT_INTERVAL, SHORTEST_INTERVAL, parse_listen};

/// `[agent]`, checked.
pub(super) struct Agent {
    pub interval: Duration,
    pub round_interval: bool,
    pub collection_jitter: Duration,
    pub collection_offset: Duration,
    /// Zero where it is not set.
    pub precision: Duration,
    /// The `sample_interval` of inputs without their own.
    pub sample_interval: Placed<Duration>,
    pub host: Option<String>,
    pub listen: Option<SocketAddr>,
    pub log_level: LevelFilter,
    pub confine: Confine,
    pub user: Option<String>,
    /// `always_include_local_tags`.
    pub keeps_tags: bool,
    /// `always_include_global_tags`.
    pub keeps_global_tags: bool,
}

impl Agent {
    /// Checks `[agent]`; a missing table is an empty one. A wrong value is reported to `text`, and
    /// the default taken.
    pub(super) fn new(table: AgentTable, text: &ConfigText<'_>) -> Self {
        let duration = |key, value| agent_duration(text, key, value);
        let or_zero = |key, value| duration(key, value).map_or(Duration::ZERO, Spanned::into_inner);
        let schedule = |key, value| {
            duration(key, value).filter(|value| long_enough::<AgentTable>(text, key, value))
        };
        Self {
            interval: schedule("interval", &table.interval)
                .map_or(DEFAULT_INTERVAL, Spanned::into_inner),
            round_interval: table.round_interval.unwrap_or(true),
            collection_jitter: or_zero("collection_jitter", &table.collection_jitter),
            collection_offset: or_zero("collection_offset", &table.collection_offset),
            precision: precision(text, &table.precision),
            sample_interval: schedule("sample_interval", &table.sample_interval),
            host: match (table.omit_hostname, table.hostname) {
                (true, _) => None,
                (false, name) if name.is_empty() => system_host(),
                (false, name) => Some(name),
            },
            listen: listen(text, &table.listen),
            log_level: match (table.debug, table.quiet) {
                (true, _) => LevelFilter::Debug,
                (false, true) => LevelFilter::Error,
                (false, false) => LevelFilter::Info,
            },
            confine: confine(text, &table.confine),
            user: Some(table.user).filter(|name| !name.is_empty()),
            keeps_tags: table.always_include_local_tags,
            keeps_global_tags: table.always_include_global_tags,
        }
    }
}

/// Whether an interval is at least [`SHORTEST_INTERVAL`]; a shorter one is reported.
pub(super) fn long_enough<T: Table>(
    text: &ConfigText<'_>,
    key: &str,
    value: &Spanned<Duration>,
) -> bool {
    let is_long_enough = *value.get_ref() >= SHORTEST_INTERVAL;
    if !is_long_enough {
        let problem = format!(
            "{} is too short; the shortest is {}",
            duration_text(*value.get_ref()),
            duration_text(SHORTEST_INTERVAL)
        );
        text.value_problem::<T>(&value.span(), key, problem);
    }
    is_long_enough
}

fn listen(text: &ConfigText<'_>, value: &Placed<String>) -> Option<SocketAddr> {
    let value = value.as_ref().filter(|value| !value.get_ref().is_empty())?;
    let address = parse_listen(value.get_ref());
    address
        .map_err(|problem| text.value_problem::<AgentTable>(&value.span(), "listen", problem))
        .ok()
}

fn confine(text: &ConfigText<'_>, value: &Placed<String>) -> Confine {
    let Some(value) = value else { return Confine::Auto };
    match value.get_ref().as_str() {
        "" | "auto" => Confine::Auto,
        "on" => Confine::On,
        "off" => Confine::Off,
        other => {
            let problem = format!("'{other}' is not one of auto, on, off");
            text.value_problem::<AgentTable>(&value.span(), "confine", problem);
            Confine::Auto
        }
    }
}

/// The `precision`, zero where it is not set. Before Telegraf 1.0 it was a unit alone (`"s"`), of
/// which that release said that it has no effect any more.
fn precision(text: &ConfigText<'_>, value: &Placed<DurationValue>) -> Duration {
    const OLD_UNITS: [&str; 8] = ["n", "ns", "u", "us", "ms", "s", "m", "h"];
    if let Some(value) = value
        && let DurationValue::Text(unit) = value.get_ref()
        && OLD_UNITS.contains(&unit.as_str())
    {
        let message = format!(
            "'precision' in [agent]: \"{unit}\" is of Telegraf before 1.0 and has no effect; \
             write a duration such as \"1s\", or remove it"
        );
        text.warn_at(&value.span(), message);
        return Duration::ZERO;
    }
    agent_duration(text, "precision", value).map_or(Duration::ZERO, Spanned::into_inner)
}

fn agent_duration(
    text: &ConfigText<'_>,
    key: &str,
    value: &Placed<DurationValue>,
) -> Placed<Duration> {
    let value = value.as_ref()?;
    let parsed: Result<Duration, DurationError> = match value.get_ref() {
        DurationValue::Text(duration) => parse_agent_duration(duration),
        DurationValue::Integer(seconds) => from_seconds(*seconds as f64),
        DurationValue::Float(seconds) => from_seconds(*seconds),
    };
    parsed
        .map_err(|error| text.value_problem::<AgentTable>(&value.span(), key, error))
        .map(|duration| Spanned::new(value.span(), duration))
        .ok()
}

/// The name that the kernel gives this host (Telegraf's default of `hostname`), if it has one.
#[must_use]
pub fn system_host() -> Option<String> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use log::LevelFilter;

    use crate::config::tests::{error, loaded};
    use crate::metric::{Metric, Value};
    use crate::settings::Confine;

    fn agent(keys: &str) -> String {
        format!("[agent]\n{keys}\n[[inputs.conntrack]]\n")
    }

    fn agent_error(keys: &str) -> String {
        error(&agent(keys))
    }

    #[test]
    fn nothing_set_gives_telegrafs_defaults() {
        let settings = loaded("[[inputs.conntrack]]").settings;
        let input = &settings.inputs[0];
        assert_eq!(input.interval, Duration::from_secs(10));
        assert!(input.round_interval);
        assert_eq!(input.collection_jitter, Duration::ZERO);
        assert_eq!(settings.log_level, LevelFilter::Info);
        let host = rustix::system::uname().nodename().to_str().unwrap().to_owned();
        assert_eq!(settings.host, Some(host));
    }

    #[test]
    fn inputs_inherit_the_settings_of_the_agent() {
        let settings = loaded(&agent(
            "interval = 2\nround_interval = false\ncollection_jitter = '1.5'\n\
             collection_offset = 0.25\nprecision = '1ms'\nsample_interval = '20ms'",
        ))
        .settings;
        let input = &settings.inputs[0];
        assert_eq!(input.interval, Duration::from_secs(2));
        assert!(!input.round_interval);
        assert_eq!(input.collection_jitter, Duration::from_millis(1500));
        assert_eq!(input.collection_offset, Duration::from_millis(250));
        assert_eq!(input.precision, Duration::from_millis(1));
        assert_eq!(input.sample_interval, Duration::from_millis(20));
    }

    #[test]
    fn host_and_log_level() {
        let settings = |keys: &str| loaded(&agent(keys)).settings;
        assert_eq!(settings("hostname = 'gw1'").host.as_deref(), Some("gw1"));
        assert_eq!(settings("hostname = 'gw1'\nomit_hostname = true").host, None);
        assert_eq!(settings("debug = true\nquiet = true").log_level, LevelFilter::Debug);
        assert_eq!(settings("quiet = true").log_level, LevelFilter::Error);
    }

    #[test]
    fn listen_sets_the_address_of_the_server() {
        let listen = |keys: &str| loaded(&agent(keys)).settings.listen.map(|at| at.to_string());
        assert_eq!(listen("listen = ':9466'").as_deref(), Some("127.0.0.1:9466"));
        assert_eq!(listen("listen = ''"), None);
        assert_eq!(
            agent_error("listen = 'fw1:9466'"),
            "t.conf:2:10: 'listen' in [agent]: 'fw1:9466' is not an address and a port; write for \
             example 127.0.0.1:9466, [::1]:9466, or :9466 for the first; 0.0.0.0:9466 for every host \
             that reaches this one"
        );
    }

    #[test]
    fn confinement_and_user() {
        let settings = |keys: &str| loaded(&agent(keys)).settings;
        assert_eq!((settings("").confine, settings("").user), (Confine::Auto, None));
        let set = settings("confine = 'on'\nuser = 'nobody'");
        assert_eq!((set.confine, set.user.as_deref()), (Confine::On, Some("nobody")));
        assert_eq!(
            agent_error("confine = 'yes'"),
            "t.conf:2:11: 'confine' in [agent]: 'yes' is not one of auto, on, off"
        );
    }

    #[test]
    fn wrong_durations_are_found_at_their_place() {
        assert_eq!(
            agent_error("interval = \"10 s\""),
            "t.conf:2:12: 'interval' in [agent]: '10 s' is not a duration: the unit ' s' is not \
             one of ns us ms s m h d; write for example 10s, 1m30s or 500ms"
        );
        assert!(agent_error("interval = -1").contains("'-1' is not a duration: it is negative"));
        assert!(agent_error("interval = nan").contains("it is not a number"));
        assert!(
            agent_error("interval = true")
                .contains("found boolean true, expected a duration such as \"10s\"")
        );
        assert_eq!(
            agent_error("interval = '10us'"),
            "t.conf:2:12: 'interval' in [agent]: 10us is too short; the shortest is 1ms"
        );
        assert!(agent_error("sample_interval = '0s'").contains("too short"));
        assert!(agent_error("collection_offset = '-1s'").contains("it is negative"));
    }

    #[test]
    fn unused_keys_give_one_warning_and_unknown_ones_an_error() {
        let warnings = loaded(&agent("flush_interval = '10s'\nmetric_batch_size = 1000")).warnings;
        assert_eq!(
            warnings,
            [
                "t.conf: these keys of [agent] have no effect here: flush_interval, metric_batch_size"
            ]
        );
        assert_eq!(
            agent_error("metric_batch_sice = 1"),
            "t.conf:2:1: unknown key 'metric_batch_sice' in [agent]; did you mean \
             'metric_batch_size'?"
        );
        assert!(
            error("agent = 1\n[[inputs.conntrack]]").starts_with("t.conf:1:9: [agent] is a table")
        );
    }

    #[test]
    fn tags_may_pass_all_filters() {
        for (key, tags) in [
            ("always_include_local_tags = true", "cpu=all place=here"),
            ("always_include_global_tags = true", "cpu=all site=berlin"),
            ("always_include_local_tags = false", "cpu=all"),
        ] {
            let input = "[global_tags]\nsite = 'berlin'\n[[inputs.conntrack]]\n\
                         taginclude = ['cpu']\ntags = { place = 'here' }";
            let loaded = loaded(&format!("[agent]\n{key}\n{input}"));
            assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
            let mut filter = loaded.settings.inputs[0].filter.clone();
            // As a run fills them in.
            filter.global_tags = [("site".into(), "berlin".to_owned())].into();
            let row = Metric {
                name: "conntrack".into(),
                tags: vec![("cpu".into(), "all".into())],
                fields: vec![("drop".into(), Value::Integer(1))],
                timestamp_ns: 0,
            };
            let kept = filter.apply(row).unwrap().tags;
            let kept: Vec<_> = kept.iter().map(|(key, value)| format!("{key}={value}")).collect();
            assert_eq!(kept.join(" "), tags, "{key}");
        }
    }
}
