//! `ctpulse live --replay`: a recording on the screen.

use super::*;

/// A recording of the fixture: 40 rows, 100 ms apart.
fn recorded(format: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut command = ctpulse();
    command.args(["--count", "40", "--interval", "100ms", "--collect", "all,percpu"]);
    command.args(["--internal", "--ebpf", "off", "--format", format, "--output"]);
    output(command.arg(file.path()).args(roots(&fixture("5.15"))));
    file
}

#[test]
fn a_recording_is_shown_at_its_speed_faster_and_in_steps() {
    for format in ["influx", "json"] {
        let file = recorded(format);
        let path = file.path().to_str().unwrap();
        let start = Instant::now();
        let mut terminal = Terminal::start(100, 30, &["--replay", path]);
        terminal.until_shown("replay 1 x");
        terminal.until_shown("Table  2,849 of 262,144 entries");
        terminal.until_shown("clash_resolve              0");
        terminal.press("p");
        terminal.until_shown("PAUSED");
        let clock = |terminal: &Terminal| terminal.contents().lines().next().unwrap().to_owned();
        let held = clock(&terminal);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(clock(&terminal), held);
        // Eleven steps are more than a second of the recording.
        terminal.press("...........");
        terminal.until("another second", |screen| !screen.contents().starts_with(&held));
        assert!(terminal.contents().contains("PAUSED"));
        terminal.press("p");
        terminal.until_shown("replay 1 x, at the end");
        // 3.9 s of rows, of which those that were stepped over took no time.
        assert!(start.elapsed() > Duration::from_secs(2), "{:?}", start.elapsed());
        terminal.press("q");
        assert!(terminal.wait().success());
        terminal.assert_restored();

        let start = Instant::now();
        let terminal = Terminal::start(100, 30, &["--replay", path, "--speed", "100"]);
        terminal.until_shown("replay 100 x, at the end");
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    }
}

/// Waits until the program handles SIGINT and SIGTERM, whichever it asks for first.
fn until_signals_are_handled(terminal: &Terminal) {
    let status = format!("/proc/{}/status", terminal.child.id());
    let start = Instant::now();
    let handles = || {
        let status = std::fs::read_to_string(&status).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        let both = 1 << (Signal::INT.as_raw() - 1) | 1 << (Signal::TERM.as_raw() - 1);
        u64::from_str_radix(caught.trim(), 16).unwrap() & both == both
    };
    while !handles() {
        assert!(start.elapsed() < SOON);
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn fifo(directory: &tempfile::TempDir) -> String {
    let fifo = directory.path().join("fifo").to_str().unwrap().to_owned();
    output(std::process::Command::new("mkfifo").arg(&fifo));
    fifo
}

/// The recording was read before anything acted on signals and keys.
#[test]
fn a_recording_that_does_not_begin_can_be_ended() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = fifo(&directory);
    for path in [&fifo, "/dev/zero"] {
        let mut terminal = Terminal::start(80, 24, &["--replay", path]);
        until_signals_are_handled(&terminal);
        terminal.signal(Signal::TERM);
        assert!(terminal.wait().success());

        let mut terminal = Terminal::start(80, 24, &["--replay", path]);
        terminal.until_shown("; Ctrl-C ends");
        terminal.press("\x03");
        assert!(terminal.wait().success());
        assert!(!terminal.screen.lock().unwrap().screen().alternate_screen());
    }
}

/// A pipe that stays open: the rows after those that are read ahead never come.
#[test]
fn a_recording_that_does_not_go_on_can_be_ended() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = fifo(&directory);
    for key in ["q", "\x03"] {
        let mut terminal = Terminal::start(80, 24, &["--replay", &fifo, "--speed", "1024"]);
        let mut writer = std::fs::File::options().write(true).open(&fifo).unwrap();
        let start_ns = 1_795_418_322_000_000_000_u64;
        // More than is read ahead, and a millisecond apart: a quarter of a second at that speed.
        let rows: String = (0..(1 << 18) + 50_000)
            .map(|at| format!("conntrack,cpu=all entries=7i {}\n", start_ns + at * 1_000_000))
            .collect();
        std::io::Write::write_all(&mut writer, rows.as_bytes()).unwrap();
        let start = Instant::now();
        while rustix::io::ioctl_fionread(&writer).unwrap() > 0 {
            assert!(start.elapsed() < SOON, "it is not read");
            std::thread::sleep(Duration::from_millis(10));
        }
        terminal.until("the picture", vt100::Screen::alternate_screen);
        terminal.press(key);
        assert!(terminal.wait().success());
        terminal.assert_restored();
    }
}

