//! The costs of Overlapped's basic moves. Its channel is a rendezvous: nobody's value waits in a queue.

use overlapped::{channel, run, spawn, yield_now};
use overlapped_benches::{Laps, SPAWNS, SWITCHES, print_costs};

fn spawn_join() -> Laps {
    let mut laps = Laps::of(SPAWNS);
    while laps.more() {
        let tasklets: Vec<_> = (0..SPAWNS).map(|n| spawn(move || n)).collect();
        for (n, tasklet) in (0..SPAWNS).zip(tasklets) {
            assert_eq!(tasklet.join().unwrap(), n);
        }
    }
    laps
}

fn switch() -> Laps {
    fn yields() {
        for _ in 0..SWITCHES / 2 {
            yield_now();
        }
    }
    let mut laps = Laps::of(SWITCHES);
    while laps.more() {
        let other = spawn(yields);
        yields();
        other.join().unwrap();
    }
    laps
}

fn stream() -> Laps {
    let mut laps = Laps::of(SWITCHES);
    while laps.more() {
        let values = channel();
        let sender = values.clone();
        let producer = spawn(move || {
            for n in 0..SWITCHES {
                sender.send(n).unwrap();
            }
        });
        for n in 0..SWITCHES {
            assert_eq!(values.receive().unwrap(), n);
        }
        producer.join().unwrap();
    }
    laps
}

fn ping_pong() -> Laps {
    let mut laps = Laps::of(SWITCHES);
    while laps.more() {
        let (ping, pong) = (channel(), channel());
        let (pinged, ponged) = (ping.clone(), pong.clone());
        let other = spawn(move || {
            for _ in 0..SWITCHES / 2 {
                pong.send(pinged.receive().unwrap()).unwrap();
            }
        });
        for n in 0..SWITCHES / 2 {
            ping.send(n).unwrap();
            assert_eq!(ponged.receive().unwrap(), n);
        }
        other.join().unwrap();
    }
    laps
}

fn main() {
    let (spawn_join, switch, stream, ping_pong) = run(|| (spawn_join(), switch(), stream(), ping_pong()));
    print_costs(spawn_join, Some(switch), stream, ping_pong);
}
