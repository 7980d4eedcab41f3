//! Sockets in the hands of workers, some of which are killed. This program is its own worker: see [`Behaviour`].

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use overlapped::handoff::{Builder, Choice, Given, OwnedSocket, Server, VARIABLE, Worker};
use overlapped::net::{Kind, Shutdown, TcpListener, TcpStream, UdpSocket};
#[cfg(unix)]
use overlapped::net::{UnixDatagram, UnixListener, UnixStream};
use overlapped::process::{Command, Stdio};
use overlapped::{sleep, spawn, timeout, yield_now};
// One at a time: some count this process's descriptors.
use support::{LONG, alone, kill, open_descriptors, patience_with_the_killed, run_alone as run, run_long, wait_for};

/// What a worker of these tests does; a variable of its environment tells it.
const BEHAVIOUR: &str = "HANDOFF_TEST";

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
    match &*behaviour {
        // A client may have left before it has the answer.
        "answers" => serve(|given| drop(answer(given))),
        "answers each kind" => serve(|given| answer_any(given).unwrap()),
        "wants nothing" => serve(drop),
        "dies of each" => serve(|_| kill(std::process::id())),
        "wants a datagram socket" => serve(|given| {
            let error = given.into_udp_socket().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }),
        "hears nothing" => overlapped::run(|| {
            let _worker = Worker::from_environment().unwrap();
            sleep(LONG);
        }),
        "leaves its channel to a child" => {
            #[allow(clippy::zombie_processes, reason = "this process ends before it")]
            worker("reads to the end").as_std_mut().spawn().unwrap();
            kill(std::process::id());
        }
        "reads to the end" => drop(std::io::stdin().read_to_end(&mut Vec::new())),
        #[cfg(unix)]
        "has no descriptor left" => overlapped::run(|| {
            let mut worker = Worker::from_environment().unwrap();
            // SAFETY: the limit lives through the call.
            unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &libc::rlimit { rlim_cur: 3, rlim_max: 3 }) };
            // One may have come with the welcome, before: it goes back, and comes again.
            let error = worker.next().map(drop).and_then(|()| worker.next()).unwrap_err();
            assert!(error.to_string().contains("no descriptor left"), "{error}");
            std::process::exit(9);
        }),
        "ends at once" => {}
        "asks twice" => overlapped::run(|| {
            let worker = Worker::from_environment().unwrap();
            assert_eq!(Worker::from_environment().unwrap_err().kind(), ErrorKind::NotFound);
            drop(worker);
            std::process::exit(7);
        }),
        raw => speak(raw),
    }
}

fn serve(each: fn(Given)) {
    overlapped::run(|| {
        let mut worker = Worker::from_environment().unwrap();
        let mut all = Vec::new();
        while let Some(given) = worker.next().unwrap() {
            all.push(spawn(move || each(given)));
        }
        all.into_iter().for_each(|one| one.join().unwrap());
    });
}

/// Says which process has it and what came along, until the client has enough.
fn answer(given: Given) -> std::io::Result<()> {
    let context = given.context.clone();
    let mut stream = given.into_tcp_stream()?;
    write!(stream, "{} ", std::process::id())?;
    stream.write_all(&context)?;
    stream.shutdown(Shutdown::Write)?;
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}

fn answer_any(given: Given) -> std::io::Result<()> {
    match given.kind() {
        Kind::TcpStream => given.into_tcp_stream()?.write_all(b"stream"),
        Kind::TcpListener => given.into_tcp_listener()?.accept()?.0.write_all(b"listener"),
        Kind::UdpSocket => {
            let socket = given.into_udp_socket()?;
            let (_, from) = socket.recv_from(&mut [0; 8])?;
            socket.send_to(b"datagram", from).map(drop)
        }
        #[cfg(unix)]
        Kind::UnixStream => given.into_unix_stream()?.write_all(b"unix"),
        #[cfg(unix)]
        Kind::UnixListener => given.into_unix_listener()?.accept()?.0.write_all(b"unix listener"),
        #[cfg(unix)]
        Kind::UnixDatagram => given.into_unix_datagram()?.send(b"unix datagram").map(drop),
        #[cfg(unix)]
        _ => {
            let mut file = std::fs::File::from(given.into_socket()?);
            file.write_all(b"other")
        }
        #[cfg(windows)]
        kind => panic!("a {kind:?} was given"),
    }
}

