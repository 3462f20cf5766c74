//! A participant that does nothing, in one thread: it speaks the protocol itself. The crate for
//! authors has a second one, which listens while the first works.

use linux::fd;
use participant::protocol::{DESCRIPTOR, FromParticipant, ToParticipant, Told, VERSION};
use std::process::ExitCode;

/// Bytes read at once.
const ROOM: usize = 64 << 10;

fn main() -> ExitCode {
    let mut room = vec![0; ROOM];
    let mut waiting = Vec::new();
    let mut answer = Vec::new();
    while let Ok(n @ 1..) = fd::read(DESCRIPTOR, &mut room) {
        waiting.extend_from_slice(&room[..n]);
        let mut rest = waiting.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            answer.clear();
            if !hear(&rest[..end], &mut answer) {
                return ExitCode::SUCCESS;
            }
            if fd::write_all(DESCRIPTOR, &answer).is_err() {
                return ExitCode::from(111);
            }
            rest = &rest[end + 1..];
        }
        waiting.drain(..waiting.len() - rest.len());
    }
    ExitCode::SUCCESS
}

/// Answers a line; returns whether there will be others.
fn hear(line: &[u8], answer: &mut Vec<u8>) -> bool {
    let Ok(told) = Told::read(line) else { return true };
    match told.message() {
        Ok(ToParticipant::Start { protocol, .. }) => {
            FromParticipant::Hello { protocol: protocol.min(VERSION) }.write(answer);
        }
        Ok(ToParticipant::Work { id, .. }) => {
            FromParticipant::Result { id, item: None, forget: false }.write(answer);
        }
        Ok(ToParticipant::Shutdown) => return false,
        _ => {}
    }
    true
}
