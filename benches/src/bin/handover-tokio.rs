//! What it costs to hand a value from one thread to another by tokio's channel: between two runtimes of one thread each, for on
//! a runtime of two threads both tasks may be on one; and between a runtime and a thread that blocks.

use std::thread;

use overlapped_benches::handover::{ANSWERED, Part, ROOM, answers, print, streams};
use overlapped_benches::{Laps, SWITCHES};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{Receiver, Sender, channel};

fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

/// What the other side does, where it is.
struct Other {
    sends: fn(Sender<u32>) -> Part,
    answers: fn(Receiver<u32>, Sender<u32>) -> Part,
}

const RUNTIME: Other = Other {
    sends: |sender| {
        Box::new(move || {
            runtime().block_on(async {
                for n in 0..SWITCHES {
                    sender.send(n).await.unwrap();
                }
            })
        })
    },
    answers: |mut pinged, pong| {
        Box::new(move || {
            runtime().block_on(async {
                for _ in 0..ANSWERED {
                    pong.send(pinged.recv().await.unwrap()).await.unwrap();
                }
            })
        })
    },
};

const THREAD: Other = Other {
    sends: |sender| Box::new(move || (0..SWITCHES).for_each(|n| sender.blocking_send(n).unwrap())),
    answers: |mut pinged, pong| {
        Box::new(move || (0..ANSWERED).for_each(|_| pong.blocking_send(pinged.blocking_recv().unwrap()).unwrap()))
    },
};

async fn costs(other: &Other) -> [Laps; 2] {
    let mut stream = streams();
    while stream.more() {
        let (sender, mut receiver) = channel(ROOM);
        let producer = thread::spawn((other.sends)(sender));
        for n in 0..SWITCHES {
            assert_eq!(receiver.recv().await.unwrap(), n);
        }
        producer.join().unwrap();
    }
    let mut ping_pong = answers();
    while ping_pong.more() {
        let ((ping, pinged), (pong, mut ponged)) = (channel(1), channel(1));
        let other = thread::spawn((other.answers)(pinged, pong));
        for n in 0..ANSWERED {
            ping.send(n).await.unwrap();
            assert_eq!(ponged.recv().await.unwrap(), n);
        }
        other.join().unwrap();
    }
    [stream, ping_pong]
}

fn main() {
    let (runtimes, with_a_thread) = runtime().block_on(async { (costs(&RUNTIME).await, costs(&THREAD).await) });
    print(runtimes, Some(with_a_thread));
}
