//! A TCP proxy that does on command what networks do: drops, delays, resets, goes silent.

use crate::wait::holds_within;
use nix::sys::socket::{setsockopt, sockopt};
use std::collections::HashSet;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// Bytes of a frame of AMQP before what it says; behind that there is one.
const HEAD: usize = 7;

/// How soon a command is heeded by a connection that nothing comes from.
const LOOK: Duration = Duration::from_millis(20);

/// Bytes that wait on a slow way.
const ROOM: usize = 64 << 10;

/// What becomes of bytes and connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All goes through.
    Pass,
    /// Bytes go through this much later.
    Delay(Duration),
    /// So many bytes a second go through in each direction. Who connects meanwhile finds no room for many
    /// more on the way.
    Slow(u32),
    /// Who connects is turned away at once. What is connected stays.
    Refuse,
    /// Nothing goes through, and nobody is told. A connection that lost a byte like this never
    /// comes back.
    Silent,
    /// The same, but only what the server says is lost.
    HalfOpen,
    /// All goes through but the messages that a server of AMQP delivers: who consumes hears nothing of them.
    Starved,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

struct Shared {
    mode: Mutex<Mode>,
    changed: Condvar,
    /// So many frames of AMQP still go through; `None` = all.
    left: Mutex<Option<usize>>,
    /// Connections of earlier numbers are to end; so much was asked for so far.
    ended: AtomicUsize,
    /// They end with a reset.
    reset: AtomicBool,
    is_over: AtomicBool,
    accepted: AtomicUsize,
    /// Connections that were turned away.
    refused: AtomicUsize,
    /// Pieces of what was said that were lost.
    lost: AtomicUsize,
    open: AtomicUsize,
}

