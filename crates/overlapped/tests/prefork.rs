//! Workers of one server that are replaced and killed, under clients that keep their connections. This program is its own
//! worker: see [`worker`].

mod support;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use overlapped::net::{Shutdown, TcpListener, TcpStream};
#[cfg(unix)]
use overlapped::net::{UnixListener, UnixStream};
use overlapped::prefork::{Builder, Connection, More, Supervisor, Worker};
use overlapped::process::{Command, Stdio};
use overlapped::{JoinHandle, sleep, spawn, timeout};
#[cfg(unix)]
use support::tell;
// One at a time: one counts this process's descriptors.
use support::{
    LONG, alone, descriptors_of, kill, open_descriptors, patience_with_the_killed, run_alone as run, run_long,
    wait_for, wait_long_for,
};

/// How a process's end is told that [`kill`] has ended, or that ended with a number.
const KILLED: &str = if cfg!(unix) { "signal: 9 (SIGKILL)" } else { "exit code: 9" };

fn ended_with(number: i32) -> String {
    format!("exit {}: {number}", if cfg!(unix) { "status" } else { "code" })
}

/// What a worker of these tests does; a variable of its environment tells it.
const BEHAVIOUR: &str = "PREFORK_TEST";
/// The port of the test's where a worker that "begins when told" is told.
const GATE: &str = "PREFORK_TEST_GATE";

fn worker(behaviour: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "this_program_as_a_worker", "--ignored", "--nocapture"]).env(BEHAVIOUR, behaviour);
    command.stdout(Stdio::null());
    command
}

/// Not a test: what [`worker`] starts.
#[test]
#[ignore = "the tests start it, as a worker"]
fn this_program_as_a_worker() {
    let Ok(behaviour) = std::env::var(BEHAVIOUR) else { return };
    overlapped::run(|| match &*behaviour {
        "answers" => work(""),
        "retires after three requests" => {
            let worker = Worker::from_environment().unwrap();
            worker.retire_after(3, 0);
            worker.serve(|connection| drop(answer(connection, ""))).unwrap();
        }
        "is the new program" => work("new "),
        "fails" => std::process::exit(9),
        "is never ready" => {
            let _worker = Worker::from_environment().unwrap();
            sleep(LONG);
        }
        "ignores that it is to drain" => {
            let worker = Worker::from_environment().unwrap();
            worker.serve(|connection| drop((answer(connection, ""), sleep(LONG)))).unwrap();
        }
        "begins when told" => {
            let port: u16 = std::env::var(GATE).unwrap().parse().unwrap();
            let mut gate = TcpStream::connect(("127.0.0.1", port)).unwrap();
            gate.read_exact(&mut [0]).unwrap();
            let worker = Worker::from_environment().unwrap();
            worker.ready().unwrap();
            gate.write_all(if worker.next().unwrap().is_some() { b"serves\n" } else { b"has drained\n" }).unwrap();
        }
        "supervises" => {
            let (_supervisor, address) = server(2);
            println!("\naddress: {address}");
            sleep(LONG);
        }
        #[cfg(unix)]
        "obeys signals" => {
            let supervisor = Rc::new(server(2).0);
            let theirs = Rc::clone(&supervisor);
            let obeying = spawn(move || theirs.obey_signals(LONG));
            // Who hears of the workers may send signals: they are obeyed from here on.
            overlapped::yield_now();
            let mut said = String::new();
            while !obeying.is_finished() {
                let workers = supervisor.workers();
                let says = format!("{} of generation {}", workers.len(), workers.last().unwrap().generation);
                if said != says {
                    println!("\n{says}");
                    said = says;
                }
                sleep(Duration::from_millis(2));
            }
            obeying.join().unwrap().unwrap();
            println!("\nit has stopped");
        }
        "asks twice" => {
            let _worker = Worker::from_environment().unwrap();
            let error = Worker::from_environment().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            std::process::exit(7);
        }
        "speaks out of turn" => {
            raw_channel().write_all(&[HELLO, b"\0\0\0\x09\x08\0\0\0\0\0\0\0\x07"].concat()).unwrap();
            sleep(LONG);
        }
        "gives back what it gets" => {
            let mut channel = raw_channel();
            channel.write_all(&[HELLO, b"\0\0\0\x01\x05"].concat()).unwrap();
            give_back(channel, 20);
        }
        other => panic!("no behaviour: {other}"),
    });
}

