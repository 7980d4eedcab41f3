//! What a load's requests look like and how its answers are told from each other: an echo, HTTP/1, HTTP/2.
//!
//! Requests lie side by side in a connection's memory, each in a *slot*, where the kernel reads them until they are answered. The
//! HTTP of a load is as much as a `GET` of the same page again and again needs: no header of an answer is decoded, its
//! status and body are compared. (Rejected: `wrk` and `h2load`. They are not everywhere, and spend several times as much
//! on a request, so that the load's core is full long before the server's.)

use std::error::Error;
use std::mem;

use super::stamp;
use crate::http::BODY;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The language of a connection, with what it knows of its answers.
pub enum Dialect {
    /// Each answer is the request.
    Echo(Echo),
    /// `GET / HTTP/1.1`, on a connection that stays.
    Http1(Http1),
    /// The same in HTTP/2, each request a stream.
    Http2(Http2),
}

/// What of its answers has come: they have the size and the order of their requests.
#[derive(Default)]
pub struct Echo {
    answered: usize,
}

/// What of the answers has come: all are as long as the first, and come in the order of their requests.
#[derive(Default)]
pub struct Http1 {
    first: Vec<u8>,
    length: usize,
    come: usize,
    next: usize,
}

/// The frame that is coming, and which stream a slot's request is.
#[derive(Default)]
pub struct Http2 {
    head: Vec<u8>,
    payload: Vec<u8>,
    streams: Vec<u32>,
    last: u32,
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Of HTTP/2's frames (RFC 9113, 6): the length of what stands before each, the types, the flags.
const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:method GET`, `:path /`, `:scheme http` of HPACK's static table, and `:authority` as a literal that is not to be kept (RFC
/// 7541, 6.1 and 6.2.2).
const REQUEST: &[u8] = b"\x82\x84\x86\x01\x09localhost";

impl Dialect {
    /// As its name says: `echo`, `http1`, `http2`.
    ///
    /// # Errors
    /// Another name.
    pub fn of(name: &str, depth: usize) -> Result<Dialect> {
        match name {
            "echo" => Ok(Dialect::Echo(Echo::default())),
            "http1" => Ok(Dialect::Http1(Http1::default())),
            "http2" => Ok(Dialect::Http2(Http2 { streams: vec![0; depth], ..Http2::default() })),
            _ => Err(format!("no dialect is called {name:?}").into()),
        }
    }

    /// How many bytes a request has, where the load says so many.
    pub fn size(&self, asked: usize) -> usize {
        match self {
            Dialect::Echo(_) => asked,
            Dialect::Http1(_) => GET.len(),
            Dialect::Http2(_) => HEAD + REQUEST.len(),
        }
    }

    /// What is said before the first request.
    pub fn greeting(&self) -> Vec<u8> {
        match self {
            Dialect::Echo(_) | Dialect::Http1(_) => Vec::new(),
            // All answers of a run find room in the connection's window.
            Dialect::Http2(_) => [
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(),
                &frame(SETTINGS, 0, 0, &[]),
                &frame(WINDOW_UPDATE, 0, 0, &((1_u32 << 31) - (1 << 16)).to_be_bytes()),
            ]
            .concat(),
        }
    }

    /// What is said after the first answer.
    pub fn acknowledgement(&self) -> Vec<u8> {
        match self {
            Dialect::Echo(_) | Dialect::Http1(_) => Vec::new(),
            Dialect::Http2(_) => frame(SETTINGS, ACK, 0, &[]),
        }
    }

    /// The next request is that of the first slot again. All are answered.
    pub fn begin(&mut self) {
        match self {
            Dialect::Echo(echo) => echo.answered = 0,
            Dialect::Http1(http) => http.next = 0,
            Dialect::Http2(_) => {}
        }
    }

    /// Writes the next request of a connection into a slot.
    pub fn ask(&mut self, slot: usize, request: &mut [u8], connection: u32, number: u64) {
        match self {
            Dialect::Echo(_) => stamp(request, connection, number),
            Dialect::Http1(_) => request.copy_from_slice(GET),
            Dialect::Http2(http) => {
                http.last = if http.last == 0 { 1 } else { http.last + 2 };
                http.streams[slot] = http.last;
                request.copy_from_slice(&frame(HEADERS, END_STREAM | END_HEADERS, http.last, REQUEST));
            }
        }
    }

    /// Takes a piece of the answers to what stands in the slots in, and gives the slots whose answers it has ended.
    ///
    /// # Errors
    /// An answer that is not the one which was to come.
    pub fn take(&mut self, piece: &[u8], slots: &[u8], size: usize) -> Result<Vec<usize>> {
        match self {
            Dialect::Echo(echo) => echo.take(piece, slots, size).ok_or_else(|| "a reply is not what was sent".into()),
            Dialect::Http1(http) => http.take(piece, slots.len() / size),
            Dialect::Http2(http) => http.take(piece),
        }
    }
}

impl Echo {
    fn take(&mut self, mut piece: &[u8], slots: &[u8], size: usize) -> Option<Vec<usize>> {
        let mut whole = Vec::new();
        while !piece.is_empty() {
            let first = self.answered / size * size;
            let (now, later) = piece.split_at(piece.len().min(first + size - self.answered));
            if slots[self.answered..self.answered + now.len()] != *now {
                return None;
            }
            self.answered += now.len();
            if self.answered == first + size {
                whole.push(first / size);
                self.answered %= slots.len();
            }
            piece = later;
        }
        Some(whole)
    }
}

impl Http1 {
    const STATUS: &[u8] = b"HTTP/1.1 200 OK\r\n";

    fn take(&mut self, piece: &[u8], slots: usize) -> Result<Vec<usize>> {
        if self.length == 0 {
            self.first.extend_from_slice(piece);
            let Some(head) = self.first.windows(4).position(|end| end == b"\r\n\r\n") else { return Ok(Vec::new()) };
            self.length = head + 4 + BODY.len();
            let first = mem::take(&mut self.first);
            return self.answers(&first, slots);
        }
        self.answers(piece, slots)
    }

    fn answers(&mut self, mut piece: &[u8], slots: usize) -> Result<Vec<usize>> {
        let mut whole = Vec::new();
        while !piece.is_empty() {
            let (now, later) = piece.split_at(piece.len().min(self.length - self.come));
            for (expected, from) in [(Self::STATUS, 0), (BODY, self.length - BODY.len())] {
                // As much of it as lies in this piece.
                let (begin, end) = (from.max(self.come), (from + expected.len()).min(self.come + now.len()));
                if begin < end && now[begin - self.come..end - self.come] != expected[begin - from..end - from] {
                    return Err(format!("an answer of HTTP/1 is {:?}", String::from_utf8_lossy(now)).into());
                }
            }
            self.come += now.len();
            if self.come == self.length {
                self.come = 0;
                whole.push(self.next);
                self.next = (self.next + 1) % slots;
            }
            piece = later;
        }
        Ok(whole)
    }
}

impl Http2 {
    fn take(&mut self, mut piece: &[u8]) -> Result<Vec<usize>> {
        let mut whole = Vec::new();
        loop {
            let (head, later) = piece.split_at(piece.len().min(HEAD - self.head.len()));
            self.head.extend_from_slice(head);
            let &[a, b, c, kind, flags, ref stream @ ..] = self.head.as_slice() else { return Ok(whole) };
            let Ok(stream) = stream.try_into().map(u32::from_be_bytes) else { return Ok(whole) };
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            let (payload, later) = later.split_at(later.len().min(length - self.payload.len()));
            self.payload.extend_from_slice(payload);
            if self.payload.len() < length {
                return Ok(whole);
            }
            match kind {
                RST_STREAM | GOAWAY => return Err(format!("a frame of type {kind}: {:?}", self.payload).into()),
                DATA if self.payload != BODY => return Err(format!("a body of HTTP/2 is {:?}", self.payload).into()),
                HEADERS if flags & END_STREAM != 0 => return Err("an answer of HTTP/2 has no body".into()),
                HEADERS if self.payload.first() != Some(&0x88) => return Err("a status of HTTP/2 is not 200".into()),
                DATA => {
                    let slot = self.streams.iter().position(|&asked| asked == stream);
                    whole.push(slot.ok_or("an answer of HTTP/2 that nobody has asked for")?);
                }
                _ => {}
            }
            self.head.clear();
            self.payload.clear();
            piece = later;
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}
