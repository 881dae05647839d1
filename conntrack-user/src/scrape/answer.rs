//! Answers a request by its path, its method, and the snapshot.

use std::time::Instant;

use http_body_util::Full;
use hyper::body::{Body, Bytes};
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, VARY};
use hyper::{Method, Request, Response, StatusCode};

use super::Snapshot;
use super::negotiation::dialect;

const PLAIN: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// For a person who came with a browser.
const INDEX: &str = "<!doctype html>\n\
    <html lang=\"en\"><meta charset=\"utf-8\"><title>ctpulse</title>\n\
    <h1>ctpulse</h1>\n\
    <p>High-frequency sampler of Linux connection tracking.</p>\n\
    <ul>\n\
    <li><a href=\"/metrics\">/metrics</a>: the latest row, for Prometheus</li>\n\
    <li><a href=\"/healthz\">/healthz</a>: whether samples come</li>\n\
    </ul></html>\n";

/// The response to a request at `now`.
pub(super) fn answer<B: Body>(
    request: &Request<B>,
    snapshot: &Snapshot,
    now: Instant,
) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if !["/", "/metrics", "/healthz"].contains(&path) {
        return plain(StatusCode::NOT_FOUND, "there is /metrics and /healthz here\n");
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "this can be read only\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    if !request.body().is_end_stream() {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, "a request here has no body\n");
    }
    match path {
        "/metrics" => metrics(request, snapshot, now),
        "/healthz" => match snapshot.unhealthy(now) {
            None => plain(StatusCode::OK, "ok\n"),
            Some(reason) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
        },
        _ => response(StatusCode::OK, HTML, INDEX),
    }
}

/// The latest rows, but not what was the latest long ago: a scrape that fails is seen, one that
/// gets the same numbers for ever is not.
fn metrics<B>(request: &Request<B>, snapshot: &Snapshot, now: Instant) -> Response<Full<Bytes>> {
    let mut answer = match snapshot.stale(now) {
        Some(reason) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
        None => {
            // Several fields are one list; one that is no text names nothing that is here.
            let accept = request.headers().get_all(ACCEPT).iter();
            let accept: Vec<&str> = accept.filter_map(|value| value.to_str().ok()).collect();
            let dialect = dialect(&accept.join(","));
            response(StatusCode::OK, dialect.content_type(), snapshot.exposition(dialect))
        }
    };
    answer.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    answer
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    response(status, PLAIN, body)
}

fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    for (name, value) in [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-store"),
        (hyper::header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
