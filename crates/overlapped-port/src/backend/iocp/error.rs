//! One name for each failure.
//!
//! The same cause has several numbers on Windows: the `NTSTATUS` of a packet, the Win32 code that
//! `RtlNtStatusToDosError` makes of it (which calls a reset connection `ERROR_NETNAME_DELETED`, 64), and the Winsock
//! code that WSAGetOverlappedResult would have told (`WSAECONNRESET`, 10054). `io::ErrorKind` knows the last, so
//! sockets report those. The pairs are those of "Windows Sockets Error Codes" and "System Error Codes".

use std::io;

use windows_sys::Win32::Foundation::*;
use windows_sys::Win32::Networking::WinSock::{self, WSA_ERROR};

/// How a system call or a packet ended: `code` is 0 for success, else a Win32 or a Winsock error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) bytes: usize,
    pub(super) code: u32,
}

impl Ending {
    pub(super) fn done(bytes: usize) -> Ending {
        Ending { bytes, code: ERROR_SUCCESS }
    }

    pub(super) fn failed(code: u32) -> Ending {
        Ending { bytes: 0, code }
    }
}

/// The error of a code.
pub(super) fn error(code: u32) -> io::Error {
    io::Error::from_raw_os_error(code as i32)
}

/// The code of a packet's status, on a file.
pub(super) fn of_file(status: NTSTATUS) -> u32 {
    match status {
        STATUS_SUCCESS => ERROR_SUCCESS,
        // SAFETY: a conversion of numbers.
        status => file(unsafe { RtlNtStatusToDosError(status) }),
    }
}

/// The code of a packet's status, on a socket.
pub(super) fn of_socket(status: NTSTATUS) -> u32 {
    match status {
        STATUS_SUCCESS => ERROR_SUCCESS,
        // Ended here, not by the peer; the general conversion cannot tell the two apart.
        STATUS_LOCAL_DISCONNECT | STATUS_TRANSACTION_ABORTED => WinSock::WSAECONNABORTED as u32,
        STATUS_DEVICE_NOT_READY | STATUS_REQUEST_NOT_ACCEPTED => WinSock::WSAENOBUFS as u32,
        // SAFETY: a conversion of numbers.
        status => socket(unsafe { RtlNtStatusToDosError(status) }),
    }
}

/// The code that a call on a file failed with.
pub(super) fn file(code: u32) -> u32 {
    match code {
        // Wine: the handle was closed with the operation in flight.
        ERROR_HANDLES_CLOSED => ERROR_OPERATION_ABORTED,
        // The server has thrown its client out. To the client that is the same end as where it has closed the pipe.
        ERROR_PIPE_NOT_CONNECTED => ERROR_BROKEN_PIPE,
        code => code,
    }
}

/// The code that a call on a socket failed with, in the form that every backend reports.
pub(super) fn socket(code: u32) -> u32 {
    let winsock: WSA_ERROR = match code {
        ERROR_NETNAME_DELETED | ERROR_VC_DISCONNECTED | ERROR_UNEXP_NET_ERR => WinSock::WSAECONNRESET,
        ERROR_CONNECTION_REFUSED => WinSock::WSAECONNREFUSED,
        ERROR_CONNECTION_ABORTED => WinSock::WSAECONNABORTED,
        ERROR_SEM_TIMEOUT | ERROR_TIMEOUT => WinSock::WSAETIMEDOUT,
        ERROR_NETWORK_UNREACHABLE | ERROR_PROTOCOL_UNREACHABLE | ERROR_BAD_NETPATH => WinSock::WSAENETUNREACH,
        ERROR_HOST_UNREACHABLE => WinSock::WSAEHOSTUNREACH,
        // A datagram that nobody took came back as an ICMP message.
        ERROR_PORT_UNREACHABLE => WinSock::WSAECONNRESET,
        ERROR_ADDRESS_ALREADY_ASSOCIATED | ERROR_DUP_NAME => WinSock::WSAEADDRINUSE,
        ERROR_ADDRESS_NOT_ASSOCIATED => WinSock::WSAEADDRNOTAVAIL,
        ERROR_CONNECTION_ACTIVE => WinSock::WSAEISCONN,
        ERROR_CONNECTION_INVALID => WinSock::WSAENOTCONN,
        ERROR_NO_SYSTEM_RESOURCES | ERROR_NOT_ENOUGH_MEMORY | ERROR_WORKING_SET_QUOTA | ERROR_NOT_ENOUGH_QUOTA => {
            WinSock::WSAENOBUFS
        }
        ERROR_NOT_SUPPORTED => WinSock::WSAEOPNOTSUPP,
        // A send after the stream was shut down: `BrokenPipe`, as on every system.
        ERROR_PIPE_NOT_CONNECTED => return ERROR_NO_DATA,
        code if code == WinSock::WSAESHUTDOWN as u32 => return ERROR_NO_DATA,
        // Closed here with the operation in flight: 676 under Wine, WSAEINTR by Winsock's own account.
        ERROR_HANDLES_CLOSED => return ERROR_OPERATION_ABORTED,
        code if code == WinSock::WSAEINTR as u32 => return ERROR_OPERATION_ABORTED,
        code => return code,
    };
    winsock as u32
}

/// Whether a receive ended so because its datagram, or a message on a pipe, was longer than the buffer. The bytes that
/// fitted are there, and although the call "failed", a packet comes: its status is a warning, not an error.
pub(super) fn truncated(code: u32) -> bool {
    code == ERROR_MORE_DATA || code == WinSock::WSAEMSGSIZE as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    #[test]
    fn causes_have_their_kind() {
        let kinds = [
            (STATUS_CONNECTION_RESET, ErrorKind::ConnectionReset),
            (STATUS_REMOTE_DISCONNECT, ErrorKind::ConnectionReset),
            (STATUS_CONNECTION_REFUSED, ErrorKind::ConnectionRefused),
            (STATUS_CONNECTION_ABORTED, ErrorKind::ConnectionAborted),
            (STATUS_LOCAL_DISCONNECT, ErrorKind::ConnectionAborted),
            (STATUS_IO_TIMEOUT, ErrorKind::TimedOut),
            (STATUS_HOST_UNREACHABLE, ErrorKind::HostUnreachable),
            (STATUS_NETWORK_UNREACHABLE, ErrorKind::NetworkUnreachable),
            (STATUS_PIPE_DISCONNECTED, ErrorKind::BrokenPipe),
        ];
        for (status, kind) in kinds {
            assert_eq!(error(of_socket(status)).kind(), kind, "status {status:#x}");
        }
        assert_eq!(of_socket(STATUS_CANCELLED) as i32, crate::sys::CANCELLED);
        assert_eq!(of_file(STATUS_CANCELLED) as i32, crate::sys::CANCELLED);
        assert!(truncated(of_socket(STATUS_BUFFER_OVERFLOW)));
        assert_eq!(of_file(STATUS_END_OF_FILE), ERROR_HANDLE_EOF);
        assert_eq!(of_file(STATUS_PIPE_BROKEN), ERROR_BROKEN_PIPE);
    }
}
