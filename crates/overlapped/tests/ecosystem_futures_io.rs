//! A stream that is polled: reading ahead, writing behind, the end.

mod support;

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use futures_util::io::{AsyncReadExt, AsyncWriteExt};
use overlapped::ecosystem::PolledStream;
use overlapped::net::{TcpListener, TcpStream};
use overlapped::{block_on, run as run_there, sleep, spawn, timeout, yield_now};
use support::{LONG, pattern, run, run_long, wait_for};

const LARGE: usize = 100_000_000;

/// A connection: the end that is polled, and a blocking one.
fn pair() -> (PolledStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0.into(), other)
}

#[test]
fn bytes_go_both_ways_in_pieces_of_any_size() {
    run(|| {
        let (mut polled, mut other) = pair();
        let sent = pattern(0, 500_000);
        let echo = spawn(move || {
            let mut room = [0; 3001];
            while let Ok(length @ 1..) = other.read(&mut room) {
                other.write_all(&room[..length]).unwrap();
            }
        });
        let mut back = Vec::new();
        block_on(async {
            for piece in sent.chunks(70_001) {
                polled.write_all(piece).await.unwrap();
                polled.flush().await.unwrap();
                let start = back.len();
                back.resize(start + piece.len(), 0);
                polled.read_exact(&mut back[start..]).await.unwrap();
            }
            assert_eq!(polled.read(&mut []).await.unwrap(), 0);
            polled.close().await.unwrap();
            assert_eq!(polled.read_to_end(&mut back).await.unwrap(), 0);
        });
        assert!(back == sent);
        echo.join().unwrap();
    });
}

#[test]
fn a_hundred_megabytes_each_way_at_once_arrive_unharmed() {
    run_long(4, || {
        let (polled, other) = pair();
        let piece = pattern(7, 1_000_003);
        let other = std::rc::Rc::new(other);
        let (theirs, out) = (std::rc::Rc::clone(&other), piece.clone());
        let writer = spawn(move || {
            let mut left = LARGE;
            while left > 0 {
                let length = left.min(out.len());
                (&*theirs).write_all(&out[..length]).unwrap();
                left -= length;
            }
            theirs.shutdown(Shutdown::Write).unwrap();
        });
        let check = |piece: &[u8], at: &mut usize, mut bytes: &[u8]| {
            while !bytes.is_empty() {
                let start = *at % piece.len();
                let length = bytes.len().min(piece.len() - start);
                assert!(bytes[..length] == piece[start..start + length], "other bytes, after {at}");
                *at += length;
                bytes = &bytes[length..];
            }
        };
        let expected = piece.clone();
        let reader = spawn(move || {
            let (mut room, mut at) = (vec![0; 50_000], 0);
            while let length @ 1.. = (&*other).read(&mut room).unwrap() {
                check(&expected, &mut at, &room[..length]);
            }
            at
        });
        let (mut input, mut output) = polled.split();
        let got = block_on(async {
            let send = async {
                let mut left = LARGE;
                while left > 0 {
                    let length = left.min(piece.len());
                    output.write_all(&piece[..length]).await.unwrap();
                    left -= length;
                }
                output.close().await.unwrap();
            };
            let receive = async {
                let (mut room, mut at) = (vec![0; 300_000], 0);
                while let length @ 1.. = input.read(&mut room).await.unwrap() {
                    check(&piece, &mut at, &room[..length]);
                }
                at
            };
            futures_util::future::join(send, receive).await.1
        });
        writer.join().unwrap();
        assert_eq!((got, reader.join().unwrap()), (LARGE, LARGE));
    });
}

#[test]
fn what_nobody_reads_is_not_received_without_end() {
    run(|| {
        let (mut polled, other) = pair();
        let (written, first) = (std::rc::Rc::new(std::cell::Cell::new(0_usize)), pattern(0, 10));
        let (count, piece) = (std::rc::Rc::clone(&written), pattern(0, 10_000));
        let writer = spawn(move || {
            for _ in 0..5000 {
                (&other).write_all(&piece).unwrap();
                count.set(count.get() + piece.len());
            }
        });
        let mut begin = [0; 10];
        block_on(polled.read_exact(&mut begin)).unwrap();
        assert!(begin == first[..]);
        // It stops, with the system's buffers full.
        let mut before = usize::MAX;
        wait_for("the writer has to wait", || {
            sleep(Duration::from_millis(50));
            std::mem::replace(&mut before, written.get()) == written.get()
        });
        assert!(written.get() < 40_000_000, "{} were taken", written.get());
        let (mut room, mut rest) = (vec![0; 1 << 20], 0);
        while let length @ 1.. = block_on(polled.read(&mut room)).unwrap() {
            rest += length;
        }
        writer.join().unwrap();
        assert_eq!(rest + 10, 50_000_000);
    });
}

