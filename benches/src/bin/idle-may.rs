//! What a coroutine of may's costs that waits beside many others: `idle-may [COROUTINES]`. It has one worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use may::coroutine::sleep;
use may::sync::SyncFlag;
use overlapped_benches::idle::Course;

fn measure() {
    let (waiting, go) = (Arc::new(AtomicU32::new(0)), Arc::new(SyncFlag::new()));
    let mut course = Course::asked();
    let spawn_one = |_| {
        let (waiting, go) = (Arc::clone(&waiting), Arc::clone(&go));
        may::go!(move || {
            waiting.fetch_add(1, Ordering::Relaxed);
            go.wait();
        })
    };
    let coroutines: Vec<_> = (0..course.items).map(spawn_one).collect();
    course.spawned();
    while waiting.load(Ordering::Relaxed) < course.items {
        sleep(Duration::from_millis(1)); // a yield would come straight back here
    }
    course.blocked();
    go.fire();
    coroutines.into_iter().for_each(|coroutine| coroutine.join().unwrap());
    course.joined();
}

fn main() {
    may::config().set_workers(1);
    may::go!(measure).join().expect("the measurement does not panic");
}
