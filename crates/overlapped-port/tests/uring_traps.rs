//! What can go wrong in the io_uring backend alone: the traps that its module documentation names.
#![cfg(target_os = "linux")]

#[path = "conformance/patience.rs"]
mod patience;

use std::io::{ErrorKind, Read, Seek, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use overlapped_port::sys::MSG_WAITALL;
use overlapped_port::{Address, Completion, Config, Interest, Kind, Op, OpId, Outcome, Port, Submitted};
use patience::patience;
use socket2::{Domain, SockRef, Socket, Type};

/// How long a test counts what the backend does while nothing happens.
const A_WHILE: Duration = Duration::from_millis(200);

/// Entries into the kernel in a while in which nothing happens: those of the beginning, and of the counting itself.
const FEW: u64 = 8;

/// More than a socket takes while nobody reads.
const MUCH: usize = 16 << 20;

/// A port, or none where `OVERLAPPED_SKIP` names this backend, as for the conformance suite.
fn port(config: Config) -> Option<Port> {
    if std::env::var("OVERLAPPED_SKIP").is_ok_and(|names| names.split(',').any(|name| name == "uring")) {
        return None;
    }
    Some(config.backend(Kind::Uring).start().unwrap())
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

fn reset(socket: TcpStream) {
    SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
}

fn submit(port: &mut Port, op: Op<'static>, token: u64) -> Submitted {
    // SAFETY: what the operation borrows is borrowed for ever, and the tests keep its descriptor open until its end.
    unsafe { port.submit(op, token) }
}

fn begin(port: &mut Port, op: Op<'static>) -> OpId {
    match submit(port, op, 0) {
        Submitted::Pending(id) => id,
        Submitted::Done(result) => panic!("it should wait, and has {result:?}"),
    }
}

/// The next completions.
fn completions(port: &mut Port) -> Vec<Completion> {
    let mut completions = Vec::new();
    let deadline = Instant::now() + patience();
    while completions.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "no completion: {}", port.report());
        port.poll(Some(left), &mut completions).unwrap();
    }
    completions
}

/// The next completion; the tests have one operation in flight at a time where they call this.
fn completion(port: &mut Port) -> std::io::Result<Outcome> {
    completions(port).remove(0).result
}

fn count(result: std::io::Result<Outcome>) -> std::io::Result<usize> {
    result.map(|outcome| match outcome {
        Outcome::Count(count) => count,
        other => panic!("{other:?} is no count"),
    })
}

fn run(port: &mut Port, op: Op<'static>) -> std::io::Result<usize> {
    begin(port, op);
    count(completion(port))
}

fn send(socket: &impl AsRawFd, length: usize) -> Op<'static> {
    Op::Send { socket: socket.as_raw_fd(), buffer: vec![7; length].leak(), flags: 0, all: true }
}

fn recv(socket: &impl AsRawFd, room: usize, flags: i32) -> Op<'static> {
    Op::Recv { socket: socket.as_raw_fd(), buffer: Box::leak(Box::new_uninit_slice(room)), flags }
}

/// Polls for a while in which nothing may end, and returns how often the kernel was entered.
fn entries_meanwhile(port: &mut Port) -> u64 {
    entries_within(port, A_WHILE)
}

fn entries_within(port: &mut Port, time: Duration) -> u64 {
    let before = port.report().counters.kernel_entries;
    let end = Instant::now() + time;
    let mut completions = Vec::new();
    while Instant::now() < end {
        port.poll(Some(end.saturating_duration_since(Instant::now())), &mut completions).unwrap();
        assert!(completions.is_empty(), "{completions:?}");
    }
    port.report().counters.kernel_entries - before
}

