//! The warning about a tasklet that holds its thread for too long.
//!
//! A thread of its own looks four times within the limit whether the scheduler has gone on: it reads one number that the
//! scheduler writes at each switch, so watching costs the tasklets nothing. It exists only where it was asked for.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Board;

/// Whether the tasklet that a warning is about still holds its thread, without a switch in between.
pub type StillHeld<'a> = &'a dyn Fn() -> bool;

/// Shows, on another thread, where the tasklet is that holds a scheduler's thread: lines of text, or `None` where it has
/// let go meanwhile.
pub type Onlooker = Box<dyn Fn(StillHeld<'_>) -> Option<String> + Send>;

/// A thread that watches a scheduler, until this is dropped.
pub(super) struct Watch {
    _until_dropped: Sender<()>,
    thread: JoinHandle<()>,
}

impl Watch {
    pub(super) fn start(board: Arc<Board>, limit: Duration, onlooker: Option<Onlooker>) -> std::io::Result<Watch> {
        let limit = limit.max(Duration::from_millis(1));
        let (until_dropped, dropped) = channel::<()>();
        let look = move || {
            let tick = (limit / 4).clamp(Duration::from_millis(1), Duration::from_secs(1));
            let (mut seen, mut since, mut next) = (board.beat(), Instant::now(), limit);
            while dropped.recv_timeout(tick) == Err(RecvTimeoutError::Timeout) {
                let beat = board.beat();
                if beat != seen || beat.rests() {
                    (seen, since, next) = (beat, Instant::now(), limit);
                } else if since.elapsed() >= next {
                    // Once for each hold, and again when it has lasted ten times as long.
                    next = next.saturating_mul(10);
                    eprintln!("{}", board.warning(since.elapsed()));
                    if let Some(stack) = onlooker.as_ref().and_then(|show| show(&|| board.beat() == seen)) {
                        eprintln!("{stack}");
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("overlapped-watch".into()).spawn(look)?;
        Ok(Watch { _until_dropped: until_dropped, thread })
    }

    /// Ends the thread, which is to be joined.
    pub(super) fn stop(self) -> JoinHandle<()> {
        self.thread
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
