//! Completions that no kernel makes on demand.

use super::*;
use crate::buffers::BufferPool;
use crate::message::RecvMessage;
use crate::op::Op;
use std::mem::MaybeUninit;

const HANDLE: i32 = 9;

/// A descriptor that is what the test says.
#[derive(Clone, Copy, Default)]
struct Made {
    stream: bool,
    unread: bool,
    ready: i32,
    overruns: bool,
    no_more: bool,
}

const STREAM: Made = Made { stream: true, unread: false, ready: 0, overruns: false, no_more: false };
const DATAGRAMS: Made = Made { stream: false, ..STREAM };

impl Look for Made {
    fn is_stream(&self) -> bool {
        self.stream
    }

    fn has_unread(&self) -> bool {
        self.unread
    }

    fn ready(&self, _: Interest) -> i32 {
        self.ready
    }

    fn tells_overruns(&self) -> bool {
        self.overruns
    }

    fn receives_no_more(&self) -> bool {
        self.no_more
    }
}

/// An operation that is in the kernel.
fn issued(op: Op<'_>) -> Request {
    let side = entry::side(&op);
    let (entry, kind) = entry::prepare(op, 0, 64, true);
    let mut request = Request::free();
    request.begin(OpId::new(3, 1), HANDLE, entry, kind);
    request.side = side;
    request.issue();
    request
}

fn send(bytes: &[u8]) -> Request {
    issued(Op::Send { socket: HANDLE, buffer: bytes, flags: 0, all: true })
}

fn recv(buffer: &mut [MaybeUninit<u8>], flags: i32) -> Request {
    issued(Op::Recv { socket: HANDLE, buffer, flags })
}

fn provided(flags: i32) -> Request {
    issued(Op::RecvProvided { socket: HANDLE, limit: 100, flags })
}

fn says(result: i32) -> Completion {
    Completion { result, more: false, buffer: None, starved: false }
}

fn goes_on(result: i32) -> Completion {
    Completion { more: true, ..says(result) }
}

/// How an operation ended.
#[track_caller]
fn ending(action: Action) -> (Result<usize, i32>, Option<Buffer>) {
    match action {
        Action::End(result, buffer) => (result, buffer),
        other => panic!("it should be over, and is to {other:?}"),
    }
}

#[track_caller]
fn result(action: Action) -> Result<usize, i32> {
    ending(action).0
}

macro_rules! assert_is {
    ($action:expr, $pattern:pat) => {
        let action = $action;
        assert!(matches!(action, $pattern), "{action:?} is not {}", stringify!($pattern));
    };
}

fn milliseconds(action: Action) -> u128 {
    let Action::Pause(time) = action else { panic!("{action:?} is no pause") };
    let index = PAUSES.iter().position(|pause| std::ptr::eq(pause, time)).expect("one of the pauses");
    1 << index
}

#[test]
fn a_cancel_that_misses_is_asked_for_again_until_the_operation_is_over() {
    let mut buffer = [MaybeUninit::uninit(); 8];
    let mut request = recv(&mut buffer, 0);
    assert_is!(request.cancel(), Action::Cancel);
    assert_is!(request.cancel(), Action::Wait);
    for _ in 0..3 {
        assert_is!(request.cancel_ended(-libc::ENOENT), Action::CancelLater);
        assert_is!(request.cancel_ended(-libc::ETIME), Action::Cancel);
    }
    assert_is!(request.cancel_ended(-libc::EALREADY), Action::CancelLater);
    assert_eq!(result(request.completed(says(-libc::ECANCELED), &STREAM)), Err(libc::ECANCELED));
    assert_is!(request.cancel_ended(-libc::ENOENT), Action::Wait);
    assert_is!(request.cancel_ended(-libc::ETIME), Action::Wait);
}

#[test]
fn a_cancel_that_missed_spares_the_next_in_the_slot() {
    let mut buffer = [MaybeUninit::uninit(); 8];
    let request = recv(&mut buffer, 0);
    assert_is!(request.cancel_ended(-libc::ENOENT), Action::Wait);
    assert_is!(request.cancel_ended(-libc::ETIME), Action::Wait);
}

