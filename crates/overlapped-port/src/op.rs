//! Operations: what a port can be asked to do.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::Shutdown;

use crate::address::Address;
use crate::message::{Receiving, SendMessage};
use crate::open::Patience;
use crate::sys::{OpenHow, RawFile, RawSocket, SystemPath};

/// One operation, with what it borrows until its completion has come.
///
/// What each brings on success is in [`Completion::result`](crate::Completion::result), an
/// [`Outcome`](crate::Outcome). Flags (`flags: i32`) are those of the system's own call.
pub enum Op<'a> {
    /// Takes one connection off a listening socket. Result: the new socket, not inherited by child processes.
    Accept {
        /// The listening socket. One that other processes accept from as well must be non-blocking already: the poll
        /// backend would set the mode, which all share, for each call, and one that another took it from blocks.
        listener: RawSocket,
        /// Filled with the peer's address.
        peer: Option<&'a mut Address>,
    },
    /// Takes connections off a listening socket until cancelled: a completion each, with
    /// [`more`](crate::Completion::more) set on all but the last.
    AcceptMultishot {
        /// The listening socket.
        listener: RawSocket,
    },
    /// Connects a socket. Result: 0.
    Connect {
        /// The socket to connect.
        socket: RawSocket,
        /// The peer's address.
        address: &'a Address,
    },
    /// Receives into the caller's buffer. Result: bytes, 0 at the end of a stream.
    Recv {
        /// The socket to receive from.
        socket: RawSocket,
        /// Where the bytes go.
        buffer: &'a mut [MaybeUninit<u8>],
        /// Flags of recv(2); `MSG_WAITALL` waits for a full buffer.
        flags: i32,
    },
    /// Receives at most `limit` bytes into a buffer of the port's, chosen when the bytes are there: an idle
    /// connection holds no memory. Result: bytes; they are in [`Outcome::Provided`](crate::Outcome::Provided).
    /// Never reads ahead.
    RecvProvided {
        /// The socket to receive from.
        socket: RawSocket,
        /// The most bytes to take; a buffer of the port's may be shorter. 0 waits as any other and takes none.
        limit: usize,
        /// Flags of recv(2).
        flags: i32,
    },
    /// Receives into buffers of the port's until the stream ends, an error comes or it is cancelled: a completion
    /// each, with [`more`](crate::Completion::more) set on all but the last. Reads ahead of its consumer: at most
    /// as much as the port's buffers hold, then it pauses until one is recycled.
    RecvMultishot {
        /// The socket to receive from.
        socket: RawSocket,
    },
    /// Reads from a pipe (or another file that bytes come from by and by: not from a disk's) into buffers of the port's, as
    /// [`Op::RecvMultishot`] receives: until the end, an error or a cancel, a completion each, ahead of its consumer.
    ///
    /// `InvalidInput` for what lies on a disk. `Unsupported` on Windows, where a read that waits on a pipe has its buffer from
    /// the beginning.
    ReadMultishot {
        /// The pipe.
        file: RawFile,
    },
    /// Receives into several buffers, with the sender's address, control data and flags: all in `message`.
    /// Result: bytes.
    RecvMessage {
        /// The socket to receive from.
        socket: RawSocket,
        /// The buffers, and what came with the bytes: [`RecvMessage::lend`](crate::RecvMessage::lend).
        message: Receiving<'a>,
        /// Flags of recvmsg(2).
        flags: i32,
    },
    /// Sends bytes. Result: how many the system took.
    Send {
        /// The socket to send on.
        socket: RawSocket,
        /// The bytes to send.
        buffer: &'a [u8],
        /// Flags of send(2). `SIGPIPE` is never raised.
        flags: i32,
        /// Go on until all is taken. The result is then short only where an error or a cancel came between;
        /// the error shows at the next operation.
        all: bool,
    },
    /// Sends several buffers, to an address and with control data where `message` has them. Result: bytes.
    SendMessage {
        /// The socket to send on.
        socket: RawSocket,
        /// The buffers and what goes with them.
        message: &'a mut SendMessage<'a>,
        /// Flags of sendmsg(2). `SIGPIPE` is never raised.
        flags: i32,
    },
    /// Ends one or both directions of a connection. Result: 0.
    Shutdown {
        /// The connected socket.
        socket: RawSocket,
        /// Which direction.
        how: Shutdown,
    },
    /// Ends a stream in good order: what was sent goes out and the end of the stream after it, and then the peer is
    /// waited for to end its side; what it still sends is thrown away. Closing the socket at once would do so with the
    /// peer's bytes too, but answer them with a reset, which can take from the peer what it has not read yet (RFC 1122,
    /// 4.2.2.13). A peer that never ends keeps this waiting: cancel it then, which leaves the sending side ended.
    /// Result: 0.
    Disconnect {
        /// The connected socket.
        socket: RawSocket,
    },
    /// Reads from a file, pipe or device. Result: bytes, 0 at the end.
    Read {
        /// The file to read.
        file: RawFile,
        /// Where the bytes go.
        buffer: &'a mut [MaybeUninit<u8>],
        /// Where in the file, in bytes from its start; `None`: at the file's own position, which moves on (the
        /// only choice for pipes and devices).
        offset: Option<u64>,
    },
    /// Reads into several buffers. Result: bytes, 0 at the end.
    ReadVectored {
        /// The file to read.
        file: RawFile,
        /// Where the bytes go, filled in order.
        buffers: &'a mut [IoSliceMut<'a>],
        /// As for [`Op::Read`].
        offset: Option<u64>,
    },
    /// Writes to a file, pipe or device. Result: bytes written, perhaps fewer than given.
    Write {
        /// The file to write.
        file: RawFile,
        /// The bytes to write.
        buffer: &'a [u8],
        /// As for [`Op::Read`].
        offset: Option<u64>,
    },
    /// Writes several buffers. Result: bytes written, perhaps fewer than given.
    WriteVectored {
        /// The file to write.
        file: RawFile,
        /// The bytes to write, in order.
        buffers: &'a [IoSlice<'a>],
        /// As for [`Op::Read`].
        offset: Option<u64>,
    },
    /// Opens a file. Result: the new handle.
    Open {
        /// The file's path.
        path: &'a SystemPath,
        /// How to open it.
        how: OpenHow,
    },
    /// Waits until a client has opened the other end of a named pipe of Windows; one that is there already is taken at
    /// once, even if it is gone again: what it wrote can be read, and then the end. The pipe is then that client's
    /// until DisconnectNamedPipe. Result: 0.
    ///
    /// `Unsupported` on Unix, whose named pipes have their other end when [`Op::Open`] has opened them.
    AcceptPipe {
        /// The pipe's server end, from [`sys::new_pipe`](crate::sys) or CreateNamedPipeW.
        pipe: RawFile,
    },
    /// Waits until a file's data has reached the device. Result: 0.
    Sync {
        /// The file.
        file: RawFile,
        /// Leave out metadata that is not needed to read the data back (fdatasync(2)).
        data_only: bool,
    },
    /// Closes a file. Result: 0. Nothing else may be in flight on it: see
    /// [`Port::cancel_file`](crate::Port::cancel_file). It cannot be cancelled.
    CloseFile {
        /// The file.
        file: RawFile,
    },
    /// Closes a socket. Result: 0. Nothing else may be in flight on it: see
    /// [`Port::cancel_socket`](crate::Port::cancel_socket). It cannot be cancelled. Where the socket is told to linger (`SO_LINGER`, socket(7)) this
    /// takes until what was sent has arrived, or that time is up; other operations go on meanwhile.
    CloseSocket {
        /// The socket.
        socket: RawSocket,
    },
    /// Waits until a socket (on Unix: any descriptor that can be polled) is ready. Result: the bits of
    /// [`Interest`] that are.
    Poll {
        /// The descriptor.
        socket: RawSocket,
        /// What to wait for.
        interest: Interest,
    },
    /// Runs a function on a thread of the port's small pool, for what the system offers in blocking form alone
    /// (name look-up). Result: what the function returns. Cancelled before it has begun, it is never run;
    /// once begun it runs to its end.
    ///
    /// One that is not run is dropped in the port's call that gave it up, or on a thread: what it has captured should not
    /// need the port to be dropped.
    Call {
        /// The function; it may block.
        function: Function,
        /// How long it may.
        lane: Lane,
    },
}

