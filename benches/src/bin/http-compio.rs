//! hyper on compio: `http-compio VERSION`.

use std::io;

use compio::net::TcpListener;
use compio::runtime::{Runtime, spawn};
use cyper_core::{CompioExecutor, HyperStream};
use futures_util::StreamExt;
use overlapped_benches::announce;
use overlapped_benches::http::{AtOnce, Version, serve};

async fn listen(version: Version) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    announce(listener.local_addr()?.port());
    let mut incoming = listener.incoming();
    while let Some(stream) = incoming.next().await {
        spawn(serve(version, HyperStream::new_plain(stream?), CompioExecutor, AtOnce)).detach();
    }
    Ok(())
}

fn main() -> io::Result<()> {
    Runtime::new()?.block_on(listen(Version::asked()))
}