#[test]
fn a_cancel_finds_the_operation_wherever_it_is() {
    let mut buffer = [MaybeUninit::uninit(); 8];
    for state in [State::Issued, State::StoodIn, State::Watching, State::Guarding] {
        let mut request = recv(&mut buffer, 0);
        request.state = state;
        assert_is!(request.cancel(), Action::Cancel);
        assert_eq!(request.state, state);
    }
    for state in [State::InLine, State::Parked] {
        let mut request = recv(&mut buffer, 0);
        request.state = state;
        assert_eq!(result(request.cancel()), Err(libc::ECANCELED));
        assert_eq!(request.state, State::Free);
    }
    for state in [State::Free, State::Over] {
        let mut request = recv(&mut buffer, 0);
        request.state = state;
        assert_is!(request.cancel(), Action::Wait);
    }
}

#[test]
fn a_result_that_was_faster_than_the_cancel_is_told() {
    let mut buffer = [MaybeUninit::uninit(); 8];
    let mut request = recv(&mut buffer, 0);
    assert_is!(request.cancel(), Action::Cancel);
    assert_eq!(result(request.completed(says(5), &STREAM)), Ok(5));
    // An interrupted call has done nothing: it is not begun again.
    for errno in [libc::EAGAIN, libc::EINTR, ERESTARTSYS] {
        let mut request = recv(&mut buffer, 0);
        assert_is!(request.cancel(), Action::Cancel);
        assert_eq!(result(request.completed(says(-errno), &STREAM)), Err(libc::ECANCELED));
    }
}

#[test]
fn an_interrupted_call_is_begun_again() {
    let mut buffer = [MaybeUninit::uninit(); 8];
    for errno in [libc::EINTR, ERESTARTSYS] {
        let mut request = recv(&mut buffer, 0);
        assert_is!(request.completed(says(-errno), &STREAM), Action::Issue);
        assert_eq!(request.state, State::Issued);
    }
    // Of a close there is nothing to repeat: the descriptor is gone.
    let mut close = issued(Op::CloseSocket { socket: HANDLE });
    assert_eq!(result(close.completed(says(-libc::EINTR), &STREAM)), Ok(0));
}

#[test]
fn what_would_have_to_wait_is_polled_for_and_tried_again() {
    let mut buffer = [MaybeUninit::uninit(); 8];
    let mut request = recv(&mut buffer, 0);
    assert_is!(request.completed(says(-libc::EAGAIN), &STREAM), Action::Poll(1)); // POLLIN
    assert_eq!(request.state, State::StoodIn);
    assert_is!(request.stood_in(libc::POLLIN.into(), &STREAM), Action::Issue);
    assert_eq!(result(request.completed(says(3), &STREAM)), Ok(3));
    let mut request = send(b"12345678");
    assert_is!(request.completed(says(-libc::EAGAIN), &STREAM), Action::Poll(4)); // POLLOUT
    let mut accept = issued(Op::AcceptMultishot { listener: HANDLE });
    assert_is!(accept.completed(says(-libc::EAGAIN), &STREAM), Action::Poll(1));
}

#[test]
fn a_receive_for_which_nothing_comes_any_more_is_at_the_end() {
    let shut = Made { no_more: true, ..DATAGRAMS };
    let mut buffer = [MaybeUninit::uninit(); 8];
    let mut request = recv(&mut buffer, 0);
    assert_is!(request.completed(says(-libc::EAGAIN), &shut), Action::Poll(1));
    assert_is!(request.stood_in(libc::POLLIN.into(), &shut), Action::Issue);
    assert_eq!(result(request.completed(says(-libc::EAGAIN), &shut)), Ok(0));
    let mut request = send(b"12345678");
    assert_is!(request.completed(says(-libc::EAGAIN), &shut), Action::Poll(4));
    assert_is!(request.stood_in(libc::POLLOUT.into(), &shut), Action::Issue);
    assert_is!(request.completed(says(-libc::EAGAIN), &shut), Action::Pause(_));
}

