//! What the programs share that have many wait at once for one event: `idle-NAME [ITEMS]`.
//!
//! Each is spawned, counts itself, and waits; when all do, memory is read; then the event is set, and all are joined.

use std::time::{Duration, Instant};

use crate::argument;

/// What is measured: the memory that they occupy while they wait, and how long each step takes.
pub struct Course {
    /// How many there are to be.
    pub items: u32,
    before: Memory,
    step_began: Instant,
    spawn: Duration,
    block: Duration,
    waiting: Memory,
}

impl Course {
    /// As the command line says. The first step begins.
    pub fn asked() -> Self {
        let before = Memory::now();
        let zero = Duration::ZERO;
        let items = argument(1, 100_000);
        Self { items, before, step_began: Instant::now(), spawn: zero, block: zero, waiting: before }
    }

    /// All are spawned.
    pub fn spawned(&mut self) {
        self.spawn = self.step_began.elapsed();
        self.step_began = Instant::now();
    }

    /// All have begun, and wait.
    pub fn blocked(&mut self) {
        self.block = self.step_began.elapsed();
        self.waiting = Memory::now();
        self.step_began = Instant::now();
    }

    /// All were woken, and joined: prints bytes and nanoseconds, of each.
    pub fn joined(self) {
        let items = f64::from(self.items);
        let bytes = |now: u64, then: u64| now.saturating_sub(then) as f64 / items;
        let nanoseconds = |time: Duration| time.as_nanos() as f64 / items;
        println!(
            r#"{{"resident": {:.1}, "page_tables": {:.1}, "spawn": {:.1}, "block": {:.1}, "join": {:.1}}}"#,
            bytes(self.waiting.resident, self.before.resident),
            bytes(self.waiting.page_tables, self.before.page_tables),
            nanoseconds(self.spawn),
            nanoseconds(self.block),
            nanoseconds(self.step_began.elapsed()),
        );
    }
}

/// What a process occupies, in bytes: resident memory, and the page tables that map it (stacks spread over the address
/// space cost both).
#[derive(Clone, Copy)]
struct Memory {
    resident: u64,
    page_tables: u64,
}

impl Memory {
    /// Of this process, now.
    ///
    /// # Panics
    /// Where `/proc/self/status` is not to be read, as outside Linux.
    fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
        let field = |name: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(name)).expect("a field of proc(5)");
            let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number of kB");
            kib * 1024
        };
        Self { resident: field("VmRSS:"), page_tables: field("VmPTE:") }
    }
}
