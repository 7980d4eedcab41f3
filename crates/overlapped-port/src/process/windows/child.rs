//! Windows: a process handle, which the system signals at the end.

use std::ffi::c_void;
use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, OwnedHandle};
use std::os::windows::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::ptr;
use std::sync::{Mutex, PoisonError};

use windows_sys::Win32::Foundation::{ERROR_ACCESS_DENIED, HANDLE, INVALID_HANDLE_VALUE, WAIT_OBJECT_0, WAIT_TIMEOUT};
use windows_sys::Win32::System::Threading::{
    GetExitCodeProcess, INFINITE, RegisterWaitForSingleObject, TerminateProcess, UnregisterWaitEx,
    WT_EXECUTEINWAITTHREAD, WT_EXECUTEONLYONCE, WaitForSingleObject,
};

use super::job::Job;
use crate::process::{End, no_tree};

/// A child of this process. Dropping it does not end the child.
#[derive(Debug)]
pub struct Process {
    id: u32,
    handle: OwnedHandle,
    /// What it was started in, with all that it starts.
    tree: Option<Job>,
}

impl Process {
    /// Holds a child.
    ///
    /// # Errors
    /// Where the system has no handle left. The child runs on.
    pub(super) fn of(child: &Child, tree: Option<Job>) -> io::Result<Process> {
        Ok(Process { id: child.id(), handle: child.as_handle().try_clone_to_owned()?, tree })
    }

    /// The child's number.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// How to learn of the child's end.
    pub fn end(&self) -> End {
        End::Told
    }

    /// Has `call` called once the child has ended, on a thread of the system's pool (RegisterWaitForSingleObject): it
    /// must not block. Not any more once the result is dropped. Messages of a job are not guaranteed to come, a wait on the
    /// handle is.
    ///
    /// # Errors
    /// What the system says.
    pub fn on_end(&self, call: impl FnOnce() + Send + 'static) -> io::Result<Watch> {
        on_signal(self.handle.as_handle(), call)
    }

    /// How the child ended; `None` while it runs.
    ///
    /// # Errors
    /// What the system says.
    pub fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        let mut code = 0;
        // SAFETY: the handle is open, and `code` a place for the answer, which outlives the calls.
        unsafe {
            match WaitForSingleObject(self.handle.as_raw_handle(), 0) {
                WAIT_OBJECT_0 if GetExitCodeProcess(self.handle.as_raw_handle(), &raw mut code) != 0 => {
                    Ok(Some(ExitStatus::from_raw(code)))
                }
                WAIT_TIMEOUT => Ok(None),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }

    /// Ends the child at once (TerminateProcess). One that has ended takes it without effect.
    ///
    /// # Errors
    /// What the system says.
    pub fn kill(&self) -> io::Result<()> {
        // SAFETY: the handle is open.
        if unsafe { TerminateProcess(self.handle.as_raw_handle(), 1) } != 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        // What the system says of one that has ended.
        let ended = error.raw_os_error() == Some(ERROR_ACCESS_DENIED as i32) && matches!(self.try_wait(), Ok(Some(_)));
        if ended { Ok(()) } else { Err(error) }
    }

    /// Ends the child at once, with all that it has started and they have (TerminateJobObject), save what was let out of
    /// the job on purpose (`CREATE_BREAKAWAY_FROM_JOB`).
    ///
    /// # Errors
    /// `InvalidInput` where it was started without a tree ([`Ties::tree`](crate::Ties)); what the system says.
    pub fn kill_tree(&self) -> io::Result<()> {
        self.tree.as_ref().ok_or_else(|| no_tree(self.id))?.kill()
    }
}

/// Has `call` called once a handle is signalled, as [`Process::on_end`] of a process's.
///
/// # Errors
/// What the system says.
pub fn on_signal(handle: BorrowedHandle<'_>, call: impl FnOnce() + Send + 'static) -> io::Result<Watch> {
    let handle = handle.try_clone_to_owned()?;
    let call: Box<Call> = Box::new(Mutex::new(Some(Box::new(call))));
    let mut watch = Watch { wait: ptr::null_mut(), call, handle };
    let context = (&raw const *watch.call).cast::<c_void>();
    // SAFETY: the handle and the call stay until the wait is taken back, which waits for a call under way.
    let done = unsafe {
        RegisterWaitForSingleObject(
            &raw mut watch.wait,
            watch.handle.as_raw_handle(),
            Some(tell),
            context,
            INFINITE,
            WT_EXECUTEONLYONCE | WT_EXECUTEINWAITTHREAD,
        )
    };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(watch) }
}

/// What the end of a process calls, once.
type Call = Mutex<Option<Box<dyn FnOnce() + Send>>>;

/// A wait for a process's end, or another signal; dropping it takes the wait back.
#[must_use = "dropped, it tells nobody"]
pub struct Watch {
    wait: HANDLE,
    call: Box<Call>,
    handle: OwnedHandle,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.wait.is_null() {
            // SAFETY: the wait is this one's. The call returns when the pool's thread is not in the function, and will
            // not be.
            unsafe { UnregisterWaitEx(self.wait, INVALID_HANDLE_VALUE) };
        }
    }
}

/// Called by the system.
unsafe extern "system" fn tell(call: *mut c_void, _timed_out: bool) {
    // SAFETY: `Watch` keeps it until this will not be called any more.
    let call = unsafe { &*call.cast_const().cast::<Call>() };
    let call = call.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(call) = call {
        call();
    }
}
