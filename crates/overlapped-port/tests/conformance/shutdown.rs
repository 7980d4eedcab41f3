//! The end of a port: nothing in flight is freed, nothing stays open.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use overlapped_port::sys::{raw_file, raw_socket};
use overlapped_port::{Config, Interest, Lane, Op, Submitted};

use crate::driver::{Driver, bytes_at};
use crate::loopback::{listener, pair};
use crate::patience::patience;
use crate::system;

crate::on_every_backend!(
    an_idle_port_shuts_down,
    a_port_with_operations_in_flight_shuts_down,
    a_port_with_a_hundred_receives_on_one_socket_shuts_down,
    a_port_that_was_shut_down_begins_nothing,
    a_port_with_unpolled_completions_shuts_down,
    a_port_with_timers_and_posts_shuts_down,
    a_socket_that_was_never_taken_is_closed,
    shutdown_waits_for_a_call,
    shutdown_that_cannot_end_names_what_is_left;
    alone:
    shutdown_closes_every_descriptor,
    drop_closes_every_descriptor,
);

fn an_idle_port_shuts_down(config: Config) {
    config.start().unwrap().shutdown(Duration::ZERO).unwrap();
}

/// What a test began and a shutdown has to end; the sockets stay open until it is over.
struct Busy {
    driver: Driver,
    listener: TcpListener,
    sockets: Vec<(TcpStream, TcpStream)>,
}

/// A port with operations of each kind in flight.
fn busy(config: Config) -> Busy {
    let mut driver = Driver::new(config.buffers(2, 64));
    let listener = listener();
    driver.begin_accept(raw_socket(&listener));
    driver.begin(Op::AcceptMultishot { listener: raw_socket(&listener) });
    let sockets: Vec<_> = (0..30).map(|_| pair()).collect();
    for (number, (client, server)) in sockets.iter().enumerate() {
        let socket = raw_socket(server);
        match number % 6 {
            0 => drop(driver.begin_recv(socket, 100, 0)),
            1 => drop(driver.begin_recv_provided(socket, 100)),
            2 => drop(driver.begin(Op::RecvMultishot { socket })),
            3 => drop(driver.begin_recv_message(socket, &[10, 20], 64, 0)),
            4 => drop(driver.begin_poll(socket, Interest::READABLE)),
            _ => drop(driver.begin_send(socket, bytes_at(1, 0, 8 << 20), true)),
        }
        // Some multishot receives pause, for nobody gives a buffer back.
        if number % 12 == 2 {
            (&*client).write_all(&[0; 500]).unwrap();
        }
    }
    driver.turn(Duration::ZERO);
    driver.turn(Duration::from_millis(1));
    Busy { driver, listener, sockets }
}

fn a_port_with_operations_in_flight_shuts_down(config: Config) {
    let Busy { driver, listener, sockets } = busy(config);
    driver.shutdown(patience()).unwrap();
    drop(listener);
    for (mut client, server) in sockets {
        drop(server);
        let mut rest = Vec::new();
        // A receive that did not take all bytes makes the system reset the connection.
        match client.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "somebody holds the socket open"),
        }
    }
}

fn a_port_with_a_hundred_receives_on_one_socket_shuts_down(config: Config) {
    let mut driver = Driver::new(config);
    let (_client, server) = pair();
    for _ in 0..100 {
        driver.begin_recv(raw_socket(&server), 10, 0);
    }
    driver.shutdown(patience()).unwrap();
}

fn a_port_that_was_shut_down_begins_nothing(config: Config) {
    let mut port = config.start().unwrap();
    port.shutdown(patience()).unwrap();
    let (_client, server) = pair();
    let (ran, has_run) = std::sync::mpsc::channel();
    let function = Box::new(move || {
        let _ = ran.send(());
        Ok(0)
    });
    for op in [
        Op::Poll { socket: raw_socket(&server), interest: Interest::WRITABLE },
        Op::Call { function, lane: Lane::Short },
    ] {
        let name = op.name();
        // SAFETY: the operation borrows nothing.
        let Submitted::Done(result) = (unsafe { port.submit(op, 1) }) else { panic!("{name} is under way") };
        let error = result.unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("shut down"), "{error}");
    }
    // Its end is that of the function, which was dropped and not run.
    assert!(has_run.recv().is_err());
    assert_eq!(port.in_flight(), 0);
}

