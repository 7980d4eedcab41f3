//! The handles that the port knows: association, and what is asked of a handle once.

use std::collections::{HashMap, HashSet};
use std::io;
use std::ptr;
use std::sync::atomic::Ordering;

use windows_sys::Wdk::Foundation::{NtQueryObject, ObjectBasicInformation};
use windows_sys::Wdk::Storage::FileSystem::{
    FILE_INFORMATION_CLASS, FILE_SYNCHRONOUS_IO_ALERT, FILE_SYNCHRONOUS_IO_NONALERT, FileAccessInformation,
    FileIoCompletionNotificationInformation, FileModeInformation, NtQueryInformationFile,
};
use windows_sys::Win32::Foundation::{ERROR_INVALID_PARAMETER, HANDLE, NTSTATUS, STATUS_SUCCESS};
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
use crate::backend::table::Queue;
use crate::sys::{forget, meaning};

/// What a handle is, once and for all.
#[derive(Clone, Copy, Default)]
pub(super) struct Facts {
    /// No packet comes for a call that succeeded at once.
    pub(super) skips: bool,
    /// Its packets go to another port: calls on it are [watched](super::watch).
    pub(super) elsewhere: bool,
    /// A socket for a byte stream, not for datagrams.
    pub(super) stream: bool,
    /// A file that has a position and a size, not a pipe or a device.
    pub(super) disk: bool,
    /// Every write goes to the end, whatever its offset.
    pub(super) appends: bool,
}

/// What is known of a handle.
#[derive(Default)]
pub(super) struct Handle {
    pub(super) facts: Facts,
    /// Which meaning of its number this is.
    pub(super) meaning: u32,
    /// Operations in flight on it.
    pub(super) in_flight: usize,
    /// Its receiving side was shut down: a receive that this ended brings the end of the stream.
    pub(super) receives_ended: bool,
    /// An operation has told that the connection was reset.
    pub(super) reset_told: bool,
    /// What an accept on it takes.
    pub(super) listener: Option<Listener>,
    /// Operations at the file's own position, or a socket's receives, one after the other; the first is under way.
    pub(super) turns: Queue,
    /// Receives that are in nobody's way: of urgent data.
    pub(super) aside: Queue,
}

/// In which queue of its handle an operation stands.
#[derive(Clone, Copy)]
pub(super) enum Line {
    Turns,
    Aside,
}

/// What came of [`Handles::enter_file`].
pub(super) enum Entered<'h> {
    /// Operations on it can be in flight.
    Overlapped(&'h mut Handle),
    /// It was opened without `FILE_FLAG_OVERLAPPED`: it can only block.
    Synchronous,
}

/// Whose port the packets of a handle go to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Association {
    /// As it was before.
    Known,
    /// This one's, from now on.
    New,
    /// This one's: its object is that of a handle that is known.
    Duplicate,
    /// Another's, as far as can be told.
    Elsewhere,
}

pub(super) struct Handles {
    port: HANDLE,
    known: HashMap<usize, Handle>,
    /// Sockets that an accept of this port made and that have had no operation yet.
    accepted: HashSet<usize>,
}

impl Handles {
    pub(super) fn new(port: HANDLE) -> Handles {
        Handles { port, known: HashMap::new(), accepted: HashSet::new() }
    }

    /// Looks at a socket, if it is not known, and associates it with the port at its first operation.
    pub(super) fn enter_socket(&mut self, key: usize) -> io::Result<&mut Handle> {
        let association = self.associate(key)?;
        if association != Association::Known {
            // What is no socket at all is refused with the same number.
            let stream = winsock::kind(key).map_err(error::error)? == SOCK_STREAM;
            if association == Association::New {
                if self.accepted.remove(&key) {
                    skip_on_success(key as HANDLE);
                }
            } else if is_blocking(key)? {
                let message = format!(
                    "socket {key} was made without WSA_FLAG_OVERLAPPED, and can only block: make it with that flag, as \
                     the standard libraries of Rust and Python do"
                );
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
            self.learn(key, association, Facts { stream, ..Facts::default() })?;
        }
        Ok(self.known.get_mut(&key).expect("it is known, or was learnt"))
    }

    /// Looks at a file, if it is not known, and associates it with the port at its first operation, unless it can only
    /// block.
    pub(super) fn enter_file(&mut self, key: usize) -> io::Result<Entered<'_>> {
        let association = self.associate(key)?;
        // A known number may have become that of a handle that can only block; nothing else would tell.
        if association != Association::New && !self.is_busy(key) && is_blocking(key)? {
            self.known.remove(&key);
            return Ok(Entered::Synchronous);
        }
        if association != Association::Known {
            // SAFETY: asks for a number; the caller's handle is open.
            let disk = unsafe { GetFileType(key as HANDLE) } == FILE_TYPE_DISK;
            let access = query(key, FileAccessInformation)?;
            let appends = access & FILE_APPEND_DATA != 0 && access & FILE_WRITE_DATA == 0;
            self.learn(key, association, Facts { disk, appends, ..Facts::default() })?;
        }
        Ok(Entered::Overlapped(self.known.get_mut(&key).expect("it is known, or was learnt")))
    }

