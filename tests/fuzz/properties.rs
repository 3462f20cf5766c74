//! What must hold for any bytes: no parser panics, and what one understands survives a round trip.
//!
//! Used by the fuzz targets beside this and by tests/tests/parsers.rs.

use exo::control::Request;
use exo::order::{Order, Report};
use machine::queue::Queue;
use machine::supervise::{Action, Actions, Event, Kill, Machine, Obstacle, Restored, Which};
use machine::time::Mono;
use multilog::lines::{Lines, Sink};
use multilog::pattern::{self, Kind};
use multilog::script::Script;
use multilog::stamp::Lead;
use ondisk::control::{COMMANDS, Command, Signal};
use ondisk::envfile::{self, Value};
use ondisk::names;
use ondisk::record::{Exit, Phase, Record};
use ondisk::status::{State, Status, Want};
use participant::protocol::{FromParticipant, ToParticipant, Told};
use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::sync::{Mutex, PoisonError};
use work::NewJob;
use work::item::{self, ErrorReply};

/// A status file.
pub(crate) fn status(bytes: &[u8]) {
    let read = Status::from_bytes(bytes);
    assert_eq!(read.is_some(), bytes.len() >= Status::LEN);
    let Some(read) = read else { return };
    let written = read.to_bytes();
    let again = Status::from_bytes(&written).expect("18 bytes");
    // A service that is down is not paused, whatever the file said.
    assert_eq!(again, Status { paused: read.paused && read.pid != 0, ..read });
    assert_eq!(again.to_bytes(), written);
    let state = State::from_byte(bytes.get(18).copied().unwrap_or(0)).unwrap_or(State::Stopped);
    assert_eq!(Status::from_bytes(&read.to_encore_bytes(state)), Some(again));
    let label = read.since.to_label();
    assert!(label[1..].iter().all(u8::is_ascii_hexdigit));
    assert_eq!(read.since.seconds_until(read.since), 0);
}

/// A record: as it is, and as the body of one that has magic and checksum.
pub(crate) fn record(bytes: &[u8]) {
    if let Some(read) = Record::from_bytes(bytes) {
        assert_eq!(Record::from_bytes(&read.to_bytes()), Some(read));
    }
    let mut whole = [0; Record::LEN];
    for (to, from) in whole[16..].iter_mut().zip(bytes) {
        *to = *from;
    }
    let sum = whole[16..].iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    whole[..8].copy_from_slice(b"skynrec\x01");
    whole[8..16].copy_from_slice(&sum.to_le_bytes());
    let read = Record::from_bytes(&whole);
    // The phase and the kind of the last exit are the only bytes that can be wrong.
    assert_eq!(read.is_some(), whole[108] < 7 && whole[111] < 5);
    let Some(read) = read else { return };
    assert_eq!(Record::from_bytes(&read.to_bytes()), Some(read));
    let _ = read.process.matches(u64::from(whole[0]));
    whole[usize::from(whole[16]) % Record::LEN] ^= 1;
    assert_eq!(Record::from_bytes(&whole), None, "a changed bit is noticed");
}

/// A pattern of multilog's, up to the first newline, and a line behind it. The first byte chooses the
/// kind, the second where the line is cut in two: that makes no difference.
pub(crate) fn pattern(bytes: &[u8]) {
    let &[kind, cut, ref rest @ ..] = bytes else { return };
    let kind = if kind & 1 == 0 { Kind::Simple } else { Kind::Shell };
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let (pattern, line) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
    let line = &line[..line.len().min(1000)];
    let matches = pattern::matches(kind, pattern, [&[], line]);
    let cut = line.split_at(usize::from(cut).min(line.len()));
    assert_eq!(pattern::matches(kind, pattern, [cut.0, cut.1]), matches);
    match kind {
        Kind::Simple => assert_eq!(matches, simple(pattern, line)),
        // A star takes any beginning; what stands behind it is judged as without.
        Kind::Shell if pattern.first() == Some(&b'*') => {
            let any = |from| pattern::matches(kind, &pattern[1..], [&[], &line[from..]]);
            assert_eq!(matches, (0..=line.len()).any(any));
        }
        Kind::Shell if !pattern.iter().any(|byte| b"*?[\\".contains(byte)) => {
            assert_eq!(matches, pattern == line);
        }
        Kind::Shell => {}
    }
}

