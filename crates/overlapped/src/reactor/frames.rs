//! Whole frames instead of bytes: the codecs of [`io::framing`](crate::io::framing) as a layer between a connection and its
//! protocol.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::rc::Rc;

use super::{AtEnd, Protocol, Transport};
use crate::io::framing::{Codec, FrameError, Unread};

/// What is told of a connection that is read and written in whole frames: as [`Protocol`], of which the rules hold.
///
/// A peer whose bytes are no frame, or one beyond the codec's limit, or that ends within one, loses the connection: the
/// reason is of kind `InvalidData` or `UnexpectedEof`, with the [`FrameError`] as its source.
pub trait FrameProtocol<C: Codec>: 'static {
    /// The connection is there.
    fn connection_made(&mut self, _transport: &FrameTransport<C>) {}

    /// A frame has come. Frames that came in one piece with it follow, unless the connection is closed here; a pause of
    /// reading holds back what comes after that piece. Where TLS is started here (`Tls::start`, on
    /// [`FrameTransport::transport`], with nothing received), what follows the frame is TLS, and this is told no more.
    fn frame_received(&mut self, transport: &FrameTransport<C>, frame: C::Frame);

    /// The peer has ended its side, after a whole frame.
    fn eof_received(&mut self, _transport: &FrameTransport<C>) -> AtEnd {
        AtEnd::Close
    }

    /// As [`Protocol::pause_writing`].
    fn pause_writing(&mut self, _transport: &FrameTransport<C>) {}

    /// As [`Protocol::resume_writing`].
    fn resume_writing(&mut self, _transport: &FrameTransport<C>) {}

    /// As [`Protocol::connection_lost`].
    fn connection_lost(&mut self, _reason: io::Result<()>) {}
}

/// A connection that is written in whole frames. Clones are the same one.
pub struct FrameTransport<C> {
    transport: Transport,
    codec: Rc<RefCell<C>>,
}

impl<C: Codec> FrameTransport<C> {
    /// Sends a frame, as [`Transport::write`].
    ///
    /// # Errors
    /// Where the codec cannot write it; nothing was written then.
    pub fn write_frame(&self, frame: &C::Written) -> Result<(), FrameError> {
        let mut bytes = Vec::new();
        self.codec.borrow_mut().encode(frame, &mut bytes)?;
        self.transport.write(&bytes);
        Ok(())
    }
}

impl<C> FrameTransport<C> {
    /// The connection itself, to close it, to pause reading, to ask for addresses.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }
}

impl<C> Clone for FrameTransport<C> {
    fn clone(&self) -> FrameTransport<C> {
        FrameTransport { transport: self.transport.clone(), codec: Rc::clone(&self.codec) }
    }
}

impl<C> fmt::Debug for FrameTransport<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.transport.fmt(f)
    }
}

/// The protocol of a connection whose frames another is told.
///
/// ```
/// use overlapped::io::framing::Lines;
/// use overlapped::net::{TcpListener, TcpStream};
/// use overlapped::reactor::{self, FrameProtocol, FrameTransport, Frames};
/// use std::io::{BufRead, BufReader, Write};
///
/// struct Backwards;
/// impl FrameProtocol<Lines> for Backwards {
///     fn frame_received(&mut self, transport: &FrameTransport<Lines>, line: String) {
///         transport.write_frame(&line.chars().rev().collect::<String>()).unwrap();
///     }
/// }
///
/// overlapped::run(|| {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let server = reactor::listen(listener, || Frames::new(Lines::new(), Backwards))?;
///     let mut client = BufReader::new(TcpStream::connect(server.local_addr()?.ip().unwrap())?);
///     client.get_mut().write_all(b"abc\ndef\n")?;
///     let mut answer = String::new();
///     client.read_line(&mut answer)?;
///     client.read_line(&mut answer)?;
///     assert_eq!(answer, "cba\nfed\n");
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
pub struct Frames<C, P> {
    codec: Rc<RefCell<C>>,
    protocol: P,
    unread: Unread,
}

impl<C: Codec, P: FrameProtocol<C>> Frames<C, P> {
    /// Frames of `codec`, for `protocol`.
    pub fn new(codec: C, protocol: P) -> Frames<C, P> {
        Frames { codec: Rc::new(RefCell::new(codec)), protocol, unread: Unread::default() }
    }

    fn of(&self, transport: &Transport) -> FrameTransport<C> {
        FrameTransport { transport: transport.clone(), codec: Rc::clone(&self.codec) }
    }
}

impl<C: Codec + 'static, P: FrameProtocol<C>> Protocol for Frames<C, P> {
    fn connection_made(&mut self, transport: &Transport) {
        self.protocol.connection_made(&self.of(transport));
    }

    fn data_received(&mut self, transport: &Transport, bytes: &[u8]) {
        self.unread.push(bytes);
        let frames = self.of(transport);
        // Where a frame has started TLS, what follows it is no frame, and this is told no more.
        while !transport.is_closing() && !transport.passes_on(|| self.unread.take_rest()) {
            // The codec is free again while the protocol writes with it.
            let taken = self.unread.take(&mut *self.codec.borrow_mut());
            match taken {
                Ok(Some(frame)) => self.protocol.frame_received(&frames, frame),
                Ok(None) => return,
                Err(error) => return transport.abort_with(error.into()),
            }
        }
    }

    fn eof_received(&mut self, transport: &Transport) -> AtEnd {
        let frames = self.of(transport);
        let taken = self.unread.take_last(&mut *self.codec.borrow_mut());
        match taken {
            Ok(Some(last)) => {
                self.protocol.frame_received(&frames, last);
                if transport.passes_on(Vec::new) {
                    return AtEnd::Close;
                }
            }
            Ok(None) => {}
            Err(error) => {
                transport.abort_with(error.into());
                return AtEnd::Close;
            }
        }
        self.protocol.eof_received(&frames)
    }

    fn pause_writing(&mut self, transport: &Transport) {
        self.protocol.pause_writing(&self.of(transport));
    }

    fn resume_writing(&mut self, transport: &Transport) {
        self.protocol.resume_writing(&self.of(transport));
    }

    fn connection_lost(&mut self, reason: io::Result<()>) {
        self.protocol.connection_lost(reason);
    }
}
