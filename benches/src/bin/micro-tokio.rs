//! The costs of tokio's basic moves on its current-thread runtime.

use overlapped_benches::{Laps, SPAWNS, SWITCHES, print_costs};
use tokio::sync::mpsc;
use tokio::task::yield_now;

async fn spawn_join() -> Laps {
    let mut laps = Laps::of(SPAWNS);
    while laps.more() {
        let tasks: Vec<_> = (0..SPAWNS).map(|n| tokio::spawn(async move { n })).collect();
        for (n, task) in (0..SPAWNS).zip(tasks) {
            assert_eq!(task.await.unwrap(), n);
        }
    }
    laps
}

async fn switch() -> Laps {
    async fn yields() {
        for _ in 0..SWITCHES / 2 {
            yield_now().await;
        }
    }
    let mut laps = Laps::of(SWITCHES);
    while laps.more() {
        let other = tokio::spawn(yields());
        yields().await;
        other.await.unwrap();
    }
    laps
}

async fn stream() -> Laps {
    let mut laps = Laps::of(SWITCHES);
    while laps.more() {
        let (sender, mut receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            for n in 0..SWITCHES {
                sender.send(n).await.unwrap();
            }
        });
        for n in 0..SWITCHES {
            assert_eq!(receiver.recv().await, Some(n));
        }
    }
    laps
}

async fn ping_pong() -> Laps {
    let mut laps = Laps::of(SWITCHES);
    while laps.more() {
        let (ping, mut pinged) = mpsc::channel(1);
        let (pong, mut ponged) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(n) = pinged.recv().await {
                pong.send(n).await.unwrap();
            }
        });
        for n in 0..SWITCHES / 2 {
            ping.send(n).await.unwrap();
            assert_eq!(ponged.recv().await, Some(n));
        }
    }
    laps
}

async fn measure() {
    print_costs(spawn_join().await, Some(switch().await), stream().await, ping_pong().await);
}

/// In a task: the future that the runtime itself waits for is polled between two looks at its events, and would pay for them.
fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(async { tokio::spawn(measure()).await })?)
}
