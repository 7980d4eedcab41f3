//! A stream of the system's (a socket, the ends of pipes) that tells a protocol.
//!
//! Nothing here waits: each operation in flight owns its buffer and calls back ([`Scheduler::launch`]). All that happens
//! ends in [`Stream::settle`], which looks at the state and does what it asks for until there is nothing to do: tell the
//! protocol, receive, send, end. So the order of what is told follows from the state alone, and no call of a user's has to
//! think of what another has begun; and as only the loop calls it, no callback is inside of another.
//!
//! **Receiving.** A socket has one receive in flight for many results, in buffers of the port's: an idle connection holds
//! no memory. A pause cancels it, and what it brought until then is kept here, so that nothing is lost. A pipe has one read
//! after the other.
//!
//! **Sending.** One send in flight; what is written meanwhile goes in one piece after it. (Rejected: one send for each
//! write: many small writes in one callback would cost an operation each.)

mod carrier;
mod end;
mod state;

use std::cell::{Cell, RefCell};
use std::io;
use std::mem;
use std::net::Shutdown;
use std::rc::{Rc, Weak};

use overlapped_port::sys::{CANCELLED, raw_socket};
use overlapped_port::{Op, Outcome};

pub(super) use self::end::End;
use self::end::{Sending, read_pipe, write_end};
pub(super) use self::state::Begun;
use self::state::{Came, InFlight, Next, State};
use super::guard::guarded_for;
use super::protocol::{Told, put_back};
use super::settle::{Settles, settle_soon};
use super::transport::Carrier;
use super::{AtEnd, Protocol, Transport};
use crate::scheduler::{Keeping, Kept, Scheduler};

/// How much a pipe is asked for at once, and how much room for sending is kept between two writes.
const PIECE: usize = 64 << 10;

/// The stream.
pub(super) struct Stream {
    me: Weak<Stream>,
    scheduler: Weak<Scheduler>,
    keeping: Cell<Option<Keeping>>,
    state: RefCell<State>,
    protocol: Told,
    /// [`Stream::settle`] runs, or is sure to.
    settles: Cell<bool>,
}

impl Stream {
    /// A stream that is to be opened, and kept until it has ended.
    pub(super) fn new(scheduler: &Rc<Scheduler>, protocol: Box<dyn Protocol>) -> Rc<Stream> {
        let stream = Rc::new_cyclic(|me| Stream {
            me: Weak::clone(me),
            scheduler: Rc::downgrade(scheduler),
            keeping: Cell::new(None),
            state: RefCell::new(State::new()),
            protocol: RefCell::new(Some(protocol)),
            settles: Cell::new(false),
        });
        let kept: Rc<Stream> = Rc::clone(&stream);
        stream.keeping.set(Some(scheduler.keep(kept)));
        stream
    }

    pub(super) fn transport(self: &Rc<Self>) -> Transport {
        let carrier: Rc<Stream> = Rc::clone(self);
        Transport::of(carrier)
    }

    /// Says where bytes come from and go to. Settle it then.
    pub(super) fn open(&self, source: Option<Rc<End>>, sink: Option<Rc<End>>) {
        let mut state = self.state.borrow_mut();
        state.input_over = source.is_none();
        state.output_over = sink.is_none();
        (state.source, state.sink) = (source, sink);
    }

    /// Something is in flight to make the connection, until [`Stream::connected`].
    pub(super) fn connects(&self, begun: Begun) {
        self.state.borrow_mut().connecting = Some(InFlight::new(begun));
    }

    /// It has ended. Says whether the connection is still wanted.
    pub(super) fn connected(&self) -> bool {
        let mut state = self.state.borrow_mut();
        state.connecting = None;
        state.leaving.is_none()
    }

    /// Ends it: in order, once all is sent; with an error, at once. Settle it then.
    pub(super) fn leave(&self, reason: io::Result<()>) {
        let mut state = self.state.borrow_mut();
        if state.finished || matches!(state.leaving, Some(Err(_))) || state.leaving.is_some() && reason.is_ok() {
            return;
        }
        state.leaving = Some(reason);
    }

    /// Settles it on the loop's next turn, unless that is sure to happen before.
    pub(super) fn settle_soon(&self) {
        settle_soon(&self.me, &self.scheduler);
    }

