//! A port that safe tests can drive.
//!
//! [`Driver::begin`] takes what an operation borrows into its keeping and gives it back with the final completion.
//! A driver that is dropped shuts its port down first, and frees what it keeps only once nothing is in flight. On the
//! way it checks what must hold for every operation: each completion belongs to an operation that was begun, none comes
//! after the final one, and no buffer is written beyond what the completion says.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use overlapped_port::sys::{self, OpenHow, OwnedSocket, RawFile, RawSocket};
use overlapped_port::{
    Address, Buffer, Completion, Config, Interest, Lane, Op, OpId, OpenMode, Outcome, Port, Submitted,
};
use socket2::SockAddr;

use crate::patience::{PATIENCE, patience};
use crate::system;

/// How long a test watches for what must not happen.
pub(crate) const A_WHILE: Duration = Duration::from_millis(25);

/// What a buffer holds where no operation has written.
pub(crate) const CANARY: u8 = 0xA5;

/// Tokens with this bit are a test's own: those of timers and posts.
pub(crate) const OWN: u64 = 1 << 63;

/// An operation that was begun, and the type of what the driver keeps for it.
pub(crate) struct Flight<K = ()> {
    token: u64,
    kept: PhantomData<fn() -> K>,
}

impl<K> Clone for Flight<K> {
    fn clone(&self) -> Flight<K> {
        *self
    }
}

impl<K> Copy for Flight<K> {}

impl<K> Flight<K> {
    /// To watch it, whatever is kept for it.
    pub(crate) fn untyped(self) -> Flight {
        Flight { token: self.token, kept: PhantomData }
    }
}

struct Entry {
    id: Option<OpId>,
    /// From [`Box::into_raw`]: the operation borrows from it.
    kept: *mut dyn Any,
    arrived: VecDeque<Completion>,
    ended: bool,
}

pub(crate) struct Driver {
    /// `None` once it was shut down.
    port: Option<Port>,
    flights: BTreeMap<u64, Entry>,
    next: u64,
    batch: Vec<Completion>,
    own: Vec<u64>,
}

impl Driver {
    pub(crate) fn new(config: Config) -> Driver {
        let port = config.start().expect("the port starts");
        Driver { port: Some(port), flights: BTreeMap::new(), next: 1, batch: Vec::new(), own: Vec::new() }
    }

    pub(crate) fn port(&mut self) -> &mut Port {
        self.port.as_mut().expect("the port was not shut down")
    }

