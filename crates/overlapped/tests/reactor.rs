//! Protocols and transports over TCP, Unix streams and pipes; calls that come later.

mod support;

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::time::{Duration, Instant};

use overlapped::net::{SocketAddr, TcpListener, TcpStream};
use overlapped::reactor::{self, AtEnd, Listening, Protocol, Transport};
use overlapped::{Event, Queue, spawn, yield_now};
use support::protocols::{Echo, Tells, Told, bytes, next, turns};
use support::{LONG, Log, pattern, pipe, run, stream_pair};

fn listen<P: Protocol>(factory: impl FnMut() -> P + 'static) -> (Listening, SocketAddr) {
    let server = reactor::listen(TcpListener::bind("127.0.0.1:0").unwrap(), factory).unwrap();
    let address = server.local_addr().unwrap().ip().unwrap();
    (server, address)
}

#[test]
fn a_connection_is_made_tells_its_bytes_and_is_lost_once_both_have_ended() {
    run(|| {
        let (_server, address) = listen(|| Echo);
        let (client, told) = Tells::new();
        let transport = reactor::connect(address, client).unwrap();
        assert_eq!(told.try_get().ok(), None, "nothing is told from within a call");
        transport.write(b"before it is made");
        assert_eq!(next(&told), Told::Made);
        assert_eq!(transport.peer_addr().unwrap().ip(), Some(address));
        assert_eq!(bytes(&told, 17), b"before it is made");
        transport.write(b"one ");
        transport.write(b"two");
        assert_eq!(bytes(&told, 7), b"one two");
        transport.write_eof();
        // The server closes at our end.
        assert_eq!(next(&told), Told::End);
        assert_eq!(next(&told), Told::Lost(Ok(())));
        assert!(transport.is_closing());
        assert_eq!(transport.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
        transport.write(b"dropped");
        transport.close();
        turns();
        assert!(told.is_empty());
    });
}

#[test]
fn a_connection_that_never_comes_about_is_lost_with_the_reason() {
    run(|| {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = closed.local_addr().unwrap();
        drop(closed);
        let (client, told) = Tells::new();
        reactor::connect(address, client).unwrap();
        assert_eq!(next(&told), Told::Lost(Err(ErrorKind::ConnectionRefused)));
    });
}

#[test]
fn a_name_is_looked_up_and_each_of_its_addresses_tried() {
    run(|| {
        let (_server, address) = listen(|| Echo);
        let (client, told) = Tells::new();
        // It may stand for ::1 too, where nobody listens.
        let transport = reactor::connect_host("localhost", address.port(), client).unwrap();
        transport.write(b"found");
        assert_eq!(next(&told), Told::Made);
        assert_eq!(bytes(&told, 5), b"found");
        let (client, told) = Tells::new();
        reactor::connect_host("no such name", 1, client).unwrap();
        assert!(matches!(next(&told), Told::Lost(Err(_))));
    });
}

#[test]
fn close_flushes_and_abort_does_not() {
    run(|| {
        let (one, mut other) = stream_pair();
        let (tells, told) = Tells::new();
        let transport = reactor::attach(one, tells).unwrap();
        let much = pattern(0, 4 << 20);
        transport.write(&much);
        transport.close();
        transport.write(b"too late");
        assert!(transport.is_closing() && transport.buffered() > 0);
        let mut came = Vec::new();
        other.read_to_end(&mut came).unwrap();
        assert!(came == much, "{} of {} bytes", came.len(), much.len());
        assert_eq!(next(&told), Told::Lost(Ok(())), "closed before it was made");

        let (one, mut other) = stream_pair();
        let (tells, told) = Tells::new();
        let transport = reactor::attach(one, tells).unwrap();
        transport.write(&much);
        transport.close();
        transport.abort();
        assert_eq!(next(&told), Told::Lost(Err(ErrorKind::ConnectionAborted)));
        assert_eq!(transport.buffered(), 0);
        let mut came = Vec::new();
        let _ = other.read_to_end(&mut came);
        assert!(came.len() < much.len());
    });
}

#[test]
fn a_connection_stays_half_open_where_its_protocol_says_so() {
    run(|| {
        let (one, mut other) = stream_pair();
        let (tells, told) = Tells::half_open();
        let transport = reactor::attach(one, tells).unwrap();
        assert_eq!(next(&told), Told::Made);
        other.shutdown(Shutdown::Write).unwrap();
        assert_eq!(next(&told), Told::End);
        transport.write(b"still here");
        let mut came = [0; 10];
        other.read_exact(&mut came).unwrap();
        assert!(!transport.is_closing());
        transport.write_eof();
        assert_eq!(next(&told), Told::Lost(Ok(())), "both sides have ended");
        assert_eq!(other.read(&mut came).unwrap(), 0);
    });
}

#[test]
fn the_peer_finds_the_end_while_this_side_goes_on_receiving() {
    run(|| {
        let (one, mut other) = stream_pair();
        let (tells, told) = Tells::new();
        let transport = reactor::attach(one, tells).unwrap();
        transport.write(b"all");
        transport.write_eof();
        let mut came = Vec::new();
        other.read_to_end(&mut came).unwrap();
        assert_eq!(came, b"all");
        assert_eq!(next(&told), Told::Made);
        other.write_all(b"answer").unwrap();
        assert_eq!(bytes(&told, 6), b"answer");
        drop(other);
        assert_eq!(next(&told), Told::End);
        assert_eq!(next(&told), Told::Lost(Ok(())));
    });
}

#[test]
fn nothing_is_told_while_reading_is_paused_and_nothing_is_lost() {
    run(|| {
        let (one, mut other) = stream_pair();
        let (tells, told) = Tells::new();
        let transport = reactor::attach(one, tells).unwrap();
        assert_eq!(next(&told), Told::Made);
        let all = pattern(0, 200_000);
        let mut sent = 0;
        for round in 0..20 {
            transport.pause_reading();
            if round % 2 == 0 {
                turns();
            }
            other.write_all(&all[sent..sent + 10_000]).unwrap();
            sent += 10_000;
            turns();
            assert!(told.is_empty(), "{:?} was told in round {round}", told.try_get());
            transport.resume_reading();
            if round % 3 == 0 {
                // Paused again before anything could be told.
                transport.pause_reading();
                turns();
                assert!(told.is_empty());
                transport.resume_reading();
            }
            assert!(bytes(&told, 10_000) == all[sent - 10_000..sent], "in round {round}");
        }
        transport.pause_reading();
        drop(other);
        turns();
        assert!(told.is_empty(), "nor is the end told");
        transport.resume_reading();
        assert_eq!(next(&told), Told::End);
        assert_eq!(next(&told), Told::Lost(Ok(())));
    });
}

#[test]
fn an_end_that_came_while_paused_comes_after_its_bytes_though_this_side_has_ended_too() {
    run(|| {
        let (one, mut other) = stream_pair();
        let (tells, told) = Tells::half_open();
        let transport = reactor::attach(one, tells).unwrap();
        assert_eq!(next(&told), Told::Made);
        transport.pause_reading();
        other.write_all(b"last").unwrap();
        drop(other);
        turns();
        transport.write_eof();
        turns();
        assert!(told.is_empty());
        transport.resume_reading();
        assert_eq!(bytes(&told, 4), b"last");
        assert_eq!(next(&told), Told::End);
        assert_eq!(next(&told), Told::Lost(Ok(())));
    });
}

#[test]
fn who_writes_too_much_is_asked_to_pause_and_told_to_go_on() {
    run(|| {
        let (one, mut other) = stream_pair();
        let (tells, told) = Tells::new();
        let transport = reactor::attach(one, tells).unwrap();
        transport.set_write_limits(1000, 5000);
        assert_eq!(next(&told), Told::Made);
        let much = pattern(0, 8 << 20);
        transport.write(&much);
        assert_eq!(next(&told), Told::Pause);
        transport.write(&much[..1000]);
        turns();
        assert!(told.is_empty(), "it is told once");
        let mut came = vec![0; much.len() + 1000];
        other.read_exact(&mut came).unwrap();
        assert!(came[..much.len()] == much && came[much.len()..] == much[..1000]);
        assert_eq!(next(&told), Told::Resume);
        assert!(transport.buffered() <= 1000, "the low mark is at most the high one");
    });
}

#[test]
fn a_reset_is_an_error_and_no_end() {
    run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (tells, told) = Tells::new();
        reactor::attach(listener.accept().unwrap().0, tells).unwrap();
        assert_eq!(next(&told), Told::Made);
        client.set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        assert_eq!(next(&told), Told::Lost(Err(ErrorKind::ConnectionReset)));
    });
}

