//! What the HTTP servers share: one answer to everything, by hyper, in the version that they are asked for.
//!
//! Every server is `http-NAME VERSION`, 1 or 2, and differs from the others in its runtime alone: hyper and the service are the
//! same, nobody sets a timer or changes a setting of hyper's.

use std::convert::Infallible;
use std::future::{Ready, ready};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::rt::bounds::Http2ServerConnExec;
use hyper::rt::{Read, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, Service};
use hyper::{Request, Response};

use crate::argument;

/// The body of every answer.
pub const BODY: &[u8] = b"Hello, World!";

/// Which version of HTTP is to be spoken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, from the first byte.
    Http2,
}

impl Version {
    /// As the command line says.
    ///
    /// # Panics
    /// Where it says another than 1 or 2.
    pub fn asked() -> Self {
        match argument(1, 1) {
            1 => Self::Http1,
            2 => Self::Http2,
            other => panic!("there is no HTTP/{other} here"),
        }
    }
}

/// The answer to every request.
pub fn answer() -> Response<Full<Bytes>> {
    Response::new(Full::new(Bytes::from_static(BODY)))
}

/// A service that has its answer ready.
#[derive(Clone, Copy)]
pub struct AtOnce;

impl Service<Request<Incoming>> for AtOnce {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn call(&self, _: Request<Incoming>) -> Self::Future {
        ready(Ok(answer()))
    }
}

/// Serves a connection until its client ends it.
pub async fn serve<I, E, S>(version: Version, stream: I, executor: E, service: S)
where
    I: Read + Write + Unpin + 'static,
    S: HttpService<Incoming, ResBody = Full<Bytes>> + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    E: Http2ServerConnExec<S::Future, Full<Bytes>>,
{
    // Whatever fails, the load generator tells of it.
    let _ = match version {
        Version::Http1 => http1::Builder::new().serve_connection(stream, service).await,
        Version::Http2 => http2::Builder::new(executor).serve_connection(stream, service).await,
    };
}
