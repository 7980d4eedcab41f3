//! Keeps one worker's place filled: starts the process, talks to it, takes back what it leaves, starts the next.
//!
//! Three tasklets for each worker: the *keeper* reads what it says, a *writer* sends what is assigned to it, and a
//! *watcher* waits for its process's end. The process may end with its end of the channel still open elsewhere (in a
//! child of its own); the watcher cuts the channel then, and the keeper reads what is left and its end.

use std::cell::RefCell;
use std::fmt::Display;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::receiver::{Arrived, Receiver, breach};
use super::shared::{Process, Shared};
use super::wire::{self, Message, VARIABLE, VERSIONS};
use crate::process::{Child, Command};
use crate::sync::Event;
use crate::tasklet::{Builder, JoinHandle};
use crate::time::{timeout, uncancellable};
use crate::workers::delay::Delay;
use crate::workers::sys::{self, Stream};

/// A worker that says no hello for so long is ended: it hangs, or is no worker.
const TIME_FOR_HELLO: Duration = Duration::from_secs(60);

/// A worker's process, and the server's end of its channel.
pub(super) struct Started {
    stream: Rc<Stream>,
    id: u32,
    watcher: Watcher,
}

impl Started {
    pub(super) fn start(command: Command) -> io::Result<Started> {
        let (child, stream) = sys::start(command, VARIABLE)?;
        let stream = Rc::new(stream);
        Ok(Started { id: child.id(), watcher: Watcher::over(child, Rc::clone(&stream))?, stream })
    }

    pub(super) fn process(&self) -> Process {
        Process { id: self.id, ended: self.watcher.ended.clone() }
    }
}

/// Fills a place, until it is cancelled or all is done.
pub(super) fn keep(shared: &Rc<Shared>, place: usize, mut start: impl FnMut() -> Command, first: Started) {
    let mut delay = Delay::default();
    let mut next = Ok(first);
    loop {
        let had = shared.taken(place);
        let end = match next {
            Ok(worker) => serve(shared, place, &worker),
            Err(error) => format!("it does not start: {}", crate::attempted(&error)),
        };
        shared.ended(place, end);
        if shared.is_done() {
            return;
        }
        // Nothing is lost where this is left: there is no worker.
        let _ = shared.done.wait_timeout(delay.after(shared.taken(place) > had));
        if shared.is_done() {
            return;
        }
        next = Started::start(start());
        if let Ok(worker) = &next {
            shared.started(place, worker.process());
        }
    }
}

/// Serves one worker until it has ended, and says how.
fn serve(shared: &Rc<Shared>, place: usize, worker: &Started) -> String {
    if let Err(error) = converse(shared, place, &worker.stream) {
        // It has broken the rules, or the server ends. What it has not confirmed is given to others once it is dead.
        worker.watcher.kill();
        return format!("ended by the server: {error}");
    }
    // It says nothing more, and so has not confirmed what it did not: others may have it, while it ends in its own
    // time.
    shared.take_back(place);
    match worker.watcher.wait() {
        Ok(how) => how,
        Err(error) => {
            worker.watcher.kill();
            error.to_string()
        }
    }
}

/// Gives a worker sockets, and hears what becomes of them, until the end of what it says.
fn converse(shared: &Rc<Shared>, place: usize, stream: &Rc<Stream>) -> io::Result<()> {
    let mut receiver = Receiver::of_server();
    match timeout(TIME_FOR_HELLO, || greet(&mut receiver, stream)) {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => return Ok(()),
        Ok(Err(error)) => return Err(error),
        Err(elapsed) => return Err(io::Error::new(io::ErrorKind::TimedOut, format!("no hello: {elapsed}"))),
    }
    let _writer = Writer::start(shared, place, stream)?;
    shared.ready(place);
    while let Some(arrived) = receiver.receive(stream)? {
        match arrived {
            Arrived::Message(Message::Taken { number }) => shared.confirmed(place, number)?,
            Arrived::Message(Message::Back { number }) => shared.back(place, number)?,
            Arrived::Message(message) => return Err(breach(format!("{} came from a worker", message.name()))),
            Arrived::Given { .. } => return Err(breach("give came from a worker".to_owned())),
        }
    }
    Ok(())
}

