//! The handles that the port knows: association, and what is asked of a handle once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::ptr;

use windows_sys::Wdk::Foundation::{NtQueryObject, ObjectBasicInformation};
use windows_sys::Wdk::Storage::FileSystem::{
    FILE_INFORMATION_CLASS, FILE_SYNCHRONOUS_IO_ALERT, FILE_SYNCHRONOUS_IO_NONALERT, FileAccessInformation,
    FileIoCompletionNotificationInformation, FileModeInformation, NtQueryInformationFile,
};
use windows_sys::Win32::Foundation::{
    ERROR_INVALID_PARAMETER, HANDLE, NTSTATUS, STATUS_INVALID_HANDLE, STATUS_SUCCESS,
};
use windows_sys::Win32::Networking::WinSock::SOCK_STREAM;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_APPEND_DATA, FILE_TYPE_DISK, FILE_WRITE_DATA, GetFileType, SetFileCompletionNotificationModes,
};
use windows_sys::Win32::System::IO::{CreateIoCompletionPort, IO_STATUS_BLOCK};
use windows_sys::Win32::System::WindowsProgramming::{
    FILE_SKIP_COMPLETION_PORT_ON_SUCCESS, FILE_SKIP_SET_EVENT_ON_HANDLE,
};

use super::accept::Listener;
use super::{PACKET_KEY, error, winsock};
use crate::slots::OpId;

/// What a handle is, once and for all.
#[derive(Clone, Copy, Default)]
pub(super) struct Facts {
    /// No packet comes for a call that succeeded at once.
    pub(super) skips: bool,
    /// A socket for a byte stream, not for datagrams.
    pub(super) stream: bool,
    /// A file that has a position and a size, not a pipe or a device.
    pub(super) disk: bool,
    /// Every write goes to the end, whatever its offset.
    pub(super) appends: bool,
}

/// What is known of a handle that is associated with the port.
#[derive(Default)]
pub(super) struct Handle {
    pub(super) facts: Facts,
    /// Operations in flight on it.
    pub(super) in_flight: usize,
    /// Its receiving side was shut down: a receive that this ended brings the end of the stream.
    pub(super) receives_ended: bool,
    /// An operation has told that the connection was reset.
    pub(super) reset_told: bool,
    /// What an accept on it takes.
    pub(super) listener: Option<Listener>,
    /// Operations at the file's own position, one after the other; the first is under way.
    pub(super) turns: VecDeque<OpId>,
}

/// What came of [`Handles::enter_file`].
pub(super) enum Entered<'h> {
    /// Packets will come to the port.
    Associated(&'h mut Handle),
    /// It was opened without `FILE_FLAG_OVERLAPPED`: it can only block.
    Synchronous,
}

pub(super) struct Handles {
    port: HANDLE,
    known: HashMap<usize, Handle>,
    /// Sockets that an accept of this port made and that have had no operation yet.
    accepted: HashSet<usize>,
    /// A handle was closed whose object lives on: under the number of a duplicate, which may come to be used here.
    orphans: bool,
}

impl Handles {
    pub(super) fn new(port: HANDLE) -> Handles {
        Handles { port, known: HashMap::new(), accepted: HashSet::new(), orphans: false }
    }

