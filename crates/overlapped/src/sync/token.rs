//! Cancellation tokens: one word that ends work in many places, which is handed down as a value.
//!
//! A cancel of a handle ends one tasklet. A token is held by all that is to end together, and by whoever may say so; its
//! *children* are cancelled with it, and can be cancelled alone. Work that looks at its token waits for it
//! ([`CancellationToken::cancelling`]); work that does not is run in [`CancellationToken::run_until_cancelled`], whose block
//! is a scope as a time-out's is: each of its waits says so, and none outside of it ([`crate::interrupt`]).
//!
//! A token knows its children, weakly, and what waits for it; a child keeps its parent. All of this is walked in loops: a
//! chain of a million children is cancelled, and dropped, on a small stack.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use slab::Slab;

use super::unwound;
use crate::interrupt::{Interrupted, Level, Telling, level_of};
use crate::scheduler::{Waiter, await_place, passed, try_current};
use crate::select::{Branch, Listed};
use crate::ticket::{Claimant, Ticket, wake_all};
use crate::time::{Elapsed, deadline_after};
use crate::wait_list::{Left, Place, WaitList};

/// A word that work is to end; clones are the same token. It can be cancelled from any thread, once and for good.
///
/// ```
/// use overlapped::{CancellationToken, Queue, select, spawn};
/// overlapped::run(|| {
///     let (shutdown, jobs) = (CancellationToken::new(), Queue::<u32>::new());
///     let (token, theirs) = (shutdown.child_token(), jobs.clone());
///     let worker = spawn(move || {
///         let mut done = 0;
///         loop {
///             select! {
///                 biased;
///                 job = theirs.getting() => done += job.unwrap(),
///                 _ = token.cancelling() => return std::io::Result::Ok(done),
///             }?
///         }
///     });
///     jobs.put(42).unwrap();
///     shutdown.cancel();
///     assert_eq!(worker.join().unwrap()?, 42);
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone)]
pub struct CancellationToken(Arc<Node>);

struct Node {
    state: Mutex<State>,
    /// And its place there.
    parent: Option<(Arc<Node>, usize)>,
}

#[derive(Default)]
struct State {
    cancelled: bool,
    waiting: WaitList<Claimant>,
    children: Slab<Weak<Node>>,
    /// The blocks that end with it: whose they are, and their scopes.
    blocks: Slab<(Waiter, Level)>,
}

impl Node {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancels this one; returns its children.
    fn cancel(&self) -> Vec<Arc<Node>> {
        let (waiting, blocks, children) = {
            let mut state = self.state();
            if std::mem::replace(&mut state.cancelled, true) {
                return Vec::new();
            }
            let waiting = state.waiting.serve_all(|| ());
            let blocks: Vec<(Waiter, Level)> = state.blocks.iter().map(|(_, block)| block.clone()).collect();
            let children = state.children.iter().filter_map(|(_, child)| child.upgrade()).collect();
            (waiting, blocks, children)
        };
        wake_all(waiting);
        blocks.iter().for_each(|(waiter, scope)| waiter.expire_scope(*scope));
        children
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let mut parent = self.parent.take();
        while let Some((node, place)) = parent {
            node.state().children.remove(place);
            parent = Arc::into_inner(node).and_then(|mut node| node.parent.take());
        }
    }
}

/// The place of a block in its token, given back when this is dropped.
struct Block<'a> {
    node: &'a Node,
    place: usize,
}

impl Drop for Block<'_> {
    fn drop(&mut self) {
        let block = self.node.state().blocks.remove(self.place);
        drop(block);
    }
}

impl CancellationToken {
    /// One that is not cancelled.
    pub fn new() -> CancellationToken {
        CancellationToken::default()
    }

    /// A token that is cancelled when this one is, and can be cancelled alone.
    pub fn child_token(&self) -> CancellationToken {
        let mut state = self.0.state();
        if state.cancelled {
            let state = Mutex::new(State { cancelled: true, ..State::default() });
            return CancellationToken(Arc::new(Node { state, parent: None }));
        }
        let entry = state.children.vacant_entry();
        let child = Arc::new(Node { state: Mutex::default(), parent: Some((Arc::clone(&self.0), entry.key())) });
        entry.insert(Arc::downgrade(&child));
        CancellationToken(child)
    }

    /// Cancels it and its children: all that wait go on, and the blocks are told. Once more changes nothing.
    pub fn cancel(&self) {
        let mut children = self.0.cancel();
        while let Some(child) = children.pop() {
            children.extend(child.cancel());
        }
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.state().cancelled
    }

    /// Waits until it is cancelled.
    pub fn wait(&self) {
        self.wait_until(None).unwrap_or_else(unwound);
    }