    /// Begins an operation that borrows from `kept`.
    pub(crate) fn begin_with<K: 'static>(
        &mut self,
        kept: K,
        op: impl for<'k> FnOnce(&'k mut K) -> Op<'k>,
    ) -> Flight<K> {
        let kept = Box::into_raw(Box::new(kept));
        // SAFETY: the box is whole, and what `op` returns borrows nothing shorter-lived than it: its lifetime is any.
        let op = op(unsafe { &mut *kept });
        // SAFETY: the box is freed in `finish` or `Driver::drop`, after the final completion, or never.
        let flight = unsafe { self.submit(op, kept) };
        Flight { token: flight, kept: PhantomData }
    }

    /// Begins an operation that borrows nothing.
    pub(crate) fn begin(&mut self, op: Op<'static>) -> Flight {
        self.begin_with_lent(op, ())
    }

    /// Begins an operation that borrows what `owner` lends for ever, and frees when it is dropped.
    pub(crate) fn begin_with_lent<K: 'static>(&mut self, op: Op<'static>, owner: K) -> Flight<K> {
        let owner = Box::into_raw(Box::new(owner));
        // SAFETY: as above.
        let token = unsafe { self.submit(op, owner) };
        Flight { token, kept: PhantomData }
    }

    /// # Safety
    /// What `op` borrows lives as long as `kept`, which comes from a box that nobody else has.
    unsafe fn submit(&mut self, op: Op<'_>, kept: *mut dyn Any) -> u64 {
        let token = self.next;
        self.next += 1;
        // SAFETY: the caller's promise.
        let submitted = unsafe { self.port().submit(op, token) };
        let mut entry = Entry { id: None, kept, arrived: VecDeque::new(), ended: false };
        match submitted {
            Submitted::Pending(id) => entry.id = Some(id),
            Submitted::Done(result) => {
                entry.arrived.push_back(Completion { token, result, more: false });
                entry.ended = true;
            }
        }
        self.flights.insert(token, entry);
        token
    }

    /// Polls once. Returns how many completions there were.
    pub(crate) fn turn(&mut self, timeout: Duration) -> usize {
        let mut batch = std::mem::take(&mut self.batch);
        self.port().poll(Some(timeout), &mut batch).expect("the poll works");
        let count = batch.len();
        for completion in batch.drain(..) {
            let token = completion.token;
            if token & OWN != 0 {
                assert!(matches!(completion, Completion { result: Ok(Outcome::Count(0)), more: false, .. }));
                self.own.push(token);
                continue;
            }
            let entry = self.flights.get_mut(&token).unwrap_or_else(|| panic!("nobody began operation {token}"));
            assert!(!entry.ended, "operation {token} had its final completion already, then {completion:?}");
            entry.ended = !completion.more;
            entry.arrived.push_back(completion);
        }
        self.batch = batch;
        count
    }

    /// The tokens of timers and posts that have come since this was last asked.
    pub(crate) fn own_tokens(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.own)
    }

    /// Polls until `condition` holds, and fails after [`patience`]. No poll ends before something comes: one that looked
    /// again by itself would find what nothing had told it of, and a wake-up that was lost would not show.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut condition: impl FnMut(&mut Driver) -> bool) {
        let (begun, mut limit) = (Instant::now(), PATIENCE);
        while !condition(self) {
            if begun.elapsed() >= limit {
                limit = patience();
            }
            let left = limit.saturating_sub(begun.elapsed());
            assert!(!left.is_zero(), "not within {limit:?}: {what}\n{}", self.port().report());
            let came = self.turn(left);
            assert!(
                came > 0 || begun.elapsed() < limit || !condition(self),
                "nothing told the port of it: {what}\n{}",
                self.port().report()
            );
        }
    }

    fn entry<K>(&mut self, flight: Flight<K>) -> &mut Entry {
        self.flights.get_mut(&flight.token).expect("the operation was begun and not yet finished")
    }

    /// The next completion of an operation, without waiting.
    pub(crate) fn arrived<K>(&mut self, flight: Flight<K>) -> Option<Completion> {
        self.entry(flight).arrived.pop_front()
    }

    /// The next completion of an operation.
    #[track_caller]
    pub(crate) fn next<K>(&mut self, flight: Flight<K>) -> Completion {
        self.until("a completion", |driver| !driver.entry(flight).arrived.is_empty());
        self.arrived(flight).expect("it has arrived")
    }

    /// Whether the operation's final completion has come, taken or not.
    pub(crate) fn has_ended<K>(&mut self, flight: Flight<K>) -> bool {
        self.entry(flight).ended
    }

    /// The final completion's result, and what the operation borrowed.
    #[track_caller]
    pub(crate) fn finish<K: 'static>(&mut self, flight: Flight<K>) -> (io::Result<Outcome>, K) {
        let completion = self.next(flight);
        assert!(!completion.more, "more is to come: {completion:?}");
        (completion.result, self.reclaim(flight))
    }

    /// What a multishot operation brings until its final completion: results with `more`, then the last.
    #[track_caller]
    pub(crate) fn finish_all(&mut self, flight: Flight) -> (Vec<io::Result<Outcome>>, io::Result<Outcome>) {
        let mut before = Vec::new();
        loop {
            let completion = self.next(flight);
            if !completion.more {
                self.reclaim(flight);
                return (before, completion.result);
            }
            before.push(completion.result);
        }
    }

    fn reclaim<K: 'static>(&mut self, flight: Flight<K>) -> K {
        let entry = self.flights.remove(&flight.token).expect("the operation was begun and not yet finished");
        assert!(entry.ended && entry.arrived.is_empty());
        // SAFETY: the pointer came from a box, the operation has ended, and its entry is gone: this is the only owner.
        let kept = unsafe { Box::from_raw(entry.kept) };
        *kept.downcast().expect("a flight has the type of what was kept for it")
    }

    /// Runs an operation that borrows from `kept` to its end.
    #[track_caller]
    pub(crate) fn run_with<K: 'static>(
        &mut self,
        kept: K,
        op: impl for<'k> FnOnce(&'k mut K) -> Op<'k>,
    ) -> (io::Result<Outcome>, K) {
        let flight = self.begin_with(kept, op);
        self.finish(flight)
    }

    /// Runs an operation that borrows nothing to its end.
    #[track_caller]
    pub(crate) fn run(&mut self, op: Op<'static>) -> io::Result<Outcome> {
        let flight = self.begin(op);
        self.finish(flight).0
    }

    /// Cancels an operation, as often as the caller likes.
    pub(crate) fn cancel<K>(&mut self, flight: Flight<K>) {
        if let Some(id) = self.entry(flight).id {
            self.port().cancel(id);
        }
    }

    /// Cancels an operation that waits, and checks that it ends with nothing but the system's "cancelled".
    #[track_caller]
    pub(crate) fn cancel_waiting<K: 'static>(&mut self, flight: Flight<K>) -> K {
        self.cancel(flight);
        let (result, kept) = self.finish(flight);
        assert_cancelled(&result);
        kept
    }

    /// Watches for [`A_WHILE`] whether an operation waits: false as soon as a completion has come.
    pub(crate) fn waits<K>(&mut self, flight: Flight<K>) -> bool {
        let deadline = Instant::now() + A_WHILE;
        while self.entry(flight).arrived.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            self.turn(left);
        }
        false
    }

    #[track_caller]
    pub(crate) fn assert_waits<K>(&mut self, flight: Flight<K>) {
        if !self.waits(flight) {
            panic!("the operation should wait, and has {:?}", self.arrived(flight));
        }
    }

    /// Shuts the port down; what operations that did not end borrow is leaked.
    pub(crate) fn shutdown(mut self, patience: Duration) -> io::Result<()> {
        self.end(patience)
    }

    /// In the child after a fork: leaves the port to the parent.
    #[cfg(unix)]
    pub(crate) fn abandon_after_fork(&mut self) {
        let mut port = self.port.take().expect("the port was not shut down");
        port.abandon_after_fork();
    }

    fn end(&mut self, patience: Duration) -> io::Result<()> {
        let Some(mut port) = self.port.take() else { return Ok(()) };
        let ended = port.shutdown(patience);
        if ended.is_ok() {
            for entry in std::mem::take(&mut self.flights).into_values() {
                // SAFETY: nothing is in flight, and the pointer came from a box that only the entry has.
                drop(unsafe { Box::from_raw(entry.kept) });
            }
        }
        ended
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let ended = self.end(patience());
        if !std::thread::panicking() {
            ended.expect("the port shuts down");
        }
    }
}

