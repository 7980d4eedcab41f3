//! Leaving a wait early: what it means to be cancelled, or to be out of time.
//!
//! **A level, not an event.** A tasklet that was cancelled is so until it has ended; a *scope* whose end has come, be it a
//! time-out's whose time is up, a group's of which a member has failed or a token's that was cancelled, is so until its block
//! has ended. As long as either stands, every further wait of the tasklet says so, however often that is caught or ignored. A
//! second cancel changes nothing. Of several that stand, the outermost is told: a cancel before all scopes.
//!
//! **How it is told.** A wait that has a result says it by an error, and the stack is not unwound: error paths are what
//! programs have for this, they run with nobody panicking, and no lock of the standard library is poisoned. For a time-out it
//! is of kind `TimedOut`, for a cancel, also of a group's block or a token's, [`is_cancelled`] knows it; it is never of kind
//! `Interrupted`, over which the standard library's loops try again. A wait that has none (`sleep`, `yield_now`, `Event::wait`, `Semaphore::acquire`)
//! unwinds: `resume_unwind`, no message, no hook. So does, at last, a wait that has a result, where a tasklet has ignored
//! [`PATIENCE`] of them. Each lets others run first: who loops over refusals does not freeze the thread.
//!
//! **What needs no wait still succeeds.** Under a level an operation is begun and cancelled at once, and its true result is
//! reported: a goodbye of three bytes goes out, and so does what a buffered writer holds where the socket has room. After
//! [`ALLOWED`] of those it is refused, so that a loop over what is always ready ends too.
//!
//! **Cleanup** may wait. Destructors that run while the stack unwinds, be it for a level or for a panic, are not told:
//! their waits are as any other, and the thread's other tasklets run meanwhile ([`crate::panics`]). So is what
//! `uncancellable` encloses. Both end with the cleanup limit, which begins when the level does: then waits with a result
//! are told nevertheless. Those without one cannot be while a stack unwinds (to panic in a destructor ends the process, and
//! to return would be a lie), so they go on waiting; whoever joins such a tasklet is told, and `run` leaves it as it is at
//! its end, and says which. A scope that begins inside of a destructor or a mask counts there.
//!
//! **Rejected:**
//! - One panic, once (as it was): caught by a loop that guards against panics it was lost, and `run` never ended; a panic
//!   in the middle of any call poisoned locks; and with `panic = "abort"` each time-out ended the process.
//! - Unwinding at every wait, again and again (Trio's way, whose exceptions are cheap and expected everywhere): what
//!   was half read is lost where an error would have left it in the caller's buffer.
//! - Errors only: a `sleep` or an `acquire` has no place for one, and would have to lie.
//! - Errors of kind `Interrupted`: `read_exact` and `write_all` go on over them without end.
//!
//! A *foreign* tasklet (Python's) is told by a value that its own side throws, at every wait that would wait: nothing is begun
//! under a level, for an exception loses nothing that the caller has. Whether it cleans up, its own side knows
//! ([`Switcher::cleans_up`](crate::engine::Switcher::cleans_up)). What is *thrown* into it ([`Cause::Thrown`]) is an event:
//! raised once, at the current or next wait.

use std::any::Any;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use overlapped_port::sim::now;

/// So many results that needed no wait are still reported under a level.
const ALLOWED: u32 = 256;
/// So many refusals in a row are errors; the next ones unwind.
const PATIENCE: u32 = 32;

/// Why a tasklet is to leave its wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is to end. A level.
    Cancel,
    /// The time of the scope of this number is up. A level, of a foreign tasklet.
    OutOfTime(u64),
    /// A foreign tasklet is to raise something that its own side has kept; the number is that side's.
    Thrown(u64),
}

/// Names a scope of a thread.
pub(crate) type ScopeId = u64;

/// What a tasklet is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Cancelled,
    /// The time of a time-out is up.
    OutOfTime(ScopeId),
    /// A member of a group has failed: its block is to end.
    Failed(ScopeId),
    /// The token of a block was cancelled.
    Revoked(ScopeId),
    /// An event and not a level: see [`Cause::Thrown`].
    Thrown,
}

impl Level {
    /// As the switcher knows it, to which a scope is a scope; `None` for what is no level.
    pub(crate) fn cause(self) -> Option<Cause> {
        match self {
            Level::Cancelled => Some(Cause::Cancel),
            Level::OutOfTime(scope) | Level::Failed(scope) | Level::Revoked(scope) => Some(Cause::OutOfTime(scope)),
            Level::Thrown => None,
        }
    }
}

