//! hyper on glommio: `http-glommio VERSION`.

use std::future::Future;
use std::io;

use glommio::net::TcpListener;
use glommio::{LocalExecutorBuilder, spawn_local};
use hyper::rt::Executor;
use overlapped_benches::announce;
use overlapped_benches::http::{AtOnce, Version, serve};
use smol_hyper::rt::FuturesIo;

#[derive(Clone, Copy)]
struct Local;

impl<F: Future<Output = ()> + 'static> Executor<F> for Local {
    fn execute(&self, future: F) {
        spawn_local(future).detach();
    }
}

async fn listen(version: Version) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    announce(listener.local_addr()?.port());
    loop {
        let stream = FuturesIo::new(listener.accept().await?);
        spawn_local(serve(version, stream, Local, AtOnce)).detach();
    }
}

fn main() -> io::Result<()> {
    LocalExecutorBuilder::default().make()?.run(listen(Version::asked()))
}
