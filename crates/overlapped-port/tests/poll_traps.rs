//! What can go wrong in the readiness backend alone: the traps that its module documentation names.
#![cfg(unix)]

#[path = "conformance/patience.rs"]
mod patience;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use overlapped_port::sys::MSG_WAITALL;
use overlapped_port::{Completion, Config, Interest, Kind, Op, OpId, Outcome, Port, Submitted};
use patience::patience;
use socket2::{Domain, SockRef, Socket, Type};

/// How long a test counts what the backend does while nothing happens.
const A_WHILE: Duration = Duration::from_millis(200);

fn port() -> Port {
    Config::new().backend(Kind::Poll).start().unwrap()
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

fn reset(socket: TcpStream) {
    SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
}

fn submit(port: &mut Port, op: Op<'static>) -> Submitted {
    // SAFETY: what the operation borrows is borrowed for ever, and the tests keep its descriptor open until its end.
    unsafe { port.submit(op, 0) }
}

fn begin(port: &mut Port, op: Op<'static>) -> OpId {
    match submit(port, op) {
        Submitted::Pending(id) => id,
        Submitted::Done(result) => panic!("it should wait, and has {result:?}"),
    }
}

/// The next completion; the tests have one operation in flight at a time where they call this.
fn completion(port: &mut Port) -> std::io::Result<Outcome> {
    let mut completions: Vec<Completion> = Vec::new();
    let deadline = Instant::now() + patience();
    while completions.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "no completion: {}", port.report());
        port.poll(Some(left), &mut completions).unwrap();
    }
    completions.remove(0).result
}

fn run(port: &mut Port, op: Op<'static>) -> std::io::Result<usize> {
    let result = match submit(port, op) {
        Submitted::Done(result) => result,
        Submitted::Pending(_) => completion(port),
    };
    result.map(|outcome| match outcome {
        Outcome::Count(count) => count,
        other => panic!("{other:?} is no count"),
    })
}

fn recv(socket: &TcpStream, room: usize, flags: i32) -> Op<'static> {
    Op::Recv { socket: socket.as_raw_fd(), buffer: Box::leak(Box::new_uninit_slice(room)), flags }
}

/// Polls for a while in which nothing may end, and returns how often the kernel was entered.
fn entries_meanwhile(port: &mut Port) -> u64 {
    let before = port.report().counters.kernel_entries;
    let end = Instant::now() + A_WHILE;
    let mut completions = Vec::new();
    while Instant::now() < end {
        port.poll(Some(end.saturating_duration_since(Instant::now())), &mut completions).unwrap();
        assert!(completions.is_empty(), "{completions:?}");
    }
    port.report().counters.kernel_entries - before
}

/// Urgent data is not to be read, and must not wake those who read.
#[test]
fn urgent_data_that_nobody_takes_does_not_spin() {
    let mut port = port();
    let (mut client, server) = pair();
    SockRef::from(&client).send_out_of_band(b"!").unwrap();
    let urgent = Op::Poll { socket: server.as_raw_fd(), interest: Interest::PRIORITY };
    assert_eq!(run(&mut port, urgent).unwrap(), usize::from(Interest::PRIORITY.0));
    begin(&mut port, Op::Poll { socket: server.as_raw_fd(), interest: Interest::READABLE });
    assert!(entries_meanwhile(&mut port) < 100, "{}", port.report());
    client.write_all(b"plain").unwrap();
    let readable = usize::from(Interest::READABLE.0);
    assert!(matches!(completion(&mut port), Ok(Outcome::Count(bits)) if bits == readable));
}

/// Fewer than a wake-up each ten milliseconds: what is tried by time costs more, what spins far more.
const FEW: u64 = 10;

