//! An AgentX master and its subagents (RFC 2741) by protocol, on one thread: each subagent opens a session, sends requests and
//! checks that every response repeats what it has asked.
//!
//! The units are not more than the example needs: agentx-Open-PDU (1), agentx-Ping-PDU (13) and agentx-Response-PDU (18), whose
//! payload here is the request's.

use std::io;

use overlapped::Queue;
use overlapped::io::framing::{AgentX, Pdu};
use overlapped::net::TcpListener;
use overlapped::reactor::{self, FrameProtocol, FrameTransport, Frames};

const SUBAGENTS: u32 = 20;
const PINGS: u32 = 50;
const OPEN: u8 = 1;
const PING: u8 = 13;
const RESPONSE: u8 = 18;

/// Answers each unit; opens a session first.
#[derive(Default)]
struct Master {
    session: Option<u32>,
}

impl FrameProtocol<AgentX> for Master {
    fn frame_received(&mut self, transport: &FrameTransport<AgentX>, request: Pdu) {
        let session = match (self.session, request.kind) {
            (None, OPEN) => *self.session.insert(request.transaction + 1000),
            (Some(session), PING) if session == request.session => session,
            _ => return transport.transport().abort(),
        };
        let response = Pdu { kind: RESPONSE, session, ..request };
        transport.write_frame(&response).expect("it has the size of the request");
    }
}

/// Opens a session and pings in it, one request after the other's response.
struct Subagent {
    number: u32,
    packet: u32,
    done: Queue<io::Result<u32>>,
}

impl Subagent {
    fn ask(&mut self, transport: &FrameTransport<AgentX>, kind: u8, session: u32) {
        self.packet += 1;
        // Half of them have numbers with the highest byte first.
        let flags = if self.number.is_multiple_of(2) { 0x10 } else { 0 };
        let payload = vec![self.number as u8; 4 * (self.packet as usize % 8)];
        let pdu = Pdu { kind, flags, session, transaction: self.number, packet: self.packet, payload };
        transport.write_frame(&pdu).expect("a multiple of four bytes");
    }
}

impl FrameProtocol<AgentX> for Subagent {
    fn connection_made(&mut self, transport: &FrameTransport<AgentX>) {
        self.ask(transport, OPEN, 0);
    }

    fn frame_received(&mut self, transport: &FrameTransport<AgentX>, response: Pdu) {
        assert_eq!((response.kind, response.session), (RESPONSE, self.number + 1000));
        assert_eq!((response.transaction, response.packet), (self.number, self.packet));
        if self.packet > PINGS {
            transport.transport().close();
        } else {
            self.ask(transport, PING, response.session);
        }
    }

    fn connection_lost(&mut self, reason: io::Result<()>) {
        let _ = self.done.try_put(reason.map(|()| self.packet));
    }
}

fn main() -> io::Result<()> {
    overlapped::run(|| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let master = listener.local_addr()?;
        reactor::listen(listener, || Frames::new(AgentX::new(), Master::default()))?;
        let done = Queue::new();
        for number in 0..SUBAGENTS {
            let subagent = Subagent { number, packet: 0, done: done.clone() };
            reactor::connect(master, Frames::new(AgentX::new(), subagent))?;
        }
        let mut units = 0;
        for _ in 0..SUBAGENTS {
            units += done.get().expect("nobody closes it")?;
        }
        println!("agentx: {SUBAGENTS} subagents, {units} units answered, on one thread");
        Ok(())
    })
}
