//! Pseudo-terminals (pty(7)): a controlling end that this process reads and writes, a terminal for a child.
//!
//! The terminal's end is opened for the start of a child and held by nobody else: only then does a read of the controlling
//! end come to an end when the child, and all that it has given its terminal to, are gone.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The size of a terminal in characters, as it is told to the programs on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// How many lines.
    pub rows: u16,
    /// How many characters in each.
    pub columns: u16,
}

/// A new pseudo-terminal: its controlling end (posix_openpt(3)). Children do not inherit it.
///
/// # Errors
/// `ENOSPC` where the system has no terminal left (`/proc/sys/kernel/pty/max`); where the process has no descriptor left.
pub fn open() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers; the result is a new descriptor or -1.
    let opened = unsafe { libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC) };
    if opened < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, and nobody else knows of it.
    let controller = unsafe { OwnedFd::from_raw_fd(opened) };
    // SAFETY: the descriptor is open, and these two take no pointers.
    let ready = unsafe { libc::grantpt(opened) == 0 && libc::unlockpt(opened) == 0 };
    if ready { Ok(controller) } else { Err(io::Error::last_os_error()) }
}

/// The terminal of a controlling end. It does not become this process's controlling terminal, and children do not inherit
/// it.
///
/// # Errors
/// Where the descriptor is not of a controlling end, or the process has no descriptor left.
#[cfg(target_os = "linux")]
pub fn terminal_of(controller: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // By its descriptor and not by its name, which may be another's in the folder that is `/dev/pts` here.
    // SAFETY: takes flags, no pointers (ioctl_tty(2)); the result is a new descriptor or -1.
    let opened = unsafe { libc::ioctl(controller.as_raw_fd(), libc::TIOCGPTPEER as _, flags) };
    if opened < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(opened) })
}

/// As on Linux, by its name.
#[cfg(not(target_os = "linux"))]
pub fn terminal_of(controller: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    use std::ffi::{CStr, OsStr};
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::OpenOptionsExt;
    use std::sync::{Mutex, PoisonError};

    /// The system has one place for a name.
    static NAME: Mutex<()> = Mutex::new(());
    let only = NAME.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: takes no pointers.
    let name = unsafe { libc::ptsname(controller.as_raw_fd()) };
    if name.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a string that ends with a NUL, and stays until the next call, which waits for the lock.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes().to_vec();
    drop(only);
    let mut how = std::fs::OpenOptions::new();
    let opened = how.read(true).write(true).custom_flags(libc::O_NOCTTY).open(OsStr::from_bytes(&name))?;
    Ok(opened.into())
}

/// The terminal's size.
///
/// # Errors
/// `ENOTTY` where the descriptor is of no terminal.
pub fn size(terminal: BorrowedFd<'_>) -> io::Result<Size> {
    let mut found = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the place for the answer lives through the call.
    if unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ as _, &raw mut found) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Size { rows: found.ws_row, columns: found.ws_col })
}

/// Sets the terminal's size; the foreground processes on it are told of one that is new (SIGWINCH).
///
/// # Errors
/// As for [`size`].
pub fn resize(terminal: BorrowedFd<'_>, size: Size) -> io::Result<()> {
    let wanted = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: what the call reads lives through it.
    let done = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ as _, &raw const wanted) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What a terminal sends to the processes of its session (termios(3), credentials(7)).
const OF_TERMINALS: [i32; 6] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

/// Makes the calling process the leader of a session whose controlling terminal this is (setsid(2), `TIOCSCTTY`). What the
/// terminal sends has its effect: whoever ignores a signal, as nohup(1) and a shell's background jobs do, would else have
/// its children ignore it too (execve(2)).
/// Async-signal-safe: for the child of a fork(2).
pub(super) fn lead_session(terminal: i32) -> io::Result<()> {
    // SAFETY: these take no pointers; a number that is no terminal's is an error.
    unsafe {
        for signal in OF_TERMINALS {
            libc::signal(signal, libc::SIG_DFL);
        }
        // Who leads a group of processes cannot become the leader of a session: back to the parent's group first.
        if libc::getpgrp() == libc::getpid() && libc::setpgid(0, libc::getpgid(libc::getppid())) != 0
            || libc::setsid() < 0
            || libc::ioctl(terminal, libc::TIOCSCTTY as _, 0) != 0
        {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
