//! The table of a thread's tasklets: which object each has, and which greenlet.
//!
//! Nothing here calls Python: a state is changed at once, and whatever is dropped is handed to the caller first.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use overlapped::engine::{Scheduler, TaskletId};
use overlapped_port::sim::now;
use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

use super::hooks::Kept;
use crate::python::hooks::OfThread;

/// How a tasklet lives.
pub(super) struct Life {
    /// Runs what its object is to do, to the end, where the object has not done that yet. Returns a `KeyboardInterrupt` that
    /// came up there, which is the main tasklet's.
    pub(super) run: fn(Python<'_>, &Py<PyAny>, &Scheduler) -> Option<Py<PyAny>>,
    /// The end of the program ends it, with all that goes with an end.
    pub(super) ends_with_program: bool,
}

/// A tasklet as Python sees it.
pub(super) struct Member {
    pub(super) object: Py<PyAny>,
    pub(super) life: &'static Life,
}

impl Member {
    fn clone_ref(&self, py: Python<'_>) -> Member {
        Member { object: self.object.clone_ref(py), life: self.life }
    }
}

/// One that waits until nobody is left to run.
#[derive(Clone, Copy)]
pub(super) struct Run {
    pub(super) by: TaskletId,
    pub(super) limit: Option<Limit>,
}

/// What ends a run before.
#[derive(Clone, Copy)]
pub(super) enum Limit {
    /// A tasklet that has run for longer without a switch, and could go on: it is paused.
    Turn(Duration),
    /// That time. The tasklet that then leaves its turn, and could go on, is paused, unless the limit is soft.
    Total { until: Instant, soft: bool },
}

impl Limit {
    /// What is left until a tasklet is paused that was gone to at that time; None where none is.
    pub(super) fn left(self, gone_to: Instant) -> Option<Duration> {
        let until = match self {
            Limit::Turn(most) => gone_to + most,
            Limit::Total { soft: true, .. } => return None,
            Limit::Total { until, .. } => until,
        };
        Some(until.saturating_duration_since(now()))
    }
}

/// What a tasklet is on this side.
enum Body {
    Ended,
    /// Not started: it has no greenlet yet.
    New(TaskletId, Member),
    /// Started: the tasklet, and the greenlet to switch to when it is parked. Without an object is the thread itself until
    /// somebody asks for one, and a tasklet whose own has just been given up.
    Started(TaskletId, Option<Member>, Py<PyAny>),
}

impl Body {
    fn member(&self) -> Option<&Member> {
        match self {
            Body::New(_, member) => Some(member),
            Body::Started(_, member, _) => member.as_ref(),
            Body::Ended => None,
        }
    }
}

/// What to switch to for a tasklet to run.
pub(super) enum Target {
    Greenlet(Py<PyAny>),
    /// It is new, and nobody is free for it: the starter is to make it a worker.
    Starter(Py<PyAny>),
}

/// The greenlets of one thread, and who of them runs what.
pub(crate) struct Greenlets {
    bodies: RefCell<Vec<Body>>,
    /// Starts workers; `None` once the thread ends.
    starter: RefCell<Option<Py<PyAny>>>,
    /// What a worker's greenlet runs.
    worker: Py<PyAny>,
    idle: RefCell<Vec<Py<PyAny>>>,
    /// The tasklet that the starter is to run next.
    handed_over: Cell<Option<TaskletId>>,
    /// This is the thread to which Python gives signals.
    pub(super) main_thread: bool,
    pub(super) look_for_signals: Cell<bool>,
    /// Handlers of signals that came while another tasklet ran, with the signals' numbers: see [`signal`](super::signal).
    pub(super) left_to_main: RefCell<VecDeque<(Py<PyAny>, Py<PyAny>)>>,
    /// Who waits for a handler to be called, and for which signals one was, a bit for each number.
    pub(super) pausing: RefCell<Vec<(TaskletId, u64)>>,
    /// What the main tasklet is to raise: see [`deadlock`](super::deadlock).
    pub(super) deadlock: RefCell<Option<String>>,
    /// The number of the exception that a signal handler has raised, until the tasklet whose it is has it.
    pub(super) from_signal: Cell<Option<(TaskletId, u64)>>,
    /// Those that wait until nobody is left to run, the innermost last: see [`idle`](super::idle).
    pub(super) runs: RefCell<Vec<Run>>,
    /// A run goes on while somebody waits for the port.
    pub(super) port_counts: Cell<bool>,
    /// When the tasklet that runs was gone to, where a run wants to know.
    pub(super) gone_to: Cell<Option<Instant>>,
    /// Who was paused when the time of the last run was up.
    pub(super) victim: Cell<Option<TaskletId>>,
    /// Who has run last, where [`switches`](super::switches) are told.
    pub(super) ran: Cell<Option<TaskletId>>,
    /// And it is being told of one.
    pub(super) telling: Cell<bool>,
    /// Those that are not preempted, and by how many blocks: see [`preempt`](super::preempt).
    pub(super) unpreempted: RefCell<HashMap<TaskletId, usize>>,
    /// This thread is watched, so that it can be.
    pub(super) preempted: Cell<bool>,
    /// Native code looks for signals: its caller is in the middle of something.
    pub(super) asks_for_signals: Cell<bool>,
    /// The exceptions by which tasklets were cancelled, for as long as these have them.
    exits: RefCell<HashMap<TaskletId, Py<PyWeakrefReference>>>,
    /// The trace and profile functions of the thread, which are those of the tasklet that runs.
    pub(super) thread_hooks: OfThread,
    /// And those of the others that have any: see [`hooks`](super::hooks).
    pub(super) kept: RefCell<HashMap<TaskletId, Kept>>,
    /// The thread ends, and its greenlets with it.
    ending: Cell<bool>,
}

impl Greenlets {
    /// Begins with the thread's own tasklet, which runs on the greenlet `main`.
    pub(super) fn new(
        main: Py<PyAny>,
        starter: Py<PyAny>,
        worker: Py<PyAny>,
        main_thread: bool,
        thread_hooks: OfThread,
    ) -> Rc<Greenlets> {
        Rc::new(Greenlets {
            bodies: RefCell::new(vec![Body::Started(TaskletId::ROOT, None, main)]),
            starter: RefCell::new(Some(starter)),
            worker,
            idle: RefCell::default(),
            handed_over: Cell::new(None),
            main_thread,
            look_for_signals: Cell::new(false),
            left_to_main: RefCell::default(),
            pausing: RefCell::default(),
            deadlock: RefCell::new(None),
            from_signal: Cell::new(None),
            runs: RefCell::default(),
            port_counts: Cell::new(true),
            gone_to: Cell::new(None),
            victim: Cell::new(None),
            ran: Cell::new(None),
            telling: Cell::new(false),
            unpreempted: RefCell::default(),
            preempted: Cell::new(false),
            asks_for_signals: Cell::new(false),
            exits: RefCell::default(),
            thread_hooks,
            kept: RefCell::default(),
            ending: Cell::new(false),
        })
    }