fn a_port_with_unpolled_completions_shuts_down(config: Config) {
    let mut driver = Driver::new(config.buffers(4, 64));
    let (client, server) = pair();
    let file = system::file_with(b"");
    for round in 0..20 {
        driver.begin_write(raw_file(&file), vec![1; 1000], Some(round * 1000));
        driver.begin_recv_provided(raw_socket(&server), 8);
        (&client).write_all(b"12345678").unwrap();
    }
    driver.shutdown(patience()).unwrap();
    // What was in flight has either happened or not: nothing changes any more.
    let length = file.metadata().unwrap().len();
    assert_eq!(length % 1000, 0);
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(file.metadata().unwrap().len(), length);
}

fn a_port_with_timers_and_posts_shuts_down(config: Config) {
    let mut port = config.start().unwrap();
    port.set_timer(Instant::now() + Duration::from_secs(3600), 1);
    port.waker().post(2);
    let start = Instant::now();
    port.shutdown(patience()).unwrap();
    assert!(start.elapsed() < patience() / 2, "a timer holds nobody up");
}

fn a_socket_that_was_never_taken_is_closed(config: Config) {
    let mut driver = Driver::new(config);
    let listener = listener();
    driver.begin(Op::AcceptMultishot { listener: raw_socket(&listener) });
    driver.begin_accept(raw_socket(&listener));
    driver.turn(Duration::ZERO);
    let mut clients: Vec<_> = (0..5).map(|_| TcpStream::connect(listener.local_addr().unwrap()).unwrap()).collect();
    driver.shutdown(patience()).unwrap();
    drop(listener);
    for client in &mut clients {
        assert!(crate::loopback::is_closed_by_peer(client).unwrap(), "somebody holds the accepted socket open");
    }
}

fn shutdown_waits_for_a_call(config: Config) {
    let mut driver = Driver::new(config);
    let witness = Arc::new(());
    let held = Arc::clone(&witness);
    driver.begin_call(move || {
        std::thread::sleep(Duration::from_millis(50));
        drop(held);
        Ok(0)
    });
    driver.turn(Duration::ZERO);
    driver.shutdown(patience()).unwrap();
    assert_eq!(Arc::strong_count(&witness), 1, "it ran to its end, or was dropped unrun");
}

fn shutdown_that_cannot_end_names_what_is_left(config: Config) {
    let mut driver = Driver::new(config.threads(1));
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (begun, has_begun) = std::sync::mpsc::channel();
    driver.begin_call(move || {
        begun.send(()).unwrap();
        let _ = released.recv();
        Ok(0)
    });
    has_begun.recv().unwrap();
    let (_client, server) = pair();
    driver.begin_recv(raw_socket(&server), 8, 0);
    let start = Instant::now();
    let error = driver.shutdown(Duration::from_millis(100)).unwrap_err();
    assert!(start.elapsed() >= Duration::from_millis(100));
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let text = error.to_string();
    assert!(text.contains("1 operation") && text.contains("call"), "it does not name what is left: {text}");
    assert!(!text.contains("recv on"), "what could be cancelled is not left: {text}");
    drop(release);
}

/// Checks that `end` leaves no descriptor behind, several times, so that one that closes late hides none.
fn closes_every_descriptor(config: &Config, end: impl Fn(Driver)) {
    for round in 0..5 {
        let before = system::open_handles();
        let Busy { driver, listener, sockets } = busy(config.clone());
        end(driver);
        drop((listener, sockets));
        let deadline = Instant::now() + patience();
        loop {
            let left: BTreeSet<_> = system::open_handles().difference(&before).cloned().collect();
            if left.is_empty() {
                break;
            }
            // The kernel frees a ring, and a thread of the pool lets go of its port, a moment later.
            assert!(Instant::now() < deadline, "open after round {round}: {left:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn shutdown_closes_every_descriptor(config: Config) {
    closes_every_descriptor(&config, |driver| driver.shutdown(patience()).unwrap());
}

fn drop_closes_every_descriptor(config: Config) {
    closes_every_descriptor(&config, drop);
}