/// One truth in several forms: 5 drops and 3 failed insertions a second on two CPUs. With fields on
/// several lines `insert_failed` was one that "this kernel does not count", and with each line
/// twice, with rows of single CPUs only, or beside another series, every counter was unknown.
#[test]
fn a_recording_is_shown_the_same_in_every_form() {
    let rows = |tags: &str| -> Vec<String> {
        let of_second = |second: u64| {
            let of = |cpu: &str, drop: u64, failed: u64| {
                let (drop, failed) = (1000 + drop * second, 2000 + failed * second);
                let fields =
                    format!("drop={drop}i,early_drop=0i,entries=100i,insert_failed={failed}i");
                format!("conntrack,cpu={cpu}{tags} {fields} {}000000000\n", 1_795_590_600 + second)
            };
            [of("all", 5, 3), of("cpu0", 4, 1), of("cpu1", 1, 2)]
        };
        (0..60).flat_map(of_second).collect()
    };
    let plain = rows(",host=gw");
    let apart = |line: &String| -> Vec<String> {
        let [series, fields, time] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        fields.split(',').map(|field| format!("{series} {field} {time}")).collect()
    };
    let field_a_line: Vec<_> = plain.iter().flat_map(apart).collect();
    let mut by_field = field_a_line.clone();
    by_field.sort_by_key(|line| {
        let mut words = line.split(' ').map(str::to_owned);
        let (series, field) = (words.next(), words.next().unwrap());
        (series, field.split('=').next().map(str::to_owned))
    });
    let of_cpus = plain.iter().filter(|line| !line.contains("cpu=all")).cloned().collect();
    let twice = plain.iter().flat_map(|line| [line.clone(), line.clone()]).collect();
    let other =
        |second: u64| format!("queue,cpu=all drop=7i {}000000000\n", 1_795_590_600 + second);
    let beside = plain.iter().cloned().chain((0..60).map(other)).collect();
    let two_tags = rows(",dc=a,host=gw").into_iter().zip(rows(",dc=b,host=gw"));
    let two_tags = two_tags.flat_map(|(a, b)| [a, b]).collect();
    for (form, lines) in [
        ("plain", plain),
        ("a field a line", field_a_line),
        ("by field", by_field),
        ("CPUs only", of_cpus),
        ("twice", twice),
        ("beside another", beside),
        ("two tags", two_tags),
    ] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), lines.concat()).unwrap();
        let path = file.path().to_str().unwrap();
        let mut terminal = Terminal::start(130, 45, &["--replay", path, "--speed", "1024"]);
        terminal.until_shown("at the end");
        terminal.until(form, |screen| {
            let contents = screen.contents();
            let numbers = |field: &str| {
                let line = contents.lines().find(|line| line.starts_with(field));
                let words = line.unwrap_or_default().split_whitespace().skip(1).take(3);
                words.collect::<Vec<_>>().join(" ")
            };
            numbers("drop ") == "5 5 5"
                && numbers("insert_failed ") == "3 3 3"
                && contents.contains("07:10:59 UTC")
                && contents.contains("CPUs, drop/s over 10 s")
                && contents.contains("cpu0 80.0%")
                && contents.contains("unknown: not in the rows")
                && !contents.contains("this kernel does not count it")
        });
        terminal.press("q");
        assert!(terminal.wait().success());
    }
}

/// 60 drops within 10 s, in recordings with rows that are missing or contradict each other. A mean was
/// 0.08, 183 or 65 million a second, or 0, without a word.
#[test]
fn rows_that_contradict_each_other_give_a_reason_and_no_rate() {
    const START: u64 = 1_795_000_000;
    let row = |tenths: u64, drop: i64, found: i64| {
        let fields = format!("drop={drop}i,found={found}i,delete=0i");
        format!("conntrack,cpu=all,host=gw {fields} {}00000000\n", START * 10 + tenths)
    };
    let table = |second: u64| {
        let fields = format!("ip_conntrack_count={second},ip_conntrack_max=262144");
        format!("conntrack,host=gw {fields} {}000000000\n", START + second)
    };
    let (drop, found) = (
        |second: u64| 81 + 6 * (second as i64 - 29).clamp(0, 10),
        |second: u64| 10_001 + 2 * second as i64,
    );
    let plain = |second: u64| row(10 * second, drop(second), found(second));
    let recording = |of_second: &dyn Fn(u64) -> String| -> String {
        (0..66).map(|second| of_second(second) + &table(second)).collect()
    };
    let missing = recording(&|second| {
        if (28..42).contains(&second) { String::new() } else { plain(second) }
    });
    let two_hosts = recording(&|second| plain(second) + &row(10 * second + 4, 0, 0));
    let one_time = recording(&|second| plain(second) + &row(10 * second, 0, 0));
    let minus = recording(&|second| {
        if (32..37).contains(&second) { row(10 * second, -1, -1) } else { plain(second) }
    });
    let most = i64::from(u32::MAX);
    let leap = recording(&|second| {
        if second == 20 { row(10 * second, most, most) } else { plain(second) }
    });
    let reset = recording(&|second| {
        row(10 * second, 100, if second < 30 { 180_000 } else { 200 } + second as i64)
    });
    for (name, lines, numbers, reason) in [
        ("missing", missing, "0 0.92 4", "packets dropped"),
        ("two hosts", two_hosts, "- - -", "unknown: counters go up and down"),
        ("one time", one_time, "- - -", "unknown: two values at one time"),
        ("minus", minus, "0 0.92 6", "a counter is below 0"),
        ("leap", leap, "0 0.92 6", "a counter rises by nearly 2^32"),
        ("reset", reset, "0 0 0", "partly unknown: began again"),
    ] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), lines).unwrap();
        let path = file.path().to_str().unwrap();
        let mut terminal = Terminal::start(130, 45, &["--replay", path, "--speed", "1024"]);
        terminal.until_shown("at the end");
        terminal.until(name, |screen| {
            let contents = screen.contents();
            let line = contents.lines().find(|line| line.starts_with("drop "));
            let words: Vec<_> = line.unwrap_or_default().split_whitespace().skip(1).collect();
            words.get(..3).is_some_and(|shown| shown.join(" ") == numbers)
                && contents.contains(reason)
                && contents.contains("not counted, as far as the rows show")
        });
        terminal.press("q");
        assert!(terminal.wait().success());
    }
}

#[test]
fn a_file_without_rows_is_an_error() {
    let diary = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(diary.path(), "dear diary\n").unwrap();
    let diary = diary.path().to_str().unwrap();
    for (path, printed) in [("/nonexistent", "/nonexistent"), (diary, "no row of conntrack")] {
        let mut terminal = Terminal::start(200, 24, &["--replay", path]);
        assert_eq!(terminal.wait().code(), Some(1));
        terminal.until_shown(printed);
    }
}
