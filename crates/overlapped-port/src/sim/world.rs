//! The world of a thread: who is in one, and what it is asked.

use std::cell::RefCell;
use std::io;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::chance::{Chance, Decisions, Origin};
use super::clock::{self, is_simulated};
use super::kernel::{Advanced, Happening, Id, Kernel};
use super::rules::{Link, Rules};
use super::stand_in::{self, is_stand_in};
use crate::host::Host;

thread_local! {
    static HERE: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// The world of a thread.
#[derive(Clone)]
pub(crate) struct World {
    kernel: Rc<RefCell<Kernel>>,
    began: Instant,
}

/// Until it is dropped, this thread is in a simulated world: a port that is made here on the backend
/// [`Kind::Sim`](crate::Kind::Sim) is that world's.
pub struct Entered(PhantomData<*const ()>);

/// Begins a simulated world on this thread.
///
/// # Errors
/// Where the thread is in one already.
pub fn enter(origin: impl Into<Origin>, rules: Rules) -> io::Result<Entered> {
    if is_simulated() {
        return Err(io::Error::other("this thread is in a simulated world already: they are not nested"));
    }
    let kernel = Kernel::new(&origin.into(), rules);
    let world = World { kernel: Rc::new(RefCell::new(kernel)), began: Instant::now() };
    clock::set(Some(world.began));
    HERE.replace(Some(world));
    Ok(Entered(PhantomData))
}

impl Entered {
    /// What everything that has happened comes to: two runs in which the same happened have the same.
    pub fn hash(&self) -> u64 {
        here(|kernel| kernel.chance.hash())
    }

    /// The decisions that were taken, which replay the run.
    pub fn decisions(&self) -> Decisions {
        here(|kernel| kernel.chance.decisions())
    }

    /// Whether the decisions are kept that are taken from now on: they are until this says no, which costs less.
    pub fn keep_decisions(&self, keeps: bool) {
        here(|kernel| kernel.chance.keep(keeps));
    }

    /// Has it be known from now on how else each decision could have gone.
    pub fn keep_bounds(&self) {
        here(|kernel| kernel.chance.keep_bounds());
    }

    /// The ways that differ from the one that the run has gone in the decision in which they end, which is one past the first
    /// `given`. What a program draws goes no other way.
    pub fn other_ways(&self, given: usize) -> Vec<Decisions> {
        let (Decisions(taken), bounds) = here(|kernel| (kernel.chance.decisions(), kernel.chance.bounds()));
        let ends =
            (given..taken.len().min(bounds.len())).flat_map(|place| (1..bounds[place]).map(move |end| (place, end)));
        ends.map(|(place, end)| Decisions([&taken[..place], &[end]].concat())).collect()
    }

    /// Begins anew, at the time at which it began, with nobody in it: sockets that are still there mean nothing any more. No
    /// operation is in flight.
    pub fn begin_anew(&self, origin: impl Into<Origin>) {
        let origin = origin.into();
        with(|world| {
            world.kernel.borrow_mut().begin_anew(&origin);
            clock::set(Some(world.began));
        });
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        clock::set(None);
        drop(HERE.take());
        stand_in::forget_all();
    }
}

fn with<R>(ask: impl FnOnce(&World) -> R) -> R {
    HERE.with_borrow(|here| ask(here.as_ref().expect("the thread is in a simulated world")))
}

pub(super) fn here<R>(ask: impl FnOnce(&mut Kernel) -> R) -> R {
    with(|world| ask(&mut world.kernel.borrow_mut()))
}

/// Asks of a descriptor that is a socket of this thread's world; `None` where it is none.
#[inline]
pub(crate) fn on<R>(fd: RawFd, ask: impl FnOnce(&mut Kernel, Id) -> R) -> Option<R> {
    if !is_simulated() {
        return None;
    }
    here(|kernel| kernel.socket_of(fd).map(|id| ask(kernel, id)))
}

/// A number is closed, or means something that is not of the world.
#[inline]
pub(crate) fn forget(fd: RawFd) {
    if is_simulated() {
        here(|kernel| kernel.close(fd));
    }
}

/// A number that came from elsewhere: where it is no socket of the world, it means none any more.
pub(crate) fn look_again(fd: RawFd) {
    if is_simulated() && !is_stand_in(fd) {
        forget(fd);
    }
}

/// What lies between two addresses from now on, each way; [`Link::default`] is what lies between all others.
///
/// # Panics
/// Outside of a simulated world.
pub fn set_link(from: IpAddr, to: IpAddr, link: Link) {
    here(|kernel| kernel.links.set(from, to, link));
}

/// All links are as they were at the beginning.
///
/// # Panics
/// Outside of a simulated world.
pub fn heal_links() {
    here(|kernel| kernel.links.heal());
}

/// How much time has passed since the world began.
///
/// # Panics
/// Outside of a simulated world.
pub fn elapsed() -> Duration {
    here(|kernel| Duration::from_nanos(kernel.now))
}

/// The rules from now on.
///
/// # Panics
/// Outside of a simulated world.
pub fn set_rules(rules: Rules) {
    here(|kernel| kernel.rules = rules);
}

/// A number below `bound`, of the world's own: what a program draws from it, its seed repeats.
///
/// # Panics
/// Outside of a simulated world.
pub fn random(bound: usize) -> usize {
    here(|kernel| kernel.chance.draw(bound))
}

/// Takes note of something that the program did: it goes into the hash.
pub fn note(seen: u64) {
    here(|kernel| kernel.chance.note(seen));
}

/// Gives addresses to a name.
///
/// # Panics
/// Outside of a simulated world.
pub fn set_name(name: &str, addresses: Vec<IpAddr>) {
    here(|kernel| kernel.names.insert(name.to_owned(), addresses));
}

/// The addresses of a name of the world, an error where it has none, or now and then, where the rules say so; and how long it
/// takes to ask for them. `None` outside of a world.
pub fn look_up(name: &str) -> Option<(Duration, io::Result<Vec<IpAddr>>)> {
    is_simulated().then(|| here(|kernel| (kernel.time_of_look_up(), kernel.look_up(name))))
}

/// Time passes, and nobody does anything meanwhile: as where a program computes for long, or the machine sleeps.
///
/// # Panics
/// Outside of a simulated world.
pub fn stall(time: Duration) {
    with(|world| {
        let mut kernel = world.kernel.borrow_mut();
        kernel.now = kernel.after(time);
        clock::set(Some(world.began + Duration::from_nanos(kernel.now)));
    });
}

/// Has another thread run `call` to its end when so much time has passed; this one waits meanwhile. Its error is the port's.
///
/// # Panics
/// Outside of a simulated world.
pub fn on_other_thread(after: Duration, call: impl FnOnce() -> io::Result<()> + Send + 'static) {
    let call = Box::new(|| call().map(|()| 0));
    here(|kernel| kernel.agenda.add(kernel.after(after), Happening::Elsewhere(call)));
}

impl World {
    /// The one of this thread.
    pub(crate) fn here() -> Option<World> {
        if is_simulated() { Some(with(World::clone)) } else { None }
    }

    pub(crate) fn chance(&self) -> Rc<Chance> {
        Rc::clone(&self.kernel.borrow().chance)
    }

    pub(crate) fn host(&self) -> Arc<dyn Host> {
        Arc::new(Simulated)
    }

    /// What the disk fails with now, if it does: broken, or also full.
    pub(crate) fn disk_error(&self, may_be_full: bool) -> Option<io::Error> {
        let kernel = self.kernel.borrow();
        if !kernel.chance.once_in(kernel.rules.no_disk) {
            return None;
        }
        let is_full = may_be_full && kernel.chance.below(2) == 0;
        Some(io::Error::from_raw_os_error(if is_full { libc::ENOSPC } else { libc::EIO }))
    }

    /// Whether the next transfer of a file is cut short.
    pub(crate) fn cuts_files(&self) -> bool {
        let kernel = self.kernel.borrow();
        kernel.chance.once_in(kernel.rules.short_files)
    }

    /// Its sockets.
    pub(crate) fn kernel(&self) -> std::cell::RefMut<'_, Kernel> {
        self.kernel.borrow_mut()
    }

    /// Lets time pass, no more than `timeout` (`None`: without end), until something that is watched for is there, or `has_rung`
    /// says that another thread has rung.
    pub(crate) fn advance(&self, timeout: Option<Duration>, has_rung: impl Fn() -> bool) -> Advanced {
        let mut kernel = self.kernel.borrow_mut();
        let until = timeout.map(|time| kernel.after(time));
        let advanced = kernel.advance(until, has_rung);
        clock::set(Some(self.began + Duration::from_nanos(kernel.now)));
        advanced
    }
}

/// The machine of a world: its time is the world's, and it has one thread.
struct Simulated;

impl Host for Simulated {
    fn now(&self) -> Instant {
        clock::now()
    }

    fn start_thread(&self, _: Option<usize>, _: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "a simulated world has one thread"))
    }
}
