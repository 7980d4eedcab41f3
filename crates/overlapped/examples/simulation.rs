//! Runs a scene of two clients and a server under many seeds in a simulated world, and says how many in a second.
//!
//! `simulation [SEEDS [ECHOES]]`: how many seeds (10,000 unless told), and how many echoes a client asks for (5).

#[cfg(unix)]
mod unix {
    use std::io::{Read, Write};
    use std::time::Instant;

    use overlapped::net::{TcpListener, TcpStream};
    use overlapped::sim::Simulation;
    use overlapped::spawn;

    const SERVER: &str = "10.0.0.1:7";

    /// Sends back what comes, until the client ends.
    fn echo(mut stream: TcpStream) {
        let mut room = [0; 64];
        loop {
            match stream.read(&mut room).unwrap() {
                0 => return,
                count => stream.write_all(&room[..count]).unwrap(),
            }
        }
    }

    fn client(name: u8, echoes: u8) {
        let mut stream = TcpStream::connect(SERVER).unwrap();
        for number in 0..echoes {
            let (sent, mut came) = ([name, number, 7, 9], [0; 4]);
            stream.write_all(&sent).unwrap();
            // Answers come in parts, which a single read would not tell.
            stream.read_exact(&mut came).unwrap();
            assert_eq!(came, sent);
        }
    }

    pub(super) fn main() {
        let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>().expect("a number"));
        let seeds = arguments.next().unwrap_or(10_000);
        let echoes = arguments.next().unwrap_or(5) as u8;
        let begun = Instant::now();
        let explored = Simulation::new().explore(0..seeds, move || {
            let listener = TcpListener::bind(SERVER).unwrap();
            let clients = [1, 2].map(|name| spawn(move || client(name, echoes)));
            let served = [(); 2].map(|()| {
                let (stream, _) = listener.accept().unwrap();
                spawn(move || echo(stream))
            });
            clients.into_iter().chain(served).for_each(|tasklet| tasklet.join().unwrap());
        });
        let seconds = begun.elapsed().as_secs_f64();
        match explored {
            Ok(explored) => println!(
                "{} runs, none failed: {:.0} a second; {:.0} simulated seconds in {seconds:.2}; hash {:016x}",
                explored.runs,
                explored.runs as f64 / seconds,
                explored.elapsed.as_secs_f64(),
                explored.hash,
            ),
            Err(failure) => {
                eprintln!("{failure}");
                std::process::exit(1);
            }
        }
    }
}

#[cfg(unix)]
fn main() {
    unix::main();
}

#[cfg(not(unix))]
fn main() {
    println!("simulation: there are no simulated worlds on Windows yet");
}
