//! Tests of `input`: each option of `[[inputs.conntrack]]`, its default and its refusals.

use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;

use super::tests::{error, loaded};
use crate::settings::{Collect, DEFAULT_DIRS, DEFAULT_FILES, EbpfAttach, Input, Netns, Source};

fn input(keys: &str) -> Input {
    loaded(&format!("[[inputs.conntrack]]\n{keys}")).settings.inputs[0].clone()
}

fn input_error(keys: &str) -> String {
    error(&format!("[[inputs.conntrack]]\n{keys}"))
}

#[test]
fn collect_dirs_and_files() {
    assert_eq!(input("").collect, Collect { all: false, percpu: false });
    assert_eq!(input("collect = ['percpu', 'all']").collect, Collect { all: true, percpu: true });
    assert_eq!(
        input_error("collect = ['all', 'per_cpu']"),
        "t.conf:2:19: 'collect' in [[inputs.conntrack]]: \"per_cpu\" is not supported; \
         did you mean \"percpu\"?"
    );
    assert!(input_error("collect = ['x']").ends_with("supported: \"all\", \"percpu\""));
    assert!(input_error("collect = ['all', 1]").starts_with(
        "t.conf:2:19: 'collect' in [[inputs.conntrack]]: wrong type: found integer 1"
    ));

    let defaults = input("dirs = []\nfiles = []");
    assert_eq!(defaults.dirs, DEFAULT_DIRS.map(PathBuf::from));
    assert_eq!(defaults.files, DEFAULT_FILES);
    let own = input("dirs = ['/a', '/b']\nfiles = ['nf_conntrack_buckets']");
    assert_eq!(own.dirs, ["/a", "/b"].map(PathBuf::from));
    assert_eq!(own.files, ["nf_conntrack_buckets"]);
}

#[test]
fn the_schedule_is_that_of_the_input_or_of_the_agent() {
    let agent = "[agent]\ninterval = '20s'\ncollection_jitter = '3s'\ncollection_offset = '4s'\n\
                 precision = '1us'\n";
    let with = |keys: &str| {
        loaded(&format!("{agent}[[inputs.conntrack]]\n{keys}")).settings.inputs[0].clone()
    };
    let zero = with("interval = '0s'\ncollection_offset = '0s'\nprecision = '0s'");
    assert_eq!(zero.interval, Duration::from_secs(20));
    assert_eq!(zero.collection_offset, Duration::from_secs(4));
    assert_eq!(zero.precision, Duration::from_micros(1));
    assert_eq!(zero.collection_jitter, Duration::from_secs(3));
    assert_eq!(with("collection_jitter = '0s'").collection_jitter, Duration::ZERO);
    let own = with(
        "interval = '1m'\ncollection_jitter = '1s'\ncollection_offset = '2s'\nprecision = '1s'",
    );
    assert_eq!(own.interval, Duration::from_secs(60));
    assert_eq!(own.collection_jitter, Duration::from_secs(1));
    assert_eq!(own.collection_offset, Duration::from_secs(2));
    assert_eq!(own.precision, Duration::from_secs(1));
}

#[test]
fn a_number_is_no_duration_for_a_plugin() {
    assert_eq!(
        input_error("interval = 10"),
        "t.conf:2:12: 'interval' in [[inputs.conntrack]]: the number 10 is not a duration here; \
         write it as a string with its unit: interval = \"10s\""
    );
    assert!(input_error("precision = 1.5").contains("precision = \"1.5s\""));
    assert!(input_error("interval = '10'").contains("it has no unit"));
    assert!(input_error("interval = '-10s'").contains("it is negative"));
    assert!(input_error("interval = '999us'").contains("the shortest is 1ms"));
}

#[test]
fn the_sample_interval_is_at_most_the_interval() {
    assert_eq!(input("").sample_interval, Duration::from_millis(100));
    assert_eq!(input("interval = '20ms'").sample_interval, Duration::from_millis(20));
    assert_eq!(input("sample_interval = '1ms'").sample_interval, Duration::from_millis(1));
    assert_eq!(input("sample_interval = '10s'").sample_interval, Duration::from_secs(10));
    assert_eq!(
        input_error("interval = '1s'\nsample_interval = '2s'"),
        "t.conf:3:19: 'sample_interval' in [[inputs.conntrack]]: 2s is longer than the interval \
         of 1s; write at most that"
    );
    assert!(input_error("sample_interval = '0s'").contains("0s is too short"));
    let agent = error("[agent]\nsample_interval = '2s'\n[[inputs.conntrack]]\ninterval = '1s'");
    assert!(
        agent.starts_with("t.conf:2:19: 'sample_interval' in [agent]: 2s is longer"),
        "{agent}"
    );
}

#[test]
fn precision_follows_telegraf_only_where_asked() {
    assert_eq!(input("").rounding(), Duration::ZERO);
    assert_eq!(input("compat = ''").rounding(), Duration::ZERO);
    let compat = |interval| {
        input(&format!("compat = 'telegraf'\nsample_interval = '1ms'\ninterval = '{interval}'"))
            .rounding()
    };
    assert_eq!(compat("10s"), Duration::from_secs(1));
    assert_eq!(compat("1s"), Duration::from_secs(1));
    assert_eq!(compat("999ms"), Duration::from_millis(1));
    let set = input("compat = 'telegraf'\nprecision = '1ns'");
    assert_eq!(set.rounding(), Duration::from_nanos(1));
}