/// A script of multilog's, a word a line, up to an empty line, and lines behind it. What is a mistake
/// is told with the word it is in; else the first log gets the lines that the words before it select,
/// whatever pieces they come in (some times the last word).
pub(crate) fn script(bytes: &[u8]) {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap_or(bytes.len());
    let words: Vec<&'static CStr> = bytes[..end].split(|byte| *byte == b'\n').map(word).collect();
    let raw = bytes.get(end + 2..).unwrap_or_default();
    let find = |i: usize| words.get(i.checked_sub(1)?).copied();
    let mut script = Script::new(&find);
    let mut actions = Vec::new();
    let wrong = loop {
        match script.action() {
            Ok(Some(action)) => actions.push(action),
            Ok(None) => break None,
            Err((word, why)) => break Some((word, why)),
        }
    };
    let telling = |word: &&&CStr| word.to_bytes().first().is_some_and(|c| b"-+e=./".contains(c));
    if let Some((word, why)) = wrong {
        assert!(words.contains(&word) && !why.is_empty());
        assert!(matches!(word.to_bytes(), [b':' | b'w', ..]), "{word:?}: {why}");
        return;
    }
    assert_eq!(actions.len(), words.iter().filter(telling).count());
    let whole = script.whole();
    let lead = Lead::new(whole.stamp, whole.prefix);
    assert!(lead.bytes().len() <= 228);
    for action in &actions {
        if let multilog::script::Action::Log(_, settings) = action {
            assert!(settings.size >= 4096 && settings.keep >= 2);
            assert!(settings.code.as_bytes() != b"u" && !settings.code.as_bytes().contains(&b'/'));
        }
    }
    let piece = words.last().map_or(1, |word| 8 * word.to_bytes().len().max(1));
    let got = logged(&actions, lead.bytes(), raw, piece);
    assert!(got == selected(&actions, lead.bytes(), raw), "{words:?}");
}

/// Returns a word that lives on: each only once.
fn word(bytes: &[u8]) -> &'static CStr {
    static KNOWN: Mutex<BTreeSet<&'static CStr>> = Mutex::new(BTreeSet::new());
    let text: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != 0).collect();
    let text = CString::new(text).expect("no NUL");
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.get(text.as_c_str()).copied().unwrap_or_else(|| {
        let new: &'static CStr = Box::leak(text.into_boxed_c_str());
        known.insert(new);
        new
    })
}

/// What the first log gets of `raw`, which comes in pieces.
fn logged(actions: &[multilog::script::Action], lead: &[u8], raw: &[u8], piece: usize) -> Vec<u8> {
    let (mut lines, mut log) = (Lines::default(), FirstLog::default());
    let (mut from, mut to) = (0, 0);
    loop {
        let at_end = to == raw.len();
        let n = lines.feed(actions, lead, &raw[from..to], at_end, &mut log);
        from += n;
        if at_end && n == 0 {
            assert_eq!((from, lines.in_line), (raw.len(), false));
            return log.text;
        }
        to = raw.len().min(to + piece);
    }
}