impl Shared {
    fn mode(&self) -> MutexGuard<'_, Mode> {
        self.mode.lock().expect("no panic")
    }

    fn left(&self) -> MutexGuard<'_, Option<usize>> {
        self.left.lock().expect("no panic")
    }

    /// All connections that there are come to their end.
    fn end(&self, reset: bool) {
        self.reset.store(reset, Ordering::SeqCst);
        self.ended.store(self.accepted.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

/// The proxy. Ends with all connections when it is dropped.
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl Proxy {
    /// Listens on a port of its own at 127.0.0.1 for who wants to talk to `port` there.
    ///
    /// # Panics
    /// Where it cannot listen.
    #[must_use]
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind");
        let address = listener.local_addr().expect("address");
        let shared = Arc::new(Shared {
            mode: Mutex::new(Mode::Pass),
            changed: Condvar::new(),
            left: Mutex::new(None),
            ended: AtomicUsize::new(0),
            reset: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            accepted: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        });
        let for_thread = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, port, &for_thread));
        Self { shared, address }
    }

    /// Returns the port that it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// Does this from now on.
    pub fn set(&self, mode: Mode) {
        *self.shared.mode() = mode;
        self.shared.changed.notify_all();
    }

    /// Ends all connections in good order, as a server does that stops.
    pub fn cut(&self) {
        self.end(false);
    }

    /// Resets all connections.
    pub fn reset(&self) {
        self.end(true);
    }

    fn end(&self, reset: bool) {
        self.shared.end(reset);
        self.shared.changed.notify_all();
        assert!(
            holds_within(Duration::from_secs(10), || self.shared.open.load(Ordering::SeqCst) == 0
                || self.accepted() > self.shared.ended.load(Ordering::SeqCst)),
            "connections do not end"
        );
    }

    /// Ends all connections in good order once so many more frames of AMQP, one at least, have gone
    /// through in whichever direction. What comes behind the last of them is lost.
    pub fn cut_after(&self, frames: usize) {
        *self.shared.left() = Some(frames.max(1));
    }

    /// Tells whether it has come to that, and takes it back where it has not.
    #[must_use]
    pub fn was_cut(&self) -> bool {
        self.shared.left().take().is_none()
    }

    /// Returns how often somebody who connects was turned away, or what was said was lost.
    #[must_use]
    pub fn harmed(&self) -> usize {
        let Shared { refused, lost, .. } = &*self.shared;
        refused.load(Ordering::SeqCst) + lost.load(Ordering::SeqCst)
    }

    /// Returns how many connections there have been.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.shared.ended.store(usize::MAX, Ordering::SeqCst);
        self.shared.changed.notify_all();
        // Wakes who waits for the next connection.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, port: u16, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.is_over.load(Ordering::SeqCst) {
            return;
        }
        let Ok(client) = client else { continue };
        if *shared.mode() == Mode::Refuse {
            shared.refused.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
        let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
        let is_slow = matches!(*shared.mode(), Mode::Slow(_));
        for stream in [&client, &server] {
            let _ = stream.set_nodelay(true);
            let _ = stream.set_read_timeout(Some(LOOK));
            if is_slow {
                // What waits here would have arrived, as its sender sees it.
                let _ = setsockopt(stream, sockopt::RcvBuf, &ROOM);
                let _ = setsockopt(stream, sockopt::SndBuf, &ROOM);
            }
        }
        let is_lost = Arc::new(AtomicBool::new(false));
        let ends = [
            (client.try_clone().expect("dup"), server.try_clone().expect("dup"), Way::ToServer),
            (server, client, Way::ToClient),
        ];
        for (from, to, way) in ends {
            let (shared, is_lost) = (Arc::clone(shared), Arc::clone(&is_lost));
            shared.open.fetch_add(1, Ordering::SeqCst);
            thread::spawn(move || {
                let pump = Pump { shared: &shared, number, way, is_lost: &is_lost };
                pump.run(&from, &to);
                if shared.reset.load(Ordering::SeqCst) && pump.is_to_end() {
                    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
                    let _ = setsockopt(&from, sockopt::Linger, &linger);
                    let _ = setsockopt(&to, sockopt::Linger, &linger);
                } else {
                    let _ = to.shutdown(Shutdown::Both);
                    let _ = from.shutdown(Shutdown::Both);
                }
                drop((from, to));
                shared.open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    }
}

/// One direction of a connection.
struct Pump<'a> {
    shared: &'a Shared,
    number: usize,
    way: Way,
    /// The connection lost a byte, and goes on losing all.
    is_lost: &'a AtomicBool,
}

impl Pump<'_> {
    fn is_to_end(&self) -> bool {
        self.number < self.shared.ended.load(Ordering::SeqCst)
    }

    fn run(&self, mut from: &TcpStream, to: &TcpStream) {
        let mut room = [0; 16 << 10];
        let mut frames = Frames::default();
        let mut fewer: Option<Fewer> = None;
        while !self.is_to_end() {
            match from.read(&mut room) {
                Ok(0) => return,
                Ok(n) if self.loses(n) => {
                    self.shared.lost.fetch_add(1, Ordering::SeqCst);
                }
                Ok(n) => {
                    let starves = *self.shared.mode() == Mode::Starved && self.way == Way::ToClient;
                    if starves && frames.is_between() {
                        fewer.get_or_insert_default();
                    }
                    let left = fewer.as_mut().map(|fewer| fewer.of(&room[..n], starves));
                    let said = left.as_deref().unwrap_or(&room[..n]);
                    if !self.pass(&mut frames, said, to).is_ok_and(|goes_on| goes_on) {
                        return;
                    }
                }
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return,
            }
        }
    }

    /// Passes on what was said; tells whether more of it may come.
    fn pass(&self, frames: &mut Frames, said: &[u8], mut to: &TcpStream) -> io::Result<bool> {
        let mut left = self.shared.left();
        if self.is_to_end() {
            return Ok(false);
        }
        let ends = (1..=said.len()).filter(|n| frames.end_with(said[n - 1]));
        let ends: Vec<usize> = ends.collect();
        let Some(count) = *left else {
            drop(left);
            return to.write_all(said).map(|()| true);
        };
        // Nothing goes through in the other direction meanwhile: the last one is the last.
        let Some(last) = ends.get(count - 1) else {
            *left = Some(count - ends.len());
            return to.write_all(said).map(|()| true);
        };
        *left = None;
        let passed = to.write_all(&said[..*last]);
        self.shared.end(false);
        passed.map(|()| false)
    }

    /// Waits as long as so many bytes are delayed; tells whether they are lost.
    fn loses(&self, bytes: usize) -> bool {
        let mode = self.shared.mode();
        match *mode {
            Mode::Silent => self.is_lost.store(true, Ordering::SeqCst),
            Mode::HalfOpen if self.way == Way::ToClient => return true,
            Mode::Delay(time) => self.wait(mode, time),
            Mode::Slow(rate) => self.wait(mode, Duration::from_secs(bytes as u64) / rate),
            Mode::Pass | Mode::Refuse | Mode::HalfOpen | Mode::Starved => {}
        }
        self.is_lost.load(Ordering::SeqCst)
    }

    /// Waits for so long, or until the mode changes.
    fn wait(&self, mode: MutexGuard<'_, Mode>, time: Duration) {
        let this = *mode;
        let still = |mode: &mut Mode| *mode == this && !self.is_to_end();
        drop(self.shared.changed.wait_timeout_while(mode, time, still));
    }
}

