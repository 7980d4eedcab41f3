//! What an idle tasklet occupies: `idle-overlapped [TASKLETS]`. Each sleeps.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use overlapped_benches::{Memory, argument};

fn main() {
    let items: u32 = argument(1, 100_000);
    overlapped::run(move || {
        let asleep = Rc::new(Cell::new(0));
        let before = Memory::now();
        for _ in 0..items {
            let asleep = asleep.clone();
            overlapped::spawn(move || {
                asleep.set(asleep.get() + 1);
                overlapped::sleep(Duration::from_secs(3600));
            });
        }
        while asleep.get() < items {
            overlapped::yield_now();
        }
        Memory::now().print_growth(before, items);
        std::process::exit(0);
    });
}