/// Panics where it is told to.
struct Panics {
    at: &'static str,
    told: Queue<Result<(), String>>,
}

impl Panics {
    fn may_panic(&self, at: &str) {
        assert!(self.at != at, "at {at}");
    }
}

impl Protocol for Panics {
    fn connection_made(&mut self, _: &Transport) {
        self.may_panic("made");
    }
    fn data_received(&mut self, _: &Transport, _: &[u8]) {
        self.may_panic("data");
        overlapped::sleep(Duration::from_millis(1));
    }
    fn eof_received(&mut self, _: &Transport) -> AtEnd {
        self.may_panic("end");
        AtEnd::Close
    }
    fn connection_lost(&mut self, reason: io::Result<()>) {
        self.told.try_put(reason.map_err(|error| error.to_string())).unwrap();
        self.may_panic("lost");
    }
}

#[test]
fn a_callback_that_panics_costs_its_own_connection_alone() {
    run(|| {
        let (_server, address) = listen(|| Echo);
        let (client, others) = Tells::new();
        let other = reactor::connect(address, client).unwrap();
        for at in ["made", "data", "end", "lost"] {
            let (one, mut peer) = stream_pair();
            let told = Queue::new();
            reactor::attach(one, Panics { at, told: told.clone() }).unwrap();
            if at == "data" {
                peer.write_all(b"some").unwrap();
            }
            peer.shutdown(Shutdown::Write).unwrap();
            match (at, told.get().unwrap()) {
                ("lost", reason) => assert_eq!(reason, Ok(())),
                (_, reason) => assert!(reason.unwrap_err().ends_with(&format!("panicked: at {at}"))),
            }
            let mut rest = Vec::new();
            peer.read_to_end(&mut rest).unwrap();
        }
        other.write(b"unharmed");
        assert_eq!(next(&others), Told::Made);
        assert_eq!(bytes(&others, 8), b"unharmed");
    });
}

