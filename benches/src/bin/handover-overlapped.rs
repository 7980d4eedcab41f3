//! What it costs to hand a value from one of Overlapped's threads to another, and to one of the system's.

use overlapped::sync::mpmc::{Receiver, Sender, bounded};
use overlapped::{Config, handles};
use overlapped_benches::handover::{Ends, Part, blocking, on_a_thread, print};

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
        self.1.receive().unwrap()
    }
}

fn on_another_scheduler(part: Part) -> impl FnOnce() {
    let tasklet = handles()[1].spawn(part);
    move || tasklet.join().unwrap()
}

fn main() {
    Config::new().schedulers(2).run(|| {
        print(blocking::<Channel, _>(on_another_scheduler), Some(blocking::<Channel, _>(on_a_thread)));
    });
}
