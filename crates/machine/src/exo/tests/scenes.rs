//! What follows from one thing after the other.

use super::*;
use std::vec;

fn working(mode: Mode) -> World {
    working_by(rules(mode))
}

fn working_by(rules: Rules) -> World {
    let mode = rules.mode;
    let mut world = World::new(rules);
    if mode == Mode::Persistent {
        world.step(Event::Hello);
    }
    world.step(Event::Arrived { key: Key(0), begun: true });
    world
}

fn answer(world: &mut World, key: u32) -> Vec<Action> {
    world.step(Event::Answered { key: Key(key), word: Word::Done })
}

#[test]
fn a_quick_participant_has_the_next_items_at_hand() {
    let mut world = working(Mode::Persistent);
    let all = answer(&mut world, 0);
    assert_eq!(all, [Action::Finish(Key(0), How::Said), Action::Ask(Ask::Now)]);
    let ahead = Action::Ask(Ask::Ahead);
    let all = world.step(Event::Arrived { key: Key(1), begun: true });
    assert_eq!(all, [Action::HandOver(Key(1)), ahead, ahead]);
    assert_eq!(world.step(Event::Arrived { key: Key(2), begun: false }), []);
    assert_eq!(world.step(Event::Arrived { key: Key(3), begun: false }), []);
    // One commit can take all of it.
    for key in [1, 2] {
        let all = answer(&mut world, key);
        let both = [Action::Finish(Key(key), How::Said), Action::Begin(Key(key + 1))];
        assert_eq!(all[..2], both);
        assert_eq!(all[2..], [Action::HandOver(Key(key + 1)), ahead]);
    }
}

#[test]
fn who_takes_longer_has_fewer_items_at_hand_and_who_takes_long_none() {
    for (taken, asks) in [(QUICK / 2, 2), (2 * QUICK / 3, 1), (QUICK, 1), (2 * QUICK, 0)] {
        let mut world = working(Mode::Persistent);
        world.now = world.now.after(taken);
        answer(&mut world, 0);
        let all = world.step(Event::Arrived { key: Key(1), begun: true });
        assert_eq!(all.len(), 1 + asks, "{taken:?}");
    }
}

#[test]
fn what_is_at_hand_is_given_back_where_the_item_in_hand_takes_longer_and_none_is_asked_for_again() {
    let mut world = working(Mode::Persistent);
    answer(&mut world, 0);
    world.step(Event::Arrived { key: Key(1), begun: true });
    world.step(Event::Arrived { key: Key(2), begun: false });
    world.now = world.instance.deadline().unwrap();
    let all = world.step(Event::Tick);
    assert_eq!(all, [Action::Withdraw(Ask::Ahead), Action::GiveBack(Key(2))]);
    // It was on its way.
    let all = world.step(Event::Arrived { key: Key(3), begun: false });
    assert_eq!(all, [Action::GiveBack(Key(3))]);
    world.now = world.now.after(QUICK / 2);
    let all = answer(&mut world, 1);
    assert_eq!(all, [Action::Finish(Key(1), How::Said), Action::Ask(Ask::Now)]);
    assert_eq!(world.step(Event::Arrived { key: Key(3), begun: true }), [Action::HandOver(Key(3))]);
}

#[test]
fn who_runs_out_of_items_while_more_are_on_their_way_asks_for_no_others_until_it_knows() {
    let mut world = working_by(brisk(Mode::Persistent));
    answer(&mut world, 0);
    let all = world.step(Event::Arrived { key: Key(1), begun: true });
    assert_eq!(all.len(), 1 + MOST_AHEAD);
    let all = answer(&mut world, 1);
    assert_eq!(all[..2], [Action::Finish(Key(1), How::Said), Action::Withdraw(Ask::Ahead)]);
    assert_eq!(all.len(), 1 + MOST_AHEAD);
    // Half of them were granted at that moment.
    let half = MOST_AHEAD / 2;
    let all = world.step(Event::Arrived { key: Key(0), begun: false });
    assert_eq!(all, [Action::Begin(Key(0)), Action::HandOver(Key(0))]);
    for key in 1..half {
        assert_eq!(world.step(Event::Arrived { key: Key(key as u32), begun: false }), []);
    }
    for _ in 1..half {
        assert_eq!(world.step(Event::Withdrawn(Ask::Ahead)), []);
    }
    let all = world.step(Event::Withdrawn(Ask::Ahead));
    assert_eq!(all, vec![Action::Ask(Ask::Ahead); MOST_AHEAD - (half - 1)]);
    // None came.
    let mut world = working(Mode::Persistent);
    answer(&mut world, 0);
    world.step(Event::Arrived { key: Key(1), begun: true });
    answer(&mut world, 1);
    assert_eq!(world.step(Event::Withdrawn(Ask::Ahead)), []);
    assert_eq!(world.step(Event::Withdrawn(Ask::Ahead)), [Action::Ask(Ask::Now)]);
}

