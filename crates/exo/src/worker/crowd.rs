//! Who makes way at the control socket where all places are taken: nobody can keep all of them.

use machine::time::Mono;
use std::cmp::Reverse;
use std::time::Duration;

/// So long whoever has a place may be silent, and one user's may have it at all, before it makes way.
const FAIR: Duration = Duration::from_millis(200);

/// Somebody who has a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guest {
    pub uid: u32,
    /// When it came, asked or was answered last.
    pub since: Mono,
    pub is: Is,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Is {
    /// That it asks, or reads its answer.
    Idle,
    /// It waits for something, for as long as it likes.
    Waiting,
    /// What it asked for is being recorded, which is told soon.
    Served,
}

/// Returns who makes way for somebody else, and from when on; `full`: all places have been taken since
/// then.
///
/// That is who is silent, of the user who has most places, for longest. Where all places are taken
/// without end it is also who was not silent for long, or waits: but only of a user who has several.
pub(super) fn makes_way(guests: &[Guest], full: Mono) -> Option<(usize, Mono)> {
    let all = guests.iter().enumerate().filter_map(|(at, guest)| {
        let has_several = count(guests, guest.uid) > 1;
        let from = match guest.is {
            Is::Idle if has_several => guest.since.min(full),
            Is::Idle => guest.since,
            Is::Waiting if has_several => full,
            Is::Waiting | Is::Served => return None,
        };
        Some((at, from.after(FAIR)))
    });
    all.max_by_key(|(at, _)| {
        let Guest { uid, since, is } = guests[*at];
        (is == Is::Idle, count(guests, uid), Reverse(since))
    })
}

fn count(guests: &[Guest], uid: u32) -> usize {
    guests.iter().filter(|guest| guest.uid == uid).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Mono = Mono(10_000_000_000);

    fn guest(uid: u32, since: u64, is: Is) -> Guest {
        Guest { uid, since: Mono(since), is }
    }

    #[test]
    fn who_makes_way_was_silent_longest_of_the_user_who_has_most() {
        let mut guests = vec![guest(1, 0, Is::Idle), guest(2, 5, Is::Idle), guest(2, 3, Is::Idle)];
        assert_eq!(makes_way(&guests, LONG), Some((2, Mono(3).after(FAIR))));
        // Another was silent for longer, but has only one.
        guests[2].is = Is::Waiting;
        assert_eq!(makes_way(&guests, LONG), Some((1, Mono(5).after(FAIR))));
        guests[1].is = Is::Served;
        assert_eq!(makes_way(&guests, LONG), Some((0, Mono(0).after(FAIR))));
        // It may have its place for a while, whoever has how many.
        guests[0].since = LONG.after(FAIR);
        assert_eq!(makes_way(&guests, LONG), Some((0, LONG.after(2 * FAIR))));
    }

    #[test]
    fn who_keeps_all_places_by_asking_or_waiting_all_the_time_makes_way_too() {
        let asks = guest(1, 2 * LONG.0, Is::Idle);
        let mut guests = vec![guest(2, 0, Is::Served), asks, guest(1, 0, Is::Waiting)];
        let soon = Some(LONG.after(FAIR));
        assert_eq!(makes_way(&guests, LONG), Some(1).zip(soon));
        guests[1].is = Is::Served;
        assert_eq!(makes_way(&guests, LONG), Some(2).zip(soon));
        guests[2].is = Is::Served;
        assert_eq!(makes_way(&guests, LONG), None);
        // Of users with one each nobody does who waits.
        let each: Vec<_> = (0..3).map(|uid| guest(uid, 0, Is::Waiting)).collect();
        assert_eq!(makes_way(&each, LONG), None);
    }
}