#[test]
fn a_poll_that_lies_leads_to_longer_and_longer_pauses() {
    let mut request = send(b"12345678");
    let mut pauses = Vec::new();
    assert_is!(request.completed(says(-libc::EAGAIN), &DATAGRAMS), Action::Poll(_));
    for _ in 0..7 {
        assert_is!(request.stood_in(libc::POLLOUT.into(), &DATAGRAMS), Action::Issue);
        pauses.push(milliseconds(request.completed(says(-libc::EAGAIN), &DATAGRAMS)));
        assert_is!(request.stood_in(-libc::ETIME, &DATAGRAMS), Action::Issue);
        assert_is!(request.completed(says(-libc::EAGAIN), &DATAGRAMS), Action::Poll(_));
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 16, 16]);
}

#[test]
fn a_send_of_all_goes_on_after_each_part() {
    let mut request = send(b"12345678");
    assert_is!(request.completed(says(3), &STREAM), Action::Poll(4));
    assert_is!(request.stood_in(libc::POLLOUT.into(), &STREAM), Action::Issue);
    let Kind::SendAll(rest) = request.kind else { panic!() };
    assert_eq!(rest.done, 3);
    assert_is!(request.completed(says(4), &STREAM), Action::Poll(4));
    assert_is!(request.stood_in(libc::POLLOUT.into(), &STREAM), Action::Issue);
    assert_eq!(result(request.completed(says(1), &STREAM)), Ok(8));
}

#[test]
fn what_was_moved_before_an_error_or_a_cancel_is_told() {
    for errno in [libc::EPIPE, libc::ECONNRESET, libc::ECANCELED] {
        let mut request = send(b"12345678");
        assert_is!(request.completed(says(3), &STREAM), Action::Poll(_));
        assert_is!(request.stood_in(libc::POLLOUT.into(), &STREAM), Action::Issue);
        assert_eq!(result(request.completed(says(-errno), &STREAM)), Ok(3));
    }
    // While the poll stands in.
    let mut request = send(b"12345678");
    assert_is!(request.completed(says(3), &STREAM), Action::Poll(_));
    assert_is!(request.cancel(), Action::Cancel);
    assert_eq!(result(request.stood_in(-libc::ECANCELED, &STREAM)), Ok(3));
    // The part that wins against the cancel is the last.
    let mut request = send(b"12345678");
    assert_is!(request.cancel(), Action::Cancel);
    assert_eq!(result(request.completed(says(3), &STREAM)), Ok(3));
}

#[test]
fn an_error_behind_a_part_is_left_for_the_next_operation() {
    let broken = i32::from(libc::POLLOUT | libc::POLLIN | libc::POLLERR | libc::POLLHUP);
    let mut request = send(b"12345678");
    assert_is!(request.completed(says(3), &STREAM), Action::Poll(_));
    assert_eq!(result(request.stood_in(broken, &STREAM)), Ok(3));
    // Where nothing was moved it is this one's.
    let mut request = send(b"12345678");
    assert_is!(request.completed(says(-libc::EAGAIN), &STREAM), Action::Poll(_));
    assert_is!(request.stood_in(broken, &STREAM), Action::Issue);
    let mut buffer = [MaybeUninit::uninit(); 8];
    let mut request = recv(&mut buffer, libc::MSG_WAITALL);
    assert_is!(request.completed(says(3), &STREAM), Action::Poll(_));
    // What lies before the error comes first.
    assert_is!(request.stood_in(broken, &Made { unread: true, ..STREAM }), Action::Issue);
    assert_is!(request.completed(says(2), &STREAM), Action::Poll(_));
    assert_eq!(result(request.stood_in(broken, &STREAM)), Ok(5));
}

