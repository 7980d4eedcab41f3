//! What a task of tokio's costs that waits beside many others: `idle-tokio [TASKS]`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use overlapped_benches::idle::Course;
use tokio::sync::Notify;
use tokio::task::yield_now;

async fn measure() {
    let (waiting, go) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
    let mut course = Course::asked();
    let spawn_one = |_| {
        let (waiting, go) = (Arc::clone(&waiting), Arc::clone(&go));
        tokio::spawn(async move {
            waiting.fetch_add(1, Ordering::Relaxed);
            go.notified().await;
        })
    };
    let tasks: Vec<_> = (0..course.items).map(spawn_one).collect();
    course.spawned();
    while waiting.load(Ordering::Relaxed) < course.items {
        yield_now().await;
    }
    course.blocked();
    go.notify_waiters();
    for task in tasks {
        task.await.unwrap();
    }
    course.joined();
}

fn main() -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure());
    Ok(())
}
