//! Ten thousand tasklets on several threads that connect, run out of time, are cancelled, panic and are dropped, as
//! chance has it: at the end nothing is left of them.

mod support;

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::time::Duration;

use fastrand::Rng;
use overlapped::net::{TcpListener, TcpStream};
use overlapped::{
    Config, Event, Group, Handle, JoinHandle, Queue, first_of, handles, offload, sleep, spawn, spawn_anywhere,
    spawn_blocking, timeout, yield_now,
};
use support::{LONG, Watch, alone, open_descriptors, wait_for, wait_long_for};

/// Under Wine each operation takes many times as long.
const TASKLETS: usize = if cfg!(windows) { 2_000 } else { 10_000 };
/// So many at once.
const BATCH: usize = 250;

/// The payload of the panics that are meant: they print nothing.
struct Meant;

/// A connection that is reset when it is closed, so that no port waits.
fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(server)?;
    stream.set_linger(Some(Duration::ZERO))?;
    Ok(stream)
}

/// There and back.
fn converse(server: SocketAddr, number: u64) -> io::Result<()> {
    let mut stream = connect(server)?;
    let mut answer = [0; 8];
    for round in 0..3 {
        let request = (number + round).to_ne_bytes();
        stream.write_all(&request)?;
        stream.read_exact(&mut answer)?;
        assert_eq!(answer, request, "what comes back is what was sent");
    }
    Ok(())
}

/// Waits for what never comes, in one of several ways.
fn wait_in_vain(server: SocketAddr, rng: &mut Rng) -> io::Result<()> {
    match rng.u8(..6) {
        0 => connect(server)?.read_exact(&mut [0; 8]),
        1 => {
            sleep(LONG);
            Ok(())
        }
        2 => Queue::<u8>::new().get().map(drop).map_err(|_| io::ErrorKind::Interrupted.into()),
        3 => first_of(&mut [&mut Event::new().waiting(), &mut Queue::<u8>::new().getting()]).map(drop),
        4 => spawn_anywhere(|| sleep(Duration::from_millis(1))).join().map_err(io::Error::from),
        _ => offload(|| std::thread::sleep(Duration::from_micros(200))),
    }
}

/// Members some of which are given away, and one that may fail.
fn in_a_group(server: SocketAddr, rng: &mut Rng) {
    let (number, fails) = (rng.u64(..), rng.bool());
    let failed: Result<(), &str> = Group::try_run(|group| {
        for member in 0..3 {
            group.spawn(move || drop(spawn_anywhere(move || converse(server, number + member)).join()));
        }
        group.try_spawn(move || {
            yield_now();
            if fails { Err("as it should") } else { Ok(()) }
        });
        Ok(())
    });
    assert!(failed.is_ok() || fails);
}

/// One tasklet's life.
fn live(server: SocketAddr, mut rng: Rng) {
    match rng.u8(..8) {
        0..3 => drop(converse(server, rng.u64(..))),
        3 => drop(timeout(Duration::from_micros(rng.u64(..2000)), || wait_in_vain(server, &mut rng))),
        4 => {
            let _stream = connect(server);
            yield_now();
            resume_unwind(Box::new(Meant));
        }
        5 => in_a_group(server, &mut rng),
        6 => drop(spawn_blocking(move || std::thread::sleep(Duration::from_micros(rng.u64(..300)))).join()),
        // It is cancelled: else it would not end.
        _ => drop(timeout(LONG, || wait_in_vain(server, &mut rng))),
    }
}

/// Begins a batch, on whatever threads, and ends it: most are cancelled sooner or later, some are joined, the handles
/// of some are dropped while they run.
fn batch(server: SocketAddr, rng: &mut Rng) {
    let threads = handles();
    let mut tasklets: Vec<JoinHandle<()>> = (0..BATCH)
        .map(|_| {
            let theirs = rng.fork();
            let life = move || live(server, theirs);
            match rng.u8(..3) {
                0 => spawn(life),
                1 => threads[rng.usize(..threads.len())].spawn(life),
                _ => spawn_anywhere(life),
            }
        })
        .collect();
    rng.shuffle(&mut tasklets);
    for tasklet in tasklets {
        match rng.u8(..4) {
            0 => tasklet.cancel(),
            1 => yield_now(),
            _ => {}
        }
        // What waits in vain is told in the end.
        let tasklet = match tasklet.join_timeout(Duration::from_micros(rng.u64(..500))) {
            Ok(ended) => {
                check(ended);
                continue;
            }
            Err(tasklet) => tasklet,
        };
        tasklet.cancel();
        if rng.bool() {
            check(tasklet.join());
        }
    }
}

fn check(ended: Result<(), overlapped::JoinError>) {
    let Err(error) = ended else { return };
    if error.is_cancelled() {
        return;
    }
    let payload = error.into_panic().expect("it was cancelled, or has panicked");
    assert!(payload.is::<Meant>(), "a panic that was not meant: {:?}", payload.downcast_ref::<String>());
}

/// What is left on a thread: operations in flight and timers, tasklets, stacks.
fn left(thread: &Handle) -> (usize, usize, usize, bool) {
    let seen = thread.spawn(|| {
        let report = overlapped::report().unwrap();
        let one_stack = report.setup.iter().any(|fact| fact.ends_with("; 1 in use"));
        (report.in_flight.len(), report.timers, overlapped::tasklets().len(), one_stack)
    });
    seen.join().unwrap()
}

fn storm(schedulers: usize) {
    let _watch = Watch::new();
    let _alone = alone();
    let seed =
        std::env::var("OVERLAPPED_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("OVERLAPPED_SEED={seed}");
    // What the process opens once stays open.
    Config::new().schedulers(schedulers).run(|| drop(spawn_blocking(|| ()).join()));
    let before = open_descriptors();
    Config::new().schedulers(schedulers).run(|| {
        let mut rng = Rng::with_seed(seed);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let serving = spawn(move || {
            listener.serve(|mut stream, _| {
                let mut request = [0; 8];
                while stream.read_exact(&mut request).is_ok() && stream.write_all(&request).is_ok() {}
            })
        });
        (0..TASKLETS / BATCH).for_each(|_| batch(server, &mut rng));
        // Those whose handles were dropped, and the connections that they had.
        wait_long_for(2, "all have ended", || handles().iter().map(Handle::load).sum::<usize>() == 1);
        serving.cancel();
        assert!(overlapped::is_cancelled(&serving.join().unwrap().unwrap_err()));
        for thread in handles() {
            // The thread itself, and the one that looks.
            wait_for("nothing is in flight", || left(&thread) == (0, 0, 2, true));
        }
    });
    assert_eq!(open_descriptors(), before, "a descriptor is left");
}

#[test]
fn nothing_is_left_of_a_storm_on_two_threads() {
    storm(2);
}

#[test]
fn nothing_is_left_of_a_storm_on_four_threads() {
    storm(4);
}