    /// Does what there is to do. Called by the loop.
    pub(super) fn settle(self: &Rc<Self>) {
        let Some(scheduler) = self.scheduler.upgrade() else { return };
        let was_sure = self.settles.replace(true);
        loop {
            let unwanted = self.state.borrow_mut().unwanted();
            unwanted.into_iter().flatten().for_each(|begun| begun.cancel(&scheduler));
            let next = self.state.borrow_mut().next();
            match next {
                Next::Made => drop(self.tell(|protocol, transport| protocol.connection_made(transport))),
                Next::Pause => drop(self.tell(|protocol, transport| protocol.pause_writing(transport))),
                Next::Resume => drop(self.tell(|protocol, transport| protocol.resume_writing(transport))),
                Next::Came(Came::Bytes(bytes)) => {
                    self.tell(|protocol, transport| protocol.data_received(transport, &bytes));
                }
                Next::Came(Came::End(end)) => self.at_end(end),
                Next::Receive(source) => self.receive(&scheduler, &source),
                Next::Send(sink, bytes) => self.send(&scheduler, &sink, bytes),
                Next::EndOutput(sink) => {
                    // A pipe's end is closed when the last one drops it, which is here. A socket that is not connected any
                    // more tells so to whoever receives.
                    if let End::Socket(socket) = &*sink {
                        let _ = overlapped_port::socket::shutdown(socket, Shutdown::Write);
                    }
                }
                Next::Finish(reason) => {
                    self.finish(&scheduler, reason);
                    break;
                }
                Next::Nothing => break,
            }
        }
        self.settles.set(was_sure);
    }

    /// Calls the protocol, unless it was told all.
    fn tell<R>(self: &Rc<Self>, call: impl FnOnce(&mut dyn Protocol, &Transport) -> R) -> Option<R> {
        let mut protocol = self.protocol.borrow_mut().take()?;
        let answer = guarded_for(|| call(&mut *protocol, &self.transport()));
        put_back(&self.protocol, protocol);
        answer.map_err(|panicked| self.leave(Err(panicked))).ok()
    }

    fn receive(self: &Rc<Self>, scheduler: &Scheduler, source: &Rc<End>) {
        let me = Rc::clone(self);
        let started = match &**source {
            End::Socket(_) => {
                let op = |end: &End| match end {
                    End::Socket(socket) => Op::RecvMultishot { socket: raw_socket(socket) },
                    End::Pipe(_) => unreachable!("it is a socket"),
                };
                scheduler.launch_multishot(source, op, move |result, more| me.received(result, more))
            }
            End::Pipe(_) => {
                let mut room = mem::take(&mut self.state.borrow_mut().room);
                room.resize(PIECE, 0);
                scheduler.launch(
                    source,
                    room,
                    |end, room| read_pipe(end, room),
                    move |room, result| me.was_read(room, result),
                )
            }
        };
        self.state.borrow_mut().receiving = Some(InFlight::new(Begun::Operation(started)));
    }

    /// A receive of a socket's has brought something.
    fn received(self: &Rc<Self>, result: io::Result<Outcome>, more: bool) {
        if !more {
            self.state.borrow_mut().receiving = None;
        }
        match result {
            Ok(Outcome::Provided(Some(buffer))) if !buffer.is_empty() => self.bytes_came(&buffer),
            Ok(_) => self.came(Came::End(Ok(()))),
            Err(error) => self.failed(error),
        }
        self.settle();
    }

    /// A read of a pipe's has ended.
    fn was_read(self: &Rc<Self>, room: Vec<u8>, result: io::Result<Outcome>) {
        self.state.borrow_mut().receiving = None;
        match result {
            Ok(Outcome::Count(count @ 1..)) => self.bytes_came(&room[..count]),
            Ok(_) => self.came(Came::End(Ok(()))),
            // Windows: the other end was closed.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.came(Came::End(Ok(()))),
            Err(error) => self.failed(error),
        }
        self.state.borrow_mut().room = room;
        self.settle();
    }

    /// A receive has failed; that it was cancelled, we have asked for.
    fn failed(&self, error: io::Error) {
        let asked = {
            let state = self.state.borrow();
            state.leaving.is_some() || error.raw_os_error() == Some(CANCELLED)
        };
        if !asked {
            self.came(Came::End(Err(error)));
        }
    }

