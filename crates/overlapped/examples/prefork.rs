//! A server of four workers that restarts under its clients: SIGHUP replaces the workers, and no connection is lost.
//!
//! prefork                    # the scene: clients, two restarts, and what they saw
//! prefork PROGRAM ARGUMENT…  # as that; the first restart is an upgrade to another program: `prefork python examples/prefork.py`
//! prefork serve              # the server alone: kill -HUP restarts it, kill -TERM stops it
//!
//! As a service of systemd's (Type=notify-reload) it serves the sockets that systemd has opened, and tells how it is.
//! Windows has no such signals: there the scene gives the orders itself.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::time::Duration;

use overlapped::net::{TcpListener, TcpStream};
use overlapped::prefork::{Builder, Connection, More, OwnedSocket, VARIABLE, Worker};
use overlapped::process::Command;
use overlapped::signal::{HANGUP, Signals, TERMINATE};
use overlapped::{Event, Queue, Semaphore, run, spawn};

const CLIENTS: usize = 100;
const RESTARTS: usize = 2;

/// Answers each line with this process's number and the line.
fn answer(mut connection: Connection) -> io::Result<()> {
    let mut request = Vec::new();
    loop {
        while let Some(end) = request.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = request.drain(..=end).collect();
            connection.write_all(&[format!("{} ", std::process::id()).as_bytes(), &line].concat())?;
        }
        match connection.read_more(&mut request)? {
            More::Bytes(_) => {}
            More::End => return Ok(()),
            More::Move => return Ok(connection.give(&request)?),
        }
    }
}

/// What the server hears, by a signal or otherwise.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    Restart,
    Stop,
}

/// Passes signals on as orders.
fn hear_signals(orders: &Queue<Order>) -> io::Result<()> {
    let mut signals = Signals::new([HANGUP, TERMINATE])?;
    loop {
        let order = if signals.wait()? == HANGUP { Order::Restart } else { Order::Stop };
        orders.put(order).map_err(io::Error::other)?;
    }
}

/// Serves until it is told to stop. Each restart is an upgrade to the other one of two programs, which may be the same.
fn supervise(
    listeners: Vec<(String, OwnedSocket)>,
    programs: [Vec<OsString>; 2],
    orders: &Queue<Order>,
    begun: &Event,
    restarted: &Semaphore,
) -> io::Result<()> {
    let command = |words: &[OsString]| {
        let words = words.to_vec();
        move |_: usize| {
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]);
            command
        }
    };
    let supervisor = Builder::new(4).listen_all(listeners).tell_systemd(true).start(command(&programs[0]))?;
    begun.set();
    let mut turn = 0;
    while orders.get().map_err(io::Error::other)? == Order::Restart {
        turn += 1;
        match supervisor.upgrade(command(&programs[turn % 2])) {
            Ok(()) => restarted.release(),
            Err(error) => eprintln!("the old workers go on: {error}"),
        }
    }
    supervisor.stop(Duration::from_secs(30))
}

/// Says half of a request, and the other half when its worker is no more, again and again; returns who answered.
fn client(address: SocketAddr, number: usize, half_said: &Semaphore, restarted: &[Event]) -> io::Result<Vec<String>> {
    let mut stream = TcpStream::connect(address)?;
    let mut answers = BufReader::new(stream.try_clone()?).lines();
    let mut answer = |word: &str| {
        let line = answers.next().ok_or(io::ErrorKind::UnexpectedEof)??;
        let process = line.strip_suffix(word).ok_or_else(|| io::Error::other(format!("{line:?} was the answer")))?;
        Ok::<_, io::Error>(process.to_owned())
    };
    stream.write_all(b"one\n")?;
    let mut processes = vec![answer(" one")?];
    for restarted in restarted {
        write!(stream, "client {number} ")?;
        half_said.release();
        restarted.wait();
        stream.write_all(b"goes on\n")?;
        processes.push(answer(&format!(" client {number} goes on"))?);
    }
    Ok(processes)
}

/// Gives an order: as an administrator does, where there are signals.
fn give(order: Order, orders: &Queue<Order>) -> io::Result<()> {
    if cfg!(windows) {
        return orders.put(order).map_err(io::Error::other);
    }
    let signal = if order == Order::Restart { "-HUP" } else { "-TERM" };
    Command::new("kill").args([signal, &std::process::id().to_string()]).status().map(drop)
}

fn scene(other: Vec<OsString>) -> io::Result<String> {
    let this = vec![std::env::current_exe()?.into_os_string()];
    let programs = [this.clone(), if other.is_empty() { this } else { other }];
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (begun, half_said, orders) = (Event::new(), Semaphore::new(0), Queue::new());
    let restarts = Semaphore::new(0);
    let hearing = spawn({
        let orders = orders.clone();
        move || hear_signals(&orders)
    });
    let server = spawn({
        let (orders, begun, restarts) = (orders.clone(), begun.clone(), restarts.clone());
        move || supervise(vec![("lines".to_owned(), listener.into())], programs, &orders, &begun, &restarts)
    });
    begun.wait();
    let restarted: Vec<Event> = (0..RESTARTS).map(|_| Event::new()).collect();
    let clients = (0..CLIENTS).map(|number| {
        let (half_said, restarted) = (half_said.clone(), restarted.clone());
        spawn(move || client(address, number, &half_said, &restarted))
    });
    let clients: Vec<_> = clients.collect();
    for restarted in &restarted {
        (0..CLIENTS).for_each(|_| half_said.acquire().forget());
        give(Order::Restart, &orders)?;
        restarts.acquire().forget();
        restarted.set();
    }
    let mut generations = vec![HashSet::new(); RESTARTS + 1];
    for client in clients {
        for (generation, process) in generations.iter_mut().zip(client.join()??) {
            generation.insert(process);
        }
    }
    give(Order::Stop, &orders)?;
    server.join()??;
    hearing.cancel();
    if generations.windows(2).any(|pair| !pair[0].is_disjoint(&pair[1])) {
        return Err(io::Error::other(format!("a worker outlived its restart: {generations:?}")));
    }
    let counts: Vec<String> = generations.iter().map(|generation| generation.len().to_string()).collect();
    Ok(format!(
        "prefork: {CLIENTS} clients with half a request each at each of {RESTARTS} restarts; they were answered by {} workers",
        counts.join(", then ")
    ))
}

fn serve() -> io::Result<()> {
    #[cfg(unix)]
    let mut listeners = overlapped::systemd::listeners()?;
    #[cfg(windows)]
    let mut listeners = Vec::new();
    if listeners.is_empty() {
        listeners.push(("lines".to_owned(), TcpListener::bind("127.0.0.1:7007")?.into()));
    }
    let orders = Queue::new();
    let this = vec![std::env::current_exe()?.into_os_string()];
    let theirs = orders.clone();
    let hearing = spawn(move || hear_signals(&theirs));
    let ended = supervise(listeners, [this.clone(), this], &orders, &Event::new(), &Semaphore::new(0));
    hearing.cancel();
    ended
}

fn main() -> io::Result<()> {
    if std::env::var(VARIABLE).is_ok() {
        return run(|| Worker::from_environment()?.serve(|connection| drop(answer(connection))));
    }
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if words == ["serve"] {
        return run(serve);
    }
    println!("{}", run(|| scene(words))?);
    Ok(())
}