/// A function for a thread of the port's, and the number that it brings.
pub type Function = Box<dyn FnOnce() -> std::io::Result<usize> + Send>;

/// How long a function may keep a thread of the port's: those of a kind share some threads, and wait for no other kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// It ends by itself, soon: [`Config::threads`](crate::Config::threads) run at once, and more where some turn out to
    /// wait. Where the system has no thread to give, it is run on the port's own.
    Short,
    /// It may take its time: [`Config::threads`](crate::Config::threads) run at once, the others wait in line. An error
    /// where there is no thread and none can be started.
    Long,
    /// It may wait for what others do, without end: each has a thread at once, up to 256; the next are refused with an error
    /// of the kind `WouldBlock`.
    Endless,
}

/// What opens a file, and brings its handle as a number.
pub(crate) type Opening = Box<dyn FnOnce(Patience) -> std::io::Result<usize> + Send>;

impl Op<'_> {
    /// The operation's name, for reports: `"accept"`, `"recv"`, …
    pub fn name(&self) -> &'static str {
        self.facts().name
    }

    /// What is the same for all operations of its kind.
    pub(crate) fn facts(&self) -> &'static Facts {
        match self {
            Op::Accept { .. } => const { &Facts::of("accept").bringing(Brings::Socket) },
            Op::AcceptMultishot { .. } => const { &Facts::of("accept (multishot)").bringing(Brings::Socket) },
            Op::Connect { .. } => const { &Facts::of("connect") },
            Op::Recv { .. } => const { &Facts::of("recv") },
            Op::RecvProvided { .. } => const { &Facts::of("recv").bringing(Brings::Buffer) },
            Op::RecvMultishot { .. } => const { &Facts::of("recv (multishot)").bringing(Brings::Buffer) },
            Op::RecvMessage { .. } => const { &Facts::of("recvmsg") },
            Op::Send { .. } => const { &Facts::of("send") },
            Op::SendMessage { .. } => const { &Facts::of("sendmsg") },
            Op::Shutdown { .. } => const { &Facts::of("shutdown") },
            Op::Disconnect { .. } => const { &Facts::of("disconnect") },
            Op::Read { .. } => const { &Facts::of("read") },
            Op::ReadMultishot { .. } => const { &Facts::of("read (multishot)").bringing(Brings::Buffer) },
            Op::ReadVectored { .. } => const { &Facts::of("readv") },
            Op::Write { .. } => const { &Facts::of("write") },
            Op::WriteVectored { .. } => const { &Facts::of("writev") },
            Op::Open { .. } => const { &Facts::of("open").bringing(Brings::File) },
            Op::AcceptPipe { .. } => const { &Facts::of("accept (pipe)") },
            Op::Sync { .. } => const { &Facts::of("fsync") },
            Op::CloseFile { .. } | Op::CloseSocket { .. } => const { &Facts { closes: true, ..Facts::of("close") } },
            Op::Poll { .. } => const { &Facts::of("poll") },
            Op::Call { .. } => const { &Facts::of("call") },
        }
    }

    /// What the operation is on, if it is on something.
    fn on(&self) -> Option<On> {
        Some(match *self {
            Op::Accept { listener: s, .. }
            | Op::AcceptMultishot { listener: s }
            | Op::Connect { socket: s, .. }
            | Op::Recv { socket: s, .. }
            | Op::RecvProvided { socket: s, .. }
            | Op::RecvMultishot { socket: s }
            | Op::RecvMessage { socket: s, .. }
            | Op::Send { socket: s, .. }
            | Op::SendMessage { socket: s, .. }
            | Op::Shutdown { socket: s, .. }
            | Op::Disconnect { socket: s }
            | Op::CloseSocket { socket: s }
            | Op::Poll { socket: s, .. } => On::Socket(s),
            Op::Read { file: f, .. }
            | Op::ReadMultishot { file: f }
            | Op::ReadVectored { file: f, .. }
            | Op::Write { file: f, .. }
            | Op::WriteVectored { file: f, .. }
            | Op::AcceptPipe { pipe: f }
            | Op::Sync { file: f, .. }
            | Op::CloseFile { file: f } => On::File(f),
            Op::Open { .. } | Op::Call { .. } => return None,
        })
    }

    /// The handle that the operation is on, as a number; `None` for those that are on none.
    pub(crate) fn handle(&self) -> Option<usize> {
        self.on().map(|on| match on {
            On::Socket(socket) => crate::sys::socket_key(socket),
            On::File(file) => crate::sys::file_key(file),
        })
    }

    /// Whether it is one of those that wait for what happens on a socket: all but its close.
    pub(crate) fn waits_on_a_socket(&self) -> bool {
        matches!(self.on(), Some(On::Socket(_))) && !self.facts().closes
    }
}