/// The current tasklet is to leave its wait: take the wait back, then pass it on.
#[derive(PartialEq, Eq)]
#[must_use = "whoever is told to leave takes its wait back and passes it on"]
pub struct Interrupted(pub(crate) Level);

impl Interrupted {
    /// Whether `error` is one that is passed on.
    pub fn is(error: &io::Error) -> bool {
        of(error).is_some()
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Level::Cancelled => "the tasklet was cancelled",
            Level::OutOfTime(_) => "the time of the time-out round this is up",
            Level::Failed(_) => "another tasklet of the group round this has failed",
            Level::Revoked(_) => "the token of the block round this was cancelled",
            Level::Thrown => "the tasklet was interrupted while it waited",
        })
    }
}

/// As it is said to people: `unwrap` shows this.
impl fmt::Debug for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl std::error::Error for Interrupted {}

impl From<Interrupted> for io::Error {
    fn from(interrupted: Interrupted) -> io::Error {
        match interrupted.0 {
            Level::OutOfTime(_) => io::Error::new(io::ErrorKind::TimedOut, interrupted),
            Level::Cancelled | Level::Failed(_) | Level::Revoked(_) | Level::Thrown => io::Error::other(interrupted),
        }
    }
}

/// The one in `error`, be it wrapped in others.
fn of(error: &io::Error) -> Option<&Interrupted> {
    let mut inner = error.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static));
    while let Some(error) = inner {
        if let Some(interrupted) = error.downcast_ref() {
            return Some(interrupted);
        }
        inner = match error.downcast_ref::<io::Error>() {
            Some(error) => error.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static)),
            None => error.source(),
        };
    }
    None
}

/// What `error` tells, if it does.
pub(crate) fn level_in(error: &io::Error) -> Option<Level> {
    of(error).map(|interrupted| interrupted.0)
}

/// Whether `error` says that the calling tasklet was cancelled: by [`JoinHandle::cancel`](crate::JoinHandle::cancel), or
/// because [`run`](crate::run) ends; in the block of a [`Group`](crate::Group), also because a member has failed, and in
/// that of a [`CancellationToken`](crate::CancellationToken), because it was cancelled. All its further waits will say so
/// too: it, or the block, is to return.
///
/// ```
/// use std::io::Read;
/// use std::net::{TcpListener, TcpStream};
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let _idle = TcpStream::connect(listener.local_addr()?)?;
/// let mut stream = overlapped::net::TcpStream::from(listener.accept()?.0);
/// overlapped::run(|| {
///     let reader = overlapped::spawn(move || stream.read(&mut [0; 16]).unwrap_err());
///     overlapped::yield_now();
///     reader.cancel();
///     assert!(overlapped::is_cancelled(&reader.join().unwrap()));
/// });
/// # std::io::Result::Ok(())
/// ```
pub fn is_cancelled(error: &io::Error) -> bool {
    of(error)
        .is_some_and(|interrupted| matches!(interrupted.0, Level::Cancelled | Level::Failed(_) | Level::Revoked(_)))
}

/// What unwinds a Rust tasklet.
pub(crate) struct Unwind(pub(crate) Level);

/// The level for which it unwinds, where `payload` is not that of a panic.
pub(crate) fn level_of(payload: &(dyn Any + Send)) -> Option<Level> {
    payload.downcast_ref::<Unwind>().map(|unwind| unwind.0)
}

/// How a wait can tell its caller.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    /// By its result.
    Error,
    /// By unwinding alone.
    Unwinding,
}

/// What a wait has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    GoOn,
    /// A level stands, but this is cleanup: it may wait, and is to ask again at that time.
    CleanUp(Instant),
    Leave(Level),
}

/// What stands of one tasklet.
#[derive(Default)]
pub(crate) struct Leaving {
    cancelled: Option<Instant>,
    /// Its scopes, the outermost first.
    scopes: Vec<Scope>,
    mask: Mask,
    thrown: Vec<u64>,
    /// Results without a wait, and refusals, since a level stands.
    allowed: u32,
    refusals: u32,
    told_to_end: bool,
}

struct Scope {
    /// What is told at its end, and names it.
    level: Level,
    /// Since when it is to end.
    since: Option<Instant>,
    /// It began in a destructor that runs while the stack unwinds.
    in_cleanup: bool,
    told: bool,
    /// The stack unwinds, or has, to where it began.
    unwinds: bool,
}