    /// As [`CancellationToken::wait`], but waits no longer than `duration`.
    ///
    /// # Errors
    /// [`Elapsed`] where it was not cancelled in time.
    pub fn wait_timeout(&self, duration: Duration) -> Result<(), Elapsed> {
        let cancelled = self.wait_until(Some(deadline_after(duration))).unwrap_or_else(unwound);
        if cancelled { Ok(()) } else { Err(Elapsed::after(duration)) }
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Result<bool, Interrupted> {
        passed(Telling::Unwinding)?;
        let place = {
            let mut state = self.0.state();
            if state.cancelled {
                return Ok(true);
            }
            state.waiting.push(Claimant::current())
        };
        let (left, waited) = await_place(Telling::Unwinding, deadline, "a token", |waits| {
            self.0.state().waiting.leave_unless(place, waits)
        });
        if matches!(left, Left::Served(())) { Ok(true) } else { waited.map(|()| false) }
    }

    /// Runs `body` until it ends or the token is cancelled: then what it waits for is cancelled and says so
    /// ([`is_cancelled`](crate::is_cancelled)), and so does every further wait until `body` has ended, as in a
    /// [`timeout()`](crate::timeout()). A body that does not wait is not disturbed; where the token was cancelled before, it
    /// does not begin.
    ///
    /// ```
    /// use overlapped::{CancellationToken, sleep};
    /// use std::time::Duration;
    /// overlapped::run(|| {
    ///     let token = CancellationToken::new();
    ///     assert_eq!(token.run_until_cancelled(|| 42), Some(42));
    ///     let theirs = token.clone();
    ///     std::thread::spawn(move || theirs.cancel());
    ///     assert_eq!(token.run_until_cancelled(|| sleep(Duration::from_secs(60))), None);
    /// });
    /// ```
    ///
    /// Returns `None` where a wait of `body` was told, whatever `body` then did, a panic included (which has printed its
    /// message).
    ///
    /// # Panics
    /// Outside [`run`](crate::run), and with the panic of `body`.
    pub fn run_until_cancelled<T>(&self, body: impl FnOnce() -> T) -> Option<T> {
        let scheduler = try_current().expect("overlapped::CancellationToken: call this inside overlapped::run");
        let scope = scheduler.begin_scope(Level::Revoked);
        let block = self.block(scope);
        let result = block.is_some().then(|| catch_unwind(AssertUnwindSafe(body)));
        drop(block);
        let was_told = scheduler.end_scope(scope);
        match result? {
            // On its way to an outer scope, or to the tasklet's end.
            Err(payload) if level_of(&*payload).is_some_and(|level| level != scope) => resume_unwind(payload),
            _ if was_told => None,
            Ok(value) => Some(value),
            Err(payload) => resume_unwind(payload),
        }
    }

    /// A place for the calling tasklet's scope; `None` where the token was cancelled.
    fn block(&self, scope: Level) -> Option<Block<'_>> {
        let mut state = self.0.state();
        (!state.cancelled).then(|| Block { node: &self.0, place: state.blocks.insert((Waiter::current(), scope)) })
    }

    /// Cancels the token when what this returns is dropped.
    pub fn drop_guard(self) -> DropGuard {
        DropGuard(Some(self))
    }

    /// The wait until it is cancelled, as one of several: see [`first_of`](crate::first_of).
    pub fn cancelling(&self) -> Cancelling<'_> {
        Cancelling { token: self, place: None }
    }
}

/// Cancels a token when it is dropped: see [`CancellationToken::drop_guard`].
#[derive(Debug)]
#[must_use = "a guard that is dropped cancels its token at once"]
pub struct DropGuard(Option<CancellationToken>);

impl DropGuard {
    /// Gives the token back; it is not cancelled.
    pub fn disarm(mut self) -> CancellationToken {
        self.0.take().expect("it is there until then")
    }
}

impl Drop for DropGuard {
    fn drop(&mut self) {
        if let Some(token) = &self.0 {
            token.cancel();
        }
    }
}

/// A wait until a [`CancellationToken`] is cancelled, as one of several.
#[derive(Debug)]
pub struct Cancelling<'a> {
    token: &'a CancellationToken,
    place: Option<Place>,
}

impl Branch for Cancelling<'_> {
    type Output = ();

    fn output(&mut self) {}
}

impl Listed for Cancelling<'_> {
    fn take_now(&mut self) -> bool {
        self.token.is_cancelled()
    }

    fn list(&mut self, ticket: &Ticket) -> bool {
        let mut state = self.token.0.state();
        if !state.cancelled {
            self.place = Some(state.waiting.push(Claimant::with(ticket)));
        }
        !state.cancelled
    }

    fn leave(&mut self) -> bool {
        let left = self.place.take().map(|place| self.token.0.state().waiting.leave(place));
        matches!(left, Some(Left::Served(())))
    }
}

impl Default for CancellationToken {
    fn default() -> CancellationToken {
        CancellationToken(Arc::new(Node { state: Mutex::default(), parent: None }))
    }
}

impl fmt::Debug for CancellationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancellationToken").field("cancelled", &self.is_cancelled()).finish()
    }
}
