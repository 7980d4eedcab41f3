//! What a stream's bytes come from and go to, and the operations on it.

use std::io;

use overlapped_port::Op;
use overlapped_port::socket::Held;
use overlapped_port::sys::{raw_file, raw_socket};
use socket2::Socket;

use super::super::Endpoint;
use crate::blocking::fillable;
use crate::fs::File;

/// A socket, or the end of a pipe.
pub(in super::super) enum End {
    Socket(Held<Socket>),
    Pipe(File),
}

impl End {
    pub(super) fn endpoint(
        &self,
        of_socket: impl FnOnce(&Socket) -> io::Result<socket2::SockAddr>,
    ) -> io::Result<Endpoint> {
        match self {
            End::Socket(socket) => Endpoint::of(of_socket(socket)?),
            End::Pipe(_) => Ok(Endpoint::Pipe),
        }
    }
}

/// Bytes on their way out.
pub(super) struct Sending {
    pub(super) bytes: Vec<u8>,
    pub(super) sent: usize,
}

/// Reads what comes to a pipe.
pub(super) fn read_pipe<'a>(end: &End, room: &'a mut [u8]) -> Op<'a> {
    match end {
        End::Pipe(file) => Op::Read { file: raw_file(file), buffer: fillable(room), offset: None },
        End::Socket(_) => unreachable!("it is a pipe"),
    }
}

/// Sends or writes what is left.
pub(super) fn write_end<'a>(end: &End, sending: &'a mut Sending) -> Op<'a> {
    let buffer = &sending.bytes[sending.sent..];
    match end {
        End::Socket(socket) => Op::Send { socket: raw_socket(socket), buffer, flags: 0, all: true },
        End::Pipe(file) => Op::Write { file: raw_file(file), buffer, offset: None },
    }
}
