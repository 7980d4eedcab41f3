//! hyper on tokio's current-thread runtime: `http-tokio VERSION`.

use std::io;

use hyper_util::rt::{TokioExecutor, TokioIo};
use overlapped_benches::announce;
use overlapped_benches::http::{AtOnce, Version, serve};
use tokio::net::TcpListener;

async fn listen(version: Version) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    announce(listener.local_addr()?.port());
    loop {
        let stream = TokioIo::new(listener.accept().await?.0);
        tokio::spawn(serve(version, stream, TokioExecutor::new(), AtOnce));
    }
}

fn main() -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(listen(Version::asked()))
}
