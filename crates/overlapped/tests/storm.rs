//! Ten thousand tasklets on several threads that connect, meet, time out, are cancelled, panic and are dropped at random, in
//! scopes, groups and selects: nothing is in flight in the end, and no tasklet, no descriptor and no value is left or lost.

mod support;

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use overlapped::net::{TcpListener, TcpStream};
use overlapped::sync::mpmc;
use overlapped::{
    CancellationToken, Group, Lock, RwLock, after, engine, readable, scope, select, sleep, spawn, tasklets, timeout,
    yield_now,
};
use support::{LONG, open_descriptors, run_long, wait_long_for};

const THREADS: u64 = 3;
const TASKLETS: u64 = 10_000;
/// So many in a wave.
const EACH: u64 = 100;

static SENT: AtomicU64 = AtomicU64::new(0);
static RECEIVED: AtomicU64 = AtomicU64::new(0);
static CONVERSED: AtomicU64 = AtomicU64::new(0);

/// What the tasklets of a wave have in common; some of it, all threads have.
#[derive(Clone)]
struct World {
    address: SocketAddr,
    token: CancellationToken,
    lock: Lock<u64>,
    table: RwLock<u64>,
    sender: mpmc::Sender<u64>,
    receiver: mpmc::Receiver<u64>,
    /// How many tasklets there were, and are.
    spawned: Rc<Cell<u64>>,
    alive: Rc<Cell<u64>>,
}

/// Counts as a tasklet, from its spawn on.
struct Alive(Rc<Cell<u64>>);

