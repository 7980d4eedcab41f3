//! The two faces of the layer: [`Below`], which the transport below tells of records, and [`Layer`], on which the user's
//! protocol writes and is told of bytes.
//!
//! As in a stream of the system's, all that happens ends in [`Layer::settle`], which only the loop calls. What is written is
//! put into records and given below at once: only there does it wait, and only there is it counted. What comes in one piece
//! is told in one piece; as nothing comes from below while reading is paused, only what a handshake's last records brought
//! with them is ever kept here.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::rc::{Rc, Weak};
use std::time::Duration;

use rustls::Connection;

use super::Negotiated;
use super::state::{Next, State};
use crate::reactor::guard::guarded_for;
use crate::reactor::protocol::{Told, put_back, take_place};
use crate::reactor::settle::{Settles, settle_soon};
use crate::reactor::transport::Carrier;
use crate::reactor::{AtEnd, Endpoint, Protocol, Transport};
use crate::scheduler::{Scheduler, Timer, try_current};
use crate::time::deadline_after;

/// What the user's protocol writes on.
pub(super) struct Layer {
    me: Weak<Layer>,
    scheduler: Weak<Scheduler>,
    /// There once it is opened; at a listener, once a connection is made.
    below: OnceCell<Transport>,
    state: RefCell<State>,
    protocol: Told,
    /// [`Layer::settle`] runs, or is sure to.
    settles: Cell<bool>,
    limit: Duration,
    /// The end of a handshake, or of a connection that has failed, at the latest.
    overdue: Cell<Option<Timer>>,
}

impl Layer {
    pub(super) fn new(session: Connection, limit: Duration, protocol: Box<dyn Protocol>) -> Rc<Layer> {
        Rc::new_cyclic(|me| Layer {
            me: Weak::clone(me),
            scheduler: try_current().map(|scheduler| Rc::downgrade(&scheduler)).unwrap_or_default(),
            below: OnceCell::new(),
            state: RefCell::new(State::new(session)),
            protocol: RefCell::new(Some(protocol)),
            settles: Cell::new(false),
            limit,
            overdue: Cell::new(None),
        })
    }

    /// Says what is below, and gives what is above.
    pub(super) fn on(self: Rc<Self>, below: Transport) -> Transport {
        self.below.get_or_init(|| below);
        self.transport()
    }

    fn transport(&self) -> Transport {
        let carrier: Rc<Layer> = self.me.upgrade().expect("whoever calls this holds it");
        Transport::of(carrier)
    }

    fn below(&self) -> &Transport {
        self.below.get().expect("there is something below by then")
    }

    /// Gives below what is to go out.
    fn flush(&self) {
        let records = self.state.borrow_mut().records();
        if !records.is_empty() {
            self.below().write(&records);
        }
    }

    /// Sends this side's end.
    fn say_end(&self, end: impl FnOnce(&mut State)) {
        let idle = self.below().buffered() == 0;
        {
            let mut state = self.state.borrow_mut();
            state.answers_end(idle);
            end(&mut state);
        }
        self.flush();
    }

    /// Records have come.
    fn came(&self, records: &[u8]) {
        let decrypted = self.state.borrow_mut().decrypt(records);
        if decrypted.is_ok() {
            self.flush();
        }
        self.settle();
        if let Err(error) = decrypted {
            self.fail(error);
        }
    }

    /// It cannot go on. What was written goes out first, and after it the alert that says so to the peer, as far as the limit
    /// of time allows.
    fn fail(&self, error: io::Error) {
        {
            let mut state = self.state.borrow_mut();
            if state.leaving {
                return;
            }
            state.failure = Some(error);
            state.leave();
        }
        self.flush();
        self.below().close();
        self.limit_time();
    }

    /// It cannot go on, and there is nobody to tell or no time.
    fn abort_for(&self, error: io::Error) {
        self.state.borrow_mut().leaving = true;
        self.below().abort_with(error);
    }

    /// Aborts it when the limit has passed, unless [`Layer::unlimit_time`] comes first.
    fn limit_time(&self) {
        let Some(scheduler) = self.scheduler.upgrade() else { return };
        self.unlimit_time();
        let (me, limit) = (Weak::clone(&self.me), self.limit);
        let timer = scheduler.call_at(deadline_after(limit), move |_| {
            if let Some(me) = me.upgrade() {
                me.overdue.take();
                let what = format!("the TLS handshake was not over after {limit:?}");
                me.abort_for(io::Error::new(io::ErrorKind::TimedOut, what));
            }
        });
        self.overdue.set(Some(timer));
    }

    fn unlimit_time(&self) {
        if let (Some(timer), Some(scheduler)) = (self.overdue.take(), self.scheduler.upgrade()) {
            scheduler.clear(timer);
        }
    }

    /// Settles it on the loop's next turn, unless that is sure to happen before.
    fn settle_soon(&self) {
        settle_soon(&self.me, &self.scheduler);
    }

    /// Tells what there is to be told. Called by the loop.
    fn settle(&self) {
        let was_sure = self.settles.replace(true);
        loop {
            let next = self.state.borrow_mut().next();
            match next {
                Next::Made => self.made(),
                Next::Pause => drop(self.tell(|protocol, transport| protocol.pause_writing(transport))),
                Next::Resume => drop(self.tell(|protocol, transport| protocol.resume_writing(transport))),
                Next::Came(bytes) => drop(self.tell(|protocol, transport| protocol.data_received(transport, &bytes))),
                Next::End => {
                    let answer = self.tell(|protocol, transport| protocol.eof_received(transport));
                    if answer != Some(AtEnd::KeepOpen) || !self.state.borrow().half_closes() {
                        self.close();
                    }
                }
                Next::Close => self.close(),
                Next::Nothing => break,
            }
        }
        self.settles.set(was_sure);
    }

