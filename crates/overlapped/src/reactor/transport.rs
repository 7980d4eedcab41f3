//! A connection, as its protocol and others see it.

use std::fmt;
use std::io;
use std::rc::Rc;

#[cfg(feature = "rustls")]
use super::Negotiated;
use super::{Endpoint, Protocol};

/// What carries the bytes: a stream of the system's, or a layer on another transport.
pub(super) trait Carrier {
    fn write(&self, bytes: &[u8]);
    fn write_eof(&self);
    fn close(&self);
    fn abort(&self, reason: io::Error);
    fn is_closing(&self) -> bool;
    fn pause_reading(&self);
    fn resume_reading(&self);
    fn set_write_limits(&self, high: usize, low: usize);
    fn buffered(&self) -> usize;
    /// Tells another protocol from now on, which is told first that the connection is made; the former is told no more.
    #[cfg_attr(not(feature = "rustls"), expect(dead_code, reason = "what begins in the middle is TLS"))]
    fn hand_over(&self, protocol: Box<dyn Protocol>);
    /// Within a callback: whether that has handed the connection over.
    fn is_handed_over(&self) -> bool;
    /// Bytes that came in one piece with those that have made who was told hand over: the other is told of them, before
    /// all else.
    fn pass_on(&self, rest: Vec<u8>);
    /// What TLS has negotiated, where it is there and has.
    #[cfg(feature = "rustls")]
    fn negotiated(&self) -> Option<Negotiated> {
        None
    }
    fn peer_addr(&self) -> io::Result<Endpoint>;
    fn local_addr(&self) -> io::Result<Endpoint>;
}

/// A connection: clones are the same one. It lives on its own, whoever holds a handle of it, until it is closed, is lost, or
/// the [`run`](crate::run) ends; what is asked of it then has no effect.
///
/// No method waits, and none calls the protocol: what there is to be told comes after, on the loop's turn. So all of them may
/// be called from callbacks and from tasklets of the thread.
#[derive(Clone)]
pub struct Transport(Rc<dyn Carrier>);

impl Transport {
    pub(super) fn of(carrier: Rc<dyn Carrier>) -> Transport {
        Transport(carrier)
    }

    /// Sends bytes, after those of earlier calls; what the system does not take is kept until it does, however much it is:
    /// [`Protocol::pause_writing`] asks for moderation. What is written before the
    /// connection is made goes out then; what is written after it was closed is dropped.
    ///
    /// # Panics
    /// After [`Transport::write_eof`], and on a pipe that is only read.
    pub fn write(&self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// Ends this side, when what was written has gone out: the peer finds the end of the stream. Where the peer has ended its
    /// side, the connection is closed then.
    pub fn write_eof(&self) {
        self.0.write_eof();
    }

    /// Within a callback that has had another told from now on, gives that one what has come after. Says whether it has.
    pub(super) fn passes_on(&self, rest: impl FnOnce() -> Vec<u8>) -> bool {
        let is_handed_over = self.0.is_handed_over();
        if is_handed_over {
            let rest = rest();
            if !rest.is_empty() {
                self.0.pass_on(rest);
            }
        }
        is_handed_over
    }

    /// Closes the connection when what was written has gone out; nothing more is received. A peer that does not read holds it
    /// open: [`Transport::abort`] does not wait. What the peer has sent and nobody has received makes the system answer with
    /// a reset (RFC 1122, 4.2.2.13): where that can be, [`Transport::write_eof`] first and close at the peer's end.
    pub fn close(&self) {
        self.0.close();
    }

    /// Closes the connection at once; what waits to be sent is dropped. The protocol is told `ConnectionAborted`.
    pub fn abort(&self) {
        self.abort_with(io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was aborted by this side"));
    }

    /// The same, for a reason that the protocol is told.
    pub fn abort_with(&self, reason: io::Error) {
        self.0.abort(reason);
    }

    /// Whether it is closed, or will be when what was written has gone out.
    pub fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    /// Stops receiving: from now on the protocol is not told of bytes, nor of the peer's end. The system's buffers fill, and
    /// then the peer has to wait. A peer that resets the connection is noticed when reading, or writing, goes on.
    pub fn pause_reading(&self) {
        self.0.pause_reading();
    }

    /// Goes on receiving.
    pub fn resume_reading(&self) {
        self.0.resume_reading();
    }

    /// Sets the water marks, in bytes that wait to be sent: above `high` the protocol is asked to pause, at `low` or below to
    /// go on. At the beginning 64 KiB and 16 KiB, as in asyncio. `low` is at most `high`: what is more is cut.
    pub fn set_write_limits(&self, high: usize, low: usize) {
        self.0.set_write_limits(high, low.min(high));
    }

    /// How many bytes wait to be sent.
    pub fn buffered(&self) -> usize {
        self.0.buffered()
    }

    /// Tells another protocol from now on ([`Carrier::hand_over`]).
    #[cfg(feature = "rustls")]
    pub(super) fn hand_over(&self, protocol: Box<dyn Protocol>) {
        self.0.hand_over(protocol);
    }

    /// What the two sides have agreed on, where the connection is one of [`Tls`](super::Tls)'s and has been made.
    #[cfg(feature = "rustls")]
    pub fn negotiated(&self) -> Option<Negotiated> {
        self.0.negotiated()
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// `NotConnected` before the connection is made and after it is over; what else the system says.
    pub fn peer_addr(&self) -> io::Result<Endpoint> {
        self.0.peer_addr()
    }

    /// The address of this end.
    ///
    /// # Errors
    /// As for [`Transport::peer_addr`].
    pub fn local_addr(&self) -> io::Result<Endpoint> {
        self.0.local_addr()
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("peer", &self.peer_addr().ok())
            .field("closing", &self.is_closing())
            .field("buffered", &self.buffered())
            .finish()
    }
}
