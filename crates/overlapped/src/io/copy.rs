//! Copying from what reads to what writes, by a buffer.
//!
//! Linux can do without the buffer: splice(2) and sendfile(2) move pages. Both wait where a socket is full or empty, splice(2)
//! also with `SPLICE_F_NONBLOCK`, and where the file's pages have to come from a disk. What keeps them from the first is the
//! socket's mode alone, which all share that have the socket (`O_NONBLOCK`, fcntl(2)); from the second, nothing. So on the
//! tasklets' thread they may hold up everybody. io_uring has a splice too, and runs it on threads of its own, which
//! costs more than the copies it saves. Server CPU to move 1 GiB over TCP of the loopback, Linux 6.18, beside that of a buffer of
//! 64 KiB:
//!
//! | | stream to stream | file to stream |
//! |---|---|---|
//! | buffer of 8 KiB, as of [`std::io::copy`] | 2.0 | 2.5 |
//! | buffer of 64 KiB | 1 | 1 |
//! | buffer of 256 KiB | 1.0 | 1.2 |
//! | splice of io_uring, pipe of 64 KiB | 1.5 | 1.5 |
//! | splice(2), pipe of 64 KiB | 1.1 | |
//! | splice(2), pipe of 1 MiB | 0.6 | |
//! | sendfile(2) | | 0.6 |
//!
//! (Rejected: the last two on a thread of the pool. A peer that takes nothing would keep it, and no cancel would free it.)

use std::io::{self, Read, Write};

use crate::group::Group;
use crate::net::Duplex;

/// How many bytes are read at once.
const PIECE: usize = 64 << 10;

/// Reads from `reader` to its end and writes all of it to `writer`; returns how many bytes. Only the calling tasklet waits,
/// for what waits at all.
///
/// As [`std::io::copy`], which has an eighth of the room for what is on its way.
///
/// ```
/// use overlapped::net::{TcpListener, TcpStream};
/// use std::io::Write;
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("upload");
/// overlapped::run(|| {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let mut client = TcpStream::connect(listener.local_addr()?)?;
///     client.write_all(b"a page to be kept")?;
///     drop(client);
///     let mut file = overlapped::fs::File::create(&path)?;
///     assert_eq!(overlapped::io::copy(&mut listener.accept()?.0, &mut file)?, 17);
///     assert_eq!(overlapped::fs::read(&path)?, b"a page to be kept");
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
///
/// # Errors
/// Those of reading and of writing, but for `Interrupted`, after which it goes on. How much was copied before is not known
/// then.
pub fn copy<R: Read + ?Sized, W: Write + ?Sized>(reader: &mut R, writer: &mut W) -> io::Result<u64> {
    let (mut buffer, mut copied) = (vec![0; PIECE], 0);
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(count) => {
                writer.write_all(&buffer[..count])?;
                copied += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Copies what comes from each of two streams to the other, until both have ended, as a proxy does; returns how many bytes
/// went from the first and how many from the second. The end of one direction is passed on at once, and the other goes on.
///
/// A second tasklet copies from the first stream while the caller copies from the second.
///
/// ```
/// use overlapped::net::{TcpListener, TcpStream};
/// use std::io::{Read, Write};
/// overlapped::run(|| {
///     let (server, proxy) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
///     let (behind, front) = (server.local_addr()?, proxy.local_addr()?);
///     let forwards = overlapped::spawn(move || {
///         overlapped::io::copy_bidirectional(proxy.accept()?.0, TcpStream::connect(behind)?)
///     });
///     let mut client = TcpStream::connect(front)?;
///     client.write_all(b"anybody there?")?;
///     client.shutdown(std::net::Shutdown::Write)?;
///     let mut served = server.accept()?.0;
///     let (mut question, mut answer) = (String::new(), String::new());
///     served.read_to_string(&mut question)?;
///     served.write_all(b"yes")?;
///     drop(served);
///     client.read_to_string(&mut answer)?;
///     assert_eq!((&*question, &*answer), ("anybody there?", "yes"));
///     assert_eq!(forwards.join().unwrap()?, (14, 3));
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
///
/// # Errors
/// The first of reading and of writing; both streams are closed then.
///
/// # Panics
/// Outside [`run`](crate::run).
pub fn copy_bidirectional<A, B>(first: A, second: B) -> io::Result<(u64, u64)>
where
    A: Duplex + 'static,
    B: Duplex + 'static,
{
    let (mut from_first, mut to_first) = first.into_split();
    let (mut from_second, mut to_second) = second.into_split();
    Group::try_run(|group| {
        let there = group.try_spawn(move || copy(&mut from_first, &mut to_second));
        let back = copy(&mut from_second, &mut to_first)?;
        drop(to_first);
        Ok((there.join()?, back))
    })
}
