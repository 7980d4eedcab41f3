//! Operations in flight, and the memory that the kernel writes to until their packets have come.

use std::ptr::{self, NonNull};

use windows_sys::Win32::Foundation::{HANDLE, NTSTATUS, STATUS_PENDING};
use windows_sys::Win32::System::IO::OVERLAPPED;

use super::accept::Accepts;
use super::afd::PollInfo;
use super::watch::Watch;
use crate::buffers::Buffer;
use crate::op::Op;
use crate::slots::OpId;

/// What the kernel knows of a call in flight. The dequeued pointer to the `OVERLAPPED` is the pointer to this.
#[repr(C)]
pub(super) struct Shared {
    pub(super) overlapped: OVERLAPPED,
    /// The flags of a receive, in and out.
    pub(super) flags: u32,
    /// A readiness poll, in and out.
    pub(super) poll: PollInfo,
    /// Whose call it is; written before the call, read when its packet has come.
    pub(super) id: u64,
    /// Which of several calls of that operation.
    pub(super) part: usize,
}

/// Memory for one call at an address that never changes: used by one call after the other. It is reached through the
/// pointer alone, for while a call is in flight it belongs to the kernel.
pub(super) struct Packet {
    shared: NonNull<Shared>,
    /// For calls on handles whose packets go elsewhere; made for the first such call.
    watch: Option<Watch>,
    is_watched: bool,
}

impl Packet {
    pub(super) fn new() -> Packet {
        // SAFETY: all zeroes is valid for each field: numbers and null pointers.
        let shared: Box<Shared> = Box::new(unsafe { std::mem::zeroed() });
        Packet { shared: NonNull::from(Box::leak(shared)), watch: None, is_watched: false }
    }

    /// Says of the calls to come whether the system posts their packets, or a watch must, to `port`.
    pub(super) fn watch(&mut self, is_watched: bool, port: HANDLE) -> Result<(), u32> {
        if is_watched && self.watch.is_none() {
            self.watch = Some(Watch::new(port, self.overlapped())?);
        }
        self.is_watched = is_watched;
        Ok(())
    }

    /// Readies it for a call of the operation `id`, at `offset` of a file, and returns what the call takes.
    pub(super) fn prepare(&mut self, id: OpId, part: usize, offset: u64) -> *mut OVERLAPPED {
        let shared = self.shared.as_ptr();
        // SAFETY: this owns the memory, and no call is in flight on it.
        unsafe {
            (*shared).id = id.to_u64();
            (*shared).part = part;
            let mut overlapped = OVERLAPPED { Internal: STATUS_PENDING as usize, ..OVERLAPPED::default() };
            overlapped.Anonymous.Anonymous.Offset = offset as u32;
            overlapped.Anonymous.Anonymous.OffsetHigh = (offset >> 32) as u32;
            if let Some(watch) = self.watch.as_ref().filter(|_| self.is_watched) {
                overlapped.hEvent = watch.event();
            }
            (&raw mut (*shared).overlapped).write(overlapped);
            &raw mut (*shared).overlapped
        }
    }

    /// For cancelling the call in flight.
    pub(super) fn overlapped(&self) -> *mut OVERLAPPED {
        self.shared.as_ptr().cast()
    }

    /// How the call in flight has ended, if it has: its bytes and its status. Where a packet comes of it too, nobody awaits
    /// that.
    pub(super) fn ended(&self) -> Option<(usize, NTSTATUS)> {
        // SAFETY: the memory is there; the kernel may write it meanwhile, which a volatile read allows for.
        let overlapped = unsafe { (&raw const (*self.shared.as_ptr()).overlapped).read_volatile() };
        let status = overlapped.Internal as NTSTATUS;
        (status != STATUS_PENDING).then_some((overlapped.InternalHigh, status))
    }