#[test]
fn a_connect_that_is_under_way_is_asked_for_its_end() {
    let address = crate::Address::empty();
    let connect = || issued(Op::Connect { socket: HANDLE, address: &address });
    for errno in [libc::EINPROGRESS, libc::EALREADY] {
        let mut request = connect();
        assert_is!(request.completed(says(-errno), &STREAM), Action::Poll(4));
        assert_is!(request.stood_in(libc::POLLOUT.into(), &STREAM), Action::Issue);
        assert_eq!(result(request.completed(says(0), &STREAM)), Ok(0));
        // Cancelled, the poll may have won: then the connect has its result, and is asked for it.
        let mut request = connect();
        assert_is!(request.completed(says(-errno), &STREAM), Action::Poll(4));
        assert_is!(request.cancel(), Action::Cancel);
        assert_is!(request.stood_in(libc::POLLOUT.into(), &STREAM), Action::Issue);
        assert_eq!(result(request.completed(says(-libc::ECONNREFUSED), &STREAM)), Err(libc::ECONNREFUSED));
        // Or it has lost.
        let mut request = connect();
        assert_is!(request.completed(says(-errno), &STREAM), Action::Poll(4));
        assert_is!(request.cancel(), Action::Cancel);
        assert_eq!(result(request.stood_in(-libc::ECANCELED, &STREAM)), Err(libc::ECANCELED));
        // Or it is still under way when it is asked.
        let mut request = connect();
        assert_is!(request.cancel(), Action::Cancel);
        assert_eq!(result(request.completed(says(-errno), &STREAM)), Err(libc::ECANCELED));
    }
    // To anybody else these are plain errors.
    let mut request = send(b"x");
    assert_eq!(result(request.completed(says(-libc::EALREADY), &STREAM)), Err(libc::EALREADY));
}

#[test]
fn who_finds_no_buffer_is_parked_and_can_be_cancelled() {
    for mut request in [provided(0), provided(libc::MSG_WAITALL), issued(Op::RecvMultishot { socket: HANDLE })] {
        assert_is!(request.completed(Completion { starved: true, ..says(-libc::ENOBUFS) }, &STREAM), Action::Park);
        assert_eq!(request.state, State::Parked);
        assert_eq!(result(request.cancel()), Err(libc::ECANCELED));
        assert_eq!(request.state, State::Free);
    }
    // Cancelled before: it would wait for a buffer in vain.
    let mut request = provided(0);
    assert_is!(request.cancel(), Action::Cancel);
    assert_eq!(result(request.completed(says(-libc::ENOBUFS), &STREAM)), Err(libc::ECANCELED));
}

#[test]
fn no_buffer_is_wanting_where_the_socket_itself_had_no_room() {
    let netlink = Made { overruns: true, ..DATAGRAMS };
    assert_eq!(result(provided(0).completed(says(-libc::ENOBUFS), &netlink)), Err(libc::ENOBUFS));
    assert_is!(provided(0).completed(Completion { starved: true, ..says(-libc::ENOBUFS) }, &netlink), Action::Park);
    // Whoever brings his own memory is told the same.
    let mut buffer = [MaybeUninit::uninit(); 8];
    assert_eq!(result(recv(&mut buffer, 0).completed(says(-libc::ENOBUFS), &STREAM)), Err(libc::ENOBUFS));
}

#[test]
fn a_queue_of_errors_is_never_waited_for() {
    let mut buffer = [MaybeUninit::uninit(); 8];
    let (mut plain, mut provided) = (recv(&mut buffer, libc::MSG_ERRQUEUE), provided(libc::MSG_ERRQUEUE));
    assert_eq!(result(plain.completed(says(-libc::EAGAIN), &DATAGRAMS)), Err(libc::EAGAIN));
    assert_eq!(result(provided.completed(says(-libc::EAGAIN), &DATAGRAMS)), Err(libc::EAGAIN));
    assert!(plain.side.is_none() && provided.side.is_none(), "it is in line with nobody");
}

#[test]
fn a_provided_receive_of_all_keeps_no_buffer_while_it_waits() {
    let pool = BufferPool::new(1, 64).unwrap();
    let filled = |text: &[u8]| {
        let mut buffer = pool.take().expect("the only buffer is free");
        buffer.room()[..text.len()].copy_from_slice(text);
        buffer.fill(text.len());
        Some(buffer)
    };
    let mut request = provided(libc::MSG_WAITALL);
    let part = Completion { buffer: filled(b"part"), ..says(4) };
    assert_is!(request.completed(part, &STREAM), Action::Poll(1));
    assert!(pool.has_free());
    assert_is!(request.cancel(), Action::Cancel);
    let (result, buffer) = ending(request.stood_in(-libc::ECANCELED, &STREAM));
    assert_eq!((result, &buffer.unwrap()[..]), (Ok(4), &b"part"[..]));
    // A datagram is all there is.
    let datagram = Completion { buffer: filled(b"datagram"), ..says(8) };
    let (result, buffer) = ending(provided(libc::MSG_WAITALL).completed(datagram, &DATAGRAMS));
    assert_eq!((result, &buffer.unwrap()[..]), (Ok(8), &b"datagram"[..]));
    // The end brings no buffer, and one that the kernel took for it is free again.
    let (result, buffer) = ending(provided(0).completed(Completion { buffer: filled(b""), ..says(0) }, &STREAM));
    assert!(result == Ok(0) && buffer.is_none() && pool.has_free());
}