/// Each connection wakes all threads that accept on the listener; those that come too late must sleep again, and not go on
/// trying by time.
#[test]
fn a_listener_that_several_threads_share_costs_nothing_while_idle() {
    const CONNECTIONS: usize = 500;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (number, address) = (listener.as_raw_fd(), listener.local_addr().unwrap());
    let accepted = Arc::new(AtomicUsize::new(0));
    let serve = |accepted: Arc<AtomicUsize>| {
        move || {
            let mut port = port();
            let mut waiting = false;
            while accepted.load(Ordering::SeqCst) < CONNECTIONS {
                waiting = waiting
                    || matches!(submit(&mut port, Op::Accept { listener: number, peer: None }), Submitted::Pending(_));
                if !waiting {
                    accepted.fetch_add(1, Ordering::SeqCst);
                    continue;
                }
                let mut completions = Vec::new();
                port.poll(Some(Duration::from_millis(50)), &mut completions).unwrap();
                waiting = completions.is_empty();
                accepted.fetch_add(completions.len(), Ordering::SeqCst);
            }
            if !waiting {
                begin(&mut port, Op::Accept { listener: number, peer: None });
            }
            entries_meanwhile(&mut port)
        }
    };
    let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(serve(Arc::clone(&accepted)))).collect();
    for _ in 0..CONNECTIONS {
        drop(TcpStream::connect(address).unwrap());
    }
    for thread in threads {
        let entries = thread.join().unwrap();
        assert!(entries < FEW, "{entries} entries into the kernel while nobody connects");
    }
}

