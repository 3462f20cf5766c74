use super::*;
use work::{JobId, TakerId};

fn talk(limit: usize) -> (Talk, Fd) {
    let (ours, theirs) = socket::pair(Kind::Stream).unwrap();
    fd::set_nonblock(ours.raw(), true).unwrap();
    let mut talk = Talk::new(ours, limit);
    talk.leave = 1 << 20;
    (talk, theirs)
}

#[test]
fn lines_are_taken_one_by_one_however_they_arrive() {
    let (mut talk, theirs) = talk(1000);
    let mut room = [0; 16];
    for piece in [&b"one\ntw"[..], b"o\n\nfour is longer than the room\nfi", b"ve\n"] {
        fd::write(theirs.raw(), piece).unwrap();
        talk.read(&mut room, usize::MAX, false);
    }
    let lines: Vec<_> = std::iter::from_fn(|| talk.line()).collect();
    let expected: [&[u8]; 5] = [b"one", b"two", b"", b"four is longer than the room", b"five"];
    assert_eq!(lines, expected);
    assert!(!talk.is_over());
    drop(theirs);
    talk.read(&mut room, usize::MAX, false);
    assert!(talk.is_over());
}

#[test]
fn many_short_lines_cost_no_more_than_their_bytes() {
    let (mut talk, theirs) = talk(1 << 20);
    let mut room = vec![0; AT_ONCE];
    let line = format!("{}\n", "x".repeat(6)).into_bytes();
    let piece = line.repeat(1 << 12);
    let mut count = 0;
    for _ in 0..10 {
        fd::write_all(theirs.raw(), &piece).unwrap();
        talk.read(&mut room, usize::MAX, false);
        while let Some(heard) = talk.line() {
            assert_eq!(heard, line[..6]);
            count += 1;
        }
        assert!(talk.incoming.is_empty() && talk.incoming.capacity() <= KEPT);
    }
    assert_eq!(count, 10 << 12);
}

#[test]
fn who_sends_never_stops_the_one_who_reads() {
    let (mut talk, theirs) = talk(1 << 20);
    let mut room = vec![0; 1 << 10];
    fd::write_all(theirs.raw(), &vec![b'x'; 64 << 10]).unwrap();
    talk.read(&mut room, 8 << 10, false);
    assert_eq!(talk.incoming.len(), 8 << 10);
}

#[test]
fn one_that_does_not_listen_is_not_heard_until_it_does() {
    let (mut talk, theirs) = talk(1000);
    fd::write_all(theirs.raw(), b"word\n").unwrap();
    let heard = |talk: &Talk| fd::poll(&mut [talk.interest()[1]], Some(0)) == Ok(1);
    talk.expect_sent();
    assert!(!heard(&talk));
    talk.say_sent(&ToParticipant::Shutdown);
    assert!(heard(&talk));
    while talk.outgoing.len() < BEHIND {
        talk.say(&ToParticipant::Shutdown);
    }
    let mut room = vec![0; AT_ONCE];
    // As where something else of it is ready.
    talk.read(&mut room, AT_ONCE, false);
    assert!(!heard(&talk) && talk.incoming.is_empty());
    while !talk.outgoing.is_empty() {
        fd::read(theirs.raw(), &mut room).unwrap();
        talk.write();
    }
    assert!(heard(&talk));
    talk.read(&mut room, AT_ONCE, false);
    assert_eq!(talk.incoming, b"word\n");
}

#[test]
fn what_came_before_it_was_behind_waits_and_what_was_heard_of_it_is_given_back() {
    let (mut talk, theirs) = talk(1 << 20);
    let (mut room, large) = (vec![0; AT_ONCE], vec![b'x'; 60 << 10]);
    fd::write_all(theirs.raw(), &[&large[..], b"\none\ntwo\nthr"].concat()).unwrap();
    talk.read(&mut room, usize::MAX, false);
    assert_eq!(talk.line(), Some(large));
    while talk.outgoing.len() < BEHIND {
        talk.say(&ToParticipant::Shutdown);
    }
    talk.shrink();
    assert!(!talk.can_go_on() && talk.incoming == b"one\ntwo\nthr");
    talk.outgoing.clear();
    for line in ["one", "two"] {
        assert!(talk.can_go_on());
        assert_eq!(talk.line(), Some(line.into()));
    }
    // Its third line goes on: it is looked at again with what comes next.
    assert_eq!((talk.line(), talk.can_go_on()), (None, false));
    // Whoever has closed its end reads nothing, and is heard to the end.
    drop(theirs);
    talk.read(&mut room, usize::MAX, false);
    talk.outgoing.extend((0..BEHIND).map(|_| Piece::Words(Vec::new())));
    assert!(talk.is_over() && !talk.is_behind());
}

