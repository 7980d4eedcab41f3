//! What the programs share that hand values to another thread.
//!
//! `stream` is one producer and one consumer on a channel with room for 1024, a value; `ping_pong` is two that answer each other by
//! channels with room for one, so that every single value wakes the other thread: a value one way. Both twice, for where the
//! other side is (or, where a program has one kind of thread only, once).

use std::thread;

use crate::{Laps, SWITCHES, print_named};

/// Room in the channel of a stream.
pub const ROOM: usize = 1024;
/// Values of a batch that are answered, one after the other.
pub const ANSWERED: u32 = SWITCHES / 20;

/// A channel, with both of its ends.
pub trait Ends: Clone + Send + 'static {
    /// One with room for so many.
    fn with_room(room: usize) -> Self;
    /// Sends, waiting for room.
    fn send(&self, value: u32);
    /// Receives, waiting for a value.
    fn receive(&self) -> u32;
}

/// What is done on the other thread.
pub type Part = Box<dyn FnOnce() + Send>;

/// Begins a part on a thread of the system's.
pub fn on_a_thread(part: Part) -> impl FnOnce() {
    let thread = thread::spawn(part);
    // It has done its part, or is about to.
    move || thread.join().unwrap()
}

/// A clock for streams.
pub fn streams() -> Laps {
    Laps::of(SWITCHES)
}

/// A clock for answers, each way of which counts.
pub fn answers() -> Laps {
    Laps::of(2 * ANSWERED)
}

/// The costs of one kind of channel where code blocks; `beside` has a part begun on the other thread, and what it returns waits
/// for its end.
pub fn blocking<C: Ends, Wait: FnOnce()>(beside: impl Fn(Part) -> Wait) -> [Laps; 2] {
    let mut stream = streams();
    while stream.more() {
        let values = C::with_room(ROOM);
        let theirs = values.clone();
        let wait = beside(Box::new(move || (0..SWITCHES).for_each(|n| theirs.send(n))));
        (0..SWITCHES).for_each(|n| assert_eq!(values.receive(), n));
        wait();
    }
    let mut ping_pong = answers();
    while ping_pong.more() {
        let (ping, pong) = (C::with_room(1), C::with_room(1));
        let (pinged, ponged) = (ping.clone(), pong.clone());
        let wait = beside(Box::new(move || (0..ANSWERED).for_each(|_| ponged.send(pinged.receive()))));
        for n in 0..ANSWERED {
            ping.send(n);
            assert_eq!(pong.receive(), n);
        }
        wait();
    }
    [stream, ping_pong]
}

/// Prints the costs in nanoseconds: of the other side on a thread that is like this one, and on one of the system's alone.
pub fn print([stream, ping_pong]: [Laps; 2], with_a_thread: Option<[Laps; 2]>) {
    let (thread_stream, thread_ping_pong) = with_a_thread.map(|[stream, ping_pong]| (stream, ping_pong)).unzip();
    print_named([
        ("stream", Some(stream)),
        ("ping_pong", Some(ping_pong)),
        ("thread_stream", thread_stream),
        ("thread_ping_pong", thread_ping_pong),
    ]);
}