    /// Adds a new tasklet.
    pub(super) fn add(&self, id: TaskletId, member: Member) {
        let mut bodies = self.bodies.borrow_mut();
        let index = id.index();
        if bodies.len() <= index {
            bodies.resize_with(index + 1, || Body::Ended);
        }
        bodies[index] = Body::New(id, member);
    }

    /// Gives a tasklet that has started, and has no object, this one.
    pub(super) fn name(&self, id: TaskletId, given: Member) {
        if let Body::Started(_, member @ None, _) = &mut self.bodies.borrow_mut()[id.index()] {
            *member = Some(given);
        }
    }

    /// A tasklet that has not ended, where it has an object.
    pub(super) fn member(&self, py: Python<'_>, id: TaskletId) -> Option<Member> {
        self.bodies.borrow()[id.index()].member().map(|member| member.clone_ref(py))
    }

    /// Those that have not ended and live in one of these ways, but for the thread's own.
    pub(super) fn ids(&self, which: impl Fn(&Life) -> bool) -> Vec<TaskletId> {
        let id = |body: &Body| match body {
            Body::New(id, member) | Body::Started(id, Some(member), _) => which(member.life).then_some(*id),
            Body::Started(id, None, _) => Some(*id),
            Body::Ended => None,
        };
        self.bodies.borrow().iter().skip(1).filter_map(id).collect()
    }

    /// The address of an object that a tasklet that has not ended keeps: its own, where it has one.
    pub(super) fn address(&self, id: TaskletId) -> Option<u64> {
        let address = |object: &Py<PyAny>| object.as_ptr() as u64;
        match &self.bodies.borrow()[id.index()] {
            Body::New(_, member) | Body::Started(_, Some(member), _) => Some(address(&member.object)),
            Body::Started(_, None, greenlet) => Some(address(greenlet)),
            Body::Ended => None,
        }
    }

    /// Whether the object at an address is a tasklet of this thread that has not ended.
    pub(super) fn has(&self, address: u64) -> bool {
        self.bodies.borrow().iter().filter_map(Body::member).any(|member| member.object.as_ptr() as u64 == address)
    }

    /// Each tasklet's greenlet, by index.
    pub(super) fn all(&self, py: Python<'_>) -> Vec<Option<Py<PyAny>>> {
        let bodies = self.bodies.borrow();
        let greenlet = |body: &Body| match body {
            Body::Started(.., greenlet) => Some(greenlet.clone_ref(py)),
            Body::New(..) | Body::Ended => None,
        };
        bodies.iter().map(greenlet).collect()
    }

    /// Those that have started and have not ended, each with its greenlet.
    pub(super) fn started(&self, py: Python<'_>) -> Vec<(TaskletId, Py<PyAny>)> {
        let started = |body: &Body| match body {
            Body::Started(id, _, greenlet) => Some((*id, greenlet.clone_ref(py))),
            Body::New(..) | Body::Ended => None,
        };
        self.bodies.borrow().iter().filter_map(started).collect()
    }

    /// Whether a tasklet waits until nobody is left to run.
    pub(super) fn is_in_run(&self, id: TaskletId) -> bool {
        self.runs.borrow().iter().any(|run| run.by == id)
    }