/// What is masked.
#[derive(Clone, Copy, Default)]
pub struct Mask {
    /// A cancel.
    cancel: bool,
    /// So many of the scopes, from the outermost.
    scopes: usize,
    how: Masking,
}

/// How far a mask goes, beyond hiding what is outside until the cleanup limit has passed.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Masking {
    #[default]
    Open,
    /// Nothing in here may unwind for a level outside.
    Sealed,
    /// Nothing in here is told of a level at all, the limit or no limit: it must not be left half way.
    Whole,
}

impl Leaving {
    /// What a wait is to do now. `cleans_up`: for that level it is cleanup, in a native tasklet a destructor's wait while the
    /// stack unwinds.
    pub(crate) fn verdict(&self, telling: Telling, cleans_up: impl Fn(Level) -> bool, limit: Duration) -> Verdict {
        if !self.thrown.is_empty() {
            return Verdict::Leave(Level::Thrown);
        }
        if self.mask.how == Masking::Whole {
            return Verdict::GoOn;
        }
        let mut masked: Option<(Level, Instant)> = None;
        let cancel = |since| (Level::Cancelled, since, !self.mask.cancel && !cleans_up(Level::Cancelled));
        let cancel = self.cancelled.map(cancel);
        let scopes = self.scopes.iter().enumerate().filter_map(|(place, scope)| {
            scope.since.map(|since| (scope.level, since, self.sees(place, scope, cleans_up(scope.level))))
        });
        for (level, since, seen) in cancel.into_iter().chain(scopes) {
            if seen {
                return Verdict::Leave(level);
            }
            if masked.is_none_or(|(_, first)| since < first) {
                masked = Some((level, since));
            }
        }
        let Some((level, since)) = masked else { return Verdict::GoOn };
        let Some(until) = since.checked_add(limit) else { return Verdict::GoOn };
        if now() < until {
            return Verdict::CleanUp(until);
        }
        let unwinds = self.mask.how == Masking::Open && !cleans_up(level);
        if telling == Telling::Error || unwinds { Verdict::Leave(level) } else { Verdict::GoOn }
    }

    fn sees(&self, place: usize, scope: &Scope, cleans_up: bool) -> bool {
        place >= self.mask.scopes && (!cleans_up || scope.in_cleanup && !scope.unwinds)
    }

    /// Whether the stack may unwind for `level`: not out of a destructor that runs while it does already.
    pub(crate) fn may_unwind(&self, level: Level, panicking: bool) -> bool {
        let mut scopes = self.scopes.iter().enumerate();
        !panicking && self.mask.how == Masking::Open
            || scopes.any(|(place, scope)| scope.level == level && self.sees(place, scope, panicking))
    }

    /// Notes that a wait is told `level`; true where the tasklet has ignored enough of them.
    pub(crate) fn tell(&mut self, level: Level) -> bool {
        match level {
            Level::Cancelled => self.told_to_end = true,
            Level::OutOfTime(_) | Level::Failed(_) | Level::Revoked(_) => {
                if let Some(scope) = self.scope(level) {
                    scope.told = true;
                }
            }
            Level::Thrown => return false,
        }
        self.refusals = self.refusals.saturating_add(1);
        self.refusals > PATIENCE
    }

    /// The stack is about to unwind for `level`.
    pub(crate) fn unwinds(&mut self, level: Level) {
        if let Some(scope) = self.scope(level) {
            scope.unwinds = true;
        }
    }

    fn scope(&mut self, level: Level) -> Option<&mut Scope> {
        self.scopes.iter_mut().find(|scope| scope.level == level)
    }

    /// Whether one more result that needs no wait is reported.
    pub(crate) fn allows(&mut self) -> bool {
        self.allowed = self.allowed.saturating_add(1);
        self.allowed <= ALLOWED
    }

    /// Cancels the tasklet, for good.
    pub(crate) fn cancel(&mut self, now: Instant) {
        self.cancelled.get_or_insert(now);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.is_some()
    }

    /// Whether a wait of the tasklet has said that it is cancelled.
    pub(crate) fn was_told_to_end(&self) -> bool {
        self.told_to_end
    }

    /// Begins a scope, at the end of which `level` is to be told.
    pub(crate) fn begin_scope(&mut self, level: Level, in_cleanup: bool) {
        self.scopes.push(Scope { level, since: None, in_cleanup, told: false, unwinds: false });
    }

