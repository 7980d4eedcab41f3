//! The costs of may's basic moves, with one worker thread.
//!
//! Its channels are unbounded queues: in `stream` the producer need not wait for its consumer. Its `yield_now` comes
//! straight back to the caller while others are ready, so there is no switch to time but the one in `ping_pong`.

use may::sync::mpsc;
use overlapped_benches::{Laps, SPAWNS, SWITCHES, print_costs};

fn spawn_join() -> Laps {
    let mut laps = Laps::of(SPAWNS);
    while laps.more() {
        let tasks: Vec<_> = (0..SPAWNS).map(|n| may::go!(move || n)).collect();
        for (n, task) in (0..SPAWNS).zip(tasks) {
            assert_eq!(task.join().unwrap(), n);
        }
    }
    laps
}

fn stream() -> Laps {
    let mut laps = Laps::of(SWITCHES);
    while laps.more() {
        let (sender, receiver) = mpsc::channel();
        may::go!(move || {
            for n in 0..SWITCHES {
                sender.send(n).unwrap();
            }
        });
        for n in 0..SWITCHES {
            assert_eq!(receiver.recv(), Ok(n));
        }
    }
    laps
}

fn ping_pong() -> Laps {
    let mut laps = Laps::of(SWITCHES);
    while laps.more() {
        let (ping, pinged) = mpsc::channel();
        let (pong, ponged) = mpsc::channel();
        may::go!(move || {
            while let Ok(n) = pinged.recv() {
                pong.send(n).unwrap();
            }
        });
        for n in 0..SWITCHES / 2 {
            ping.send(n).unwrap();
            assert_eq!(ponged.recv(), Ok(n));
        }
    }
    laps
}

fn main() {
    may::config().set_workers(1);
    let costs = may::go!(|| (spawn_join(), stream(), ping_pong()));
    let (spawn_join, stream, ping_pong) = costs.join().expect("the measurement does not panic");
    print_costs(spawn_join, None, stream, ping_pong);
}