/// Says hello and then bytes that are no protocol: given in hexadecimal digits.
fn speak(hexadecimal: &str) {
    let digits = |at: usize| u8::from_str_radix(&hexadecimal[at..at + 2], 16).unwrap();
    let bytes: Vec<u8> = (0..hexadecimal.len()).step_by(2).map(digits).collect();
    #[cfg(unix)]
    let channel = std::os::fd::AsFd::as_fd(&std::io::stdin()).try_clone_to_owned().unwrap();
    #[cfg(windows)]
    let channel = std::os::windows::io::AsHandle::as_handle(&std::io::stdin()).try_clone_to_owned().unwrap();
    std::fs::File::from(channel).write_all(&bytes).unwrap();
    // The server ends this.
    std::thread::sleep(LONG);
}

/// A connection: the client's end and the server's.
fn connection(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn everything(mut stream: impl Read) -> std::io::Result<String> {
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// How a process's end is told that [`kill`] has ended, or that ended with a number.
const KILLED: &str = if cfg!(unix) { "signal: 9 (SIGKILL)" } else { "exit code: 9" };

fn ended_with(number: i32) -> String {
    format!("{}: {number}", if cfg!(unix) { "exit status" } else { "exit code" })
}

fn stop(server: Server) {
    server.stop(LONG).unwrap();
}

#[test]
fn a_connection_goes_on_in_a_worker_with_what_was_read_and_the_server_keeps_nothing() {
    run(|| {
        let (listener, before) = (listener(), open_descriptors());
        let server = Builder::new(1).start(|_| worker("answers")).unwrap();
        let (mut client, mut ours) = connection(&listener);
        client.write_all(b"read by the server, ").unwrap();
        let mut context = [0; 20];
        ours.read_exact(&mut context).unwrap();
        let process = server.give(ours, &context).unwrap().wait().unwrap();
        assert_eq!(Some(process), server.workers()[0].process);
        assert_eq!(everything(&client).unwrap(), format!("{process} read by the server, "));
        drop(client);
        assert_eq!((server.workers()[0].taken, server.workers()[0].unconfirmed), (1, 0));
        stop(server);
        assert_eq!(open_descriptors(), before);
    });
}

#[test]
fn sockets_of_every_kind_are_given_and_keep_their_kind() {
    run(|| {
        let listener = listener();
        let server = Builder::new(2).start(|_| worker("answers each kind")).unwrap();
        let give = |socket: OwnedSocket| {
            server.give(socket, b"").unwrap().wait().unwrap();
        };

        let (client, ours) = connection(&listener);
        give(ours.into());
        assert_eq!(everything(client).unwrap(), "stream");

        let theirs = TcpListener::bind("127.0.0.1:0").unwrap();
        let address: SocketAddr = theirs.local_addr().unwrap();
        give(theirs.into());
        assert_eq!(everything(TcpStream::connect(address).unwrap()).unwrap(), "listener");

        let (socket, theirs) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let address = theirs.local_addr().unwrap();
        give(theirs.into());
        socket.send_to(b"?", address).unwrap();
        let mut buffer = [0; 16];
        let length = socket.recv_from(&mut buffer).unwrap().0;
        assert_eq!(&buffer[..length], b"datagram");

        #[cfg(unix)]
        give_what_unix_has(give);
        stop(server);
    });
}

#[cfg(unix)]
fn give_what_unix_has(give: impl Fn(OwnedSocket)) {
    let mut buffer = [0; 16];
    let (client, theirs) = UnixStream::pair().unwrap();
    give(theirs.into());
    assert_eq!(everything(client).unwrap(), "unix");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    give(UnixListener::bind(&path).unwrap().into());
    assert_eq!(everything(UnixStream::connect(&path).unwrap()).unwrap(), "unix listener");

    let (client, theirs) = UnixDatagram::pair().unwrap();
    give(theirs.into());
    let length = client.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"unix datagram");

    let (mut reader, writer) = std::io::pipe().unwrap();
    give(writer.into());
    let length = reader.read(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"other");
}

#[test]
fn of_many_connections_through_4_workers_of_which_each_is_killed_every_one_is_answered_once_or_closed_by_its_taker() {
    // `HANDOFF_SCENE=10000` for more. Under Wine, a process takes its time to start.
    let told = std::env::var("HANDOFF_SCENE").map(|told| told.parse().unwrap());
    let connections = told.unwrap_or(if cfg!(unix) { 200 } else { 60 });
    let kills = connections / 10;
    let _alone = alone();
    run_long((connections as u32 / 200).max(1), || {
        let (listener, before) = (listener(), open_descriptors());
        let server = Builder::new(4).limit(16).attempts(100).start(|_| worker("answers")).unwrap();
        let mut clients = Vec::new();
        for number in 0..connections {
            let (client, ours) = connection(&listener);
            client.set_read_timeout(patience_with_the_killed()).unwrap();
            let giving = server.give(ours, format!("connection {number};").as_bytes()).unwrap();
            clients.push(spawn(move || (everything(&client).ok().filter(|answer| !answer.is_empty()), giving)));
            if number % kills == kills - 1
                && let Some(process) = server.workers()[number / kills % 4].process
            {
                kill(process);
            }
        }
        let (mut answered, mut closed) = (0, 0);
        for (number, client) in clients.into_iter().enumerate() {
            let (answer, giving) = client.join().unwrap();
            // Whatever became of it, somebody had taken it over.
            let process = giving.wait().unwrap();
            match answer {
                Some(answer) => {
                    // A worker that was killed in the middle has said the beginning of it, and nobody else anything.
                    let whole = format!("{process} connection {number};");
                    assert!(whole.starts_with(&answer), "{answer:?} where {process} took {number}");
                    answered += 1;
                }
                None => closed += 1,
            }
        }
        assert_eq!(answered + closed, connections);
        let workers = server.workers();
        assert!(answered > connections / 2, "{answered} answered, {closed} closed: {workers:?}");
        assert!(workers.iter().all(|worker| worker.ended > 0), "{workers:?}");
        assert_eq!(workers.iter().map(|worker| worker.taken).sum::<u64>(), connections as u64);
        stop(server);
        assert_eq!(open_descriptors(), before);
    });
}

#[test]
fn what_a_worker_had_and_did_not_take_over_when_it_was_killed_is_served_by_the_next() {
    run(|| {
        let listener = listener();
        let mut starts = 0;
        let server = Builder::new(1).limit(3).start(move |_| {
            starts += 1;
            worker(if starts == 1 { "hears nothing" } else { "answers" })
        });
        let server = server.unwrap();
        let first = server.workers()[0].process.unwrap();
        let mut all = Vec::new();
        for number in 0..3 {
            let (client, ours) = connection(&listener);
            all.push((client, server.give(ours, format!("{number}").as_bytes()).unwrap()));
        }
        wait_for("all three are its", || server.workers()[0].unconfirmed == 3);
        kill(first);
        for (number, (client, giving)) in all.into_iter().enumerate() {
            let second = giving.wait().unwrap();
            assert_ne!(second, first);
            assert_eq!(everything(client).unwrap(), format!("{second} {number}"));
        }
        let end = server.workers()[0].last_end.clone().unwrap();
        assert_eq!(end, KILLED);
        stop(server);
    });
}

#[test]
fn giving_waits_while_workers_hold_as_many_as_they_may() {
    run(|| {
        let listener = listener();
        let server = Builder::new(1).limit(2).start(|_| worker("hears nothing")).unwrap();
        let mut clients = Vec::new();
        for _ in 0..2 {
            let (client, ours) = connection(&listener);
            clients.push((client, server.give(ours, b"").unwrap()));
        }
        let (_client, ours) = connection(&listener);
        let ours = OwnedSocket::from(ours);
        let copy = ours.try_clone().unwrap();
        let waited = timeout(Duration::from_millis(20), || {
            let not_taken = server.give(ours, b"its bytes").unwrap_err();
            assert_eq!(not_taken.error.kind(), ErrorKind::TimedOut);
            assert_eq!(not_taken.given.unwrap().1, b"its bytes");
        });
        assert!(waited.is_err(), "there was no room");
        drop(copy);
        // Ended at once: what was given comes back.
        drop(server);
        for (_, giving) in clients {
            assert!(giving.is_known());
            assert!(giving.wait().unwrap_err().given.is_some());
        }
    });
}

#[test]
fn what_no_worker_wants_or_what_kills_each_comes_back_with_its_bytes() {
    let behaviours = ["wants nothing", "dies of each", "wants a datagram socket"];
    for behaviour in behaviours {
        run(|| {
            let listener = listener();
            let server = Builder::new(2).attempts(3).start(move |_| worker(behaviour)).unwrap();
            let (mut client, ours) = connection(&listener);
            let not_taken = server.give(ours, b"its bytes").unwrap().wait().unwrap_err();
            assert!(not_taken.to_string().contains("no worker has taken it over"), "{not_taken}");
            let (socket, context) = not_taken.given.unwrap();
            assert_eq!(context, b"its bytes");
            TcpStream::from(socket).write_all(b"still open").unwrap();
            assert_eq!(everything(&mut client).unwrap(), "still open", "and nobody has another copy");
            let ended = || server.workers().iter().map(|worker| worker.ended).sum::<u64>();
            if behaviour == "dies of each" {
                wait_for("three have ended", || ended() == 3);
            }
            assert_eq!(ended(), if behaviour == "dies of each" { 3 } else { 0 });
            stop(server);
        });
    }
}

#[test]
fn what_nobody_claims_is_closed_where_nobody_waits_for_it() {
    run(|| {
        let listener = listener();
        let server = Builder::new(1).attempts(1).start(|_| worker("wants nothing")).unwrap();
        let (client, ours) = connection(&listener);
        drop(server.give(ours, b"").unwrap());
        assert_eq!(everything(client).unwrap(), "");
        stop(server);
    });
}

#[test]
fn a_key_always_goes_to_the_same_place_and_the_others_take_turns() {
    run(|| {
        let listener = listener();
        let server = Builder::new(3).choice(Choice::RoundRobin).start(|_| worker("answers")).unwrap();
        wait_for("all are ready", || {
            let (client, ours) = connection(&listener);
            server.give(ours, b"").unwrap().wait().unwrap();
            drop(client);
            server.workers().iter().all(|worker| worker.taken > 0)
        });
        let workers: Vec<u32> = server.workers().iter().filter_map(|worker| worker.process).collect();
        for key in [0, 1, 2, 5, 300] {
            let (_client, ours) = connection(&listener);
            let process = server.give_by(key, ours, b"").unwrap().wait().unwrap();
            assert_eq!(process, workers[(key % 3) as usize]);
        }
        let turns = (0..6).map(|_| {
            let (_client, ours) = connection(&listener);
            server.give(ours, b"").unwrap().wait().unwrap()
        });
        let turns: Vec<u32> = turns.collect();
        assert_eq!(turns[..3], turns[3..]);
        assert!(workers.iter().all(|worker| turns.contains(worker)));
        stop(server);
    });
}

/// A hello of version 1, in hexadecimal digits.
const HELLO: &str = "00000018016f7665726c61707065642068616e642d6f666600010001";

#[test]
fn a_worker_that_breaks_the_rules_is_ended_and_it_is_said_why() {
    // On Windows the frame tells of the socket.
    let (most, no_socket) =
        if cfg!(unix) { ("1048585", "without its descriptor") } else { ("1049213", "not as its kind's") };
    let broken = [
        ("ffffffff".to_owned(), most),
        ("47455420".to_owned(), "are allowed"),
        ("0000000102".to_owned(), "not as its kind's"),
        ("00000009050000000000000000".to_owned(), "the first message is no hello"),
        (HELLO.replace("00010001", "00020003"), "versions 2 to 3, the server 1 to 1"),
        (format!("{HELLO}00000009050000000000000063"), "took number 99, which it does not have"),
        (format!("{HELLO}00000009060000000000000063"), "gave back number 99"),
        (format!("{HELLO}{HELLO}"), "hello came from a worker"),
        (format!("{HELLO}0000000109"), "a kind that there is not"),
        (format!("{HELLO}0000000107"), "end came from a worker"),
        (format!("{HELLO}0000000a04000000000000000161"), no_socket),
    ];
    for (bytes, why) in broken {
        run(|| {
            let listener = listener();
            let mut starts = 0;
            let server = Builder::new(1).start(move |_| {
                starts += 1;
                worker(if starts == 1 { &bytes } else { "answers" })
            });
            let server = server.unwrap();
            let (client, ours) = connection(&listener);
            let process = server.give(ours, b"safe").unwrap().wait().unwrap();
            assert_eq!(everything(client).unwrap(), format!("{process} safe"));
            let end = server.workers()[0].last_end.clone().unwrap();
            assert!(end.contains(why), "{end}");
            stop(server);
        });
    }
}

#[test]
fn noise_from_a_worker_ends_that_worker_alone() {
    run(|| {
        let listener = listener();
        let mut chance = fastrand::Rng::with_seed(9);
        let mut starts = 0;
        let server = Builder::new(2).start(move |place| {
            starts += 1;
            if place == 1 || starts > 12 {
                return worker("answers");
            }
            let noise: String = (0..chance.usize(8..60)).map(|_| format!("{:02x}", chance.u8(..))).collect();
            worker(&if chance.bool() { noise } else { format!("{HELLO}{noise}") })
        });
        let server = server.unwrap();
        wait_for("five have made noise", || {
            let (client, ours) = connection(&listener);
            let process = server.give(ours, b"safe").unwrap().wait().unwrap();
            assert_eq!(everything(client).unwrap(), format!("{process} safe"));
            server.workers()[0].ended >= 5
        });
        assert_eq!(server.workers()[1].ended, 0);
        drop(server);
    });
}

#[cfg(unix)]
#[test]
fn a_worker_without_a_descriptor_left_hears_of_it_and_the_socket_goes_to_another() {
    run(|| {
        let listener = listener();
        let mut starts = 0;
        let server = Builder::new(1).start(move |_| {
            starts += 1;
            worker(if starts == 1 { "has no descriptor left" } else { "answers" })
        });
        let server = server.unwrap();
        let (client, ours) = connection(&listener);
        let process = server.give(ours, b"safe").unwrap().wait().unwrap();
        assert_eq!(everything(client).unwrap(), format!("{process} safe"));
        assert_eq!(server.workers()[0].last_end.as_deref(), Some("exit status: 9"));
        stop(server);
    });
}

#[test]
fn a_worker_has_ended_though_a_child_of_its_own_holds_the_channel_open() {
    run(|| {
        let server = Builder::new(1).start(|_| worker("leaves its channel to a child")).unwrap();
        wait_for("two have ended", || server.workers()[0].ended >= 2);
        let end = server.workers()[0].last_end.clone().unwrap();
        assert_eq!(end, KILLED);
        stop(server);
    });
}

#[test]
fn a_worker_that_ends_before_it_was_of_use_is_started_again_after_a_delay_in_which_no_process_is_named() {
    run(|| {
        let server = Builder::new(1).start(|_| worker("ends at once")).unwrap();
        wait_for("none runs", || server.workers()[0].process.is_none());
        wait_for("three have ended", || server.workers()[0].ended >= 3);
        assert_eq!(server.workers()[0].last_end, Some(ended_with(0)));
        stop(server);
    });
}

#[test]
fn stopping_waits_for_what_is_on_its_way_and_then_takes_no_more() {
    run(|| {
        let (listener, before) = (listener(), open_descriptors());
        let server = Builder::new(2).start(|_| worker("answers")).unwrap();
        let mut clients = Vec::new();
        for _ in 0..20 {
            let (client, ours) = connection(&listener);
            clients.push((client, server.give(ours, b"").unwrap()));
        }
        let ends = spawn(move || {
            for (client, giving) in clients {
                let process = giving.wait().unwrap();
                assert_eq!(everything(client).unwrap(), format!("{process} "));
            }
        });
        yield_now();
        server.stop(LONG).unwrap();
        ends.join().unwrap();
        assert_eq!(open_descriptors(), before);
    });
}

#[test]
fn a_worker_that_dies_while_its_server_stops_is_replaced_for_what_it_had_not_taken_over() {
    run(|| {
        let listener = listener();
        let mut starts = 0;
        let server = Builder::new(1).start(move |_| {
            starts += 1;
            worker(if starts == 1 { "hears nothing" } else { "answers" })
        });
        let server = server.unwrap();
        let first = server.workers()[0].process.unwrap();
        let (client, ours) = connection(&listener);
        let giving = server.give(ours, b"safe").unwrap();
        wait_for("it is sent", || server.workers()[0].unconfirmed == 1);
        let stopping = spawn(move || server.stop(LONG));
        yield_now();
        kill(first);
        let second = giving.wait().unwrap();
        assert_eq!(everything(client).unwrap(), format!("{second} safe"));
        stopping.join().unwrap().unwrap();
    });
}

#[test]
fn stopping_ends_after_its_limit_and_gives_back_what_was_not_taken_over() {
    run(|| {
        let (listener, before) = (listener(), open_descriptors());
        let server = Builder::new(1).start(|_| worker("hears nothing")).unwrap();
        let (client, ours) = connection(&listener);
        let giving = server.give(ours, b"").unwrap();
        let error = server.stop(Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.to_string().contains("1 sockets were not taken over"), "{error}");
        let (socket, _) = giving.wait().unwrap_err().given.unwrap();
        drop(socket);
        assert_eq!(everything(client).unwrap(), "");
        wait_for("the worker's descriptors are closed", || open_descriptors() == before);
    });
}

#[test]
fn only_a_worker_has_a_channel_and_only_once() {
    assert!(std::env::var(VARIABLE).is_err());
    run(|| {
        let error = Worker::from_environment().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("OVERLAPPED_HANDOFF is not set"), "{error}");
        let server = Builder::new(1).start(|_| worker("asks twice")).unwrap();
        wait_for("it has ended", || server.workers()[0].ended > 0);
        assert_eq!(server.workers()[0].last_end, Some(ended_with(7)));
        drop(server);
    });
}

#[test]
fn a_server_that_cannot_start_says_so() {
    run(|| {
        let error = Builder::new(1).start(|_| Command::new("/no/such/worker")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        for builder in [Builder::new(0), Builder::new(1).limit(0), Builder::new(1).attempts(0)] {
            let error = builder.start(|_| worker("answers")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
    });
}