    /// A scope is to end; false where it has.
    pub(crate) fn expire(&mut self, level: Level, now: Instant) -> bool {
        self.scope(level).map(|scope| scope.since.get_or_insert(now)).is_some()
    }

    /// Ends a scope, the innermost but in a foreign tasklet, whose generators end when they like; returns whether a wait was
    /// told of it.
    pub(crate) fn end_scope(&mut self, level: Level) -> bool {
        let Some(place) = self.scopes.iter().rposition(|scope| scope.level == level) else { return false };
        let scope = self.scopes.remove(place);
        if place < self.mask.scopes {
            self.mask.scopes -= 1;
        }
        if scope.since.is_some() {
            (self.allowed, self.refusals) = (0, 0);
        }
        scope.told
    }

    /// Masks what stands and what still comes from outside; returns what to give to [`Leaving::unmask`].
    pub(crate) fn mask(&mut self, how: Masking) -> Mask {
        let how = how.max(self.mask.how);
        std::mem::replace(&mut self.mask, Mask { cancel: true, scopes: self.scopes.len(), how })
    }

    pub(crate) fn unmask(&mut self, before: Mask) {
        self.mask = Mask { scopes: before.scopes.min(self.scopes.len()), ..before };
    }

    pub(crate) fn throw(&mut self, number: u64) {
        self.thrown.push(number);
    }

    pub(crate) fn take_thrown(&mut self) -> Option<u64> {
        (!self.thrown.is_empty()).then(|| self.thrown.remove(0))
    }