/// The same, line by line after multilog(8): the first 1000 bytes of a line are matched.
fn selected(actions: &[multilog::script::Action], lead: &[u8], raw: &[u8]) -> Vec<u8> {
    use multilog::script::Action::{Alert, Log, Select, Status};
    let mut text = Vec::new();
    let lines = raw.strip_suffix(b"\n").unwrap_or(raw);
    for line in lines.split(|byte| *byte == b'\n').filter(|_| !raw.is_empty()) {
        let head = &line[..line.len().min(1000 - lead.len())];
        let mut is_selected = true;
        for action in actions {
            match action {
                Select(to, kind, pattern) if pattern::matches(*kind, pattern, [lead, head]) => {
                    is_selected = *to;
                }
                Select(..) | Alert | Status(_) => {}
                Log(..) => {
                    if is_selected {
                        text.extend([lead, line, b"\n"].concat());
                    }
                    break;
                }
            }
        }
    }
    text
}

/// Takes what the first log gets.
#[derive(Default)]
struct FirstLog {
    text: Vec<u8>,
    goes_on: bool,
}

impl Sink for FirstLog {
    fn room(&self) -> usize {
        usize::MAX
    }

    fn head(&mut self, log: usize, line: [&[u8]; 2], ends: bool) {
        if log == 0 {
            self.text.extend(line.concat());
            self.goes_on = !ends;
            self.text.extend(ends.then_some(b'\n'));
        }
    }

    fn rest(&mut self, bytes: &[u8], ends: bool) {
        if self.goes_on {
            self.text.extend(bytes);
            self.text.extend(ends.then_some(b'\n'));
            self.goes_on = !ends;
        }
    }

    fn alert(&mut self, line: [&[u8]; 2]) {
        assert!(line.concat().len() <= 1000);
    }

    fn status(&mut self, _: usize, line: [&[u8]; 2]) {
        assert!(line.concat().len() <= 1000);
    }

    fn whole(&mut self, _: &[u8], _: &[u8], _: usize) -> usize {
        0
    }
}

/// The rule of multilog(8): a star before a byte matches the run up to the first such byte, which
/// must come; a star at the end everything; any other byte itself.
fn simple(mut pattern: &[u8], mut line: &[u8]) -> bool {
    while let [first, after @ ..] = pattern {
        match (first, after.first()) {
            (b'*', None) => return true,
            (b'*', Some(stop)) => match line.iter().position(|byte| byte == stop) {
                Some(at) => line = &line[at..],
                None => return false,
            },
            (byte, _) if line.first() == Some(byte) => line = &line[1..],
            _ => return false,
        }
        pattern = after;
    }
    line.is_empty()
}

/// A participant's configuration: what is wrong with it is told in one line each, with a place; what
/// is good says the same when it is read as it is shown.
pub(crate) fn configuration(bytes: &[u8]) {
    match exo::config::read_text(bytes, "fuzz") {
        Err(problems) => {
            assert!(!problems.is_empty());
            let lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).count();
            for problem in problems {
                let at = problem.at.map_or(1, |at| at.line);
                assert!((1..=lines + 1).contains(&at), "{problem} of {lines} lines");
                assert!(!problem.why.is_empty());
            }
        }
        Ok(settings) => {
            let text = exo::config::effective(&settings);
            let mut keys: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(&text).expect("JSON");
            // Those of the site, and what JSON's own types would spoil.
            for key in
                ["worker-user", "store", "safety", "keep", "keep-size", "spool", "run", "config"]
            {
                keys.remove(key);
            }
            let own = serde_json::to_string(&keys).expect("JSON");
            let config = settings.config.get();
            let own = format!("{},\"config\":{config}}}", &own[..own.len() - 1]);
            // JSON is YAML.
            let again = exo::config::read_text(own.as_bytes(), "fuzz").expect(&own);
            assert_eq!(exo::config::effective(&again), text);
        }
    }
}

/// What a participant says, and what it is told: what is understood is said again in one line, which
/// means the same.
pub(crate) fn words(bytes: &[u8]) {
    let said = |message: FromParticipant<'_>| {
        let mut line = Vec::new();
        message.write(&mut line);
        line
    };
    if let Ok(message) = FromParticipant::read(bytes) {
        if let FromParticipant::Fault { code, .. } = &message {
            assert!((1..900).contains(code));
        }
        let line = said(message);
        assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
        let again = FromParticipant::read(&line).expect("what was understood");
        assert_eq!(said(again), line);
    }
    let told = |message: ToParticipant<'_>| {
        let mut line = Vec::new();
        message.write(&mut line);
        line
    };
    let Ok(told_line) = Told::read(bytes) else { return };
    if let Ok(message) = told_line.message() {
        let line = told(message);
        assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
        let again = Told::read(&line).expect("what was understood");
        assert_eq!(told(again.message().expect("a message")), line);
    }
}