#[test]
fn a_writer_waits_for_a_peer_that_does_not_read_and_is_told_when_that_has_gone() {
    run(|| {
        let (mut polled, other) = pair();
        let piece = pattern(0, 100_000);
        let stuck = timeout(Duration::from_millis(100), || while block_on(polled.write_all(&piece)).is_ok() {});
        assert!(stuck.is_err());
        drop(other);
        let told = block_on(async {
            loop {
                if let Err(error) = polled.write_all(&piece).await {
                    return error.kind();
                }
            }
        });
        assert!(
            matches!(told, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted),
            "{told}"
        );
        let after = block_on(polled.write(&piece)).unwrap_err();
        assert_eq!(after.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn what_was_written_goes_out_where_the_stream_is_dropped_without_a_flush() {
    run(|| {
        let (mut polled, mut other) = pair();
        let sent = pattern(3, 60_000);
        block_on(polled.write_all(&sent)).unwrap();
        drop(polled);
        let mut came = Vec::new();
        other.read_to_end(&mut came).unwrap();
        assert!(came == sent);
    });
}

#[test]
fn a_flush_tells_that_the_system_has_it_all() {
    let (sent, other) = run_there(|| {
        let (mut polled, other) = pair();
        let sent = pattern(5, 50_000);
        block_on(async {
            polled.write_all(&sent).await.unwrap();
            polled.flush().await.unwrap();
        });
        (sent, std::net::TcpStream::from(other))
    });
    // The run is over.
    let mut came = Vec::new();
    (&other).read_to_end(&mut came).unwrap();
    assert!(came == sent);
}

#[test]
fn a_reset_is_told_once_and_then_it_is_the_end() {
    run(|| {
        let (mut polled, other) = pair();
        other.set_linger(Some(Duration::ZERO)).unwrap();
        let reader = spawn(move || {
            let mut room = [0; 10];
            let first = block_on(polled.read(&mut room)).unwrap_err().kind();
            (first, block_on(polled.read(&mut room)).unwrap())
        });
        yield_now();
        drop(other);
        assert_eq!(reader.join().unwrap(), (ErrorKind::ConnectionReset, 0));
    });
}

#[test]
fn a_side_that_was_ended_takes_no_more_and_the_other_goes_on() {
    run(|| {
        let (mut polled, mut other) = pair();
        block_on(async {
            polled.write_all(b"question").await.unwrap();
            polled.close().await.unwrap();
            polled.close().await.unwrap();
            assert_eq!(polled.write(b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        });
        let mut question = String::new();
        other.read_to_string(&mut question).unwrap();
        other.write_all(b"answer").unwrap();
        drop(other);
        let mut answer = String::new();
        block_on(polled.read_to_string(&mut answer)).unwrap();
        assert_eq!((question.as_str(), answer.as_str()), ("question", "answer"));
    });
}

#[test]
fn a_stream_may_go_to_another_thread_with_what_it_has_read_ahead() {
    run(|| {
        let (mut polled, mut other) = pair();
        other.write_all(b"first second").unwrap();
        let mut word = [0; 6];
        block_on(polled.read_exact(&mut word)).unwrap();
        assert_eq!(&word, b"first ");
        // A receive is in flight here; who polls is there.
        let thread = std::thread::spawn(move || {
            run_there(|| {
                let mut rest = String::new();
                block_on(async {
                    polled.write_all(b"hello from another thread").await?;
                    polled.close().await?;
                    polled.read_to_string(&mut rest).await?;
                    io::Result::Ok(rest)
                })
            })
        });
        let mut hello = String::new();
        other.read_to_string(&mut hello).unwrap();
        assert_eq!(hello, "hello from another thread");
        other.write_all(b" and third").unwrap();
        drop(other);
        wait_for("the thread has ended", || thread.is_finished());
        assert_eq!(thread.join().unwrap().unwrap(), "second and third");
    });
}

#[test]
fn one_that_is_dropped_on_another_thread_leaves_nothing_in_flight() {
    run(|| {
        let (mut polled, mut other) = pair();
        assert!(timeout(Duration::from_millis(5), || block_on(polled.read(&mut [0; 1]))).is_err());
        std::thread::spawn(move || drop(polled)).join().unwrap();
        other.set_read_timeout(Some(LONG)).unwrap();
        assert_eq!(other.read(&mut [0; 1]).unwrap(), 0);
    });
}

#[test]
fn outside_of_run_it_says_so() {
    let polled = run(|| pair().0);
    let mut polled = polled;
    assert_eq!(block_on(polled.read(&mut [0; 1])).unwrap_err().kind(), ErrorKind::Other);
    assert_eq!(block_on(polled.write(&[0; 1])).unwrap_err().kind(), ErrorKind::Other);
}

#[cfg(unix)]
#[test]
fn a_unix_stream_is_polled_too() {
    use overlapped::reactor::Endpoint;
    run(|| {
        let (one, mut other) = overlapped::net::UnixStream::pair().unwrap();
        let mut polled = PolledStream::from(one);
        block_on(polled.write_all(b"hello")).unwrap();
        let mut word = [0; 5];
        other.read_exact(&mut word).unwrap();
        other.write_all(&word).unwrap();
        block_on(polled.read_exact(&mut word)).unwrap();
        assert_eq!(&word, b"hello");
        assert!(matches!(polled.peer_addr().unwrap(), Endpoint::Unix(address) if address.is_unnamed()));
    });
}
