//! Parses the lines of a guest's console.
//!
//! The init writes its marks to the kernel's log, which never splits a line. A mark may follow the
//! beginning of another program's line, so it is searched anywhere in a line.
//! Faults count only in lines of the kernel: a test may print such words too.

/// The meaning of a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// A test that will run.
    Listed(&'a str),
    /// A test starts.
    Began(&'a str),
    /// A test has ended.
    Ended {
        /// Its name.
        test: &'a str,
        /// The result that its process reported.
        passed: bool,
    },
    /// A measurement: `NAME number=...`.
    Measured(&'a str),
    /// All tests have ended.
    Done,
    /// The kernel is not well.
    Trouble(&'a str),
}

const MARK: &str = "ctpulse-guest: ";

/// Messages of the kernel about faults in it.
const FAULTS: [&str; 6] =
    ["Kernel panic", "Oops", "BUG:", "[#1]", "UBSAN:", "general protection fault"];

/// The event of a line, if it is one.
pub(crate) fn event(line: &str) -> Option<Event<'_>> {
    let Some((_, mark)) = line.split_once(MARK) else { return trouble(line) };
    if let Some(figure) = mark.strip_prefix("measured ") {
        return Some(Event::Measured(figure.trim_end()));
    }
    let mut words = mark.split_whitespace();
    match (words.next()?, words.next(), words.next()) {
        ("test", Some(test), None) => Some(Event::Listed(test)),
        ("begin", Some(test), None) => Some(Event::Began(test)),
        ("end", Some(test), Some(status)) => Some(Event::Ended { test, passed: status == "0" }),
        ("done", None, None) => Some(Event::Done),
        _ => None,
    }
}

fn trouble(line: &str) -> Option<Event<'_>> {
    let text = kernel_text(line)?;
    let fault = text.starts_with("WARNING:") || FAULTS.iter().any(|fault| text.contains(fault));
    fault.then_some(Event::Trouble(text))
}

/// The text after the kernel's time stamp, `[    1.234567] `.
fn kernel_text(line: &str) -> Option<&str> {
    line.match_indices('[').find_map(|(start, _)| {
        let (stamp, text) = line[start + 1..].split_once("] ")?;
        let (seconds, fraction) = stamp.trim_start().split_once('.')?;
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        (is_number(seconds) && is_number(fraction)).then_some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_behind_anything() {
        let began = Some(Event::Began("a::b"));
        assert_eq!(event("[   10.123456] ctpulse-guest: begin a::b"), began);
        assert_eq!(event("test x ... [   10.1] ctpulse-guest: begin a::b\r"), began);
        let ended = |passed| Some(Event::Ended { test: "a", passed });
        assert_eq!(event("[1.0] ctpulse-guest: end a 0"), ended(true));
        assert_eq!(event("[1.0] ctpulse-guest: end a 101"), ended(false));
        assert_eq!(event("[1.0] ctpulse-guest: end a"), None);
        assert_eq!(event("[1.0] ctpulse-guest: done"), Some(Event::Done));
        let measured = event("[1.0] ctpulse-guest: measured losses ours=0\r");
        assert_eq!(measured, Some(Event::Measured("losses ours=0")));
    }

    #[test]
    fn faults_are_the_kernels() {
        let fault = |line| matches!(event(line), Some(Event::Trouble(_)));
        assert!(fault("[    9.876543] Kernel panic - not syncing: Attempted to kill init!"));
        assert!(fault("[    9.876543] WARNING: CPU: 1 PID: 2 at kernel/trace/ftrace.c:1"));
        assert!(fault("test a ... [    9.876543] BUG: kernel NULL pointer dereference"));
        assert!(fault("[    9.876543] watchdog: BUG: soft lockup - CPU#0 stuck for 22s!"));
        assert!(fault("[    9.876543] invalid opcode: 0000 [#1] SMP NOPTI"));
        assert!(!fault("WARNING: a test's own"));
        assert!(!fault("[a test] Oops"));
        assert!(!fault("[    0.1] Spectre V2 : WARNING: Unprivileged eBPF is enabled"));
    }
}
