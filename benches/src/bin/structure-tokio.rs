//! The costs of tokio's `JoinSet`, `select!` and `Notify` on its current-thread runtime. It has no condition: this is how its
//! documentation has one made.

use std::sync::Arc;

use overlapped_benches::{FIRSTS, Laps, MEMBERS, TURNS, print_structure};
use tokio::select;
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinSet;

async fn group() -> Laps {
    let mut laps = Laps::of(MEMBERS);
    while laps.more() {
        let mut members = JoinSet::new();
        for n in 0..MEMBERS {
            members.spawn(async move { n });
        }
        while let Some(member) = members.join_next().await {
            member.unwrap();
        }
    }
    laps
}

async fn first() -> Laps {
    let mut laps = Laps::of(FIRSTS);
    while laps.more() {
        let events = || [Notify::new(), Notify::new(), Notify::new()];
        let all: Arc<Vec<_>> = Arc::new((0..FIRSTS).map(|_| events()).collect());
        let theirs = Arc::clone(&all);
        let other = tokio::spawn(async move {
            for (n, [begun, a, b]) in theirs.iter().enumerate() {
                begun.notified().await;
                [a, b][n % 2].notify_one();
            }
        });
        for (n, [begun, a, b]) in all.iter().enumerate() {
            begun.notify_one();
            let first = select! {
                () = a.notified() => 0,
                () = b.notified() => 1,
            };
            assert_eq!(first, n % 2);
        }
        other.await.unwrap();
    }
    laps
}

async fn condition() -> Laps {
    async fn turns(shared: &(Mutex<u32>, Notify), mine: u32) {
        let (lock, changed) = shared;
        let mut whose = lock.lock().await;
        for _ in 0..TURNS / 2 {
            while *whose != mine {
                drop(whose);
                changed.notified().await;
                whose = lock.lock().await;
            }
            *whose = 1 - mine;
            changed.notify_one();
        }
    }
    let mut laps = Laps::of(TURNS);
    while laps.more() {
        let shared = Arc::new((Mutex::new(0), Notify::new()));
        let theirs = Arc::clone(&shared);
        let other = tokio::spawn(async move { turns(&theirs, 1).await });
        turns(&shared, 0).await;
        other.await.unwrap();
    }
    laps
}

async fn measure() {
    print_structure(group().await, first().await, condition().await);
}

/// In a task: the future that the runtime itself waits for is polled between two looks at its events, and would pay for them.
fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(async { tokio::spawn(measure()).await })?)
}