#[test]
fn a_callback_that_waits_is_refused_before_anything_of_it_is_begun() {
    run(|| {
        let (one, mut peer) = stream_pair();
        let told = Queue::new();
        reactor::attach(one, Panics { at: "", told: told.clone() }).unwrap();
        peer.write_all(b"some").unwrap();
        let error = told.get().unwrap().unwrap_err();
        assert!(error.ends_with("what the loop calls between two tasklets must not wait"), "{error}");

        // Each kind of wait, and the tasklet that runs on afterwards waits as ever.
        let (a, _b) = stream_pair();
        let (empty, event) = (Queue::<()>::new(), Event::new());
        let locked = Rc::new(overlapped::Lock::new(0));
        let _held = locked.acquire();
        let waits: Vec<Box<dyn FnOnce()>> = vec![
            Box::new(move || drop((&a).read(&mut [0]))),
            Box::new(yield_now),
            Box::new(move || _ = empty.get()),
            Box::new(move || _ = event.wait_timeout(LONG)),
            Box::new({
                let locked = locked.clone();
                move || *locked.acquire() += 1
            }),
            Box::new(|| _ = overlapped::timeout(LONG, || overlapped::sleep(LONG))),
            Box::new(|| drop(overlapped::offload(|| ()))),
            Box::new(|| drop(spawn(|| overlapped::sleep(LONG)).join())),
        ];
        let (refused, count) = (Rc::new(Cell::new(0)), waits.len());
        let done = Event::new();
        for wait in waits {
            let (refused, done) = (refused.clone(), done.clone());
            reactor::call_soon(move || {
                refused.set(refused.get() + 1);
                if refused.get() == count {
                    done.set();
                }
                wait();
                refused.set(0);
            });
        }
        done.wait();
        turns();
        assert_eq!(refused.get(), count, "none of them came back");
    });
}

#[test]
fn a_callback_may_do_all_that_needs_no_wait_however_often() {
    run(|| {
        let (queue, channel) = (Queue::new(), overlapped::Channel::new());
        let receiver = spawn({
            let channel = channel.clone();
            move || channel.receive().unwrap()
        });
        yield_now();
        let (put, sent) = (queue.clone(), channel.clone());
        reactor::call_soon(move || {
            (0..1000).for_each(|n| put.put(n).unwrap());
            // The receiver is there: it is woken, and runs when this has returned.
            sent.send(7).unwrap();
        });
        assert_eq!(receiver.join().unwrap(), 7);
        assert_eq!((0..1000).map(|_| queue.get().unwrap()).collect::<Vec<_>>(), (0..1000).collect::<Vec<_>>());
    });
}

/// Has each request answered by a tasklet, which waits.
struct Answers;

impl Protocol for Answers {
    fn data_received(&mut self, transport: &Transport, bytes: &[u8]) {
        let (transport, request) = (transport.clone(), bytes.to_vec());
        spawn(move || {
            overlapped::sleep(Duration::from_millis(1));
            transport.write(&request);
            transport.close();
        });
    }
}

