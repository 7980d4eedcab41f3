//! Windows: a start with ties.
//!
//! A child has to be in its job before it starts others, which would be outside. So it begins suspended, is put into the
//! job, and goes on then. (Rejected: `PROC_THREAD_ATTRIBUTE_JOB_LIST`, which does it in one step, is not to be had through
//! the standard library's stable interface, and its own start would have to be written anew.)

use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::os::windows::process::CommandExt;
use std::process::{Child, Command};

use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, TH32CS_SNAPTHREAD, THREADENTRY32, Thread32First, Thread32Next,
};
use windows_sys::Win32::System::Threading::{CREATE_SUSPENDED, OpenThread, ResumeThread, THREAD_SUSPEND_RESUME};

use super::Process;
use super::job::Job;
use crate::process::{Ties, held};

/// Starts the children of one command.
#[derive(Debug, Default)]
pub struct Starter {
    flags: u32,
}

impl Starter {
    /// Sets flags of CreateProcessW: here, and not on the command, which does not tell them.
    pub fn set_flags(&mut self, command: &mut Command, flags: u32) {
        self.flags = flags;
        command.creation_flags(flags);
    }

    /// Starts a child, tied so.
    ///
    /// # Errors
    /// As for [`Command::spawn`]; what the system says of the job.
    pub fn start(&mut self, command: &mut Command, ties: Ties) -> io::Result<(Child, Process)> {
        if ties == Ties::default() {
            return held(command.spawn()?, |child| Process::of(child, None));
        }
        command.creation_flags(self.flags | CREATE_SUSPENDED);
        let child = command.spawn();
        command.creation_flags(self.flags);
        held(child?, |child| {
            let process = Process::of(child, tie(child.as_handle(), ties)?)?;
            if self.flags & CREATE_SUSPENDED == 0 {
                resume(child)?;
            }
            Ok(process)
        })
    }
}

/// Ties a process that has begun suspended. Says in what job its tree is, if it is to have one.
///
/// # Errors
/// What the system says of the job: the process has to be ended then.
pub fn tie(process: BorrowedHandle<'_>, ties: Ties) -> io::Result<Option<Job>> {
    if ties.ends_with_parent {
        Job::of_this_process()?.take(process)?;
    }
    let tree = if ties.tree { Some(Job::new()?) } else { None };
    tree.as_ref().map_or(Ok(()), |tree| tree.take(process))?;
    Ok(tree)
}

/// Lets a child that has begun suspended go on. The standard library does not tell its thread, so that is looked for among
/// all: it has one until then.
fn resume(child: &Child) -> io::Result<()> {
    // SAFETY: takes no pointers.
    let all = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0) };
    if all == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new handle, and this is its only owner.
    let all = unsafe { OwnedHandle::from_raw_handle(all) };
    // SAFETY: the structure is of numbers alone.
    let mut entry: THREADENTRY32 = unsafe { std::mem::zeroed() };
    entry.dwSize = size_of::<THREADENTRY32>() as u32;
    // SAFETY: the handle is open, and the structure says its size; so below.
    let mut found = unsafe { Thread32First(all.as_raw_handle(), &raw mut entry) } != 0;
    while found {
        if entry.th32OwnerProcessID == child.id() {
            return resume_thread(open_thread(entry.th32ThreadID)?.as_handle());
        }
        // SAFETY: as above.
        found = unsafe { Thread32Next(all.as_raw_handle(), &raw mut entry) } != 0;
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "the thread of a child that was to go on was not found"))
}

fn open_thread(id: u32) -> io::Result<OwnedHandle> {
    // SAFETY: takes no pointers.
    let thread = unsafe { OpenThread(THREAD_SUSPEND_RESUME, 0, id) };
    if thread.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new handle, and this is its only owner.
    Ok(unsafe { OwnedHandle::from_raw_handle(thread) })
}

/// Lets a thread that has begun suspended go on (ResumeThread).
///
/// # Errors
/// What the system says.
pub fn resume_thread(thread: BorrowedHandle<'_>) -> io::Result<()> {
    // SAFETY: the handle is open.
    if unsafe { ResumeThread(thread.as_raw_handle()) } == u32::MAX { Err(io::Error::last_os_error()) } else { Ok(()) }
}
