//! Scopes: tasklets that borrow from the block which starts them, and have ended before it returns.
//!
//! What [`std::thread::scope`] is to threads: the two lifetimes, the handles and the panics are the same. A tasklet may
//! borrow whatever lives longer than the call of [`scope`], for the call does not return, by whatever way, before all of the
//! scope's tasklets have ended and dropped what they had.
//!
//! **Why that holds.** The tasklets run on the stack's own thread, and each takes its place in the scope's table back as the
//! last thing that it does: after its function, its result and its locals are dropped. The block runs in `catch_unwind`, and
//! after it the scope waits until the table is empty. No wait of that loop unwinds, and if one did the process would end.
//! Nothing rests on a destructor that could be leaked: neither on a handle's, nor on the [`Scope`]'s, which nobody but this
//! call owns. Where [`run`](crate::run) ends and leaves a tasklet behind that would not end, it leaves the stack from which
//! that one borrows as well, for ever: who waits here has not ended either.
//!
//! **A cancel.** The block is told as any code. Once it has ended, the scope waits for the tasklets; if that wait is told to
//! leave, or the block was left for a level, the tasklets are cancelled and *still waited for*: there is no limit after which
//! they would be left alone, as there is in a [`Group`](crate::Group).
//!
//! Rejected: to cancel the others where one panics, or the block does. Whoever moves from threads counts on their finishing;
//! a [`Group`](crate::Group) is what cancels. Rejected too: to be usable from several threads. A started tasklet never
//! changes thread, and a spawn from another thread would need what it borrows to be `Sync`.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use slab::Slab;

use crate::coroutine::{Body, BorrowingBody};
use crate::interrupt::{Cause, Interrupted, Telling, level_of};
use crate::scheduler::{Scheduler, Waiter, raise, try_current};
use crate::sync::Queue;
use crate::tasklet::{Builder, Finishing, Join, JoinError, JoinHandle, Watched};
use crate::wait_list::Place;