/// A worker's first word, bare.
const HELLO: &[u8] = b"\0\0\0\x17\x01overlapped prefork\0\x01\0\x01";

/// A worker's channel, for what only a test says on it; whatever comes along with bytes is lost.
fn raw_channel() -> std::fs::File {
    #[cfg(unix)]
    let channel = std::os::fd::AsFd::as_fd(&io::stdin()).try_clone_to_owned();
    #[cfg(windows)]
    let channel = std::os::windows::io::AsHandle::as_handle(&io::stdin()).try_clone_to_owned();
    channel.unwrap().into()
}

fn work(prefix: &'static str) {
    let worker = Worker::from_environment().unwrap();
    // A client may have left before it has the answer.
    worker.serve(move |connection| drop(answer(connection, prefix))).unwrap();
}

/// Answers each line with this process's number and the line. `which?` is answered with the listener's name; at `hang` the
/// process holds its thread.
fn answer(mut connection: Connection, prefix: &str) -> io::Result<()> {
    let mut request = Vec::new();
    loop {
        while let Some(end) = request.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = request.drain(..=end).collect();
            if line == b"hang\n" {
                std::thread::sleep(2 * LONG);
            }
            let line = if line == b"which?\n" { format!("{}\n", connection.listener()).into_bytes() } else { line };
            connection.write_all(&[format!("{prefix}{} ", std::process::id()).as_bytes(), &line].concat())?;
        }
        match connection.read_more(&mut request)? {
            More::Bytes(_) => {}
            More::End => return Ok(()),
            More::Move => return Ok(connection.give(&request)?),
        }
    }
}

/// Gives back whatever connection it gets, so many times, and leaves.
fn give_back(mut channel: std::fs::File, mut times: usize) {
    let mut bytes = Vec::new();
    while times > 0 {
        let mut room = [0; 4096];
        let length = channel.read(&mut room).unwrap();
        bytes.extend_from_slice(&room[..length]);
        while let Some((length, frame)) =
            bytes.split_first_chunk().map(|(head, rest)| (u32::from_be_bytes(*head), rest))
            && let Some(frame) = frame.get(..length as usize)
        {
            if frame[0] == 7 {
                channel.write_all(&[b"\0\0\0\x09\x09", &frame[1..9]].concat()).unwrap();
                times -= 1;
            }
            bytes.drain(..4 + length as usize);
        }
    }
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A server with so many workers that answer, and its address.
fn server(workers: usize) -> (Supervisor, SocketAddr) {
    let (listener, address) = listener();
    (Builder::new(workers).listen("lines", listener).start(|_| worker("answers")).unwrap(), address)
}

/// The answer that is due, and nothing after it.
fn line(stream: &mut impl Read) -> io::Result<String> {
    let (mut line, mut room) = (Vec::new(), [0; 4096]);
    while line.last() != Some(&b'\n') {
        match stream.read(&mut room)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            length => line.extend_from_slice(&room[..length]),
        }
    }
    let line = String::from_utf8(line).unwrap();
    assert_eq!(line.lines().count(), 1, "one answer at a time: {line:?}");
    Ok(line)
}

/// Whether a connection brings no answer any more, whose process was killed.
fn brings_nothing(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(patience_with_the_killed()).unwrap();
    line(stream).is_err()
}

/// Says a line, and returns the process that answered it.
fn ask(mut stream: &TcpStream, word: &str) -> u32 {
    stream.write_all(format!("{word}\n").as_bytes()).unwrap();
    answered_by(stream, word)
}

fn answered_by(mut stream: &TcpStream, word: &str) -> u32 {
    let answer = line(&mut stream).unwrap();
    let (process, said) = answer.trim_end().split_once(' ').unwrap();
    assert_eq!(said, word);
    process.parse().unwrap()
}

fn processes(supervisor: &Supervisor) -> Vec<u32> {
    supervisor.workers().iter().filter_map(|worker| worker.process).collect()
}

