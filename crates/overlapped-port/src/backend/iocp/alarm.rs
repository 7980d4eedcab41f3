//! Ends a wait at its deadline, and not at the tick after it.
//!
//! A wait's own time-out is looked at once a tick of the system's clock ("Sleep"), which is 15.6 ms unless a program of
//! the system asks for less, and it is whole milliseconds. A timer with `CREATE_WAITABLE_TIMER_HIGH_RESOLUTION`
//! ("CreateWaitableTimerExW", Windows 10 1803) does not know ticks: it is some half a millisecond exact, and changes
//! nothing for other programs, as "timeBeginPeriod" would. The system's thread pool waits for it and posts a packet
//! with [`ALARM_KEY`].
//!
//! Not used: an APC to the waiting thread, since a timer of high resolution is said to refuse a completion routine, and
//! since a wait that lets in that one lets in everybody's; and NtAssociateWaitCompletionPacket, which would save the
//! pool's thread, since Wine lacks it and what is not tested is not had.
//!
//! The timer is not cancelled when something else ends the wait. Its packet then comes in a later one, which looks at
//! the clock and goes on.

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr;
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::Threading::{
    CREATE_WAITABLE_TIMER_HIGH_RESOLUTION, CreateWaitableTimerExW, INFINITE, SYNCHRONIZATION_SYNCHRONIZE,
    SetWaitableTimer, TIMER_MODIFY_STATE,
};

use super::ALARM_KEY;
use super::watch::{Post, Watching};

/// How much later than asked for the system ends a wait at most, by its tick.
const TICK: Duration = Duration::from_millis(16);

/// How near a deadline is when the timer is set. Until then the wait's own time-out does, ticks and all, and most
/// deadlines are the far ones of operations that are over long before: those never cost a call.
const NEAR: Duration = Duration::from_millis(32);

/// How much too late the timer may be set for a deadline and serve it. The same deadline is reckoned anew in each wait,
/// from the time that is left of it, and comes out some microseconds apart; the timer is less exact than this.
const GRAIN: Duration = Duration::from_micros(100);

/// A port's timer.
pub(super) struct Alarm {
    /// Its wait, from the first near deadline on; dropped before what it waits for.
    watching: Option<Watching>,
    /// Or why there is none.
    timer: io::Result<OwnedHandle>,
    /// What it is set for, unless that has passed.
    due: Option<Instant>,
    /// How often it was set.
    pub(super) entries: u64,
}

impl Alarm {
    pub(super) fn new() -> Alarm {
        // SAFETY: makes a timer without a name, which is reset by the wait that it ends.
        let timer = unsafe {
            let access = TIMER_MODIFY_STATE | SYNCHRONIZATION_SYNCHRONIZE;
            CreateWaitableTimerExW(ptr::null(), ptr::null(), CREATE_WAITABLE_TIMER_HIGH_RESOLUTION, access)
        };
        let timer = if timer.is_null() {
            Err(io::Error::last_os_error())
        } else {
            // SAFETY: the handle is new, and this is its only owner.
            Ok(unsafe { OwnedHandle::from_raw_handle(timer) })
        };
        Alarm { watching: None, timer, due: None, entries: 0 }
    }

    /// Which way waits end, in words.
    pub(super) fn describe(&self) -> String {
        match &self.timer {
            Ok(_) => "time-outs by a timer of high resolution".to_owned(),
            Err(error) => format!("time-outs by the system's tick: no timer of high resolution ({error})"),
        }
    }

    /// How long the next call may sleep on the way to a deadline (`None`: there is none), in milliseconds; 0 when it has
    /// come. The port is to outlive this.
    pub(super) fn patience(&mut self, port: HANDLE, deadline: Option<Instant>) -> u32 {
        let Some(deadline) = deadline else { return INFINITE };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || self.timer.is_err() {
            return milliseconds(left);
        }
        if left > NEAR {
            return milliseconds(left - NEAR);
        }
        // Should the timer not ring, the tick after it ends the call.
        if self.set(port, deadline, left) { milliseconds(left + TICK) } else { milliseconds(left) }
    }

    /// Sets the timer, unless it is set for then; false where the system has no room for it.
    fn set(&mut self, port: HANDLE, deadline: Instant, left: Duration) -> bool {
        if self.due.is_some_and(|due| (deadline..deadline + GRAIN).contains(&due)) {
            return true;
        }
        let Ok(timer) = &self.timer else { return false };
        let timer = timer.as_raw_handle();
        if self.watching.is_none() {
            let post = Post { port, key: ALARM_KEY, overlapped: ptr::null_mut() };
            self.watching = Watching::new(timer, post).ok();
        }
        // Below 0 it is from now on, in steps of 100 ns.
        let from_now = -(left.as_nanos().div_ceil(100) as i64);
        self.entries += 1;
        // SAFETY: the timer is open, the time is read before the call returns, and there is no routine to call.
        let set = unsafe { SetWaitableTimer(timer, &raw const from_now, 0, None, ptr::null(), 0) } != 0;
        self.due = set.then_some(deadline);
        set && self.watching.is_some()
    }

