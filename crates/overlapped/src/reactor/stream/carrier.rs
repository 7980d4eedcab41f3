//! What is asked of a stream by its transport: it is noted here, and done when the stream settles.

use std::io;

use overlapped_port::socket;

use super::super::protocol::take_place;
use super::super::transport::Carrier;
use super::super::{Endpoint, Protocol};
use super::Stream;
use super::state::Came;

impl Carrier for Stream {
    fn write(&self, bytes: &[u8]) {
        {
            let mut state = self.state.borrow_mut();
            if state.leaving.is_some() || state.finished || bytes.is_empty() {
                return;
            }
            assert!(
                !state.ends_output && !state.output_over,
                "overlapped::reactor: a write after write_eof, or to a pipe that is only read"
            );
            state.waiting.extend_from_slice(bytes);
        }
        self.send_now();
        let changed = {
            let mut state = self.state.borrow_mut();
            state.measure();
            state.full != state.told_full
        };
        if changed {
            self.settle_soon();
        }
    }

    fn write_eof(&self) {
        self.state.borrow_mut().ends_output = true;
        self.settle_soon();
    }

    fn close(&self) {
        self.leave(Ok(()));
        self.settle_soon();
    }

    fn abort(&self, reason: io::Error) {
        self.leave(Err(reason));
        self.settle_soon();
    }

    fn is_closing(&self) -> bool {
        let state = self.state.borrow();
        state.leaving.is_some() || state.finished
    }

    fn pause_reading(&self) {
        self.state.borrow_mut().paused = true;
        self.settle_soon();
    }

    fn resume_reading(&self) {
        self.state.borrow_mut().paused = false;
        self.settle_soon();
    }

    fn set_write_limits(&self, high: usize, low: usize) {
        let mut state = self.state.borrow_mut();
        (state.high, state.low) = (high, low);
        state.measure();
        drop(state);
        self.settle_soon();
    }

    fn buffered(&self) -> usize {
        self.state.borrow().buffered()
    }

    fn hand_over(&self, protocol: Box<dyn Protocol>) {
        {
            let mut state = self.state.borrow_mut();
            (state.made, state.told_full) = (false, false);
        }
        take_place(&self.protocol, protocol);
        self.settle_soon();
    }

    fn is_handed_over(&self) -> bool {
        self.protocol.borrow().is_some()
    }

    fn pass_on(&self, rest: Vec<u8>) {
        self.state.borrow_mut().came.push_front(Came::Bytes(rest));
        self.settle_soon();
    }

    fn peer_addr(&self) -> io::Result<Endpoint> {
        let state = self.state.borrow();
        let end = state.source.as_ref().or(state.sink.as_ref()).ok_or(io::ErrorKind::NotConnected)?;
        end.endpoint(socket::peer_addr)
    }

    fn local_addr(&self) -> io::Result<Endpoint> {
        let state = self.state.borrow();
        let end = state.source.as_ref().or(state.sink.as_ref()).ok_or(io::ErrorKind::NotConnected)?;
        end.endpoint(socket::local_addr)
    }
}
