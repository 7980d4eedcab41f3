//! What it costs to hand a value from one thread to another by tokio's channel: two runtimes of one thread each, for on
//! a runtime of two threads both tasks may be on one.

use std::thread;

use overlapped_benches::{Laps, SWITCHES, print_handover};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::channel;

fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

async fn stream() -> Laps {
    let mut laps = Laps::of(SWITCHES);
    while laps.more() {
        let (sender, mut receiver) = channel(1024);
        let sends = async move {
            for n in 0..SWITCHES {
                sender.send(n).await.unwrap();
            }
        };
        let producer = thread::spawn(|| runtime().block_on(sends));
        for n in 0..SWITCHES {
            assert_eq!(receiver.recv().await.unwrap(), n);
        }
        producer.join().unwrap();
    }
    laps
}

async fn ping_pong() -> Laps {
    let mut laps = Laps::of(SWITCHES / 10);
    while laps.more() {
        let ((ping, mut pinged), (pong, mut ponged)) = (channel(1), channel(1));
        let answers = async move {
            for _ in 0..SWITCHES / 20 {
                pong.send(pinged.recv().await.unwrap()).await.unwrap();
            }
        };
        let other = thread::spawn(|| runtime().block_on(answers));
        for n in 0..SWITCHES / 20 {
            ping.send(n).await.unwrap();
            assert_eq!(ponged.recv().await.unwrap(), n);
        }
        other.join().unwrap();
    }
    laps
}

fn main() {
    let (stream, ping_pong) = runtime().block_on(async { (stream().await, ping_pong().await) });
    print_handover(stream, ping_pong);
}