    /// Its packet has come: it is not set any more, or for another time, and then setting it again does no harm.
    pub(super) fn rang(&mut self) {
        self.due = None;
    }
}

/// A time-out as the system takes it: rounded up, and never by chance the number that stands for "without end".
fn milliseconds(timeout: Duration) -> u32 {
    let whole = timeout.as_nanos().div_ceil(1_000_000);
    u32::try_from(whole).unwrap_or(INFINITE).min(INFINITE - 1)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use windows_sys::Win32::System::IO::PostQueuedCompletionStatus;

    use super::super::Iocp;
    use super::*;
    use crate::backend::{Backend, Settings};

    fn backend() -> Iocp {
        let backend =
            Iocp::start(&Settings { capacity: 8, buffers: Some(1), buffer_size: 64, ..Settings::default() }).unwrap();
        assert!(backend.alarm.timer.is_ok(), "{}", backend.alarm.describe());
        backend
    }

    /// How long a wait lasts.
    fn wait(backend: &mut Iocp, timeout: Option<Duration>) -> Duration {
        let start = Instant::now();
        backend.wait(timeout, &mut Vec::new()).unwrap();
        start.elapsed()
    }

    /// An alarm's packet for which there is no reason.
    fn ring(backend: &Iocp) {
        // SAFETY: posts numbers to an open port.
        assert_ne!(unsafe { PostQueuedCompletionStatus(backend.core.queue.handle(), 0, ALARM_KEY, ptr::null()) }, 0);
    }

    #[test]
    fn timeouts_are_rounded_up_and_never_infinite() {
        assert_eq!(milliseconds(Duration::ZERO), 0);
        assert_eq!(milliseconds(Duration::from_nanos(1)), 1);
        assert_eq!(milliseconds(Duration::from_micros(1500)), 2);
        assert_eq!(milliseconds(Duration::MAX), INFINITE - 1);
        assert_eq!(milliseconds(Duration::from_millis(u64::from(INFINITE))), INFINITE - 1);
    }

    #[test]
    fn the_alarm_brings_a_packet_each_time() {
        let mut backend = backend();
        for left in [Duration::from_nanos(1), Duration::from_micros(700), Duration::from_millis(20)] {
            assert!(backend.alarm.set(backend.core.queue.handle(), Instant::now() + left, left));
            assert_eq!(backend.dequeue(INFINITE).unwrap(), 0, "nothing that a wait is for");
            assert_eq!(backend.alarm.due, None);
        }
    }

    #[test]
    fn a_wait_ends_at_its_deadline_and_not_early() {
        let mut backend = backend();
        for microseconds in [1, 300, 5_000, 40_000, 70_000] {
            let timeout = Duration::from_micros(microseconds);
            let slept = wait(&mut backend, Some(timeout));
            assert!(slept >= timeout, "{slept:?} of {timeout:?}");
        }
    }

    #[test]
    fn an_alarm_for_nothing_does_not_end_a_wait() {
        let mut backend = backend();
        ring(&backend);
        let timeout = Duration::from_millis(20);
        let slept = wait(&mut backend, Some(timeout));
        assert!(slept >= timeout, "{slept:?} of {timeout:?}");

        // Nor one without a deadline.
        ring(&backend);
        let notifier = backend.notifier();
        let (tell, told) = mpsc::channel();
        let other = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            tell.send(()).unwrap();
            notifier.notify();
        });
        wait(&mut backend, None);
        told.try_recv().expect("the wake-up was what ended the wait");
        other.join().unwrap();

        // One that is not to sleep takes it and is over.
        ring(&backend);
        let calls = backend.core.entries;
        wait(&mut backend, Some(Duration::ZERO));
        assert_eq!(backend.core.entries, calls + 1);
    }

    #[test]
    fn only_a_near_deadline_that_is_new_sets_the_alarm() {
        let mut backend = backend();
        let notifier = backend.notifier();
        for timeout in [None, Some(Duration::ZERO), Some(Duration::from_secs(3600)), Some(Duration::MAX)] {
            notifier.notify();
            wait(&mut backend, timeout);
        }
        assert_eq!(backend.alarm.entries, 0);
        assert!(backend.alarm.watching.is_none());

        let port = backend.core.queue.handle();
        let alarm = &mut backend.alarm;
        let later = Instant::now() + NEAR;
        for (deadline, entries) in
            [(later, 1), (later, 1), (later - GRAIN / 2, 1), (later + GRAIN / 2, 2), (later - GRAIN, 3), (later, 4)]
        {
            alarm.set(port, deadline, Duration::from_secs(3600));
            assert_eq!(alarm.entries, entries, "{:?}", deadline.checked_duration_since(later));
        }
    }

    #[test]
    fn without_the_timer_the_tick_ends_a_wait() {
        let mut backend = backend();
        backend.alarm.timer = Err(io::Error::from_raw_os_error(87));
        let timeout = Duration::from_millis(5);
        assert!(wait(&mut backend, Some(timeout)) >= timeout);
        assert_eq!(backend.alarm.entries, 0);
        assert!(backend.setup().iter().any(|line| line.contains("the system's tick")), "{:?}", backend.setup());
    }
}
