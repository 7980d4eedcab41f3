//! What a scheduler shows of itself to other threads, at any time: also while a tasklet holds its thread.
//!
//! The scheduler alone writes, and never waits for a reader: plain stores, where it had to store before. Each value is
//! read whole; a row that is read while the scheduler is busy may be between two states. Only where a tasklet is added
//! that has no row to use again, or has a name, is a lock taken.

use std::fmt::Write;
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use overlapped_port::Observer;

use super::id::{INDEX_BITS, TaskletId};

/// A tasklet as [`tasklets`](crate::tasklets) lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its number on its thread: 0 is the thread itself, those that it starts count from 1.
    pub number: u64,
    /// The name it was given.
    pub name: Option<String>,
    /// What it waits for: an operation's name, `"channel"`, `"sleep"`, …; `"ready"` or `"running"` where it waits for
    /// nothing.
    pub waits_for: &'static str,
    /// How long it has; for one that runs, the time since the port was last polled.
    pub since: Duration,
    index: usize,
}

impl Status {
    /// The name, or the number where it has none.
    pub(crate) fn title(&self) -> String {
        match &self.name {
            Some(name) => format!("{name:?}"),
            None if self.number == 0 => "main".to_owned(),
            None => self.number.to_string(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum State {
    Ended,
    /// Or it runs.
    Ready,
    Parked,
}

const STATES: [State; 3] = [State::Ended, State::Ready, State::Parked];

/// What is shown of one tasklet.
pub(super) struct Row {
    number: AtomicU64,
    state: AtomicU8,
    /// Nanoseconds after the board was made.
    since: AtomicU64,
    waits_for: Text,
    name: Mutex<Option<Arc<str>>>,
}

impl Row {
    pub(super) fn state(&self) -> State {
        STATES[usize::from(self.state.load(Ordering::Relaxed))]
    }

    pub(super) fn set_state(&self, state: State) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    pub(super) fn waits_for(&self) -> &'static str {
        self.waits_for.get()
    }

    /// A new tasklet's from now on.
    pub(super) fn begin(&self, id: TaskletId, since: u64) {
        self.number.store(id.number(), Ordering::Relaxed);
        self.since.store(since, Ordering::Relaxed);
        self.set_state(State::Ready);
    }

    pub(super) fn park(&self, waits_for: &'static str, since: u64) {
        self.waits_for.set(waits_for);
        self.since.store(since, Ordering::Relaxed);
        self.set_state(State::Parked);
    }

    pub(super) fn name(&self) -> Option<Arc<str>> {
        self.name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn rename(&self, name: Option<Arc<str>>) {
        *self.name.lock().unwrap_or_else(PoisonError::into_inner) = name;
    }
}

/// A text that one thread sets and others read whole, by a counter that is odd while it changes.
#[derive(Default)]
struct Text {
    changes: AtomicU64,
    start: AtomicPtr<u8>,
    length: AtomicUsize,
}

impl Text {
    fn set(&self, text: &'static str) {
        let changes = self.changes.load(Ordering::Relaxed);
        self.changes.store(changes + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        self.start.store(text.as_ptr().cast_mut(), Ordering::Relaxed);
        self.length.store(text.len(), Ordering::Relaxed);
        self.changes.store(changes + 2, Ordering::Release);
    }

    fn get(&self) -> &'static str {
        loop {
            let before = self.changes.load(Ordering::Acquire);
            let (start, length) = (self.start.load(Ordering::Relaxed), self.length.load(Ordering::Relaxed));
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.changes.load(Ordering::Relaxed) == before {
                if start.is_null() {
                    return "";
                }
                #[allow(
                    unsafe_code,
                    reason = "a text of two words cannot be read whole by safe means without a lock"
                )]
                // SAFETY: `set` alone writes them, both from one `&'static str`; the counter says that none came between.
                return unsafe { std::str::from_utf8_unchecked(std::slice::from_raw_parts(start, length)) };
            }
            std::hint::spin_loop();
        }
    }
}

/// Where the scheduler is: a count of its switches, the index of the tasklet that runs, and whether it waits in the
/// port. As long as this stays the same, and is not at rest, one tasklet holds the thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Beat(u64);

/// The bits of a beat that are no count.
const LOW: u64 = (1 << (INDEX_BITS + 1)) - 1;

impl Beat {
    pub(super) fn rests(self) -> bool {
        self.0 & 1 == 1
    }

    fn index(self) -> u64 {
        (self.0 & LOW) >> 1
    }
}

/// What one scheduler shows to other threads, at any time.
pub struct Board {
    thread: String,
    made: Instant,
    beat: AtomicU64,
    /// When the port was last polled.
    turned: AtomicU64,
    /// How many tasklets that were started here have not ended, beside the thread itself.
    alive: AtomicUsize,
    rows: Mutex<Vec<Arc<Row>>>,
    port: Observer,
}

/// The boards of this process.
static BOARDS: Mutex<Vec<Weak<Board>>> = Mutex::new(Vec::new());

/// The boards of the schedulers that there are.
pub(crate) fn boards() -> Vec<Arc<Board>> {
    BOARDS.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect()
}

/// Lists `board`, and forgets those that are gone: else each run and each thread would leave one for ever.
fn list(board: &Arc<Board>) {
    let mut boards = BOARDS.lock().unwrap_or_else(PoisonError::into_inner);
    boards.retain(|board| board.strong_count() > 0);
    boards.push(Arc::downgrade(board));
}

impl Board {
    pub(super) fn new(port: Observer, thread: Option<String>) -> Arc<Board> {
        let name = || {
            let thread = std::thread::current();
            thread.name().map_or_else(|| format!("{:?}", thread.id()), String::from)
        };
        let board = Arc::new(Board {
            thread: thread.unwrap_or_else(name),
            made: overlapped_port::sim::now(),
            beat: AtomicU64::new(0),
            turned: AtomicU64::new(0),
            alive: AtomicUsize::new(0),
            rows: Mutex::default(),
            port,
        });
        list(&board);
        board
    }

    fn rows(&self) -> MutexGuard<'_, Vec<Arc<Row>>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A row more.
    pub(super) fn add(&self) -> Arc<Row> {
        let row = Arc::new(Row {
            number: AtomicU64::default(),
            state: AtomicU8::new(State::Ended as u8),
            since: AtomicU64::default(),
            waits_for: Text::default(),
            name: Mutex::default(),
        });
        self.rows().push(Arc::clone(&row));
        row
    }

    /// How many tasklets that were started here have not ended, beside the thread itself.
    pub(super) fn alive(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }

    /// A tasklet more.
    pub(super) fn begun(&self) {
        self.alive.store(self.alive() + 1, Ordering::Relaxed);
    }

    /// One less.
    pub(super) fn ended(&self) {
        self.alive.store(self.alive() - 1, Ordering::Relaxed);
    }

    /// The time of the last turn, as rows have it.
    pub(super) fn now(&self) -> u64 {
        self.turned.load(Ordering::Relaxed)
    }

    /// The port was polled, at that time.
    pub(super) fn turned(&self, now: Instant) {
        self.turned.store(now.saturating_duration_since(self.made).as_nanos() as u64, Ordering::Relaxed);
    }

    /// The tasklet at `index` runs from now on.
    pub(super) fn run(&self, index: u32) {
        let count = (self.beat.load(Ordering::Relaxed) | LOW) + 1;
        self.beat.store(count | u64::from(index) << 1, Ordering::Relaxed);
    }

    /// The scheduler waits in the port, until [`Board::run`].
    pub(super) fn rest(&self) {
        self.beat.store(self.beat.load(Ordering::Relaxed) | 1, Ordering::Relaxed);
    }

    pub(super) fn beat(&self) -> Beat {
        Beat(self.beat.load(Ordering::Relaxed))
    }

    /// Every tasklet that has not ended, the thread itself first.
    pub fn tasklets(&self) -> Vec<Status> {
        let now = overlapped_port::sim::now().saturating_duration_since(self.made);
        let rows = self.rows().clone();
        let beat = self.beat();
        let listed = rows.iter().enumerate().filter_map(|(index, row)| {
            let state = row.state();
            let runs = !beat.rests() && index as u64 == beat.index();
            let since = if runs { self.now() } else { row.since.load(Ordering::Relaxed) };
            (state != State::Ended).then(|| Status {
                number: row.number.load(Ordering::Relaxed),
                name: row.name().as_deref().map(String::from),
                waits_for: match state {
                    _ if runs => "running",
                    State::Parked => row.waits_for(),
                    _ => "ready",
                },
                since: now.saturating_sub(Duration::from_nanos(since)),
                index,
            })
        });
        listed.collect()
    }

    /// The tasklets and the port's counters, as text. `stack` gives lines to add to a tasklet, by its index.
    pub fn explain(&self, mut stack: impl FnMut(usize) -> String) -> String {
        let mut tasklets = self.tasklets();
        tasklets.sort_by_key(|status| std::cmp::Reverse(status.since));
        let mut text = format!("thread {}:", self.thread);
        for status in &tasklets {
            let (title, seconds) = (status.title(), status.since.as_secs_f64());
            let _ = write!(text, "\n  tasklet {title}: {} for {seconds:.3} s", status.waits_for);
            for line in stack(status.index).lines() {
                let _ = write!(text, "\n    {line}");
            }
        }
        for line in self.port.counters().to_string().lines() {
            let _ = write!(text, "\n  {line}");
        }
        text
    }

    /// What is said of the tasklet that has held the thread for so long.
    pub(super) fn warning(&self, held: Duration) -> String {
        let tasklets = self.tasklets();
        let running = tasklets.iter().find(|status| status.waits_for == "running");
        let ready = tasklets.iter().filter(|status| status.waits_for == "ready").count();
        format!(
            "overlapped: tasklet {} has held thread {} for {:.3} s; until it waits, none of the other {} tasklets runs ({ready} \
             could). Let it sleep for 0 s now and then, or give its work to a thread with offload",
            running.map_or_else(|| "?".to_owned(), Status::title),
            self.thread,
            held.as_secs_f64(),
            tasklets.len().saturating_sub(1),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boards_of_runs_that_have_ended_are_forgotten() {
        let count = || BOARDS.lock().unwrap_or_else(PoisonError::into_inner).len();
        (0..200).for_each(|_| crate::run(|| ()));
        // Other tests run beside this one, a few threads of them.
        assert!(count() < 100, "{} boards", count());
    }
}
