//! The listener, its connections, and what bounds them.
//!
//! At most [`MOST_CONNECTIONS`] are served at once; others wait in the kernel's queue, which is
//! bounded too. A client keeps its connection by sending requests: a client that is slow to send a
//! request or to read the answer, or has nothing to ask, is cut off after [`PATIENCE`]. While
//! all places are taken, connections are closed after each answer, and those that have not asked
//! after [`PATIENCE_WHEN_FULL`], whether others wait or not: the kernel's queue cannot be seen.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::Snapshot;
use super::answer::answer;

/// Connections that are served at once: many more than there are scrapers of one host.
pub const MOST_CONNECTIONS: usize = 32;

/// Connections that the kernel keeps waiting.
const MOST_WAITING: u32 = 1024;

/// How long a client may take from one request to the next: to send it and to read the answer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How long one that has not asked yet keeps its place while all are taken.
const PATIENCE_WHEN_FULL: Duration = Duration::from_secs(1);

/// The largest head of a request in bytes.
const LARGEST_HEAD: usize = 16 << 10;

/// How long to wait when the system has no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// Why scrapes cannot be answered.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {reason}{}", hint(.reason))]
pub struct ListenError {
    address: SocketAddr,
    reason: io::Error,
}

fn hint(reason: &io::Error) -> &'static str {
    match reason.kind() {
        io::ErrorKind::AddrInUse => "; another program listens there (ss -ltnp), take another port",
        io::ErrorKind::AddrNotAvailable => "; no interface of this host has that address",
        io::ErrorKind::PermissionDenied => "; ports below 1024 take CAP_NET_BIND_SERVICE",
        _ => "",
    }
}

/// A listener for scrapes.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

/// The state of one connection.
struct Client {
    /// When it is cut off.
    deadline: Instant,
    /// Whether it asked for anything yet.
    asked: bool,
}

impl Server {
    /// Listens on `address`; must be called inside the runtime.
    ///
    /// # Errors
    /// [`ListenError`], with the system's reason.
    pub fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let bind = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // A connection of the run before that lingers is no obstacle.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let listener = socket.listen(MOST_WAITING)?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        };
        bind().map_err(|reason| ListenError { address, reason })
    }

    /// Where it listens: with a port of its own where 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers scrapes from the latest snapshot for as long as it is polled.
    pub async fn serve(self, latest: watch::Receiver<Arc<Snapshot>>) {
        let free = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let all_taken = watch::Sender::new(false);
        loop {
            let full = free.available_permits() == 0;
            all_taken.send_if_modified(|taken| std::mem::replace(taken, full) != full);
            let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    log::debug!("cannot take a connection: {error}");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let (latest, all_taken) = (latest.clone(), all_taken.subscribe());
            tokio::spawn(async move {
                attend(stream, latest, all_taken).await;
                drop(permit);
            });
        }
    }
}

/// Serves one connection until it ends, runs out of time, or should make room.
async fn attend(
    stream: TcpStream,
    latest: watch::Receiver<Arc<Snapshot>>,
    mut all_taken: watch::Receiver<bool>,
) {
    // An answer is written at once; there is nothing to wait for.
    let _ = stream.set_nodelay(true);
    let client = Mutex::new(Client { deadline: Instant::now() + PATIENCE, asked: false });
    let know = || client.lock().unwrap_or_else(PoisonError::into_inner);
    let make_room = all_taken.clone();
    let service = service_fn(|request: Request<Incoming>| {
        *know() = Client { deadline: Instant::now() + PATIENCE, asked: true };
        let snapshot = Arc::clone(&latest.borrow());
        let mut response = answer(&request, &snapshot, std::time::Instant::now());
        if *make_room.borrow() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let connection = http1::Builder::new()
        .half_close(true)
        .header_read_timeout(None)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let begun = Instant::now();
    loop {
        let mut deadline = know().deadline;
        if *all_taken.borrow() && !know().asked {
            deadline = deadline.min(begun + PATIENCE_WHEN_FULL);
        }
        tokio::select! {
            // What goes wrong here is the client's: it went away, or speaks no HTTP.
            _ = connection.as_mut() => return,
            () = sleep_until(deadline) => {
                if know().deadline <= deadline || !know().asked {
                    return;
                }
            }
            Ok(()) = all_taken.changed() => {
                // A connection that is new may have a request under way.
                if *all_taken.borrow() && know().asked {
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}