impl Alive {
    fn new(world: &World) -> Alive {
        world.spawned.set(world.spawned.get() + 1);
        world.alive.set(world.alive.get() + 1);
        Alive(Rc::clone(&world.alive))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A panic without a message.
fn panics() {
    resume_unwind(Box::new("a storm's"));
}

fn converse(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"hello")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    assert_eq!(&answer, b"hello");
    CONVERSED.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

fn meet(random: &mut fastrand::Rng, world: &World, limit: Duration) {
    let value = random.u64(1..1000);
    let mut sent = world.sender.sending(value);
    let idle = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    // An error is the tasklet's, which goes on to its end; nothing was taken then.
    let _ = select! {
        outcome = &mut sent => drop(outcome.map(|()| SENT.fetch_add(value, Ordering::Relaxed))),
        came = world.receiver.receiving() => drop(came.map(|value| RECEIVED.fetch_add(value, Ordering::Relaxed))),
        _ = readable(&idle) => unreachable!("nobody knows its address"),
        _ = world.token.cancelling() => {}
        _ = after(limit) => {}
    };
}

fn act(random: &mut fastrand::Rng, world: &World, depth: u32) {
    let short = Duration::from_micros(random.u64(..800));
    match random.u32(..14) {
        0..3 => drop(timeout(short * 4, || converse(world.address))),
        3..6 => meet(random, world, short),
        6 => panics(),
        7 => {
            let mut held = world.lock.acquire();
            sleep(short / 8);
            *held += 1;
        }
        8 => *world.table.write() += 1,
        9 => {
            let held = world.table.read();
            let before = *held;
            sleep(short / 8);
            assert_eq!(*held, before);
        }
        10 if depth < 2 => within_a_scope(random, world, depth + 1, 3),
        11 if depth < 2 => within_a_group(random, world, depth + 1, 3),
        12 => drop(world.token.run_until_cancelled(|| sleep(short))),
        _ => sleep(short),
    }
}

fn within_a_scope(random: &mut fastrand::Rng, world: &World, depth: u32, count: u64) {
    let mut randoms: Vec<_> = (0..count).map(|_| random.fork()).collect();
    scope(|s| {
        for theirs in &mut randoms {
            let alive = Alive::new(world);
            let handle = s.spawn(move || {
                let _alive = alive;
                act(theirs, world, depth);
            });
            match random.u32(..8) {
                0 => handle.cancel(),
                1 => drop(handle.join()),
                2 => yield_now(),
                _ => {}
            }
        }
    });
}

fn within_a_group(random: &mut fastrand::Rng, world: &World, depth: u32, count: u64) {
    Group::run(|group| {
        for _ in 0..count {
            let (mut theirs, world, alive) = (random.fork(), world.clone(), Alive::new(world));
            let handle = group.spawn(move || {
                let _alive = alive;
                act(&mut theirs, &world, depth);
            });
            match random.u32(..8) {
                0 => handle.cancel(),
                1 => drop(handle.join()),
                2 => yield_now(),
                _ => {}
            }
        }
    });
}

fn alone(random: &mut fastrand::Rng, world: &World) {
    let mut handles: Vec<_> = (0..EACH)
        .map(|_| {
            let (mut theirs, world, alive) = (random.fork(), world.clone(), Alive::new(world));
            spawn(move || {
                let _alive = alive;
                act(&mut theirs, &world, 0);
            })
        })
        .collect();
    while let Some(handle) = handles.pop() {
        match random.u32(..6) {
            0 => handle.cancel(),
            1 => drop(handle.join_timeout(Duration::from_micros(300))),
            2 => drop(handle.join()),
            _ => {}
        }
    }
}

/// One thread's part.
fn storm(seed: u64, sender: mpmc::Sender<u64>, receiver: mpmc::Receiver<u64>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            spawn(move || {
                let mut buffer = [0; 5];
                while stream.read_exact(&mut buffer).and_then(|()| stream.write_all(&buffer)).is_ok() {}
            });
        }
    });
    let (lock, table, spawned, alive) = (Lock::new(0), RwLock::new(0), Rc::default(), Rc::default());
    let mut wave = 0;
    while Cell::get(&spawned) * THREADS < TASKLETS {
        wave += 1;
        let (token, sender, receiver) = (CancellationToken::new(), sender.clone(), receiver.clone());
        let (lock, table) = (lock.clone(), table.clone());
        let (spawned, alive) = (Rc::clone(&spawned), Rc::<Cell<u64>>::clone(&alive));
        let world = World { address, token, lock, table, sender, receiver, spawned, alive };
        let limit = Duration::from_micros(random.u64(2_000..60_000));
        match wave % 3 {
            0 => alone(&mut random, &world),
            1 => {
                drop(catch_unwind(AssertUnwindSafe(|| timeout(limit, || within_a_scope(&mut random, &world, 0, EACH)))))
            }
            _ => {
                drop(catch_unwind(AssertUnwindSafe(|| timeout(limit, || within_a_group(&mut random, &world, 0, EACH)))))
            }
        }
        world.token.cancel();
        wait_long_for(2, "the wave's end", || world.alive.get() == 0);
        assert!(!world.lock.is_held() && world.table.try_write().is_some(), "seed {seed}");
    }
    server.cancel();
    server.join().unwrap();
    wait_long_for(2, "the connections' end", || tasklets().len() == 1);
    let scheduler = engine::current().unwrap();
    assert_eq!((scheduler.in_flight(), scheduler.flights()), (0, 0), "seed {seed}");
}

#[test]
fn of_ten_thousand_tasklets_in_a_storm_nothing_is_left() {
    // The process's own, which the first run begins and which stay: a thread that watches, a panic's token.
    run_long(1, || sleep(Duration::from_millis(1)));
    let before = open_descriptors();
    let seed = fastrand::u64(..u64::MAX - THREADS);
    let (sender, receiver) = mpmc::bounded(3);
    let threads: Vec<_> = (seed..seed + THREADS)
        .map(|seed| {
            let (sender, receiver) = (sender.clone(), receiver.clone());
            std::thread::spawn(move || run_long(3, || storm(seed, sender, receiver)))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap_or_else(|_| panic!("seed {seed}")));
    let left: u64 = std::iter::from_fn(|| receiver.try_receive().ok()).sum();
    assert_eq!(SENT.load(Ordering::Relaxed), RECEIVED.load(Ordering::Relaxed) + left, "seed {seed}");
    assert!(SENT.load(Ordering::Relaxed) > 0 && CONVERSED.load(Ordering::Relaxed) > 0);
    let begun = std::time::Instant::now();
    while open_descriptors() > before {
        assert!(begun.elapsed() < LONG, "{} descriptors are left, seed {seed}", open_descriptors() - before);
        std::thread::sleep(Duration::from_millis(2));
    }
}
