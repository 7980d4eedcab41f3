//! Protocols for tests: one that passes on all that it is told, one that sends back what comes.

use std::io::{self, ErrorKind};

use overlapped::reactor::{self, AtEnd, Protocol, Transport};
use overlapped::{Event, Queue};

/// What a protocol was told.
#[derive(Debug, PartialEq)]
pub(crate) enum Told {
    Made,
    Data(Vec<u8>),
    End,
    Pause,
    Resume,
    Lost(Result<(), ErrorKind>),
}

/// Passes on all that it is told, and what it is to answer at the peer's end.
pub(crate) struct Tells {
    told: Queue<Told>,
    at_end: AtEnd,
}

impl Tells {
    pub(crate) fn new() -> (Tells, Queue<Told>) {
        let told = Queue::new();
        (Tells { told: told.clone(), at_end: AtEnd::Close }, told)
    }

    pub(crate) fn half_open() -> (Tells, Queue<Told>) {
        let (tells, told) = Tells::new();
        (Tells { at_end: AtEnd::KeepOpen, ..tells }, told)
    }

    fn tell(&self, told: Told) {
        self.told.try_put(told).unwrap();
    }
}

impl Protocol for Tells {
    fn connection_made(&mut self, _: &Transport) {
        self.tell(Told::Made);
    }
    fn data_received(&mut self, _: &Transport, bytes: &[u8]) {
        self.tell(Told::Data(bytes.to_vec()));
    }
    fn eof_received(&mut self, _: &Transport) -> AtEnd {
        self.tell(Told::End);
        self.at_end
    }
    fn pause_writing(&mut self, _: &Transport) {
        self.tell(Told::Pause);
    }
    fn resume_writing(&mut self, _: &Transport) {
        self.tell(Told::Resume);
    }
    fn connection_lost(&mut self, reason: io::Result<()>) {
        self.tell(Told::Lost(reason.map_err(|error| error.kind())));
    }
}

/// The next thing told.
pub(crate) fn next(told: &Queue<Told>) -> Told {
    told.get().unwrap()
}

/// Lets the loop turn some times: what can come by itself has come then.
pub(crate) fn turns() {
    for _ in 0..5 {
        let turned = Event::new();
        let tell = turned.clone();
        reactor::call_soon(move || tell.set());
        turned.wait();
    }
}

/// So many bytes, in however many pieces.
pub(crate) fn bytes(told: &Queue<Told>, length: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < length {
        match next(told) {
            Told::Data(bytes) => all.extend(bytes),
            other => panic!("{other:?} after {} bytes", all.len()),
        }
    }
    all
}

pub(crate) struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, bytes: &[u8]) {
        transport.write(bytes);
    }
}
