//! Echo on tokio's current-thread runtime, as its tutorial writes it: `echo-tokio [READ_SIZE] [REQUESTS] [UNIX_PATH]`.

use std::io;

use overlapped_benches::{Serving, announce};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin, serving: Serving) -> io::Result<()> {
    let mut buffer = vec![0; serving.read_size];
    for _ in 0..serving.requests {
        match stream.read(&mut buffer).await? {
            0 => break,
            length => stream.write_all(&buffer[..length]).await?,
        }
    }
    Ok(())
}

async fn listen(serving: Serving) -> io::Result<()> {
    if let Some(path) = &serving.path {
        let listener = UnixListener::bind(path)?;
        announce(path.display());
        loop {
            tokio::spawn(echo(listener.accept().await?.0, serving.clone()));
        }
    } else {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        announce(listener.local_addr()?.port());
        loop {
            tokio::spawn(echo(listener.accept().await?.0, serving.clone()));
        }
    }
}

fn main() -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(listen(Serving::asked()))
}
