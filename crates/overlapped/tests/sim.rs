//! Simulated worlds: that they repeat, that they find what they are for, and that they are as the system is.
#![cfg(unix)]

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use overlapped::net::{TcpListener, TcpStream, UdpSocket};
use overlapped::sim::{self, Decisions, Link, Origin, Rules, Simulation};
use overlapped::{Queue, sleep, spawn, timeout};

const SERVER: &str = "10.0.0.1:80";

/// Two clients, ten echoes each.
fn echoes() {
    let listener = TcpListener::bind(SERVER).unwrap();
    let server = spawn(move || {
        let served = [(); 2].map(|()| {
            let (mut stream, _) = listener.accept().unwrap();
            spawn(move || {
                let mut room = [0; 64];
                loop {
                    match stream.read(&mut room).unwrap() {
                        0 => return,
                        count => stream.write_all(&room[..count]).unwrap(),
                    }
                }
            })
        });
        let _ = served.map(|served| served.join().unwrap());
    });
    let clients = [1_u8, 2].map(|client| {
        spawn(move || {
            let mut stream = TcpStream::connect(SERVER).unwrap();
            for number in 0..10 {
                let sent = [client, number, 7, 9];
                stream.write_all(&sent).unwrap();
                let mut came = [0; 4];
                stream.read_exact(&mut came).unwrap();
                assert_eq!(came, sent);
            }
        })
    });
    let _ = clients.map(|client| client.join().unwrap());
    server.join().unwrap();
}

#[test]
fn a_scene_runs_under_many_seeds_and_the_same_seeds_do_the_same() {
    let first = sim::explore(0..200, echoes);
    assert_eq!(first.runs, 200);
    assert!(first.elapsed > Duration::from_millis(200), "{first:?}");
    assert_eq!(sim::explore(0..200, echoes), first);
    assert_ne!(sim::explore(200..400, echoes).hash, first.hash);
}

