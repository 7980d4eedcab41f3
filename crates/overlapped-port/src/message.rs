//! What a vectored or addressed receive or send takes, beside its bytes.

use std::fmt;
use std::io::{IoSlice, IoSliceMut};

use crate::address::Address;
use crate::sys::{MSG_CTRUNC, MSG_TRUNC, MessageHeader};

/// A receive into several buffers, with room for the sender's address and for control data.
///
/// ```
/// use std::io::IoSliceMut;
/// use overlapped_port::{Op, RecvMessage};
/// let (mut head, mut body) = ([0; 4], [0; 64]);
/// let mut buffers = [IoSliceMut::new(&mut head), IoSliceMut::new(&mut body)];
/// let mut message = RecvMessage::new(&mut buffers);
/// let op = Op::RecvMessage { socket: 3, message: message.lend(), flags: 0 };
/// // … which a port would now be given; when it has ended:
/// assert!(!message.truncated());
/// ```
pub struct RecvMessage<'a> {
    pub(crate) buffers: &'a mut [IoSliceMut<'a>],
    pub(crate) control: &'a mut [u8],
    pub(crate) control_length: usize,
    pub(crate) address: Address,
    pub(crate) flags: i32,
    #[allow(dead_code, reason = "where readiness is all there is, the call has a header of its own")]
    pub(crate) header: Option<MessageHeader>,
}

impl<'a> RecvMessage<'a> {
    /// A receive into `buffers`, filled in order.
    pub fn new(buffers: &'a mut [IoSliceMut<'a>]) -> RecvMessage<'a> {
        RecvMessage { buffers, control: &mut [], control_length: 0, address: Address::empty(), flags: 0, header: None }
    }

    /// Gives room for control data (`cmsghdr`s, cmsg(3)). It must be aligned as the system's `cmsghdr` is.
    pub fn with_control(mut self, control: &'a mut [u8]) -> RecvMessage<'a> {
        self.control = control;
        self
    }

    /// Lends the message to an [`Op::RecvMessage`](crate::Op::RecvMessage); it can be read again when that has ended.
    pub fn lend(&mut self) -> Receiving<'_> {
        let message: *mut RecvMessage<'a> = self;
        // SAFETY: the two types differ in a lifetime alone, and the longer one is borrowed for as long as the shorter
        // one exists. Behind a mutable borrow a lifetime may be shortened only where nobody can put something shorter
        // in its place: `Receiving` shows its field to the backends alone, and they fill but never replace.
        Receiving(unsafe { &mut *message.cast() })
    }

    /// Who sent it; empty on a connected stream.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The control data received.
    pub fn control(&self) -> &[u8] {
        &self.control[..self.control_length]
    }

    /// The flags received: `MSG_TRUNC`, `MSG_CTRUNC`, `MSG_EOR`, `MSG_OOB`, … (recvmsg(2)).
    pub fn flags(&self) -> i32 {
        self.flags
    }

    /// Whether the datagram was longer than the buffers: its tail is lost.
    pub fn truncated(&self) -> bool {
        self.flags & MSG_TRUNC != 0
    }

    /// Whether control data was lost for want of room.
    pub fn control_truncated(&self) -> bool {
        self.flags & MSG_CTRUNC != 0
    }
}

/// A [`RecvMessage`] on loan to an operation: see [`RecvMessage::lend`].
#[derive(Debug)]
pub struct Receiving<'a>(pub(crate) &'a mut RecvMessage<'a>);

/// A send from several buffers, to an address and with control data where they are given.
pub struct SendMessage<'a> {
    pub(crate) buffers: &'a [IoSlice<'a>],
    pub(crate) address: Option<&'a Address>,
    pub(crate) control: &'a [u8],
    #[allow(dead_code, reason = "where readiness is all there is, the call has a header of its own")]
    pub(crate) header: Option<MessageHeader>,
}

impl<'a> SendMessage<'a> {
    /// A send of `buffers`, in order.
    pub fn new(buffers: &'a [IoSlice<'a>]) -> SendMessage<'a> {
        SendMessage { buffers, address: None, control: &[], header: None }
    }

    /// Sends to `address` (a datagram socket that is not connected).
    pub fn to(mut self, address: &'a Address) -> SendMessage<'a> {
        self.address = Some(address);
        self
    }

    /// Sends control data along (`cmsghdr`s, cmsg(3)), such as descriptors over a Unix socket.
    pub fn with_control(mut self, control: &'a [u8]) -> SendMessage<'a> {
        self.control = control;
        self
    }
}

impl fmt::Debug for RecvMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvMessage")
            .field("buffers", &self.buffers.len())
            .field("address", &self.address)
            .field("flags", &self.flags)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SendMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendMessage")
            .field("buffers", &self.buffers.len())
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