#[test]
fn alias_log_level_and_keys_without_effect() {
    let input_with = input(
        "alias = 'edge'\nlog_level = 'debug'\ntime_source = 'metric'\n\
         startup_error_behavior = 'retry'\nlabels = { a = 'b' }\npercpu_rates = true\nebpf_per_packet = true\n\
         ebpf_invalid = true",
    );
    assert_eq!(input_with.alias.as_deref(), Some("edge"));
    assert_eq!(input_with.log_level, Some(LevelFilter::Debug));
    assert!(input_with.percpu_rates && input_with.ebpf_per_packet && input_with.ebpf_invalid);
    assert_eq!(input_with.ebpf_attach, None);
    let attach = |how| input(&format!("ebpf_attach = '{how}'")).ebpf_attach;
    assert_eq!(attach("trampoline"), Some(EbpfAttach::Trampoline));
    assert_eq!((attach("auto"), attach("")), (Some(EbpfAttach::Auto), None));
    assert!(input_error("ebpf_attach = 'fentry'").contains("\"fentry\" is not supported"));
    assert_eq!(input("alias = ''\nlog_level = ''").alias, None);
    assert_eq!(
        input_error("log_level = 'warning'"),
        "t.conf:2:13: 'log_level' in [[inputs.conntrack]]: \"warning\" is not supported; \
         supported: \"error\", \"warn\", \"info\", \"debug\", \"trace\""
    );
    assert_eq!(input("log_level = 'WARN'").log_level, Some(LevelFilter::Warn));
    assert!(input_error("time_source = 'start'").contains("is not supported"));
    assert!(input_error("startup_error_behavior = 'fail'").contains("is not supported"));
}

/// Each walk over the table has an emission.
#[test]
fn the_composition_is_written_at_most_once_in_the_interval() {
    let every = |keys: &str| input(keys).composition_interval().map(|every| every.as_secs());
    assert_eq!((every(""), every("composition = '0s'")), (None, None));
    assert_eq!(every("interval = '1s'\ncomposition = '30s'"), Some(30));
    assert_eq!(every("interval = '1m'\ncomposition = '30s'"), Some(60));
    assert_eq!(every("composition = '30s'\ncompat = 'telegraf'"), None);
    assert_eq!(
        input_error("composition = 10"),
        "t.conf:2:15: 'composition' in [[inputs.conntrack]]: the number 10 is not a duration here; \
         write it as a string with its unit: composition = \"10s\""
    );
    assert!(input_error("composition = 'often'").contains("'composition' in"));
}

#[test]
fn the_source_is_one_of_three() {
    assert_eq!(input("").source, Source::Auto);
    assert_eq!(input("source = ''").source, Source::Auto);
    assert_eq!(input("source = 'procfs'\ncompat = 'telegraf'").source, Source::Procfs);
    assert_eq!(input("source = 'netlink'").source, Source::Netlink);
    assert_eq!(
        input_error("source = 'netlinks'"),
        "t.conf:2:10: 'source' in [[inputs.conntrack]]: \"netlinks\" is not supported; did you \
         mean \"netlink\"?"
    );
    let both = input_error("compat = 'telegraf'\nsource = 'netlink'");
    assert!(both.starts_with("t.conf:3:10: 'source'") && both.contains("remove one"), "{both}");
}

#[test]
fn one_input_for_each_namespace() {
    let names = |text: &str| {
        let inputs = loaded(text).settings.inputs;
        let tags: Vec<bool> = inputs.iter().map(|input| input.netns_tag).collect();
        let names = inputs.into_iter().map(|input| input.netns.to_string());
        (names.collect::<Vec<_>>(), tags)
    };
    let own = || "self".to_owned();
    let table = "[[inputs.conntrack]]\n";
    assert_eq!(names(table), (vec![own()], vec![false]));
    assert_eq!(names(&format!("{table}netns = []")), (vec![own()], vec![false]));
    assert_eq!(names(&format!("{table}netns = 'blue'")), (vec!["blue".to_owned()], vec![false]));
    assert_eq!(
        names(&format!("{table}netns = ['blue', 'pid:7', '/run/x']")),
        (["blue", "pid:7", "/run/x"].map(str::to_owned).to_vec(), vec![true; 3])
    );
    assert_eq!(
        names(&format!("{table}netns = 'blue'\n{table}")),
        (vec!["blue".to_owned(), own()], vec![true; 2])
    );
    assert_eq!(names(&format!("{table}{table}")), (vec![own(), own()], vec![false; 2]));
    assert_eq!(input("netns = 'pid:12'").netns, Netns::Pid(12));
    assert!(
        input_error("netns = ['blue', 'pid:x']").starts_with(
            "t.conf:2:18: 'netns' in [[inputs.conntrack]]: 'x' is not a process number"
        )
    );
    assert!(input_error("netns = ''").starts_with("t.conf:2:9: 'netns'"));
    assert!(input_error("netns = ['a', 'a']").contains("'a' is listed twice"));
    assert!(input_error("netns = 1").contains("expected a string or an array of strings"));
}
