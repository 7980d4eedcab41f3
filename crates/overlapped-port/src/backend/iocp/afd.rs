//! Readiness of a socket, which completion ports do not have.
//!
//! Winsock's own `select` and `WSAPoll` are built on one control code of the driver under all sockets, \Device\Afd:
//! IOCTL_AFD_POLL, which completes when one of the asked-for events is there, and thus can have a packet. The interface
//! is not documented, and unchanged since Windows 2000; wepoll, libuv and mio build on it (the constants are theirs to
//! read). One poll serves one operation, with all its events at once; several may be under way on one socket. The
//! driver knows only its own sockets, so the base socket is asked for. Polls are on a handle of the driver's own, not
//! on the socket: a socket can be polled without being associated with this port.

use std::ptr;

use windows_sys::Wdk::Foundation::OBJECT_ATTRIBUTES;
use windows_sys::Wdk::Storage::FileSystem::{FILE_OPEN, NtCreateFile};
use windows_sys::Wdk::System::IO::NtDeviceIoControlFile;
use windows_sys::Win32::Foundation::*;
use windows_sys::Win32::Storage::FileSystem::{FILE_SHARE_READ, FILE_SHARE_WRITE, SYNCHRONIZE};
use windows_sys::Win32::System::IO::{CreateIoCompletionPort, IO_STATUS_BLOCK};

use super::error::{self, Ending};
use super::request::{Packet, Request};
use super::{Call, Core, Next, PACKET_KEY, winsock};
use crate::op::Interest;

const IOCTL_AFD_POLL: u32 = 0x0001_2024;

const RECEIVE: u32 = 0x0001;
const RECEIVE_EXPEDITED: u32 = 0x0002;
const SEND: u32 = 0x0004;
/// The peer has ended its sending side.
const DISCONNECT: u32 = 0x0008;
/// The connection was reset.
const ABORT: u32 = 0x0010;
/// The socket was closed here.
const LOCAL_CLOSE: u32 = 0x0020;
const ACCEPT: u32 = 0x0080;
const CONNECT_FAIL: u32 = 0x0100;

/// `AFD_POLL_INFO` for one handle.
#[repr(C)]
pub(super) struct PollInfo {
    /// In 100 ns; negative: from now on, the largest: without end.
    timeout: i64,
    handles: u32,
    exclusive: u32,
    socket: usize,
    events: u32,
    status: NTSTATUS,
}

/// An open handle of the driver.
pub(super) struct Afd(HANDLE);

impl Afd {
    fn open(port: HANDLE) -> Result<Afd, u32> {
        // What follows the device's name is any name.
        let mut name: Vec<u16> = r"\Device\Afd\Overlapped".encode_utf16().collect();
        let length = (name.len() * 2) as u16;
        let name = UNICODE_STRING { Length: length, MaximumLength: length, Buffer: name.as_mut_ptr() };
        let attributes = OBJECT_ATTRIBUTES {
            Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
            ObjectName: &raw const name,
            ..OBJECT_ATTRIBUTES::default()
        };
        let (mut handle, mut block) = (ptr::null_mut(), IO_STATUS_BLOCK::default());
        let share = FILE_SHARE_READ | FILE_SHARE_WRITE;
        // SAFETY: every pointer is to a local that outlives the call.
        let status = unsafe {
            let (handle, block) = (&raw mut handle, &raw mut block);
            NtCreateFile(handle, SYNCHRONIZE, &attributes, block, ptr::null(), 0, share, FILE_OPEN, 0, ptr::null(), 0)
        };
        if status < 0 {
            return Err(error::of_file(status));
        }
        let afd = Afd(handle);
        // SAFETY: both handles are open and ours.
        if unsafe { CreateIoCompletionPort(afd.0, port, PACKET_KEY, 0) }.is_null() {
            // SAFETY: reads a thread-local number.
            return Err(unsafe { GetLastError() });
        }
        Ok(afd)
    }
}

impl Drop for Afd {
    fn drop(&mut self) {
        // SAFETY: the handle is this one's.
        unsafe { CloseHandle(self.0) };
    }
}

impl Core {
    /// Begins a readiness poll.
    pub(super) fn issue_poll(&mut self, request: &mut Request, socket: usize, interest: Interest) -> Call {
        let (afd, base) = match self.open_afd().and_then(|afd| Ok((afd, winsock::base(socket)?))) {
            Ok(prepared) => prepared,
            Err(code) => return Call::Ended(Ending::failed(code)),
        };
        let mut events = ABORT | CONNECT_FAIL | LOCAL_CLOSE;
        if interest.contains(Interest::READABLE) {
            events |= RECEIVE | ACCEPT | DISCONNECT;
        }
        if interest.contains(Interest::WRITABLE) {
            events |= SEND;
        }
        if interest.contains(Interest::PRIORITY) {
            events |= RECEIVE_EXPEDITED;
        }
        request.target = afd;
        let overlapped = request.packet.prepare(request.id, 0, 0);
        let info = request.packet.poll();
        let length = size_of::<PollInfo>() as u32;
        // SAFETY: the packet stays where it is until it has been dequeued. An `OVERLAPPED` begins with an
        // `IO_STATUS_BLOCK`, and its address is what the dequeued entry shall carry. No event, no routine.
        let status = unsafe {
            info.write(PollInfo { timeout: i64::MAX, handles: 1, exclusive: 0, socket: base, events, status: 0 });
            let (context, block) = (overlapped.cast(), overlapped.cast());
            let (event, info) = (ptr::null_mut(), info.cast());
            NtDeviceIoControlFile(afd, event, None, context, block, IOCTL_AFD_POLL, info, length, info, length)
        };
        if status < 0 { Call::Ended(Ending::failed(error::of_socket(status))) } else { Call::InFlight }
    }

    fn open_afd(&mut self) -> Result<HANDLE, u32> {
        if self.afd.is_none() {
            self.afd = Some(Afd::open(self.queue.handle())?);
        }
        Ok(self.afd.as_ref().map_or(ptr::null_mut(), |afd| afd.0))
    }

    /// What a poll found.
    pub(super) fn absorb_poll(&mut self, packet: &Packet, interest: Interest, code: u32) -> Next {
        if code != 0 {
            return Next::fails(code);
        }
        // SAFETY: the call has ended, so the memory is this thread's.
        let (handles, events) = unsafe { ((*packet.poll()).handles, (*packet.poll()).events) };
        if handles == 0 {
            return Next::Again;
        }
        if events & LOCAL_CLOSE != 0 {
            return Next::fails(ERROR_OPERATION_ABORTED);
        }
        let gone = events & (ABORT | CONNECT_FAIL) != 0;
        let mut found = Interest::default();
        let mut add = |condition: bool, bits: Interest| {
            if condition {
                found = found | bits;
            }
        };
        let readable = gone || events & (RECEIVE | ACCEPT | DISCONNECT) != 0;
        let writable = gone || events & SEND != 0;
        add(readable && interest.contains(Interest::READABLE), Interest::READABLE);
        add(writable && interest.contains(Interest::WRITABLE), Interest::WRITABLE);
        add(events & RECEIVE_EXPEDITED != 0, Interest::PRIORITY);
        add(gone, Interest::ERROR);
        add(events & ABORT != 0, Interest::HANGUP);
        if found == Interest::default() { Next::Again } else { Next::Over(Ok(usize::from(found.0)), None) }
    }
}
