//! Where a stream stands, and what there is to do next: a step from a state to an action, without the action.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::rc::Rc;

use super::end::{End, Sending};
use crate::net::race::Race;
use crate::scheduler::{Scheduler, Started};

/// The water marks at the beginning.
const HIGH: usize = 64 << 10;
const LOW: usize = 16 << 10;

/// What has come and was not told yet.
pub(super) enum Came {
    Bytes(Vec<u8>),
    /// The last: the peer's end, or an error.
    End(io::Result<()>),
}

/// What calls back when it has ended.
#[derive(Clone)]
pub(in super::super) enum Begun {
    Operation(Started),
    /// Several that make one connection.
    Race(Race),
}

impl Begun {
    pub(super) fn cancel(&self, scheduler: &Scheduler) {
        match self {
            Begun::Operation(started) => scheduler.cancel(*started),
            Begun::Race(race) => race.cancel(scheduler),
        }
    }
}

/// The same, while it is in flight.
pub(super) struct InFlight {
    begun: Begun,
    cancelled: bool,
}

impl InFlight {
    pub(super) fn new(begun: Begun) -> InFlight {
        InFlight { begun, cancelled: false }
    }
}

/// What is to be cancelled, once, where it `is_unwanted`.
fn unwanted(in_flight: &mut Option<InFlight>, is_unwanted: bool) -> Option<Begun> {
    let in_flight = in_flight.as_mut().filter(|in_flight| is_unwanted && !in_flight.cancelled)?;
    in_flight.cancelled = true;
    Some(in_flight.begun.clone())
}

/// What there is to do next.
pub(super) enum Next {
    Made,
    Pause,
    Resume,
    Came(Came),
    Receive(Rc<End>),
    Send(Rc<End>, Sending),
    EndOutput(Rc<End>),
    Finish(io::Result<()>),
    Nothing,
}

/// Where a stream stands.
pub(super) struct State {
    pub(super) source: Option<Rc<End>>,
    pub(super) sink: Option<Rc<End>>,
    /// What is in flight to make the connection.
    pub(super) connecting: Option<InFlight>,
    pub(super) made: bool,

    pub(super) receiving: Option<InFlight>,
    pub(super) paused: bool,
    pub(super) came: VecDeque<Came>,
    /// Where the next read of a pipe goes.
    pub(super) room: Vec<u8>,
    /// Nothing more comes.
    pub(super) input_over: bool,

    pub(super) sending: Option<InFlight>,
    /// Of the bytes in flight, those that were not sent when last heard of.
    pub(super) in_flight: usize,
    pub(super) waiting: Vec<u8>,
    /// Room that was used before.
    pub(super) spare: Vec<u8>,
    pub(super) ends_output: bool,
    pub(super) output_over: bool,
    pub(super) high: usize,
    pub(super) low: usize,
    /// More waits than the high water mark, or has not fallen to the low one since.
    pub(super) full: bool,
    pub(super) told_full: bool,

    /// Why it ends.
    pub(super) leaving: Option<io::Result<()>>,
    pub(super) finished: bool,
}

impl State {
    pub(super) fn new() -> State {
        State {
            source: None,
            sink: None,
            connecting: None,
            made: false,
            receiving: None,
            paused: false,
            came: VecDeque::new(),
            room: Vec::new(),
            input_over: false,
            sending: None,
            in_flight: 0,
            waiting: Vec::new(),
            spare: Vec::new(),
            ends_output: false,
            output_over: false,
            high: HIGH,
            low: LOW,
            full: false,
            told_full: false,
            leaving: None,
            finished: false,
        }
    }

    pub(super) fn buffered(&self) -> usize {
        self.in_flight + self.waiting.len()
    }

    fn is_open(&self) -> bool {
        self.source.is_some() || self.sink.is_some()
    }

    /// Looks at the water marks.
    pub(super) fn measure(&mut self) {
        self.full = self.buffered() > if self.full { self.low } else { self.high };
    }

    /// What is in flight, no longer wanted, and was not cancelled yet.
    pub(super) fn unwanted(&mut self) -> [Option<Begun>; 3] {
        let leaves = self.leaving.is_some();
        let drops = matches!(self.leaving, Some(Err(_)));
        [
            unwanted(&mut self.receiving, self.paused || leaves),
            unwanted(&mut self.sending, drops),
            unwanted(&mut self.connecting, leaves),
        ]
    }

    /// Decides, and remembers what was decided.
    pub(super) fn next(&mut self) -> Next {
        if self.finished || self.connecting.is_some() && self.leaving.is_none() {
            return Next::Nothing;
        }
        if self.leaving.is_some() {
            let drops = matches!(self.leaving, Some(Err(_))) || !self.is_open();
            if drops {
                self.waiting.clear();
            }
            let in_flight = self.connecting.is_some() || self.receiving.is_some() || self.sending.is_some();
            if self.waiting.is_empty() && !in_flight {
                self.finished = true;
                return Next::Finish(self.leaving.take().unwrap_or(Ok(())));
            }
        } else if !self.made {
            self.made = true;
            return Next::Made;
        } else if self.full != self.told_full {
            self.told_full = self.full;
            return if self.full { Next::Pause } else { Next::Resume };
        } else if !self.paused
            && let Some(came) = self.came.pop_front()
        {
            return Next::Came(came);
        } else if let Some(source) = &self.source
            && self.receiving.is_none()
            && !self.paused
            && !self.input_over
        {
            return Next::Receive(Rc::clone(source));
        }
        if let Some((sink, sending)) = self.next_to_send() {
            return Next::Send(sink, sending);
        }
        if self.sending.is_none()
            && self.ends_output
            && let Some(sink) = self.sink.take()
        {
            self.output_over = true;
            if self.input_over && self.came.is_empty() && self.leaving.is_none() {
                self.leaving = Some(Ok(()));
            }
            return Next::EndOutput(sink);
        }
        Next::Nothing
    }

    /// What waits to be sent, where nothing is on its way.
    pub(super) fn next_to_send(&mut self) -> Option<(Rc<End>, Sending)> {
        if self.sending.is_some() || self.waiting.is_empty() {
            return None;
        }
        let sink = Rc::clone(self.sink.as_ref()?);
        let bytes = mem::replace(&mut self.waiting, mem::take(&mut self.spare));
        self.in_flight = bytes.len();
        Some((sink, Sending { bytes, sent: 0 }))
    }
}
