//! Ten thousand connections held on one thread, each by a tasklet of its own that answers later.
//!
//! The clients are tasklets too, on the one thread of a child process: a process may often have no more than 20,000
//! descriptors open.
//!
//! ```sh
//! cargo run --release --example held_connections
//! cargo run --release --example held_connections 500  # so many, where the system allows no more
//! ```

mod descriptors;

use std::io::{self, Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use overlapped::net::{SocketAddr, TcpListener, TcpStream};
use overlapped::{Builder, Event, Semaphore, offload, spawn};

const CONNECTIONS: u64 = 10_000;
/// So many clients connect at once: the system keeps a few thousand connections that nobody has accepted yet.
const CONNECTING: usize = 500;
/// Stack of a tasklet, in bytes; what it does not touch takes no memory.
const STACK: usize = 64 << 10;

fn answer_to(question: u64) -> u64 {
    question.wrapping_mul(6_364_136_223_846_793_005).rotate_left(17)
}

/// Takes a question on each connection, and holds the connection until `answer` is set.
fn serve(listener: &TcpListener, answer: &Event, asked: &Semaphore) -> io::Result<()> {
    for stream in listener.incoming() {
        let (mut stream, answer, asked) = (stream?, answer.clone(), asked.clone());
        Builder::new().stack_size(STACK).spawn(move || {
            let mut question = [0; 8];
            stream.read_exact(&mut question)?;
            asked.release();
            answer.wait();
            stream.write_all(&answer_to(u64::from_le_bytes(question)).to_le_bytes())
        })?;
    }
    Ok(())
}

fn ask(server: SocketAddr, connecting: &Semaphore, question: u64) -> io::Result<()> {
    let permit = connecting.acquire();
    let mut stream = TcpStream::connect(server)?;
    stream.write_all(&question.to_le_bytes())?;
    drop(permit);
    let mut answer = [0; 8];
    stream.read_exact(&mut answer)?;
    if u64::from_le_bytes(answer) != answer_to(question) {
        return Err(io::Error::other(format!("a wrong answer to question {question}")));
    }
    Ok(())
}

/// The child process: all clients, each of which must get its own answer.
fn clients(server: SocketAddr, connections: u64) -> io::Result<()> {
    overlapped::run(|| {
        let connecting = Semaphore::new(CONNECTING);
        let clients: io::Result<Vec<_>> = (0..connections)
            .map(|question| {
                let connecting = connecting.clone();
                Builder::new().stack_size(STACK).spawn(move || ask(server, &connecting, question))
            })
            .collect();
        clients?.into_iter().try_for_each(|client| client.join()?)
    })
}

fn server(connections: u64) -> io::Result<()> {
    overlapped::run(|| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (answer, asked) = (Event::new(), Semaphore::new(0));
        let (theirs, counts) = (answer.clone(), asked.clone());
        let memory_before = resident_memory();
        let start = Instant::now();
        spawn(move || serve(&listener, &theirs, &counts));

        let mut child =
            Command::new(std::env::current_exe()?).args([&connections.to_string(), &address.to_string()]).spawn()?;
        let ended = Event::new();
        let ends = ended.clone();
        let child = spawn(move || {
            let status = offload(move || child.wait());
            ends.set();
            status
        });
        // All clients have asked, or their process has ended too early.
        let mut held = 0;
        while held < connections && !ended.is_set() {
            let patience = Instant::now() + Duration::from_millis(100);
            held += u64::from(asked.acquire_until(Some(patience)).is_ok_and(|taken| taken));
        }
        let seconds = start.elapsed().as_secs_f64();
        let memory = memory_before.and_then(|before| Some(resident_memory()?.saturating_sub(before)));

        let start = Instant::now();
        answer.set();
        let status = child.join()???;
        if !status.success() || held < connections {
            return Err(io::Error::other(format!("{} connections were held; the clients: {status}", held)));
        }
        println!(
            "held connections: {connections} connections held at once on one thread after {seconds:.2} s, all answered {:.2} s later{}",
            start.elapsed().as_secs_f64(),
            memory.map_or(String::new(), |bytes| {
                format!("; {:.1} KiB of memory each", bytes as f64 / 1024.0 / connections as f64)
            })
        );
        Ok(())
    })
}

/// The process's resident memory in bytes, where the system tells.
fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

fn main() -> io::Result<()> {
    let connections = match std::env::args().nth(1) {
        Some(number) => number.parse().map_err(io::Error::other)?,
        None => CONNECTIONS,
    };
    descriptors::allow(connections + 100)?;
    match std::env::args().nth(2) {
        Some(address) => clients(address.parse().map_err(io::Error::other)?, connections),
        None => server(connections),
    }
}
