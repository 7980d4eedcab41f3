//! Halves of a stream: one that reads and one that writes, each with an owner of its own.
//!
//! `&TcpStream` reads and writes already; what halves add is who may do what, and whose end is the end of a direction: an owned
//! half that writes ends its direction when it is dropped. (Rejected: halves that are clones of the handle. Two descriptors
//! for one connection, of which the system closes it with the last, and nobody could put them together again.)

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

use crate::time::uncancellable;

/// A stream whose two directions work, and end, apart from each other: one tasklet may read while another writes.
pub trait Duplex: Sized {
    /// What reads from it.
    fn reader(&self) -> impl Read;

    /// What writes to it.
    fn writer(&self) -> impl Write;

    /// Ends one or both directions.
    ///
    /// # Errors
    /// `NotConnected` where it is not connected, or no longer.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;

    /// Divides it into two halves for two owners, of this thread's tasklets or others: see [`OwnedReadHalf`] and
    /// [`OwnedWriteHalf`].
    ///
    /// ```
    /// use overlapped::net::{TcpListener, TcpStream};
    /// use std::io::{Read, Write};
    /// overlapped::run(|| {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     let client = TcpStream::connect(listener.local_addr()?)?;
    ///     let (mut from_server, mut to_server) = client.into_split();
    ///     let server = overlapped::spawn(move || {
    ///         let (mut stream, mut question) = (listener.accept()?.0, String::new());
    ///         stream.read_to_string(&mut question)?;
    ///         stream.write_all(question.to_uppercase().as_bytes())
    ///     });
    ///     overlapped::spawn(move || to_server.write_all(b"and the end").map(|()| drop(to_server)));
    ///     let mut answer = String::new();
    ///     from_server.read_to_string(&mut answer)?;
    ///     assert_eq!(answer, "AND THE END");
    ///     server.join().unwrap()
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    fn into_split(self) -> (OwnedReadHalf<Self>, OwnedWriteHalf<Self>) {
        let stream = Arc::new(self);
        (OwnedReadHalf(Arc::clone(&stream)), OwnedWriteHalf { stream, ends: true })
    }

    /// Lends it as two halves.
    fn split(&self) -> (ReadHalf<'_, Self>, WriteHalf<'_, Self>) {
        (ReadHalf(self), WriteHalf(self))
    }
}

/// The half of a lent stream that reads: see [`Duplex::split`].
pub struct ReadHalf<'a, S>(&'a S);

/// The half of a lent stream that writes: see [`Duplex::split`]. Dropping it ends nothing.
pub struct WriteHalf<'a, S>(&'a S);

/// The half of a stream that reads: see [`Duplex::into_split`]. What else the stream can be asked, [`AsRef`] gives. The stream
/// is closed when both halves are dropped.
pub struct OwnedReadHalf<S>(Arc<S>);

/// The half of a stream that writes: see [`Duplex::into_split`]. What else the stream can be asked, [`AsRef`] gives. Dropping
/// it ends its direction, and the peer finds the end of the stream; the stream is closed when both halves are dropped.
pub struct OwnedWriteHalf<S: Duplex> {
    stream: Arc<S>,
    ends: bool,
}

impl<S: Duplex> OwnedReadHalf<S> {
    /// Puts the two halves together again.
    ///
    /// # Errors
    /// The halves, where they are not of one stream.
    pub fn reunite(self, other: OwnedWriteHalf<S>) -> Result<S, ReuniteError<S>> {
        if !Arc::ptr_eq(&self.0, &other.stream) {
            return Err(ReuniteError(self, other));
        }
        other.forget();
        Ok(Arc::into_inner(self.0).expect("the two halves alone have it"))
    }
}

impl<S: Duplex> OwnedWriteHalf<S> {
    /// Puts the two halves together again.
    ///
    /// # Errors
    /// The halves, where they are not of one stream.
    pub fn reunite(self, other: OwnedReadHalf<S>) -> Result<S, ReuniteError<S>> {
        other.reunite(self)
    }

    /// Drops this half without ending its direction, which then ends with the other half.
    pub fn forget(mut self) {
        self.ends = false;
    }
}

impl<S: Duplex> Drop for OwnedWriteHalf<S> {
    fn drop(&mut self) {
        if self.ends {
            // A stream that is not connected any more has told so to whoever reads.
            let _ = uncancellable(|| self.stream.shutdown(Shutdown::Write));
        }
    }
}

/// Two halves that are not of one stream, given back.
pub struct ReuniteError<S: Duplex>(pub OwnedReadHalf<S>, pub OwnedWriteHalf<S>);

impl<S: Duplex> fmt::Display for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the two halves are not of one stream")
    }
}

impl<S: Duplex> fmt::Debug for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReuniteError")
    }
}

impl<S: Duplex> std::error::Error for ReuniteError<S> {}

impl<S> ReadHalf<'_, S> {
    fn stream(&self) -> &S {
        self.0
    }
}

impl<S> WriteHalf<'_, S> {
    fn stream(&self) -> &S {
        self.0
    }
}

impl<S> OwnedReadHalf<S> {
    fn stream(&self) -> &S {
        &self.0
    }
}

impl<S: Duplex> OwnedWriteHalf<S> {
    fn stream(&self) -> &S {
        &self.stream
    }
}

macro_rules! half {
    ($type:ty) => {
        impl<S: Duplex> AsRef<S> for $type {
            fn as_ref(&self) -> &S {
                self.stream()
            }
        }

        impl<S: Duplex + fmt::Debug> fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($type)).field(self.stream()).finish()
            }
        }
    };
}

macro_rules! reads {
    ($type:ty) => {
        half!($type);

        impl<S: Duplex> Read for $type {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.stream().reader().read(buffer)
            }

            fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.stream().reader().read_vectored(buffers)
            }
        }
    };
}

macro_rules! writes {
    ($type:ty) => {
        half!($type);

        impl<S: Duplex> Write for $type {
            fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
                self.stream().writer().write(buffer)
            }

            fn write_all(&mut self, buffer: &[u8]) -> io::Result<()> {
                self.stream().writer().write_all(buffer)
            }

            fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
                self.stream().writer().write_vectored(buffers)
            }

            fn flush(&mut self) -> io::Result<()> {
                self.stream().writer().flush()
            }
        }
    };
}

reads!(ReadHalf<'_, S>);
reads!(OwnedReadHalf<S>);
writes!(WriteHalf<'_, S>);
writes!(OwnedWriteHalf<S>);