/// Each kind of operation by a name, with the result in the form that a test wants.
impl Driver {
    pub(crate) fn begin_accept(&mut self, listener: RawSocket) -> Flight<Address> {
        self.begin_with(Address::empty(), |peer| Op::Accept { listener, peer: Some(peer) })
    }

    #[track_caller]
    pub(crate) fn accepted(&mut self, flight: Flight<Address>) -> io::Result<(OwnedSocket, Address)> {
        let (result, peer) = self.finish(flight);
        result.map(|outcome| (socket(outcome), peer))
    }

    #[track_caller]
    pub(crate) fn accept(&mut self, listener: RawSocket) -> io::Result<(OwnedSocket, Address)> {
        let flight = self.begin_accept(listener);
        self.accepted(flight)
    }

    pub(crate) fn begin_connect(&mut self, socket: RawSocket, address: SockAddr) -> Flight<Address> {
        self.begin_with(Address::from(address), |address| Op::Connect { socket, address })
    }

    #[track_caller]
    pub(crate) fn connect(&mut self, socket: RawSocket, address: SockAddr) -> io::Result<usize> {
        let flight = self.begin_connect(socket, address);
        self.finish(flight).0.map(count)
    }

    pub(crate) fn begin_recv(&mut self, socket: RawSocket, room: usize, flags: i32) -> Flight<Vec<u8>> {
        self.begin_with(vec![CANARY; room], |buffer| Op::Recv { socket, buffer: fillable(buffer), flags })
    }