    /// Associates a socket with the port, at its first operation.
    pub(super) fn enter_socket(&mut self, key: usize) -> io::Result<&mut Handle> {
        let new = self.associate(key)?;
        if new || !self.known.contains_key(&key) {
            // What is no socket at all is refused with the same number.
            let stream = winsock::kind(key).map_err(error::error)? == SOCK_STREAM;
            if new && self.accepted.remove(&key) {
                skip_on_success(key as HANDLE);
            }
            if new || self.is_duplicate(key) {
                let facts = Facts { stream, skips: skips(key)?, ..Facts::default() };
                self.known.insert(key, Handle { facts, ..Handle::default() });
            }
        }
        self.known.get_mut(&key).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "socket {key} cannot be used on this port: it is associated with another completion port already, \
                     here or in the process that gave it, or it was made without WSA_FLAG_OVERLAPPED \
                     (CreateIoCompletionPort: error {ERROR_INVALID_PARAMETER}). Hand a socket over before its first \
                     operation, and use it on one port"
                ),
            )
        })
    }

    /// Associates a file with the port, at its first operation, unless it can only block.
    pub(super) fn enter_file(&mut self, key: usize) -> io::Result<Entered<'_>> {
        let new = self.associate(key)?;
        // A known number may have become that of a handle that can only block; nothing else would tell.
        if !new && !self.is_busy(key) && query(key, FileModeInformation)? & BLOCKING != 0 {
            self.known.remove(&key);
            return Ok(Entered::Synchronous);
        }
        if new || (!self.known.contains_key(&key) && self.is_duplicate(key)) {
            // SAFETY: asks for a number; the caller's handle is open.
            let disk = unsafe { GetFileType(key as HANDLE) } == FILE_TYPE_DISK;
            let access = query(key, FileAccessInformation)?;
            let appends = access & FILE_APPEND_DATA != 0 && access & FILE_WRITE_DATA == 0;
            let facts = Facts { disk, appends, skips: skips(key)?, stream: false };
            self.known.insert(key, Handle { facts, ..Handle::default() });
        }
        self.known.get_mut(&key).map(Entered::Associated).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "file {key} cannot be used on this port: it is associated with another completion port already \
                     (CreateIoCompletionPort: error {ERROR_INVALID_PARAMETER}). Use a handle on one port"
                ),
            )
        })
    }

    /// Whether the handle is newly associated. False where it is known already, or where the system refuses (87).
    fn associate(&mut self, key: usize) -> io::Result<bool> {
        if self.is_busy(key) {
            return Ok(false);
        }
        // A number that is known may stand for another handle by now, closed and opened behind the port's back. No
        // packet would ever come for that one; asking again is what tells.
        // SAFETY: takes numbers, and fails for those that are no handles.
        if !unsafe { CreateIoCompletionPort(key as HANDLE, self.port, PACKET_KEY, 0) }.is_null() {
            self.known.remove(&key);
            return Ok(true);
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(ERROR_INVALID_PARAMETER as i32) => Ok(false),
            error => Err(error),
        }
    }

    /// Whether an operation is in flight: then the number cannot have changed its meaning.
    fn is_busy(&self, key: usize) -> bool {
        self.known.get(&key).is_some_and(|handle| handle.in_flight > 0)
    }

    pub(super) fn get(&mut self, key: usize) -> Option<&mut Handle> {
        self.known.get_mut(&key)
    }

    /// A socket that an accept of this port brought, from a provider whose sockets are real handles.
    pub(super) fn remember_accepted(&mut self, key: usize) {
        self.accepted.insert(key);
    }

    /// Whether a handle that the system refuses to associate is that of an object that is associated with this port: a
    /// duplicate of a handle that is known, or of one that was closed. (Where one was, that is a guess.)
    fn is_duplicate(&mut self, key: usize) -> bool {
        let mut is_known = false;
        let orphans = &mut self.orphans;
        self.known.retain(|known, handle| {
            // SAFETY: compares what two numbers stand for; any number is allowed.
            match unsafe { NtCompareObjects(key as HANDLE, *known as HANDLE) } {
                STATUS_SUCCESS => is_known = true,
                // Closed behind the port's back.
                STATUS_INVALID_HANDLE if handle.in_flight == 0 => {
                    *orphans = true;
                    return false;
                }
                _ => {}
            }
            true
        });
        is_known || self.orphans
    }

    /// The handle is being closed.
    pub(super) fn forget(&mut self, key: usize) {
        self.accepted.remove(&key);
        if self.known.remove(&key).is_some() {
            self.orphans |= handle_count(key) > 1;
        }
    }
}

/// The modes of a handle that was opened without `FILE_FLAG_OVERLAPPED`.
const BLOCKING: u32 = FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT;

#[link(name = "ntdll", kind = "raw-dylib")]
unsafe extern "system" {
    /// Whether two handles are of one object: what CompareObjectHandles of newer systems calls.
    fn NtCompareObjects(first: HANDLE, second: HANDLE) -> NTSTATUS;
}

/// How many handles the object of a handle has; 1 where the system does not tell.
fn handle_count(key: usize) -> u32 {
    // `PUBLIC_OBJECT_BASIC_INFORMATION`: attributes, access, handles, pointers, and 40 bytes without a meaning.
    let mut facts = [0_u32; 14];
    let length = size_of_val(&facts) as u32;
    // SAFETY: the room is as long as said.
    let status = unsafe {
        let start = facts.as_mut_ptr().cast();
        NtQueryObject(key as HANDLE, ObjectBasicInformation, start, length, ptr::null_mut())
    };
    if status < 0 { 1 } else { facts[2] }
}

/// Asks the system not to queue a packet for what succeeded at once: the caller has the result already.
fn skip_on_success(handle: HANDLE) {
    let modes = FILE_SKIP_COMPLETION_PORT_ON_SUCCESS | FILE_SKIP_SET_EVENT_ON_HANDLE;
    // Where it is refused, packets come, and `skips` says so.
    // SAFETY: sets two bits of an open handle of ours.
    unsafe { SetFileCompletionNotificationModes(handle, modes as u8) };
}

/// Whether that was asked for, by this port or by who had the handle before.
fn skips(key: usize) -> io::Result<bool> {
    Ok(query(key, FileIoCompletionNotificationInformation)? & FILE_SKIP_COMPLETION_PORT_ON_SUCCESS != 0)
}

/// One of the facts about a file that are a number.
fn query(key: usize, class: FILE_INFORMATION_CLASS) -> io::Result<u32> {
    let mut block = IO_STATUS_BLOCK::default();
    let mut fact = 0_u32;
    // SAFETY: the class has a number for its result, and both pointers are to locals that the call fills.
    let status = unsafe {
        NtQueryInformationFile(
            key as HANDLE,
            &raw mut block,
            ptr::from_mut(&mut fact).cast(),
            size_of::<u32>() as u32,
            class,
        )
    };
    if status < 0 { Err(error::error(error::of_file(status))) } else { Ok(fact) }
}