/// What exo's worker orders its keeper, who has rights that it has not, and what it hears of it: an
/// order is these bytes and no others.
pub(crate) fn order(bytes: &[u8]) {
    if let Some(order) = Order::decode(bytes) {
        assert_eq!(order.encode().as_deref(), Some(bytes));
        assert!(bytes.len() <= exo::order::LONGEST);
        if let Order::Start(start) = order {
            for text in [start.wfid, start.attempt, start.stage] {
                assert!(text.len() <= exo::order::TEXT && !text.contains(char::is_control));
            }
        }
    }
    if let Some(report) = Report::decode(bytes) {
        assert_eq!(Report::decode(&report.encode()), Some(report));
    }
}

/// A question to exo's control socket.
pub(crate) fn request(bytes: &[u8]) {
    match Request::read(bytes) {
        Ok(request) => {
            let line = request.line();
            assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
            assert_eq!(Request::read(&line), Ok(request));
        }
        Err(why) => assert!(why.starts_with("not understood: ")),
    }
}

/// A file from a drop folder, or an item that is forwarded: as it came, or in an envelope. What is
/// taken keeps its name, in the answer to its sender as well.
pub(crate) fn item(bytes: &[u8]) {
    const LIMIT: usize = 1 << 12;
    let Ok(job) = NewJob::from_item("q", bytes.to_vec(), LIMIT, "unnamed") else { return };
    assert!(job.item.len() <= LIMIT && job.queue == "q");
    let named = item::identity(&job.item, LIMIT).expect("what was taken");
    let (wfid, rest) = named.map_or_else(Default::default, |named| (named.wfid, named.rest));
    assert_eq!(job.wfid, wfid);
    assert!(job.identity == rest || rest.is_empty() && job.identity == "unnamed");
    let error = ErrorReply { class: "E", message: "\u{1}\"", trace: &["a\nb".to_owned()] };
    if let Some(answer) = item::with_error(&job.item, error, 2 * LIMIT) {
        let told = item::identity(&answer, 2 * LIMIT).expect("an item");
        let told = told.map_or_else(Default::default, |named| (named.wfid, named.rest));
        assert_eq!(told, (wfid, rest));
    }
}

/// Bytes from a control FIFO, and what supervise's machine makes of them.
pub(crate) fn control(bytes: &[u8]) {
    let (&first, commands) = bytes.split_first().unwrap_or((&0, &[]));
    for byte in commands {
        let known = COMMANDS.iter().any(|(letter, _)| letter == byte);
        assert_eq!(Command::from_byte(*byte).is_some(), known);
    }
    let mut world = World::new(first);
    for burst in commands.chunks(16) {
        for command in burst.iter().filter_map(|byte| Command::from_byte(*byte)) {
            world.happens(Event::Command(Which::Service, command));
        }
        if burst.len() < 16 {
            world.happens(Event::BurstOver(Which::Service));
        }
        world.time_passes(u64::from(burst[0]) << 22);
    }
    // Whatever was said before: told to go down and to end, it ends.
    for letter in *b"=ldkx" {
        let command = Command::from_byte(letter).expect("a letter");
        world.happens(Event::Command(Which::Service, command));
    }
    world.happens(Event::Terminate);
    for _ in 0..64 {
        world.time_passes(1 << 33);
    }
    assert!(world.machine.is_finished(), "{:?}", world.machine);
}

