//! What a server's owner calls.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::keeper::{keep, turn};
use super::member::Member;
use super::service::Service;
use super::shared::{Commands, Limits, Place, Shared};
use super::sys::ready_to_share;
use overlapped_port::sim::now;

use crate::process::Command;
use crate::sync::{Permit, Semaphore};
#[cfg(all(doc, unix))]
use crate::systemd;
use crate::tasklet::JoinHandle;
use crate::time::deadline_after;
use crate::workers::sys::OwnedSocket;

/// How a [`Supervisor`] is to be.
#[derive(Debug)]
#[must_use = "nothing begins before it is started"]
pub struct Builder {
    workers: usize,
    listeners: Vec<(String, OwnedSocket)>,
    limits: Limits,
    tell_systemd: bool,
}

impl Builder {
    /// A server with so many workers.
    pub fn new(workers: usize) -> Builder {
        let limit = Duration::from_secs(30);
        let limits = Limits { ready: limit, drain: limit, hang: None };
        Builder { workers, listeners: Vec::new(), limits, tell_systemd: false }
    }

    /// Adds a listener, TCP or Unix, from which all workers accept, and the name under which they know it. The supervisor
    /// keeps it open, so that whoever connects while no worker is there waits in its line. It is non-blocking from
    /// [`Builder::start`] on (`O_NONBLOCK`, fcntl(2)), in whatever other handles it has as well.
    pub fn listen(mut self, name: impl Into<String>, listener: impl Into<OwnedSocket>) -> Builder {
        self.listeners.push((name.into(), listener.into()));
        self
    }

    /// Adds listeners with their names: those of [`systemd::listeners`].
    #[cfg_attr(
        not(unix),
        doc = "",
        doc = "[`systemd::listeners`]: https://docs.rs/overlapped/latest/overlapped/systemd/fn.listeners.html"
    )]
    pub fn listen_all(mut self, listeners: impl IntoIterator<Item = (String, OwnedSocket)>) -> Builder {
        self.listeners.extend(listeners);
        self
    }

    /// Whether systemd is told how the server is, see [`systemd`]; not unless told. It is *ready* when all workers are;
    /// *reloading* from the beginning to the end of [`Supervisor::restart`] and [`Supervisor::upgrade`], whether that
    /// succeeds or not; *stopping* from the beginning of [`Supervisor::stop`], or when the supervisor is dropped. Where it
    /// wants to hear from a watchdog, it does, twice in each interval, as long as this thread runs its tasklets. That it
    /// could not be told is an error of [`Builder::start`] alone: a server that serves does not end for that.
    #[cfg_attr(not(unix), doc = "", doc = "[`systemd`]: https://docs.rs/overlapped/latest/overlapped/systemd/")]
    pub fn tell_systemd(mut self, tell: bool) -> Builder {
        self.tell_systemd = tell;
        self
    }

    /// How long a worker may take until it is ready: 30 seconds unless told.
    pub fn ready_limit(mut self, limit: Duration) -> Builder {
        self.limits.ready = limit;
        self
    }

    /// How long a worker that is replaced may take until it has ended what it began: 30 seconds unless told. Then its
    /// process is ended.
    pub fn drain_limit(mut self, limit: Duration) -> Builder {
        self.limits.drain = limit;
        self
    }

    /// How long a worker may take to answer that it is alive, as it does whenever its tasklets run: no limit unless told.
    /// One that takes longer hangs: its process is ended, and replaced. The connections that it had are closed with it;
    /// those that it was given and had not taken over go to the next. It is asked again half of that time after each
    /// answer, from when it is ready.
    pub fn hang_limit(mut self, limit: Duration) -> Builder {
        self.limits.hang = Some(limit);
        self
    }

    /// Starts the workers, each by the command that `command` makes for its place, from 0 on, and waits until all are
    /// ready; it is called again when one is to be replaced. Their standard input is the channel; what else a command sets
    /// stays.
    ///
    /// # Errors
    /// Where a worker cannot be started ([`Command::spawn`]), ends before it is ready, or is not ready in time: then none
    /// runs. `InvalidInput` without a worker or a listener.
    pub fn start(self, command: impl FnMut(usize) -> Command + 'static) -> io::Result<Supervisor> {
        if self.workers == 0 || self.listeners.is_empty() || self.listeners.len() > usize::from(u16::MAX) {
            let message = "prefork: at least one worker, and one listener";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        for (_, listener) in &self.listeners {
            // Before the first worker has it: see the module's documentation.
            ready_to_share(listener)?;
        }
        let service = Service::new(self.tell_systemd)?;
        let shared = Rc::new(Shared::new(self.listeners, Box::new(command), self.limits));
        let supervisor = Supervisor { shared, restarts: Semaphore::new(1), service };
        let shared = &supervisor.shared;
        for place in 0..self.workers {
            shared.add_place(shared.launch(place, shared.command(place))?);
        }
        let limit = deadline_after(self.limits.ready);
        for place in shared.places() {
            place.member().await_ready(limit.saturating_duration_since(now()))?;
        }
        shared.places().iter().try_for_each(|place| keep(shared, place))?;
        supervisor.service.begins()?;
        Ok(supervisor)
    }
}

