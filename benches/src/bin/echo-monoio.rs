//! Echo on monoio: `echo-monoio [READ_SIZE] [REQUESTS] [UNIX_PATH]`.

use std::io;

use monoio::buf::IoBuf;
use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt};
use monoio::net::{ListenerOpts, TcpListener, UnixListener};
use monoio::{IoUringDriver, RuntimeBuilder, spawn};
use overlapped_benches::{Serving, announce};

async fn echo(mut stream: impl AsyncReadRent + AsyncWriteRent, serving: Serving) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(serving.read_size);
    for _ in 0..serving.requests {
        let (length, read) = stream.read(buffer).await;
        let length = length?;
        if length == 0 {
            break;
        }
        let (sent, written) = stream.write_all(read.slice(..length)).await;
        sent?;
        buffer = written.into_inner();
    }
    Ok(())
}

async fn listen(serving: Serving) -> io::Result<()> {
    if let Some(path) = &serving.path {
        // Its default is to share the port, which a Unix socket has not.
        let listener = UnixListener::bind_with_config(path, &ListenerOpts::new().reuse_port(false))?;
        announce(path.display());
        loop {
            spawn(echo(listener.accept().await?.0, serving.clone()));
        }
    } else {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        announce(listener.local_addr()?.port());
        loop {
            spawn(echo(listener.accept().await?.0, serving.clone()));
        }
    }
}

fn main() -> io::Result<()> {
    RuntimeBuilder::<IoUringDriver>::new().build()?.block_on(listen(Serving::asked()))
}
