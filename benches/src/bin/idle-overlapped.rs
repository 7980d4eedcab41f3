//! What a tasklet costs that waits beside many others: `idle-overlapped [TASKLETS]`.

use std::cell::Cell;
use std::rc::Rc;

use overlapped::{Event, spawn, yield_now};
use overlapped_benches::idle::Course;

fn main() {
    overlapped::run(|| {
        let (waiting, go) = (Rc::new(Cell::new(0)), Event::new());
        let mut course = Course::asked();
        let spawn_one = |_| {
            let (waiting, go) = (Rc::clone(&waiting), go.clone());
            spawn(move || {
                waiting.set(waiting.get() + 1);
                go.wait();
            })
        };
        let tasklets: Vec<_> = (0..course.items).map(spawn_one).collect();
        course.spawned();
        while waiting.get() < course.items {
            yield_now();
        }
        course.blocked();
        go.set();
        tasklets.into_iter().for_each(|tasklet| tasklet.join().unwrap());
        course.joined();
    });
}