/// Workers that accept from the same listeners, and are replaced. Dropped, it ends them at once; [`Supervisor::stop`] does
/// in order.
#[derive(Debug)]
pub struct Supervisor {
    pub(super) shared: Rc<Shared>,
    /// One restart, or another number of workers, at a time.
    restarts: Semaphore,
    service: Service,
}

/// What a worker is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// Its process; none between one's end and the start of the next.
    pub process: Option<u32>,
    /// 1 for those that a supervisor began with; each restart begins another.
    pub generation: u64,
    /// Whether it serves: it has said that it is ready, and has not ended.
    pub is_ready: bool,
    /// How many connections of others it was given and has not taken over yet.
    pub unconfirmed: usize,
    /// How many processes have ended in this place.
    pub ended: u64,
    /// How many have failed, one after the other, since one was of use: each makes the delay before the next longer. One that
    /// cannot be started fails as well.
    pub failures: u32,
    /// How the last of those ended.
    pub last_end: Option<String>,
}

/// Connections that went from one worker to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Moves {
    /// How many were taken over.
    pub taken: u64,
    /// How many are given and not taken over yet.
    pub on_the_way: usize,
    /// How many were closed because nobody took them: the server stopped, or eight workers died of one.
    pub lost: u64,
}

impl Supervisor {
    /// The workers, by place.
    pub fn workers(&self) -> Vec<WorkerStatus> {
        let places = self.shared.places().into_iter().map(|place| {
            let member = place.member();
            WorkerStatus {
                process: (!member.exited.is_set()).then_some(member.process),
                generation: member.generation,
                is_ready: member.ready.is_set() && !member.exited.is_set(),
                unconfirmed: self.shared.unconfirmed(&member),
                ended: place.ended.get(),
                failures: place.delay.borrow().failures(),
                last_end: place.last_end.borrow().clone(),
            }
        });
        places.collect()
    }

    /// What has become of connections that workers gave away.
    pub fn moves(&self) -> Moves {
        let shared = &self.shared;
        Moves { taken: shared.moved.get(), on_the_way: shared.on_the_way(), lost: shared.lost.get() }
    }

    /// Replaces all workers, one after the other: the new one starts, says that it is ready, and only then the old one
    /// drains; when that has ended, or was ended after [`Builder::drain_limit`], the next comes.
    ///
    /// # Errors
    /// Where a new worker does not start, ends before it is ready, or is not ready in time: the old one in its place, and
    /// those that were not replaced yet, go on. `BrokenPipe` where the server stops.
    pub fn restart(&self) -> io::Result<()> {
        let _turn = turn(&self.restarts)?;
        let _told = self.service.reloads();
        self.next_generation();
        self.shared.places().into_iter().try_for_each(|place| {
            let command = self.shared.command(place.number);
            self.make_ready(place, command).and_then(|fresh| self.swap(fresh))
        })
    }

    /// As [`Supervisor::restart`], to another program: `command` makes the commands from the first worker on that has
    /// become ready by it.
    ///
    /// # Errors
    /// As for [`Supervisor::restart`]. Where the first worker does not become ready, the commands stay as they were.
    pub fn upgrade(&self, command: impl FnMut(usize) -> Command + 'static) -> io::Result<()> {
        let _turn = turn(&self.restarts)?;
        let _told = self.service.reloads();
        self.next_generation();
        let mut commands: Option<Commands> = Some(Box::new(command));
        for place in self.shared.places() {
            let command = match &mut commands {
                Some(commands) => commands(place.number),
                None => self.shared.command(place.number),
            };
            let fresh = self.make_ready(place, command)?;
            if let Some(commands) = commands.take() {
                *self.shared.commands.borrow_mut() = commands;
            }
            self.swap(fresh)?;
        }
        Ok(())
    }