#[test]
fn who_gets_slower_takes_back_what_it_asked_for_beyond_the_next() {
    let mut world = working_by(brisk(Mode::Persistent));
    answer(&mut world, 0);
    world.step(Event::Arrived { key: Key(1), begun: true });
    world.step(Event::Arrived { key: Key(2), begun: false });
    world.now = world.now.after(QUICK);
    let all = answer(&mut world, 1);
    assert_eq!(all[2..4], [Action::HandOver(Key(2)), Action::Withdraw(Ask::Ahead)]);
    assert_eq!(all.len(), 3 + MOST_AHEAD - 1);
    // One of them has a place, the next has none.
    assert_eq!(world.step(Event::Arrived { key: Key(3), begun: false }), []);
    let all = world.step(Event::Arrived { key: Key(4), begun: false });
    assert_eq!(all, [Action::GiveBack(Key(4))]);
}

#[test]
fn the_time_for_an_item_stands_still_while_it_waits_for_us() {
    for mode in [Mode::PerItem, Mode::Persistent] {
        let mut world = working(mode);
        let limit = rules(mode).item.unwrap();
        world.now = world.now.after(limit / 2);
        world.step(Event::KeptWaiting(true));
        assert_eq!(world.instance.deadline(), None);
        world.now = world.now.after(limit);
        assert_eq!(world.step(Event::Tick), []);
        world.step(Event::KeptWaiting(false));
        assert_eq!(world.instance.deadline(), Some(world.now.after(limit / 2)));
    }
    // One that speaks before it has an item.
    let mut world = World::new(rules(Mode::Persistent));
    world.step(Event::Hello);
    world.step(Event::KeptWaiting(true));
    world.step(Event::Arrived { key: Key(0), begun: true });
    assert_eq!(world.instance.deadline(), None);
    world.step(Event::KeptWaiting(false));
    let whole = world.now.after(rules(Mode::Persistent).item.unwrap());
    assert_eq!(world.instance.deadline(), Some(whole));
}

#[test]
fn a_process_for_one_item_that_is_broken_is_killed_and_told_as_broken() {
    let mut world = working(Mode::PerItem);
    assert_eq!(world.step(Event::Broken), [Action::Cancel(Key(0), Why::Broken)]);
    world.now = world.now.after(CLOSED);
    assert_eq!(world.step(Event::Tick), [Action::Kill]);
    let all = world.step(Event::Died { well: false, unread: false });
    assert_eq!(all[0], Action::Finish(Key(0), How::Broken));
}

#[test]
fn an_item_that_takes_too_long_is_stopped_then_killed_then_settled_in_five_seconds() {
    for mode in [Mode::PerItem, Mode::Persistent] {
        let mut world = working(mode);
        let begun = world.now;
        let mut all = vec![];
        while world.instance.hand.is_some() {
            world.now = world.instance.deadline().unwrap();
            all.extend(world.step(Event::Tick));
        }
        let (key, late) = (Key(0), How::Late);
        let expected = [Action::Cancel(key, Why::Late), Action::Kill, Action::Finish(key, late)];
        assert_eq!(all, expected);
        assert!(world.now <= begun.after(rules(mode).item.unwrap() + Duration::from_secs(5)));
    }
}

#[test]
fn a_kill_for_a_cancel_is_no_start_in_vain_and_a_crash_is() {
    let rules = Rules { cancel: Duration::ZERO, ..rules(Mode::Persistent) };
    for cancel in [Some(true), Some(false), None] {
        let mut world = World::new(rules);
        for n in 0..4 {
            let begun = world.now;
            world.step(Event::Hello);
            world.step(Event::Arrived { key: Key(0), begun: true });
            // Long enough for no other to be asked for.
            world.now = begun.after(2 * QUICK);
            if let Some(hurry) = cancel {
                let told = world.step(Event::Cancelled { key: Key(0), hurry });
                assert_eq!(told.last(), Some(&Action::Kill));
            }
            world.step(Event::Died { well: false, unread: false });
            let is_longer = cancel.is_none() && n > 0;
            let rest = if is_longer { rules.restart_longest } else { rules.restart };
            assert_eq!(world.instance.deadline(), Some(begun.after(rest)), "{cancel:?} {n}");
            world.now = begun.after(rest);
            assert_eq!(world.step(Event::Tick), [Action::Start(None)]);
        }
    }
}

#[test]
fn an_end_that_answers_a_cancel_is_no_start_in_vain() {
    let rules = rules(Mode::Persistent);
    let mut world = World::new(rules);
    for n in 0..4 {
        let begun = world.now;
        world.step(Event::Hello);
        world.step(Event::Arrived { key: Key(0), begun: true });
        world.now = begun.after(2 * QUICK);
        let told = world.step(Event::Cancelled { key: Key(0), hurry: false });
        assert_eq!(told.last(), Some(&Action::Cancel(Key(0), Why::Cancelled)));
        world.step(Event::Broken);
        let all = world.step(Event::Died { well: false, unread: false });
        assert_eq!(all[0], Action::Finish(Key(0), How::Died));
        assert_eq!(world.instance.deadline(), Some(begun.after(rules.restart)), "{n}");
        world.now = begun.after(rules.restart);
        assert_eq!(world.step(Event::Tick), [Action::Start(None)]);
    }
}