/// Finds where frames of AMQP 0-9-1 end in what is said in one direction.
#[derive(Default)]
struct Frames {
    /// Of the frame that is being said: kind, channel and length.
    head: Vec<u8>,
    /// Bytes of it that come behind that.
    rest: usize,
}

impl Frames {
    fn is_between(&self) -> bool {
        self.head.is_empty()
    }

    /// Takes the next byte; tells whether a frame ends with it.
    fn end_with(&mut self, byte: u8) -> bool {
        if self.head.len() < HEAD {
            self.head.push(byte);
            if let [kind, _, _, length @ ..] = &self.head[..]
                && let Ok(length) = <[u8; 4]>::try_from(length)
            {
                // The first thing that is said is no frame, but `AMQP` and a version, 8 bytes.
                let is_first = *kind == b'A';
                self.rest = if is_first { 1 } else { u32::from_be_bytes(length) as usize + 1 };
            }
            return false;
        }
        self.rest -= 1;
        if self.rest == 0 {
            self.head.clear();
        }
        self.rest == 0
    }
}

/// Leaves out messages that are delivered: the frame of the method, and those of its content.
#[derive(Default)]
struct Fewer {
    frames: Frames,
    /// The beginning of a frame of which it is not decided yet.
    begin: Vec<u8>,
    is_left_out: Option<bool>,
    /// Channels on which a content is being left out.
    channels: HashSet<[u8; 2]>,
}

impl Fewer {
    /// Returns what is left. `starves`: deliveries that begin now are not.
    fn of(&mut self, said: &[u8], starves: bool) -> Vec<u8> {
        /// Kind, channel, length, and the numbers of class and method.
        const ENOUGH: usize = HEAD + 4;
        let mut left = Vec::new();
        for &byte in said {
            let is_end = self.frames.end_with(byte);
            self.begin.push(byte);
            if self.is_left_out.is_none() && (is_end || self.begin.len() == ENOUGH) {
                self.is_left_out = Some(self.decide(starves));
            }
            match self.is_left_out {
                Some(true) => self.begin.clear(),
                Some(false) => left.append(&mut self.begin),
                None => {}
            }
            if is_end {
                self.is_left_out = None;
            }
        }
        left
    }

