//! What a connection tells.

use std::cell::RefCell;
use std::io;

use super::Transport;
use super::guard::guarded_for;

/// What becomes of a connection whose peer has ended its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtEnd {
    /// It is closed, when what was written has gone out.
    Close,
    /// It stays half open: this side goes on writing, until it ends its side too ([`Transport::write_eof`]) or closes.
    KeepOpen,
}

/// What is told of a connection, by callbacks: in the order `connection_made`, any number of others, `connection_lost`.
///
/// Callbacks run on the loop's turn, between two tasklets, one after the other, and must not wait; they may start tasklets
/// that do ([the whole story](super)). None is called from within a method of a transport.
pub trait Protocol: 'static {
    /// The connection is there.
    fn connection_made(&mut self, _transport: &Transport) {}

    /// The peer has sent bytes: one at least, cut anywhere.
    fn data_received(&mut self, transport: &Transport, bytes: &[u8]);

    /// The peer has ended its side: no more bytes come. Says what becomes of this side.
    fn eof_received(&mut self, _transport: &Transport) -> AtEnd {
        AtEnd::Close
    }

    /// More is waiting to be sent than the high water mark allows ([`Transport::set_write_limits`]): who can, writes no
    /// more until told. What is written nevertheless is kept.
    fn pause_writing(&mut self, _transport: &Transport) {}

    /// No more is waiting than the low water mark says.
    fn resume_writing(&mut self, _transport: &Transport) {}

    /// The connection is over: the last call, made once for each, also where it never came about (`connection_made` was not
    /// called then). The transport is closed already.
    ///
    /// `Ok` where either side closed it in order; else why it ended: the system's error; `ConnectionAborted` after
    /// [`Transport::abort`] and where the [`run`](crate::run) ends; `Other` where a callback has panicked, with its message.
    fn connection_lost(&mut self, _reason: io::Result<()>) {}
}

impl<P: Protocol + ?Sized> Protocol for Box<P> {
    fn connection_made(&mut self, transport: &Transport) {
        (**self).connection_made(transport);
    }

    fn data_received(&mut self, transport: &Transport, bytes: &[u8]) {
        (**self).data_received(transport, bytes);
    }

    fn eof_received(&mut self, transport: &Transport) -> AtEnd {
        (**self).eof_received(transport)
    }

    fn pause_writing(&mut self, transport: &Transport) {
        (**self).pause_writing(transport);
    }

    fn resume_writing(&mut self, transport: &Transport) {
        (**self).resume_writing(transport);
    }

    fn connection_lost(&mut self, reason: io::Result<()>) {
        (**self).connection_lost(reason);
    }
}

/// The protocol that is told: `None` while it is told something, and once it has been told all.
pub(super) type Told = RefCell<Option<Box<dyn Protocol>>>;

/// Puts a protocol back that was told something, unless another has taken its place meanwhile.
pub(super) fn put_back(told: &Told, protocol: Box<dyn Protocol>) {
    let mut place = told.borrow_mut();
    if place.is_none() {
        *place = Some(protocol);
        return;
    }
    drop(place);
    // Its destructor may panic, and look here.
    let _ = guarded_for(move || drop(protocol));
}

/// Has another told from now on.
pub(super) fn take_place(told: &Told, protocol: Box<dyn Protocol>) {
    let former = told.replace(Some(protocol));
    let _ = guarded_for(move || drop(former));
}
