//! What it costs to leave a wait where so many others wait on the same thing: `scaling-overlapped [WAITERS]`.
//!
//! Each cost is that of one waiter's cancel and of its end, in nanoseconds, the last to come being the first to leave: a list
//! that is searched from its beginning shows. It should not grow with the number. The last one leaves a wait on a socket of
//! its own while all the others wait on another.

use std::rc::Rc;
use std::time::Instant;

use overlapped::net::UdpSocket;
use overlapped::{Event, JoinHandle, Semaphore, channel, run, spawn, yield_now};
use overlapped_benches::argument;

/// How many come and go beside those that wait on something else.
const PASSING: usize = 1000;

fn leave<T: 'static>(waiters: Vec<JoinHandle<T>>) -> f64 {
    let count = waiters.len();
    let began = Instant::now();
    waiters.iter().rev().for_each(JoinHandle::cancel);
    for waiter in waiters {
        drop(waiter.join());
    }
    began.elapsed().as_nanos() as f64 / count as f64
}

/// So many tasklets that have begun to wait.
fn waiting<T: 'static>(count: usize, mut begin: impl FnMut() -> JoinHandle<T>) -> Vec<JoinHandle<T>> {
    let waiters = (0..count).map(|_| begin()).collect();
    for _ in 0..3 {
        yield_now();
    }
    waiters
}

fn receivers(socket: &Rc<UdpSocket>, count: usize) -> Vec<JoinHandle<()>> {
    waiting(count, || {
        let socket = Rc::clone(socket);
        spawn(move || {
            // It is left, and says so.
            let _ = socket.recv(&mut [0; 16]);
        })
    })
}

fn main() {
    let waiters = argument(1, 1000);
    let costs = run(|| {
        let values = channel::<u8>();
        let in_channel = leave(waiting(waiters, || {
            let values = values.clone();
            spawn(move || values.receive().is_ok())
        }));
        let permits = Semaphore::new(0);
        let in_semaphore = leave(waiting(waiters, || {
            let permits = permits.clone();
            spawn(move || drop(permits.acquire()))
        }));
        let event = Event::new();
        let in_event = leave(waiting(waiters, || {
            let event = event.clone();
            spawn(move || event.wait())
        }));
        let bind = || Rc::new(UdpSocket::bind("127.0.0.1:0").expect("a socket on loopback"));
        let in_recv = leave(receivers(&bind(), waiters));
        let others = receivers(&bind(), waiters);
        let elsewhere = leave(receivers(&bind(), PASSING));
        leave(others);
        [
            ("channel", in_channel),
            ("semaphore", in_semaphore),
            ("event", in_event),
            ("recv", in_recv),
            ("elsewhere", elsewhere),
        ]
    });
    println!("{{{}}}", costs.map(|(name, cost)| format!(r#""{name}": {cost:.1}"#)).join(", "));
}
