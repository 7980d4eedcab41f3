//! Windows: jobs, in which a child is with all that it starts.

use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr;
use std::sync::OnceLock;

use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation, SetInformationJobObject,
    TerminateJobObject,
};

/// A job. What is in it when the last handle is closed runs on, unless it was made to end with it.
#[derive(Debug)]
pub struct Job(OwnedHandle);

impl Job {
    /// An empty job.
    pub(super) fn new() -> io::Result<Job> {
        // SAFETY: both may be null: not inherited, without a name.
        let job = unsafe { CreateJobObjectW(ptr::null(), ptr::null()) };
        if job.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new handle, and this is its only owner.
        Ok(Job(unsafe { OwnedHandle::from_raw_handle(job) }))
    }

    /// The one of this process: what is in it ends when this process has ended, however that did, for the system closes
    /// the last handle then (`JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE`).
    pub(super) fn of_this_process() -> io::Result<&'static Job> {
        static JOB: OnceLock<Job> = OnceLock::new();
        if let Some(job) = JOB.get() {
            return Ok(job);
        }
        let job = Job::new()?;
        // SAFETY: the structure is of numbers alone.
        let mut limits: JOBOBJECT_EXTENDED_LIMIT_INFORMATION = unsafe { std::mem::zeroed() };
        limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
        // SAFETY: the structure is of the kind and the size that are named, and lives through the call.
        let done = unsafe {
            let (kind, size) = (JobObjectExtendedLimitInformation, size_of_val(&limits) as u32);
            SetInformationJobObject(job.0.as_raw_handle(), kind, (&raw const limits).cast(), size)
        };
        if done == 0 {
            return Err(io::Error::last_os_error());
        }
        // Another thread may have been faster: then this one, which is empty, is closed.
        Ok(JOB.get_or_init(|| job))
    }

    /// Puts a process into it. One may be in several, each within the one before (Windows 8, "Nested Jobs").
    pub(super) fn take(&self, process: BorrowedHandle<'_>) -> io::Result<()> {
        // SAFETY: both handles are open.
        if unsafe { AssignProcessToJobObject(self.0.as_raw_handle(), process.as_raw_handle()) } != 0 {
            return Ok(());
        }
        Err(io::Error::last_os_error())
    }

    /// Ends all that is in it.
    ///
    /// # Errors
    /// What the system says.
    pub fn kill(&self) -> io::Result<()> {
        // SAFETY: the handle is open.
        if unsafe { TerminateJobObject(self.0.as_raw_handle(), 1) } != 0 {
            return Ok(());
        }
        Err(io::Error::last_os_error())
    }
}