/// Runs `body`, whose tasklets may borrow from outside of this call; returns what it returns when all of them have ended.
///
/// ```
/// use overlapped::{scope, yield_now};
/// overlapped::run(|| {
///     let mut pages = vec!["one", "two"];
///     let mut letters = 0;
///     scope(|s| {
///         s.spawn(|| {
///             yield_now();
///             letters = pages.iter().map(|page| page.len()).sum();
///         });
///         assert_eq!(s.spawn(|| pages.len()).join().unwrap(), 2);
///     });
///     pages.push("three");
///     assert_eq!(letters, 6);
/// });
/// ```
///
/// **Cancels.** The waits of `body` say so as any others ([the whole story](crate#leaving-early)). Where the caller is told
/// to leave and `body` has ended, or unwinds for it, the scope's tasklets are cancelled; they are waited for, however long
/// their cleanup takes, and then the caller is told.
///
/// # Panics
/// When all tasklets have ended: with the panic of `body`; or else with the first panic of a tasklet that nobody has
/// [joined](ScopedJoinHandle::join). None of them cancels the others ([`Group`](crate::Group) does). Outside
/// [`run`](crate::run), and in what the loop calls between two tasklets, before `body` begins.
///
/// # What does not compile
/// What is borrowed lives longer than the scope. A variable of the block does not:
/// ```compile_fail,E0373
/// overlapped::run(|| overlapped::scope(|s| {
///     let inside = String::new();
///     s.spawn(|| inside.len());
/// }));
/// ```
/// ```compile_fail,E0597
/// overlapped::run(|| overlapped::scope(|s| {
///     let inside = String::new();
///     let borrowed = &inside;
///     s.spawn(move || borrowed.len());
/// }));
/// ```
/// It is not moved, changed or dropped meanwhile:
/// ```compile_fail,E0505
/// overlapped::run(|| {
///     let text = String::from("text");
///     let borrowed = &text;
///     overlapped::scope(|s| {
///         s.spawn(move || borrowed.len());
///         drop(text);
///     });
/// });
/// ```
/// ```compile_fail,E0499
/// overlapped::run(|| {
///     let mut count = 0;
///     overlapped::scope(|s| {
///         s.spawn(|| count += 1);
///         s.spawn(|| count += 1);
///     });
/// });
/// ```
/// No handle and no result that borrows leaves the block, and neither does the scope:
/// ```compile_fail
/// overlapped::run(|| {
///     let text = String::from("text");
///     let handle = overlapped::scope(|s| s.spawn(|| text.len()));
///     handle.join().unwrap();
/// });
/// ```
/// ```compile_fail,E0521
/// overlapped::run(|| {
///     let mut kept = None;
///     overlapped::scope(|s| kept = Some(s));
/// });
/// ```
/// ```compile_fail,E0597
/// overlapped::run(|| {
///     let mut kept = None;
///     {
///         let text = String::from("text");
///         kept = Some(overlapped::scope(|s| s.spawn(|| text.as_str()).join().unwrap()));
///     }
///     kept.unwrap();
/// });
/// ```
/// Nor by a handle that waits together with others, or is awaited:
/// ```compile_fail,E0597
/// overlapped::run(|| {
///     let mut kept = None;
///     {
///         let text = String::from("text");
///         kept = overlapped::scope(|s| overlapped::as_completed([s.spawn(|| text.as_str())]).next());
///     }
///     kept.unwrap().1.unwrap();
/// });
/// ```
/// ```compile_fail,E0597
/// overlapped::run(|| {
///     let mut kept = None;
///     {
///         let text = String::from("text");
///         kept = Some(overlapped::scope(|s| overlapped::block_on(s.spawn(|| text.as_str())).unwrap()));
///     }
///     kept.unwrap();
/// });
/// ```
/// ```compile_fail
/// overlapped::run(|| {
///     let text = String::from("text");
///     let mut ends = overlapped::scope(|s| overlapped::as_completed([s.spawn(|| text.len())]));
///     ends.next();
/// });
/// ```
/// A tasklet of its own, which outlives the block, borrows nothing through the scope:
/// ```compile_fail,E0521
/// overlapped::run(|| overlapped::scope(|s| {
///     overlapped::spawn(move || s.spawn(|| ()));
/// }));
/// ```
/// What a tasklet has on its own stack is not lent beyond its end:
/// ```compile_fail,E0515
/// overlapped::run(|| overlapped::scope(|s| {
///     s.spawn(|| String::from("text").as_str()).join().unwrap();
/// }));
/// ```
/// And another thread starts none:
/// ```compile_fail,E0277
/// overlapped::run(|| overlapped::scope(|s| {
///     std::thread::scope(|threads| {
///         threads.spawn(move || s.spawn(|| ()));
///     });
/// }));
/// ```
pub fn scope<'env, T>(body: impl for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T) -> T {
    let scheduler = try_current().expect("overlapped::scope: call it inside overlapped::run");
    assert!(!scheduler.is_between(), "overlapped::scope: what the loop calls between two tasklets must not wait");
    let scope = Scope { shared: Shared::new(), scope: PhantomData, env: PhantomData };
    let borrowed = Borrowed;
    let result = catch_unwind(AssertUnwindSafe(|| body(&scope)));
    if result.as_ref().is_err_and(|payload| level_of(&**payload).is_some()) {
        scope.shared.cancel();
    }
    let told = scope.shared.wait(&scheduler);
    borrowed.ended();
    match result {
        Ok(value) => {
            if let Some(payload) = lock(&scope.shared.panic).take() {
                resume_unwind(payload);
            }
            if let Err(interrupted) = told {
                raise(interrupted);
            }
            value
        }
        Err(payload) => resume_unwind(payload),
    }
}

/// What is lent to tasklets that may be running: to leave now would be to free it.
struct Borrowed;

impl Borrowed {
    fn ended(self) {
        std::mem::forget(self);
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        eprintln!("overlapped: a panic in the wait of a scope, whose tasklets borrow from the stack that unwinds");
        std::process::abort();
    }
}

/// A scope of tasklets that borrow for `'env` and have ended when `'scope` does: see [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    shared: Rc<Shared>,
    // Both are invariant: a shorter `'scope` would let the block lend what is its own, a shorter `'env` what ends before.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

struct Shared {
    owner: Waiter,
    /// Whom to cancel, of each tasklet that has not ended.
    members: RefCell<Slab<Option<Waiter>>>,
    cancelled: Cell<bool>,
    /// The first panic that nobody has seen.
    panic: Panic,
}

/// A panic's payload; it may be found where a handle is dropped, on another thread.
type Panic = Arc<Mutex<Option<Box<dyn Any + Send>>>>;

