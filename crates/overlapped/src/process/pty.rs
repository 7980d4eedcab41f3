//! Pseudo-terminals: what a child has that believes to talk with a person.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use overlapped_port::terminal;
pub use overlapped_port::terminal::Size;

use super::pipe::written;
use crate::fs::File;

/// A pseudo-terminal (pty(7)): this side's end, a stream on the port. [`Command::spawn_on`](super::Command::spawn_on)
/// starts a child on the other. What the terminal sends (SIGINT, SIGHUP, …) has its effect there, also where this process
/// ignores it. Dropped, it hangs up: the child's session is sent SIGHUP.
///
/// What is read is what the child writes to its terminal, and what the terminal itself shows, such as the echo of what is
/// written here; what is written is what the child reads, as if it were typed: a line at a time, with `^C` and `^D` as
/// for a person, until the child wants it otherwise (termios(3)). Lines end as terminals have it, with `\r\n`.
///
/// A read is at its end when the child, and all that it has given its terminal to, are gone (the system says `EIO`); before
/// the first start it waits. Several tasklets may share a terminal, for reading and writing go through a reference too.
///
/// ```
/// use std::io::{Read, Write};
/// use overlapped::process::{Command, Pty, Size};
///
/// overlapped::run(|| {
///     let mut pty = Pty::open()?;
///     pty.resize(Size { rows: 24, columns: 80 })?;
///     let mut child = Command::new("sh").args(["-c", "test -t 0 && read line && echo got $line"]).spawn_on(&pty)?;
///     pty.write_all(b"a word\n")?;
///     let mut shown = String::new();
///     pty.read_to_string(&mut shown)?;
///     assert_eq!(shown, "a word\r\ngot a word\r\n");
///     assert!(child.wait()?.success());
///     std::io::Result::Ok(())
/// }).unwrap();
/// ```
#[derive(Debug)]
pub struct Pty(File);

impl Pty {
    /// A new pseudo-terminal, without a size.
    ///
    /// # Errors
    /// Where the system has no terminal left, or the process no descriptor.
    pub fn open() -> io::Result<Pty> {
        terminal::open().map(Pty::from)
    }

    /// The size that the child is told; zeroes until it was set.
    ///
    /// # Errors
    /// What the system says.
    pub fn size(&self) -> io::Result<Size> {
        terminal::size(self.as_fd())
    }

    /// Sets the size; the programs in the terminal's foreground are told (SIGWINCH).
    ///
    /// # Errors
    /// What the system says.
    pub fn resize(&self, size: Size) -> io::Result<()> {
        terminal::resize(self.as_fd(), size)
    }

    /// The other end, for what is to have it beside a child of [`Command::spawn_on`](super::Command::spawn_on). While it is
    /// open, reads of this end do not come to theirs.
    ///
    /// # Errors
    /// Where the process has no descriptor left.
    pub fn terminal(&self) -> io::Result<File> {
        terminal::terminal_of(self.as_fd()).map(File::from)
    }
}

/// What a read has brought, where `EIO` says that nobody has the terminal any more.
fn or_end(read: io::Result<usize>) -> io::Result<usize> {
    match read {
        Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(0),
        read => read,
    }
}

impl Read for &Pty {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        or_end((&self.0).read(buffer))
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        or_end((&self.0).read_vectored(buffers))
    }
}

impl Read for Pty {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(buffers)
    }
}

written!(Pty, &Pty);

impl From<OwnedFd> for Pty {
    /// Takes over the controlling end of a pseudo-terminal that was opened elsewhere.
    fn from(controller: OwnedFd) -> Pty {
        Pty(File::from(controller))
    }
}

impl From<Pty> for OwnedFd {
    fn from(pty: Pty) -> OwnedFd {
        pty.0.into()
    }
}

impl AsFd for Pty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Pty {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
