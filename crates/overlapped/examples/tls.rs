//! A TLS server and its clients: rustls as it is, on tasklets of one thread. The certificate is made on the spot.
//!
//! ```sh
//! cargo run --release --example tls
//! ```

use std::error::Error;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Instant;

use overlapped::net::{SocketAddr, TcpListener, TcpStream};
use overlapped::spawn;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

const CLIENTS: usize = 20;
const BYTES: usize = 1_000_000;

/// Sends back what comes, encrypted both ways, until the client says that it is done.
fn echo(config: Arc<ServerConfig>, stream: TcpStream) -> Result<(), Box<dyn Error>> {
    let mut tls = StreamOwned::new(ServerConnection::new(config)?, stream);
    let mut room = vec![0; 16 << 10];
    loop {
        match tls.read(&mut room)? {
            0 => break,
            length => tls.write_all(&room[..length])?,
        }
    }
    tls.conn.send_close_notify();
    Ok(tls.flush()?)
}

/// Sends many messages, and checks that each comes back as it was.
fn talk(config: Arc<ClientConfig>, server: SocketAddr) -> Result<usize, Box<dyn Error>> {
    let connection = ClientConnection::new(config, "localhost".try_into()?)?;
    let mut tls = StreamOwned::new(connection, TcpStream::connect(server)?);
    let message: Vec<u8> = (0..10_000_u32).map(|at| (at % 251) as u8).collect();
    let mut back = vec![0; message.len()];
    let mut bytes = 0;
    while bytes < BYTES {
        tls.write_all(&message)?;
        tls.read_exact(&mut back)?;
        if back != message {
            return Err(format!("other bytes came back, after {bytes}").into());
        }
        bytes += back.len();
    }
    tls.conn.send_close_notify();
    tls.flush()?;
    // The server answers in kind: a connection that was cut off would be an error here.
    tls.read_to_end(&mut Vec::new())?;
    Ok(bytes)
}

/// The two sides' configurations, with a certificate that one shows and the other believes.
fn configurations() -> Result<(Arc<ServerConfig>, Arc<ClientConfig>), Box<dyn Error>> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone())?;
    let server = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.into()], key)?;
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok((Arc::new(server), Arc::new(client)))
}

fn main() -> Result<(), Box<dyn Error>> {
    let (server_config, client_config) = configurations()?;
    overlapped::run(|| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let server = listener.local_addr()?;
        spawn(move || {
            for stream in listener.incoming() {
                let (config, stream) = (Arc::clone(&server_config), stream?);
                spawn(move || {
                    if let Err(error) = echo(config, stream) {
                        eprintln!("tls: a connection has failed: {error}");
                    }
                });
            }
            std::io::Result::Ok(())
        });
        let start = Instant::now();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let config = Arc::clone(&client_config);
                spawn(move || talk(config, server).map_err(|error| error.to_string()))
            })
            .collect();
        let mut bytes = 0;
        for client in clients {
            bytes += client.join()??;
        }
        println!("tls: {CLIENTS} clients, {bytes} bytes back as sent, in {:.3} s", start.elapsed().as_secs_f64());
        Ok(())
    })
}
