//! Support for the tests on this host and in a guest: the binary, processes that never outlive a
//! test, and network namespaces that a test makes and takes away.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Whether trampolines that a guest's tests ask for (`cargo xtask vm --attach trampoline`) must be given
/// up when nothing else uses the module: the test unloads it.
pub(crate) static ATTACHES_UNTIL_UNUSED: AtomicBool = AtomicBool::new(false);

/// The binary under test, with nothing of this environment that changes what it does.
pub(crate) fn ctpulse() -> Command {
    let mut command = Command::new(binary());
    if ATTACHES_UNTIL_UNUSED.load(Ordering::Relaxed)
        && std::env::var("CTPULSE_EBPF_ATTACH").is_ok_and(|how| how == "trampoline")
    {
        command.env("CTPULSE_EBPF_ATTACH", "auto");
    }
    with_default_signals(&mut command);
    for variable in ["HOST_PROC", "HOST_SYS", "NO_COLOR"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    command
}

/// Where the binary under test is.
pub(crate) fn binary() -> std::ffi::OsString {
    std::env::var_os("CTPULSE_BIN").unwrap_or(env!("CARGO_BIN_EXE_ctpulse").into())
}

/// Undoes what `nohup`, or a shell that runs the tests in the background, has every child inherit:
/// SIGINT and SIGHUP that are ignored.
#[allow(unsafe_code, reason = "between fork and exec there is no safe way to set an action")]
pub(crate) fn with_default_signals(command: &mut Command) {
    let reset = || {
        for signal in [libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
            // SAFETY: signal(2) is async-signal-safe, and the default action is no pointer.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Ok(())
    };
    // SAFETY: `reset` makes system calls only: no allocation, no lock.
    unsafe { command.pre_exec(reset) };
}

/// Runs to the end; panics with both outputs when it fails.
pub(crate) fn output(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    output
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A child process whose standard output is read line by line, killed when it is dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) lines: Receiver<String>,
}

impl Running {
    /// Starts the command and a thread that reads its standard output.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut running = Self::start_unread(command);
        let stdout = running.child.stdout.take().unwrap();
        running.lines = lines_of(stdout);
        running
    }

    /// Starts the command. No thread reads its standard output before the test does.
    pub(crate) fn start_unread(command: &mut Command) -> Self {
        let child = command.stdout(Stdio::piped()).spawn().unwrap();
        Self { child, lines: channel().1 }
    }

    /// The next line, or `None` when none comes within `patience` or the output has ended.
    pub(crate) fn line(&self, patience: Duration) -> Option<String> {
        self.lines.recv_timeout(patience).ok()
    }

    /// All lines until the output ends.
    pub(crate) fn rest(&self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(Duration::from_secs(30)) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => return lines,
                Err(RecvTimeoutError::Timeout) => panic!("the output does not end: {lines:?}"),
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for the end; the status and how long it took.
    pub(crate) fn wait(&mut self) -> (ExitStatus, Duration) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(60) {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, start.elapsed());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("the process does not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of an output, read by a thread of their own.
pub(crate) fn lines_of(mut stdout: ChildStdout) -> Receiver<String> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let (mut buffer, mut pending) = ([0; 4096], Vec::new());
        while let Ok(length @ 1..) = stdout.read(&mut buffer) {
            for &byte in &buffer[..length] {
                if byte == b'\n' {
                    let line = String::from_utf8(std::mem::take(&mut pending)).unwrap();
                    if send.send(line).is_err() {
                        return;
                    }
                } else {
                    pending.push(byte);
                }
            }
        }
        assert!(pending.is_empty(), "a torn line: {:?}", String::from_utf8_lossy(&pending));
    });
    receive
}

/// The `cpu=all` row of one reading in a namespace.
pub(crate) fn statistics(namespace: &str) -> String {
    let output = output(ctpulse().args(["--once", "--format", "influx", "--netns", namespace]));
    let text = text(&output.stdout);
    text.lines().find(|line| line.contains("cpu=all")).unwrap_or_else(|| panic!("{text}")).into()
}

/// The integer of a field in a line of line protocol.
pub(crate) fn integer(line: &str, field: &str) -> Option<u64> {
    number(line, field)?.strip_suffix('i')?.parse().ok()
}

/// The text of a field's number in a line of line protocol without escapes.
pub(crate) fn number<'a>(line: &'a str, field: &str) -> Option<&'a str> {
    let fields = line.split(' ').nth(1)?;
    fields.split(',').find_map(|pair| pair.strip_prefix(field)?.strip_prefix('='))
}

/// A network namespace with loopback up and a rule that makes it track connections.
pub(crate) struct Namespace {
    pub(crate) name: String,
}

impl Namespace {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self::named(format!("ctpulse-{}-{number}", std::process::id()))
    }

    pub(crate) fn named(name: String) -> Self {
        let namespace = Self { name };
        run("ip", &["netns", "add", &namespace.name]);
        namespace.exec("ip", &["link", "set", "lo", "up"]);
        namespace.track();
        namespace
    }

    /// Has connections tracked.
    pub(crate) fn track(&self) {
        self.exec("nft", &["add", "table", "inet", "t"]);
        let chain = "{ type filter hook output priority 0; }";
        self.exec("nft", &["add", "chain", "inet", "t", "out", chain]);
        self.exec("nft", &["add", "rule", "inet", "t", "out", "ct", "state", "new", "counter"]);
    }

    pub(crate) fn exec(&self, program: &str, arguments: &[&str]) {
        run("ip", &[&["netns", "exec", &self.name, program][..], arguments].concat());
    }

    /// Runs `inside` on a thread that entered the namespace.
    pub(crate) fn inside<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        let path = Path::new("/run/netns").join(&self.name);
        std::thread::scope(|scope| {
            scope
                .spawn(|| ctpulse::source::namespace::within(&path, inside).unwrap())
                .join()
                .unwrap()
        })
    }

    /// Sends one UDP datagram over loopback from each of `flows` new sockets: as many new
    /// connections. Returns how many the kernel refused to send, and the sockets.
    pub(crate) fn udp_flows(&self, flows: usize) -> (usize, Vec<std::net::UdpSocket>) {
        self.inside(|| {
            let receiver = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let to = receiver.local_addr().unwrap();
            let mut sockets = vec![receiver];
            let mut refused = 0;
            for _ in 0..flows {
                let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
                refused += usize::from(socket.send_to(b"x", to).is_err());
                sockets.push(socket);
            }
            (refused, sockets)
        })
    }
}

impl Namespace {
    /// As many entries as flows, read by the agent after each of several batches. The sockets
    /// keep their ports from being used again.
    pub(crate) fn assert_flows_are_entries(&self) -> Vec<std::net::UdpSocket> {
        assert_eq!(integer(&statistics(&self.name), "entries"), Some(0));
        let mut sockets = Vec::new();
        for (flows, sum) in [(1, 1), (99, 100), (400, 500)] {
            let (refused, more) = self.udp_flows(flows);
            assert_eq!(refused, 0);
            sockets.extend(more);
            let line = statistics(&self.name);
            assert_eq!(integer(&line, "entries"), Some(sum), "{line}");
        }
        sockets
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", text(&output.stderr));
}
