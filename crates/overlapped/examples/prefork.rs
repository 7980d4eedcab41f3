//! A server of four workers that restarts under its clients: SIGHUP replaces the workers, and no connection is lost.
//!
//! prefork          # the scene: clients, a SIGHUP, and what they saw
//! prefork serve    # the server alone: kill -HUP restarts it, kill -TERM stops it
//!
//! As a service of systemd's (Type=notify-reload) it serves the sockets that systemd has opened, and tells how it is.

#[cfg(unix)]
mod scene {
    use std::collections::HashSet;
    use std::io::{self, BufRead, BufReader, Write};
    use std::net::SocketAddr;
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use overlapped::net::{TcpListener, TcpStream};
    use overlapped::prefork::{Builder, Connection, More, VARIABLE, Worker};
    use overlapped::process::Command;
    use overlapped::signal::{HANGUP, Signals, TERMINATE};
    use overlapped::{Event, Semaphore, run, spawn, systemd};

    const CLIENTS: usize = 100;

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

    fn supervise(listeners: Vec<(String, OwnedFd)>, begun: &Event, restarted: &Event) -> io::Result<()> {
        let mut signals = Signals::new([HANGUP, TERMINATE])?;
        let program = std::env::current_exe()?;
        let builder = Builder::new(4).listen_all(listeners).tell_systemd(true);
        let supervisor = builder.start(move |_| Command::new(&program))?;
        begun.set();
        while signals.wait()? == HANGUP {
            match supervisor.restart() {
                Ok(()) => restarted.set(),
                Err(error) => eprintln!("the old workers go on: {error}"),
            }
        }
        supervisor.stop(Duration::from_secs(30))
    }

    /// Says half of a request, and the other half when its worker is no more; returns who answered before and after.
    fn client(address: SocketAddr, number: usize, half_said: &Semaphore, restarted: &Event) -> io::Result<[String; 2]> {
        let mut stream = TcpStream::connect(address)?;
        let mut answers = BufReader::new(stream.try_clone()?).lines();
        let mut answer = |word: &str| {
            let line = answers.next().ok_or(io::ErrorKind::UnexpectedEof)??;
            let process =
                line.strip_suffix(word).ok_or_else(|| io::Error::other(format!("{line:?} was the answer")))?;
            Ok::<_, io::Error>(process.to_owned())
        };
        stream.write_all(b"one\n")?;
        let before = answer(" one")?;
        write!(stream, "client {number} ")?;
        half_said.release();
        restarted.wait();
        stream.write_all(b"goes on\n")?;
        Ok([before, answer(&format!(" client {number} goes on"))?])
    }

    fn signal(name: &str) -> io::Result<()> {
        Command::new("kill").args([name, &std::process::id().to_string()]).status().map(drop)
    }

    fn scene() -> io::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (begun, restarted, half_said) = (Event::new(), Event::new(), Semaphore::new(0));
        let theirs = (begun.clone(), restarted.clone());
        let server = spawn(move || supervise(vec![("lines".to_owned(), listener.into())], &theirs.0, &theirs.1));
        begun.wait();
        let clients = (0..CLIENTS).map(|number| {
            let (half_said, restarted) = (half_said.clone(), restarted.clone());
            spawn(move || client(address, number, &half_said, &restarted))
        });
        let clients: Vec<_> = clients.collect();
        (0..CLIENTS).for_each(|_| half_said.acquire().forget());
        signal("-HUP")?;
        let (mut old, mut new) = (HashSet::new(), HashSet::new());
        for client in clients {
            let [before, after] = client.join()??;
            old.insert(before);
            new.insert(after);
        }
        signal("-TERM")?;
        server.join()??;
        let (old, new) = (old.len(), new.len());
        Ok(format!("prefork: {CLIENTS} clients with half a request each; {old} workers became {new} others"))
    }

    pub(crate) fn main() -> io::Result<()> {
        if std::env::var(VARIABLE).is_ok() {
            return run(|| Worker::from_environment()?.serve(|connection| drop(answer(connection))));
        }
        if std::env::args().nth(1).as_deref() == Some("serve") {
            return run(|| {
                let mut listeners = systemd::listeners()?;
                if listeners.is_empty() {
                    listeners.push(("lines".to_owned(), TcpListener::bind("127.0.0.1:7007")?.into()));
                }
                supervise(listeners, &Event::new(), &Event::new())
            });
        }
        println!("{}", run(scene)?);
        Ok(())
    }
}

fn main() -> std::io::Result<()> {
    #[cfg(unix)]
    scene::main()?;
    #[cfg(windows)]
    println!("prefork: not on Windows so far");
    Ok(())
}