/// What an operation is on.
enum On {
    Socket(RawSocket),
    File(RawFile),
}

impl std::fmt::Debug for Op<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.handle() {
            Some(handle) => write!(f, "{} on {handle}", self.name()),
            None => f.write_str(self.name()),
        }
    }
}

/// What is the same for all operations of one kind.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) name: &'static str,
    /// What a success brings.
    pub(crate) brings: Brings,
    /// It closes its handle.
    pub(crate) closes: bool,
}

impl Facts {
    /// Those of most: a number is brought, and the handle stays.
    pub(crate) const fn of(name: &'static str) -> Facts {
        Facts { name, brings: Brings::Count, closes: false }
    }

    const fn bringing(self, brings: Brings) -> Facts {
        Facts { brings, ..self }
    }
}

/// The kind of [`Outcome`](crate::Outcome) that an operation has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Brings {
    Count,
    Socket,
    File,
    Buffer,
}

/// What [`Op::Poll`] waits for, and what it found: a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Interest(pub u8);

impl Interest {
    /// A receive or an accept would not wait; also set when the peer has ended or an error is pending.
    pub const READABLE: Interest = Interest(1);
    /// A send would not wait; also set when an error is pending.
    pub const WRITABLE: Interest = Interest(2);
    /// Exceptional: urgent data.
    pub const PRIORITY: Interest = Interest(4);
    /// In results only: the descriptor has an error.
    pub const ERROR: Interest = Interest(8);
    /// In results only: the peer is gone.
    pub const HANGUP: Interest = Interest(16);

    /// Whether every bit of `other` is in this set.
    pub fn contains(self, other: Interest) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for Interest {
    type Output = Interest;
    fn bitor(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }
}
