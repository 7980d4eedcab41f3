//! Groups: tasklets that end before the block does that started them.
//!
//! A tasklet that is started on its own is nobody's: its panic is seen by who joins it, if anybody does, and it goes on when
//! whoever wanted its result has left. A group owns its members: its block ends when all have ended, and of what fails
//! nothing is lost and nothing goes on beside it (what Trio calls a nursery, and asyncio a `TaskGroup`).
//!
//! **What fails** is a member that panics, or returns an error from [`Group::try_spawn`], without having been told to end.
//! The first failure cancels the other members, and the block: the block is a *scope*, as a time-out's is, so that its waits
//! say so and those outside of it do not ([`crate::interrupt`]). When all have ended, the failure goes on from the block.
//!
//! **How members are kept.** In a table, each with what cancels it; a member takes its place back as the very last thing of
//! its tasklet, after the destructors of what it leaves behind. Rejected: to join the handles one after the other (they are
//! the caller's, and a failure would be seen only when its turn comes); a channel of endings (allocates by ending, and a
//! count does).
//!
//! Rejected too: members that borrow from the block. They would have to end before the block's frame whatever happens, and
//! one that is overdue after a cancel does not: [`Group`] leaves it as it is, which only what is `'static` allows. In a
//! [`scope`](crate::scope()) they borrow, and it waits for them without a limit.

use std::any::Any;
use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Instant;

use slab::Slab;

use overlapped_port::sim::now;

use crate::interrupt::{Interrupted, Level, Telling, level_of};
use crate::scheduler::{Scheduler, Waiter, raise, try_current, wait};
use crate::tasklet::{Builder, JoinError, JoinHandle};

/// Tasklets that end before its block does; clones are the same group, for members that start others.
///
/// ```
/// use overlapped::{Group, sleep};
/// use std::time::Duration;
///
/// overlapped::run(|| {
///     let sum = Group::run(|group| {
///         let halves = [20, 22].map(|half| group.spawn(move || half));
///         halves.into_iter().map(|half| half.join().unwrap()).sum::<i32>()
///     });
///     assert_eq!(sum, 42);
///
///     let failed: Result<(), &str> = Group::try_run(|group| {
///         group.spawn(|| sleep(Duration::from_secs(60)));
///         group.try_spawn(|| if true { Err("no such host") } else { Ok(()) });
///         Ok(())
///     });
///     assert_eq!(failed, Err("no such host"), "and nobody sleeps on");
/// });
/// ```
pub struct Group<E = Infallible>(Rc<Shared<E>>);

struct Shared<E> {
    /// The tasklet of the block, and its scope. (The scheduler itself would be kept by a clone that outlives its run.)
    owner: Waiter,
    scope: Level,
    state: RefCell<State<E>>,
}

struct State<E> {
    members: Slab<Option<Box<dyn Cancels>>>,
    failure: Option<Failure<E>>,
    /// The errors of those that failed later.
    more: Vec<E>,
    /// Since when all members are to end.
    cancelled: Option<Instant>,
    ended: bool,
}

enum Failure<E> {
    Panic(Box<dyn Any + Send>),
    Error(E),
}

/// A member, whatever its result is.
trait Cancels {
    fn cancel(&self);
}

impl<T> Cancels for JoinHandle<T> {
    fn cancel(&self) {
        JoinHandle::cancel(self);
    }
}

impl Group {
    /// Runs `body`, and returns what it returns when every member has ended.
    ///
    /// Where a member panics, the others are cancelled and so is `body` (its waits say so, as for any
    /// [cancel](crate#leaving-early)); when all have ended, the panic goes on from here. So it is where `body` itself
    /// panics. Whoever is told to leave while it waits for its members cancels them and waits for them.
    ///
    /// A member that was cancelled and does not end within the cleanup limit ([`Config::cleanup`](crate::Config::cleanup))
    /// and a second is left as it is, and a line on standard error says so.
    ///
    /// # Panics
    /// Outside [`run`](crate::run), and with the first panic of a member or of `body`; those of other members stay with
    /// their handles.
    pub fn run<R>(body: impl FnOnce(&Group) -> R) -> R {
        match block(|group| Some(body(group))) {
            Ok(value) => value,
            Err(never) => match never {},
        }
    }
}

