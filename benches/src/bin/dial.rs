//! The load of clients that come and go: `dial PORT CLIENTS SIZE [SECONDS] [WARM_UP_SECONDS]`.
//!
//! So many clients at once, each again and again: connects, sends one request, receives the reply and the end that the
//! server makes, closes. The three operations of a call are one chain in the ring, so a turn's calls enter the kernel
//! together. A client resets what the server has ended already, so that neither side keeps ports waiting
//! (`SO_LINGER`, socket(7)). Talks to the runner as `load` does, and prints `{"requests": …, "seconds": …}`.

use std::error::Error;
use std::io;
use std::mem::size_of;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use overlapped_benches::load::{answered, stamp, wait, when_told};
use overlapped_benches::{argument, ring};

struct Client {
    socket: Option<OwnedFd>,
    message: Box<[u8]>,
    /// One byte longer than the reply: so much is waited for that only the server's end ends the receive.
    reply: Box<[u8]>,
    calls: u64,
}

struct Dial {
    ring: IoUring,
    server: Box<libc::sockaddr_in>,
    clients: Vec<Client>,
    in_flight: usize,
}

impl Dial {
    fn call(&mut self, number: usize) -> io::Result<()> {
        let client = &mut self.clients[number];
        client.calls += 1;
        stamp(&mut client.message, number as u32, client.calls);
        let socket = client.socket.insert(socket()?).as_raw_fd();
        let server = (&raw const *self.server).cast();
        let chain = [
            opcode::Connect::new(types::Fd(socket), server, size_of::<libc::sockaddr_in>() as u32)
                .build()
                .flags(squeue::Flags::IO_LINK | squeue::Flags::SKIP_SUCCESS),
            opcode::Send::new(types::Fd(socket), client.message.as_ptr(), client.message.len() as u32)
                .flags(libc::MSG_NOSIGNAL)
                .build()
                .flags(squeue::Flags::IO_LINK | squeue::Flags::SKIP_SUCCESS),
            opcode::Recv::new(types::Fd(socket), client.reply.as_mut_ptr(), client.reply.len() as u32)
                .flags(libc::MSG_WAITALL)
                .build(),
        ]
        .map(|entry| entry.user_data(number as u64));
        ring::room(&mut self.ring, chain.len())?;
        self.in_flight += 1;
        // SAFETY: the server's address and the client's memory stay where they are until the receive's completion, which
        // is the last of the chain.
        chain.iter().try_for_each(|entry| unsafe { ring::push(&mut self.ring, entry) })
    }

    fn exchange(&mut self, longest: Duration) -> Result<(u64, Duration), Box<dyn Error>> {
        let mut served = 0;
        let began = Instant::now();
        for number in 0..self.clients.len() {
            self.call(number)?;
        }
        let mut completions: Vec<cqueue::Entry> = Vec::with_capacity(4096);
        while self.in_flight > 0 {
            wait(&mut self.ring, self.in_flight)?;
            let more = began.elapsed() < longest;
            completions.extend(self.ring.completion());
            for completion in completions.drain(..) {
                let number = completion.user_data() as usize;
                let client = &mut self.clients[number];
                match completion.result() {
                    error @ ..0 => {
                        return Err(format!("client {number}: {}", io::Error::from_raw_os_error(-error)).into());
                    }
                    length if client.reply[..length as usize] != *client.message => {
                        return Err(format!("client {number}: the reply is not what was sent").into());
                    }
                    _ => client.socket = None,
                }
                self.in_flight -= 1;
                served += 1;
                if more {
                    self.call(number)?;
                }
            }
        }
        Ok((served, began.elapsed()))
    }
}

/// A TCP socket that is reset when it is closed.
fn socket() -> io::Result<OwnedFd> {
    // SAFETY: socket(2) takes no pointers.
    let number = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was made just now, and nobody else knows of it.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let length = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the option is as long as it is said to be, and is only read.
    match unsafe { libc::setsockopt(number, libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), length) } {
        0 => Ok(socket),
        _ => Err(io::Error::last_os_error()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (port, count, size): (u16, usize, usize) = (argument(1, 0), argument(2, 1), argument(3, 64));
    let (seconds, warm_up): (f64, f64) = (argument(4, 1.0), argument(5, 0.0));
    let server = Box::new(libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(Ipv4Addr::LOCALHOST).to_be() },
        sin_zero: [0; 8],
    });
    let client = || Client { socket: None, message: vec![0; size].into(), reply: vec![0; size + 1].into(), calls: 0 };
    let clients = (0..count).map(|_| client()).collect();
    let mut dial = Dial { ring: ring::new(1024)?, server, clients, in_flight: 0 };
    if warm_up > 0.0 {
        dial.exchange(Duration::from_secs_f64(warm_up))?;
    }
    when_told(|| dial.exchange(Duration::from_secs_f64(seconds)).map(answered))
}