    fn learn(&mut self, key: usize, association: Association, facts: Facts) -> io::Result<()> {
        let elsewhere = association == Association::Elsewhere;
        // A call that is watched has no packet, and one that succeeded at once needs no watching.
        let facts = Facts { elsewhere, skips: elsewhere || skips(key)?, ..facts };
        let meaning = meaning(key).load(Ordering::Relaxed);
        self.known.insert(key, Handle { facts, meaning, ..Handle::default() });
        Ok(())
    }

    /// Associates a handle with the port, or finds out whose it is.
    fn associate(&mut self, key: usize) -> io::Result<Association> {
        if self.is_busy(key) {
            return Ok(Association::Known);
        }
        // A number that is known may stand for another handle by now, closed and opened behind the port's back. No
        // packet would ever come for that one; asking again is what tells.
        // SAFETY: takes numbers, and fails for those that are no handles.
        if !unsafe { CreateIoCompletionPort(key as HANDLE, self.port, PACKET_KEY, 0) }.is_null() {
            forget(key);
            return Ok(Association::New);
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(ERROR_INVALID_PARAMETER as i32) => {}
            error => return Err(error),
        }
        if self.known.get(&key).is_some_and(|handle| handle.still_means(key)) {
            return Ok(Association::Known);
        }
        self.known.remove(&key);
        Ok(if self.is_duplicate(key) { Association::Duplicate } else { Association::Elsewhere })
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

    /// Whether a handle that the system refuses to associate is of the same object as one of this port's.
    fn is_duplicate(&self, key: usize) -> bool {
        let is_ours = |(known, handle): (&usize, &Handle)| !handle.facts.elsewhere && handle.still_means(*known);
        self.known.iter().filter(|entry| is_ours(*entry)).any(|(known, _)| are_same(key, *known))
    }

    /// The handles that are known of what `key` names, that among them. Where it has others at all, each handle is compared:
    /// an object has no number to be looked up by.
    pub(super) fn of_object(&self, key: usize) -> Vec<usize> {
        if handle_count(key) < 2 {
            return vec![key];
        }
        self.known.keys().copied().filter(|known| *known == key || are_same(key, *known)).collect()
    }

    /// The handle is being closed. Returns what was known of it.
    pub(super) fn forget(&mut self, key: usize) -> Option<Handle> {
        self.accepted.remove(&key);
        forget(key);
        self.known.remove(&key)
    }
}

impl Handle {
    pub(super) fn line(&mut self, line: Line) -> &mut Queue {
        match line {
            Line::Turns => &mut self.turns,
            Line::Aside => &mut self.aside,
        }
    }

    fn still_means(&self, key: usize) -> bool {
        self.meaning == meaning(key).load(Ordering::Relaxed)
    }
}

/// The modes of a handle that was opened without `FILE_FLAG_OVERLAPPED`.
const BLOCKING: u32 = FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT;

#[link(name = "ntdll", kind = "raw-dylib")]
unsafe extern "system" {
    /// Whether two handles are of one object: what CompareObjectHandles of newer systems calls.
    fn NtCompareObjects(first: HANDLE, second: HANDLE) -> NTSTATUS;
}

/// Whether two numbers stand for one object.
fn are_same(one: usize, other: usize) -> bool {
    // SAFETY: compares; any number is allowed.
    unsafe { NtCompareObjects(one as HANDLE, other as HANDLE) == STATUS_SUCCESS }
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

/// Whether a handle was opened to block.
fn is_blocking(key: usize) -> io::Result<bool> {
    Ok(query(key, FileModeInformation)? & BLOCKING != 0)
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
