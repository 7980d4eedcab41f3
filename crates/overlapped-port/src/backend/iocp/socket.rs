//! Connecting, sending, receiving into the caller's memory, shutting down, closing.

use std::io;
use std::io::{IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_IO_PENDING, ERROR_NO_DATA, ERROR_OPERATION_ABORTED, HANDLE};
use windows_sys::Win32::Networking::WinSock::*;

use super::error::{self, Ending};
use super::handles::{Facts, Line};
use super::request::{Packet, Request};
use super::{Call, Core, Next, winsock};
use crate::address::Address;
use crate::backend::Started;
use crate::buffers::nowhere;
use crate::message::{RecvMessage, SendMessage};
use crate::op::{Lane, Op};
use crate::slots::OpId;
use crate::sys::{MSG_CTRUNC, MSG_TRUNC};

/// The most bytes of one call: its lengths are 32 bits wide.
const LONGEST: usize = 1 << 30;

/// What a receive brought, once the system's ways of saying it are put together.
pub(super) enum Received {
    Bytes { count: usize, truncated: bool },
    Again,
    Failed(u32),
}

/// What a Winsock call with an `OVERLAPPED` answered.
pub(super) fn answered(result: i32, bytes: u32, facts: Facts) -> Call {
    let code = if result == 0 { 0 } else { winsock::last_error() };
    match code {
        0 if facts.skips => Call::Ended(Ending::done(bytes as usize)),
        0 | ERROR_IO_PENDING => Call::InFlight,
        code => Call::Ended(Ending::failed(error::socket(code))),
    }
}

/// The same of a receive. A truncated datagram is a failure with a packet; whether it has one where successes have none
/// is not said anywhere, and the memory tells what the packet would.
pub(super) fn answered_receive(packet: &Packet, result: i32, bytes: u32, facts: Facts) -> Call {
    if result == 0 || !error::truncated(winsock::last_error()) {
        return answered(result, bytes, facts);
    }
    in_flight(packet, facts)
}

/// A call that is in flight as far as its answer says; where successes have no packet, the memory is looked at too.
fn in_flight(packet: &Packet, facts: Facts) -> Call {
    match packet.ended().filter(|_| facts.skips) {
        Some((bytes, status)) => Call::Ended(Ending { bytes, code: error::of_socket(status) }),
        None => Call::InFlight,
    }
}

/// One buffer, from its `from`th byte on.
fn piece(start: *const u8, length: usize, from: usize) -> WSABUF {
    let from = from.min(length);
    // SAFETY: `from` is within the buffer.
    WSABUF { len: (length - from).min(LONGEST) as u32, buf: unsafe { start.add(from) }.cast_mut() }
}

/// Several buffers from their `from`th byte on, put into `room` where they are not simply all of them. Never none at
/// all: the system refuses that.
fn rest<'b>(buffers: &'b [WSABUF], mut from: usize, room: &'b mut Vec<WSABUF>) -> &'b [WSABUF] {
    if from == 0 && !buffers.is_empty() {
        return buffers;
    }
    for buffer in buffers {
        let length = buffer.len as usize;
        if from < length {
            room.push(piece(buffer.buf, length, from));
        }
        from = from.saturating_sub(length);
    }
    if room.is_empty() {
        room.push(WSABUF { len: 0, buf: ptr::null_mut() });
    }
    room
}