#[test]
fn only_one_that_waits_for_what_it_sent_is_kept_by_us() {
    let (mut talk, theirs) = talk(1000);
    talk.expect_sent();
    while talk.outgoing.len() < BEHIND {
        talk.say(&ToParticipant::Shutdown);
    }
    let mut link = Link::Persistent(talk);
    assert!(!link.is_heard());
    if let Link::Persistent(talk) = &mut link {
        talk.say_sent(&ToParticipant::Shutdown);
    }
    assert!(link.is_heard(), "it does not listen itself");
    drop(theirs);
    let (ends, others) = make(100, 100, Mode::PerItem).unwrap();
    let mut link = ends.link;
    drop(others);
    if let Link::PerItem(one) = &mut link {
        one.read(&mut [0; 16], 100, false);
        assert!(!fd::poll(&mut [one.interest()[1]], Some(0)).is_ok_and(|ready| ready > 0));
    }
    assert!(link.is_heard(), "it has closed its end and goes on");
}

#[test]
fn one_whose_stages_are_not_recorded_is_not_heard_until_they_are() {
    let (mut talk, theirs) = talk(1000);
    fd::write_all(theirs.raw(), b"word\n").unwrap();
    let heard = |talk: &Talk| fd::poll(&mut [talk.interest()[1]], Some(0)) == Ok(1);
    let of = |number| Lease { job: JobId(1), taker: TakerId(1), number };
    talk.expect_staged(of(1), 9);
    assert!(heard(&talk));
    talk.expect_staged(of(2), STAGES);
    assert!(!heard(&talk));
    assert!(talk.staged(of(1)) && !talk.staged(of(3)) && !heard(&talk));
    assert!(talk.staged(of(2)) && heard(&talk));
}

#[test]
fn what_was_not_read_is_noticed() {
    for (reads, unread) in [(0, true), (3, true), (6, false)] {
        let (mut talk, theirs) = talk(1000);
        talk.hand_over(b"<".to_vec(), Rc::new(b"item".to_vec()), b">");
        let mut room = [0; 16];
        if reads > 0 {
            fd::read(theirs.raw(), &mut room[..reads]).unwrap();
        }
        fd::write(theirs.raw(), b"{}\n").unwrap();
        drop(theirs);
        talk.read(&mut room, 100, false);
        assert_eq!(talk.line().as_deref(), Some(&b"{}"[..]));
        talk.read(&mut room, 100, false);
        assert_eq!((talk.is_over(), talk.item_was_unread()), (true, unread), "{reads}");
    }
    for is_read_first in [false, true] {
        let (mut talk, theirs) = talk(1000);
        drop(theirs);
        if is_read_first {
            talk.read(&mut [0; 16], 100, false);
        }
        talk.hand_over(b"<".to_vec(), Rc::new(b"item".to_vec()), b">");
        assert!(talk.item_was_unread());
    }
}

#[test]
fn a_line_without_end_is_over_at_the_limit() {
    let (mut talk, theirs) = talk(1000);
    let mut room = vec![0; AT_ONCE];
    let piece = vec![b'x'; AT_ONCE];
    let mut sent = 0;
    while !talk.is_over() {
        assert!(sent < 4 << 20);
        sent += fd::write(theirs.raw(), &piece[..1 << 12]).unwrap();
        talk.read(&mut room, usize::MAX, false);
        assert_eq!(talk.line(), None);
    }
    assert!(talk.incoming.len() <= 1000 + AROUND + AT_ONCE);
}

#[test]
fn a_large_item_goes_out_piece_by_piece() {
    let (mut talk, theirs) = talk(1000);
    let item = Rc::new(vec![b'7'; 1 << 20]);
    talk.hand_over(b"<".to_vec(), Rc::clone(&item), b">\n");
    let mut got = Vec::new();
    let mut room = vec![0; AT_ONCE];
    while got.last() != Some(&b'\n') {
        let n = fd::read(theirs.raw(), &mut room).unwrap();
        got.extend_from_slice(&room[..n]);
        talk.write();
    }
    assert_eq!(got.len(), item.len() + 3);
    assert!(talk.outgoing.is_empty());
}
