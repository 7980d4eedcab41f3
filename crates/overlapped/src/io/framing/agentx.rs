//! AgentX, the protocol between an SNMP agent and its subagents (RFC 2741): the worked example of a header that has a
//! length in it, and says itself in which order its bytes are.

use super::codec::{Codec, DEFAULT_LIMIT, FrameError, check};

/// Of the header, in bytes (section 6.1).
const HEADER: usize = 20;
/// The only version.
const VERSION: u8 = 1;
/// The flag `NETWORK_BYTE_ORDER`: numbers have their highest byte first.
const NETWORK_BYTE_ORDER: u8 = 0x10;

/// AgentX's protocol data units. Read in either order of bytes, and written in the one that their flags say.
#[derive(Clone, Debug)]
pub struct AgentX {
    limit: usize,
}

/// One protocol data unit: its header (RFC 2741, section 6.1), and its payload as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pdu {
    /// What it is: 1 for agentx-Open-PDU, …, 18 for agentx-Response-PDU.
    pub kind: u8,
    /// Its flags; the bit 0x10 says that its numbers, the payload's too, have their highest byte first.
    pub flags: u8,
    /// The session.
    pub session: u32,
    /// The transaction.
    pub transaction: u32,
    /// The packet within the session, which the response repeats.
    pub packet: u32,
    /// What follows the header: a multiple of four bytes.
    pub payload: Vec<u8>,
}

impl AgentX {
    /// Units whose payload has at most 1 MiB.
    pub fn new() -> AgentX {
        AgentX { limit: DEFAULT_LIMIT }
    }

    /// Allows payloads of at most `bytes`.
    pub fn limit(mut self, bytes: usize) -> AgentX {
        self.limit = bytes;
        self
    }

    fn check(&self, length: u64) -> Result<(), FrameError> {
        if !length.is_multiple_of(4) {
            return Err(FrameError::Malformed("an AgentX payload is a multiple of four bytes"));
        }
        check(length, self.limit)
    }
}

impl Default for AgentX {
    fn default() -> AgentX {
        AgentX::new()
    }
}

impl Codec for AgentX {
    type Frame = Pdu;
    type Written = Pdu;

    fn decode(&mut self, bytes: &[u8], _seen: usize) -> Result<Option<(Pdu, usize)>, FrameError> {
        if bytes.first().is_some_and(|version| *version != VERSION) {
            return Err(FrameError::Malformed("AgentX of a version that is not 1"));
        }
        let Some((&[_, kind, flags, _, ref numbers @ ..], rest)) = bytes.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let number = |at: usize| {
            let four = [numbers[4 * at], numbers[4 * at + 1], numbers[4 * at + 2], numbers[4 * at + 3]];
            if flags & NETWORK_BYTE_ORDER == 0 { u32::from_le_bytes(four) } else { u32::from_be_bytes(four) }
        };
        let length = number(3);
        self.check(length.into())?;
        let Some(payload) = rest.get(..length as usize) else { return Ok(None) };
        let (session, transaction, packet) = (number(0), number(1), number(2));
        Ok(Some((Pdu { kind, flags, session, transaction, packet, payload: payload.to_vec() }, HEADER + payload.len())))
    }

    fn encode(&mut self, pdu: &Pdu, bytes: &mut Vec<u8>) -> Result<(), FrameError> {
        self.check(pdu.payload.len() as u64)?;
        let length = u32::try_from(pdu.payload.len())
            .map_err(|_| FrameError::TooLong { length: pdu.payload.len() as u64, limit: u32::MAX as usize })?;
        bytes.extend_from_slice(&[VERSION, pdu.kind, pdu.flags, 0]);
        for number in [pdu.session, pdu.transaction, pdu.packet, length] {
            let in_network_order = pdu.flags & NETWORK_BYTE_ORDER != 0;
            bytes.extend(if in_network_order { number.to_be_bytes() } else { number.to_le_bytes() });
        }
        bytes.extend_from_slice(&pdu.payload);
        Ok(())
    }
}
