//! Named pipes of Windows: streams within one machine, under names of their own.
//!
//! To the system a named pipe has no listener: a server makes ends, each of which waits for one client. A listener here
//! keeps one end more than there are clients, so that a client always finds the name. A pipe's directions end together:
//! there is no `shutdown`, and who wants to tell the end of a message puts its length before it.

use std::io::{self, Read, Write};
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, OwnedHandle, RawHandle};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use overlapped_port::sys::{OpenHow, forget_file, new_pipe, raw_file, system_path};
use overlapped_port::{Op, OpenMode, Outcome};

use crate::attempt::attempt;
use crate::blocking::{Timeout, count, fillable};
use crate::scheduler;

/// No end of the name waits for a client (`ERROR_PIPE_BUSY`, "System Error Codes").
const PIPE_BUSY: i32 = 231;

/// A server may find out who the client is, and not act as it (`SECURITY_SQOS_PRESENT`, `SECURITY_IDENTIFICATION`,
/// "Impersonation Levels"): its name may be a stranger's.
const IDENTIFICATION: u32 = 0x0011_0000;

/// How long a client sleeps at first before it looks for a free end again, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// One end of a connected named pipe: a stream in both directions. Closed when dropped; what was written before can
/// still be read at the other end.
///
/// ```
/// use std::io::{Read, Write};
/// use overlapped::net::{NamedPipeListener, NamedPipeStream};
/// # let name = format!(r"\\.\pipe\overlapped-doc-{:p}-{:?}", &0, std::time::Instant::now());
/// overlapped::run(|| {
///     let listener = NamedPipeListener::bind(&name)?; // such as r"\\.\pipe\greetings"
///     let server = overlapped::spawn(move || listener.accept()?.write_all(b"hello"));
///     let mut greeting = String::new();
///     NamedPipeStream::connect(&name)?.read_to_string(&mut greeting)?;
///     assert_eq!(greeting, "hello");
///     server.join().unwrap()
/// })?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct NamedPipeStream {
    inner: OwnedHandle,
    read_timeout: Timeout,
    write_timeout: Timeout,
}

impl NamedPipeStream {
    fn wrap(inner: OwnedHandle) -> NamedPipeStream {
        NamedPipeStream { inner, read_timeout: Timeout::default(), write_timeout: Timeout::default() }
    }

    /// Connects to the server of a name, such as `\\.\pipe\greetings`. Where all of the server's ends are taken, waits
    /// for one.
    ///
    /// # Errors
    /// `NotFound` where nobody serves the name; `PermissionDenied`; what the system says.
    pub fn connect(name: impl AsRef<Path>) -> io::Result<NamedPipeStream> {
        let name = name.as_ref();
        let connected = || {
            let how = OpenHow::new(OpenMode { read: true, write: true, ..OpenMode::default() })?;
            let (how, path) = (how.with_flags(IDENTIFICATION), Box::new(system_path(name)?));
            let mut pause = PAUSES.0;
            loop {
                match scheduler::current()?.perform(Op::Open { path: &path, how }, None) {
                    Ok(Outcome::File(end)) => return Ok(NamedPipeStream::wrap(end)),
                    Ok(outcome) => unreachable!("an open brought {outcome:?}"),
                    Err(error) if error.raw_os_error() == Some(PIPE_BUSY) => {
                        // The system's own wait for an end (WaitNamedPipeW) knows no cancel.
                        crate::sleep(pause);
                        pause = (pause * 2).min(PAUSES.1);
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        connected().map_err(|error| attempt(error, || format!("connect to {}", name.display())))
    }

    /// How long a read may wait; `None`: without end.
    pub fn read_timeout(&self) -> Option<Duration> {
        self.read_timeout.get()
    }

    /// Sets how long a read may wait for its first byte; `None`, as at the beginning: without end. Past it, the read
    /// fails with [`TimedOut`](std::io::ErrorKind::TimedOut), and nothing was taken.
    ///
    /// # Errors
    /// `InvalidInput` for a time of zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.read_timeout.set(timeout)
    }

    /// How long a write may wait; `None`: without end.
    pub fn write_timeout(&self) -> Option<Duration> {
        self.write_timeout.get()
    }

    /// Sets how long a write may wait for room in the pipe; `None`, as at the beginning: without end. Past it, the write
    /// fails with [`TimedOut`](std::io::ErrorKind::TimedOut), and how much of it the reader has got is not known.
    ///
    /// # Errors
    /// `InvalidInput` for a time of zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.write_timeout.set(timeout)
    }
}

impl Read for &NamedPipeStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let op = Op::Read { file: raw_file(&self.inner), buffer: fillable(buffer), offset: None };
        count(op, self.read_timeout.deadline())
    }
}

