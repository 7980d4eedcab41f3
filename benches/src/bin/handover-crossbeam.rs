//! What it costs to hand a value from one thread to another by a channel of crossbeam's.

use std::thread;

use crossbeam_channel::bounded;
use overlapped_benches::{Laps, SWITCHES, print_handover};

fn stream() -> Laps {
    let mut laps = Laps::of(SWITCHES);
    while laps.more() {
        let (sender, receiver) = bounded(1024);
        let producer = thread::spawn(move || (0..SWITCHES).for_each(|n| sender.send(n).unwrap()));
        for n in 0..SWITCHES {
            assert_eq!(receiver.recv().unwrap(), n);
        }
        producer.join().unwrap();
    }
    laps
}

fn ping_pong() -> Laps {
    let mut laps = Laps::of(SWITCHES / 10);
    while laps.more() {
        let ((ping, pinged), (pong, ponged)) = (bounded(1), bounded(1));
        let other = thread::spawn(move || {
            for _ in 0..SWITCHES / 20 {
                pong.send(pinged.recv().unwrap()).unwrap();
            }
        });
        for n in 0..SWITCHES / 20 {
            ping.send(n).unwrap();
            assert_eq!(ponged.recv().unwrap(), n);
        }
        other.join().unwrap();
    }
    laps
}

fn main() {
    print_handover(stream(), ping_pong());
}
