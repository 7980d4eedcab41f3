//! What a TLS connection has come to, and what there is to be told next: a step from state to action, without I/O.

use std::io::{self, Read, Write};
use std::mem;

use rustls::{Connection, ProtocolVersion};

use super::Negotiated;

/// What there is to do next.
pub(super) enum Next {
    Made,
    Pause,
    Resume,
    Came(Vec<u8>),
    End,
    Close,
    Nothing,
}

pub(super) struct State {
    session: Connection,
    /// The connection below is there: records may go out.
    pub(super) begun: bool,
    /// What was written before the handshake was over.
    early: Vec<u8>,
    pub(super) made: bool,

    /// What has come and was not told yet.
    came: Vec<u8>,
    pub(super) paused: bool,
    /// The peer has said that nothing more comes.
    peer_ended: bool,
    told_end: bool,

    /// Below, more waits than the high water mark, or has not fallen to the low one since.
    pub(super) full: bool,
    told_full: bool,
    /// This side is to end, when what was written is in records.
    ends_output: bool,
    /// Nothing but the answer to the peer's end was left to send.
    answers_end: bool,

    /// Nothing more is told but the end.
    pub(super) leaving: bool,
    /// Why, where the connection below ends in order: an alert goes out first.
    pub(super) failure: Option<io::Error>,
}

impl State {
    pub(super) fn new(mut session: Connection) -> State {
        // What waits is counted below, and who writes is asked to pause there.
        session.set_buffer_limit(None);
        State {
            session,
            begun: false,
            early: Vec::new(),
            made: false,
            came: Vec::new(),
            paused: false,
            peer_ended: false,
            told_end: false,
            full: false,
            told_full: false,
            ends_output: false,
            answers_end: false,
            leaving: false,
            failure: None,
        }
    }

    pub(super) fn handshakes(&self) -> bool {
        self.session.is_handshaking()
    }

    /// Decides, and remembers what was decided.
    pub(super) fn next(&mut self) -> Next {
        if self.leaving {
            return Next::Nothing;
        }
        if !self.made {
            if self.handshakes() {
                return Next::Nothing;
            }
            self.made = true;
            return Next::Made;
        }
        if self.full != self.told_full {
            self.told_full = self.full;
            return if self.full { Next::Pause } else { Next::Resume };
        }
        if !self.paused && !self.came.is_empty() {
            return Next::Came(mem::take(&mut self.came));
        }
        if !self.paused && self.peer_ended && !self.told_end {
            self.told_end = true;
            return Next::End;
        }
        if self.told_end && self.ends_output {
            return Next::Close;
        }
        Next::Nothing
    }

    /// Another is told from now on.
    pub(super) fn tell_again(&mut self) {
        (self.made, self.told_full) = (false, false);
    }

    /// These bytes were told of already, and are another's: before all that has come since.
    pub(super) fn came_before(&mut self, mut bytes: Vec<u8>) {
        bytes.append(&mut self.came);
        self.came = bytes;
    }

    /// Records have come. What of them was in order before an error is told nevertheless.
    pub(super) fn decrypt(&mut self, mut records: &[u8]) -> io::Result<()> {
        // After the peer's end, rustls takes no more (RFC 8446, 6.1: it is ignored).
        while !records.is_empty() && self.session.read_tls(&mut records)? > 0 {
            let told = self.session.process_new_packets();
            // Until nothing is left, which it says with `WouldBlock`, or with the end, which is asked for below.
            let _ = self.session.reader().read_to_end(&mut self.came);
            let told = told.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            self.peer_ended |= told.peer_has_closed();
        }
        Ok(())
    }

    /// Puts bytes into records, or keeps them until the handshake is over.
    pub(super) fn encrypt(&mut self, bytes: &[u8]) {
        assert!(!self.ends_output, "overlapped::reactor: a write after write_eof");
        if self.handshakes() {
            self.early.extend_from_slice(bytes);
        } else {
            self.seal(bytes);
        }
    }

    /// The handshake is over: what was asked for before is done now.
    pub(super) fn encrypt_early(&mut self) {
        let early = mem::take(&mut self.early);
        self.seal(&early);
        if self.ends_output {
            self.session.send_close_notify();
        }
    }

    fn seal(&mut self, bytes: &[u8]) {
        self.session.writer().write_all(bytes).expect("the session has no limit");
    }

    /// Ends this side, behind what was written.
    pub(super) fn end_output(&mut self) {
        if !mem::replace(&mut self.ends_output, true) && !self.handshakes() {
            self.session.send_close_notify();
        }
    }

    /// Ends both: what comes is not told any more. The peer is told where it was not.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
        self.came = Vec::new();
        self.early = Vec::new();
        if self.failure.is_none() {
            // It goes out once.
            self.session.send_close_notify();
        }
    }

    /// This side's end is sent next; below, all has gone out before it where that is `idle`.
    pub(super) fn answers_end(&mut self, idle: bool) {
        self.answers_end |= idle && self.peer_ended && !self.ends_output;
    }

    /// The connection below is over. Says why this one is: a peer that has ended need not wait for the answer (RFC 8446, 6.1),
    /// and where it has not, and nothing else was to be sent, nothing is lost.
    pub(super) fn lost(&mut self, reason: io::Result<()>) -> io::Result<()> {
        self.leaving = true;
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let gone =
            |error: &io::Error| matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
        match reason {
            Err(error) if self.answers_end && gone(&error) => Ok(()),
            reason => reason,
        }
    }

    /// The records that are to go out.
    pub(super) fn records(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        while self.begun && self.session.wants_write() {
            self.session.write_tls(&mut records).expect("a vector takes all");
        }
        records
    }

    /// How much waits here, and not below.
    pub(super) fn waiting(&self) -> usize {
        self.early.len()
    }

    /// The peer's stream has ended. Says whether it may.
    pub(super) fn may_end(&self) -> bool {
        self.peer_ended || self.leaving
    }

    /// Whether one side can go on when the other has ended.
    pub(super) fn half_closes(&self) -> bool {
        self.session.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    pub(super) fn negotiated(&self) -> Option<Negotiated> {
        if self.handshakes() {
            return None;
        }
        let server_name = match &self.session {
            Connection::Server(server) => server.server_name().map(str::to_owned),
            Connection::Client(_) => None,
        };
        Some(Negotiated {
            version: self.session.protocol_version()?,
            alpn: self.session.alpn_protocol().map(<[u8]>::to_vec),
            peer_certificates: self.session.peer_certificates().unwrap_or_default().to_vec(),
            server_name,
        })
    }
}
