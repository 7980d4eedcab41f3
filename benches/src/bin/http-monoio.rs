//! hyper on monoio, with its streams that poll: `http-monoio VERSION`.

use std::io;

use monoio::io::IntoPollIo;
use monoio::net::TcpListener;
use monoio::{IoUringDriver, RuntimeBuilder, spawn};
use monoio_compat::hyper::{MonoioExecutor, MonoioIo};
use overlapped_benches::announce;
use overlapped_benches::http::{AtOnce, Version, serve};

async fn listen(version: Version) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    announce(listener.local_addr()?.port());
    loop {
        let stream = MonoioIo::new(listener.accept().await?.0.into_poll_io()?);
        spawn(serve(version, stream, MonoioExecutor, AtOnce));
    }
}

fn main() -> io::Result<()> {
    RuntimeBuilder::<IoUringDriver>::new().build()?.block_on(listen(Version::asked()))
}
