//! What it costs to hand a value from one of Overlapped's threads to another.

use overlapped::{Config, Queue, handles};
use overlapped_benches::{Laps, SWITCHES, print_handover};

fn stream() -> Laps {
    let mut laps = Laps::of(SWITCHES);
    while laps.more() {
        let values = Queue::bounded(1024);
        let theirs = values.clone();
        let producer = handles()[1].spawn(move || (0..SWITCHES).for_each(|n| theirs.put(n).unwrap()));
        for n in 0..SWITCHES {
            assert_eq!(values.get().unwrap(), n);
        }
        producer.join().unwrap();
    }
    laps
}

fn ping_pong() -> Laps {
    let mut laps = Laps::of(SWITCHES / 10);
    while laps.more() {
        let (ping, pong) = (Queue::bounded(1), Queue::bounded(1));
        let (pinged, ponged) = (ping.clone(), pong.clone());
        let other = handles()[1].spawn(move || {
            for _ in 0..SWITCHES / 20 {
                ponged.put(pinged.get().unwrap()).unwrap();
            }
        });
        for n in 0..SWITCHES / 20 {
            ping.put(n).unwrap();
            assert_eq!(pong.get().unwrap(), n);
        }
        other.join().unwrap();
    }
    laps
}

fn main() {
    Config::new().schedulers(2).run(|| print_handover(stream(), ping_pong()));
}
