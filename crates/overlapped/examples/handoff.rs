//! Connections handed to four workers, one after the other of which is killed: none is forgotten, none answered twice.
//!
//! handoff                    # this program is its own worker
//! handoff PROGRAM ARGUMENT…  # another one is, in Rust or Python: `handoff python examples/handoff.py`

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use overlapped::handoff::{Builder, Given, VARIABLE, Worker};
use overlapped::net::{Shutdown, TcpListener, TcpStream};
use overlapped::process::{Command, Stdio};
use overlapped::{run, sleep, spawn};

const CONNECTIONS: usize = 1000;
const WORKERS: usize = 4;
/// So many connections after each other kill.
const KILLS: usize = 100;
/// Of a client.
const PATIENCE: Duration = Duration::from_secs(30);

/// Answers with this process's number and what came along.
fn answer(given: Given) -> io::Result<()> {
    let context = given.context.clone();
    let mut stream = given.into_tcp_stream()?;
    stream.write_all(&[format!("{} ", std::process::id()).as_bytes(), &context].concat())?;
    stream.shutdown(Shutdown::Write)?;
    stream.read_to_end(&mut Vec::new()).map(drop)
}

fn work() -> io::Result<()> {
    let mut worker = Worker::from_environment()?;
    let mut begun = Vec::new();
    while let Some(given) = worker.next()? {
        begun.push(spawn(move || answer(given)));
        begun.retain(|one| !one.is_finished());
    }
    // A client may have left; nothing else ends an answer.
    begun.into_iter().for_each(|one| drop(one.join()));
    Ok(())
}

/// Says a line, and returns the answer; nothing where the connection was closed before one came. It waits for a while, not
/// for ever: Wine does not close the connection of a process that is killed in the middle of a send.
fn client(mut stream: TcpStream, line: &str) -> String {
    let mut answer = String::new();
    let asked = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.write_all(line.as_bytes()));
    let _ = asked.and_then(|()| stream.read_to_string(&mut answer));
    answer
}

/// Ends a process at once.
fn kill(process: u32) -> io::Result<()> {
    let words: [&str; 3] = if cfg!(windows) { ["taskkill", "/f", "/pid"] } else { ["kill", "-s", "KILL"] };
    let mut command = Command::new(words[0]);
    let status = command.args(&words[1..]).arg(process.to_string()).stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{words:?} {process}: {status}"))) }
}

fn serve() -> io::Result<String> {
    let mut words = std::env::args_os().skip(1);
    let program = words.next().map_or_else(std::env::current_exe, |program| Ok(program.into()))?;
    let arguments: Vec<_> = words.collect();
    let server = Builder::new(WORKERS).attempts(100).start(move |_| {
        let mut command = Command::new(&program);
        command.args(&arguments);
        command
    })?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (begun, mut killed, mut clients) = (Instant::now(), Vec::new(), Vec::new());
    for number in 0..CONNECTIONS {
        let line = format!("connection {number}\n");
        let stream = TcpStream::connect(listener.local_addr()?)?;
        let theirs = line.clone();
        let said = spawn(move || client(stream, &theirs));
        let (mut connection, _) = listener.accept()?;
        let mut context = vec![0; line.len()];
        connection.read_exact(&mut context)?;
        clients.push((line, said, server.give(connection, &context)?));
        if number % KILLS == KILLS - 1 {
            let process = loop {
                let workers = server.workers();
                // The place whose turn it is may have no process now, or one that is about to end: then the next.
                let mut running =
                    workers.iter().cycle().skip(killed.len() % WORKERS).take(WORKERS).filter_map(|one| one.process);
                if let Some(process) = running.find(|process| !killed.contains(process)) {
                    break process;
                }
                sleep(Duration::from_millis(1));
            };
            kill(process)?;
            killed.push(process);
        }
    }
    let (mut answered, mut closed) = (0, 0);
    for (line, said, giving) in clients {
        let said = said.join()?;
        let whole = format!("{} {line}", giving.wait()?);
        if said == whole {
            answered += 1;
        } else if whole.starts_with(&said) {
            closed += 1;
        } else {
            return Err(io::Error::other(format!("{said:?} was the answer, and not {whole:?}")));
        }
    }
    server.stop(Duration::from_secs(30))?;
    Ok(format!(
        "handoff: {} connections through {WORKERS} workers in {:.3} s; \
         {answered} answered once, {} workers killed and {closed} connections with them",
        answered + closed,
        begun.elapsed().as_secs_f64(),
        killed.len()
    ))
}

fn main() -> io::Result<()> {
    if std::env::var(VARIABLE).is_ok() {
        return run(work);
    }
    println!("{}", run(serve)?);
    Ok(())
}
