//! The warning about a tasklet that holds its thread for too long.
//!
//! A thread of its own looks four times within the limit whether the scheduler has gone on: it reads one number that the
//! scheduler writes at each switch, so watching costs the tasklets nothing. It exists only where it was asked for.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use overlapped_port::sys::start_thread;

use super::Board;
use super::board::Beat;

/// Whether the tasklet that a warning is about still holds its thread, without a switch in between.
pub type StillHeld<'a> = &'a dyn Fn() -> bool;

/// Shows, on another thread, where the tasklet is that holds a scheduler's thread: lines of text, or `None` where it has
/// let go meanwhile.
pub type Onlooker = Box<dyn Fn(StillHeld<'_>) -> Option<String> + Send>;

/// What whoever watches a scheduler is told, on another thread.
pub enum Told<'a> {
    /// A tasklet has held the thread for so long: told once for each hold, and again when it has lasted ten times as long.
    Holds {
        /// For how long, until now.
        held: Duration,
        /// How many tasklets stand still meanwhile.
        others: usize,
        /// What is to be said of it.
        warning: &'a dyn Fn() -> String,
        /// Whether it still does.
        still: StillHeld<'a>,
    },
    /// It has let go, after about so long.
    LetsGo(Duration),
}

/// Is told of those who hold a scheduler's thread.
pub type Listener = Box<dyn FnMut(Told<'_>) + Send>;

/// One that prints a warning on standard error, and where the tasklet is.
pub(super) fn warner(onlooker: Option<Onlooker>) -> Listener {
    Box::new(move |told| {
        let Told::Holds { warning, still, .. } = told else { return };
        eprintln!("{}", warning());
        if let Some(stack) = onlooker.as_ref().and_then(|show| show(still)) {
            eprintln!("{stack}");
        }
    })
}

/// A thread that watches a scheduler, until this is dropped.
pub(super) struct Watch {
    _until_dropped: Sender<()>,
    thread: JoinHandle<()>,
}

impl Watch {
    pub(super) fn start(board: Arc<Board>, limit: Duration, mut listener: Listener) -> std::io::Result<Watch> {
        let limit = limit.max(Duration::from_millis(1));
        let (until_dropped, dropped) = channel::<()>();
        let look = move || {
            let tick = (limit / 4).clamp(Duration::from_millis(1), Duration::from_secs(1));
            let mut hold = Hold::new(board.beat(), Instant::now(), limit);
            while dropped.recv_timeout(tick) == Err(RecvTimeoutError::Timeout) {
                let now = Instant::now();
                if let Some(held) = hold.ended(board.beat(), now) {
                    listener(Told::LetsGo(held));
                }
                if let Some(held) = hold.look(board.beat(), now) {
                    let others = board.tasklets().len().saturating_sub(1);
                    let still = || board.beat() == hold.seen;
                    listener(Told::Holds { held, others, warning: &|| board.warning(held), still: &still });
                }
            }
        };
        let thread = start_thread(std::thread::Builder::new().name("overlapped-watch".into()), look)?;
        Ok(Watch { _until_dropped: until_dropped, thread })
    }

    /// Ends the thread, which is to be joined.
    pub(super) fn stop(self) -> JoinHandle<()> {
        self.thread
    }
}

/// What the watching thread knows of the tasklet that runs.
struct Hold {
    seen: Beat,
    since: Instant,
    limit: Duration,
    /// How long it may last until it is told of.
    next: Duration,
}

impl Hold {
    fn new(seen: Beat, since: Instant, limit: Duration) -> Hold {
        Hold { seen, since, limit, next: limit }
    }

    /// How long a hold has lasted that was told of and has ended.
    fn ended(&self, beat: Beat, now: Instant) -> Option<Duration> {
        (self.next > self.limit && beat != self.seen).then(|| now.saturating_duration_since(self.since))
    }

    /// For how long the thread has been held, where that is to be told: once for each hold, and again when it has lasted
    /// ten times as long.
    fn look(&mut self, beat: Beat, now: Instant) -> Option<Duration> {
        if beat != self.seen || beat.rests() {
            *self = Hold::new(beat, now, self.limit);
            return None;
        }
        let held = now.saturating_duration_since(self.since);
        if held < self.next {
            return None;
        }
        self.next = self.next.saturating_mul(10);
        Some(held)
    }
}

/// The limit that `OVERLAPPED_WATCH` sets, in seconds. What is no number of seconds sets none, and says so.
pub(super) fn limit_from_environment() -> Option<Duration> {
    let value = std::env::var_os("OVERLAPPED_WATCH").filter(|value| !value.is_empty())?;
    let seconds = value.to_str().and_then(|value| value.parse().ok());
    match seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        Some(limit) => Some(limit).filter(|limit| !limit.is_zero()),
        None => {
            eprintln!(
                "overlapped: OVERLAPPED_WATCH={} is no number of seconds, so nothing is watched",
                value.display()
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    //! The scheduler's beats are true, the clock is made up: so these hold on a machine of any speed.

    use super::*;
    use crate::scheduler::current;
    use crate::{offload, run, spawn, yield_now};

    const LIMIT: Duration = Duration::from_millis(100);

    #[test]
    fn who_yields_in_time_is_not_told_of() {
        run(|| {
            let busy = spawn(|| {
                let scheduler = current().unwrap();
                let beat = || scheduler.board().beat();
                let mut now = Instant::now();
                let mut hold = Hold::new(beat(), now, LIMIT);
                for _ in 0..10 {
                    now += LIMIT - Duration::from_millis(1);
                    assert_eq!(hold.look(beat(), now), None);
                    yield_now();
                    assert_eq!(hold.look(beat(), now), None);
                }
            });
            busy.join().unwrap();
        });
    }

    #[test]
    fn who_holds_the_thread_is_told_of_once_and_again_after_ten_times_as_long() {
        run(|| {
            let scheduler = current().unwrap();
            let beat = || scheduler.board().beat();
            let start = Instant::now();
            let mut hold = Hold::new(beat(), start, LIMIT);
            let told: Vec<u32> =
                (1..=100).filter(|&times| hold.look(beat(), start + LIMIT * times).is_some()).collect();
            assert_eq!(told, [1, 10, 100]);
            assert_eq!(hold.ended(beat(), start + LIMIT * 150), None);
            yield_now();
            assert_eq!(hold.ended(beat(), start + LIMIT * 150), Some(LIMIT * 150));
            let start = start + LIMIT * 200;
            assert_eq!(hold.look(beat(), start), None);
            assert_eq!(hold.look(beat(), start + LIMIT), Some(LIMIT));
        });
    }

    #[test]
    fn who_waits_is_not_told_of_however_long() {
        run(|| {
            let board = Arc::clone(current().unwrap().board());
            // Only the other thread can see this one wait.
            let told = offload(move || {
                let start = Instant::now();
                while !board.beat().rests() {
                    assert!(start.elapsed() < Duration::from_secs(30), "the scheduler does not come to rest");
                    std::thread::yield_now();
                }
                let mut hold = Hold::new(board.beat(), start, LIMIT);
                (1..=100).any(|times| hold.look(board.beat(), start + LIMIT * times).is_some())
            });
            assert!(!told.unwrap());
        });
    }

    #[test]
    fn the_watching_ends() {
        run(|| {
            let scheduler = current().unwrap();
            scheduler.watch(LIMIT).unwrap();
            scheduler.unwatch().unwrap().join().unwrap();
        });
    }
}
