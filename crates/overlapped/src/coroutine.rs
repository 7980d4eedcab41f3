//! The stack switch of the Rust face: each tasklet is a coroutine that the thread's own stack resumes.
//!
//! ```text
//!   thread's stack:  run(f) ── f ── park ──▶ loop: next ready tasklet ─▶ resume ─┐
//!   tasklet's stack:                          ◀── suspend ◀── park ◀── its code ◀┘
//! ```
//!
//! The thread itself (the root) runs the loop when *it* parks, so a tasklet always suspends into that loop and never
//! into another tasklet: two cheap switches from one tasklet to the next, and no stack ever grows by starting one.

#![allow(unsafe_code, reason = "the stack switch is one of the three places for it")]

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::io;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;

use corosensei::{Coroutine, CoroutineResult, Yielder};

use crate::ahead;
use crate::scheduler::{Scheduler, Switcher, TaskletId};
#[cfg(unix)]
use crate::sim::leave_stuck as leaves_stuck;
use crate::spans;
use crate::stack::{Occupant, OverflowWatch, PooledStack, StackPool};

/// A tasklet that has started.
struct Started {
    body: Coroutine<(), (), (), PooledStack>,
    /// The address up to which its stack was in use when it was left.
    left_at: usize,
    occupant: Occupant,
}

/// How much of a stack is used when a wait ends: the frames of the wait, in bytes.
const LIVELY: usize = 512;

/// What a tasklet does, on its own stack. It does not panic.
pub(crate) type Body = BorrowingBody<'static>;

/// The same, of a tasklet that ends before `'a` does.
pub(crate) type BorrowingBody<'a> = Box<dyn FnOnce(&Rc<Scheduler>) + 'a>;

/// What a tasklet is, while it does not run.
enum Tasklet {
    Ended,
    /// Not started: it has no stack yet, but one of that size is reserved.
    New(Body, usize),
    Suspended(Box<Started>),
    Running,
}

/// The tasklets of one thread, by their index.
pub(crate) struct Coroutines {
    tasklets: RefCell<Vec<Tasklet>>,
    stacks: RefCell<StackPool>,
    /// Of a tasklet that does not say.
    stack_size: usize,
    watch: OverflowWatch,
    /// How the tasklet that runs gets back to the loop.
    yielder: Cell<*const Yielder<(), ()>>,
    /// Of the stack that was left last.
    left_at: Cell<usize>,
    /// What tasklets that never began have left.
    left: RefCell<Vec<Box<dyn Any>>>,
}

thread_local! {
    static HERE: RefCell<Option<Rc<Coroutines>>> = const { RefCell::new(None) };
}

/// Makes `coroutines` those of this thread, until [`leave`].
pub(crate) fn enter(coroutines: Rc<Coroutines>) {
    HERE.set(Some(coroutines));
}

/// Ends what [`enter`] began.
pub(crate) fn leave() {
    if let Some(coroutines) = HERE.take() {
        drop(coroutines.left.take());
    }
}

fn here<R>(look: impl FnOnce(&Coroutines) -> R) -> R {
    HERE.with_borrow(|here| look(here.as_ref().expect("tasklets of the Rust face are started inside overlapped::run")))
}

/// Makes sure that a tasklet which is started now will have a stack, of the usual size unless told; returns the size.
/// Which stack is decided when it begins: the one that was used last is still in the cache.
pub(crate) fn reserve(size: Option<usize>) -> io::Result<usize> {
    here(|coroutines| {
        let size = size.unwrap_or(coroutines.stack_size);
        coroutines.stacks.borrow_mut().reserve(size).map(|()| size)
    })
}

/// Gives a tasklet its function and the size of its stack in bytes, which was [reserved](reserve).
pub(crate) fn insert(id: TaskletId, function: Body, stack_size: usize) {
    here(|coroutines| {
        let mut tasklets = coroutines.tasklets.borrow_mut();
        if tasklets.len() <= id.index() {
            tasklets.resize_with(id.index() + 1, || Tasklet::Ended);
        }
        tasklets[id.index()] = Tasklet::New(function, stack_size);
    });
}

/// How many stacks this thread's tasklets have.
pub(crate) fn stacks_in_use() -> usize {
    let has_one = |tasklet: &&Tasklet| matches!(tasklet, Tasklet::Suspended(_) | Tasklet::Running);
    HERE.with_borrow(|here| {
        here.as_ref().map_or(0, |coroutines| coroutines.tasklets.borrow().iter().filter(has_one).count())
    })
}

/// Keeps a value whose destructor may wait until the thread's own tasklet can drop it.
pub(crate) fn keep_until_the_end(left: Box<dyn Any>) {
    here(|coroutines| coroutines.left.borrow_mut().push(left));
}

/// Ends the process where it is dropped by an unwinding: the loop runs on the stack of a tasklet that may have operations
/// in flight, and nothing of the loop's is that tasklet's to catch.
struct NoUnwind;

impl Drop for NoUnwind {
    fn drop(&mut self) {
        eprintln!("overlapped: a panic between two tasklets: whatever waits would wait for ever");
        std::process::abort();
    }
}

impl Coroutines {
    pub(crate) fn new(stack_size: usize) -> Rc<Coroutines> {
        Rc::new(Coroutines {
            tasklets: RefCell::default(),
            stacks: RefCell::new(StackPool::new()),
            stack_size,
            watch: OverflowWatch::new(),
            yielder: Cell::new(ptr::null()),
            left_at: Cell::new(0),
            left: RefCell::default(),
        })
    }

