//! Messages on a stream of bytes.
//!
//! A stream keeps no borders: what was written in one piece may be read in many, and what was written in many in one. A
//! [`Codec`] says where a frame ends; [`Framed`] reads and writes whole frames with it, and
//! [`reactor::Frames`](crate::reactor::Frames) tells a protocol of them.
//!
//! | codec | a frame is | on the wire |
//! |---|---|---|
//! | [`Lines`] | text without its line's end | `text\n` |
//! | [`Separated`] | bytes without the separator | `bytes` and the separator |
//! | [`LengthPrefixed`] | bytes | their number in 1, 2, 4 or 8 bytes, then they |
//! | [`Netstrings`] | bytes | `12:hello world!,` |
//! | [`AgentX`] | a header and its payload | RFC 2741, section 6.1 |
//!
//! **Limits.** Each codec has one for the bytes of a frame: a peer that announces a gigabyte, or never ends its line, costs
//! no more memory than that. What is announced is not taken for granted either: memory grows with what has come.
//!
//! **Nothing is lost** where a read ends early, by a time-out or a cancel: what came stays, and the next
//! [`Framed::read_frame`] goes on with it. [`Framed::into_parts`] gives the stream back with the bytes that were read too
//! much: for another protocol, or another process, to go on with.
//!
//! **Rejected:** a codec that keeps state between calls of `decode` would be cheaper for a frame that comes in many
//! pieces, but could not be asked again about the same bytes; where looking again costs ([`Lines`], [`Separated`]),
//! [`Framed`] says how many were looked at before.
//!
//! ```
//! use overlapped::io::framing::{Framed, LengthPrefixed};
//! use overlapped::net::{TcpListener, TcpStream};
//!
//! overlapped::run(|| {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let server = listener.local_addr()?;
//!     overlapped::spawn(move || {
//!         let mut peer = Framed::new(listener.accept()?.0, LengthPrefixed::u32());
//!         while let Some(frame) = peer.read_frame()? {
//!             peer.write_frame(&frame)?;
//!         }
//!         std::io::Result::Ok(())
//!     });
//!     let mut stream = Framed::new(TcpStream::connect(server)?, LengthPrefixed::u32());
//!     stream.write_frame(b"one")?;
//!     stream.write_frame(b"")?;
//!     assert_eq!(stream.read_frame()?.as_deref(), Some(&b"one"[..]));
//!     assert_eq!(stream.read_frame()?.as_deref(), Some(&b""[..]));
//!     std::io::Result::Ok(())
//! }).unwrap();
//! ```

mod agentx;
mod codec;
mod framed;
mod length;
mod netstring;
mod separated;
mod unread;

pub use self::agentx::{AgentX, Pdu};
pub use self::codec::{Codec, DEFAULT_LIMIT, FrameError};
pub use self::framed::Framed;
pub use self::length::LengthPrefixed;
pub use self::netstring::Netstrings;
pub use self::separated::{Lines, Separated};
pub(crate) use self::unread::Unread;