/// A poll request ends when the peer sends no more, whatever it waits for.
#[test]
fn a_peer_that_sends_no_more_makes_nothing_writable() {
    let Some(mut port) = port(Config::new()) else { return };
    let (client, server) = pair();
    client.shutdown(Shutdown::Write).unwrap();
    server.set_nonblocking(true).unwrap();
    while (&server).write(&[0; 1 << 16]).is_ok() {}
    let id = begin(&mut port, Op::Poll { socket: server.as_raw_fd(), interest: Interest::WRITABLE });
    assert!(entries_meanwhile(&mut port) < FEW, "{}", port.report());
    port.cancel(id);
    assert_eq!(completion(&mut port).unwrap_err().raw_os_error(), Some(libc::ECANCELED));
    begin(&mut port, Op::Poll { socket: server.as_raw_fd(), interest: Interest::WRITABLE });
    // To its end: what the system still has under way would else fill the room again.
    let reader = std::thread::spawn(move || while (&client).read(&mut [0; 1 << 16]).unwrap() > 0 {});
    assert_eq!(count(completion(&mut port)).unwrap(), usize::from(Interest::WRITABLE.0));
    drop(server);
    reader.join().unwrap();
}

/// As above, for a send, which waits for room by such a poll.
#[test]
fn a_send_to_a_peer_that_sends_no_more_rests_and_arrives() {
    let Some(mut port) = port(Config::new()) else { return };
    let (client, server) = pair();
    client.shutdown(Shutdown::Write).unwrap();
    begin(&mut port, send(&server, MUCH));
    assert!(entries_meanwhile(&mut port) < FEW, "{}", port.report());
    let reader = std::thread::spawn(move || {
        let mut bytes = vec![0; MUCH];
        (&client).read_exact(&mut bytes).unwrap();
        bytes.iter().all(|byte| *byte == 7)
    });
    assert_eq!(count(completion(&mut port)).unwrap(), MUCH);
    assert!(reader.join().unwrap());
}

/// The kernel's own second try of a send to a full Unix socket sends a message of no bytes.
#[test]
fn a_message_to_a_full_unix_socket_is_sent_whole() {
    let Some(mut port) = port(Config::new()) else { return };
    for kind in [Type::DGRAM, Type::SEQPACKET] {
        let (sender, receiver) = Socket::pair(Domain::UNIX, kind, None).unwrap();
        sender.set_nonblocking(true).unwrap();
        let waiting = (0..).take_while(|_| sender.send(b"x").is_ok()).count();
        sender.set_nonblocking(false).unwrap();
        begin(&mut port, send(&sender, 4));
        assert!(entries_meanwhile(&mut port) < 100, "{}", port.report());
        for _ in 0..waiting {
            assert_eq!((&receiver).read(&mut [0; 8]).unwrap(), 1);
        }
        assert_eq!(count(completion(&mut port)).unwrap(), 4);
        assert_eq!((&receiver).read(&mut [0; 8]).unwrap(), 4);
    }
}

