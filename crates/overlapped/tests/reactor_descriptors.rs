//! What connections of the reactor leave open: alone in its process, for it counts what the whole process has.

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;

use overlapped::net::{TcpListener, TcpStream};
use overlapped::reactor::{self, Protocol, Transport};
use overlapped::spawn;
use support::run;

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, bytes: &[u8]) {
        transport.write(bytes);
    }
}

#[test]
fn nothing_stays_open_when_many_connections_have_ended() {
    run(|| {
        let server = reactor::listen(TcpListener::bind("127.0.0.1:0").unwrap(), || Echo).unwrap();
        let address = server.local_addr().unwrap().ip().unwrap();
        let before = support::open_descriptors();
        let clients: Vec<_> = (0..100_u8)
            .map(|n| {
                spawn(move || {
                    let mut client = TcpStream::connect(address).unwrap();
                    client.write_all(&[n; 100]).unwrap();
                    client.read_exact(&mut [0; 100]).unwrap();
                    client.shutdown(Shutdown::Write).unwrap();
                    assert_eq!(client.read(&mut [0]).unwrap(), 0);
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        assert_eq!(support::open_descriptors(), before);
        drop(server);
    });
}