impl<E: 'static> Group<E> {
    /// As [`Group::run`], for a body and members that may fail with an error too ([`Group::try_spawn`]).
    ///
    /// # Errors
    /// The first error of a member or of `body`; those of others are dropped.
    ///
    /// # Panics
    /// As [`Group::run`].
    pub fn try_run<R>(body: impl FnOnce(&Group<E>) -> Result<R, E>) -> Result<R, E> {
        block(|group| body(group).map_err(|error| group.0.fail(Failure::Error(error))).ok())
    }

    /// Starts a member. Its handle is as any other's; a panic goes to the group, and leaves its words to the handle.
    ///
    /// In a group that is being cancelled it never begins.
    ///
    /// # Panics
    /// In a group that has ended, and as [`spawn`](crate::spawn()).
    #[track_caller]
    pub fn spawn<T: 'static>(&self, function: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
        self.spawn_with(Builder::new(), function).unwrap_or_else(|error| panic!("overlapped::Group::spawn: {error}"))
    }

    /// As [`Group::spawn`], for a member that may fail: its error goes to the group, and its handle says
    /// [`JoinError::is_failure`].
    ///
    /// # Panics
    /// As [`Group::spawn`].
    #[track_caller]
    pub fn try_spawn<T: 'static>(&self, function: impl FnOnce() -> Result<T, E> + 'static) -> JoinHandle<T> {
        self.try_spawn_with(Builder::new(), function)
            .unwrap_or_else(|error| panic!("overlapped::Group::try_spawn: {error}"))
    }

    /// As [`Group::spawn`], with a name or a stack: see [`Builder`].
    ///
    /// # Errors
    /// As for [`Builder::spawn`].
    ///
    /// # Panics
    /// In a group that has ended.
    #[track_caller]
    pub fn spawn_with<T: 'static>(
        &self,
        builder: Builder,
        function: impl FnOnce() -> T + 'static,
    ) -> io::Result<JoinHandle<T>> {
        self.start(builder, move || Ok(function()), ())
    }

    /// As [`Group::try_spawn`], with a name or a stack: see [`Builder`].
    ///
    /// # Errors
    /// As for [`Builder::spawn`].
    ///
    /// # Panics
    /// In a group that has ended.
    #[track_caller]
    pub fn try_spawn_with<T: 'static>(
        &self,
        builder: Builder,
        function: impl FnOnce() -> Result<T, E> + 'static,
    ) -> io::Result<JoinHandle<T>> {
        self.start(builder, function, ())
    }

    /// Starts a member that holds something until it has ended.
    #[track_caller]
    pub(crate) fn start<T: 'static>(
        &self,
        builder: Builder,
        function: impl FnOnce() -> Result<T, E> + 'static,
        holds: impl Any,
    ) -> io::Result<JoinHandle<T>> {
        assert!(!self.0.state.borrow().ended, "overlapped::Group::spawn: the group has ended");
        let judge = {
            let group = Rc::clone(&self.0);
            move |result| group.judge(result)
        };
        let last = |handle| -> Box<dyn Any> {
            let place = self.0.state.borrow_mut().members.insert(Some(Box::new(handle)));
            Box::new((holds, Member { group: Rc::clone(&self.0), place }))
        };
        let handle = builder.spawn_judged(function, judge, last, |body| body)?;
        if self.0.state.borrow().cancelled.is_some() {
            handle.cancel();
        }
        Ok(handle)
    }

    /// Cancels the members, and those that are still started. The block goes on.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// How many members have not ended.
    pub fn len(&self) -> usize {
        self.0.state.borrow().members.len()
    }

    /// Whether all members have ended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Runs `body` as the block of a new group; it returns nothing where it has told the group that it failed.