/// A supervise whose every action succeeds or fails as the first byte of the input says.
struct World {
    machine: Machine,
    now: u64,
    first: u8,
    /// What is there, dead or alive, until its end is told: a signal may be sent to nothing else.
    there: [bool; 2],
    /// Its end is about to be told.
    dead: [bool; 2],
}

impl World {
    fn new(first: u8) -> Self {
        let machine = Machine::new(first & 1 != 0);
        let mut world = Self { machine, now: 0, first, there: [false; 2], dead: [false; 2] };
        world.happens(world.joined(Which::Service));
        world
    }

    fn joined(&self, which: Which) -> Event {
        let restored = Restored {
            want: if self.first & 2 == 0 { Want::Up } else { Want::Down },
            phase: if self.first & 2 == 0 { Phase::Due } else { Phase::Down },
            paused: false,
            exit_asked: false,
            stopping: false,
            begun: false,
            started: None,
        };
        Event::Joined(which, restored)
    }

    fn happens(&mut self, event: Event) {
        let mut events: Queue<Event, 48> = Queue::default();
        let mut actions = Actions::default();
        events.push(event);
        while let Some(event) = events.pop() {
            if let Event::Died { which, .. } = event {
                (self.there[which as usize], self.dead[which as usize]) = (false, false);
            }
            self.machine.step(event, Mono(self.now), &mut actions);
            while let Some(action) = actions.pop() {
                if let Some(answer) = self.perform(action) {
                    events.push(answer);
                }
            }
        }
    }

    fn perform(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Launch(which, _) => {
                assert!(!self.there[which as usize], "a second process");
                let obstacle = match self.first >> 2 & 3 {
                    0 => Obstacle::Absent,
                    1 => Obstacle::NoProcess,
                    _ => {
                        self.there[which as usize] = true;
                        return Some(Event::Launched(which));
                    }
                };
                Some(Event::NotLaunched(which, obstacle))
            }
            Action::Signal(which, kill, _) => {
                assert!(self.there[which as usize], "a signal to nobody");
                let deadly = matches!(kill, Kill::Named(Signal::Kill | Signal::Terminate));
                let dies = deadly && !self.dead[which as usize];
                self.dead[which as usize] |= deadly;
                dies.then_some(Event::Died { which, exit: Exit::Signal(9), permanent: false })
            }
            Action::Join(which) => Some(self.joined(which)),
            Action::FindLogger => (self.first & 16 != 0)
                .then_some(Event::LoggerFound { script: self.first & 32 != 0 }),
            Action::LetGo(which) => {
                assert!(!self.there[which as usize], "a process is let go of");
                None
            }
            Action::Publish(_)
            | Action::NotifyStart(_)
            | Action::NotifyDeath(..)
            | Action::HangUp => None,
        }
    }

    fn time_passes(&mut self, nanos: u64) {
        self.now += nanos;
        for which in [Which::Service, Which::Logger] {
            // A `stop` ends by itself.
            let stops = self.machine.member(which).is_some_and(|m| m.recorded() == Phase::Stopping);
            if stops && self.there[which as usize] {
                self.happens(Event::Died { which, exit: Exit::Code(0), permanent: false });
            }
        }
        if self.machine.deadline().is_some_and(|at| at <= Mono(self.now)) {
            self.happens(Event::Tick);
        }
    }
}