/// A full Unix backlog is told by `EAGAIN` to a socket in non-blocking mode, which polls as ready.
#[test]
fn a_full_unix_backlog_does_not_spin() {
    let Some(mut port) = port(Config::new()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let address = socket2::SockAddr::unix(folder.path().join("socket")).unwrap();
    let stream = || Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    let listener = stream();
    listener.bind(&address).unwrap();
    listener.listen(0).unwrap();
    let (first, second) = (stream(), stream());
    first.connect(&address).unwrap();
    second.set_nonblocking(true).unwrap();
    let address: &'static Address = Box::leak(Box::new(Address::from(address)));
    begin(&mut port, Op::Connect { socket: second.as_raw_fd(), address });
    assert!(entries_meanwhile(&mut port) < 100, "{}", port.report());
    listener.accept().unwrap();
    assert_eq!(count(completion(&mut port)).unwrap(), 0);
}

/// A connect that somebody else began is `EALREADY`; its end is told once, and the socket is connected then.
#[test]
fn a_connect_that_is_under_way_is_waited_for() {
    let Some(mut port) = port(Config::new()) else { return };
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let _fills_the_backlog = TcpStream::connect(address.as_socket().unwrap()).unwrap();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    assert_eq!(socket.connect(&address).unwrap_err().raw_os_error(), Some(libc::EINPROGRESS));
    let address: &'static Address = Box::leak(Box::new(Address::from(address)));
    begin(&mut port, Op::Connect { socket: socket.as_raw_fd(), address });
    assert!(entries_meanwhile(&mut port) < FEW, "{}", port.report());
    listener.accept().unwrap();
    assert_eq!(count(completion(&mut port)).unwrap(), 0);
    let again = run(&mut port, Op::Connect { socket: socket.as_raw_fd(), address });
    assert_eq!(again.unwrap_err().raw_os_error(), Some(libc::EISCONN));
}

/// The call that meets a reset takes it off the socket; the operation that had bytes to report must not swallow it.
#[test]
fn a_reset_behind_the_bytes_of_a_send_is_the_next_ones() {
    let Some(mut port) = port(Config::new()) else { return };
    let (client, server) = pair();
    begin(&mut port, send(&server, MUCH));
    entries_meanwhile(&mut port);
    reset(client);
    assert!((1..MUCH).contains(&count(completion(&mut port)).unwrap()));
    assert_eq!(run(&mut port, recv(&server, 8, 0)).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// As above, for a receive that is to fill its buffer, the caller's or a provided one.
#[test]
fn a_reset_behind_the_bytes_of_a_receive_is_the_next_ones() {
    let Some(mut port) = port(Config::new()) else { return };
    for provided in [false, true] {
        let (mut client, server) = pair();
        let op = if provided {
            Op::RecvProvided { socket: server.as_raw_fd(), limit: 100, flags: MSG_WAITALL }
        } else {
            recv(&server, 100, MSG_WAITALL)
        };
        begin(&mut port, op);
        client.write_all(b"123").unwrap();
        entries_meanwhile(&mut port);
        client.write_all(b"45").unwrap();
        entries_meanwhile(&mut port);
        reset(client);
        match completion(&mut port).unwrap() {
            Outcome::Provided(Some(buffer)) => {
                assert_eq!(port.buffer(&buffer), b"12345");
                port.recycle(buffer).unwrap();
            }
            outcome => assert!(matches!(outcome, Outcome::Count(5)), "{outcome:?}"),
        }
        assert_eq!(run(&mut port, recv(&server, 8, 0)).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

/// A datagram is a receive of its own, even for one that is to fill its buffer.
#[test]
fn a_receive_that_waits_for_all_takes_one_datagram() {
    let Some(mut port) = port(Config::new()) else { return };
    let (sender, receiver) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    sender.connect(receiver.local_addr().unwrap()).unwrap();
    sender.send(b"one").unwrap();
    sender.send(b"two").unwrap();
    assert_eq!(run(&mut port, recv(&receiver, 100, MSG_WAITALL)).unwrap(), 3);
    begin(&mut port, Op::RecvProvided { socket: receiver.as_raw_fd(), limit: 100, flags: MSG_WAITALL });
    let Outcome::Provided(Some(buffer)) = completion(&mut port).unwrap() else { panic!("a datagram has a buffer") };
    assert_eq!(port.buffer(&buffer), b"two");
    port.recycle(buffer).unwrap();
}

/// The kernel keeps what the completion queue has no room for, and it comes in order.
#[test]
fn more_completions_than_the_queue_holds_all_come() {
    const SOCKETS: u32 = 8;
    const EACH: u32 = 200;
    let Some(mut port) = port(Config::new().capacity(8).buffers(4096, 64)) else { return };
    let sockets: Vec<UdpSocket> = (0..SOCKETS)
        .map(|token| {
            let (sender, receiver) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
            sender.connect(receiver.local_addr().unwrap()).unwrap();
            (0..EACH).for_each(|number| assert_eq!(sender.send(&number.to_ne_bytes()).unwrap(), 4));
            submit(&mut port, Op::RecvMultishot { socket: receiver.as_raw_fd() }, token.into());
            receiver
        })
        .collect();
    let mut next = [0; SOCKETS as usize];
    while next != [EACH; SOCKETS as usize] {
        for completion in completions(&mut port) {
            let Ok(Outcome::Provided(Some(buffer))) = completion.result else { panic!("{completion:?}") };
            let next = &mut next[completion.token as usize];
            assert_eq!(port.buffer(&buffer), next.to_ne_bytes());
            *next += 1;
            port.recycle(buffer).unwrap();
        }
    }
    port.shutdown(patience()).unwrap();
    drop(sockets);
}

/// A turn without anything to submit or to collect must cost nothing.
#[test]
fn a_poll_that_has_nothing_to_do_stays_out_of_the_kernel() {
    let Some(mut port) = port(Config::new()) else { return };
    let (_client, server) = pair();
    begin(&mut port, recv(&server, 8, 0));
    entries_meanwhile(&mut port);
    let before = port.report().counters.kernel_entries;
    for _ in 0..1000 {
        port.poll(Some(Duration::ZERO), &mut Vec::new()).unwrap();
    }
    assert_eq!(port.report().counters.kernel_entries, before);
}

/// The kernel's threads, which read what is not in memory, know no turns: all would begin at the same place.
#[test]
fn reads_at_a_files_own_position_take_turns() {
    const RECORD: usize = 4096;
    const READS: usize = 64;
    let Some(mut port) = port(Config::new()) else { return };
    let mut file = tempfile::tempfile().unwrap();
    (0..READS).for_each(|number| file.write_all(&[number as u8; RECORD]).unwrap());
    file.sync_all().unwrap();
    file.rewind().unwrap();
    for advice in [libc::POSIX_FADV_DONTNEED, libc::POSIX_FADV_RANDOM] {
        // SAFETY: takes no pointers.
        assert_eq!(unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, advice) }, 0);
    }
    let records = Box::leak(vec![0xff_u8; (READS + 1) * RECORD].into_boxed_slice()).as_mut_ptr();
    let ids: Vec<OpId> = (0..=READS)
        .map(|number| {
            // SAFETY: a part of its own for each read, of memory that is never freed.
            let buffer = unsafe { std::slice::from_raw_parts_mut(records.add(number * RECORD).cast(), RECORD) };
            begin(&mut port, Op::Read { file: file.as_raw_fd(), buffer, offset: None })
        })
        .collect();
    // One that waits for its turn and is cancelled leaves it to the next.
    port.cancel(ids[1]);
    let mut ended = Vec::new();
    while ended.len() <= READS {
        ended.extend(completions(&mut port).into_iter().map(|completion| count(completion.result)));
    }
    assert_eq!(ended.iter().filter(|result| matches!(result, Ok(RECORD))).count(), READS);
    assert_eq!(ended.iter().filter(|result| result.is_err()).count(), 1);
    let first = |number: usize| {
        // SAFETY: all reads have ended.
        usize::from(unsafe { *records.add(number * RECORD) })
    };
    let read: Vec<usize> = (0..=READS).filter(|number| *number != 1).map(first).collect();
    assert_eq!(read, (0..READS).collect::<Vec<_>>());
}

/// A queued error ends every poll of the socket, whatever it waits for, until somebody reads the queue.
#[test]
fn a_datagram_socket_with_errors_queued_rests() {
    let Some(mut port) = port(Config::new()) else { return };
    for nonblocking in [false, true] {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        SockRef::from(&socket).set_nonblocking(nonblocking).unwrap();
        let on: libc::c_int = 1;
        let length = size_of_val(&on) as libc::socklen_t;
        // SAFETY: the option is an `int`, and `on` is one.
        let done = unsafe {
            libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_RECVERR, (&raw const on).cast(), length)
        };
        assert_eq!(done, 0);
        let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        socket.send_to(b"to nobody", nobody).unwrap();
        let _ = run(&mut port, recv(&socket, 8, 0)).unwrap_err();
        begin(&mut port, recv(&socket, 8, 0));
        assert!(entries_meanwhile(&mut port) < FEW, "{}", port.report());
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"hello", socket.local_addr().unwrap()).unwrap();
        assert_eq!(count(completion(&mut port)).unwrap(), 5);
        let id = begin(&mut port, recv(&socket, 8, 0));
        assert!(entries_meanwhile(&mut port) < FEW, "{}", port.report());
        port.cancel(id);
        assert_eq!(completion(&mut port).unwrap_err().raw_os_error(), Some(libc::ECANCELED));
    }
}

/// As [`a_send_to_a_peer_that_sends_no_more_rests_and_arrives`], and what waits can be given up.
#[test]
fn a_send_that_rests_can_be_cancelled_and_leaves_nothing_behind() {
    let Some(mut port) = port(Config::new()) else { return };
    for _ in 0..20 {
        let (client, server) = pair();
        client.shutdown(Shutdown::Write).unwrap();
        let id = begin(&mut port, send(&server, MUCH));
        let watch = begin(&mut port, Op::Poll { socket: server.as_raw_fd(), interest: Interest::WRITABLE });
        entries_within(&mut port, Duration::from_millis(5));
        port.cancel(id);
        assert!((1..MUCH).contains(&count(completion(&mut port)).unwrap()));
        port.cancel(watch);
        assert_eq!(completion(&mut port).unwrap_err().raw_os_error(), Some(libc::ECANCELED));
        // The slots are used anew at once: what is left of a watch must not reach these.
        assert_eq!(run(&mut port, recv(&server, 8, 0)).unwrap(), 0);
        assert!(run(&mut port, recv(&client, 8, 0)).unwrap() > 0);
    }
}

/// The kernel may refuse an entry that is to make room in the submission queue: it has no memory, or keeps completions that
/// are to be collected first (`EAGAIN`, `EBUSY` in io_uring_enter(2)). A filter stands in for it, and denies the calling
/// thread every entry that only submits.
fn refuse_to_make_room() {
    use seccompiler::{BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter};
    let only_submits = SeccompCondition::new(3, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, 0).unwrap();
    let rule = seccompiler::SeccompRule::new(vec![only_submits]).unwrap();
    let denial = SeccompAction::Errno(libc::EBUSY as u32);
    let architecture = std::env::consts::ARCH.try_into().expect("an architecture that seccomp knows");
    let rules = [(libc::SYS_io_uring_enter, vec![rule])].into();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, denial, architecture).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter(&program).expect("the kernel takes the filter");
}

#[test]
fn what_the_submission_queue_has_no_room_for_is_begun_later() {
    const MANY: usize = 1000;
    let refused = std::thread::spawn(|| {
        let Some(mut port) = port(Config::new()) else { return };
        refuse_to_make_room();
        let (_reader, writer) = std::io::pipe().unwrap();
        for token in 0..MANY as u64 {
            let poll = Op::Poll { socket: writer.as_raw_fd(), interest: Interest::WRITABLE };
            assert!(matches!(submit(&mut port, poll, token), Submitted::Pending(_)));
        }
        let mut tokens = Vec::new();
        while tokens.len() < MANY {
            for completion in completions(&mut port) {
                assert_eq!(count(completion.result).unwrap(), usize::from(Interest::WRITABLE.0));
                tokens.push(completion.token as usize);
            }
        }
        tokens.sort_unstable();
        assert!(tokens.into_iter().eq(0..MANY), "each is done once");
    });
    refused.join().unwrap();
}

/// Has the port wait for one event, after which a send is the only thing to do.
fn bring_one_event(port: &mut Port, client: &TcpStream, server: &TcpStream) {
    (&*client).write_all(b"?").unwrap();
    assert_eq!(run(port, recv(server, 1, 0)).unwrap(), 1);
}

#[test]
fn a_send_with_nothing_beside_it_is_done_at_once_and_the_next_one_by_the_ring() {
    let Some(mut port) = port(Config::new()) else { return };
    let (client, server) = pair();
    let next = |port: &mut Port| submit(port, send(&server, 64), 0);
    assert!(matches!(next(&mut port), Submitted::Pending(_)), "no wait has been");
    assert_eq!(count(completion(&mut port)).unwrap(), 64);
    bring_one_event(&mut port, &client, &server);
    assert!(matches!(next(&mut port), Submitted::Done(Ok(Outcome::Count(64)))));
    assert!(matches!(next(&mut port), Submitted::Pending(_)), "who sends without end would keep the others waiting");
    assert_eq!(count(completion(&mut port)).unwrap(), 64);
    (&client).read_exact(&mut [0; 3 * 64]).unwrap();
}

#[test]
fn a_send_with_others_beside_it_goes_with_them() {
    let Some(mut port) = port(Config::new()) else { return };
    let (client, server) = pair();
    let (other_client, other) = pair();
    bring_one_event(&mut port, &client, &server);
    begin(&mut port, recv(&other, 1, 0));
    begin(&mut port, send(&server, 64));
    (&other_client).write_all(b"!").unwrap();
    let sent = |done: Completion| count(done.result).unwrap() == 64;
    while !completions(&mut port).into_iter().any(sent) {}
    (&client).read_exact(&mut [0; 64]).unwrap();
}

#[test]
fn what_a_socket_does_not_take_at_once_of_a_send_alone_the_ring_sends() {
    let Some(mut port) = port(Config::new()) else { return };
    let (client, server) = pair();
    bring_one_event(&mut port, &client, &server);
    let sent: &'static [u8] = (0..32 << 20).map(|n: u32| (n >> 8 ^ n) as u8).collect::<Vec<_>>().leak();
    begin(&mut port, Op::Send { socket: server.as_raw_fd(), buffer: sent, flags: 0, all: true });
    let reader = std::thread::spawn(move || {
        let mut received = vec![0; sent.len()];
        (&client).read_exact(&mut received).map(|()| received)
    });
    assert_eq!(count(completion(&mut port)).unwrap(), sent.len());
    assert!(reader.join().unwrap().unwrap() == sent, "all of it, in order");
}

#[test]
fn a_send_alone_waits_for_those_before_it_on_its_socket() {
    let Some(mut port) = port(Config::new()) else { return };
    let (client, server) = pair();
    server.set_nonblocking(true).unwrap();
    let mut filled = 0;
    while let Ok(count) = (&server).write(&[7; 1 << 16]) {
        filled += count;
    }
    let first = begin(&mut port, send(&server, 1 << 20));
    entries_meanwhile(&mut port);
    bring_one_event(&mut port, &client, &server);
    (&client).read_exact(&mut vec![0; filled]).unwrap();
    begin(&mut port, Op::Send { socket: server.as_raw_fd(), buffer: b"last", flags: 0, all: true });
    let mut received = vec![0; (1 << 20) + 4];
    let reader = std::thread::spawn(move || (&client).read_exact(&mut received).map(|()| received));
    let mut ended = 0;
    while ended < 2 {
        ended += completions(&mut port).len();
    }
    assert!(reader.join().unwrap().unwrap().ends_with(b"\x07last"), "{first:?} came first");
}

/// The poll that stands in for it is on what the number meant; the send itself would go by the number.
#[test]
fn a_send_that_rests_goes_to_nobody_else_who_is_given_its_number() {
    let Some(mut port) = port(Config::new()) else { return };
    let (client, server) = pair();
    let (stranger, other) = pair();
    server.set_nonblocking(true).unwrap();
    while (&server).write(&[0; 1 << 16]).is_ok() {}
    begin(&mut port, send(&server, 64));
    entries_meanwhile(&mut port);
    let kept = server.try_clone().unwrap();
    // SAFETY: takes no pointers; both are open.
    assert!(unsafe { libc::dup2(other.as_raw_fd(), server.as_raw_fd()) } >= 0);
    let reader = std::thread::spawn(move || while (&client).read(&mut [0; 1 << 16]).unwrap() > 0 {});
    assert_eq!(count(completion(&mut port)).unwrap_err().raw_os_error(), Some(libc::EBADF));
    stranger.set_nonblocking(true).unwrap();
    assert_eq!((&stranger).read(&mut [0; 64]).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(kept);
    reader.join().unwrap();
}