/// The system's view of the standard library's slices, which are laid out as `WSABUF` is.
fn buffers_mut<'b>(slices: &'b mut [IoSliceMut<'_>]) -> &'b mut [WSABUF] {
    // SAFETY: `IoSliceMut` documents that it has the layout of `WSABUF` on Windows.
    unsafe { &mut *(ptr::from_mut(slices) as *mut [WSABUF]) }
}

fn buffers<'b>(slices: &'b [IoSlice<'_>]) -> &'b [WSABUF] {
    // SAFETY: `IoSlice` documents that it has the layout of `WSABUF` on Windows.
    unsafe { &*(ptr::from_ref(slices) as *const [WSABUF]) }
}

/// What a call with an address failed with: where the socket cannot speak the address's family, that, whatever the
/// system calls it.
fn of_family(socket: usize, address: &Address, code: u32) -> u32 {
    // SAFETY: an `Address` always has its whole storage.
    let family = unsafe { (*address.as_raw().0).ss_family };
    match winsock::protocol(socket) {
        Ok(protocol) if protocol.iAddressFamily != i32::from(family) => WSAEAFNOSUPPORT as u32,
        _ => code,
    }
}

/// Connects a datagram socket, which only notes an address and never waits.
pub(super) fn connect_datagrams(socket: usize, address: &Address) -> io::Result<usize> {
    let (storage, length) = address.as_raw();
    // SAFETY: the pointer is to an address of that length.
    match unsafe { connect(socket, storage.cast(), length) } {
        0 => Ok(0),
        _ => Err(error::error(of_family(socket, address, winsock::failure(socket)))),
    }
}

/// Begins a connect. ConnectEx wants a bound socket (else `WSAEINVAL`, 10022), so one that is not is bound to any
/// address first.
pub(super) fn issue_connect(packet: &mut Packet, id: OpId, socket: usize, address: &Address, facts: Facts) -> Call {
    let (storage, length) = address.as_raw();
    // SAFETY: the name is that of the type; locals and the caller's address are as long as said; the packet and the
    // address stay where they are until the packet has come.
    unsafe {
        let connect = match winsock::extension::<LPFN_CONNECTEX>(socket, &WSAID_CONNECTEX) {
            Ok(Some(connect)) => connect,
            Ok(None) => return Call::Ended(Ending::failed(WSAEOPNOTSUPP as u32)),
            Err(code) => return Call::Ended(Ending::failed(code)),
        };
        let mut own = Address::empty();
        let (name, room) = own.as_raw_mut();
        if getsockname(socket, name.cast(), room) != 0 {
            let any = SOCKADDR_STORAGE { ss_family: (*storage).ss_family, ..Default::default() };
            // A failure shows in the connect, with the same number.
            bind(socket, (&raw const any).cast(), length);
        }
        let overlapped = packet.prepare(id, 0, 0);
        let done = connect(socket, storage.cast(), length, ptr::null(), 0, ptr::null_mut(), overlapped);
        answered(if done != 0 { 0 } else { SOCKET_ERROR }, 0, facts)
    }
}

pub(super) fn absorb_connect(socket: usize, address: &Address, code: u32) -> Next {
    match code {
        0 => match winsock::update_context(socket, SO_UPDATE_CONNECT_CONTEXT, None) {
            Ok(()) => Next::Over(Ok(0), None),
            Err(code) => Next::fails(code),
        },
        code => Next::fails(of_family(socket, address, code)),
    }
}

/// The flags for the system: waiting for a full buffer is done here, for the system has it on some sockets only, and
/// then not together with other flags.
pub(super) fn receive_flags(flags: i32) -> u32 {
    (flags & !MSG_WAITALL) as u32
}

pub(super) fn issue_recv(
    request: &mut Request,
    socket: usize,
    (start, length): (*mut u8, usize),
    flags: i32,
    facts: Facts,
) -> Call {
    let buffer = piece(start, length, request.moved);
    let flags = request.packet.flags(receive_flags(flags));
    let overlapped = request.packet.prepare(request.id, 0, 0);
    let mut bytes = 0;
    // SAFETY: the buffer stays valid and untouched until the packet has come (the caller's promise to `begin`), and so
    // does the packet; the `WSABUF` itself is copied by the call.
    let result = unsafe { WSARecv(socket, &buffer, 1, &raw mut bytes, flags, overlapped, None) };
    answered_receive(&request.packet, result, bytes, facts)
}

pub(super) fn issue_send(request: &mut Request, socket: usize, buffer: &[u8], flags: i32, facts: Facts) -> Call {
    let buffer = piece(buffer.as_ptr(), buffer.len(), request.moved);
    let overlapped = request.packet.prepare(request.id, 0, 0);
    let mut bytes = 0;
    // SAFETY: as for a receive; the system only reads the buffer.
    let result = unsafe { WSASend(socket, &buffer, 1, &raw mut bytes, flags as u32, overlapped, None) };
    answered(result, bytes, facts)
}

/// Begins a receive of a message: with control data by WSARecvMsg, which is for datagrams alone, with an address by
/// WSARecvFrom, on a stream by WSARecv.
pub(super) fn issue_recv_message(
    request: &mut Request,
    socket: usize,
    message: &mut RecvMessage<'_>,
    flags: i32,
    facts: Facts,
) -> Call {
    let flags = receive_flags(flags);
    let overlapped = request.packet.prepare(request.id, 0, 0);
    let mut bytes = 0;
    message.flags = 0;
    message.control_length = 0;
    let mut room = Vec::new();
    let list = rest(buffers_mut(message.buffers), request.moved, &mut room);
    if facts.stream {
        let flags = request.packet.flags(flags);
        // SAFETY: as for a plain receive.
        let result =
            unsafe { WSARecv(socket, list.as_ptr(), list.len() as u32, &raw mut bytes, flags, overlapped, None) };
        return answered_receive(&request.packet, result, bytes, facts);
    }
    let (storage, length) = message.address.as_raw_mut();
    if message.control.is_empty() {
        let flags = request.packet.flags(flags);
        // SAFETY: as for a plain receive; the address is part of the message, which stays where it is.
        let result = unsafe {
            let (list, count) = (list.as_ptr(), list.len() as u32);
            WSARecvFrom(socket, list, count, &raw mut bytes, flags, storage.cast(), length, overlapped, None)
        };
        return answered_receive(&request.packet, result, bytes, facts);
    }
    // SAFETY: the name is that of the type.
    let receive = match unsafe { winsock::extension::<LPFN_WSARECVMSG>(socket, &WSAID_WSARECVMSG) } {
        Ok(Some(receive)) => receive,
        Ok(None) => return Call::Ended(Ending::failed(WSAEOPNOTSUPP as u32)),
        Err(code) => return Call::Ended(Ending::failed(code)),
    };
    // Unlike the array that the other calls take, this one must stay where it is: the message's own does.
    let list = buffers_mut(message.buffers);
    let header = message.header.insert(WSAMSG {
        name: storage.cast(),
        // SAFETY: it points to the length that `as_raw_mut` has set.
        namelen: unsafe { *length },
        lpBuffers: list.as_mut_ptr(),
        dwBufferCount: list.len() as u32,
        Control: WSABUF { len: message.control.len() as u32, buf: message.control.as_mut_ptr() },
        dwFlags: flags,
    });
    // SAFETY: as above; the header is part of the message too.
    let result = unsafe { receive(socket, header, &raw mut bytes, overlapped, None) };
    answered_receive(&request.packet, result, bytes, facts)
}

/// Notes what came with a message.
pub(super) fn absorb_recv_message(message: &mut RecvMessage<'_>, facts: Facts, truncated: bool) {
    if facts.stream {
        message.address = Address::empty();
    }
    if let Some(header) = message.header.take() {
        message.address.set_length(header.namelen);
        message.control_length = (header.Control.len as usize).min(message.control.len());
        message.flags |= header.dwFlags as i32 & (MSG_TRUNC | MSG_CTRUNC);
    }
    if truncated {
        message.flags |= MSG_TRUNC;
    }
}

/// Begins a send of a message: with control data by WSASendMsg, to an address by WSASendTo, else by WSASend.
pub(super) fn issue_send_message(
    request: &mut Request,
    socket: usize,
    message: &mut SendMessage<'_>,
    flags: i32,
    facts: Facts,
) -> Call {
    let overlapped = request.packet.prepare(request.id, 0, 0);
    let (mut bytes, flags) = (0, flags as u32);
    let mut room = Vec::new();
    let list = rest(buffers(message.buffers), 0, &mut room);
    let (name, namelen) = message.address.filter(|_| !facts.stream).map_or((ptr::null(), 0), Address::as_raw);
    let count = list.len() as u32;
    // SAFETY: buffers, address, control data and header belong to the message, which stays where it is until the packet
    // has come, and so does the packet; the system writes to none but the packet.
    let result = unsafe {
        if !message.control.is_empty() {
            let header = message.header.insert(WSAMSG {
                name: name.cast_mut().cast(),
                namelen,
                lpBuffers: list.as_ptr().cast_mut(),
                dwBufferCount: count,
                Control: WSABUF { len: message.control.len() as u32, buf: message.control.as_ptr().cast_mut() },
                dwFlags: 0,
            });
            WSASendMsg(socket, header, flags, &raw mut bytes, overlapped, None)
        } else if name.is_null() {
            WSASend(socket, list.as_ptr(), count, &raw mut bytes, flags, overlapped, None)
        } else {
            WSASendTo(socket, list.as_ptr(), count, &raw mut bytes, flags, name.cast(), namelen, overlapped, None)
        }
    };
    answered(result, bytes, facts)
}

/// In which queue of its socket a receive stands. Others may have to wait for it: the system keeps the order of its calls,
/// but a receive of ours may take several of them. Urgent data is not in line with the bytes.
pub(super) fn line(op: &Op<'_>) -> Option<Line> {
    match op {
        Op::Recv { flags, .. } | Op::RecvProvided { flags, .. } | Op::RecvMessage { flags, .. } => {
            Some(if flags & MSG_OOB == 0 { Line::Turns } else { Line::Aside })
        }
        Op::RecvMultishot { .. } => Some(Line::Turns),
        _ => None,
    }
}

/// Whether a receive goes on until its buffers are full.
pub(super) fn waits_for_all(flags: i32) -> bool {
    flags & MSG_WAITALL != 0 && flags & (MSG_PEEK | MSG_OOB) == 0
}

/// How many bytes a message has room for.
pub(super) fn room(message: &mut RecvMessage<'_>) -> usize {
    message.buffers.iter().map(|buffer| buffer.len()).sum()
}

/// Begins the end of a stream: DisconnectEx, which ends the sending side when all is out, then receives of what the peer
/// still sends.
pub(super) fn issue_disconnect(request: &mut Request, socket: usize, facts: Facts) -> Call {
    if !facts.stream {
        return Call::Ended(Ending::failed(WSAEOPNOTSUPP as u32));
    }
    if request.fetch {
        let (start, length) = nowhere();
        return issue_recv(request, socket, (start, length), 0, facts);
    }
    // SAFETY: the name is that of the type.
    let disconnect = match unsafe { winsock::extension::<LPFN_DISCONNECTEX>(socket, &WSAID_DISCONNECTEX) } {
        Ok(Some(disconnect)) => disconnect,
        Ok(None) => return Call::Ended(Ending::failed(WSAEOPNOTSUPP as u32)),
        Err(code) => return Call::Ended(Ending::failed(code)),
    };
    let overlapped = request.packet.prepare(request.id, 0, 0);
    // SAFETY: the packet stays where it is until it has been dequeued.
    let done = unsafe { disconnect(socket, overlapped, 0, 0) };
    match answered(if done != 0 { 0 } else { SOCKET_ERROR }, 0, facts) {
        // Wine says so of what has ended, and no packet comes of that.
        Call::InFlight => in_flight(&request.packet, facts),
        ended => ended,
    }
}

/// Ends one or both directions.
pub(super) fn shut_down(socket: usize, how: Shutdown) -> io::Result<usize> {
    let how = match how {
        Shutdown::Read => SD_RECEIVE,
        Shutdown::Write => SD_SEND,
        Shutdown::Both => SD_BOTH,
    };
    // SAFETY: takes numbers.
    match unsafe { shutdown(socket, how) } {
        0 => Ok(0),
        _ => Err(error::error(winsock::failure(socket))),
    }
}

impl Core {
    /// Puts the system's ways of ending a receive together.
    pub(super) fn received(&mut self, request: &Request, socket: usize, asked: bool, ending: Ending) -> Received {
        let handle = self.handles.get(socket);
        let (stream, shut) = handle.map_or((true, false), |handle| (handle.facts.stream, handle.receives_ended));
        match ending.code {
            // The end, unless no byte was asked for.
            0 if ending.bytes == 0 && stream && !shut && asked && winsock::was_reset(socket) => {
                Received::Failed(WSAECONNRESET as u32)
            }
            0 => Received::Bytes { count: ending.bytes, truncated: false },
            code if error::truncated(code) => Received::Bytes { count: ending.bytes, truncated: true },
            // The receiving side was shut down before it, or with it in flight: elsewhere that is the end.
            ERROR_NO_DATA => Received::Bytes { count: 0, truncated: false },
            ERROR_OPERATION_ABORTED if shut && !request.cancelled => Received::Bytes { count: 0, truncated: false },
            code if !stream && !request.cancelled && is_unreachable(code) => {
                // A datagram sent earlier found nobody. A connected socket is told so; one that is not cannot know
                // which of its datagrams is meant, and elsewhere never hears of it.
                if winsock::is_connected(socket) { Received::Failed(WSAECONNREFUSED as u32) } else { Received::Again }
            }
            code => Received::Failed(code),
        }
    }

    pub(super) fn absorb_disconnect(&mut self, request: &mut Request, socket: usize, ending: Ending) -> Next {
        if !request.fetch {
            return match ending.code as WSA_ERROR {
                // The sending side has ended before: the receive tells whether there was a connection at all.
                0 | WSAENOTCONN | WSAESHUTDOWN => {
                    request.fetch = true;
                    Next::Again
                }
                _ => Next::fails(ending.code),
            };
        }
        match self.received(request, socket, true, ending) {
            Received::Bytes { count: 0, .. } => Next::Over(Ok(0), None),
            Received::Bytes { .. } | Received::Again => Next::Again,
            Received::Failed(code) => Next::fails(code),
        }
    }

    /// What a send is to say that failed with `code`.
    pub(super) fn unsent(&mut self, socket: usize, facts: Facts, address: Option<&Address>, code: u32) -> Next {
        let told = self.handles.get(socket).is_some_and(|handle| handle.reset_told);
        Next::fails(match code as WSA_ERROR {
            // Elsewhere the reset is told once, and then the pipe is broken.
            WSAECONNRESET if facts.stream && told => ERROR_NO_DATA,
            // Wine, of a datagram that names no receiver.
            WSAEINVAL if !facts.stream && address.is_none() && !winsock::is_connected(socket) => WSAENOTCONN as u32,
            _ => address.map_or(code, |address| of_family(socket, address, code)),
        })
    }

    /// Closes a socket; on a thread where the system may wait for its last bytes.
    pub(super) fn close_socket(&mut self, socket: usize) -> Started {
        if self.handles.get(socket).is_some_and(|handle| handle.in_flight > 0) {
            // Against the contract; closed with them in flight, the system ends them in several ways.
            // SAFETY: takes a handle, and null for all of its operations.
            unsafe { windows_sys::Win32::System::IO::CancelIoEx(socket as HANDLE, ptr::null()) };
        }
        self.forget(socket);
        let close = move || {
            // SAFETY: the caller gives the socket up.
            match unsafe { closesocket(socket) } {
                0 => Ok(0),
                _ => Err(error::error(winsock::failure(socket))),
            }
        };
        if winsock::lingers(socket) {
            Started::Offload(Box::new(close), Lane::Short)
        } else {
            Started::Done(close(), None)
        }
    }
}

fn is_unreachable(code: u32) -> bool {
    code == WSAECONNRESET as u32 || code == WSAENETRESET as u32
}