fn ip(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

/// What a scene fails with.
fn failure(scene: impl Fn() + Clone + 'static) -> sim::Failure {
    Simulation::new().explore(0..500, scene).expect_err("it fails under some seed")
}

/// A greeting that is read by one read.
fn careless() {
    let listener = TcpListener::bind(SERVER).unwrap();
    let client = spawn(|| TcpStream::connect(SERVER).unwrap().write_all(b"hello").unwrap());
    let mut room = [0; 5];
    let count = listener.accept().unwrap().0.read(&mut room).unwrap();
    client.join().unwrap();
    assert_eq!(count, 5, "all at once");
}

#[test]
fn what_is_found_is_made_short_and_repeats() {
    let found = failure(careless);
    assert!(found.message.contains("all at once"), "{found}");
    assert!(matches!(found.origin, Origin::Seed(_)));
    let faults = found.decisions.0.iter().filter(|number| **number != 0).count();
    assert!(faults <= 2, "one short transfer is enough: {}", found.decisions);
    let again = Simulation::new().explore([0], echoes);
    assert!(again.is_ok());
    let written: Decisions = found.decisions.to_string().parse().unwrap();
    let panic = std::panic::catch_unwind(|| sim::run(written, careless)).unwrap_err();
    assert!(panic.downcast_ref::<String>().unwrap().contains("all at once"));
}

#[test]
fn what_fails_by_something_outside_of_the_world_is_told_so() {
    let runs = Rc::new(Cell::new(0));
    let found = failure(move || {
        runs.set(runs.get() + 1);
        assert_ne!(runs.get(), 3, "the third");
    });
    assert_eq!(found.origin, Origin::Seed(2));
    assert!(found.message.contains("the third") && found.message.contains("passes when it is run again"), "{found}");
}

#[test]
fn a_deadlock_is_found_and_says_who_waits_for_what() {
    let found = failure(|| {
        let (one, other) = (Queue::<u8>::new(), Queue::<u8>::new());
        let (its_one, its_other) = (one.clone(), other.clone());
        let first = overlapped::Builder::new().name("first").spawn(move || {
            let got = its_one.get().unwrap();
            its_other.put(got).unwrap();
        });
        let got = other.get().unwrap();
        one.put(got).unwrap();
        first.unwrap().join().unwrap();
    });
    assert!(found.message.contains("nothing is on its way"), "{found}");
    assert!(found.message.contains("tasklet \"first\" waits for queue get"), "{found}");
}

#[test]
fn a_peer_that_says_nothing_is_waited_for_without_end_and_this_is_seen() {
    let found = failure(|| {
        let listener = TcpListener::bind(SERVER).unwrap();
        let stream = TcpStream::connect(SERVER).unwrap();
        let (_peer, _) = listener.accept().unwrap();
        (&stream).read_exact(&mut [0]).unwrap();
    });
    assert!(found.message.contains("recv"), "{found}");
}

#[test]
fn a_loop_that_asks_on_and_on_is_found() {
    let found = failure(|| {
        let (event, waits) = (overlapped::Event::new(), overlapped::Event::new());
        let sets = event.clone();
        spawn(move || {
            waits.wait();
            sets.set();
        });
        while !event.is_set() {
            overlapped::yield_now();
        }
    });
    assert!(found.message.contains("no time passes"), "{found}");
}

#[test]
fn time_passes_as_fast_as_nothing_happens() {
    let begun = std::time::Instant::now();
    sim::run(1, || {
        for _ in 0..100 {
            sleep(Duration::from_secs(3600));
        }
        assert!(sim::elapsed() >= Duration::from_secs(360_000));
        let waited = timeout(Duration::from_secs(5), || sleep(Duration::from_secs(6)));
        assert!(waited.is_err());
    });
    assert!(begun.elapsed() < Duration::from_secs(3600));
}

#[test]
fn a_link_that_is_down_lets_nothing_through_until_it_is_healed() {
    sim::explore(0..20, || {
        let listener = TcpListener::bind(SERVER).unwrap();
        let accepting = spawn(move || listener.accept().map(|(stream, _)| (stream, listener)));
        let socket = overlapped::net::TcpSocket::new_v4().unwrap();
        socket.bind("10.0.0.2:0".parse().unwrap()).unwrap();
        let mut client = socket.connect(SERVER.parse().unwrap()).unwrap();
        let (mut server, _listener) = accepting.join().unwrap().unwrap();
        assert_eq!(client.local_addr().unwrap().ip(), ip(2));
        assert_eq!(server.peer_addr().unwrap(), client.local_addr().unwrap());

        sim::partition(ip(1), ip(2));
        client.write_all(b"into the void").unwrap();
        server.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        assert_eq!(server.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::TimedOut);
        sim::heal(ip(1), ip(2));
        let mut came = [0; 13];
        server.read_exact(&mut came).unwrap();
        assert_eq!(&came, b"into the void");

        // Nobody connects through it, and who is connected gives up in the end, as the system does.
        sim::partition(ip(1), ip(2));
        let socket = overlapped::net::TcpSocket::new_v4().unwrap();
        socket.bind("10.0.0.2:0".parse().unwrap()).unwrap();
        let before = sim::elapsed();
        assert_eq!(socket.connect(SERVER.parse().unwrap()).unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(sim::elapsed() - before > Duration::from_secs(30));
        client.write_all(b"again").unwrap();
        server.set_read_timeout(None).unwrap();
        client.set_read_timeout(None).unwrap();
        assert_eq!(client.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn a_slow_link_is_slow() {
    sim::run(3, || {
        let to_server = Link { delay: Duration::from_secs(2), ..Link::default() };
        sim::set_link(ip(1), ip(1), to_server);
        let listener = TcpListener::bind(SERVER).unwrap();
        let before = sim::now();
        let _client = TcpStream::connect(SERVER).unwrap();
        let _served = listener.accept().unwrap();
        assert!(sim::now() - before >= Duration::from_secs(4), "there and back");
    });
}

#[test]
fn datagrams_are_lost_and_doubled_and_overtake_each_other() {
    let rules = Rules { loss: 5, doubled: 5, ..Rules::default() };
    let seen = Simulation::new().rules(rules).run(11, || {
        let server = UdpSocket::bind("10.0.0.1:53").unwrap();
        let client = UdpSocket::bind("10.0.0.2:0").unwrap();
        client.connect("10.0.0.1:53").unwrap();
        for number in 0..200_u8 {
            client.send(&[number]).unwrap();
        }
        server.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let mut seen = Vec::new();
        let mut room = [0; 8];
        while let Ok((1, from)) = server.recv_from(&mut room) {
            assert_eq!(from, client.local_addr().unwrap());
            seen.push(room[0]);
        }
        seen
    });
    let mut once = seen.clone();
    once.sort_unstable();
    once.dedup();
    assert!((120..195).contains(&once.len()), "some are lost: {}", once.len());
    assert!(seen.len() > once.len(), "some come twice");
    assert!(!seen.is_sorted(), "some overtake others");
}

#[test]
fn nobody_at_an_address_is_refused_as_the_system_refuses() {
    sim::explore(0..20, || {
        assert_eq!(TcpStream::connect(SERVER).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let socket = UdpSocket::bind("10.0.0.2:0").unwrap();
        socket.connect(SERVER).unwrap();
        socket.send(b"anybody?").unwrap();
        assert_eq!(socket.recv(&mut [0; 4]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let _listener = TcpListener::bind(SERVER).unwrap();
        assert_eq!(TcpListener::bind(SERVER).unwrap_err().kind(), ErrorKind::AddrInUse);
    });
}

#[test]
fn names_are_the_worlds() {
    sim::run(5, || {
        sim::set_name("server.example", vec![ip(9), ip(1)]);
        let listener = TcpListener::bind(SERVER).unwrap();
        let stream = TcpStream::connect("server.example:80").unwrap();
        assert_eq!(stream.peer_addr().unwrap().ip(), ip(1), "the second of two addresses answers");
        assert!(listener.accept().is_ok());
        let error = TcpStream::connect("nowhere.example:80").unwrap_err();
        assert!(error.to_string().contains("set_name"), "{error}");
        let found = overlapped::net::lookup_host("localhost:1").unwrap();
        assert_eq!(found, ["127.0.0.1:1".parse::<SocketAddr>().unwrap()]);
    });
}

#[test]
fn what_is_of_the_real_world_is_refused_and_told_why() {
    sim::run(6, || {
        let real = TcpListener::from(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let error = real.accept().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("simulated world"), "{error}");
        let error = overlapped::process::Command::new("true").spawn().unwrap_err();
        assert!(error.to_string().contains("child processes"), "{error}");
    });
    let nested = std::panic::catch_unwind(|| sim::run(6, || sim::run(7, || ()))).unwrap_err();
    assert!(nested.downcast_ref::<&str>().is_some_and(|text| text.contains("outside of")));
}

#[test]
fn files_take_their_turns_and_a_disk_fills_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let rules = Rules { no_disk: 4, ..Rules::default() };
    let codes = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&codes);
    let written = Simulation::new().rules(rules).explore(0..50, move || {
        let mut file = overlapped::fs::File::create(&path).unwrap();
        let mut whole = Vec::new();
        for number in 0..8_u8 {
            match file.write(&[number; 100]) {
                Ok(count) => whole.extend_from_slice(&[number; 100][..count]),
                // A part of it may be there: as a program that keeps a log does, go back to what is whole.
                Err(error) => {
                    seen.borrow_mut().push(error.raw_os_error().unwrap());
                    file.set_len(whole.len() as u64).unwrap();
                    file.seek(SeekFrom::End(0)).unwrap();
                }
            }
        }
        seen.borrow_mut().extend(file.sync_all().err().and_then(|error| error.raw_os_error()));
        assert_eq!(overlapped::fs::read(&path).unwrap(), whole);
    });
    assert!(written.is_ok(), "{written:?}");
    let codes = codes.borrow();
    assert!([libc_enospc(), libc_eio()].iter().all(|code| codes.contains(code)), "{codes:?}");
}

fn libc_enospc() -> i32 {
    28
}

fn libc_eio() -> i32 {
    5
}

/// A client that tries again until it has its answer.
#[test]
fn who_tries_again_gets_through_on_a_bad_day() {
    let explored = Simulation::new().rules(Rules::rough()).explore(0..100, || {
        let listener = loop {
            match TcpListener::bind(SERVER) {
                Ok(listener) => break listener,
                Err(error) => assert_eq!(error.raw_os_error(), Some(24), "{error}"),
            }
        };
        let server = spawn(move || {
            loop {
                let Ok((mut stream, _)) = listener.accept() else { continue };
                spawn(move || {
                    let mut question = [0; 4];
                    stream.read_exact(&mut question)?;
                    question.reverse();
                    stream.write_all(&question)
                });
            }
        });
        let ask = || {
            let mut stream = TcpStream::connect(SERVER)?;
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            stream.write_all(b"abcd")?;
            let mut answer = [0; 4];
            stream.read_exact(&mut answer)?;
            std::io::Result::Ok(answer)
        };
        let answer = (0..200).find_map(|_| ask().ok());
        assert_eq!(answer.as_ref(), Some(b"dcba"));
        server.cancel();
    });
    assert!(explored.is_ok(), "{}", explored.unwrap_err());
}

/// Two conversations beside each other, of so many rounds: how far each had come when the other was done.
fn two_conversations(rounds: usize) -> [usize; 2] {
    let listener = TcpListener::bind(SERVER).unwrap();
    spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    let come = std::rc::Rc::new([std::cell::Cell::new(0), std::cell::Cell::new(0)]);
    let speak = |me: usize| {
        let come = std::rc::Rc::clone(&come);
        spawn(move || {
            let mut stream = TcpStream::connect(SERVER).unwrap();
            for _ in 0..rounds {
                stream.write_all(b"a").unwrap();
                stream.read_exact(&mut [0]).unwrap();
                come[me].set(come[me].get() + 1);
            }
            come[1 - me].get()
        })
    };
    [0, 1].map(speak).map(|speaking| speaking.join().unwrap())
}

#[test]
fn priorities_let_one_go_a_long_way_while_another_stands() {
    let widest = |rules: Rules| {
        let runs = (0..50).map(|seed| Simulation::new().rules(rules.clone()).run(seed, || two_conversations(20)));
        runs.map(|[one, other]| one.min(other)).min().unwrap()
    };
    assert!(widest(Rules::default()) > 5, "where all are equal they go about as fast as each other");
    assert!(widest(Rules { priorities: 50, ..Rules::default() }) < 3);
}

/// Three tasklets that each take note of themselves when something has come: the order in which they do.
fn order_of_three() -> String {
    let listener = TcpListener::bind(SERVER).unwrap();
    let mut pairs = Vec::new();
    for _ in 0..3 {
        let client = TcpStream::connect(SERVER).unwrap();
        pairs.push((client, listener.accept().unwrap().0));
    }
    let order = std::rc::Rc::new(std::cell::RefCell::new(String::new()));
    let receiving: Vec<_> = pairs
        .into_iter()
        .zip("abc".chars())
        .map(|((mut client, mut server), name)| {
            let order = std::rc::Rc::clone(&order);
            let receives = spawn(move || {
                server.read_exact(&mut [0]).unwrap();
                order.borrow_mut().push(name);
            });
            client.write_all(b"x").unwrap();
            (client, receives)
        })
        .collect();
    receiving.into_iter().for_each(|(_client, receives)| receives.join().unwrap());
    order.take()
}

#[test]
fn all_ways_are_gone_that_differ_from_the_plain_one_in_so_many_decisions() {
    let seen = |deviations: usize| {
        let orders = std::rc::Rc::new(std::cell::RefCell::new(std::collections::BTreeSet::new()));
        let into = std::rc::Rc::clone(&orders);
        let simulation = Simulation::new().rules(Rules::steady());
        let explored = simulation.exhaust(deviations, move || {
            let order = order_of_three();
            into.borrow_mut().insert(order);
        });
        (explored.unwrap().runs, orders.take())
    };
    let (runs, orders) = seen(0);
    assert_eq!((runs, orders.len()), (1, 1));
    assert!(orders.contains("abc"), "the plain way is the order in which things happen: {orders:?}");
    let (few, orders) = seen(1);
    assert!(few > 10 && orders.len() > 1, "{few} {orders:?}");
    let (many, orders) = seen(2);
    assert!(many > few * 2 && orders.len() == 6, "{many} {orders:?}");
    assert_eq!(seen(1).0, few, "each way is gone once, the same each time");
}

#[test]
fn what_only_one_way_shows_an_exhaustive_search_finds() {
    let simulation = Simulation::new().rules(Rules::steady());
    let failure = simulation.exhaust(2, || assert_ne!(order_of_three(), "cba")).unwrap_err();
    assert!(failure.message.contains("cba"), "{failure}");
    let deviations = failure.decisions.0.iter().filter(|decision| **decision != 0).count();
    assert!((1..=2).contains(&deviations), "{failure}");
    let again = std::panic::catch_unwind(|| {
        Simulation::new().rules(Rules::steady()).run(failure.decisions, || assert_ne!(order_of_three(), "cba"));
    });
    assert!(again.is_err());
}

#[test]
fn time_that_nobody_uses_makes_several_late_at_once() {
    sim::run(1, || {
        let late = |seconds| spawn(move || sleep(Duration::from_secs(seconds)));
        let sleeping = [1, 2, 3].map(late);
        overlapped::yield_now();
        let begun = sim::now();
        sim::stall(Duration::from_secs(10));
        sleeping.into_iter().for_each(|one| one.join().unwrap());
        assert_eq!(sim::now() - begun, Duration::from_secs(10));
    });
}

#[test]
fn what_is_ready_may_say_that_it_would_block() {
    let explore = || {
        let rules = Rules { again: 2, ..Rules::default() };
        Simulation::new().rules(rules).explore(0..50, echoes).unwrap()
    };
    let explored = explore();
    assert_eq!(explored.runs, 50);
    assert_eq!(explore(), explored, "what is tried by time is tried by the world's");
}

#[test]
fn a_look_up_takes_its_time() {
    let times = (0..20).map(|seed| {
        Simulation::new().rules(Rules { slow_names: Duration::from_secs(16), ..Rules::default() }).run(seed, || {
            sim::set_name("far.example", vec![ip(1)]);
            let _listener = TcpListener::bind(SERVER).unwrap();
            let begun = sim::now();
            TcpStream::connect(("far.example", 80)).unwrap();
            (sim::now() - begun).as_secs()
        })
    });
    let times: std::collections::BTreeSet<_> = times.collect();
    assert!(times.len() > 5 && times.iter().all(|time| *time < 16), "{times:?}");
}

#[test]
fn a_write_that_fails_may_have_got_a_part_to_the_disk() {
    let rules = Rules { no_disk: 2, ..Rules::default() };
    let lengths = (0..50).map(|seed| {
        Simulation::new().rules(rules.clone()).run(seed, || {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            let mut file = overlapped::fs::File::create(&path).unwrap();
            let written = file.write(b"0123456789");
            drop(file);
            (written.is_ok(), std::fs::read(&path).unwrap().len())
        })
    });
    let lengths: std::collections::BTreeSet<_> = lengths.collect();
    assert!(lengths.contains(&(true, 10)), "{lengths:?}");
    assert!(lengths.iter().any(|(is_ok, length)| !is_ok && (1..10).contains(length)), "{lengths:?}");
}

#[test]
fn what_a_scene_changes_in_its_world_is_gone_with_it() {
    let explored = Simulation::new().explore(0..3, || {
        let known = TcpStream::connect(("a.name", 80)).unwrap_err();
        assert!(known.to_string().contains("no name"), "{known}");
        sim::set_name("a.name", vec![ip(1)]);
        let _listener = TcpListener::bind(SERVER).unwrap();
        TcpStream::connect(("a.name", 80)).unwrap();
        sim::set_rules(Rules { refused: 1, ..Rules::default() });
        TcpStream::connect(("a.name", 80)).unwrap_err();
        sim::partition(ip(1), ip(1));
    });
    assert!(explored.is_ok(), "{explored:?}");
}

#[test]
fn another_thread_wakes_those_who_wait_at_a_time_of_the_worlds() {
    let scene = || {
        let (queue, told) = (Queue::bounded(4), Rc::new(RefCell::new(Vec::new())));
        let waiting = [(); 2].map(|()| {
            let (queue, told) = (queue.clone(), Rc::clone(&told));
            spawn(move || {
                while let Ok(number) = queue.get() {
                    told.borrow_mut().push((number, sim::elapsed().as_secs()));
                }
            })
        });
        for number in 1..=20_u64 {
            let queue = queue.clone();
            sim::on_other_thread(Duration::from_secs(number), move || queue.try_put(number).unwrap());
        }
        sim::on_other_thread(Duration::from_secs(21), move || queue.close());
        waiting.into_iter().for_each(|one| one.join().unwrap());
        assert_eq!(*told.borrow(), (1..=20).map(|number| (number, number)).collect::<Vec<_>>());
    };
    let explored = sim::explore(0..20, scene);
    assert_eq!(sim::explore(0..20, scene), explored);
}

#[test]
fn a_panic_on_another_thread_fails_the_scene() {
    let found = failure(|| {
        sim::on_other_thread(Duration::from_secs(1), || panic!("not found by accident"));
        sleep(Duration::from_secs(2));
    });
    assert!(found.message.contains("what another thread did panicked: not found by accident"), "{found}");
}
