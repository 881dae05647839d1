//! Load whose size is known: new connections as fast as the guest can begin them, from two
//! threads, and an established flow.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::probes::Setting;
use crate::support::Namespace;

/// How many threads begin connections.
const THREADS: u16 = 2;

/// The receiver's port; the senders have those above.
const PORT: u16 = 1023;

/// Makes room for everything that a measurement begins, which the kernel's own limit would not, as long
/// as the value lives.
pub(crate) fn make_room() -> Setting {
    Setting::max(1_000_000)
}

/// Takes all entries of the namespace out of the table.
pub(crate) fn flush(namespace: &Namespace) {
    namespace.exec("conntrack", &["-F"]);
}

/// The part of loopback that the senders send to, away from their own address.
fn destination(thread: u16, number: u16) -> SocketAddrV4 {
    let [high, low] = number.to_be_bytes();
    SocketAddrV4::new(Ipv4Addr::new(127, 1 + thread as u8, high, low), PORT)
}

/// Runs `send` on each thread inside the namespace, where a receiver takes (and its full buffer
/// drops) what comes to [`PORT`].
fn on_each_thread(namespace: &Namespace, send: impl Fn(u16) + Sync) {
    let receiver = namespace.inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let send = &send;
            scope.spawn(move || namespace.inside(|| send(thread)));
        }
    });
    drop(receiver);
}

/// `count` new connections, each from a new socket with a port of its own.
pub(crate) fn new_sockets(namespace: &Namespace, count: u16) {
    on_each_thread(namespace, |thread| {
        for number in (thread..count).step_by(usize::from(THREADS)) {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, PORT + 1 + number)).unwrap();
            socket.send_to(b"x", destination(thread, 0)).unwrap();
        }
    });
}

/// `count` new connections with nothing around them: a socket for each thread, whose every
/// datagram goes to another address.
pub(crate) fn new_addresses(namespace: &Namespace, count: u16) {
    on_each_thread(namespace, |thread| {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        for number in 0..count / THREADS {
            socket.send_to(b"x", destination(thread, number)).unwrap();
        }
    });
}

/// `count` TCP connections, each accepted and closed before the next of its thread.
pub(crate) fn new_streams(namespace: &Namespace, count: u16) {
    let any = (Ipv4Addr::UNSPECIFIED, PORT);
    let listener = namespace.inside(|| TcpListener::bind(any).unwrap());
    on_each_thread(namespace, |thread| {
        for number in 0..count / THREADS {
            let here = TcpStream::connect(destination(thread, number)).unwrap();
            drop((here, listener.accept().unwrap()));
        }
    });
}

/// New connections in a calm trickle, for as long.
pub(crate) fn trickle(namespace: &Namespace, length: Duration) {
    let start = Instant::now();
    while start.elapsed() < length {
        new_addresses(namespace, 20);
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// An established flow in a namespace: both sides have heard from each other.
pub(crate) struct Flow {
    here: UdpSocket,
    there: UdpSocket,
}

impl Flow {
    pub(crate) fn new(namespace: &Namespace) -> Self {
        let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (here, there) = namespace.inside(|| (bind(), bind()));
        here.connect(there.local_addr().unwrap()).unwrap();
        there.connect(here.local_addr().unwrap()).unwrap();
        let flow = Self { here, there };
        flow.send(&flow.here, &flow.there, 2);
        flow.send(&flow.there, &flow.here, 2);
        flow
    }

    fn send(&self, from: &UdpSocket, to: &UdpSocket, datagrams: u32) {
        for _ in 0..datagrams {
            from.send(b"x").unwrap();
            to.recv(&mut [0; 8]).unwrap();
        }
    }

    /// Sends and receives as many datagrams.
    pub(crate) fn datagrams(&self, datagrams: u32) {
        self.send(&self.here, &self.there, datagrams);
    }
}