#[test]
fn an_idle_connection_and_one_with_half_a_request_go_to_the_new_worker_with_their_bytes() {
    run(|| {
        let before = open_descriptors();
        let (supervisor, address) = server(1);
        let old = processes(&supervisor)[0];
        let (idle, mut half) = (TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap());
        assert_eq!(ask(&idle, "one"), old);
        assert_eq!(ask(&half, "first"), old);
        half.write_all(b"begun by the old, ").unwrap();
        supervisor.restart().unwrap();
        let new = processes(&supervisor)[0];
        assert_ne!(new, old);
        assert_eq!(ask(&idle, "two"), new);
        half.write_all(b"ended by the new\n").unwrap();
        assert_eq!(answered_by(&half, "begun by the old, ended by the new"), new);
        assert_eq!((supervisor.moves().taken, supervisor.moves().lost), (2, 0));
        let worker = supervisor.workers().remove(0);
        assert_eq!((worker.generation, worker.is_ready, worker.ended), (2, true, 1));
        assert_eq!(worker.last_end, Some(ended_with(0)));
        drop((idle, half));
        supervisor.stop(LONG).unwrap();
        drop(supervisor);
        wait_for("all descriptors are closed", || open_descriptors() == before);
    });
}

#[test]
fn bytes_that_were_read_and_many_times_moved_are_those_that_the_client_sent() {
    run(|| {
        let (supervisor, address) = server(2);
        let mut stream = TcpStream::connect(address).unwrap();
        let mut word = String::new();
        for part in 0..4 {
            // Longer than what is read at once, and than what a channel's socket holds.
            let more = format!("{part}-").repeat(20_000);
            stream.write_all(more.as_bytes()).unwrap();
            word += &more;
            supervisor.restart().unwrap();
        }
        assert!(processes(&supervisor).contains(&ask_rest(&stream, &word)));
        supervisor.stop(LONG).unwrap();
    });
}

/// Ends a line that is said but for its end.
fn ask_rest(mut stream: &TcpStream, word: &str) -> u32 {
    stream.write_all(b"\n").unwrap();
    answered_by(stream, word)
}