fn block<R, E: 'static>(body: impl FnOnce(&Group<E>) -> Option<R>) -> Result<R, E> {
    let scheduler = try_current().expect("overlapped::Group::run: call it inside overlapped::run");
    let scope = scheduler.begin_scope(Level::Failed);
    let state = State { members: Slab::new(), failure: None, more: Vec::new(), cancelled: None, ended: false };
    let group = Group(Rc::new(Shared { owner: Waiter::current(), scope, state: RefCell::new(state) }));
    let result = catch_unwind(AssertUnwindSafe(|| body(&group)));
    scheduler.end_scope(scope);
    if result.is_err() {
        group.0.cancel();
    }
    let waited = group.0.wait(&scheduler);
    let (failure, more) = {
        let mut state = group.0.state.borrow_mut();
        state.ended = true;
        (state.failure.take(), std::mem::take(&mut state.more))
    };
    drop(more);
    match (result, failure) {
        // On its way to an outer scope, or to the tasklet's end.
        (Err(payload), _) if level_of(&*payload).is_some_and(|level| level != scope) => resume_unwind(payload),
        (_, Some(Failure::Error(error))) => Err(error),
        (_, Some(Failure::Panic(payload))) | (Err(payload), None) => resume_unwind(payload),
        (Ok(value), None) => {
            if let Err(interrupted) = waited {
                raise(interrupted);
            }
            Ok(value.expect("a body that returns nothing has failed"))
        }
    }
}

impl<E: 'static> Shared<E> {
    /// What the group makes of a member's result. One that was told to end, and so did, has not failed.
    fn judge<T>(&self, result: Result<Result<T, E>, JoinError>) -> Result<T, JoinError> {
        match result {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) if try_current().is_some_and(|scheduler| scheduler.was_told_to_end()) => {
                self.state.borrow_mut().more.push(error);
                Err(JoinError::cancelled())
            }
            Ok(Err(error)) => {
                self.fail(Failure::Error(error));
                Err(JoinError::failed())
            }
            Err(error) if error.is_cancelled() || self.state.borrow().failure.is_some() => Err(error),
            Err(error) => {
                let (payload, words) = error.split_panic()?;
                self.fail(Failure::Panic(payload));
                Err(words)
            }
        }
    }

    /// The first failure is kept, and ends the rest.
    fn fail(&self, failure: Failure<E>) {
        {
            let mut state = self.state.borrow_mut();
            match failure {
                Failure::Error(error) if state.failure.is_some() => return state.more.push(error),
                failure => state.failure.get_or_insert(failure),
            };
        }
        self.cancel();
        if let (Some(scheduler), Some(owner)) = (try_current(), self.owner.id()) {
            scheduler.expire_scope(owner, self.scope);
        }
    }

    fn cancel(&self) {
        self.state.borrow_mut().cancelled.get_or_insert_with(now);
        // To cancel runs nothing of a user's.
        self.state.borrow().members.iter().filter_map(|(_, member)| member.as_ref()).for_each(|member| member.cancel());
        // From now on the block does not wait for ever.
        self.owner.wake();
    }

    /// Waits until all members have ended. One that is told to leave cancels them, and waits.
    fn wait(&self, scheduler: &Rc<Scheduler>) -> Result<(), Interrupted> {
        let mut waited = Ok(());
        while !self.state.borrow().members.is_empty() {
            let Some(since) = self.state.borrow().cancelled else {
                waited = wait(Telling::Unwinding, None, "the group's tasklets");
                if waited.is_err() {
                    self.cancel();
                }
                continue;
            };
            let last = scheduler.remote().given_up(since);
            if last.is_some_and(|last| now() >= last) {
                eprintln!(
                    "overlapped: tasklets of a group were cancelled and have not ended within the cleanup limit: {} are left \
                     as they are",
                    self.state.borrow().members.len()
                );
                break;
            }
            scheduler.park_until(last, "the group's tasklets to end");
        }
        waited
    }
}

/// A member's place in its group, until its tasklet has ended.
struct Member<E: 'static> {
    group: Rc<Shared<E>>,
    place: usize,
}

impl<E> Drop for Member<E> {
    fn drop(&mut self) {
        // It may hold the result, whose destructor may wait: until then it is a member.
        let handle = self.group.state.borrow_mut().members[self.place].take();
        drop(handle);
        let mut state = self.group.state.borrow_mut();
        state.members.remove(self.place);
        if state.members.is_empty() {
            self.group.owner.wake();
        }
    }
}

impl<E> Clone for Group<E> {
    fn clone(&self) -> Group<E> {
        Group(Rc::clone(&self.0))
    }
}

impl<E> fmt::Debug for Group<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.borrow();
        let (members, cancelled) = (state.members.len(), state.cancelled.is_some());
        f.debug_struct("Group").field("members", &members).field("cancelled", &cancelled).finish()
    }
}
