//! What it costs to hand a value from one thread of the system's to another by a channel of crossbeam's.

use crossbeam_channel::{Receiver, Sender, bounded};
use overlapped_benches::handover::{Ends, blocking, on_a_thread, print};

#[derive(Clone)]
struct Channel(Sender<u32>, Receiver<u32>);

impl Ends for Channel {
    fn with_room(room: usize) -> Self {
        let (sender, receiver) = bounded(room);
        Self(sender, receiver)
    }

    fn send(&self, value: u32) {
        self.0.send(value).unwrap();
    }

    fn receive(&self) -> u32 {
        self.1.recv().unwrap()
    }
}

fn main() {
    let costs = || blocking::<Channel, _>(on_a_thread);
    print(costs(), Some(costs()));
}
