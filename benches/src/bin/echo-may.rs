//! Echo on may's coroutines with one worker thread: `echo-may [READ_SIZE] [REQUESTS] [UNIX_PATH]`.

use std::io::{self, Read, Write};

use may::net::TcpListener;
use may::os::unix::net::UnixListener;
use overlapped_benches::{Serving, announce};

fn echo(mut stream: impl Read + Write, serving: &Serving) -> io::Result<()> {
    let mut buffer = vec![0; serving.read_size];
    for _ in 0..serving.requests {
        match stream.read(&mut buffer)? {
            0 => break,
            length => stream.write_all(&buffer[..length])?,
        }
    }
    Ok(())
}

/// Serves what comes, each connection in a tasklet of its own.
fn serve<S: Read + Write + Send + 'static>(accept: impl Fn() -> io::Result<S>, serving: &Serving) -> io::Result<()> {
    loop {
        let (stream, serving) = (accept()?, serving.clone());
        may::go!(move || echo(stream, &serving));
    }
}

fn listen(serving: &Serving) -> io::Result<()> {
    if let Some(path) = &serving.path {
        let listener = UnixListener::bind(path)?;
        announce(path.display());
        serve(|| Ok(listener.accept()?.0), serving)
    } else {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        announce(listener.local_addr()?.port());
        serve(|| Ok(listener.accept()?.0), serving)
    }
}

fn main() -> io::Result<()> {
    may::config().set_workers(1);
    may::go!(|| listen(&Serving::asked())).join().expect("the server does not panic")
}
