//! Moments and durations, as people and programs read them.

use daemontools::{stamps, svlog::when};
use sys::linux::local;
use work::Wall;

const SECOND: i64 = 1_000_000;

/// Returns the moment that it is now.
#[must_use]
pub fn now() -> Wall {
    wall_of(&when::now())
}

fn wall_of(stamp: &ondisk::tai64n::Stamp) -> Wall {
    Wall(stamp.unix_seconds().saturating_mul(SECOND).saturating_add(i64::from(stamp.nanos / 1000)))
}

/// Reads a moment as svlog(8) does: `2h`, `12:30`, `2026-11-26`, a stamp, and others.
///
/// # Errors
/// It is none.
pub fn read(text: &str) -> Result<Wall, String> {
    let found = when::read(text.as_bytes(), when::now());
    found.map(|stamp| wall_of(&stamp)).ok_or_else(|| {
        format!("\"{text}\" is no time; write 2h, 12:30, 2026-11-26 or \"2026-11-26 12:30\", say")
    })
}

fn seconds(at: Wall) -> i64 {
    at.0.div_euclid(SECOND)
}

/// Returns date and time of day here, `2026-11-26 07:03:11`.
#[must_use]
pub fn full(at: Wall) -> String {
    local::at(seconds(at)).map_or_else(|| "?".to_owned(), stamps::text)
}

/// Returns the day here, `2026-11-26`.
#[must_use]
pub fn day(at: Wall) -> String {
    full(at).chars().take(10).collect()
}

/// Returns the time of day here, `07:03:11.123`.
#[must_use]
pub fn clock(at: Wall) -> String {
    let millis = at.0.rem_euclid(SECOND) / 1000;
    let time: String = full(at).chars().skip(11).collect();
    format!("{time}.{millis:03}")
}

/// Returns what tells a moment from others near `now`: the time of day today, `11-25 07:03` this year,
/// the date before.
#[must_use]
pub fn short(at: Wall, now: Wall) -> String {
    let (at, now) = (full(at), full(now));
    let piece = |from: usize, to: usize| at.get(from..to).unwrap_or("?").to_owned();
    if at.get(..10) == now.get(..10) {
        piece(11, 19)
    } else if at.get(..4) == now.get(..4) {
        piece(5, 16)
    } else {
        piece(0, 10)
    }
}

/// Returns the moment of the beginning of the day here in which a moment is, and that of the next.
#[must_use]
pub fn bounds(at: Wall) -> [Wall; 2] {
    let midnight = |unix: i64| {
        let day = local::at(unix)?;
        local::unix_of_local(local::Local { hour: 0, minute: 0, second: 0, ..day })
    };
    let begin = midnight(seconds(at)).unwrap_or_else(|| seconds(at));
    // No day has more than 25 hours, nor fewer than 23.
    let end = midnight(begin + 36 * 3600).filter(|end| *end > begin);
    let end = end.unwrap_or(begin + 24 * 3600);
    [Wall(begin.saturating_mul(SECOND)), Wall(end.saturating_mul(SECOND))]
}

/// Returns a moment for programs, `2026-11-26T06:03:11.123456Z`.
#[must_use]
pub fn utc(at: Wall) -> String {
    let micros = at.0.rem_euclid(SECOND);
    match local::utc(seconds(at)) {
        Some(utc) => format!("{}.{micros:06}Z", stamps::text(utc).replace(' ', "T")),
        None => "?".to_owned(),
    }
}

/// Returns the microseconds from one moment to a later one.
#[must_use]
pub fn between(from: Wall, to: Wall) -> u64 {
    u64::try_from(to.0.saturating_sub(from.0)).unwrap_or(0)
}

/// Returns a duration for people, in three digits or two units.
#[must_use]
pub fn span(micros: u64) -> String {
    let whole = micros / 1_000_000;
    match whole {
        0..10 => format!("{}.{:03} s", whole, micros % 1_000_000 / 1000),
        10..60 => format!("{}.{} s", whole, micros % 1_000_000 / 100_000),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_or_two_units() {
        for (micros, text) in [
            (0, "0.000 s"),
            (1_999, "0.001 s"),
            (9_999_999, "9.999 s"),
            (59_999_999, "59.9 s"),
            (60_000_000, "1 min 0 s"),
            (3_725_000_000, "1 h 2 min"),
            (180_000_000_000, "2 d 2 h"),
        ] {
            assert_eq!(span(micros), text);
        }
    }

    #[test]
    fn a_day_holds_its_moments_and_ends_where_the_next_begins() {
        let mut at = Wall(1_795_474_469_123_456);
        for _ in 0..800 {
            let [begin, end] = bounds(at);
            assert!(begin <= at && at < end, "{at:?}");
            assert_eq!(day(begin), day(at));
            assert_eq!(bounds(end)[0], end);
            assert_ne!(day(end), day(at));
            at = end;
        }
    }

    #[test]
    fn programs_get_utc_and_people_what_differs() {
        let at = Wall(1_795_474_469_123_456);
        assert_eq!(utc(at), "2026-11-23T22:54:29.123456Z");
        assert_eq!((short(at, at).len(), clock(at).len()), (8, 12));
        let later = Wall(at.0 + 3 * 86_400 * SECOND);
        assert_eq!(short(at, later).len(), 11);
        assert_eq!(short(at, Wall(at.0 + 400 * 86_400 * SECOND)), day(at));
        assert_eq!(read("2026-11-23T22:54:29.123456Z"), Ok(at));
        assert!(read("soon").unwrap_err().contains("no time"));
    }
}