#[test]
fn a_new_worker_that_fails_or_is_never_ready_changes_nothing() {
    run(|| {
        let (listener, address) = listener();
        let behaviour = Rc::new(Cell::new("answers"));
        let theirs = Rc::clone(&behaviour);
        let builder = Builder::new(2).listen("lines", listener).ready_limit(LONG);
        let supervisor = builder.start(move |_| worker(theirs.get())).unwrap();
        let old = processes(&supervisor);
        let stream = TcpStream::connect(address).unwrap();
        let process = ask(&stream, "before");
        behaviour.set("fails");
        let error = supervisor.restart().unwrap_err();
        assert!(error.to_string().contains(&format!("ended before it was ready: {}", ended_with(9))), "{error}");
        let error = supervisor.upgrade(|_| Command::new("/no/such/worker")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(processes(&supervisor), old);
        assert_eq!(ask(&stream, "after"), process);
        behaviour.set("answers");
        supervisor.restart().unwrap();
        assert!(processes(&supervisor).contains(&ask(&stream, "as ever")));
        supervisor.stop(LONG).unwrap();
    });
}

#[test]
fn a_worker_that_is_not_ready_in_time_is_ended_and_the_old_one_goes_on() {
    run(|| {
        let (listener, address) = listener();
        let supervisor = Builder::new(1).listen("lines", listener).start(|_| worker("answers")).unwrap();
        let (stream, old) = (TcpStream::connect(address).unwrap(), processes(&supervisor));
        assert_eq!(vec![ask(&stream, "before")], old);
        let told_to_leave = timeout(Duration::from_millis(20), || {
            supervisor.upgrade(|_| worker("is never ready")).unwrap_err();
        });
        assert!(told_to_leave.is_err());
        assert_eq!((vec![ask(&stream, "after")], processes(&supervisor)), (old.clone(), old));
        supervisor.stop(LONG).unwrap();

        let (listener, _) = self::listener();
        let builder = Builder::new(2).listen("lines", listener).ready_limit(Duration::from_millis(20));
        let error = builder.start(|_| worker("is never ready")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.to_string().contains("a worker was not ready after"), "{error}");
    });
}

#[test]
fn a_connection_that_no_worker_has_room_for_waits_until_one_has() {
    run(|| {
        let (supervisor, address) = server(1);
        let stream = TcpStream::connect(address).unwrap();
        ask(&stream, "before");
        // The new one leaves, and the one that comes in its place takes it.
        let commands = Rc::new(Cell::new("gives back what it gets"));
        supervisor.upgrade(move |_| worker(commands.replace("answers"))).unwrap();
        assert_eq!(vec![ask(&stream, "after")], processes(&supervisor));
        // It may have answered before it is heard of.
        wait_for("it is told that it was taken", || supervisor.moves().taken == 1);
        assert_eq!(supervisor.moves().lost, 0);
        supervisor.stop(LONG).unwrap();
    });
}

#[test]
fn an_upgrade_takes_the_new_program_for_all_that_come_after() {
    run(|| {
        let (supervisor, address) = server(2);
        let stream = TcpStream::connect(address).unwrap();
        ask(&stream, "old");
        supervisor.upgrade(|_| worker("is the new program")).unwrap();
        for word in ["one", "two"] {
            (&stream).write_all(format!("{word}\n").as_bytes()).unwrap();
            assert!(line(&mut &stream).unwrap().starts_with("new "));
            supervisor.restart().unwrap();
        }
        supervisor.stop(LONG).unwrap();
    });
}

#[test]
fn a_worker_that_does_not_drain_within_the_limit_is_ended() {
    run(|| {
        let (listener, address) = listener();
        // Time enough to give a connection away, on a busy machine too.
        let builder = Builder::new(1).listen("lines", listener).drain_limit(Duration::from_secs(2));
        let supervisor = builder.start(|_| worker("ignores that it is to drain")).unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        let old = ask(&stream, "word");
        supervisor.restart().unwrap();
        // Its connection has moved all the same; the worker had more to do.
        assert_ne!(ask(&stream, "word"), old);
        assert_eq!(supervisor.workers()[0].last_end.as_deref(), Some("ended by the supervisor"));
        let error = supervisor.stop(Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.to_string().contains("1 workers had not ended"), "{error}");
        assert!(brings_nothing(&mut stream));
    });
}

#[test]
fn stopping_answers_what_is_begun_and_ends_idle_connections() {
    run(|| {
        let (supervisor, address) = server(2);
        let (mut idle, mut begun) = (TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap());
        ask(&idle, "idle");
        let process = ask(&begun, "first");
        begun.write_all(b"be").unwrap();
        let supervisor = Rc::new(supervisor);
        let theirs = Rc::clone(&supervisor);
        let stopping = spawn(move || theirs.stop(LONG));
        assert_eq!(line(&mut idle).unwrap_err().kind(), ErrorKind::UnexpectedEof, "the server has ended it");
        assert!(!stopping.is_finished());
        begun.write_all(b"gun\n").unwrap();
        assert_eq!(answered_by(&begun, "begun"), process);
        stopping.join().unwrap().unwrap();
        assert!(
            supervisor.workers().iter().all(|worker| !worker.is_ready && worker.process.is_none() && worker.ended == 1)
        );
        let error = supervisor.restart().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_worker_that_is_to_drain_before_it_has_said_anything_does_so_as_soon_as_it_can() {
    run(|| {
        let (supervisor, address) = server(1);
        let old = processes(&supervisor)[0];
        let mut held = TcpStream::connect(address).unwrap();
        assert_eq!(ask(&held, "served by the old"), old);
        let (gate, gates_address) = listener();
        let supervisor = Rc::new(supervisor);
        let upgrade = spawn({
            let supervisor = Rc::clone(&supervisor);
            let port = gates_address.port().to_string();
            move || {
                supervisor.upgrade(move |_| {
                    let mut command = worker("begins when told");
                    command.env(GATE, &port);
                    command
                })
            }
        });
        let mut fresh = gate.accept().unwrap().0;
        let stop = spawn(move || supervisor.stop(LONG));
        assert_eq!(held.read(&mut [0]).unwrap(), 0, "the old one drains, so the new one has been told as well");
        fresh.write_all(b"!").unwrap();
        assert_eq!(line(&mut fresh).unwrap(), "has drained\n");
        stop.join().unwrap().unwrap();
        upgrade.join().unwrap().unwrap();
    });
}

#[test]
fn listeners_are_known_by_their_names() {
    run(|| {
        let ((one, of_one), (other, of_other)) = (listener(), listener());
        let builder = Builder::new(1).listen("one", one).listen_all([("other".to_owned(), other.into())]);
        let supervisor = builder.start(|_| worker("answers")).unwrap();
        let (mut one, mut other) = (TcpStream::connect(of_one).unwrap(), TcpStream::connect(of_other).unwrap());
        for _ in 0..2 {
            let process = processes(&supervisor)[0];
            for (stream, name) in [(&mut one, "one"), (&mut other, "other")] {
                stream.write_all(b"which?\n").unwrap();
                assert_eq!(line(stream).unwrap(), format!("{process} {name}\n"));
            }
            supervisor.restart().unwrap();
        }
        supervisor.stop(LONG).unwrap();
    });
}

#[cfg(unix)]
#[test]
fn unix_sockets_are_listened_on_and_move_as_those_of_tcp() {
    run(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let (tcp, address) = listener();
        let builder = Builder::new(1).listen("tcp", tcp).listen("unix", UnixListener::bind(&path).unwrap());
        let supervisor = builder.start(|_| worker("answers")).unwrap();
        let (mut tcp, mut unix) = (TcpStream::connect(address).unwrap(), UnixStream::connect(&path).unwrap());
        for _ in 0..2 {
            let process = processes(&supervisor)[0];
            tcp.write_all(b"which?\n").unwrap();
            assert_eq!(line(&mut tcp).unwrap(), format!("{process} tcp\n"));
            unix.write_all(b"which?\n").unwrap();
            assert_eq!(line(&mut unix).unwrap(), format!("{process} unix\n"));
            supervisor.restart().unwrap();
        }
        supervisor.stop(LONG).unwrap();
    });
}

#[cfg(unix)]
#[test]
fn listeners_that_workers_share_do_not_block_whoever_comes_too_late_for_a_connection() {
    run(|| {
        let folder = tempfile::tempdir().unwrap();
        let (tcp, _) = listener();
        let unix = UnixListener::bind(folder.path().join("socket")).unwrap();
        let handles: [std::os::fd::OwnedFd; 2] = [tcp.try_clone().unwrap().into(), unix.try_clone().unwrap().into()];
        let blocking =
            || handles.iter().map(|handle| !socket2::SockRef::from(handle).nonblocking().unwrap()).collect::<Vec<_>>();
        assert_eq!(blocking(), [true, true]);
        let builder = Builder::new(2).listen("tcp", tcp).listen("unix", unix);
        let supervisor = builder.start(|_| worker("answers")).unwrap();
        assert_eq!(blocking(), [false, false], "a worker would set it for its own calls, and take it from another's");
        supervisor.stop(LONG).unwrap();
    });
}

#[test]
fn a_worker_that_dies_is_replaced_and_who_connects_meanwhile_waits() {
    run(|| {
        let (supervisor, address) = server(1);
        let mut stream = TcpStream::connect(address).unwrap();
        let first = ask(&stream, "word");
        kill(first);
        assert!(brings_nothing(&mut stream), "what it had is closed");
        let second = ask(&TcpStream::connect(address).unwrap(), "word");
        assert_ne!(second, first);
        assert_eq!(supervisor.workers()[0].last_end.as_deref(), Some(KILLED));
        supervisor.stop(LONG).unwrap();
    });
}

#[test]
fn what_fails_is_counted_until_a_worker_has_served_also_where_none_can_be_started_after_one_that_had() {
    run(|| {
        let (listener, address) = listener();
        let behaviour = Rc::new(Cell::new("answers"));
        let theirs = Rc::clone(&behaviour);
        let command = move |_| match theirs.get() {
            "is not there" => Command::new("/no/such/worker"),
            behaviour => worker(behaviour),
        };
        let supervisor = Builder::new(1).listen("lines", listener).start(command).unwrap();
        let serves = || ask(&TcpStream::connect(address).unwrap(), "word");
        let failures = || supervisor.workers()[0].failures;
        // Longer than what counts as service.
        let service = Duration::from_millis(1100);
        for (times, broken) in [(2, "is not there"), (3, "fails")] {
            let process = serves();
            sleep(service);
            behaviour.set(broken);
            kill(process);
            wait_for("it has failed so often", || failures() == times);
            behaviour.set("answers");
        }
        let last = serves();
        assert_eq!(failures(), 3);
        sleep(service);
        kill(last);
        wait_for("it is replaced", || {
            let worker = &supervisor.workers()[0];
            worker.process != Some(last) && worker.is_ready
        });
        assert_eq!(failures(), 0);
        supervisor.stop(LONG).unwrap();
    });
}

#[test]
fn a_worker_that_holds_its_thread_is_ended_within_the_limit_and_replaced_and_others_are_not() {
    run(|| {
        let (listener, address) = listener();
        let limit = Duration::from_secs(3);
        let builder = Builder::new(2).listen("lines", listener).hang_limit(limit);
        let supervisor = builder.start(|_| worker("answers")).unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        let hanging = ask(&stream, "word");
        let place = supervisor.workers().iter().position(|worker| worker.process == Some(hanging)).unwrap();
        let other = processes(&supervisor)[1 - place];
        stream.write_all(b"hang\n").unwrap();
        assert!(brings_nothing(&mut stream), "what it had is closed");
        wait_for("it is replaced", || {
            let worker = &supervisor.workers()[place];
            worker.process != Some(hanging) && worker.is_ready
        });
        let workers = supervisor.workers();
        assert_eq!(workers[place].last_end.as_deref(), Some("ended by the supervisor: it did not answer for 3s"));
        // It has been asked as often.
        assert_eq!((workers[1 - place].process, workers[1 - place].ended), (Some(other), 0));
        ask(&TcpStream::connect(address).unwrap(), "word");
        supervisor.stop(LONG).unwrap();
    });
}

#[test]
fn a_worker_that_has_had_its_number_of_requests_is_replaced_and_its_connections_go_on() {
    run(|| {
        let (listener, address) = listener();
        let behaviour = Rc::new(Cell::new("retires after three requests"));
        let theirs = Rc::clone(&behaviour);
        let supervisor = Builder::new(1).listen("lines", listener).start(move |_| worker(theirs.get())).unwrap();
        let (stream, idle) = (TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap());
        let first = ask(&idle, "one");
        assert_eq!(ask(&stream, "two"), first);
        assert_eq!(supervisor.workers()[0].process, Some(first), "it has had two");
        // As long as no other becomes ready it serves on.
        behaviour.set("fails");
        assert_eq!(ask(&stream, "three"), first);
        wait_for("others have failed", || supervisor.workers()[0].failures >= 3);
        assert_eq!(ask(&stream, "four"), first);
        behaviour.set("answers");
        wait_for("it is replaced", || supervisor.workers()[0].process != Some(first));
        wait_for("it has ended", || supervisor.workers()[0].last_end == Some(ended_with(0)));
        let new = supervisor.workers()[0].process.unwrap();
        assert_eq!((ask(&stream, "five"), ask(&idle, "six")), (new, new));
        assert_eq!((supervisor.moves().taken, supervisor.workers()[0].generation), (2, 1));
        supervisor.stop(LONG).unwrap();
    });
}

#[test]
fn there_are_more_workers_and_fewer_while_it_serves_and_connections_stay() {
    run(|| {
        let (listener, address) = listener();
        let behaviour = Rc::new(Cell::new("answers"));
        let theirs = Rc::clone(&behaviour);
        let supervisor = Builder::new(1).listen("lines", listener).start(move |_| worker(theirs.get())).unwrap();
        let streams: Vec<_> = (0..8).map(|_| TcpStream::connect(address).unwrap()).collect();
        let first = processes(&supervisor)[0];
        streams.iter().for_each(|stream| assert_eq!(ask(stream, "one"), first));
        supervisor.resize(3).unwrap();
        let three = processes(&supervisor);
        assert_eq!((three.len(), three[0]), (3, first));
        // Those that are added are kept as the others are, and are restarted with them.
        supervisor.restart().unwrap();
        kill(supervisor.workers()[2].process.unwrap());
        wait_for("it is replaced", || supervisor.workers()[2].is_ready && supervisor.workers()[2].ended == 2);
        behaviour.set("fails");
        let error = supervisor.resize(5).unwrap_err();
        assert!(error.to_string().contains("ended before it was ready"), "{error}");
        assert_eq!(supervisor.workers().len(), 3);
        assert_eq!(supervisor.resize(0).unwrap_err().kind(), ErrorKind::InvalidInput);
        let fresh: Vec<_> = (0..8).map(|_| TcpStream::connect(address).unwrap()).collect();
        for stream in &fresh {
            ask(stream, "two");
        }
        supervisor.resize(1).unwrap();
        let one = processes(&supervisor);
        assert_eq!(one.len(), 1);
        fresh.iter().for_each(|stream| assert_eq!(ask(stream, "three"), one[0]));
        supervisor.stop(LONG).unwrap();
    });
}

#[cfg(unix)]
#[test]
fn signals_restart_the_server_change_the_number_of_its_workers_and_stop_it() {
    run(|| {
        let mut supervisor = worker("obeys signals").stdout(Stdio::piped()).spawn().unwrap();
        let mut said = io::BufRead::lines(io::BufReader::new(supervisor.stdout.take().unwrap()));
        let mut hear = |what: &str| assert!(said.any(|line| line.unwrap() == what), "never: {what}");
        hear("2 of generation 1");
        for (signal, what) in [
            (libc::SIGTTIN, "3 of generation 1"),
            (libc::SIGHUP, "3 of generation 2"),
            (libc::SIGTTOU, "2 of generation 2"),
            (libc::SIGTTOU, "1 of generation 2"),
        ] {
            tell(supervisor.id(), signal);
            hear(what);
        }
        // One stays.
        tell(supervisor.id(), libc::SIGTTOU);
        tell(supervisor.id(), libc::SIGHUP);
        hear("1 of generation 3");
        tell(supervisor.id(), libc::SIGTERM);
        hear("it has stopped");
        assert!(supervisor.wait().unwrap().success());
    });
}

#[test]
fn a_worker_that_breaks_the_rules_is_ended_and_one_that_cannot_start_is_said() {
    run(|| {
        for (behaviour, why) in [
            ("speaks out of turn", "number 7, which it does not have"),
            ("asks twice", &ended_with(7)),
            ("fails", &ended_with(9)),
        ] {
            let error = Builder::new(1).listen("lines", listener().0).start(move |_| worker(behaviour)).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
        let start = |builder: Builder| builder.start(|_| Command::new("/no/such/worker")).unwrap_err().kind();
        assert_eq!(start(Builder::new(1).listen("lines", listener().0)), ErrorKind::NotFound);
        assert_eq!(start(Builder::new(1)), ErrorKind::InvalidInput);
        assert_eq!(start(Builder::new(0).listen("lines", listener().0)), ErrorKind::InvalidInput);
        let error = Worker::from_environment().unwrap_err();
        assert!(error.to_string().contains("OVERLAPPED_PREFORK is not set"), "{error}");
    });
}

#[test]
fn a_supervisor_that_is_dropped_ends_its_workers_at_once() {
    run(|| {
        let (supervisor, address) = server(1);
        let mut stream = TcpStream::connect(address).unwrap();
        ask(&stream, "word");
        stream.write_all(b"half").unwrap();
        drop(supervisor);
        assert!(brings_nothing(&mut stream));
        wait_for("nobody listens", || TcpStream::connect(address).is_err());
    });
}

#[test]
fn workers_whose_supervisor_was_killed_answer_what_is_begun_and_end() {
    run(|| {
        let mut supervisor = worker("supervises").stdout(Stdio::piped()).spawn().unwrap();
        let mut said = supervisor.stdout.take().unwrap();
        let address: SocketAddr = loop {
            let mut room = [0; 4096];
            let length = said.read(&mut room).unwrap();
            let all = String::from_utf8_lossy(&room[..length]).into_owned();
            if let Some(address) = all.lines().find_map(|line| line.strip_prefix("address: ")) {
                break address.trim_end().parse().unwrap();
            }
        };
        let (mut idle, mut begun) = (TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap());
        ask(&idle, "idle");
        let process = ask(&begun, "first");
        begun.write_all(b"be").unwrap();
        supervisor.kill().unwrap();
        supervisor.wait().unwrap();
        assert_eq!(line(&mut idle).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        begun.write_all(b"gun\n").unwrap();
        assert_eq!(answered_by(&begun, "begun"), process);
        wait_for("nobody listens", || TcpStream::connect(address).is_err());
    });
}

/// How large the scene is.
#[derive(Clone, Copy)]
struct Size {
    connections: usize,
    /// So many restarts, and so many kills.
    rounds: usize,
    /// How many times as many connections as usual: so many times as long may each take, and so much longer the clients pause.
    times: u32,
}

impl Size {
    /// `PREFORK_SCENE="10000 100"` for more than usual, which wants as many descriptors here, a part of them in each worker, and
    /// some to spare (`ulimit -n 16384`). Under Wine, where a process takes its time to start, fewer.
    fn told() -> Size {
        let usual = if cfg!(windows) { "40 4" } else { "200 10" };
        let told = std::env::var("PREFORK_SCENE").unwrap_or_else(|_| usual.to_owned());
        let (connections, rounds) = told.split_once(' ').expect("two numbers");
        let connections = connections.parse().unwrap();
        Size { connections, rounds: rounds.parse().unwrap(), times: (connections as u32 / 200).max(1) }
    }
}

/// Among so many workers.
const WORKERS: usize = if cfg!(windows) { 2 } else { 4 };

/// What the clients of the scene have seen.
#[derive(Default)]
struct Seen {
    answered: Cell<u64>,
    closed: RefCell<Vec<Option<u32>>>,
    over: Cell<bool>,
}

/// A client that asks again and again on one connection, whole lines and such as come in two pieces, and checks each answer.
/// When the connection is closed it writes down who had it, and makes another.
fn keep_asking(address: SocketAddr, number: usize, longest_pause: u64, seen: &Seen) {
    let mut chance = fastrand::Rng::with_seed(number as u64);
    while !seen.over.get() {
        let mut stream = TcpStream::connect(address).expect("nobody is refused");
        stream.set_read_timeout(patience_with_the_killed()).unwrap();
        let mut last = None;
        for request in 0.. {
            let word = format!("client {number} asks {request}");
            let (first, rest) = word.split_at(chance.usize(0..word.len()));
            let asked = stream.write_all(first.as_bytes()).and_then(|()| {
                // Idle, or with half a request said.
                sleep(Duration::from_millis(chance.u64(0..longest_pause)));
                stream.write_all(format!("{rest}\n").as_bytes())
            });
            let Ok(answer) = asked.and_then(|()| line(&mut stream)) else {
                seen.closed.borrow_mut().push(last);
                break;
            };
            let (process, said) = answer.trim_end().split_once(' ').unwrap();
            assert_eq!(said, word, "one answer for each request, in order");
            last = Some(process.parse().unwrap());
            seen.answered.set(seen.answered.get() + 1);
            if seen.over.get() {
                // Nothing is left over that was not asked for.
                stream.shutdown(Shutdown::Write).unwrap();
                assert_eq!(stream.read(&mut [0; 64]).unwrap(), 0);
                break;
            }
        }
    }
}

#[test]
fn under_keep_alive_connections_restarts_lose_nothing_and_kills_close_what_the_dead_had() {
    let Size { connections, rounds, times } = Size::told();
    let _alone = alone();
    run_long(times * (rounds as u32 / 10).max(1), || {
        let before = open_descriptors();
        let (listener, address) = listener();
        let builder =
            Builder::new(WORKERS).listen("lines", listener).ready_limit(LONG * times).drain_limit(LONG * times);
        let supervisor = builder.start(|_| worker("answers")).unwrap();
        let idle = open_descriptors();
        let idle_workers = processes(&supervisor).into_iter().map(descriptors_of).max().unwrap();
        let seen = Rc::new(Seen::default());
        let clients = (0..connections).map(|number| {
            let seen = Rc::clone(&seen);
            spawn(move || keep_asking(address, number, 40 * u64::from(times), &seen))
        });
        let clients: Vec<JoinHandle<()>> = clients.collect();
        let wait_for_answers = |count: usize| {
            let enough = seen.answered.get() + count as u64;
            wait_long_for(times, "answers", || {
                seen.answered.get() >= enough || clients.iter().any(JoinHandle::is_finished)
            });
            assert!(!clients.iter().any(JoinHandle::is_finished), "a client has failed");
        };
        wait_for_answers(connections);
        for _ in 0..rounds {
            supervisor.restart().unwrap();
            wait_for_answers(connections / 2);
        }
        assert_eq!(*seen.closed.borrow(), [], "a restart closes no connection");
        assert!(supervisor.moves().taken >= rounds as u64, "{:?}", supervisor.moves());
        let mut killed = HashSet::new();
        for round in 0..rounds {
            let place = round % WORKERS;
            let process = supervisor.workers()[place].process.unwrap();
            kill(process);
            killed.insert(process);
            wait_long_for(times, "it is replaced", || {
                let worker = &supervisor.workers()[place];
                worker.process != Some(process) && worker.is_ready
            });
            wait_for_answers(connections / 2);
        }
        let closed = seen.closed.borrow().len();
        assert!(closed > 0, "they had some");
        let alive = processes(&supervisor);
        let alive_had = seen.closed.borrow().iter().flatten().filter(|process| alive.contains(process)).count();
        assert_eq!(alive_had, 0, "of {closed} that were closed, beside {} kills", killed.len());
        seen.over.set(true);
        clients.into_iter().for_each(|client| client.join().unwrap());
        assert_eq!(supervisor.moves().lost, 0);
        wait_long_for(times, "no descriptor is left", || {
            processes(&supervisor).into_iter().all(|process| descriptors_of(process) <= idle_workers)
                && open_descriptors() == idle
        });
        supervisor.stop(LONG * times).unwrap();
        drop(supervisor);
        wait_long_for(times, "all descriptors are closed", || open_descriptors() == before);
    });
}
