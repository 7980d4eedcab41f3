//! Echo on compio, with its multishot accept: `echo-compio [READ_SIZE] [REQUESTS] [UNIX_PATH]`.

use std::io;

use compio::buf::{BufResult, IntoInner, IoBuf};
use compio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use compio::net::{TcpListener, UnixListener};
use compio::runtime::{Runtime, spawn};
use futures_util::{Stream, StreamExt};
use overlapped_benches::{Serving, announce};

async fn echo(mut stream: impl AsyncRead + AsyncWrite, serving: Serving) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(serving.read_size);
    for _ in 0..serving.requests {
        let BufResult(length, read) = stream.read(buffer).await;
        let length = length?;
        if length == 0 {
            break;
        }
        let BufResult(sent, written) = stream.write_all(read.slice(..length)).await;
        sent?;
        buffer = written.into_inner();
    }
    Ok(())
}

async fn serve<S: AsyncRead + AsyncWrite + 'static>(
    mut incoming: impl Stream<Item = io::Result<S>> + Unpin,
    serving: &Serving,
) -> io::Result<()> {
    while let Some(stream) = incoming.next().await {
        spawn(echo(stream?, serving.clone())).detach();
    }
    Ok(())
}

async fn listen(serving: Serving) -> io::Result<()> {
    if let Some(path) = &serving.path {
        let listener = UnixListener::bind(path).await?;
        announce(path.display());
        serve(listener.incoming(), &serving).await
    } else {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        announce(listener.local_addr()?.port());
        serve(listener.incoming(), &serving).await
    }
}

fn main() -> io::Result<()> {
    Runtime::new()?.block_on(listen(Serving::asked()))
}
