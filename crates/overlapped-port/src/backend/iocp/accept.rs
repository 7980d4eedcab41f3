//! Accepts. AcceptEx takes the socket that is to be the connection beforehand, and room for both addresses.

use std::os::windows::io::{AsRawSocket, IntoRawSocket};
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_IO_PENDING, ERROR_OPERATION_ABORTED};
use windows_sys::Win32::Networking::WinSock::*;

use super::error::{self, Ending};
use super::handles::Facts;
use super::request::{Packet, Request};
use super::{Core, Step, winsock};
use crate::address::Address;
use crate::backend::Event;
use crate::op::Op;
use crate::sys::{self, OwnedSocket};

/// What AcceptEx wants for each of the two addresses: the longest address, and 16 bytes of its own.
const ADDRESS_ROOM: usize = size_of::<SOCKADDR_STORAGE>() + 16;

/// How many a multishot accept keeps outstanding: each holds a socket. A connection that finds none outstanding waits
/// in the listener's backlog, so this bounds how many are taken per turn of the loop and nothing else.
const OUTSTANDING: usize = 8;

/// How often at most a call that met a connection that is gone already is tried again at once.
const RETRIES: usize = 64;

/// What an accept takes from its listener.
#[derive(Clone, Copy)]
pub(super) struct Listener {
    family: i32,
    kind: i32,
    protocol: i32,
    /// Whether the provider's sockets are real handles: only then may their packets be skipped.
    handles: bool,
    accept: LPFN_ACCEPTEX,
}

impl Listener {
    fn of(socket: usize) -> Result<Listener, u32> {
        let protocol = winsock::protocol(socket)?;
        // Wine would wait for ever.
        if !winsock::listens(socket) {
            return Err(WSAEINVAL as u32);
        }
        Ok(Listener {
            family: protocol.iAddressFamily,
            kind: protocol.iSocketType,
            protocol: protocol.iProtocol,
            handles: protocol.dwServiceFlags1 & XP1_IFS_HANDLES != 0,
            // SAFETY: the name is that of the type.
            accept: unsafe { winsock::extension(socket, &WSAID_ACCEPTEX)? },
        })
    }

    fn socket(&self) -> Result<OwnedSocket, u32> {
        let flags = WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT;
        // SAFETY: takes numbers; no protocol information is given.
        match unsafe { WSASocketW(self.family, self.kind, self.protocol, ptr::null(), 0, flags) } {
            INVALID_SOCKET => Err(error::socket(winsock::last_error())),
            // SAFETY: a new socket, and this is its only owner.
            socket => Ok(unsafe { sys::own_socket(socket) }),
        }
    }
}

/// One AcceptEx, and what it fills.
struct Part {
    packet: Packet,
    /// The socket to be; in flight while it is there.
    socket: Option<OwnedSocket>,
    addresses: Box<[u8; 2 * ADDRESS_ROOM]>,
}

/// The calls of one accept operation; kept with its slot for the next.
#[derive(Default)]
pub(super) struct Accepts {
    parts: Vec<Part>,
    /// Why no more are begun.
    ending: Option<u32>,
}

impl Accepts {
    /// The packet of a call in flight.
    pub(super) fn packet(&self, part: usize) -> Option<&Packet> {
        self.parts.get(part).filter(|part| part.socket.is_some()).map(|part| &part.packet)
    }
}

impl Core {
    /// Carries an accept on: at its start, or when the packet of one of its calls has arrived.
    pub(super) fn accept(&mut self, request: &mut Request, arrived: Option<(usize, Ending)>) -> Step {
        let (socket, wanted) = match request.op {
            Some(Op::Accept { listener, .. }) => (listener as usize, 1),
            Some(Op::AcceptMultishot { listener }) => (listener as usize, OUTSTANDING),
            _ => unreachable!("called for accepts"),
        };
        match arrived {
            None => {
                request.accepts.ending = None;
                let parts = &mut request.accepts.parts;
                while parts.len() < wanted {
                    parts.push(Part { packet: Packet::new(), socket: None, addresses: Box::new([0; _]) });
                }
            }
            Some((part, ending)) if request.accepts.parts[part].socket.is_some() => {
                if let Some(step) = self.accepted(request, socket, part, ending) {
                    return step;
                }
            }
            Some(_) => {}
        }
        let mut refused = None;
        for part in 0..wanted {
            if request.cancelled || request.accepts.ending.is_some() {
                break;
            }
            if request.accepts.parts[part].socket.is_some() {
                continue;
            }
            match self.arm(request, socket, part) {
                Ok(None) => {}
                Ok(Some(ending)) => {
                    if let Some(step) = self.accepted(request, socket, part, ending) {
                        return step;
                    }
                }
                Err(code) => {
                    refused = Some(code);
                    break;
                }
            }
        }
        if request.accepts.parts.iter().any(|part| part.socket.is_some()) {
            // Where some are outstanding, what refuses more (the table of handles is full) may pass.
            return Step::InFlight;
        }
        let code = if request.cancelled { None } else { request.accepts.ending.or(refused) };
        Step::Over(Err(error::error(code.unwrap_or(ERROR_OPERATION_ABORTED))), None)
    }

