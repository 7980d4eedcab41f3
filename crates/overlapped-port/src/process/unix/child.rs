//! Unix: a pidfd on Linux, else the number.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};

#[cfg(not(target_os = "linux"))]
use self::no_pidfd::{by_descriptor, open, send};
#[cfg(target_os = "linux")]
use self::pidfd::{by_descriptor, open, send};
use crate::process::{End, no_tree};
use crate::sys::start_thread;

/// A child of this process. Dropping it neither ends the child nor asks how it ended.
#[derive(Debug)]
pub struct Process {
    id: u32,
    /// It leads a group of processes of its own.
    leads: bool,
    /// `None` where the system has no such thing.
    descriptor: Option<OwnedFd>,
}

impl Process {
    /// Holds a child that was just started, and that nobody has waited for.
    ///
    /// # Errors
    /// Where the process has no descriptor left. The child runs on.
    pub(super) fn of(child: &Child, leads: bool) -> io::Result<Process> {
        let id = child.id();
        Ok(Process { id, leads, descriptor: open(id)? })
    }

    /// The child's number.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// How to learn of the child's end.
    pub fn end(&self) -> End {
        self.descriptor.as_ref().map_or(End::Told, |descriptor| End::Readable(descriptor.as_raw_fd()))
    }

    /// Has `call` called once the child has ended, on a thread of its own, also where the result was dropped.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn on_end(&self, call: impl FnOnce() + Send + 'static) -> io::Result<Watch> {
        let id = self.id;
        let wait = move || {
            // It stays to be asked for. An error means that somebody has asked already: then it has ended, too.
            let _ = ask(by_number(id), libc::WNOWAIT);
            call();
        };
        start_thread(std::thread::Builder::new().name("overlapped-child".into()), wait).map(|_| Watch(()))
    }

    /// How the child ended; `None` while it runs. To be asked until it says, and not again: from then on the number may be
    /// another's.
    ///
    /// # Errors
    /// Where another part of the program has asked before, or the program ignores SIGCHLD: then nobody can say
    /// any more (waitid(2), `ECHILD`).
    pub fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        let whom = self.descriptor.as_ref().map_or_else(|| by_number(self.id), by_descriptor);
        ask(whom, libc::WNOHANG).map_err(|error| match error.raw_os_error() {
            Some(libc::ECHILD) => io::Error::new(
                error.kind(),
                format!(
                    "how the child process {} ended is not known: another part of the program has asked the system for it \
                     (waitpid of any child), or SIGCHLD is ignored",
                    self.id
                ),
            ),
            _ => error,
        })
    }

    /// Sends the child a signal (kill(2)). One that has ended and was not asked how takes it without effect.
    ///
    /// # Errors
    /// `EPERM` where the child has become another user's; `EINVAL` for no signal.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        let sent = match &self.descriptor {
            Some(descriptor) => send(descriptor, signal),
            // SAFETY: takes no pointers; the number is the child's, for nobody has asked how it ended.
            None => unsafe { libc::kill(self.id as libc::pid_t, signal) }.into(),
        };
        if sent == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Ends the child at once (SIGKILL).
    ///
    /// # Errors
    /// As for [`Process::signal`].
    pub fn kill(&self) -> io::Result<()> {
        self.signal(libc::SIGKILL)
    }

    /// Ends the child and those of its descendants at once that have stayed in its group of processes (SIGKILL): who leads
    /// a group or a session of its own, as a daemon does, has left it. To be asked only until it was said how the child
    /// ended: from then on the number may be another's.
    ///
    /// # Errors
    /// `InvalidInput` where it was started without a tree ([`Ties::tree`](crate::Ties)).
    pub fn kill_tree(&self) -> io::Result<()> {
        if !self.leads {
            return Err(no_tree(self.id));
        }
        // SAFETY: takes no pointers; the group is the child's own, for nobody has asked how it ended.
        if unsafe { libc::kill(-(self.id as libc::pid_t), libc::SIGKILL) } == 0 {
            return Ok(());
        }
        match io::Error::last_os_error() {
            // All have ended, or have left.
            error if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            error => Err(error),
        }
    }
}

/// A wait for the end of a process.
#[must_use = "on Windows, dropped, it tells nobody"]
#[derive(Debug)]
pub struct Watch(());

/// Whom waitid(2) is to ask for.
type Whom = (libc::idtype_t, libc::id_t);

fn by_number(id: u32) -> Whom {
    // `as _`, for the type is not the same on every system.
    (libc::P_PID, id as _)
}

/// Linux: a descriptor stands for a process.
#[cfg(target_os = "linux")]
mod pidfd {
    use std::io;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    use super::Whom;

    /// A descriptor that stands for the child and is readable when it has ended; `None` where the kernel has none.
    pub(super) fn open(id: u32) -> io::Result<Option<OwnedFd>> {
        // SAFETY: takes no pointers; the result is a new descriptor (close-on-exec, always) or -1.
        let opened = unsafe { libc::syscall(libc::SYS_pidfd_open, id as libc::pid_t, 0) };
        if opened >= 0 {
            // SAFETY: just opened, and nobody else knows of it.
            return Ok(Some(unsafe { OwnedFd::from_raw_fd(opened as i32) }));
        }
        match io::Error::last_os_error() {
            // Older than Linux 5.3, or a seccomp filter that does not know the call.
            error if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => Ok(None),
            error => Err(error),
        }
    }

    pub(super) fn by_descriptor(descriptor: &OwnedFd) -> Whom {
        (libc::P_PIDFD, descriptor.as_raw_fd() as libc::id_t)
    }

    /// Sends a signal; 0, or -1 with `errno`.
    pub(super) fn send(descriptor: &OwnedFd, signal: i32) -> i64 {
        let (descriptor, no_more) = (descriptor.as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
        // SAFETY: the descriptor is open; without `siginfo` the system makes its own, and no flags are defined.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, descriptor, signal, no_more, 0) }
    }
}

/// Elsewhere there is none.
#[cfg(not(target_os = "linux"))]
mod no_pidfd {
    use std::io;
    use std::os::fd::OwnedFd;

    use super::Whom;

    pub(super) fn open(_: u32) -> io::Result<Option<OwnedFd>> {
        Ok(None)
    }

    pub(super) fn by_descriptor(_: &OwnedFd) -> Whom {
        unreachable!("`open` gives none")
    }

    pub(super) fn send(_: &OwnedFd, _: i32) -> i64 {
        unreachable!("`open` gives none")
    }
}

/// Asks the system how a child ended (waitid(2)); `None` where `flags` says not to wait and it runs.
fn ask((kind, id): Whom, flags: libc::c_int) -> io::Result<Option<ExitStatus>> {
    loop {
        // SAFETY: all zeroes is a `siginfo_t`, and what the call leaves as it is where the child runs (waitid(2)).
        let mut found: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: `found` is a place for the answer, which outlives the call.
        if unsafe { libc::waitid(kind, id, &raw mut found, libc::WEXITED | flags) } == 0 {
            // SAFETY: after waitid the fields of a child's change of state are there, or zeroes.
            let (child, status) = unsafe { (found.si_pid(), found.si_status()) };
            // The numbers that wait(2) has for the same.
            let status = match found.si_code {
                libc::CLD_EXITED => (status & 0xff) << 8,
                libc::CLD_DUMPED => status | 0x80,
                _ => status,
            };
            return Ok((child != 0).then(|| ExitStatus::from_raw(status)));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