    pub(crate) fn withdraw(&mut self, number: u64) {
        self.thrown.retain(|thrown| *thrown != number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(3600);

    fn ask(leaving: &Leaving) -> Verdict {
        leaving.verdict(Telling::Error, |_| false, LIMIT)
    }

    fn in_destructor(leaving: &Leaving, telling: Telling, limit: Duration) -> Verdict {
        leaving.verdict(telling, |_| true, limit)
    }

    #[test]
    fn the_outermost_level_that_stands_is_told_and_a_cancel_before_all() {
        let (mut leaving, now) = (Leaving::default(), Instant::now());
        leaving.begin_scope(Level::OutOfTime(1), false);
        leaving.begin_scope(Level::OutOfTime(2), false);
        assert_eq!(ask(&leaving), Verdict::GoOn);
        leaving.expire(Level::OutOfTime(2), now);
        assert_eq!(ask(&leaving), Verdict::Leave(Level::OutOfTime(2)));
        leaving.expire(Level::OutOfTime(1), now);
        assert_eq!(ask(&leaving), Verdict::Leave(Level::OutOfTime(1)));
        leaving.cancel(now);
        assert_eq!(ask(&leaving), Verdict::Leave(Level::Cancelled));
        leaving.end_scope(Level::OutOfTime(2));
        leaving.end_scope(Level::OutOfTime(1));
        assert_eq!(ask(&leaving), Verdict::Leave(Level::Cancelled), "it stands until the tasklet has ended");
    }

    #[test]
    fn a_mask_hides_what_is_outside_until_the_limit_and_nothing_inside() {
        let (mut leaving, now) = (Leaving::default(), Instant::now());
        leaving.cancel(now);
        let before = leaving.mask(Masking::Open);
        assert_eq!(ask(&leaving), Verdict::CleanUp(now + LIMIT));
        assert_eq!(leaving.verdict(Telling::Unwinding, |_| false, Duration::ZERO), Verdict::Leave(Level::Cancelled));
        leaving.begin_scope(Level::OutOfTime(1), false);
        leaving.expire(Level::OutOfTime(1), now);
        assert_eq!(ask(&leaving), Verdict::Leave(Level::OutOfTime(1)));
        leaving.end_scope(Level::OutOfTime(1));
        let inner = leaving.mask(Masking::Open);
        leaving.unmask(inner);
        assert_eq!(ask(&leaving), Verdict::CleanUp(now + LIMIT), "the outer one still holds");
        leaving.unmask(before);
        assert_eq!(ask(&leaving), Verdict::Leave(Level::Cancelled));
    }

    #[test]
    fn a_destructor_waits_until_the_limit_and_is_never_unwound_for_what_is_outside() {
        let (mut leaving, now) = (Leaving::default(), Instant::now());
        leaving.begin_scope(Level::OutOfTime(1), false);
        leaving.expire(Level::OutOfTime(1), now);
        assert_eq!(in_destructor(&leaving, Telling::Error, LIMIT), Verdict::CleanUp(now + LIMIT));
        let overdue = Verdict::Leave(Level::OutOfTime(1));
        assert_eq!(in_destructor(&leaving, Telling::Error, Duration::ZERO), overdue);
        assert_eq!(in_destructor(&leaving, Telling::Unwinding, Duration::ZERO), Verdict::GoOn);
        // Its own scope counts, until it unwinds itself.
        leaving.begin_scope(Level::OutOfTime(2), true);
        leaving.expire(Level::OutOfTime(2), now);
        assert_eq!(in_destructor(&leaving, Telling::Unwinding, LIMIT), Verdict::Leave(Level::OutOfTime(2)));
        leaving.unwinds(Level::OutOfTime(2));
        assert_eq!(in_destructor(&leaving, Telling::Unwinding, LIMIT), Verdict::CleanUp(now + LIMIT));
    }

    #[test]
    fn a_limit_beyond_the_clock_is_none() {
        let mut leaving = Leaving::default();
        leaving.cancel(Instant::now());
        leaving.mask(Masking::Open);
        assert_eq!(leaving.verdict(Telling::Error, |_| false, Duration::MAX), Verdict::GoOn);
    }

    #[test]
    fn what_must_not_be_left_half_way_is_told_of_no_level_after_the_limit_neither() {
        let mut leaving = Leaving::default();
        leaving.cancel(Instant::now());
        let before = leaving.mask(Masking::Whole);
        leaving.mask(Masking::Open);
        assert_eq!(leaving.verdict(Telling::Error, |_| false, Duration::ZERO), Verdict::GoOn);
        leaving.throw(1);
        assert_eq!(ask(&leaving), Verdict::Leave(Level::Thrown), "what is thrown is no level");
        leaving.take_thrown();
        leaving.unmask(before);
        assert_eq!(ask(&leaving), Verdict::Leave(Level::Cancelled));
    }

    #[test]
    fn cleanup_for_one_level_is_told_of_another() {
        let (mut leaving, now) = (Leaving::default(), Instant::now());
        leaving.begin_scope(Level::OutOfTime(1), false);
        leaving.begin_scope(Level::OutOfTime(2), false);
        leaving.expire(Level::OutOfTime(2), now);
        let for_the_inner = |level| level == Level::OutOfTime(2);
        assert_eq!(leaving.verdict(Telling::Error, for_the_inner, LIMIT), Verdict::CleanUp(now + LIMIT));
        leaving.expire(Level::OutOfTime(1), now);
        assert_eq!(leaving.verdict(Telling::Error, for_the_inner, LIMIT), Verdict::Leave(Level::OutOfTime(1)));
    }

    #[test]
    fn a_scope_that_ends_before_one_inside_of_it_takes_that_one_out_of_no_mask() {
        let (mut leaving, now) = (Leaving::default(), Instant::now());
        leaving.begin_scope(Level::OutOfTime(1), false);
        leaving.begin_scope(Level::OutOfTime(2), false);
        let before = leaving.mask(Masking::Open);
        leaving.begin_scope(Level::OutOfTime(3), false);
        leaving.end_scope(Level::OutOfTime(1));
        leaving.expire(Level::OutOfTime(2), now);
        assert_eq!(ask(&leaving), Verdict::CleanUp(now + LIMIT));
        leaving.expire(Level::OutOfTime(3), now);
        assert_eq!(ask(&leaving), Verdict::Leave(Level::OutOfTime(3)));
        leaving.end_scope(Level::OutOfTime(3));
        leaving.unmask(before);
        assert_eq!(ask(&leaving), Verdict::Leave(Level::OutOfTime(2)));
    }

    #[test]
    fn an_error_is_known_also_inside_of_another() {
        let cancelled = io::Error::from(Interrupted(Level::Cancelled));
        assert!(is_cancelled(&cancelled) && cancelled.kind() != io::ErrorKind::Interrupted);
        assert!(is_cancelled(&io::Error::new(io::ErrorKind::InvalidData, cancelled)));
        let late = io::Error::from(Interrupted(Level::OutOfTime(1)));
        assert!(!is_cancelled(&late) && late.kind() == io::ErrorKind::TimedOut && Interrupted::is(&late));
        assert!(!is_cancelled(&io::Error::from_raw_os_error(1)));
    }
}