    pub(crate) fn begin_read(&mut self, file: RawFile, room: usize, offset: Option<u64>) -> Flight<Vec<u8>> {
        self.begin_with(vec![CANARY; room], |buffer| Op::Read { file, buffer: fillable(buffer), offset })
    }

    /// The bytes that a receive or read brought, where it ended well. What lies behind them was not touched.
    #[track_caller]
    pub(crate) fn received(&mut self, flight: Flight<Vec<u8>>) -> io::Result<Vec<u8>> {
        let (result, mut buffer) = self.finish(flight);
        let result = result.map(count);
        let filled = *result.as_ref().unwrap_or(&0);
        assert!(filled <= buffer.len(), "{filled} bytes in a buffer of {}", buffer.len());
        assert!(buffer[filled..].iter().all(|byte| *byte == CANARY), "bytes were written that are not reported");
        buffer.truncate(filled);
        result.map(|_| buffer)
    }

    #[track_caller]
    pub(crate) fn recv(&mut self, socket: RawSocket, room: usize) -> io::Result<Vec<u8>> {
        let flight = self.begin_recv(socket, room, 0);
        self.received(flight)
    }

    #[track_caller]
    pub(crate) fn read(&mut self, file: RawFile, room: usize, offset: Option<u64>) -> io::Result<Vec<u8>> {
        let flight = self.begin_read(file, room, offset);
        self.received(flight)
    }

    pub(crate) fn begin_recv_provided(&mut self, socket: RawSocket, limit: usize) -> Flight {
        self.begin(Op::RecvProvided { socket, limit, flags: 0 })
    }

    /// A copy of the bytes in a provided buffer, which is given back. None are there at the end of a stream.
    #[track_caller]
    pub(crate) fn provided(&mut self, outcome: Outcome) -> Vec<u8> {
        let Outcome::Provided(buffer) = outcome else { panic!("{outcome:?} is no provided buffer") };
        let Some(buffer) = buffer else { return Vec::new() };
        let bytes = self.port().buffer(&buffer).to_vec();
        self.port().recycle(buffer).unwrap();
        bytes
    }

    /// A copy of the bytes in a buffer that is not given back yet.
    #[track_caller]
    pub(crate) fn held(&mut self, outcome: Outcome) -> (Vec<u8>, Buffer) {
        let Outcome::Provided(Some(buffer)) = outcome else { panic!("{outcome:?} holds no provided buffer") };
        (self.port().buffer(&buffer).to_vec(), buffer)
    }

    #[track_caller]
    pub(crate) fn recv_provided(&mut self, socket: RawSocket, limit: usize) -> io::Result<Vec<u8>> {
        let flight = self.begin_recv_provided(socket, limit);
        self.finish(flight).0.map(|outcome| self.provided(outcome))
    }

