//! A listener whose accept first times out; then a thousand connections at once, each of which is told that it is being
//! disconnected, and is.
//!
//! ```sh
//! cargo run --release --example socket_scene
//! ```

mod descriptors;

use std::io::{self, ErrorKind, Write};
use std::time::{Duration, Instant};

use overlapped::net::{TcpListener, TcpStream};
use overlapped::spawn;

const CONNECTIONS: usize = 1000;
const MESSAGE: &[u8] = b"Disconnecting you..";
const PATIENCE: Duration = Duration::from_millis(50);

fn main() -> io::Result<()> {
    // Both ends of each connection are in this process.
    descriptors::allow(2 * CONNECTIONS as u64 + 100)?;
    overlapped::run(|| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let server = listener.local_addr()?;

        listener.set_accept_timeout(Some(PATIENCE))?;
        let start = Instant::now();
        match listener.accept() {
            Err(error) if error.kind() == ErrorKind::TimedOut => {}
            other => return Err(io::Error::other(format!("nobody connects, yet accept gave {other:?}"))),
        }
        let waited = start.elapsed();
        listener.set_accept_timeout(None)?;

        let start = Instant::now();
        spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream?;
                spawn(move || stream.write_all(MESSAGE));
            }
            io::Result::Ok(())
        });
        let clients: Vec<_> =
            (0..CONNECTIONS).map(|_| spawn(move || io::read_to_string(TcpStream::connect(server)?))).collect();
        for (number, client) in clients.into_iter().enumerate() {
            let heard = client.join()??;
            if heard.as_bytes() != MESSAGE {
                return Err(io::Error::other(format!("client {number} was told {heard:?}")));
            }
        }
        println!(
            "socket scene: accept timed out after {:.0} ms; then {CONNECTIONS} connections at once, each told {:?} and \
             disconnected, in {:.3} s",
            waited.as_secs_f64() * 1e3,
            String::from_utf8_lossy(MESSAGE),
            start.elapsed().as_secs_f64()
        );
        Ok(())
    })
}
