//! Echo on Overlapped with several schedulers, each request with something to compute:
//! `threads-overlapped [THREADS] [STEPS] [REQUESTS] [HOW]`.
//!
//! HOW is how connections come to the threads: `serve`, unless told: one accepts, and gives each to the thread with the
//! fewest; `port`: each thread has a listener of its own, with `SO_REUSEPORT`; `each`: all accept from one listener.

use std::io::{self, Read, Write};

use overlapped::net::{TcpListener, TcpStream};
use overlapped::{Config, handles};
use overlapped_benches::threads::{Asked, announce_counting};
use socket2::{Domain, Socket, Type};

fn echo(mut stream: TcpStream, asked: &Asked) -> io::Result<()> {
    let mut buffer = [0; 4096];
    for _ in 0..asked.requests {
        match stream.read(&mut buffer)? {
            0 => break,
            length => {
                asked.serve(&buffer[..length]);
                stream.write_all(&buffer[..length])?;
            }
        }
    }
    Ok(())
}

/// Accepts from one listener for each thread, there.
fn accept_on_each(listeners: Vec<TcpListener>, asked: &Asked) {
    let accepting = handles().into_iter().zip(listeners).map(|(handle, listener)| {
        let asked = asked.clone();
        handle.spawn(move || {
            loop {
                let (stream, asked) = (listener.accept()?.0, asked.clone());
                overlapped::spawn(move || echo(stream, &asked));
            }
        })
    });
    let accepting: Vec<overlapped::JoinHandle<io::Result<()>>> = accepting.collect();
    accepting.into_iter().for_each(|accepting| accepting.join().unwrap().unwrap());
}

fn listen(asked: &Asked) -> io::Result<()> {
    let first = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    first.set_reuse_port(asked.how == "port")?;
    first.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    first.listen(4096)?;
    let first = TcpListener::from(std::net::TcpListener::from(first));
    let address = first.local_addr()?;
    match asked.how.as_str() {
        "port" => {
            let another = || {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
                socket.set_reuse_port(true)?;
                socket.bind(&address.into())?;
                socket.listen(4096)?;
                Ok(TcpListener::from(std::net::TcpListener::from(socket)))
            };
            let others = (1..asked.threads).map(|_| another()).collect::<io::Result<Vec<_>>>()?;
            announce_counting(address.port());
            accept_on_each(std::iter::once(first).chain(others).collect(), asked);
        }
        "each" => {
            let others = (1..asked.threads).map(|_| first.try_clone()).collect::<io::Result<Vec<_>>>()?;
            announce_counting(address.port());
            accept_on_each(std::iter::once(first).chain(others).collect(), asked);
        }
        _ => {
            announce_counting(address.port());
            let asked = asked.clone();
            first.serve(move |stream, _| echo(stream, &asked))?;
        }
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let asked = Asked::here();
    Config::new().schedulers(asked.threads).run(|| listen(&asked))
}