/// Environment files: `envdir`'s and `envini`'s; and the name that a relocated folder gets.
pub(crate) fn environment(bytes: &[u8]) {
    match envfile::value(bytes) {
        Value::Unset => assert!(bytes.is_empty()),
        Value::Set(value) => {
            assert!(bytes.starts_with(value) && !value.contains(&b'\n'));
            assert!(!value.ends_with(b" ") && !value.ends_with(b"\t"));
            assert!(value.is_empty() || envfile::value(value) == Value::Set(value));
        }
    }
    let variables: Vec<_> = envfile::ini(bytes).collect();
    let mut written = Vec::new();
    for variable in &variables {
        assert!(variable.section.is_some() || !variable.name.is_empty());
        assert!(!variable.name.contains(&b'=') && !variable.name.contains(&0));
        assert!(!variable.value.contains(&0) && !variable.value.contains(&b'\n'));
        if let Some(section) = variable.section {
            written.extend([b"[", section, b"]\n"].concat());
        }
        written.extend([variable.name, b"=", variable.value, b"\n"].concat());
    }
    // A NUL ends a value before its blanks or its bracket: no line can say that again.
    if !bytes.contains(&0) {
        assert!(envfile::ini(&written).eq(variables), "as written down again: {written:?}");
    }
    let (base, cwd) = bytes.split_at(bytes.len() / 2);
    let mut out = [1; 64];
    let len = names::relocated(base, cwd, &mut out);
    assert_eq!(len.is_some(), bytes.len() < out.len());
    if let Some(len) = len {
        assert_eq!((len, out[len]), (bytes.len(), 0));
        assert!(out[base.len()..len].iter().skip(1).all(|byte| *byte != b'/'));
    }
}

/// What comes in a participant's queue is an item, a cancel, or refused; never both, and a cancel is
/// for no process but its own.
pub(crate) fn wire(bytes: &[u8]) {
    use work::wire::{Incoming, read};
    const LIMIT: usize = 4096;
    let named = item::identity(bytes, LIMIT);
    match read(bytes, LIMIT) {
        Ok(Incoming::Item(identity)) => assert_eq!(named, Ok(Some(identity))),
        Ok(Incoming::Cancel(cancel)) => {
            let item = cancel.item.clone().unwrap_or_default();
            // One that says when its item was sent out is for that one alone.
            assert_eq!(cancel.is_for(&cancel.wfid, &item), cancel.sent.is_none());
            assert!(!cancel.is_for(&format!("{}x", cancel.wfid), &item));
        }
        Err(_) => assert!(bytes.len() > LIMIT || !matches!(named, Ok(Some(_))) || is_cancel(bytes)),
    }
}

fn is_cancel(bytes: &[u8]) -> bool {
    bytes.windows(8).any(|part| part == b"\"cancel\"") || bytes.contains(&b'\\')
}

/// A request by AIR: the name of a service, up to the first newline, and what came for it. What is wanted
/// is the same however it is written, and the response has the request's own name.
pub(crate) fn air(bytes: &[u8]) {
    use work::air::{Wanted, item_service, read};
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let Ok(service) = std::str::from_utf8(&bytes[..end]) else { return };
    let Some(call) = read(service, bytes.get(end + 1..).unwrap_or_default()) else { return };
    let response: serde_json::Value =
        serde_json::from_slice(&call.response(&serde_json::json!([1]))).expect("JSON");
    assert_eq!(response["return"], serde_json::json!([1]));
    let Ok(wanted) = &call.wanted else { return };
    let (wfid, arguments) = match wanted {
        Wanted::Status(wfid) => (wfid.as_deref(), serde_json::json!(["status", wfid])),
        Wanted::Cancel(cancel) => {
            assert!(!cancel.wfid.is_empty() && cancel.sent.is_none());
            let expid = cancel.item.as_deref().map(|item| item.strip_suffix('!').expect("EXPID!"));
            let flavour = match cancel.why.0 {
                901 => "kill",
                902 => "timeout",
                _ => "cancel",
            };
            let arguments = serde_json::json!(["cancel", cancel.wfid, expid, flavour]);
            (Some(cancel.wfid.as_str()), arguments)
        }
    };
    // Whoever is asked by the name of a process speaks of no other.
    let own = wfid.and_then(item_service);
    assert!(!service.starts_with("skynet.wi.") || own.is_none_or(|own| own == service));
    let again = serde_json::json!({"msgID": response["msgID"], "args": arguments}).to_string();
    let again = read(service, again.as_bytes()).expect("a request");
    assert_eq!(again.wanted.as_ref(), Ok(wanted));
}