    /// Receives until there are `room` bytes or the stream ends.
    #[track_caller]
    pub(crate) fn recv_exactly(&mut self, socket: RawSocket, room: usize) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while all.len() < room {
            let bytes = self.recv(socket, room - all.len())?;
            if bytes.is_empty() {
                break;
            }
            all.extend(bytes);
        }
        Ok(all)
    }

    pub(crate) fn begin_send(&mut self, socket: RawSocket, bytes: Vec<u8>, all: bool) -> Flight<Vec<u8>> {
        self.begin_with(bytes, |bytes| Op::Send { socket, buffer: bytes, flags: 0, all })
    }

    #[track_caller]
    pub(crate) fn send(&mut self, socket: RawSocket, bytes: &[u8]) -> io::Result<usize> {
        let flight = self.begin_send(socket, bytes.to_vec(), true);
        self.counted(flight)
    }

    pub(crate) fn begin_write(&mut self, file: RawFile, bytes: Vec<u8>, offset: Option<u64>) -> Flight<Vec<u8>> {
        self.begin_with(bytes, |bytes| Op::Write { file, buffer: bytes, offset })
    }

    #[track_caller]
    pub(crate) fn write(&mut self, file: RawFile, bytes: &[u8], offset: Option<u64>) -> io::Result<usize> {
        let flight = self.begin_write(file, bytes.to_vec(), offset);
        self.counted(flight)
    }

    /// The number that an operation brought, where it ended well.
    #[track_caller]
    pub(crate) fn counted<K: 'static>(&mut self, flight: Flight<K>) -> io::Result<usize> {
        self.finish(flight).0.map(count)
    }

    #[track_caller]
    pub(crate) fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<File> {
        self.open_how(path, OpenHow::new(mode).expect("a mode that makes sense"))
    }

    #[track_caller]
    pub(crate) fn open_how(&mut self, path: &Path, how: OpenHow) -> io::Result<File> {
        let path = sys::system_path(path).expect("a path without NUL");
        let (result, _) = self.run_with(path, |path| Op::Open { path, how });
        result.map(|outcome| match outcome {
            Outcome::File(file) => File::from(file),
            other => panic!("{other:?} is no file"),
        })
    }

    pub(crate) fn begin_poll(&mut self, socket: RawSocket, interest: Interest) -> Flight {
        self.begin(Op::Poll { socket, interest })
    }

    /// What a descriptor is ready for.
    #[track_caller]
    pub(crate) fn readiness(&mut self, flight: Flight) -> Interest {
        let bits = self.counted(flight).expect("readiness");
        Interest(u8::try_from(bits).expect("the bits of an interest"))
    }

    pub(crate) fn begin_call(&mut self, function: impl FnOnce() -> io::Result<usize> + Send + 'static) -> Flight {
        self.begin_call_in(Lane::Long, function)
    }

    pub(crate) fn begin_call_in(
        &mut self,
        lane: Lane,
        function: impl FnOnce() -> io::Result<usize> + Send + 'static,
    ) -> Flight {
        self.begin(Op::Call { function: Box::new(function), lane })
    }
}

/// The number that an operation brought.
#[track_caller]
pub(crate) fn count(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Count(count) => count,
        other => panic!("{other:?} is no count"),
    }
}

/// The socket that an accept brought.
#[track_caller]
pub(crate) fn socket(outcome: Outcome) -> OwnedSocket {
    match outcome {
        Outcome::Socket(socket) => socket,
        other => panic!("{other:?} is no socket"),
    }
}

#[track_caller]
pub(crate) fn assert_cancelled(result: &io::Result<Outcome>) {
    match result {
        Err(error) if error.raw_os_error() == Some(system::CANCELLED) => {}
        other => panic!("{other:?} is not the error of a cancelled operation"),
    }
}

/// The bytes as an operation takes them to fill.
pub(crate) fn fillable(bytes: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    // SAFETY: the same memory; the port writes received bytes into it, never "uninitialised".
    unsafe { &mut *(std::ptr::from_mut(bytes) as *mut [MaybeUninit<u8>]) }
}

/// `length` bytes of a stream, from a position on: what arrives shows from where it came. Streams differ in where they
/// begin in one long pattern, whose length no buffer is a multiple of.
pub(crate) fn bytes_at(stream: u64, position: usize, length: usize) -> Vec<u8> {
    const PERIOD: usize = 65_521;
    static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut random = fastrand::Rng::with_seed(0);
        (0..PERIOD).map(|_| random.u8(..)).collect()
    });
    let mut at = (position + stream as usize * 7_919) % PERIOD;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let piece = &PATTERN[at..];
        bytes.extend_from_slice(&piece[..piece.len().min(length - bytes.len())]);
        at = 0;
    }
    bytes
}
