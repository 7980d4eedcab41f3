//! Callbacks beside tasklets.

use std::time::Duration;

use overlapped::net::{TcpListener, TcpStream};
use overlapped::reactor::{self, Protocol, Transport};
use overlapped::sim::{Rules, random};
use overlapped::{sleep, spawn};

use super::streams::{receive_all, send_all};
use super::{SERVER, storm};

/// Sends back what comes, by callbacks.
struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, bytes: &[u8]) {
        transport.write(bytes);
    }
}

#[test]
fn a_protocol_and_tasklets_talk_to_each_other() {
    storm(Rules::default(), || {
        let listening = reactor::listen(TcpListener::bind(SERVER).unwrap(), || Echo).unwrap();
        let clients: Vec<_> = (0..1 + random(3))
            .map(|_| {
                spawn(|| {
                    let whole = random(10_000);
                    let stream = TcpStream::connect(SERVER).unwrap();
                    let from = stream.try_clone().unwrap();
                    let sends = spawn(move || send_all(&from, whole));
                    receive_all(stream, whole);
                    sends.join().unwrap();
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        listening.close();
        sleep(Duration::from_secs(1));
    });
}