fn lock(panic: &Panic) -> std::sync::MutexGuard<'_, Option<Box<dyn Any + Send>>> {
    panic.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn new() -> Rc<Shared> {
        let (members, cancelled) = (RefCell::default(), Cell::new(false));
        Rc::new(Shared { owner: Waiter::current(), members, cancelled, panic: Panic::default() })
    }

    /// Cancels all tasklets, those too that are still started.
    fn cancel(&self) {
        self.cancelled.set(true);
        // To cancel runs nothing of a user's.
        self.members.borrow().iter().filter_map(|(_, member)| member.as_ref()).for_each(cancel);
    }

    /// Waits until all tasklets have ended, whatever the caller is told; returns what that was. It does not unwind.
    fn wait(&self, scheduler: &Rc<Scheduler>) -> Result<(), Interrupted> {
        let mut told = Ok(());
        while !self.members.borrow().is_empty() {
            if self.cancelled.get() {
                scheduler.park_until(None, "the scope's tasklets to end");
                continue;
            }
            told = scheduler.wait(Telling::Unwinding, None, "the scope's tasklets");
            if told.is_err() {
                self.cancel();
            }
        }
        told
    }
}

fn cancel(member: &Waiter) {
    member.interrupt(Cause::Cancel);
}

/// A tasklet's place in its scope, given back as the last thing that it does.
struct Member {
    shared: Rc<Shared>,
    place: usize,
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut members = self.shared.members.borrow_mut();
        members.remove(self.place);
        if members.is_empty() {
            self.shared.owner.wake();
        }
    }
}

/// A tasklet's result. A panic that is dropped without a look becomes the scope's.
enum Ended<T> {
    Value(T),
    Panicked(Unseen),
}

struct Unseen {
    error: Option<JoinError>,
    panic: Panic,
}

impl Drop for Unseen {
    fn drop(&mut self) {
        let Some(Ok(payload)) = self.error.take().map(JoinError::into_panic) else { return };
        let mut panic = lock(&self.panic);
        let later = if panic.is_none() { panic.replace(payload) } else { Some(payload) };
        // A payload's destructor may wait.
        drop(panic);
        drop(later);
    }
}

/// Makes a tasklet's body one that nothing is known to outlive.
///
/// # Safety
/// It is run or dropped, to the end, before `'a` ends; or never.
#[allow(unsafe_code, reason = "a scope is the place where what borrows is started")]
unsafe fn outlived<'a>(body: BorrowingBody<'a>) -> Body {
    // SAFETY: the types differ in the lifetime alone, for which the caller answers.
    unsafe { std::mem::transmute::<BorrowingBody<'a>, Body>(body) }
}

impl<'scope> Scope<'scope, '_> {
    /// Starts a tasklet of this scope, on this thread. It runs when the calling one first waits, yields or ends.
    ///
    /// The handle may be dropped: the scope waits all the same. A tasklet of the scope can start others by it. In a scope
    /// that is being cancelled it never begins.
    ///
    /// # Panics
    /// Where the system has no room for one more stack: see [`Builder::spawn_scoped`].
    #[track_caller]
    pub fn spawn<T: 'scope>(&'scope self, function: impl FnOnce() -> T + 'scope) -> ScopedJoinHandle<'scope, T> {
        Builder::new().spawn_scoped(self, function).unwrap_or_else(|error| panic!("overlapped::Scope::spawn: {error}"))
    }

    #[track_caller]
    fn start<T: 'scope>(
        &'scope self,
        builder: Builder,
        function: impl FnOnce() -> T + 'scope,
    ) -> io::Result<ScopedJoinHandle<'scope, T>> {
        let panic = Arc::clone(&self.shared.panic);
        let judge = move |result: Result<T, JoinError>| match result {
            Ok(value) => Ok(Ended::Value(value)),
            // One that was told to end, and did by a panic, has not failed.
            Err(error) if error.is_panic() && !error.is_cancelled() => {
                Ok(Ended::Panicked(Unseen { error: Some(error), panic }))
            }
            Err(error) => Err(error),
        };
        let place = Cell::new(0);
        let last = |_| -> Box<dyn Any> {
            place.set(self.shared.members.borrow_mut().insert(None));
            Box::new(Member { shared: Rc::clone(&self.shared), place: place.get() })
        };
        #[allow(unsafe_code, reason = "the scope waits")]
        // SAFETY: `scope` does not return before the table is empty. The tasklet's place is in it, as `last`, until all else
        // that the body owns is dropped, and nothing of the body's is touched after that. The result, of which a handle has
        // a share, is dropped with the handle at the latest, whose type says `'scope`.
        let handle = builder.spawn_judged(function, judge, last, |body| unsafe { outlived(body) })?;
        let waiter = handle.waiter();
        if self.shared.cancelled.get() {
            waiter.iter().for_each(cancel);
        }
        // It has not run yet.
        self.shared.members.borrow_mut()[place.get()] = waiter;
        Ok(ScopedJoinHandle { handle, scope: PhantomData })
    }
}

