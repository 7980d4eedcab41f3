//! TLS between a connection and its protocol, through [rustls].
//!
//! The layer is a protocol of the transport below, which carries the records, and a carrier of the one above, which the
//! user's protocol sees: the same traits on both sides, so that TLS goes over whatever carries bytes (TCP, Unix sockets, TLS
//! itself) and begins where one likes. rustls does no I/O of its own, and so nothing here waits either.
//!
//! Rejected: an adapter as [`Frames`](super::Frames) is, given to [`connect`](super::connect()): that would answer with the
//! transport below, and who writes on it before the handshake is over writes plain text. So the layer has its own entry
//! points, which answer with the transport above.

mod layer;
mod state;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, ProtocolVersion, ServerConfig, ServerConnection};

use self::layer::{Below, Layer};
use super::{ListenerSocket, Listening, Protocol, StreamSocket, Transport};

/// How long a handshake may take where nothing else is said, as in asyncio (`ssl_handshake_timeout`).
const HANDSHAKE: Duration = Duration::from_secs(60);

/// One side of TLS connections: what it shows and believes, and how long a handshake may take. Clones are cheap, and one
/// serves any number of connections. Needs the feature `rustls`; the provider of cryptography is that of the configuration.
///
/// A [`Protocol`] is told of a TLS connection as of any other. What is different:
///
/// - `connection_made` comes when the handshake is over. What is written before goes out then.
/// - The end is the peer's `close_notify`, and [`Transport::write_eof`] and [`Transport::close`] send ours. A peer whose
///   stream ends without one may not have sent what ended it: the connection is lost with `UnexpectedEof` (RFC 8446, 6.1).
///   A close does not wait for the peer's.
/// - A connection stays half open as far as TLS 1.3 has it. In TLS 1.2 an end is answered with an end, so there
///   [`AtEnd::KeepOpen`](super::AtEnd::KeepOpen) is taken for `Close` (RFC 5246, 7.2.1).
/// - The water marks, and [`Transport::buffered`], count what waits to be sent as it is sent: records, some 22 bytes larger
///   for each 16 KiB than what was written. While reading is paused, the peer has to wait as without TLS.
/// - What rustls refuses (a certificate, a record) or was told by the peer's alert loses the connection with `InvalidData`,
///   with the [`rustls::Error`] as its source; the peer is sent the alert. A handshake that takes too long: `TimedOut`.
///
/// ```
/// use overlapped::net::TcpListener;
/// use overlapped::reactor::{Protocol, Tls, Transport};
/// use rustls::{ClientConfig, RootCertStore, ServerConfig, pki_types::PrivateKeyDer};
/// use std::{io, sync::Arc};
///
/// struct Shouts;
/// impl Protocol for Shouts {
///     fn data_received(&mut self, transport: &Transport, bytes: &[u8]) {
///         transport.write(&bytes.to_ascii_uppercase());
///     }
/// }
///
/// struct Asks(overlapped::Queue<String>);
/// impl Protocol for Asks {
///     fn data_received(&mut self, transport: &Transport, bytes: &[u8]) {
///         self.0.try_put(String::from_utf8_lossy(bytes).into_owned()).unwrap();
///         transport.close();
///     }
/// }
///
/// let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
/// let mut roots = RootCertStore::empty();
/// roots.add(made.cert.der().clone()).unwrap();
/// let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
/// let server = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
/// let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
///
/// overlapped::run(|| {
///     let listening = Tls::server(Arc::new(server)).listen(TcpListener::bind("127.0.0.1:0")?, || Shouts)?;
///     let (answers, address) = (overlapped::Queue::new(), listening.local_addr()?.ip().unwrap());
///     let name = "localhost".try_into().unwrap();
///     let transport = Tls::client(Arc::new(client), name).connect(address, Asks(answers.clone()))?;
///     transport.write(b"hello");
///     assert_eq!(answers.get().unwrap(), "HELLO");
///     io::Result::Ok(())
/// })?;
/// # io::Result::Ok(())
/// ```
#[derive(Clone)]
pub struct Tls {
    side: Side,
    handshake: Duration,
}

#[derive(Clone)]
enum Side {
    Client(Arc<ClientConfig>, ServerName<'static>),
    Server(Arc<ServerConfig>),
}

impl Tls {
    /// The side that begins, and asks whether the other one is `name`.
    pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Tls {
        Tls { side: Side::Client(config, name), handshake: HANDSHAKE }
    }

    /// The side that shows a certificate.
    pub fn server(config: Arc<ServerConfig>) -> Tls {
        Tls { side: Side::Server(config), handshake: HANDSHAKE }
    }

    /// How long a handshake may take, from when there is a connection to make it on: a minute, unless said here. The alert
    /// of a connection that has failed has as long to go out.
    #[must_use]
    pub fn handshake_limit(self, limit: Duration) -> Tls {
        Tls { handshake: limit, ..self }
    }