#[test]
fn a_callback_that_gives_a_value_to_who_waits_for_it_goes_on_itself() {
    run(|| {
        let channel = overlapped::channel();
        assert_eq!(channel.preference(), overlapped::Preference::Receiver, "a tasklet that sends lets the other run");
        let (log, ours) = (Log::new(), channel.clone());
        let receiver = spawn({
            let log = log.clone();
            move || {
                ours.receive().unwrap();
                log.add("received");
            }
        });
        yield_now();
        let told = log.clone();
        reactor::call_soon(move || {
            channel.send(()).unwrap();
            told.add("sent");
        });
        receiver.join().unwrap();
        assert_eq!(log.take(), ["sent", "received"]);
    });
}

#[test]
fn a_protocol_starts_tasklets_and_a_tasklet_opens_transports() {
    run(|| {
        let (_server, address) = listen(|| Answers);
        let clients: Vec<_> = (0..20)
            .map(|n| {
                spawn(move || {
                    let (client, told) = Tells::new();
                    let transport = reactor::connect(address, client).unwrap();
                    transport.write(&[n]);
                    assert_eq!(next(&told), Told::Made);
                    assert_eq!(next(&told), Told::Data(vec![n]));
                    assert_eq!(next(&told), Told::End);
                    assert_eq!(next(&told), Told::Lost(Ok(())));
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
}

#[test]
fn a_listener_that_is_closed_takes_no_more_and_its_connections_go_on() {
    run(|| {
        let (server, address) = listen(|| Echo);
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"a").unwrap();
        client.read_exact(&mut [0]).unwrap();
        server.close();
        server.close();
        assert!(server.is_closed());
        turns();
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        client.write_all(b"b").unwrap();
        client.read_exact(&mut [0]).unwrap();
    });
}

#[test]
fn a_factory_that_panics_costs_one_connection() {
    run(|| {
        let calls = Cell::new(0);
        let (_server, address) = listen(move || {
            calls.set(calls.get() + 1);
            assert!(calls.get() > 1, "the first");
            Echo
        });
        let mut first = TcpStream::connect(address).unwrap();
        assert_eq!(first.read(&mut [0]).unwrap_or(0), 0);
        let mut second = TcpStream::connect(address).unwrap();
        second.write_all(b"b").unwrap();
        second.read_exact(&mut [0]).unwrap();
    });
}

#[test]
fn at_the_end_of_the_run_every_connection_is_lost_and_none_lingers() {
    let (quiet, paused, writes) = (Tells::new(), Tells::new(), Tells::new());
    let (one, two, three) = (stream_pair(), stream_pair(), stream_pair());
    let late = Rc::new(RefCell::new(None));
    let told = late.clone();
    /// Opens another connection when it is lost.
    struct Reconnects(SocketAddr, Rc<RefCell<Option<Queue<Told>>>>);
    impl Protocol for Reconnects {
        fn data_received(&mut self, _: &Transport, _: &[u8]) {}
        fn connection_lost(&mut self, _: io::Result<()>) {
            let (tells, told) = Tells::new();
            reactor::connect(self.0, tells).unwrap();
            self.1.replace(Some(told));
        }
    }
    run(|| {
        let (_server, address) = listen(|| Echo);
        reactor::attach(one.0, quiet.0).unwrap();
        // With nothing in flight, and no handle.
        reactor::attach(two.0, paused.0).unwrap().pause_reading();
        reactor::attach(three.0, writes.0).unwrap().write(&pattern(0, 8 << 20));
        reactor::connect(address, Reconnects(address, told)).unwrap();
        turns();
    });
    for told in [quiet.1, paused.1, writes.1] {
        let told: Vec<Told> = std::iter::from_fn(|| told.try_get().ok()).collect();
        assert_eq!(told.first(), Some(&Told::Made));
        assert_eq!(told.last(), Some(&Told::Lost(Err(ErrorKind::ConnectionAborted))));
    }
    let late = late.take().unwrap();
    assert!(matches!(late.try_get(), Ok(Told::Lost(Err(_)))));
}

#[test]
fn the_ends_of_a_pipe_are_transports_of_one_direction() {
    run(|| {
        let (reader, writer) = pipe();
        let (tells, told) = Tells::new();
        let from = reactor::attach_reader(reader, tells).unwrap();
        let (tells, wrote) = Tells::new();
        let to = reactor::attach_writer(writer, tells).unwrap();
        let much = pattern(0, 300_000);
        to.write(&much);
        to.write_eof();
        assert_eq!(next(&told), Told::Made);
        assert!(bytes(&told, much.len()) == much);
        assert_eq!(next(&told), Told::End);
        assert_eq!(next(&told), Told::Lost(Ok(())));
        assert_eq!(next(&wrote), Told::Made);
        let ends: Vec<Told> = (0..3).map(|_| next(&wrote)).collect();
        assert_eq!(ends, [Told::Pause, Told::Resume, Told::Lost(Ok(()))]);
        drop((from, to));
    });
}

#[test]
fn a_pipe_that_nobody_reads_any_more_is_lost_at_the_next_write() {
    run(|| {
        let (reader, writer) = pipe();
        let (tells, told) = Tells::new();
        let to = reactor::attach_writer(writer, tells).unwrap();
        assert_eq!(next(&told), Told::Made);
        drop(reader);
        to.write(b"for nobody");
        assert_eq!(next(&told), Told::Lost(Err(ErrorKind::BrokenPipe)));
    });
}

#[test]
fn calls_come_in_order_and_can_be_taken_back_until_they_are_made() {
    run(|| {
        let (log, done) = (Log::new(), Event::new());
        let add = |name: &'static str| {
            let log = log.clone();
            move || log.add(name)
        };
        let now = Instant::now();
        reactor::call_at(now + Duration::from_millis(4), add("third"));
        reactor::call_soon(add("first"));
        reactor::call_soon(add("second"));
        reactor::call_soon(|| panic!("its message is printed, and the loop goes on"));
        // Both are due on the same turn, and the first takes the second back.
        let second = Rc::new(RefCell::new(None));
        let theirs = second.clone();
        reactor::call_at(now + Duration::from_millis(5), move || {
            let call: reactor::Call = theirs.take().unwrap();
            assert!(call.is_pending() && call.cancel() && !call.is_pending() && !call.cancel());
        });
        second.replace(Some(reactor::call_at(now + Duration::from_millis(5), add("never"))));
        let set = done.clone();
        reactor::call_at(now + Duration::from_millis(6), move || set.set());
        while Instant::now() < now + Duration::from_millis(10) {}
        done.wait();
        assert_eq!(log.take(), ["first", "second", "third"]);
    });
}

#[test]
fn a_call_of_a_run_that_has_ended_takes_nothing_from_another() {
    let call = run(|| reactor::call_later(LONG, || ()));
    assert!(!call.is_pending(), "it was dropped with its run");
    run(|| {
        let done = Event::new();
        let set = done.clone();
        reactor::call_later(Duration::from_millis(1), move || set.set());
        assert!(!call.cancel());
        done.wait();
    });
}

#[test]
fn many_thousand_timers_are_set_and_taken_back_and_the_others_come_in_order() {
    const COUNT: usize = 50_000;
    run(|| {
        let mut random = fastrand::Rng::with_seed(7);
        let (order, done) = (Rc::new(RefCell::new(Vec::new())), Event::new());
        let start = Instant::now();
        let mut delays = Vec::new();
        for n in 0..COUNT {
            let deadline = start + Duration::from_micros(random.u64(..20_000));
            let kept = n % 10 == 0;
            let (order, done) = (order.clone(), done.clone());
            let call = reactor::call_at(deadline, move || {
                assert!(kept);
                order.borrow_mut().push(deadline);
                if order.borrow().len() == COUNT / 10 {
                    done.set();
                }
            });
            if kept {
                delays.push(deadline);
            } else {
                assert!(call.cancel());
            }
        }
        done.wait();
        delays.sort();
        assert_eq!(*order.borrow(), delays);
    });
}

#[test]
fn other_threads_have_functions_called_on_this_one() {
    run(|| {
        let (here, came) = (overlapped::handle(), Queue::new());
        let me = std::thread::current().id();
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let (here, came) = (here.clone(), came.clone());
                std::thread::spawn(move || {
                    for turn in 0..100 {
                        let came = came.clone();
                        assert!(here.call_soon(move || {
                            assert_eq!(std::thread::current().id(), me);
                            came.try_put((n, turn)).unwrap();
                            assert!(turn != 50, "one that panics does not take the others with it");
                        }));
                    }
                })
            })
            .collect();
        let mut all: Vec<(i32, i32)> = (0..400).map(|_| came.get().unwrap()).collect();
        all.sort();
        assert_eq!(all, (0..4).flat_map(|n| (0..100).map(move |turn| (n, turn))).collect::<Vec<_>>());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    let gone = run(overlapped::handle);
    assert!(!gone.call_soon(|| unreachable!()));
}
