//! The limit on open descriptors: at first most systems allow a process some hundreds, and thousands if it asks.

use std::io;

/// Lets the process open as many descriptors as it may; an error where those are fewer than `needed`.
#[cfg(unix)]
pub(crate) fn allow(needed: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place to write one limit to.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_max < needed {
        let message = format!("this needs {needed} descriptors, the limit is {}: see `ulimit -Hn`", limit.rlim_max);
        return Err(io::Error::other(message));
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is a valid limit to read.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Windows has no such limit.
#[cfg(not(unix))]
pub(crate) fn allow(_needed: u64) -> io::Result<()> {
    Ok(())
}