#[test]
fn more_bytes_than_came_with_control_data_are_not_waited_for() {
    let (mut first, mut second) = ([0; 4], [0; 4]);
    let mut received = |control_length: usize| {
        let mut slices = [std::io::IoSliceMut::new(&mut first), std::io::IoSliceMut::new(&mut second)];
        let mut message = RecvMessage::new(&mut slices);
        let op = Op::RecvMessage { socket: HANDLE, message: message.lend(), flags: libc::MSG_WAITALL };
        let mut request = issued(op);
        let Kind::Message(parts) = request.kind else { panic!() };
        // SAFETY: the message is there, and nobody else looks at it.
        unsafe { parts.message() }.header.as_mut().unwrap().msg_controllen = control_length as _;
        match request.completed(says(5), &STREAM) {
            Action::End(result, _) => result,
            Action::Poll(1) => {
                assert_is!(request.stood_in(libc::POLLIN.into(), &STREAM), Action::Issue);
                result(request.completed(says(3), &STREAM))
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(received(16), Ok(5));
    assert_eq!(received(0), Ok(8));
}

#[test]
fn a_multishot_operation_is_issued_again_when_the_kernel_lets_go_of_it() {
    let mut accepts = issued(Op::AcceptMultishot { listener: HANDLE });
    assert_is!(accepts.completed(goes_on(12), &STREAM), Action::Report { result: 12, again: false, .. });
    assert_is!(accepts.completed(says(13), &STREAM), Action::Report { result: 13, again: true, .. });
    // What came with the end of a cancelled one is its last.
    assert_is!(accepts.cancel(), Action::Cancel);
    assert_is!(accepts.completed(goes_on(14), &STREAM), Action::Report { result: 14, again: false, .. });
    assert_eq!(result(accepts.completed(says(15), &STREAM)), Ok(15));
    let mut receives = issued(Op::RecvMultishot { socket: HANDLE });
    assert_eq!(result(receives.completed(says(0), &STREAM)), Ok(0));
    // A kernel before 6.7 lets go of a read after each result.
    let mut reads = issued(Op::ReadMultishot { file: HANDLE });
    assert_is!(reads.completed(says(16), &STREAM), Action::Report { result: 16, again: true, .. });
    assert_eq!(result(reads.completed(says(0), &STREAM)), Ok(0));
}

#[test]
fn a_disconnect_throws_away_what_comes_until_the_end() {
    let disconnect = || issued(Op::Disconnect { socket: HANDLE });
    let mut request = disconnect();
    for _ in 0..3 {
        assert_is!(request.completed(says(1000), &STREAM), Action::Issue);
    }
    assert_eq!(result(request.completed(says(0), &STREAM)), Ok(0));
    let mut request = disconnect();
    assert_is!(request.cancel(), Action::Cancel);
    assert_eq!(result(request.completed(says(1000), &STREAM)), Err(libc::ECANCELED));
    assert_eq!(result(disconnect().completed(says(-libc::ECONNRESET), &STREAM)), Err(libc::ECONNRESET));
}

#[test]
fn a_cancelled_accept_leaves_nobodys_address() {
    let mut peer = crate::Address::from("127.0.0.1:80".parse::<std::net::SocketAddr>().unwrap());
    let mut accept = issued(Op::Accept { listener: HANDLE, peer: Some(&mut peer) });
    assert_is!(accept.cancel(), Action::Cancel);
    assert_eq!(result(accept.completed(says(-libc::ECANCELED), &STREAM)), Err(libc::ECANCELED));
    assert!(peer.as_bytes().is_empty());
}

/// What a poll request of the kernel's ends for, asked or not.
const SENDS_NO_MORE: i32 = libc::POLLRDHUP as i32;

#[test]
fn a_send_to_a_peer_that_sends_no_more_waits_for_changes_alone() {
    let mut request = send(b"12345678");
    assert_is!(request.completed(says(3), &STREAM), Action::Poll(4));
    assert_is!(request.stood_in(SENDS_NO_MORE, &STREAM), Action::Watch(4));
    assert_eq!(request.state, State::Watching);
    // What is there at the start: it is tried once, for what came between.
    assert_is!(request.stirred(&goes_on(SENDS_NO_MORE), &STREAM), Action::Issue);
    assert_is!(request.completed(says(-libc::EAGAIN), &STREAM), Action::Wait);
    assert_eq!(request.state, State::Watching);
    assert_is!(request.stirred(&goes_on(SENDS_NO_MORE | i32::from(libc::POLLOUT)), &STREAM), Action::Issue);
    assert_is!(request.completed(says(2), &STREAM), Action::Issue);
    // A change during the try may have been missed by it.
    assert_is!(request.stirred(&goes_on(SENDS_NO_MORE), &STREAM), Action::Wait);
    assert_is!(request.completed(says(-libc::EAGAIN), &STREAM), Action::Issue);
    // It is over when its watch is.
    assert_is!(request.completed(says(3), &STREAM), Action::Cancel);
    assert_eq!(request.state, State::Over);
    assert_is!(request.cancel(), Action::Wait);
    assert_is!(request.cancel_ended(-libc::ENOENT), Action::CancelLater);
    assert_is!(request.stirred(&goes_on(SENDS_NO_MORE), &STREAM), Action::Wait);
    assert_eq!(result(request.stirred(&says(-libc::ECANCELED), &STREAM)), Ok(8));
    assert_eq!(request.state, State::Free, "its slot is the next operation's");
}

#[test]
fn a_watch_that_lies_leads_to_a_pause() {
    let mut request = send(b"12345678");
    assert_is!(request.completed(says(-libc::EAGAIN), &DATAGRAMS), Action::Poll(4));
    assert_is!(request.stood_in(libc::POLLERR.into(), &DATAGRAMS), Action::Issue);
    assert_is!(request.completed(says(-libc::EAGAIN), &DATAGRAMS), Action::Watch(4));
    assert_is!(request.stirred(&goes_on((libc::POLLERR | libc::POLLOUT).into()), &DATAGRAMS), Action::Issue);
    assert_eq!(milliseconds(request.completed(says(-libc::EAGAIN), &DATAGRAMS)), 1);
    assert_is!(request.stood_in(-libc::ETIME, &DATAGRAMS), Action::Issue);
    assert_eq!(milliseconds(request.completed(says(-libc::EAGAIN), &DATAGRAMS)), 2);
}

#[test]
fn a_receive_beside_queued_errors_waits_for_changes_alone() {
    let mut buffer = [MaybeUninit::uninit(); 8];
    let mut request = recv(&mut buffer, 0);
    assert_is!(request.completed(says(-libc::EAGAIN), &DATAGRAMS), Action::Poll(1));
    assert_is!(request.stood_in(libc::POLLERR.into(), &DATAGRAMS), Action::Issue);
    assert_is!(request.completed(says(-libc::EAGAIN), &DATAGRAMS), Action::Watch(1));
    assert_is!(request.stirred(&goes_on(libc::POLLERR.into()), &DATAGRAMS), Action::Issue);
    assert_is!(request.completed(says(-libc::EAGAIN), &DATAGRAMS), Action::Wait);
    assert_is!(request.cancel(), Action::Cancel);
    assert_eq!(result(request.stirred(&says(-libc::ECANCELED), &DATAGRAMS)), Err(libc::ECANCELED));
}

#[test]
fn a_watch_that_the_kernel_ended_is_begun_anew() {
    let mut request = send(b"12345678");
    assert_is!(request.completed(says(-libc::EAGAIN), &STREAM), Action::Poll(4));
    assert_is!(request.stood_in(SENDS_NO_MORE, &STREAM), Action::Watch(4));
    assert_is!(request.stirred(&says(SENDS_NO_MORE), &STREAM), Action::Issue);
    assert_is!(request.completed(says(-libc::EAGAIN), &STREAM), Action::Watch(4));
    assert_eq!(result(request.stirred(&says(-libc::ENOMEM), &STREAM)), Err(libc::ENOMEM));
}

#[test]
fn a_poll_of_what_has_no_readiness_waits_and_can_be_cancelled() {
    let mut request = issued(Op::Poll { socket: HANDLE, interest: Interest::PRIORITY });
    assert_eq!(milliseconds(request.completed(says(-libc::EINVAL), &STREAM)), 1);
    assert_is!(request.stood_in(-libc::ETIME, &STREAM), Action::Issue);
    assert_eq!(milliseconds(request.completed(says(-libc::EINVAL), &STREAM)), 2);
    assert_is!(request.stood_in(-libc::ETIME, &STREAM), Action::Issue);
    assert_is!(request.cancel(), Action::Cancel);
    assert_eq!(result(request.completed(says(-libc::EINVAL), &STREAM)), Err(libc::ECANCELED));
}

#[test]
fn a_readiness_poll_is_told_of_what_it_asked_for_alone() {
    let poll = |interest| issued(Op::Poll { socket: HANDLE, interest });
    let bits = |interest: Interest| Ok(usize::from(interest.0));
    assert_eq!(
        result(poll(Interest::WRITABLE).completed(says(libc::POLLOUT.into()), &STREAM)),
        bits(Interest::WRITABLE)
    );
    let mut request = poll(Interest::WRITABLE);
    assert_is!(request.completed(says(SENDS_NO_MORE), &STREAM), Action::Watch(4));
    assert_is!(request.stirred(&goes_on(SENDS_NO_MORE), &STREAM), Action::Wait);
    assert_is!(request.stirred(&goes_on(SENDS_NO_MORE | i32::from(libc::POLLOUT)), &STREAM), Action::Cancel);
    assert_eq!(result(request.stirred(&says(-libc::ECANCELED), &STREAM)), bits(Interest::WRITABLE));
    // Urgent data is looked for, whatever the kernel says.
    let mut request = poll(Interest::PRIORITY);
    assert_is!(request.completed(says(libc::POLLRDBAND.into()), &STREAM), Action::Issue);
    let urgent = Made { ready: libc::POLLPRI.into(), ..STREAM };
    assert_eq!(result(request.completed(says(libc::POLLRDBAND.into()), &urgent)), bits(Interest::PRIORITY));
    let mut request = poll(Interest::PRIORITY);
    assert_is!(request.cancel(), Action::Cancel);
    assert_eq!(result(request.completed(says(libc::POLLRDBAND.into()), &STREAM)), Err(libc::ECANCELED));
}

#[test]
fn the_second_in_line_doubts_the_first_where_there_is_something_to_be_had() {
    let mut buffer = [MaybeUninit::uninit(); 8];
    let mut guard = || {
        let mut request = recv(&mut buffer, 0);
        request.state = State::InLine;
        assert_is!(request.guard(), Action::Poll(1));
        request
    };
    let mut request = guard();
    assert_is!(request.stood_in(libc::POLLIN.into(), &STREAM), Action::Doubt);
    assert_eq!(request.state, State::InLine);
    assert_is!(request.called_up(), Action::Issue);
    // Called up before, the poll stands in for it.
    let mut request = guard();
    assert_is!(request.called_up(), Action::Wait);
    assert_is!(request.stood_in(libc::POLLIN.into(), &STREAM), Action::Issue);
    // Turned away or cancelled, it is over when its poll is, whichever way that ends.
    for (ended, errno) in [(-libc::ECANCELED, libc::EBADF), (libc::POLLIN.into(), libc::EBADF)] {
        let mut request = guard();
        assert_is!(request.turn_away(), Action::Cancel);
        assert_eq!(result(request.stood_in(ended, &STREAM)), Err(errno));
        let mut request = guard();
        assert_is!(request.cancel(), Action::Cancel);
        assert_is!(request.cancel_ended(-libc::ENOENT), Action::CancelLater);
        assert_eq!(result(request.stood_in(ended, &STREAM)), Err(libc::ECANCELED));
    }
}

#[test]
fn who_is_in_line_for_a_number_that_means_something_else_is_told_that_it_is_closed() {
    let mut request = send(b"x");
    request.state = State::InLine;
    assert_eq!(result(request.turn_away()), Err(libc::EBADF));
}
