//! Echo on tokio's runtime of several threads, each request with something to compute:
//! `threads-tokio [THREADS] [STEPS] [REQUESTS]`.

use std::io;

use overlapped_benches::threads::{Asked, announce_counting};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn echo(mut stream: TcpStream, asked: Asked) -> io::Result<()> {
    let mut buffer = [0; 4096];
    for _ in 0..asked.requests {
        match stream.read(&mut buffer).await? {
            0 => break,
            length => {
                asked.serve(&buffer[..length]);
                stream.write_all(&buffer[..length]).await?;
            }
        }
    }
    Ok(())
}

async fn listen(asked: Asked) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    announce_counting(listener.local_addr()?.port());
    loop {
        tokio::spawn(echo(listener.accept().await?.0, asked.clone()));
    }
}

fn main() -> io::Result<()> {
    let asked = Asked::here();
    let mut runtime = match asked.threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    runtime.worker_threads(asked.threads).enable_all().build()?.block_on(async { tokio::spawn(listen(asked)).await? })
}
