//! Who overflowed: which tasklet runs on which stack, where the handler of a fault can read it.
//!
//! Each scheduler has an [`OverflowWatch`], which points at the [`Occupant`] of the stack that it runs on: one plain store at
//! each switch. The handler of the fault looks through the watches for the one of its thread. It does not use a
//! thread-local: in a shared library the first access to one may allocate, and the fault may have come from the allocator.
//! For the same reason records are never freed, only used again.

use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use super::{Bounds, sys};

/// The tasklet on a stack.
pub(crate) struct Occupant {
    pub(crate) bounds: Bounds,
    pub(crate) name: Option<Arc<str>>,
}

/// What one scheduler runs now.
struct Record {
    next: AtomicPtr<Record>,
    /// The thread whose it is, 0 while nobody's.
    thread: AtomicUsize,
    /// Who runs there, null while no tasklet does.
    occupant: AtomicPtr<Occupant>,
}

/// The newest record; the others hang on it.
static RECORDS: AtomicPtr<Record> = AtomicPtr::new(ptr::null_mut());

/// Every record that there is.
fn records() -> impl Iterator<Item = &'static Record> {
    // SAFETY: a record is leaked before it gets into the list, and stays in it.
    let follow = |link: &AtomicPtr<Record>| unsafe { link.load(Ordering::Acquire).as_ref::<'static>() };
    std::iter::successors(follow(&RECORDS), move |record| follow(&record.next))
}

/// Makes an overflow of the stack that a thread's scheduler runs on end the process with a message that names the tasklet.
/// It stays on its thread.
pub(crate) struct OverflowWatch {
    record: &'static Record,
    not_send: PhantomData<*mut ()>,
}

impl OverflowWatch {
    /// Begins to watch this thread: installs the process's handler, once, and what the thread needs for it to run.
    /// Faults elsewhere go on to the handler that was there before.
    pub(crate) fn new() -> Self {
        sys::watch_overflow();
        let thread = sys::thread_id();
        let claim =
            |record: &&Record| record.thread.compare_exchange(0, thread, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        let record = records().find(claim).unwrap_or_else(|| {
            let record: &'static Record = Box::leak(Box::new(Record {
                next: AtomicPtr::default(),
                thread: AtomicUsize::new(thread),
                occupant: AtomicPtr::default(),
            }));
            let mut head = RECORDS.load(Ordering::Acquire);
            loop {
                record.next.store(head, Ordering::Relaxed);
                let new = ptr::from_ref(record).cast_mut();
                match RECORDS.compare_exchange_weak(head, new, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => break record,
                    Err(newer) => head = newer,
                }
            }
        });
        Self { record, not_send: PhantomData }
    }

    /// Says that a tasklet is about to run on its stack.
    ///
    /// # Safety
    /// `occupant` must stay where and as it is until the next call of this or of [`clear`](Self::clear).
    #[inline]
    pub(crate) unsafe fn set_current(&self, occupant: &Occupant) {
        // Relaxed is enough: the reader is a handler on the same thread, and the switch to the stack is between.
        self.record.occupant.store(ptr::from_ref(occupant).cast_mut(), Ordering::Relaxed);
    }

    /// Says that no tasklet runs.
    #[inline]
    pub(crate) fn clear(&self) {
        self.record.occupant.store(ptr::null_mut(), Ordering::Relaxed);
    }
}

impl Drop for OverflowWatch {
    fn drop(&mut self) {
        self.clear();
        self.record.thread.store(0, Ordering::Release);
    }
}

/// A message put together without allocating.
pub(super) struct Message {
    bytes: [u8; 256],
    length: usize,
}

impl Message {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn push(&mut self, text: &[u8]) {
        let room = &mut self.bytes[self.length..];
        let count = text.len().min(room.len());
        room[..count].copy_from_slice(&text[..count]);
        self.length += count;
    }

    fn push_number(&mut self, mut number: usize) {
        let mut digits = [0; 20];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.push(&digits[start..]);
    }
}

/// What to say where `overflowed` finds that the stack of the tasklet that runs on this thread is the one that overflowed.
/// May be called from a signal handler: it only reads memory and fills the message.
pub(super) fn explain(overflowed: impl Fn(Bounds) -> bool) -> Option<Message> {
    let thread = sys::thread_id();
    let mine = records().filter(|record| record.thread.load(Ordering::Relaxed) == thread);
    // SAFETY: `set_current`'s caller keeps it in place while its tasklet runs, and it is the one that runs.
    let mut running = mine.filter_map(|record| unsafe { record.occupant.load(Ordering::Relaxed).as_ref() });
    let Occupant { bounds, name } = running.find(|occupant| overflowed(occupant.bounds))?;
    let name = name.as_deref().unwrap_or_default().as_bytes();
    let mut message = Message { bytes: [0; 256], length: 0 };
    if name.is_empty() {
        message.push(b"overlapped: a tasklet without a name has");
    } else {
        message.push(b"overlapped: tasklet '");
        message.push(&name[..name.len().min(96)]);
        message.push(b"' has");
    }
    message.push(b" overflowed its stack of ");
    message.push_number(bounds.size / 1024);
    message.push(b" KiB; spawn it with a larger one (Builder::stack_size)\n");
    Some(message)
}
