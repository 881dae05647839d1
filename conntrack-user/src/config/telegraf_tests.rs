//! Files that Telegraf reads, of each of its eras: they mean the same here.
//!
//! Each form was found in Telegraf's own loader (`config/config.go`, `config/envvar.go`), at the
//! release that is named.

use std::io::Write;
use std::time::Duration;

use log::LevelFilter;

use super::tests::{error, loaded};
use super::{Loaded, load, parse};

const INPUT: &str = "[[inputs.conntrack]]\n";

/// What the file with these bytes gives.
fn loaded_bytes(bytes: &[u8]) -> Loaded {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    load(file.path()).unwrap_or_else(|error| panic!("{error}"))
}

/// What `text` gives where each variable has this value.
fn with_variables(text: &str, value: &str) -> Result<Loaded, String> {
    let environment = |_: &str| Some(value.to_owned());
    parse("t.conf", text, &environment).map_err(|error| error.to_string())
}

#[test]
fn bytes_that_are_not_utf8_in_comments_do_not_matter() {
    let text = b"# gr\xfc\xdfe\n[agent] # \xff\r\n  interval = '20s'\n[[inputs.conntrack]]\n";
    let loaded = loaded_bytes(text);
    assert_eq!(loaded.settings.inputs[0].interval, Duration::from_secs(20));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn bytes_that_are_not_utf8_in_other_plugins_do_not_matter() {
    let text =
        b"[[outputs.influxdb]]\n  database = \"gr\xfcn\"\n  '\xe9' = 1\n[[inputs.conntrack]]\n";
    assert_eq!(loaded_bytes(text).warnings.len(), 1, "of the ignored plugin");
}

#[test]
fn bytes_that_are_not_utf8_in_our_values_are_read_as_telegraf_does_and_named() {
    let loaded = loaded_bytes(b"[global_tags]\n  dc = \"K\xf6ln\"\n[[inputs.conntrack]]\n");
    assert_eq!(loaded.settings.global_tags["dc"], "K\u{fffd}ln");
    let [warning] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
    assert!(warning.contains(":2:8: 'K\u{fffd}ln' has bytes that are not UTF-8"), "{warning}");
    // A file that is UTF-8 may hold the character.
    let loaded = loaded_bytes("[global_tags]\ndc = '\u{fffd}'\n[[inputs.conntrack]]".as_bytes());
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn control_characters_in_comments_do_not_matter() {
    loaded_bytes(b"# page one\x0c \x1b[1m\x7f\n[[inputs.conntrack]] # \x0c\n");
}

/// Telegraf 1.38 and later read the file first and expand variables in its strings.
#[test]
fn no_value_of_a_variable_ends_a_string() {
    for value in
        ["a\"b", "it's", "'''", "\"\"\"", "back\\slash", "two\nlines", "# no comment", "$V"]
    {
        for string in ["'${V}'", "\"$V\"", "'''${V}'''", "\"\"\"${V}\"\"\""] {
            let other = format!("[[outputs.influxdb]]\npassword = {string}\n{INPUT}");
            with_variables(&other, value).unwrap_or_else(|error| panic!("{error}\n{other}"));
            let ours = format!("[global_tags]\nt = {string}\n{INPUT}");
            let loaded = with_variables(&ours, value).unwrap();
            assert_eq!(loaded.settings.global_tags["t"], value, "{string}");
        }
    }
}

#[test]
fn unset_variables_of_other_plugins_are_no_error() {
    let text = "[[outputs.x]]\nport = $PORT\npassword = '${PASSWORD:?is needed}'\n\
                n = ${N:?is needed}\nlist = [$A, \"$B\"]\n[[inputs.conntrack]]\n";
    assert_eq!(
        loaded(text).warnings,
        ["t.conf: only inputs.conntrack is read here; ignored: outputs.x"]
    );
    let ours = error("[agent]\ninterval = ${N:?is needed}\n[[inputs.conntrack]]\n");
    assert_eq!(ours, "t.conf:2:12: the environment variable 'N' is not set or empty: is needed");
    let unset = error("[agent]\nquiet = $QUIET\n[[inputs.conntrack]]\n");
    assert!(unset.starts_with("t.conf:2:9: 'quiet' in [agent]: wrong type"), "{unset}");
}

/// Until 1.37 a value was put into the text, so that it could be a number.
#[test]
fn a_variable_outside_of_a_string_is_put_into_the_text() {
    let text = format!("[agent]\ninterval = $V\n{INPUT}");
    let loaded = with_variables(&text, "30").unwrap();
    assert_eq!(loaded.settings.inputs[0].interval, Duration::from_secs(30));
    let text = format!("{INPUT}collect = [ ${{V}} ]\n");
    let loaded = with_variables(&text, "'all', 'percpu'").unwrap();
    assert!(loaded.settings.inputs[0].collect.percpu);
}

/// `[tags]` is the name of `[global_tags]` before 0.10, still read by all releases.
#[test]
fn tags_is_the_old_name_of_global_tags() {
    let tags = |text: &str| loaded(&format!("{text}\n{INPUT}")).settings.global_tags;
    assert_eq!(tags("[tags]\ndc = 'ams'")["dc"], "ams");
    let both = tags("[tags]\ndc = 'old'\nrack = 'r1'\n[global_tags]\ndc = 'new'");
    assert_eq!((both["dc"].as_str(), both["rack"].as_str()), ("new", "r1"));
    let filter = &loaded(&format!("[tags]\ndc = 'ams'\n{INPUT}")).settings.inputs[0].filter;
    assert_eq!(filter.global_tags["dc"], "ams");
    let wrong = error(&format!("[tags]\ndc = 1\n{INPUT}"));
    assert!(wrong.starts_with("t.conf:2:6: 'dc' in [tags]: wrong type"), "{wrong}");
}

/// `[plugins]` is the name of `[inputs]` before 0.10, and a table of any unknown name is an input.
#[test]
fn older_names_of_an_inputs_table() {
    for header in [
        "[[inputs.conntrack]]",
        "[inputs.conntrack]",
        "[[plugins.conntrack]]",
        "[plugins.conntrack]",
        "[conntrack]",
    ] {
        let loaded = loaded(&format!("{header}\ncollect = ['all']\n"));
        assert_eq!(loaded.settings.inputs.len(), 1, "{header}");
        assert!(loaded.settings.inputs[0].collect.all, "{header}");
        assert!(loaded.warnings.is_empty(), "{header}: {:?}", loaded.warnings);
    }
    let all = loaded("[[plugins.conntrack]]\n[[inputs.conntrack]]\nalias = 'a'\n[conntrack]");
    assert_eq!(all.settings.inputs.len(), 3);
    // Telegraf refuses this form.
    assert_eq!(
        error("[[conntrack]]"),
        "t.conf:1:3: unknown table or key 'conntrack'; write [[inputs.conntrack]]"
    );
}

#[test]
fn older_names_of_other_inputs_are_ignored() {
    assert_eq!(
        loaded("[cpu]\npercpu = true\n[mem]\n[[plugins.disk]]\n[conntrack]\n").warnings,
        ["t.conf: only inputs.conntrack is read here; ignored: inputs.cpu, inputs.mem, \
          plugins.disk"]
    );
}

#[test]
fn options_of_the_agent_of_every_release() {
    // Gone today: flush_retries since 0.10, flush_buffer_when_full and utc since 1.35.
    let text = "[agent]\ninterval = 30\nround_interval = false\nflush_interval = '10s'\n\
                flush_jitter = '0s'\nflush_retries = 2\nflush_buffer_when_full = true\nutc = true\n\
                precision = 's'\ndebug = false\nquiet = true\nlogfile = '/var/log/t.log'\n\
                hostname = 'gw'\nomit_hostname = false\nmetric_buffer_limit = 1000\n\
                collection_jitter = '0s'\nlogtarget = 'file'\n[[inputs.conntrack]]\n";
    let loaded = loaded(text);
    assert_eq!(loaded.settings.inputs[0].interval, Duration::from_secs(30));
    assert!(!loaded.settings.inputs[0].round_interval);
    assert!(loaded.settings.inputs[0].precision.is_zero());
    assert_eq!(loaded.settings.host.as_deref(), Some("gw"));
    assert_eq!(loaded.settings.log_level, LevelFilter::Error);
    let [unused, precision] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
    assert_eq!(
        unused,
        "t.conf: these keys of [agent] have no effect here: flush_buffer_when_full, \
         flush_interval, flush_jitter, flush_retries, logfile, logtarget, metric_buffer_limit, utc"
    );
    assert!(precision.contains("\"s\" is of Telegraf before 1.0"), "{precision}");
}

/// For these keys Telegraf ignores case and `_`.
#[test]
fn keys_in_another_notation() {
    let text = "[agent]\nRoundInterval = false\nflushJitter = '1s'\nHostname = 'gw'\n\
                [[inputs.conntrack]]\nCollect = ['all']\n";
    let loaded = loaded(text);
    assert!(!loaded.settings.inputs[0].round_interval && loaded.settings.inputs[0].collect.all);
    assert_eq!(loaded.settings.host.as_deref(), Some("gw"));
    let twice = error("[agent]\ndebug = true\nDebug = false\n[[inputs.conntrack]]");
    assert!(twice.ends_with(": duplicate key 'debug'; keep one"), "{twice}");
    // Telegraf takes the keys of all inputs in one writing only.
    assert_eq!(
        error("[[inputs.conntrack]]\nInterval = '1s'"),
        "t.conf:2:1: unknown key 'Interval' in [[inputs.conntrack]]; did you mean 'interval'?"
    );
}

#[test]
fn a_flag_in_a_string_is_read_and_named() {
    let text = "[agent]\ndebug = 'true'\nquiet = \"0\"\n[[inputs.conntrack]]\ninternal = 'True'";
    let loaded = loaded(text);
    assert_eq!(loaded.settings.log_level, LevelFilter::Debug);
    assert!(loaded.settings.inputs[0].internal);
    assert_eq!(loaded.warnings.len(), 3);
    assert_eq!(
        loaded.warnings[0],
        "t.conf:2:9: 'debug' in [agent]: \"true\" is read as true; write debug = true"
    );
    let wrong = error("[agent]\ndebug = 'yes'\n[[inputs.conntrack]]");
    assert!(wrong.contains("wrong type: found string"), "{wrong}");
}

/// Telegraf takes these keys in the table of any plugin.
#[test]
fn keys_of_other_kinds_of_plugins_have_no_effect() {
    let text = "[[inputs.conntrack]]\ndata_format = 'influx'\nmetric_batch_size = 10\n";
    assert_eq!(
        loaded(text).warnings,
        ["t.conf: these keys of [[inputs.conntrack]] have no effect here: data_format, \
          metric_batch_size"]
    );
}

/// influxdata/toml separates keys by nothing but blanks in the table of a header.
#[test]
fn several_keys_on_a_line() {
    let text = "[agent] interval = '20s' quiet = true\n\
                [[inputs.conntrack]] collect = ['all'] alias = \"a = b\" # c = d\n\
                [inputs.conntrack.tags] x = 'y'\n[[inputs.cpu]] percpu = true totalcpu = false\n";
    let loaded = loaded(text);
    let input = &loaded.settings.inputs[0];
    assert_eq!(input.interval, Duration::from_secs(20));
    assert_eq!(loaded.settings.log_level, LevelFilter::Error);
    assert_eq!((input.alias.as_deref(), input.collect.all), (Some("a = b"), true));
    assert_eq!(
        loaded.warnings,
        ["t.conf: only inputs.conntrack is read here; ignored: inputs.cpu"]
    );
    // Places are those of the file.
    assert_eq!(
        error("[agent] interval = '20s' quite = true\n[[inputs.conntrack]]"),
        "t.conf:1:26: unknown key 'quite' in [agent]; did you mean 'quiet'?"
    );
    // Not before the first table, and not a value without quotes.
    assert!(error("a = '1' b = 2\n[[inputs.conntrack]]").contains("1:9: this is not valid TOML"));
    let unquoted = error("[agent]\ninterval = 10 s\n[[inputs.conntrack]]");
    assert!(
        unquoted.starts_with("t.conf:2:12: this is not valid TOML: string values"),
        "{unquoted}"
    );
    assert_eq!(
        error("[agent]interval = '20s'\n[[inputs.conntrack]]"),
        "t.conf:1:8: this is not valid TOML: unexpected key or value, expected newline, `#`; \
         Telegraf takes it: write each key on a line of its own"
    );
}

#[test]
fn a_carriage_return_ends_a_line() {
    let text = "[agent]\r\r\ninterval = '20s'\r[[inputs.conntrack]]\ralias = 'a'\r";
    let input = &loaded(text).settings.inputs[0];
    assert_eq!((input.interval, input.alias.as_deref()), (Duration::from_secs(20), Some("a")));
}

/// Each of them is taken by influxdata/toml of 2025-11-06 (c381e153), which Telegraf's go.mod names.
#[test]
fn what_another_plugins_table_has_beyond_toml_is_not_judged() {
    for (keys, reason) in [
        ("tags = { a = '1' }\n[inputs.cpu.tags]\nb = '2'", "duplicate key"),
        ("t = { a = '1' }\nt = { b = '2' }", "duplicate key"),
        ("m = [{ a = '1' }]\n[[inputs.cpu.m]]\nb = '2'", "duplicate key"),
        ("m = [{ a = '1' }]\n[inputs.cpu.m.n]\nb = '2'", "cannot extend value of type array"),
        ("x = \"a\u{7f}b\"", "invalid basic string"),
        ("x = 'a\u{7f}b'", "invalid literal string"),
        ("x = '''a\rb'''", "carriage return"),
        ("x = 2024-02-31T10:00:00Z", "invalid date"),
        ("x = { a = '1'b = '2' }", "missing comma"),
        ("x = 'a'y = 'b'", "unexpected key"),
    ] {
        for text in [
            format!("[[inputs.cpu]]\n{keys}\n[[inputs.conntrack]]\nalias = 'a'\n"),
            format!("[[inputs.conntrack]]\nalias = 'a'\n[[inputs.cpu]]\n{keys}\n"),
        ] {
            let loaded = loaded(&text);
            let [input] = loaded.settings.inputs.as_slice() else { panic!("{text}") };
            assert_eq!(input.alias.as_deref(), Some("a"), "{text}");
            let [ignored, warning] = loaded.warnings.as_slice() else {
                panic!("{text}: {:?}", loaded.warnings)
            };
            assert!(ignored.ends_with("ignored: inputs.cpu"), "{ignored}");
            let named =
                warning.contains("inputs.cpu") && warning.contains("is no TOML and not read: ");
            assert!(named && warning.contains(reason), "{text}: {warning}");
        }
        // A table before is no excuse.
        let ours = keys.replace("inputs.cpu", "inputs.conntrack");
        let ours = error(&format!("[[inputs.cpu]]\n[[inputs.conntrack]]\n{ours}"));
        assert!(ours.contains("this is not valid TOML: ") && ours.contains(reason), "{ours}");
    }
}

#[test]
fn a_table_that_takes_in_ours_is_an_error() {
    for open in ["x = [", "x = '''", "x = \"\"\"", "x = {", "x = [ 'a'\n"] {
        let text = format!("[[inputs.cpu]]\n{open}\n[[inputs.conntrack]]\n");
        let error = error(&text);
        assert!(
            error.starts_with("t.conf:") && error.contains("not valid TOML"),
            "{text}: {error}"
        );
    }
    // So is one that may be ours.
    for header in ["[[inputs.contrack]]", "[[output.file]]", "[agnet]"] {
        let error = error(&format!("[[inputs.conntrack]]\n{header}\nx = = 1\n"));
        assert!(error.contains("not valid TOML"), "{error}");
    }
}

#[test]
fn what_our_table_has_beyond_toml_is_an_error_that_says_so() {
    assert_eq!(
        error("[[inputs.conntrack]]\ntags = { a = '1' }\n[inputs.conntrack.tags]\nb = '2'\n"),
        "t.conf:3:19: this is not valid TOML: duplicate key 'tags'; Telegraf joins an inline table \
         with another table of its name: write one table with the keys of both"
    );
    let extended = error("inputs = { cpu = { x = 1 } }\n[[inputs.conntrack]]\n");
    assert!(
        extended
            .ends_with("Telegraf continues an inline table: write a header ([...]) in its place"),
        "{extended}"
    );
    let comma = error("[[inputs.conntrack]]\ntags = { a = '1'b = '2' }\n");
    assert!(comma.ends_with("; Telegraf takes it without: write the comma"), "{comma}");
}