impl Write for &NamedPipeStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        count(Op::Write { file: raw_file(&self.inner), buffer, offset: None }, self.write_timeout.deadline())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for NamedPipeStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Write for NamedPipeStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        (&*self).write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl From<OwnedHandle> for NamedPipeStream {
    /// Takes over an end that is connected. One that was opened without `FILE_FLAG_OVERLAPPED` works too, on threads of
    /// the port's.
    fn from(inner: OwnedHandle) -> NamedPipeStream {
        forget_file(raw_file(&inner));
        NamedPipeStream::wrap(inner)
    }
}

impl From<NamedPipeStream> for OwnedHandle {
    fn from(stream: NamedPipeStream) -> OwnedHandle {
        stream.inner
    }
}

impl AsHandle for NamedPipeStream {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.inner.as_handle()
    }
}

impl AsRawHandle for NamedPipeStream {
    fn as_raw_handle(&self) -> RawHandle {
        self.inner.as_raw_handle()
    }
}

/// The server of a named pipe. When it is dropped, the name goes with its last connection.
#[derive(Debug)]
pub struct NamedPipeListener {
    name: PathBuf,
    /// Ends that no accept waits on. A client may have come to one all the same.
    idle: Mutex<Vec<OwnedHandle>>,
    accept_timeout: Timeout,
}

impl NamedPipeListener {
    /// Serves a name, such as `\\.\pipe\greetings`, to clients on this machine. Works outside of [`run`](crate::run()) too.
    ///
    /// # Errors
    /// `PermissionDenied` where the name has a server; `InvalidInput` where the name is none for a pipe.
    pub fn bind(name: impl AsRef<Path>) -> io::Result<NamedPipeListener> {
        let name = name.as_ref();
        let end = new_pipe(name, true).map_err(|error| attempt(error, || format!("serve {}", name.display())))?;
        Ok(NamedPipeListener { name: name.into(), idle: Mutex::new(vec![end]), accept_timeout: Timeout::default() })
    }

    /// Waits for a client, and takes it. Several tasklets may wait at once.
    ///
    /// # Errors
    /// `TimedOut` past the [accept time-out](NamedPipeListener::set_accept_timeout); what the system says.
    pub fn accept(&self) -> io::Result<NamedPipeStream> {
        let end = self.idle().pop().map_or_else(|| new_pipe(&self.name, false), Ok)?;
        let mut waiting = Waiting { listener: self, end: Some(end) };
        count(Op::AcceptPipe { pipe: raw_file(waiting.end()) }, self.accept_timeout.deadline())?;
        let connected = waiting.end.take().expect("it is taken here alone");
        let mut idle = self.idle();
        if idle.is_empty() {
            // Where the system refuses it, the next accept says so; this client has its end.
            idle.extend(new_pipe(&self.name, false));
        }
        Ok(NamedPipeStream::wrap(connected))
    }

    /// How long an accept may wait; `None`: without end.
    pub fn accept_timeout(&self) -> Option<Duration> {
        self.accept_timeout.get()
    }

    /// Sets how long an accept may wait; `None`, as at the beginning: without end.
    ///
    /// # Errors
    /// `InvalidInput` for a time of zero.
    pub fn set_accept_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.accept_timeout.set(timeout)
    }

    /// The name that it serves.
    pub fn name(&self) -> &Path {
        &self.name
    }

    fn idle(&self) -> MutexGuard<'_, Vec<OwnedHandle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An end that an accept waits on. Left early, it is kept for the next: a client may have come to it.
struct Waiting<'l> {
    listener: &'l NamedPipeListener,
    end: Option<OwnedHandle>,
}

impl Waiting<'_> {
    fn end(&self) -> &OwnedHandle {
        self.end.as_ref().expect("it is taken when it is connected, and not before")
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.listener.idle().extend(self.end.take());
    }
}