    /// The handshake is over.
    fn made(&self) {
        self.unlimit_time();
        self.state.borrow_mut().encrypt_early();
        self.flush();
        if self.state.borrow().paused {
            self.below().pause_reading();
        }
        self.tell(|protocol, transport| protocol.connection_made(transport));
    }

    /// Calls the protocol, unless it was told all.
    fn tell<R>(&self, call: impl FnOnce(&mut dyn Protocol, &Transport) -> R) -> Option<R> {
        let mut protocol = self.protocol.take()?;
        let answer = guarded_for(|| call(&mut *protocol, &self.transport()));
        put_back(&self.protocol, protocol);
        answer.map_err(|panicked| self.abort_for(panicked)).ok()
    }
}

impl Carrier for Layer {
    fn write(&self, bytes: &[u8]) {
        {
            let mut state = self.state.borrow_mut();
            if state.leaving || bytes.is_empty() {
                return;
            }
            state.encrypt(bytes);
        }
        self.flush();
    }

    fn write_eof(&self) {
        self.say_end(State::end_output);
        self.settle_soon();
    }

    fn close(&self) {
        // Whatever has become of what is below: `settle` would ask for this again and again.
        if self.state.borrow().leaving {
            return;
        }
        self.say_end(State::leave);
        self.below().close();
    }

    fn abort(&self, reason: io::Error) {
        self.abort_for(reason);
    }

    fn is_closing(&self) -> bool {
        self.state.borrow().leaving || self.below().is_closing()
    }

    fn pause_reading(&self) {
        let made = {
            let mut state = self.state.borrow_mut();
            state.paused = true;
            state.made
        };
        // A handshake goes on all the same.
        if made {
            self.below().pause_reading();
        }
    }

    fn resume_reading(&self) {
        self.state.borrow_mut().paused = false;
        self.below().resume_reading();
        self.settle_soon();
    }

    fn set_write_limits(&self, high: usize, low: usize) {
        self.below().set_write_limits(high, low);
    }

    fn buffered(&self) -> usize {
        self.state.borrow().waiting() + self.below().buffered()
    }

    fn hand_over(&self, protocol: Box<dyn Protocol>) {
        self.state.borrow_mut().tell_again();
        take_place(&self.protocol, protocol);
        self.settle_soon();
    }

    fn is_handed_over(&self) -> bool {
        self.protocol.borrow().is_some()
    }

    fn pass_on(&self, rest: Vec<u8>) {
        self.state.borrow_mut().came_before(rest);
        self.settle_soon();
    }

    fn negotiated(&self) -> Option<Negotiated> {
        self.state.borrow().negotiated()
    }

    fn peer_addr(&self) -> io::Result<Endpoint> {
        self.below().peer_addr()
    }

    fn local_addr(&self) -> io::Result<Endpoint> {
        self.below().local_addr()
    }
}

impl Settles for Layer {
    fn is_sure(&self) -> &Cell<bool> {
        &self.settles
    }

    fn settle(self: &Rc<Self>) {
        Layer::settle(self);
    }
}

/// What the transport below tells.
pub(super) struct Below {
    layer: Rc<Layer>,
    /// What has come before the layer was there.
    received: Vec<u8>,
}

impl Below {
    pub(super) fn new(layer: Rc<Layer>, received: Vec<u8>) -> Below {
        Below { layer, received }
    }
}

impl Protocol for Below {
    fn connection_made(&mut self, transport: &Transport) {
        let layer = &self.layer;
        layer.below.get_or_init(|| transport.clone());
        layer.state.borrow_mut().begun = true;
        layer.limit_time();
        // Who was told before may have paused it.
        transport.resume_reading();
        layer.came(&std::mem::take(&mut self.received));
    }

    fn data_received(&mut self, _: &Transport, bytes: &[u8]) {
        self.layer.came(bytes);
    }

    fn eof_received(&mut self, _: &Transport) -> AtEnd {
        let (may_end, handshakes) = {
            let state = self.layer.state.borrow();
            (state.may_end(), state.handshakes())
        };
        if !may_end {
            let what = match handshakes {
                true => "the peer has ended the connection within the TLS handshake",
                false => "the peer's stream has ended without its close_notify: what it sent may be cut short",
            };
            self.layer.abort_for(io::Error::new(io::ErrorKind::UnexpectedEof, what));
        }
        // The layer itself closes it, when both sides have ended.
        AtEnd::KeepOpen
    }

    fn pause_writing(&mut self, _: &Transport) {
        self.layer.state.borrow_mut().full = true;
        self.layer.settle();
    }

    fn resume_writing(&mut self, _: &Transport) {
        self.layer.state.borrow_mut().full = false;
        self.layer.settle();
    }

    fn connection_lost(&mut self, reason: io::Result<()>) {
        let layer = &self.layer;
        layer.unlimit_time();
        let reason = layer.state.borrow_mut().lost(reason);
        if let Some(mut protocol) = layer.protocol.take() {
            let _ = guarded_for(|| protocol.connection_lost(reason));
            let _ = guarded_for(move || drop(protocol));
        }
    }
}