    /// The object of a tasklet, where it has one and has not ended.
    pub(super) fn object(&self, py: Python<'_>, id: TaskletId) -> Option<Py<PyAny>> {
        match self.bodies.borrow().get(id.index()) {
            Some(Body::New(is, member) | Body::Started(is, Some(member), _)) if *is == id => {
                Some(member.object.clone_ref(py))
            }
            _ => None,
        }
    }

    /// A tasklet's greenlet, where it has started.
    pub(super) fn greenlet(&self, py: Python<'_>, id: TaskletId) -> Option<Py<PyAny>> {
        match self.bodies.borrow().get(id.index()) {
            Some(Body::Started(is, _, greenlet)) if *is == id => Some(greenlet.clone_ref(py)),
            _ => None,
        }
    }

    /// Whether a tasklet has not started.
    pub(super) fn is_new(&self, id: TaskletId) -> bool {
        matches!(self.bodies.borrow()[id.index()], Body::New(..))
    }

    /// Notes that the new tasklet `id` runs on the worker `me` from now on.
    #[inline(never)]
    pub(super) fn begin(&self, py: Python<'_>, id: TaskletId, me: &Py<PyAny>) {
        let body = &mut self.bodies.borrow_mut()[id.index()];
        let Body::New(_, member) = std::mem::replace(body, Body::Ended) else {
            unreachable!("a worker is given new tasklets")
        };
        *body = Body::Started(id, Some(member), me.clone_ref(py));
    }

    /// Takes the object of a tasklet that has started, to be dropped while it still lives.
    pub(super) fn take_object(&self, id: TaskletId) -> Option<Member> {
        match &mut self.bodies.borrow_mut()[id.index()] {
            Body::Started(_, member, _) => member.take(),
            Body::New(..) | Body::Ended => None,
        }
    }

    /// Notes that a tasklet has ended; its greenlet, which runs, is kept by whoever runs there.
    pub(super) fn end(&self, id: TaskletId) {
        let ended = std::mem::replace(&mut self.bodies.borrow_mut()[id.index()], Body::Ended);
        debug_assert!(matches!(ended, Body::Started(_, None, _)), "its object was given up before");
    }

    /// The exception by which a tasklet was cancelled, where it still has it.
    pub(super) fn exit<'py>(&self, py: Python<'py>, id: TaskletId) -> Option<Bound<'py, PyAny>> {
        self.exits.borrow().get(&id)?.bind(py).upgrade()
    }

    /// Keeps the exception by which a tasklet is cancelled; returns what was kept before, to be dropped.
    pub(super) fn keep_exit(&self, id: TaskletId, exit: Py<PyWeakrefReference>) -> Option<Py<PyWeakrefReference>> {
        self.exits.borrow_mut().insert(id, exit)
    }

    /// Takes that of a tasklet that ends.
    pub(super) fn take_exit(&self, id: TaskletId) -> Option<Py<PyWeakrefReference>> {
        let mut exits = self.exits.borrow_mut();
        // Most were not, and a hash takes longer than all else here.
        if exits.is_empty() { None } else { exits.remove(&id) }
    }

    /// What to switch to for `id` to run.
    #[inline(never)]
    pub(super) fn target(&self, py: Python<'_>, id: TaskletId) -> Target {
        match &self.bodies.borrow()[id.index()] {
            Body::Started(.., greenlet) => Target::Greenlet(greenlet.clone_ref(py)),
            Body::New(..) => match self.idle.borrow_mut().pop() {
                Some(worker) => Target::Greenlet(worker),
                None => {
                    self.hand_over(id);
                    Target::Starter(
                        self.starter.borrow().as_ref().expect("nobody starts when all have ended").clone_ref(py),
                    )
                }
            },
            Body::Ended => unreachable!("an ended tasklet is not ready"),
        }
    }

    /// Has the starter run a tasklet, when it is switched to.
    pub(super) fn hand_over(&self, id: TaskletId) {
        self.handed_over.set(Some(id));
    }

    /// The tasklet that the starter is to run.
    pub(super) fn handed_over(&self) -> TaskletId {
        self.handed_over.take().expect("the starter is switched to with a tasklet to run")
    }

    /// What a worker's greenlet runs.
    pub(super) fn worker<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.worker.bind(py)
    }

    /// Keeps a worker without a tasklet for the next one; false where there are enough.
    pub(super) fn keep_idle(&self, py: Python<'_>, worker: &Py<PyAny>) -> bool {
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= IDLE_WORKERS {
            return false;
        }
        idle.push(worker.clone_ref(py));
        true
    }

    /// The thread ends: whoever is switched to from now on is to end too. The starter, which is to be first.
    pub(super) fn begin_to_end(&self) -> Option<Py<PyAny>> {
        self.ending.set(true);
        self.starter.take()
    }

    /// Whether the thread ends.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.get()
    }

    /// The workers without a tasklet.
    pub(super) fn take_idle(&self) -> Vec<Py<PyAny>> {
        self.idle.take()
    }
}

/// Idle workers kept for reuse. Each holds some ten kilobytes.
const IDLE_WORKERS: usize = 256;
