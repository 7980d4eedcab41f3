//! Halves of streams, and copying from stream to stream.

mod support;

use std::io::{BufRead, BufReader, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;

use overlapped::fs::File;
use overlapped::{spawn, timeout, yield_now};
use support::{LONG, pattern, pipe, run, stream_pair};

#[test]
fn each_half_works_in_a_tasklet_of_its_own() {
    const LENGTH: usize = 4 << 20;
    run(|| {
        let (left, right) = stream_pair();
        let ends = [left, right].map(|stream| {
            let (mut reads, mut writes) = stream.into_split();
            let writer = spawn(move || {
                writes.write_all(&pattern(7, LENGTH)).unwrap();
                // Dropping it is the end of the stream.
            });
            let reader = spawn(move || {
                let mut got = Vec::new();
                reads.read_to_end(&mut got).unwrap();
                assert!(got == pattern(7, LENGTH));
            });
            [writer, reader]
        });
        ends.into_iter().flatten().for_each(|end| end.join().unwrap());
    });
}

#[test]
fn dropping_the_half_that_writes_ends_its_direction_alone() {
    run(|| {
        let (left, mut right) = stream_pair();
        let (mut reads, mut writes) = left.into_split();
        writes.write_all(b"the last word").unwrap();
        drop(writes);
        let mut heard = String::new();
        right.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "the last word");
        right.write_all(b"an answer").unwrap();
        let mut answer = [0; 9];
        reads.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"an answer");
    });
}