    fn decide(&mut self, starves: bool) -> bool {
        /// Class basic, method deliver.
        const DELIVER: &[u8] = &[0, 60, 0, 60];
        let [kind, high, low, ..] = self.begin[..] else { return false };
        let channel = [high, low];
        match kind {
            1 if starves && self.begin.get(HEAD..) == Some(DELIVER) => {
                self.channels.insert(channel);
                true
            }
            1 => {
                self.channels.remove(&channel);
                false
            }
            2 | 3 => self.channels.contains(&channel),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo() -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind");
        let port = listener.local_addr().expect("address").port();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || {
                    let mut from = stream.try_clone().expect("dup");
                    let mut to = stream;
                    let _ = io::copy(&mut from, &mut to);
                });
            }
        });
        port
    }

    fn said(stream: &mut TcpStream) -> io::Result<u8> {
        stream.write_all(b"x")?;
        let mut byte = [0];
        stream.read_exact(&mut byte).map(|()| byte[0])
    }

    fn client(proxy: &Proxy) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", proxy.port())).expect("connect");
        stream.set_read_timeout(Some(Duration::from_millis(500))).expect("timeout");
        stream
    }

    #[test]
    fn bytes_go_through_until_they_are_delayed_lost_cut_or_reset() {
        let proxy = Proxy::to(echo());
        let mut stream = client(&proxy);
        assert_eq!(said(&mut stream).expect("echo"), b'x');
        proxy.set(Mode::Delay(Duration::from_millis(50)));
        let begun = std::time::Instant::now();
        assert_eq!(said(&mut stream).expect("echo"), b'x');
        assert!(begun.elapsed() >= Duration::from_millis(100), "both ways");
        proxy.set(Mode::Silent);
        assert_eq!(said(&mut stream).expect_err("lost").kind(), ErrorKind::WouldBlock);
        proxy.set(Mode::Pass);
        assert_eq!(said(&mut stream).expect_err("lost").kind(), ErrorKind::WouldBlock);
        let mut stream = client(&proxy);
        assert_eq!(said(&mut stream).expect("echo"), b'x');
        proxy.cut();
        assert!(said(&mut stream).is_err());
        let mut stream = client(&proxy);
        assert_eq!(said(&mut stream).expect("echo"), b'x');
        proxy.reset();
        let ended = stream.read(&mut [0]).expect_err("reset");
        assert_eq!(ended.kind(), ErrorKind::ConnectionReset);
        proxy.set(Mode::Refuse);
        assert!(said(&mut client(&proxy)).is_err());
        assert_eq!(proxy.accepted(), 3);
    }

    /// Says a frame, and something behind it; returns how much of both comes back.
    fn echoed(stream: &mut TcpStream, behind: &[u8]) -> usize {
        let frame = [1, 0, 1, 0, 0, 0, 2, b'h', b'i', 0xce];
        stream.write_all(&[&frame, behind].concat()).expect("say");
        let mut back = [0; 64];
        let mut count = 0;
        while count < frame.len() + behind.len() {
            match stream.read(&mut back) {
                Ok(0) | Err(_) => break,
                Ok(n) => count += n,
            }
        }
        count
    }

    #[test]
    fn a_connection_ends_behind_a_frame_of_amqp_in_either_direction() {
        let proxy = Proxy::to(echo());
        let mut stream = client(&proxy);
        stream.write_all(b"AMQP\0\0\x09\x01").expect("say");
        stream.read_exact(&mut [0; 8]).expect("echo");
        proxy.cut_after(3);
        assert_eq!(echoed(&mut stream, b""), 10);
        assert!(!proxy.was_cut());
        // There and back is the second: what stands behind the first goes there, and does not come back.
        proxy.cut_after(2);
        assert_eq!(echoed(&mut stream, &[1, 0]), 10);
        assert!(proxy.was_cut());
        for frames in [1, 2] {
            let mut stream = client(&proxy);
            proxy.cut_after(frames);
            stream.write_all(b"AMQP\0\0\x09\x01").expect("say");
            let came_back = stream.read_exact(&mut [0; 8]).is_ok();
            assert_eq!((came_back, stream.read(&mut [0]).ok()), (frames == 2, Some(0)));
            assert!(proxy.was_cut());
        }
    }

    #[test]
    fn of_what_a_server_says_deliveries_are_left_out_and_nothing_else() {
        let frame = |kind: u8, channel: u8, says: &[u8]| {
            [&[kind, 0, channel, 0, 0, 0, says.len() as u8], says, &[0xce]].concat()
        };
        let deliver = |channel| {
            let parts = [
                frame(1, channel, &[0, 60, 0, 60, 7, 8]),
                frame(2, channel, b"h"),
                frame(3, channel, b"body"),
            ];
            parts.concat()
        };
        let others = [
            frame(8, 0, b""),
            frame(1, 1, &[0, 60, 0, 80]),
            frame(1, 2, &[0, 60, 0, 71]),
            frame(2, 2, b"h"),
        ];
        let [beat, ack, get, header] = &others;
        let said = [beat, &deliver(1)[..], ack, get, &deliver(1), header, &deliver(3)].concat();
        for size in 1..=said.len() {
            let mut fewer = Fewer::default();
            let left: Vec<u8> = said.chunks(size).flat_map(|part| fewer.of(part, true)).collect();
            assert_eq!(left, others.concat(), "{size}");
            let mut all = Fewer::default();
            let left: Vec<u8> = said.chunks(size).flat_map(|part| all.of(part, false)).collect();
            assert_eq!(left, said, "{size}");
        }
    }
}