/// Agrees with a worker on a version; false where it has ended instead.
fn greet(receiver: &mut Receiver, stream: &Stream) -> io::Result<bool> {
    let (lowest, highest, process) = match receiver.receive(stream)? {
        None => return Ok(false),
        Some(Arrived::Message(Message::Hello { lowest, highest, process })) => (lowest, highest, process),
        Some(_) => return Err(breach("the first message is no hello".to_owned())),
    };
    let version = highest.min(VERSIONS.1);
    if version < lowest.max(VERSIONS.0) {
        let why = format!("it speaks versions {lowest} to {highest}, the server {} to {}", VERSIONS.0, VERSIONS.1);
        sys::send(stream, &Message::Refused { why: why.clone() }.to_bytes()?, None)?;
        return Err(io::Error::new(io::ErrorKind::Unsupported, why));
    }
    sys::is_process(stream, process);
    // One that has ended is found out when it is listened to.
    let _ = sys::send(stream, &Message::Welcome { version }.to_bytes()?, None);
    Ok(true)
}

/// A tasklet that sends a worker what is assigned to it; it ends when this is dropped.
struct Writer(Option<JoinHandle<()>>);

impl Writer {
    fn start(shared: &Rc<Shared>, place: usize, stream: &Rc<Stream>) -> io::Result<Writer> {
        let (shared, stream) = (Rc::clone(shared), Rc::clone(stream));
        let name = format!("hand-off to worker {place}");
        Builder::new().name(name).spawn(move || write(&shared, place, &stream)).map(|writer| Writer(Some(writer)))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let writer = self.0.take().expect("it is dropped once");
        writer.cancel();
        // It has ended before the next worker has one, whose sockets it would take.
        let _ = uncancellable(|| writer.join());
    }
}

fn write(shared: &Shared, place: usize, stream: &Stream) {
    let assigned = shared.assigned(place);
    loop {
        assigned.clear();
        while let Some((number, gift)) = shared.next_for(place) {
            let socket = sys::borrow(&gift.socket);
            let told = sys::tell(stream, socket);
            let Ok(bytes) = wire::give(number, &told, &gift.context) else {
                unreachable!("its length was looked at before")
            };
            if sys::send(stream, &bytes, Some(socket)).is_err() {
                // It has ended, or this is to: the keeper takes back what it has, this one too.
                return;
            }
        }
        if shared.is_done() {
            return finish(stream);
        }
        assigned.wait();
    }
}

/// Tells a worker that nothing more comes.
fn finish(stream: &Stream) {
    if !sys::end(stream) {
        let Ok(bytes) = Message::End.to_bytes() else { unreachable!("it is short") };
        // One whose other side is gone has ended anyway.
        let _ = sys::send(stream, &bytes, None);
    }
}

/// A tasklet that waits for a process's end. Dropped, it ends the process.
struct Watcher {
    tasklet: JoinHandle<()>,
    ended: Event,
    how: Rc<RefCell<String>>,
}

impl Watcher {
    fn over(mut child: Child, stream: Rc<Stream>) -> io::Result<Watcher> {
        let (ended, how) = (Event::new(), Rc::new(RefCell::new(String::from("ended by the server"))));
        let theirs = (SetWhenDropped(ended.clone()), Rc::clone(&how));
        let tasklet = Builder::new().name(format!("watch worker process {}", child.id())).spawn(move || {
            let (_ended, how) = &theirs;
            match child.wait() {
                Err(error) if crate::is_cancelled(&error) => {
                    let _ = child.kill();
                    let _ = uncancellable(|| child.wait());
                }
                result => *how.borrow_mut() = told(result),
            }
            sys::cut(&stream);
        })?;
        Ok(Watcher { tasklet, ended, how })
    }

    /// Waits until the process has ended, and says how.
    fn wait(&self) -> io::Result<String> {
        self.ended.wait_until(None)?;
        Ok(self.how.borrow().clone())
    }

    /// Ends the process, and waits until it has.
    fn kill(&self) {
        self.tasklet.cancel();
        uncancellable(|| self.ended.wait());
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.tasklet.cancel();
    }
}

/// So that nobody waits for a tasklet that never began.
struct SetWhenDropped(Event);

impl Drop for SetWhenDropped {
    fn drop(&mut self) {
        self.0.set();
    }
}

fn told(result: io::Result<impl Display>) -> String {
    result.map_or_else(|error| error.to_string(), |status| status.to_string())
}