    /// As [`reactor::connect`](super::connect()), with TLS.
    ///
    /// # Errors
    /// As there; `InvalidInput` for a configuration that makes no session, with the [`rustls::Error`] as its source.
    pub fn connect(&self, address: SocketAddr, protocol: impl Protocol) -> io::Result<Transport> {
        self.over(protocol, |below| super::connect(address, below))
    }

    /// As [`reactor::connect_host`](super::connect_host), with TLS. The certificate is to be for the name that this was made
    /// with.
    ///
    /// # Errors
    /// As for [`Tls::connect`].
    pub fn connect_host(&self, host: &str, port: u16, protocol: impl Protocol) -> io::Result<Transport> {
        self.over(protocol, |below| super::connect_host(host, port, below))
    }

    /// As [`reactor::connect_unix`](super::connect_unix), with TLS.
    ///
    /// # Errors
    /// As for [`Tls::connect`], and as there.
    #[cfg(unix)]
    pub fn connect_unix(&self, path: impl AsRef<std::path::Path>, protocol: impl Protocol) -> io::Result<Transport> {
        self.over(protocol, |below| super::connect_unix(path, below))
    }

    /// As [`reactor::attach`](super::attach()), with TLS.
    ///
    /// # Errors
    /// As for [`Tls::connect`].
    pub fn attach(&self, stream: impl StreamSocket, protocol: impl Protocol) -> io::Result<Transport> {
        self.over(protocol, |below| super::attach(stream, below))
    }

    /// As [`reactor::listen`](super::listen()), with TLS. A connection whose handshake fails costs itself alone: its protocol is
    /// told that it is lost.
    ///
    /// # Errors
    /// As for [`Tls::connect`], and as there.
    pub fn listen<P: Protocol>(
        &self,
        listener: impl ListenerSocket,
        mut factory: impl FnMut() -> P + 'static,
    ) -> io::Result<Listening> {
        // What cannot be for any connection is told here; what fails for one is that one's, as a factory's panic is.
        self.session()?;
        let me = self.clone();
        super::listen(listener, move || {
            let session = me.session().expect("a configuration that has made a session makes another");
            Below::new(Layer::new(session, me.handshake, Box::new(factory())), Vec::new())
        })
    }

    /// Starts TLS in the middle of a conversation: what was written on `transport` so far goes out as it is, what follows is
    /// TLS, and `protocol` is told of it on the transport that this answers with. The one that was told until now is dropped,
    /// when its callback has returned, and told no more. `transport` is the layer's from now on: whoever writes on it spoils
    /// the stream.
    ///
    /// `received` is what has come of TLS already, in one piece with the last bytes before it: nothing, where the peer waits
    /// for an answer before it begins. Where it should wait, and there is something nevertheless, somebody may have put it
    /// there: such a connection is better aborted (RFC 3207, 6).
    ///
    /// Within a [`FrameProtocol`](super::FrameProtocol) it is nothing: what has come behind the frame goes to TLS by itself.
    ///
    /// # Errors
    /// `NotConnected` where the connection is closed, closes or is lost; as for [`Tls::connect`]. `protocol` is told nothing
    /// then.
    pub fn start(&self, transport: &Transport, received: &[u8], protocol: impl Protocol) -> io::Result<Transport> {
        crate::scheduler::current()?;
        if transport.is_closing() {
            let what = "overlapped::reactor: TLS was to start on a connection that is closed already";
            return Err(io::Error::new(io::ErrorKind::NotConnected, what));
        }
        let layer = Layer::new(self.session()?, self.handshake, Box::new(protocol));
        transport.hand_over(Box::new(Below::new(layer.clone(), received.to_vec())));
        Ok(layer.on(transport.clone()))
    }

    /// A transport with TLS over what `below` opens.
    fn over(
        &self,
        protocol: impl Protocol,
        below: impl FnOnce(Below) -> io::Result<Transport>,
    ) -> io::Result<Transport> {
        crate::scheduler::current()?;
        let layer = Layer::new(self.session()?, self.handshake, Box::new(protocol));
        let transport = below(Below::new(layer.clone(), Vec::new()))?;
        Ok(layer.on(transport))
    }

    fn session(&self) -> io::Result<Connection> {
        let session = match &self.side {
            Side::Client(config, name) => ClientConnection::new(Arc::clone(config), name.clone()).map(Connection::from),
            Side::Server(config) => ServerConnection::new(Arc::clone(config)).map(Connection::from),
        };
        session.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Tls");
        match &self.side {
            Side::Client(_, name) => shown.field("client_of", name),
            Side::Server(_) => shown.field("server", &true),
        };
        shown.field("handshake_limit", &self.handshake).finish_non_exhaustive()
    }
}

/// What the two sides of a TLS connection have agreed on: see [`Transport::negotiated`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Negotiated {
    /// The version of TLS.
    pub version: ProtocolVersion,
    /// What is to be spoken over it (RFC 7301), where both had an offer.
    pub alpn: Option<Vec<u8>>,
    /// The peer's certificate and those that vouch for it, its own first; none from a client that was not asked.
    pub peer_certificates: Vec<CertificateDer<'static>>,
    /// On the server's side: whom the client has asked for (RFC 6066, 3).
    pub server_name: Option<String>,
}
