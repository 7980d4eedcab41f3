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

use std::cell::{Cell, RefCell};
use std::io;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;

use corosensei::{Coroutine, CoroutineResult, Yielder};

use crate::scheduler::{Scheduler, Switcher, TaskletId};
use crate::stack::{Bounds, OverflowWatch, PooledStack, StackPool};

/// A tasklet that has started.
struct Started {
    body: Coroutine<(), (), (), PooledStack>,
    yielder: *const Yielder<(), ()>,
    bounds: Bounds,
    name: Option<Arc<str>>,
}

/// A tasklet's function; it is told, instead of being run, why there is no stack to run it on.
pub(crate) type Body = Box<dyn FnOnce(io::Result<()>)>;

/// What a tasklet is, while it does not run.
enum Tasklet {
    Ended,
    /// Not started: it has no stack yet.
    New(Body, usize),
    Suspended(Box<Started>),
    Running,
}

/// The tasklets of one thread, by their index.
pub(crate) struct Coroutines {
    tasklets: RefCell<Vec<Tasklet>>,
    stacks: RefCell<StackPool>,
    watch: OverflowWatch,
    /// How the tasklet that runs gets back to the loop.
    yielder: Cell<*const Yielder<(), ()>>,
}

impl Coroutines {
    pub(crate) fn new() -> Rc<Coroutines> {
        Rc::new(Coroutines {
            tasklets: RefCell::default(),
            stacks: RefCell::new(StackPool::new()),
            watch: OverflowWatch::new(),
            yielder: Cell::new(ptr::null()),
        })
    }

    /// Gives a tasklet its function and the size of its stack in bytes.
    pub(crate) fn insert(&self, id: TaskletId, function: Body, stack_size: usize) {
        let mut tasklets = self.tasklets.borrow_mut();
        if tasklets.len() <= id.index() {
            tasklets.resize_with(id.index() + 1, || Tasklet::Ended);
        }
        tasklets[id.index()] = Tasklet::New(function, stack_size);
    }

    /// Runs a tasklet until it parks or ends. Called from the thread's own stack.
    fn resume(&self, scheduler: &Scheduler, id: TaskletId) {
        let tasklet = std::mem::replace(&mut self.tasklets.borrow_mut()[id.index()], Tasklet::Running);
        let mut started = match tasklet {
            Tasklet::Suspended(started) => started,
            Tasklet::New(function, stack_size) => {
                let stack = self.stacks.borrow_mut().take(stack_size);
                match stack {
                    Ok(stack) => self.start(function, stack, scheduler.name(id)),
                    Err(error) => {
                        function(Err(error));
                        self.tasklets.borrow_mut()[id.index()] = Tasklet::Ended;
                        scheduler.retire(id);
                        return;
                    }
                }
            }
            Tasklet::Ended | Tasklet::Running => unreachable!("only a tasklet that is new or parked becomes ready"),
        };
        self.yielder.set(started.yielder);
        // SAFETY: `started` keeps the name until `clear`.
        unsafe { self.watch.set_current(started.bounds, started.name.as_deref().unwrap_or_default()) };
        let result = started.body.resume(());
        self.watch.clear();
        let (tasklet, ended) = match result {
            CoroutineResult::Yield(()) => {
                started.yielder = self.yielder.get();
                (Tasklet::Suspended(started), false)
            }
            CoroutineResult::Return(()) => {
                self.stacks.borrow_mut().give(started.body.into_stack());
                (Tasklet::Ended, true)
            }
        };
        self.tasklets.borrow_mut()[id.index()] = tasklet;
        if ended {
            scheduler.retire(id);
        }
    }
}

impl Coroutines {
    fn start(&self, function: Body, stack: PooledStack, name: Option<Arc<str>>) -> Box<Started> {
        let bounds = stack.bounds();
        let this: *const Coroutines = self;
        let body = Coroutine::with_stack(stack, move |yielder, ()| {
            // SAFETY: the loop that resumes this coroutine borrows the `Coroutines` for as long.
            unsafe { (*this).yielder.set(yielder) };
            function(Ok(()));
        });
        Box::new(Started { body, yielder: ptr::null(), bounds, name })
    }
}

impl Switcher for Rc<Coroutines> {
    fn park(&self, scheduler: &Rc<Scheduler>, me: TaskletId) {
        if me != TaskletId::ROOT {
            // SAFETY: `resume` (or the coroutine's first lines) has put the running coroutine's own yielder here, and
            // it lives on that coroutine's stack, which is this one.
            unsafe { (*self.yielder.get()).suspend(()) };
            return;
        }
        loop {
            match scheduler.next() {
                Ok(Some(TaskletId::ROOT)) => return,
                Ok(Some(id)) => self.resume(scheduler, id),
                Ok(None) => scheduler.turn(None).unwrap_or_else(|error| port_failed(&error)),
                Err(error) => port_failed(&error),
            }
        }
    }

    fn unwinds(&self) -> bool {
        true
    }
}

/// The kernel's interface is gone (its descriptor was closed, say). Operations in flight still own memory on stacks,
/// so nothing can be unwound.
fn port_failed(error: &io::Error) -> ! {
    eprintln!("overlapped: the completion port of this thread has failed: {error}");
    std::process::abort();
}