    /// Runs a tasklet until it parks or ends. Called from the thread's own stack.
    fn resume(&self, scheduler: &Rc<Scheduler>, id: TaskletId) {
        let tasklet = std::mem::replace(&mut self.tasklets.borrow_mut()[id.index()], Tasklet::Running);
        let suspended = match tasklet {
            Tasklet::Suspended(mut started) => match self.go_on(&mut started) {
                CoroutineResult::Yield(()) => Ok(started),
                CoroutineResult::Return(()) => Err(started.body),
            },
            Tasklet::New(function, stack_size) => {
                let stack = self.stacks.borrow_mut().take(stack_size).expect("a stack was reserved");
                let mut started = self.start(function, stack, scheduler, scheduler.name(id));
                // One that ends without a wait needs no memory to be kept in.
                match self.go_on(&mut started) {
                    CoroutineResult::Yield(()) => Ok(Box::new(started)),
                    CoroutineResult::Return(()) => Err(started.body),
                }
            }
            Tasklet::Ended | Tasklet::Running => unreachable!("only a tasklet that is new or parked becomes ready"),
        };
        match suspended {
            Ok(started) => self.tasklets.borrow_mut()[id.index()] = Tasklet::Suspended(started),
            Err(body) => {
                self.stacks.borrow_mut().give(body.into_stack());
                self.tasklets.borrow_mut()[id.index()] = Tasklet::Ended;
                scheduler.remove(id);
            }
        }
    }

    /// Has what the switches after the next one need fetched: of one that is known already, its stack; of the one after it,
    /// what is known.
    #[inline]
    fn fetch_ahead(&self, scheduler: &Scheduler) {
        let Some((first, second)) = scheduler.upcoming() else { return };
        let tasklets = self.tasklets.borrow();
        if let Some(Tasklet::Suspended(started)) = tasklets.get(first.index()) {
            ahead::fetch::<LIVELY>(started.left_at);
        }
        if let Some(Tasklet::Suspended(started)) = tasklets.get(second.index()) {
            ahead::fetch::<{ size_of::<Started>() }>(ptr::from_ref::<Started>(started).addr());
        }
    }

    /// Switches to a tasklet's stack, and back where it parks or ends.
    #[inline]
    fn go_on(&self, started: &mut Started) -> CoroutineResult<(), ()> {
        // SAFETY: it is part of `started`, which nobody else has until `clear`.
        unsafe { self.watch.set_current(&started.occupant) };
        let result = started.body.resume(());
        self.watch.clear();
        started.left_at = self.left_at.get();
        result
    }

    fn start(&self, function: Body, stack: PooledStack, scheduler: &Rc<Scheduler>, name: Option<Arc<str>>) -> Started {
        let occupant = Occupant { bounds: stack.bounds(), name };
        let this: *const Coroutines = self;
        let scheduler = Rc::clone(scheduler);
        let body = Coroutine::with_stack(stack, move |yielder, ()| {
            // SAFETY: the loop that resumes this coroutine borrows the `Coroutines` for as long.
            unsafe { (*this).yielder.set(yielder) };
            function(&scheduler);
        });
        Started { body, left_at: 0, occupant }
    }
}

// SAFETY: a suspended coroutine is resumed by `resume` alone, on its thread. It is freed when it has ended: `run` leaks
// those that have not.
unsafe impl Switcher for Rc<Coroutines> {
    fn park(&self, scheduler: &Rc<Scheduler>, me: TaskletId) {
        // What the thread is in belongs to who is left: nobody else runs there.
        let left = if spans::in_use() { scheduler.call_between(spans::leave) } else { None };
        self.let_run(scheduler, me);
        if let Some(left) = left {
            scheduler.call_between(|| left.enter_again());
        }
    }

    fn unwinds(&self) -> bool {
        true
    }
}

impl Coroutines {
    /// Gives the thread away until `me` is the next.
    #[inline]
    fn let_run(&self, scheduler: &Rc<Scheduler>, me: TaskletId) {
        if me != TaskletId::ROOT {
            let here = 0_u8;
            self.left_at.set((&raw const here).addr());
            let yielder = self.yielder.get();
            // SAFETY: the coroutine's first lines, or these after its last wait, have put its own yielder here, and it lives
            // on that coroutine's stack, which is this one.
            unsafe { (*yielder).suspend(()) };
            self.yielder.set(yielder);
            return;
        }
        let between = NoUnwind;
        loop {
            // SAFETY: this is the switcher, and goes to the one that is named.
            let turned = match unsafe { scheduler.next() } {
                Ok(Some(TaskletId::ROOT)) => return std::mem::forget(between),
                Ok(Some(id)) => {
                    self.fetch_ahead(scheduler);
                    self.resume(scheduler, id);
                    continue;
                }
                Ok(None) => scheduler.rest(None),
                Err(error) => Err(error),
            };
            if let Err(error) = turned
                && !leaves_stuck(scheduler, &error)
            {
                port_failed(&error);
            }
        }
    }
}

/// Outside of a simulated world nobody knows that nothing can come any more.
#[cfg(not(unix))]
fn leaves_stuck(_: &Rc<Scheduler>, _: &io::Error) -> bool {
    false
}

/// The kernel's interface is gone (its descriptor was closed, say). Operations in flight still own memory on stacks,
/// so nothing can be unwound.
fn port_failed(error: &io::Error) -> ! {
    eprintln!("overlapped: the completion port of this thread has failed: {error}");
    std::process::abort();
}