#[test]
fn dropping_the_half_that_writes_ends_its_direction_also_in_a_callback_of_the_loop() {
    run(|| {
        let (left, mut right) = stream_pair();
        let (_reads, writes) = left.into_split();
        overlapped::reactor::call_soon(move || drop(writes));
        assert_eq!(right.read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn dropping_the_half_that_writes_ends_its_direction_also_where_a_cancel_drops_it() {
    run(|| {
        let (left, mut right) = stream_pair();
        let (_reads, mut writes) = left.into_split();
        let writer = spawn(move || {
            let error = writes.write_all(&vec![0; 64 << 20]).unwrap_err();
            assert!(overlapped::is_cancelled(&error), "{error}");
        });
        yield_now();
        writer.cancel();
        writer.join().unwrap();
        let ended = timeout(LONG, || std::io::copy(&mut right, &mut std::io::sink()));
        ended.expect("the end of the stream comes").unwrap();
    });
}

#[test]
fn halves_of_one_stream_are_put_together_and_no_others() {
    run(|| {
        let (left, mut right) = stream_pair();
        let (other, _peer) = stream_pair();
        let ((reads, writes), (others_reads, others_writes)) = (left.into_split(), other.into_split());
        let error = reads.reunite(others_writes).unwrap_err();
        assert_eq!(error.to_string(), "the two halves are not of one stream");
        let (reads, others_writes) = (error.0, error.1);
        let other = others_writes.reunite(others_reads).unwrap();
        other.shutdown(Shutdown::Both).unwrap();
        let mut whole = reads.reunite(writes).unwrap();
        // Nothing was ended on the way.
        whole.write_all(b"whole").unwrap();
        let mut word = [0; 5];
        right.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"whole");
    });
}

#[test]
fn a_half_that_is_forgotten_ends_nothing_until_the_other_goes() {
    run(|| {
        let (left, right) = stream_pair();
        let (reads, writes) = left.into_split();
        writes.forget();
        let waits = timeout(std::time::Duration::from_millis(20), || (&right).read(&mut [0]));
        assert!(waits.is_err(), "there is no end yet");
        drop(reads);
        assert_eq!((&right).read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn lent_halves_read_lines_and_write_vectors() {
    run(|| {
        let (left, right) = stream_pair();
        let (reads, mut writes) = left.split();
        let (mut theirs, mut answers) = right.split();
        assert_eq!(writes.write_vectored(&[IoSlice::new(b"two w"), IoSlice::new(b"ords\n")]).unwrap(), 10);
        let (mut one, mut two) = ([0; 4], [0; 6]);
        let read = theirs.read_vectored(&mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)]).unwrap();
        assert_eq!(read, 10);
        assert_eq!((&one, &two), (b"two ", b"words\n"));
        answers.write_all(b"a line\nand more").unwrap();
        let mut line = String::new();
        BufReader::new(reads).read_line(&mut line).unwrap();
        assert_eq!(line, "a line\n");
        left.shutdown(Shutdown::Write).unwrap();
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
        assert!(format!("{theirs:?} {answers:?}").contains("ReadHalf"));
    });
}

#[test]
fn a_half_goes_to_another_thread() {
    run(|| {
        let (left, mut right) = stream_pair();
        let (mut reads, writes) = left.into_split();
        let thread = std::thread::spawn(move || {
            let mut writes = writes;
            run(|| writes.write_all(b"from afar").unwrap());
            run(|| drop(writes));
        });
        let mut word = String::new();
        right.read_to_string(&mut word).unwrap();
        assert_eq!(word, "from afar");
        thread.join().unwrap();
        right.write_all(b"ok").unwrap();
        let mut answer = [0; 2];
        reads.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"ok");
    });
}

#[test]
fn a_copy_goes_from_file_to_stream_to_pipe_to_file() {
    const LENGTH: usize = 1_234_567;
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    run(|| {
        overlapped::fs::write(&from, pattern(3, LENGTH)).unwrap();
        let ((out, mut stream), (mut reader, mut writer)) = (stream_pair(), pipe());
        let source = from.clone();
        let first = spawn(move || {
            let (mut file, mut out) = (File::open(source).unwrap(), out);
            overlapped::io::copy(&mut file, &mut out).unwrap()
        });
        let second = spawn(move || overlapped::io::copy(&mut stream, &mut writer).unwrap());
        let copied = overlapped::io::copy(&mut reader, &mut File::create(&to).unwrap()).unwrap();
        assert_eq!([first.join().unwrap(), second.join().unwrap(), copied], [LENGTH as u64; 3]);
        assert!(overlapped::fs::read(&to).unwrap() == pattern(3, LENGTH));
    });
}

/// Reads what is in its list, one item each time.
struct Scripted(Vec<std::io::Result<usize>>);

impl Read for Scripted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.remove(0)?;
        buffer[..count].fill(b'x');
        Ok(count)
    }
}

#[test]
fn a_copy_goes_on_after_an_interruption_and_ends_with_an_error() {
    let interrupted = || Err(ErrorKind::Interrupted.into());
    let mut copied = Vec::new();
    let mut good = Scripted(vec![Ok(3), interrupted(), Ok(4), Ok(0)]);
    assert_eq!(overlapped::io::copy(&mut good, &mut copied).unwrap(), 7);
    assert_eq!(copied, b"xxxxxxx");
    let mut bad = Scripted(vec![Ok(3), Err(ErrorKind::ConnectionReset.into())]);
    assert_eq!(overlapped::io::copy(&mut bad, &mut copied).unwrap_err().kind(), ErrorKind::ConnectionReset);
    // A writer that takes nothing.
    let (mut full, mut bytes) = ([0; 2], &b"three"[..]);
    assert_eq!(overlapped::io::copy(&mut bytes, &mut &mut full[..]).unwrap_err().kind(), ErrorKind::WriteZero);
}

#[test]
fn a_proxy_passes_both_directions_on_and_the_end_of_each() {
    const LENGTH: usize = 3 << 20;
    run(|| {
        let ((client, near), (far, server)) = (stream_pair(), stream_pair());
        let proxy = spawn(move || overlapped::io::copy_bidirectional(near, far).unwrap());
        let serving = spawn(move || {
            let (mut reads, mut writes) = server.into_split();
            let mut question = Vec::new();
            reads.read_to_end(&mut question).unwrap();
            assert!(question == pattern(1, LENGTH));
            writes.write_all(&pattern(2, 2 * LENGTH)).unwrap();
        });
        let (mut reads, mut writes) = client.into_split();
        let asking = spawn(move || writes.write_all(&pattern(1, LENGTH)).unwrap());
        let mut answer = Vec::new();
        reads.read_to_end(&mut answer).unwrap();
        assert!(answer == pattern(2, 2 * LENGTH));
        asking.join().unwrap();
        serving.join().unwrap();
        assert_eq!(proxy.join().unwrap(), (LENGTH as u64, 2 * LENGTH as u64));
    });
}

#[test]
fn a_proxy_that_is_told_to_leave_closes_both_streams() {
    run(|| {
        let ((mut client, near), (far, mut server)) = (stream_pair(), stream_pair());
        let proxy = spawn(move || overlapped::io::copy_bidirectional(near, far));
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
        proxy.cancel();
        assert!(proxy.join().map_or(true, |result| result.is_err()));
        for mut end in [client, server] {
            let gone = timeout(LONG, || end.read(&mut [0])).expect("it is closed");
            assert!(matches!(gone, Ok(0)) || gone.is_err());
        }
    });
}

#[test]
fn a_proxy_ends_both_directions_with_the_error_of_one() {
    run(|| {
        let ((client, near), (far, mut server)) = (stream_pair(), stream_pair());
        let proxy = spawn(move || overlapped::io::copy_bidirectional(near, far));
        // It reads no more, so that what the server sends cannot be passed on.
        drop(client);
        while server.write_all(&[0; 4096]).is_ok() {
            yield_now();
        }
        assert!(timeout(LONG, || proxy.join()).unwrap().unwrap().is_err());
    });
}
