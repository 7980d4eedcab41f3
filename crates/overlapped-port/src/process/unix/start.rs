//! Unix: a start with ties.
//!
//! What the standard library has no setting for, the child does between fork(2) and execve(2): in a function that a
//! command keeps for good once it has it. So that function does what [`Hook`] says at the time, and nothing where the next
//! start wants nothing. It calls what is async-signal-safe, and nothing else.
//!
//! **With its parent.** `PR_SET_PDEATHSIG` tells of the end of the *thread* that has made the child. So these children are
//! made by a thread that lasts as long as the process: one that a thread of the program's had made would end when that
//! does.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use super::Process;
use super::terminal::lead_session;
use crate::process::{Ties, held};

/// What [`Hook`] holds where no terminal is to be taken.
const NONE: i32 = -1;

/// What a child does before its program begins.
#[derive(Debug)]
struct Hook {
    /// The terminal that becomes its own.
    terminal: AtomicI32,
    ends_with_parent: AtomicBool,
    /// This process.
    parent: AtomicI32,
}

impl Hook {
    /// What the child calls: what is async-signal-safe alone.
    fn run(&self) -> io::Result<()> {
        if self.ends_with_parent.load(Ordering::Relaxed) {
            end_with(self.parent.load(Ordering::Relaxed))?;
        }
        match self.terminal.load(Ordering::Relaxed) {
            NONE => Ok(()),
            terminal => lead_session(terminal),
        }
    }
}

/// Starts the children of one command.
#[derive(Debug, Default)]
pub struct Starter {
    hook: Option<Arc<Hook>>,
}

impl Starter {
    /// Starts a child, tied so. One that ends with its parent is started by fork(2), as is one for whom the command has
    /// a function to call before.
    ///
    /// # Errors
    /// As for [`Command::spawn`]; `Unsupported` where the system has no such tie.
    pub fn start(&mut self, command: &mut Command, ties: Ties) -> io::Result<(Child, Process)> {
        self.begin(command, ties, None)
    }

    /// As [`Starter::start`], of a child that leads a session on a terminal: that becomes its controlling terminal, and it
    /// is the root of a tree. It is started by fork(2). Where its streams go is the command's affair.
    ///
    /// # Errors
    /// As for [`Starter::start`]; `EPERM` where another session has the terminal (ioctl_tty(2), `TIOCSCTTY`).
    pub fn start_on(
        &mut self,
        command: &mut Command,
        ties: Ties,
        terminal: BorrowedFd<'_>,
    ) -> io::Result<(Child, Process)> {
        // A number that none of the child's standard streams has.
        let terminal = terminal.try_clone_to_owned()?;
        self.begin(command, ties, Some(terminal.as_raw_fd()))
    }

    fn begin(&mut self, command: &mut Command, ties: Ties, terminal: Option<i32>) -> io::Result<(Child, Process)> {
        if crate::sim::is_simulated() {
            let message = "a simulated world has no child processes: what they do could not be repeated";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        if ties.ends_with_parent && !cfg!(target_os = "linux") {
            let what = "a child that ends with its parent: this system has no such thing";
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        }
        if ties.tree && terminal.is_none() {
            command.process_group(0);
        }
        if ties.ends_with_parent || terminal.is_some() {
            self.hook(command);
        }
        if let Some(hook) = &self.hook {
            hook.terminal.store(terminal.unwrap_or(NONE), Ordering::Relaxed);
            hook.ends_with_parent.store(ties.ends_with_parent, Ordering::Relaxed);
            hook.parent.store(std::process::id() as i32, Ordering::Relaxed);
        }
        let child = if ties.ends_with_parent { lasting::spawn(command)? } else { command.spawn()? };
        held(child, |child| Process::of(child, ties.tree || terminal.is_some()))
    }

    /// Gives the command the function, once.
    fn hook(&mut self, command: &mut Command) {
        if self.hook.is_some() {
            return;
        }
        let hook = Arc::new(Hook {
            terminal: AtomicI32::new(NONE),
            ends_with_parent: AtomicBool::new(false),
            parent: AtomicI32::new(0),
        });
        self.hook = Some(Arc::clone(&hook));
        // SAFETY: the function is async-signal-safe: it reads numbers and makes system calls.
        unsafe { command.pre_exec(move || hook.run()) };
    }
}

/// Has the calling process ended (SIGKILL) when the thread that has made it ends, its parent being `parent`; to be called by
/// the child of a fork(2), where it is async-signal-safe. execve(2) keeps it, unless the program gives the process other
/// rights; the process's own children do not have it.
///
/// # Errors
/// `ESRCH` where the parent has ended already; `ENOSYS` where the system has no such thing.
pub fn end_with(parent: i32) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: takes no pointers.
        if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong, 0, 0, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: takes nothing.
        let parents_are_same = unsafe { libc::getppid() } == parent;
        if parents_are_same { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = parent;
        Err(io::Error::from_raw_os_error(libc::ENOSYS))
    }
}

/// A thread that ends with the process and makes children until then.
mod lasting {
    use std::io;
    use std::process::{Child, Command};
    use std::sync::mpsc::{Sender, channel};
    use std::sync::{Mutex, PoisonError};

    use crate::sys::start_thread;

    /// A command on its way there and back, with what has come of it.
    type Started = (Command, io::Result<Child>);

    struct Wanted {
        command: Command,
        answer: Sender<Started>,
    }

    /// In the process of that number. One that was forked off it has no such thread.
    static THREAD: Mutex<Option<(u32, Sender<Wanted>)>> = Mutex::new(None);

    /// Starts a child there; it holds the calling thread for as long.
    pub(super) fn spawn(command: &mut Command) -> io::Result<Child> {
        let (answer, started) = channel();
        let there = thread()?;
        let wanted = Wanted { command: std::mem::replace(command, Command::new("")), answer };
        if there.send(wanted).is_ok()
            && let Ok((back, child)) = started.recv()
        {
            *command = back;
            return child;
        }
        unreachable!("the thread ends with the process, and nothing that it calls panics")
    }

    fn thread() -> io::Result<Sender<Wanted>> {
        let mut thread = THREAD.lock().unwrap_or_else(PoisonError::into_inner);
        let process = std::process::id();
        if let Some((of, sender)) = &*thread
            && *of == process
        {
            return Ok(sender.clone());
        }
        let (sender, wanted) = channel::<Wanted>();
        // The standard library gives each child an empty mask.
        start_thread(std::thread::Builder::new().name("overlapped-parent".into()), move || {
            for Wanted { mut command, answer } in wanted {
                let child = command.spawn();
                let _ = answer.send((command, child));
            }
        })?;
        *thread = Some((process, sender.clone()));
        Ok(sender)
    }
}