/// A socket with queued errors has `POLLERR`, which cannot be masked and no receive takes away.
#[test]
#[cfg(target_os = "linux")]
fn queued_errors_that_nobody_takes_cost_nothing() {
    let mut port = port();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    set_option(&socket, libc::SOL_IP, libc::IP_RECVERR, 1);
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    socket.send_to(b"to nobody", nobody).unwrap();
    // The error is told once, and stays queued.
    let error = run(&mut port, recv_number(socket.as_raw_fd(), 8)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    begin(&mut port, recv_number(socket.as_raw_fd(), 8));
    assert!(entries_meanwhile(&mut port) < FEW, "{}", port.report());
    let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.send_to(b"hello", socket.local_addr().unwrap()).unwrap();
    assert!(matches!(completion(&mut port), Ok(Outcome::Count(5))));
    // And what is watched for changes is not so for ever.
    let address = socket.local_addr().unwrap();
    let sender = std::thread::spawn(move || {
        for _ in 0..4 * FEW {
            peer.send_to(b"for nobody yet", address).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    assert!(entries_meanwhile(&mut port) < FEW, "{}", port.report());
    sender.join().unwrap();
    assert_eq!(run(&mut port, recv_number(socket.as_raw_fd(), 64)).unwrap(), b"for nobody yet".len());
}

#[cfg(target_os = "linux")]
fn set_option(socket: &impl AsRawFd, level: libc::c_int, name: libc::c_int, value: libc::c_uint) {
    let length = size_of::<libc::c_uint>() as libc::socklen_t;
    // SAFETY: the option is an int, and `value` is one.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

/// A socket with queued errors is watched for changes, and an end that is there already is none.
#[test]
#[cfg(target_os = "linux")]
fn an_end_behind_the_last_bytes_is_found_where_errors_are_queued() {
    let mut port = port();
    let (mut client, mut server) = pair();
    let stamps = libc::SOF_TIMESTAMPING_TX_SOFTWARE | libc::SOF_TIMESTAMPING_SOFTWARE;
    set_option(&server, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, stamps);
    // Its time stamp comes through the queue of errors.
    server.write_all(b"x").unwrap();
    begin(&mut port, Op::RecvMultishot { socket: server.as_raw_fd() });
    let mut poll = libc::pollfd { fd: server.as_raw_fd(), events: 0, revents: 0 };
    // SAFETY: one pollfd.
    assert_eq!(unsafe { libc::poll(&raw mut poll, 1, 10_000) }, 1);
    assert_eq!(poll.revents, libc::POLLERR);
    assert!(entries_meanwhile(&mut port) < FEW, "{}", port.report());
    client.write_all(b"last").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let arrived = completions(&mut port, 2);
    assert!(arrived[0].more && !arrived[1].more, "{arrived:?}");
}

/// To end a stream in good order takes no longer than to read it.
#[test]
fn what_is_thrown_away_is_so_at_once() {
    let mut port = port();
    let (server, mut client) = UnixStream::pair().unwrap();
    client.write_all(&vec![7; 100_000]).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let ended = submit(&mut port, Op::Disconnect { socket: server.as_raw_fd() });
    assert!(matches!(ended, Submitted::Done(Ok(Outcome::Count(0)))), "{ended:?}");
}

/// Where there is more to be had than one turn takes, the others are served before it goes on.
#[test]
fn what_is_always_ready_gives_way() {
    const MANY: usize = 100;
    let mut port = port();
    let [busy, other, peer] = [(); 3].map(|()| std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    for _ in 0..MANY {
        begin_as(&mut port, recv_number(busy.as_raw_fd(), 8), STALE);
    }
    begin_as(&mut port, recv_number(other.as_raw_fd(), 8), NEW);
    for _ in 0..MANY {
        peer.send_to(b"x", busy.local_addr().unwrap()).unwrap();
    }
    peer.send_to(b"x", other.local_addr().unwrap()).unwrap();
    let mut arrived = Vec::new();
    port.poll(Some(patience()), &mut arrived).unwrap();
    assert!(arrived.iter().any(|completion| completion.token == NEW), "{arrived:?}");
    assert!(arrived.len() < MANY, "{} in one turn", arrived.len());
    let left = MANY + 1 - arrived.len();
    assert_eq!(completions(&mut port, left).len(), left);
}

/// The peer has ended its side, does not read, and the socket has no room: it is readable for ever, and nobody reads.
#[test]
fn a_half_closed_peer_that_does_not_read_costs_nothing() {
    let mut port = port();
    let (mut client, server) = pair();
    // Somebody waits for that, is told, and is gone.
    begin(&mut port, Op::Poll { socket: server.as_raw_fd(), interest: Interest::READABLE });
    client.shutdown(std::net::Shutdown::Write).unwrap();
    completion(&mut port).unwrap();
    let buffer: &'static [u8] = vec![7; 32 << 20].leak();
    begin(&mut port, Op::Send { socket: server.as_raw_fd(), buffer, flags: 0, all: true });
    entries_meanwhile(&mut port);
    assert!(entries_meanwhile(&mut port) < FEW, "{}", port.report());
    let reader = std::thread::spawn(move || client.read_exact(&mut vec![0; 32 << 20]).unwrap());
    assert!(matches!(completion(&mut port), Ok(Outcome::Count(count)) if count == buffer.len()));
    reader.join().unwrap();
}

/// A peer's queue that is full, on a socket that is connected to nobody: no readiness tells when there is room (unix(7)).
#[test]
#[cfg(target_os = "linux")]
fn a_full_unix_datagram_peer_does_not_spin() {
    let mut port = port();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peer");
    let peer = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
    sender.set_nonblocking(true).unwrap();
    while sender.send_to(b"x", &path).is_ok() {}
    let address = overlapped_port::Address::from(socket2::SockAddr::unix(&path).unwrap());
    let parts: &'static [std::io::IoSlice] = vec![std::io::IoSlice::new(b"late")].leak();
    let message = overlapped_port::SendMessage::new(parts).to(Box::leak(Box::new(address)));
    begin(&mut port, Op::SendMessage { socket: sender.as_raw_fd(), message: Box::leak(Box::new(message)), flags: 0 });
    assert!(entries_meanwhile(&mut port) < 100, "{}", port.report());
    peer.recv(&mut [0; 8]).unwrap();
    assert!(matches!(completion(&mut port), Ok(Outcome::Count(4))));
}

/// A full Unix backlog is told by `EAGAIN`, while the socket polls as writable.
#[test]
fn a_full_unix_backlog_does_not_spin() {
    let mut port = port();
    let folder = tempfile::tempdir().unwrap();
    let address = socket2::SockAddr::unix(folder.path().join("socket")).unwrap();
    let stream = || Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    let listener = stream();
    listener.bind(&address).unwrap();
    listener.listen(0).unwrap();
    let clients: Vec<Socket> = (0..4).map(|_| stream()).collect();
    let connect = |client: &Socket| Op::Connect {
        socket: client.as_raw_fd(),
        address: Box::leak(Box::new(overlapped_port::Address::from(address.clone()))),
    };
    let Some(waits) = clients.iter().find(|client| matches!(submit(&mut port, connect(client)), Submitted::Pending(_)))
    else {
        // macOS refuses instead, and no connect waits.
        return;
    };
    assert!(entries_meanwhile(&mut port) < 100, "{}", port.report());
    listener.accept().unwrap();
    assert!(matches!(completion(&mut port), Ok(Outcome::Count(0))));
    assert!(waits.peer_addr().is_ok());
}

/// The call that meets a reset takes it off the socket; the operation that had bytes to report must not swallow it.
#[test]
fn a_reset_behind_the_bytes_of_a_receive_is_the_next_ones() {
    let mut port = port();
    let (mut client, server) = pair();
    begin(&mut port, recv(&server, 100, MSG_WAITALL));
    client.write_all(b"12345").unwrap();
    entries_meanwhile(&mut port);
    reset(client);
    assert!(matches!(completion(&mut port), Ok(Outcome::Count(5))));
    assert_eq!(run(&mut port, recv(&server, 8, 0)).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(run(&mut port, recv(&server, 8, 0)).unwrap(), 0, "told once, as the system does");
}

/// As above, for a send: the receive that comes next must not take the reset for an end.
#[test]
fn a_reset_behind_the_bytes_of_a_send_is_the_next_ones() {
    let mut port = port();
    let (client, server) = pair();
    let buffer: &'static [u8] = vec![7; 16 << 20].leak();
    begin(&mut port, Op::Send { socket: server.as_raw_fd(), buffer, flags: 0, all: true });
    reset(client);
    assert!(matches!(completion(&mut port), Ok(Outcome::Count(1..))));
    assert_eq!(run(&mut port, recv(&server, 8, 0)).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// An error that is kept belongs to a socket, not to its number.
#[test]
#[cfg(target_os = "linux")]
fn a_reset_that_is_kept_is_not_told_to_the_numbers_next_owner() {
    let mut port = port();
    let (mut client, server) = pair();
    begin(&mut port, recv(&server, 100, MSG_WAITALL));
    client.write_all(b"12345").unwrap();
    entries_meanwhile(&mut port);
    reset(client);
    assert!(matches!(completion(&mut port), Ok(Outcome::Count(5))));
    let (mut client, replacement) = pair();
    // SAFETY: both are open sockets of this test, and nothing is in flight on either.
    assert!(unsafe { libc::dup2(replacement.as_raw_fd(), server.as_raw_fd()) } >= 0);
    client.write_all(b"new").unwrap();
    assert_eq!(run(&mut port, recv(&server, 8, 0)).unwrap(), 3);
}

/// Gives a number another meaning behind the port's back, as a close and an open do that get the same number.
fn replace(number: RawFd, by: &impl AsRawFd) {
    // SAFETY: both are descriptors of the test, and what the number meant before may go.
    assert!(unsafe { libc::dup2(by.as_raw_fd(), number) } >= 0);
}

/// Begins an operation under a token.
fn begin_as(port: &mut Port, op: Op<'static>, token: u64) -> Submitted {
    // SAFETY: as in `submit`.
    unsafe { port.submit(op, token) }
}

/// Polls until there are so many completions.
fn completions(port: &mut Port, count: usize) -> Vec<Completion> {
    let mut completions: Vec<Completion> = Vec::new();
    let deadline = Instant::now() + patience();
    while completions.len() < count {
        assert!(Instant::now() < deadline, "{completions:?} of {count}: {}", port.report());
        port.poll(Some(Duration::from_millis(50)), &mut completions).unwrap();
    }
    completions
}

const STALE: u64 = 1;
const NEW: u64 = 2;

/// What came for the new owner of a number; whoever waited on its former owner must have been told that it is closed.
fn of_the_new_owner(completions: Vec<Completion>) -> Vec<std::io::Result<Outcome>> {
    let (stale, new): (Vec<_>, Vec<_>) = completions.into_iter().partition(|completion| completion.token == STALE);
    for completion in stale {
        let error = completion.result.expect_err("its descriptor is closed");
        assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{error}");
    }
    new.into_iter().map(|completion| completion.result).collect()
}

/// A read that was left behind on a number, and a wait of each kind by the number's next owner.
#[test]
fn who_waits_on_a_number_that_was_given_out_again_is_woken() {
    let readable = usize::from(Interest::READABLE.0);
    let read = |number| Op::Read { file: number, buffer: Box::leak(Box::new_uninit_slice(8)), offset: None };
    let recv = |number| Op::Recv { socket: number, buffer: Box::leak(Box::new_uninit_slice(8)), flags: 0 };
    let watch = |number| Op::Poll { socket: number, interest: Interest::READABLE };
    let waits: [(&str, &dyn Fn(RawFd) -> Op<'static>); 3] = [("read", &read), ("recv", &recv), ("poll", &watch)];
    for (stale, wait_stale) in waits {
        for (new, wait_new) in waits {
            let mut port = port();
            let (old, _old_peer) = UnixStream::pair().unwrap();
            let number = old.as_raw_fd();
            begin_as(&mut port, wait_stale(number), STALE);
            let (next, mut peer) = UnixStream::pair().unwrap();
            replace(number, &next);
            drop(next);
            begin_as(&mut port, wait_new(number), NEW);
            peer.write_all(b"x").unwrap();
            let arrived = of_the_new_owner(completions(&mut port, 2));
            let expected = if new == "poll" { readable } else { 1 };
            assert!(
                matches!(arrived[..], [Ok(Outcome::Count(count))] if count == expected),
                "{stale}, then {new}: {arrived:?}"
            );
        }
    }
}

/// The new owner waits to send; what it is sent meanwhile is not for the receive that was left behind.
#[test]
fn a_receive_that_was_left_behind_takes_nothing_from_the_numbers_next_owner() {
    let mut port = port();
    let (reader, _writer) = std::io::pipe().unwrap();
    let number = reader.as_raw_fd();
    begin_as(&mut port, Op::Read { file: number, buffer: Box::leak(Box::new_uninit_slice(8)), offset: None }, STALE);
    let (next, mut peer) = UnixStream::pair().unwrap();
    replace(number, &next);
    peer.write_all(b"for the new owner").unwrap();
    let buffer: &'static [u8] = vec![7; 4 << 20].leak();
    begin_as(&mut port, Op::Send { socket: number, buffer, flags: 0, all: true }, NEW);
    let sent = std::thread::spawn(move || {
        let mut bytes = vec![0; 4 << 20];
        peer.read_exact(&mut bytes).unwrap();
        peer
    });
    let arrived = of_the_new_owner(completions(&mut port, 2));
    assert!(matches!(arrived[..], [Ok(Outcome::Count(count))] if count == buffer.len()), "{arrived:?}");
    let _peer = sent.join().unwrap();
    assert_eq!(run(&mut port, recv_number(number, 64)).unwrap(), b"for the new owner".len());
}

fn recv_number(socket: RawFd, room: usize) -> Op<'static> {
    Op::Recv { socket, buffer: Box::leak(Box::new_uninit_slice(room)), flags: 0 }
}

/// A duplicate keeps the old registration alive, and its events come under the number: they must not have the receive
/// that was left behind tried on what the number means now.
#[test]
#[cfg(target_os = "linux")]
fn an_event_of_the_former_owner_gives_nothing_of_the_new_ones_away() {
    let mut port = port();
    let (old, mut old_peer) = UnixStream::pair().unwrap();
    let number = old.as_raw_fd();
    let lives_on = old.try_clone().unwrap();
    begin_as(&mut port, recv_number(number, 64), STALE);
    let (next, mut peer) = UnixStream::pair().unwrap();
    replace(number, &next);
    peer.write_all(b"for the new owner").unwrap();
    old_peer.write_all(b"for the former owner").unwrap();
    assert!(of_the_new_owner(completions(&mut port, 1)).is_empty());
    assert_eq!(run(&mut port, recv_number(number, 64)).unwrap(), b"for the new owner".len());
    assert_eq!(run(&mut port, recv_number(lives_on.as_raw_fd(), 64)).unwrap(), b"for the former owner".len());
}

/// The receive that was left behind waits for a provided buffer, not for readiness.
#[test]
fn a_starved_receive_that_was_left_behind_takes_nothing_from_the_numbers_next_owner() {
    let mut port = Config::new().backend(Kind::Poll).buffers(1, 64).start().unwrap();
    let provided = |number| Op::RecvProvided { socket: number, limit: 64, flags: 0 };
    let ((holder, mut holder_peer), (old, _old_peer)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
    holder_peer.write_all(b"takes the only buffer").unwrap();
    let Submitted::Done(Ok(Outcome::Provided(Some(buffer)))) = submit(&mut port, provided(holder.as_raw_fd())) else {
        panic!("its bytes are there");
    };
    let number = old.as_raw_fd();
    begin_as(&mut port, provided(number), STALE);
    let (next, mut peer) = UnixStream::pair().unwrap();
    replace(number, &next);
    peer.write_all(b"for the new owner").unwrap();
    port.recycle(buffer).unwrap();
    assert!(of_the_new_owner(completions(&mut port, 1)).is_empty());
    assert_eq!(run(&mut port, recv_number(number, 64)).unwrap(), b"for the new owner".len());
}

/// What epoll refuses can be confirmed only by being refused again. Here the number means once more what was registered under
/// it at first, and a duplicate had kept that registration.
#[test]
#[cfg(target_os = "linux")]
fn who_waits_on_what_epoll_refuses_is_told_when_the_number_means_another() {
    let mut port = port();
    let (first, mut peer) = UnixStream::pair().unwrap();
    let number = first.as_raw_fd();
    let lives_on = first.try_clone().unwrap();
    let id = begin(&mut port, recv_number(number, 8));
    port.cancel(id);
    assert!(completion(&mut port).is_err());
    replace(number, &tempfile::tempfile().unwrap());
    begin_as(&mut port, Op::Poll { socket: number, interest: Interest::PRIORITY }, STALE);
    let tries = entries_meanwhile(&mut port);
    assert!(tries < 100, "{tries} in {A_WHILE:?}");
    replace(number, &lives_on);
    assert!(of_the_new_owner(completions(&mut port, 1)).is_empty());
    peer.write_all(b"x").unwrap();
    assert_eq!(run(&mut port, recv_number(number, 8)).unwrap(), 1);
}

/// A close's caller has promised that nothing waits. What does all the same must not wait for the number's next owner.
#[test]
fn what_waits_ends_with_a_close() {
    let mut port = port();
    let (_client, server) = pair();
    let socket = std::os::fd::IntoRawFd::into_raw_fd(server);
    begin(&mut port, recv_number(socket, 8));
    assert!(matches!(submit(&mut port, Op::CloseSocket { socket }), Submitted::Done(Ok(Outcome::Count(0)))));
    assert_eq!(completion(&mut port).unwrap_err().raw_os_error(), Some(libc::ECANCELED));
}

/// Nothing has the number any more, and the next thing that happens is that the former owner, who lives on, is ready.
#[test]
#[cfg(target_os = "linux")]
fn who_waits_on_a_number_that_means_nothing_is_told() {
    let mut port = port();
    let (old, mut old_peer) = UnixStream::pair().unwrap();
    let _lives_on = old.try_clone().unwrap();
    begin_as(&mut port, recv_number(old.as_raw_fd(), 64), STALE);
    drop(old);
    old_peer.write_all(b"x").unwrap();
    assert!(of_the_new_owner(completions(&mut port, 1)).is_empty());
}

/// Queued errors and urgent data are asked for, not waited for (recv(2)): beside a receive that waits, too.
#[test]
#[cfg(target_os = "linux")]
fn what_answers_at_once_waits_behind_nobody() {
    let mut port = port();
    let (_client, server) = pair();
    begin(&mut port, recv(&server, 8, 0));
    let queued = submit(&mut port, recv(&server, 8, libc::MSG_ERRQUEUE));
    assert!(matches!(&queued, Submitted::Done(Err(error)) if error.kind() == ErrorKind::WouldBlock), "{queued:?}");
    let urgent = submit(&mut port, recv(&server, 8, libc::MSG_OOB));
    assert!(matches!(&urgent, Submitted::Done(Err(error)) if error.kind() == ErrorKind::InvalidInput), "{urgent:?}");
}

/// The kernel's log looks like a regular file; read on a thread, it would keep that for as long as the kernel is silent.
#[test]
#[cfg(target_os = "linux")]
fn a_read_of_the_kernels_log_can_be_cancelled() {
    const UNREAD: libc::c_int = 9;
    // SAFETY: this action takes no memory (`SYSLOG_ACTION_SIZE_UNREAD`, syslog(2)).
    let unread = unsafe { libc::klogctl(UNREAD, std::ptr::null_mut(), 0) };
    // Only the superuser may read it, and what is there may be waited for by others.
    let (Ok(log), 0) = (std::fs::File::open("/proc/kmsg"), unread) else { return };
    let mut port = port();
    let buffer = Box::leak(Box::new_uninit_slice(8));
    let id = begin(&mut port, Op::Read { file: log.as_raw_fd(), buffer, offset: None });
    port.cancel(id);
    assert_eq!(completion(&mut port).unwrap_err().raw_os_error(), Some(libc::ECANCELED));
}

/// The bytes are taken before the system's event has been collected.
#[test]
fn who_watches_is_told_of_what_another_takes_away() {
    let mut port = port();
    let (mut client, server) = pair();
    begin(&mut port, Op::Poll { socket: server.as_raw_fd(), interest: Interest::READABLE });
    client.write_all(b"x").unwrap();
    let mut one = [0; 1];
    let taken = submit(&mut port, recv(&server, 8, 0));
    assert!(matches!(taken, Submitted::Done(Ok(Outcome::Count(1)))), "{taken:?}");
    server.set_nonblocking(true).unwrap();
    assert_eq!((&server).read(&mut one).unwrap_err().kind(), ErrorKind::WouldBlock);
    let readable = usize::from(Interest::READABLE.0);
    assert!(matches!(completion(&mut port), Ok(Outcome::Count(bits)) if bits == readable));
}

/// To copy what is in memory takes time too.
#[test]
#[cfg(target_os = "linux")]
fn a_long_read_of_what_is_in_memory_gives_way() {
    let mut port = port();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&vec![7; 8 << 20]).unwrap();
    let read =
        |room| Op::Read { file: file.as_raw_fd(), buffer: Box::leak(Box::new_uninit_slice(room)), offset: Some(0) };
    match submit(&mut port, read(64 << 10)) {
        Submitted::Done(result) => assert!(matches!(result, Ok(Outcome::Count(count)) if count == 64 << 10)),
        Submitted::Pending(_) => return, // A file system that cannot say.
    }
    begin(&mut port, read(8 << 20));
    assert!(matches!(completion(&mut port), Ok(Outcome::Count(count)) if count == 8 << 20));
    let parts: Vec<_> = (0..8).map(|_| std::io::IoSliceMut::new(vec![0; 1 << 20].leak())).collect();
    begin(&mut port, Op::ReadVectored { file: file.as_raw_fd(), buffers: parts.leak(), offset: Some(0) });
    assert!(matches!(completion(&mut port), Ok(Outcome::Count(count)) if count == 8 << 20));
}

/// A descriptor that is cancelled, closed and opened again must not be taken for one that is armed still.
#[test]
fn a_number_whose_receive_was_cancelled_is_armed_anew() {
    let mut port = port();
    for _ in 0..20 {
        let (client, server) = pair();
        let id = begin(&mut port, recv(&server, 8, 0));
        port.cancel(id);
        assert!(completion(&mut port).is_err());
        drop((client, server));
        let (mut client, server) = pair();
        begin(&mut port, recv(&server, 8, 0));
        client.write_all(b"x").unwrap();
        assert!(matches!(completion(&mut port), Ok(Outcome::Count(1))));
    }
}

/// A second connect is an error even where the first had to wait: Linux would answer it with success.
#[test]
fn a_connect_that_waited_is_finished() {
    let mut port = port();
    for nonblocking in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(nonblocking).unwrap();
        let address = Box::new(overlapped_port::Address::from(listener.local_addr().unwrap()));
        let address: &'static overlapped_port::Address = Box::leak(address);
        let connect = || Op::Connect { socket: socket.as_raw_fd(), address };
        run(&mut port, connect()).unwrap();
        assert_eq!(run(&mut port, connect()).unwrap_err().raw_os_error(), Some(libc::EISCONN));
        assert_eq!(socket.nonblocking().unwrap(), nonblocking, "the caller's mode is left as it was");
        let mut accepted = listener.accept().unwrap().0;
        run(&mut port, Op::CloseSocket { socket: std::os::fd::IntoRawFd::into_raw_fd(socket) }).unwrap();
        assert_eq!(accepted.read(&mut [0; 1]).unwrap(), 0);
    }
}
