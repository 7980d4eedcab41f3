//! Echo on glommio: `echo-glommio [READ_SIZE] [REQUESTS] [UNIX_PATH]`.

use std::io;

use futures_util::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use glommio::net::{TcpListener, UnixListener};
use glommio::{LocalExecutorBuilder, spawn_local};
use overlapped_benches::{Serving, announce};

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
            spawn_local(echo(listener.accept().await?, serving.clone())).detach();
        }
    } else {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        announce(listener.local_addr()?.port());
        loop {
            spawn_local(echo(listener.accept().await?, serving.clone())).detach();
        }
    }
}

fn main() -> io::Result<()> {
    LocalExecutorBuilder::default().make()?.run(listen(Serving::asked()))
}