    /// Where the flags of a receive are; set to `flags`.
    pub(super) fn flags(&mut self, flags: u32) -> *mut u32 {
        // SAFETY: this owns the memory, and no call is in flight on it.
        unsafe {
            (*self.shared.as_ptr()).flags = flags;
            &raw mut (*self.shared.as_ptr()).flags
        }
    }

    /// Where the readiness poll is.
    pub(super) fn poll(&self) -> *mut PollInfo {
        // SAFETY: the pointer is to memory that this owns; only an address is made of it.
        unsafe { &raw mut (*self.shared.as_ptr()).poll }
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        // SAFETY: the memory is this one's, from a `Box`; the backend is only dropped with nothing in flight. A watch
        // only posts its address.
        drop(unsafe { Box::from_raw(self.shared.as_ptr()) });
    }
}

/// What an operation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaits {
    /// The packet of its call.
    Packet,
    /// A provided buffer: no call is in flight.
    Buffer,
    /// The operation before it at the file's own position, or the receive before it: no call is in flight.
    Turn,
}

/// One operation. The slot of an [`OpId`] is its index; it is used again, with its memory.
pub(super) struct Request {
    pub(super) id: OpId,
    /// `None` where the slot is free.
    pub(super) op: Option<Op<'static>>,
    pub(super) packet: Packet,
    pub(super) awaits: Awaits,
    /// What CancelIoEx takes: the handle that the call is on, which for a poll is not the socket.
    pub(super) target: HANDLE,
    /// The handle whose entry counts this operation.
    pub(super) entered: Option<usize>,
    /// What that handle's number meant then.
    pub(super) meaning: u32,
    pub(super) cancelled: bool,
    /// Bytes moved by earlier calls of this operation.
    pub(super) moved: usize,
    /// Where in the file it began.
    pub(super) start: u64,
    /// A provided receive: the buffer that its call in flight fills. None: that call waits for bytes.
    pub(super) buffer: Option<Buffer>,
    /// A provided receive: bytes are there.
    pub(super) fetch: bool,
    /// A vectored write: its bytes in one piece.
    pub(super) gathered: Vec<u8>,
    pub(super) accepts: Accepts,
}

impl Request {
    fn new() -> Request {
        Request {
            id: OpId::new(0, 0),
            op: None,
            packet: Packet::new(),
            awaits: Awaits::Packet,
            target: ptr::null_mut(),
            entered: None,
            meaning: 0,
            cancelled: false,
            moved: 0,
            start: 0,
            buffer: None,
            fetch: false,
            gathered: Vec::new(),
            accepts: Accepts::default(),
        }
    }

    /// Whether a packet is for one of its calls: not, where it is another port's, of a handle that was taken for
    /// that port's.
    pub(super) fn is_of(&self, overlapped: *mut OVERLAPPED, part: usize) -> bool {
        self.accepts.packet(part).unwrap_or(&self.packet).overlapped() == overlapped
    }

    fn occupy(&mut self, id: OpId, op: Op<'static>) {
        self.id = id;
        self.op = Some(op);
        self.awaits = Awaits::Packet;
        self.target = ptr::null_mut();
        self.entered = None;
        self.cancelled = false;
        self.moved = 0;
        self.start = 0;
        self.fetch = false;
    }
}

/// All of them, by slot.
#[derive(Default)]
pub(super) struct Requests(Vec<Request>);

impl Requests {
    pub(super) fn occupy(&mut self, id: OpId, op: Op<'static>) -> &mut Request {
        while self.0.len() <= id.slot() {
            self.0.push(Request::new());
        }
        let request = &mut self.0[id.slot()];
        debug_assert!(request.op.is_none(), "the port gave a slot out that is in use");
        request.occupy(id, op);
        request
    }

    /// The operation, while it is in flight.
    pub(super) fn get(&mut self, id: OpId) -> Option<&mut Request> {
        self.0.get_mut(id.slot()).filter(|request| request.id == id && request.op.is_some())
    }
}
