//! Scenes that do at random what programs do, in a simulated world, under many seeds: what must hold of each is checked. They
//! are what `scripts/planted.py` looks for planted faults with.
//!
//! `OVERLAPPED_SEEDS=1000..2000` runs other seeds than the first hundred of each scene.
#![cfg(unix)]

mod files;
mod lines;
mod protocols;
mod streams;
mod tasklets;

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use overlapped::net::{TcpListener, TcpStream};
use overlapped::sim::{Rules, Simulation, random};

const SERVER: &str = "10.0.0.1:80";
const MILLISECOND: Duration = Duration::from_millis(1);

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("OVERLAPPED_SEEDS") else { return 0..100 };
    let (first, end) = text.split_once("..").expect("OVERLAPPED_SEEDS=first..end");
    first.parse().expect("a number")..end.parse().expect("a number")
}

/// Runs a scene under each seed; at its end nothing is in flight, and no tasklet is left.
fn storm(rules: Rules, scene: fn()) {
    let ran = Simulation::new().rules(rules).limit(Duration::from_secs(20)).explore(seeds(), move || {
        scene();
        let left = overlapped::tasklets().len();
        assert_eq!(left, 2, "run's own and the scene: {:?}", overlapped::tasklets());
        let report = overlapped::report().unwrap();
        assert!(report.in_flight.is_empty(), "{report}");
        assert_eq!(overlapped::engine::current().unwrap().in_flight(), 0, "slots that are in use by none");
        assert_eq!(report.timers, 0, "{report}");
    });
    if let Err(failure) = ran {
        panic!("{failure}");
    }
}

/// No more than so many milliseconds, of few lengths: things are to happen at the same time.
fn a_while(most: usize) -> Duration {
    Duration::from_micros(random(4 * most) as u64 * 250)
}

/// A connection, and the other end of it.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("10.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, peer) = listener.accept().unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    (client, server)
}

/// The bytes from `start` on of a stream in which each place has its own.
fn bytes_at(start: usize, count: usize) -> Vec<u8> {
    (start..start + count).map(|place| (place * 31 % 251) as u8).collect()
}

/// Counts who is inside, also where the wait in it is told to leave.
struct Entered(Rc<Cell<i32>>);

impl Entered {
    fn new(count: &Rc<Cell<i32>>) -> Entered {
        count.set(count.get() + 1);
        Entered(Rc::clone(count))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
