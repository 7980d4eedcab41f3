//! What the tests share.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use overlapped::net::{TcpListener, TcpStream};
use overlapped::{spawn, timeout};

/// After so long, a test hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// `overlapped::run`, which fails where it takes too long.
///
/// # Panics
/// There, and as `run`.
pub fn run(main: impl FnOnce()) {
    overlapped::run(|| timeout(PATIENCE, main).expect("the test hangs"));
}

/// Serves each connection in a tasklet of its own, on this thread, until the run ends.
///
/// # Panics
/// Where there is no port.
pub fn serve<E: 'static>(handler: impl Fn(TcpStream) -> Result<(), E> + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    spawn(move || {
        for stream in listener.incoming() {
            let (stream, handler) = (stream?, handler.clone());
            spawn(move || handler(stream));
        }
        io::Result::Ok(())
    });
    address
}