    /// Tells of bytes at once where nothing comes before them.
    fn bytes_came(self: &Rc<Self>, bytes: &[u8]) {
        let at_once = {
            let state = self.state.borrow();
            state.made && !state.paused && state.came.is_empty() && state.leaving.is_none()
        };
        if at_once {
            let was_sure = self.settles.replace(true);
            self.tell(|protocol, transport| protocol.data_received(transport, bytes));
            self.settles.set(was_sure);
        } else {
            self.came(Came::Bytes(bytes.to_vec()));
        }
    }

    fn came(&self, came: Came) {
        let mut state = self.state.borrow_mut();
        state.input_over |= matches!(came, Came::End(_));
        if state.leaving.is_none() {
            state.came.push_back(came);
        }
    }

    /// Nothing more comes.
    fn at_end(self: &Rc<Self>, end: io::Result<()>) {
        if end.is_err() {
            return self.leave(end);
        }
        let answer = self.tell(|protocol, transport| protocol.eof_received(transport));
        let both = self.state.borrow().output_over;
        if both || answer != Some(AtEnd::KeepOpen) {
            self.leave(Ok(()));
        }
    }

    fn send(self: &Rc<Self>, scheduler: &Scheduler, sink: &Rc<End>, sending: Sending) {
        let (me, to) = (Rc::clone(self), Rc::clone(sink));
        let started =
            scheduler.launch(sink, sending, write_end, move |sending, result| me.was_sent(&to, sending, result));
        self.state.borrow_mut().sending = Some(InFlight::new(Begun::Operation(started)));
    }

    fn was_sent(self: &Rc<Self>, sink: &Rc<End>, mut sending: Sending, result: io::Result<Outcome>) {
        self.state.borrow_mut().sending = None;
        let failed = match result {
            Ok(Outcome::Count(count @ 1..)) => {
                sending.sent += count;
                None
            }
            Ok(_) => Some(io::ErrorKind::WriteZero.into()),
            Err(error) => Some(error),
        };
        let left = sending.bytes.len() - sending.sent;
        let goes_on = {
            let mut state = self.state.borrow_mut();
            let goes_on = failed.is_none() && left > 0 && !matches!(state.leaving, Some(Err(_)));
            state.in_flight = if goes_on { left } else { 0 };
            if !goes_on && sending.bytes.capacity() <= PIECE {
                sending.bytes.clear();
                state.spare = sending.bytes;
                sending = Sending { bytes: Vec::new(), sent: 0 };
            }
            state.measure();
            goes_on
        };
        match (failed, self.scheduler.upgrade()) {
            (Some(error), _) => self.leave(Err(error)),
            (None, Some(scheduler)) if goes_on => self.send(&scheduler, sink, sending),
            _ => {}
        }
        self.settle();
    }

    /// Closes it, and tells so.
    fn finish(self: &Rc<Self>, scheduler: &Scheduler, reason: io::Result<()>) {
        let ends = {
            let mut state = self.state.borrow_mut();
            state.came.clear();
            state.output_over = true;
            (state.source.take(), state.sink.take())
        };
        drop(ends);
        let protocol = self.protocol.take();
        if let Some(mut protocol) = protocol {
            // Who panics here has nothing left to lose; its destructor may as well.
            let _ = guarded_for(|| protocol.connection_lost(reason));
            let _ = guarded_for(move || drop(protocol));
        }
        if let Some(keeping) = self.keeping.take() {
            scheduler.let_go(keeping);
        }
    }

    /// Sends what waits, where nothing is on its way.
    fn send_now(&self) {
        let (Some(me), Some(scheduler)) = (self.me.upgrade(), self.scheduler.upgrade()) else { return };
        let next = self.state.borrow_mut().next_to_send();
        if let Some((sink, sending)) = next {
            me.send(&scheduler, &sink, sending);
        }
    }
}

impl Settles for Stream {
    fn is_sure(&self) -> &Cell<bool> {
        &self.settles
    }

    fn settle(self: &Rc<Self>) {
        Stream::settle(self);
    }
}

impl Kept for Stream {
    fn run_ends(&self) {
        self.abort(io::Error::new(io::ErrorKind::ConnectionAborted, "the run has ended, and its connections with it"));
    }
}