#[test]
fn a_crash_is_told_as_a_crash_even_where_the_socket_closes_first() {
    let mut world = working(Mode::Persistent);
    assert_eq!(world.step(Event::Broken), [Action::Cancel(Key(0), Why::Broken)]);
    let all = world.step(Event::Died { well: false, unread: false });
    assert_eq!(all[0], Action::Finish(Key(0), How::Died));
    let mut world = working(Mode::Persistent);
    world.step(Event::Broken);
    world.now = world.now.after(CLOSED);
    assert_eq!(world.step(Event::Tick), [Action::Kill]);
    assert_eq!(
        world.step(Event::Died { well: false, unread: false })[0],
        Action::Finish(Key(0), How::Broken)
    );
}

#[test]
fn one_that_closes_its_socket_with_nothing_in_hand_may_end_by_itself_first() {
    for hello in [false, true] {
        let mut world = World::new(rules(Mode::Persistent));
        if hello {
            world.step(Event::Hello);
        }
        let told = world.step(Event::Broken);
        assert_eq!(told, if hello { vec![Action::Withdraw(Ask::Now)] } else { vec![] });
        let until = world.now.after(CLOSED);
        // That it is still closed gives it no more time, and it is ready for nothing.
        world.now = world.now.after(CLOSED / 2);
        assert_eq!(world.step(Event::Broken), []);
        assert_eq!(world.step(Event::Hello), []);
        assert_eq!(world.instance.deadline(), Some(until));
        let mut quick = world.clone();
        assert!(!quick.step(Event::Died { well: false, unread: false }).contains(&Action::Kill));
        world.now = until;
        assert_eq!(world.step(Event::Tick), [Action::Kill]);
    }
}

#[test]
fn work_that_a_shutdown_cuts_short_is_interrupted_and_what_ends_in_time_counts() {
    for mode in [Mode::PerItem, Mode::Persistent] {
        let mut world = working(mode);
        world.instance.hand.as_mut().unwrap().limit = None;
        world.step(Event::Shutdown);
        world.now = world.instance.deadline().unwrap();
        assert_eq!(world.step(Event::Tick), [Action::TellEnd]);
        world.now = world.instance.deadline().unwrap();
        // Others may have the item once nobody works on it any more, and not before.
        assert_eq!(world.step(Event::Tick), [Action::Kill]);
        let mut undying = world.clone();
        let dead = world.step(Event::Died { well: false, unread: false });
        assert_eq!(dead, [Action::Interrupt(Key(0))]);
        assert!(world.instance.is_finished());
        let killed = undying.now;
        undying.now = undying.instance.deadline().unwrap();
        assert_eq!(undying.now, killed.after(UNDYING));
        assert_eq!(undying.step(Event::Tick), [Action::Interrupt(Key(0))]);
    }
    let mut world = working(Mode::PerItem);
    world.step(Event::Shutdown);
    // Of its own, before it was told anything.
    let all = world.step(Event::Died { well: false, unread: false });
    assert_eq!(all, [Action::Finish(Key(0), How::Said)]);
}

#[test]
fn what_is_given_up_because_of_a_shutdown_is_as_good_as_it_was() {
    let ended = |world: &mut World, word| world.step(Event::Answered { key: Key(0), word });
    // By who cares for the first word of it, or for the last.
    for (told, word, interrupted) in [
        (false, Word::GaveUp, true),
        (true, Word::GaveUp, true),
        (true, Word::Failed, true),
        (false, Word::Failed, false),
        (true, Word::Done, false),
    ] {
        let mut world = working(Mode::Persistent);
        world.instance.hand.as_mut().unwrap().limit = None;
        world.step(Event::Shutdown);
        if told {
            world.now = world.instance.deadline().unwrap();
            assert_eq!(world.step(Event::Tick), [Action::TellEnd]);
        }
        let finish = Action::Finish(Key(0), How::Said);
        let expected = if interrupted { Action::Interrupt(Key(0)) } else { finish };
        assert_eq!(ended(&mut world, word), [expected], "{told} {word:?}");
    }
    // A cancel that came as well is what it was given up for; and without a shutdown it is a fault.
    let mut world = working(Mode::Persistent);
    world.step(Event::Shutdown);
    world.step(Event::Cancelled { key: Key(0), hurry: false });
    assert_eq!(ended(&mut world, Word::GaveUp), [Action::Finish(Key(0), How::Said)]);
    let mut world = working(Mode::Persistent);
    assert_eq!(ended(&mut world, Word::GaveUp)[0], Action::Finish(Key(0), How::Said));
}

#[test]
fn a_program_that_cannot_be_run_costs_no_item_a_try() {
    let mut world = working(Mode::PerItem);
    assert_eq!(world.step(Event::NotStarted), [Action::Interrupt(Key(0))]);
    world.now = world.instance.deadline().unwrap();
    assert_eq!(world.step(Event::Tick), [Action::Ask(Ask::Now)]);
}
