//! Clocks that the standard library does not have. One is the time that a thread has computed, by which another may sleep:
//! it is not woken while the first one waits.

use std::io;
use std::time::Duration;

/// The CPU time of a thread (pthread_getcpuclockid(3)). Where a system cannot sleep by it, the time of day stands for it:
/// a sleep then ends also where the thread has waited.
#[derive(Debug, Clone, Copy)]
pub struct ThreadClock {
    #[cfg(target_os = "linux")]
    id: libc::clockid_t,
}

impl ThreadClock {
    /// That of the calling thread.
    ///
    /// # Errors
    /// The system's, where it has none.
    #[cfg(target_os = "linux")]
    pub fn of_this_thread() -> io::Result<ThreadClock> {
        let mut id = 0;
        // SAFETY: the calling thread lives, and the clock's number is written to a local.
        match unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut id) } {
            0 => Ok(ThreadClock { id }),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// That of the calling thread.
    ///
    /// # Errors
    /// None here.
    #[cfg(not(target_os = "linux"))]
    pub fn of_this_thread() -> io::Result<ThreadClock> {
        Ok(ThreadClock {})
    }

    /// Sleeps until the thread whose clock it is has computed for `duration` more (clock_nanosleep(2)); for ever, where it
    /// ends before. To the kernel's tick, some milliseconds.
    ///
    /// # Errors
    /// The system's: the thread has ended, or it is the caller.
    #[cfg(target_os = "linux")]
    pub fn sleep(&self, duration: Duration) -> io::Result<()> {
        // SAFETY: all zeros are a time, to which fields that are padding on some targets leave no other way.
        let mut left: libc::timespec = unsafe { std::mem::zeroed() };
        left.tv_sec = i32::try_from(duration.as_secs()).unwrap_or(i32::MAX).into();
        left.tv_nsec = duration.subsec_nanos().into();
        loop {
            let before = left;
            // SAFETY: both times are locals.
            match unsafe { libc::clock_nanosleep(self.id, 0, &raw const before, &raw mut left) } {
                0 => return Ok(()),
                libc::EINTR => {}
                error => return Err(io::Error::from_raw_os_error(error)),
            }
        }
    }

    /// Sleeps for `duration`.
    ///
    /// # Errors
    /// None here.
    #[cfg(not(target_os = "linux"))]
    pub fn sleep(&self, duration: Duration) -> io::Result<()> {
        std::thread::sleep(duration);
        Ok(())
    }
}

/// The system's clock that never goes back, from its own beginning (`CLOCK_MONOTONIC`, clock_gettime(2)): what an
/// [`Instant`](std::time::Instant) does not tell.
#[cfg(unix)]
pub fn monotonic() -> Duration {
    // SAFETY: all zeros are a time, to which fields that are padding on some targets leave no other way.
    let mut now: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: the place lives through the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    assert_eq!(result, 0, "every system has this clock");
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::mpsc::{TryRecvError, channel};
    use std::thread;

    use super::*;

    #[test]
    fn who_sleeps_by_a_thread_s_clock_wakes_when_it_has_computed_and_not_while_it_waits() {
        let clock = ThreadClock::of_this_thread().unwrap();
        let (woken, wakes) = channel();
        thread::spawn(move || woken.send(clock.sleep(Duration::from_millis(20))));
        thread::sleep(Duration::from_millis(100));
        assert_eq!(wakes.try_recv().err(), Some(TryRecvError::Empty));
        let mut number = 1_u64;
        while wakes.try_recv().is_err() {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
    }

    #[test]
    fn nobody_sleeps_by_his_own_clock() {
        let clock = ThreadClock::of_this_thread().unwrap();
        assert_eq!(clock.sleep(Duration::from_millis(1)).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