impl Builder {
    /// As [`Scope::spawn`], with a name or a stack.
    ///
    /// ```
    /// overlapped::run(|| {
    ///     let text = String::from("text");
    ///     overlapped::scope(|s| {
    ///         let reader = overlapped::Builder::new().name("reader").spawn_scoped(s, || text.len())?;
    ///         assert_eq!(reader.join().unwrap(), 4);
    ///         std::io::Result::Ok(())
    ///     })
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// As for [`Builder::spawn`].
    #[track_caller]
    pub fn spawn_scoped<'scope, T: 'scope>(
        self,
        scope: &'scope Scope<'scope, '_>,
        function: impl FnOnce() -> T + 'scope,
    ) -> io::Result<ScopedJoinHandle<'scope, T>> {
        scope.start(self, function)
    }
}

/// A tasklet of a [`Scope`]: join it, cancel it. Where this is dropped, the tasklet runs on and the scope waits for it.
pub struct ScopedJoinHandle<'scope, T> {
    handle: JoinHandle<Ended<T>>,
    scope: PhantomData<&'scope ()>,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Waits until the tasklet has ended, and takes its result. A panic that is taken here is not the scope's.
    ///
    /// # Errors
    /// As for [`JoinHandle::join`]. Where it says that the tasklet has not ended, the scope waits for it all the same.
    pub fn join(self) -> Result<T, JoinError> {
        seen(self.handle.join())
    }

    /// As [`ScopedJoinHandle::join`], but waits no longer than `duration`.
    ///
    /// # Errors
    /// The handle, where the tasklet has not ended by then.
    pub fn join_timeout(self, duration: Duration) -> Result<Result<T, JoinError>, Self> {
        self.handle.join_timeout(duration).map(seen).map_err(|handle| ScopedJoinHandle { handle, scope: PhantomData })
    }

    /// Ends the tasklet early: see [`JoinHandle::cancel`].
    pub fn cancel(&self) {
        self.handle.cancel();
    }

    /// Whether the tasklet has ended.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// The wait for its end, as one of several: see [`JoinHandle::finishing`].
    pub fn finishing(&self) -> Finishing<'_, impl Sized> {
        self.handle.finishing()
    }
}

impl<T> Join for ScopedJoinHandle<'_, T> {
    type Output = T;

    fn join(self) -> Result<T, JoinError> {
        ScopedJoinHandle::join(self)
    }

    fn cancel(&self) {
        ScopedJoinHandle::cancel(self);
    }

    fn is_finished(&self) -> bool {
        ScopedJoinHandle::is_finished(self)
    }
}

impl<T> Watched for ScopedJoinHandle<'_, T> {
    fn watch(&self, ended: &Queue<usize>, number: usize) -> Place {
        self.handle.watch(ended, number)
    }

    fn unwatch(&self, place: Place) {
        self.handle.unwatch(place);
    }
}

/// As a [`JoinHandle`] is one: see there.
///
/// ```
/// overlapped::run(|| {
///     let numbers = [40, 2];
///     let sum = overlapped::scope(|s| {
///         let halves = numbers.each_ref().map(|number| s.spawn(|| *number));
///         overlapped::block_on(async {
///             let mut sum = 0;
///             for half in halves {
///                 sum += half.await.unwrap();
///             }
///             sum
///         })
///     });
///     assert_eq!(sum, 42);
/// });
/// ```
impl<T> Future for ScopedJoinHandle<'_, T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.handle).poll(context).map(seen)
    }
}

fn seen<T>(result: Result<Ended<T>, JoinError>) -> Result<T, JoinError> {
    match result? {
        Ended::Value(value) => Ok(value),
        Ended::Panicked(mut unseen) => Err(unseen.error.take().expect("it is taken once")),
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tasklets, cancelled) = (self.shared.members.borrow().len(), self.shared.cancelled.get());
        f.debug_struct("Scope").field("tasklets", &tasklets).field("cancelled", &cancelled).finish()
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle").field("finished", &self.is_finished()).finish()
    }
}
