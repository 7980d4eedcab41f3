//! What an idle tokio task occupies: `idle-tokio [TASKS]`. Each sleeps.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use overlapped_benches::{Memory, argument};

fn main() -> std::io::Result<()> {
    let items: u32 = argument(1, 100_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let asleep = Rc::new(Cell::new(0));
        let before = Memory::now();
        for _ in 0..items {
            let asleep = asleep.clone();
            tokio::task::spawn_local(async move {
                asleep.set(asleep.get() + 1);
                tokio::time::sleep(Duration::from_secs(3600)).await;
            });
        }
        while asleep.get() < items {
            tokio::task::yield_now().await;
        }
        Memory::now().print_growth(before, items);
    });
    std::process::exit(0);
}
