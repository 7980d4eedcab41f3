//! hyper on Overlapped: `http-overlapped VERSION [HOW]`.
//!
//! HOW is where a request is answered: `at-once`, unless told, by the same service as on every other runtime; `tasklet`: in a
//! tasklet of its own, where code may block.

use std::convert::Infallible;
use std::io;

use overlapped::ecosystem::PolledStream;
use overlapped::ecosystem::hyper::{EagerExecutor, Executor, service};
use overlapped::net::TcpListener;
use overlapped::{block_on, run, spawn};
use overlapped_benches::http::{AtOnce, Version, answer, serve};
use overlapped_benches::{announce, argument};

fn listen(version: Version, in_tasklets: bool) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    announce(listener.local_addr()?.port());
    loop {
        let stream = PolledStream::from(listener.accept()?.0);
        match version {
            _ if !in_tasklets => spawn(move || block_on(serve(version, stream, EagerExecutor, AtOnce))),
            Version::Http1 => {
                let service = service(|_| Ok::<_, Infallible>(answer()));
                spawn(move || block_on(serve(version, stream, Executor, service)))
            }
            // The executor polls each request in a tasklet of its own.
            Version::Http2 => spawn(move || block_on(serve(version, stream, Executor, AtOnce))),
        };
    }
}

fn main() -> io::Result<()> {
    run(|| listen(Version::asked(), argument(2, String::new()) == "tasklet"))
}
