//! What an idle may coroutine occupies: `idle-may [COROUTINES]`. Each sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use overlapped_benches::{Memory, argument};

fn main() {
    may::config().set_workers(1);
    let items: u32 = argument(1, 100_000);
    let measured = may::go!(move || {
        let asleep = Arc::new(AtomicU32::new(0));
        let before = Memory::now();
        for _ in 0..items {
            let asleep = asleep.clone();
            may::go!(move || {
                asleep.fetch_add(1, Ordering::Relaxed);
                may::coroutine::sleep(Duration::from_secs(3600));
            });
        }
        while asleep.load(Ordering::Relaxed) < items {
            may::coroutine::sleep(Duration::from_millis(1)); // a yield would come straight back here
        }
        Memory::now().print_growth(before, items);
    });
    let failed = measured.join().is_err();
    std::process::exit(failed.into());
}
