//! A server of four worker processes that echo lines. It prints its port; for each line on stdin it replaces all workers, one
//! after the other, and says so; it ends when stdin closes.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;

use overlapped::fs::File;
use overlapped::net::TcpListener;
use overlapped::prefork::{Builder, Connection, More, VARIABLE, Worker};
use overlapped::process::Command;

const WORKERS: usize = 4;

fn echo(mut connection: Connection) -> io::Result<()> {
    let mut request = Vec::new();
    loop {
        if let Some(end) = request.iter().rposition(|byte| *byte == b'\n') {
            connection.write_all(&request[..=end])?;
            request.drain(..=end);
        }
        match connection.read_more(&mut request)? {
            More::Bytes(_) => {}
            More::End => return Ok(()),
            More::Move => return Ok(connection.give(&request)?),
        }
    }
}

fn supervise() -> io::Result<()> {
    let program = std::env::current_exe()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let supervisor = Builder::new(WORKERS).listen("lines", listener).start(move |_| Command::new(&program))?;
    println!("{port}");
    let orders = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    for order in BufReader::new(orders).lines() {
        order?;
        supervisor.restart()?;
        println!("restarted");
    }
    Ok(())
}

fn main() -> io::Result<()> {
    if std::env::var_os(VARIABLE).is_some() {
        // A connection that the load has closed is no error.
        return overlapped::run(|| Worker::from_environment()?.serve(|connection| drop(echo(connection))));
    }
    overlapped::run(supervise)
}
