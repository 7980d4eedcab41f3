//! A chat server: what a client says, all the others are told. Each client has a tasklet that reads and one that writes, with a
//! queue between; a client that does not read what it is told is put out, and holds up nobody.
//!
//! ```sh
//! cargo run --release --example chat                 # the server and fifty clients
//! cargo run --release --example chat 127.0.0.1:4000  # the server alone, until Ctrl-C: talk to it by nc(1)
//! ```

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::sync::Arc;

use overlapped::net::{SocketAddr, TcpListener, TcpStream};
use overlapped::{Queue, spawn};

const CLIENTS: usize = 50;
const LINES: usize = 20;

/// How many lines a client may be behind.
const BEHIND: usize = 1000;

/// Those who are there, by name: the lines that each is to be told.
#[derive(Clone, Default)]
struct Room(Rc<RefCell<HashMap<String, Queue<Arc<str>>>>>);

impl Room {
    fn enter(&self, name: &str) -> Option<Queue<Arc<str>>> {
        let (lines, mut room) = (Queue::bounded(BEHIND), self.0.borrow_mut());
        if room.contains_key(name) {
            return None;
        }
        room.insert(name.to_owned(), lines.clone());
        Some(lines)
    }

    fn leave(&self, name: &str) {
        if let Some(lines) = self.0.borrow_mut().remove(name) {
            lines.close();
        }
    }

    /// Tells all but the one that says it.
    fn say(&self, name: &str, line: &str) {
        let line: Arc<str> = format!("{name}: {line}\n").into();
        let others = self.0.borrow();
        for (_, lines) in others.iter().filter(|(other, _)| *other != name) {
            if lines.try_put(Arc::clone(&line)).is_err() {
                // It is too far behind: its writer ends when it has written what is there.
                lines.close();
            }
        }
    }
}

/// One client: its first line is its name.
fn serve(room: &Room, stream: TcpStream) -> io::Result<()> {
    let mut output = stream.try_clone()?;
    let mut lines = BufReader::new(stream).lines();
    let Some(name) = lines.next().transpose()? else { return Ok(()) };
    let Some(told) = room.enter(&name) else { return writeln!(output, "{name} is there already") };
    writeln!(output, "welcome, {name}")?;
    let writer = spawn(move || {
        let written = told.iter().try_for_each(|line| output.write_all(line.as_bytes()));
        // Put out, or gone: its reader is to end as well.
        let _ = output.shutdown(Shutdown::Both);
        written
    });
    let read = lines.by_ref().try_for_each(|line| line.map(|line| room.say(&name, &line)));
    room.leave(&name);
    // An error of the connection is seen by both.
    let _ = writer.join()?;
    read
}

fn accept(listener: &TcpListener) -> io::Result<()> {
    let room = Room::default();
    for stream in listener.incoming() {
        let (stream, room) = (stream?, room.clone());
        spawn(move || serve(&room, stream));
    }
    Ok(())
}

/// Enters, waits until all are there, says its lines, and hears those of all the others.
fn client(server: SocketAddr, number: usize, all_there: &overlapped::Barrier) -> io::Result<usize> {
    let mut stream = TcpStream::connect(server)?;
    writeln!(stream, "client {number}")?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut next = || lines.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()));
    assert_eq!(next()?, format!("welcome, client {number}"));
    all_there.wait().map_err(io::Error::other)?;
    for line in 0..LINES {
        writeln!(stream, "line {line}")?;
    }
    // Of each other one all lines, in order.
    let mut heard = [0; CLIENTS];
    for _ in 0..(CLIENTS - 1) * LINES {
        let said = next()?;
        let (name, line) = said.split_once(": line ").ok_or(io::ErrorKind::InvalidData)?;
        let other: usize = name.trim_start_matches("client ").parse().map_err(io::Error::other)?;
        assert_eq!(line, heard[other].to_string(), "{number} is told out of order");
        heard[other] += 1;
    }
    // The others may not be through with hearing this one yet.
    all_there.wait().map_err(io::Error::other)?;
    Ok(heard.iter().sum())
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1);
    overlapped::run(|| {
        let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0"))?;
        let server = listener.local_addr()?;
        if address.is_some() {
            println!("chat on {server}");
            return accept(&listener);
        }
        spawn(move || accept(&listener));
        let all_there = overlapped::Barrier::new(CLIENTS);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let all_there = all_there.clone();
                spawn(move || client(server, number, &all_there))
            })
            .collect();
        let mut heard = 0;
        for client in clients {
            heard += client.join()??;
        }
        println!("chat: {CLIENTS} clients have said {LINES} lines each, and heard {heard}");
        Ok(())
    })
}