    fn listener(&mut self, socket: usize) -> Result<Listener, u32> {
        let handle = self.handles.get(socket).ok_or(ERROR_OPERATION_ABORTED)?;
        match handle.listener {
            Some(listener) => Ok(listener),
            None => Ok(*handle.listener.insert(Listener::of(socket)?)),
        }
    }

    /// Begins one call: `None` where its packet will come, else its ending.
    fn arm(&mut self, request: &mut Request, socket: usize, index: usize) -> Result<Option<Ending>, u32> {
        let listener = self.listener(socket)?;
        let Facts { skips, elsewhere, .. } = self.handles.get(socket).map(|handle| handle.facts).unwrap_or_default();
        let accept = listener.accept.ok_or(WSAEOPNOTSUPP as u32)?;
        let part = &mut request.accepts.parts[index];
        part.packet.watch(elsewhere, self.queue.handle())?;
        for _ in 0..RETRIES {
            let fresh = listener.socket()?;
            let overlapped = part.packet.prepare(request.id, index, 0);
            let (room, mut bytes) = (ADDRESS_ROOM as u32, 0);
            self.entries += 1;
            // SAFETY: the packet, the room for the addresses and the socket stay where they are until the packet has
            // come; the listener is open (the caller's promise). No first bytes are waited for (length 0): a peer that
            // sends none would hold the accept.
            let done = unsafe {
                let addresses = part.addresses.as_mut_ptr().cast();
                let fresh = sys::socket_key(fresh.as_raw_socket());
                accept(socket, fresh, addresses, 0, room, room, &raw mut bytes, overlapped)
            };
            let code = if done != 0 { 0 } else { winsock::last_error() };
            match code {
                0 if skips => {
                    part.socket = Some(fresh);
                    return Ok(Some(Ending::done(0)));
                }
                0 | ERROR_IO_PENDING => {
                    part.socket = Some(fresh);
                    return Ok(None);
                }
                // The peer was gone before it was accepted; the next in the queue may be there.
                code if error::socket(code) == WSAECONNRESET as u32 => {}
                code => return Err(error::socket(code)),
            }
        }
        Err(WSAECONNRESET as u32)
    }

    /// Takes one call's ending in. `Some` where the operation is over with it.
    fn accepted(&mut self, request: &mut Request, listener: usize, part: usize, ending: Ending) -> Option<Step> {
        let fresh = request.accepts.parts[part].socket.take().expect("an accept in flight has its socket");
        let key = sys::socket_key(fresh.as_raw_socket());
        let code = match ending.code {
            0 => match winsock::update_context(key, SO_UPDATE_ACCEPT_CONTEXT, Some(listener)) {
                Ok(()) => 0,
                // It was reset between the two calls: as if it had been before.
                Err(_) => WSAECONNRESET as u32,
            },
            code => code,
        };
        match code {
            0 => {
                if self
                    .handles
                    .get(listener)
                    .and_then(|handle| handle.listener)
                    .is_some_and(|listener| listener.handles)
                {
                    self.handles.remember_accepted(key);
                }
                let peer = match &mut request.op {
                    Some(Op::Accept { peer, .. }) => peer,
                    _ => {
                        let result = Ok(fresh.into_raw_socket() as usize);
                        self.ready.push(Event { id: request.id, result, buffer: None, more: true });
                        return None;
                    }
                };
                if let Some(peer) = peer {
                    **peer = peer_of(key);
                }
                Some(Step::Over(Ok(fresh.into_raw_socket() as usize), None))
            }
            code if code == WSAECONNRESET as u32 => None,
            code => {
                request.accepts.ending.get_or_insert(code);
                self.cancel_accepts(request);
                None
            }
        }
    }

    /// Asks for the end of every call of an accept.
    pub(super) fn cancel_accepts(&mut self, request: &Request) {
        for part in request.accepts.parts.iter().filter(|part| part.socket.is_some()) {
            self.cancel_call(request.target, part.packet.overlapped());
        }
    }
}

fn peer_of(socket: usize) -> Address {
    let mut address = Address::empty();
    let (storage, length) = address.as_raw_mut();
    // SAFETY: the pointers are to room of the length that the second says.
    if unsafe { getpeername(socket, storage.cast(), length) } == 0 { address } else { Address::empty() }
}