    fn next_generation(&self) {
        self.shared.generation.set(self.shared.generation.get() + 1);
    }

    /// Starts a worker beside the one in a place, and waits until it is ready.
    fn make_ready(&self, place: Rc<Place>, command: Command) -> io::Result<Fresh> {
        let turn = turn(&place.turn)?;
        let member = self.launch(place.number, command)?;
        Ok(Fresh { member, place, _turn: turn })
    }

    /// Starts a worker for a place, in which it is not yet, and waits until it is ready.
    fn launch(&self, place: usize, command: Command) -> io::Result<Rc<Member>> {
        if self.shared.stopping.is_set() {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the server stops"));
        }
        let member = self.shared.launch(place, command)?;
        member.await_ready(self.shared.limits.ready)?;
        Ok(member)
    }

    /// Puts a worker in its place, and has the one before drain.
    fn swap(&self, fresh: Fresh) -> io::Result<()> {
        let before = fresh.place.put(Rc::clone(&fresh.member));
        drop(fresh);
        before.drain(&self.shared, true, self.shared.limits.drain).map(drop)
    }

    /// Goes over to another number of workers: starts those that are missing, one after the other, each ready before the
    /// next; or has those in the last places drain, whose connections go to the others. It waits for a restart that is
    /// under way.
    ///
    /// # Errors
    /// `InvalidInput` for none. As for [`Supervisor::restart`] where a new one does not become ready: those before it
    /// serve.
    pub fn resize(&self, workers: usize) -> io::Result<()> {
        self.resize_by(|_| workers)
    }

    /// As [`Supervisor::resize`], to what `workers` makes of the number when it is its turn.
    pub(super) fn resize_by(&self, workers: impl FnOnce(usize) -> usize) -> io::Result<()> {
        let _turn = turn(&self.restarts)?;
        let workers = workers(self.shared.places().len());
        if workers == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "prefork: at least one worker"));
        }
        while let Some(place) = self.shared.places().get(workers..).and_then(<[_]>::last) {
            // Whoever fills it has done so, or has not begun.
            let _turn = turn(&place.turn)?;
            place.give_up();
            self.shared.remove_place();
            place.member().drain(&self.shared, true, self.shared.limits.drain)?;
        }
        for place in self.shared.places().len()..workers {
            let member = self.launch(place, self.shared.command(place))?;
            keep(&self.shared, &self.shared.add_place(member))?;
        }
        Ok(())
    }

    /// Ends in order: workers accept nothing more, end the requests that are begun, and themselves. Whoever has not ended
    /// after `limit` is ended. The listeners are closed here; a line of theirs that waits is not answered.
    ///
    /// # Errors
    /// `TimedOut` where workers had to be ended; where the tasklet is told to leave, with the same consequences.
    pub fn stop(&self, limit: Duration) -> io::Result<()> {
        let deadline = deadline_after(limit);
        self.shared.stopping.set();
        self.service.stops();
        let drains = self.shared.alive().into_iter().map(|member| {
            let shared = Rc::clone(&self.shared);
            let left = deadline.saturating_duration_since(now());
            Drains(Some(crate::spawn(move || member.drain(&shared, false, left))))
        });
        let drains: Vec<_> = drains.collect();
        let mut late = 0;
        for drain in drains {
            late += usize::from(!drain.join()?);
        }
        self.shared.lose_all();
        if late == 0 {
            return Ok(());
        }
        let message = format!("prefork: {late} workers had not ended after {limit:?}: ended now");
        Err(io::Error::new(io::ErrorKind::TimedOut, message))
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.shared.stopping.set();
        self.shared.places().iter().for_each(|place| place.give_up());
        self.shared.end_all();
        self.shared.lose_all();
        self.service.stops();
    }
}

/// A worker that is ready, and whose place nobody else fills.
struct Fresh {
    member: Rc<Member>,
    place: Rc<Place>,
    _turn: Permit,
}

/// A tasklet that has a worker drain; left early, it ends the worker.
struct Drains(Option<JoinHandle<io::Result<bool>>>);

impl Drains {
    fn join(mut self) -> io::Result<bool> {
        let handle = self.0.take().expect("it is joined once");
        handle.join()?
    }
}

impl Drop for Drains {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            handle.cancel();
        }
    }
}
