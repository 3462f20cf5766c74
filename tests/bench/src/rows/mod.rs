//! The rows of the table.

mod control;
mod growth;
mod logger;
mod look;
mod memory;
mod overview;
mod queue;
mod rabbit;
mod start;
mod stop;
mod tools;

use crate::peer::Peer;
use crate::rabbits::{CELERY, CELERY_4, PIKA, PIKA_50};
use crate::readers::GREP;
use crate::stage::Lab;
use crate::trouble::Result;
use crate::workers::{FLOOR, HUEY};

/// What one measurement of a row says: a figure for each of its measures, `None` where the suite
/// has no such thing, infinity for what never happened, not-a-number for what failed.
pub(crate) type Figures = Vec<Option<f64>>;

/// Several measures that one measurement gives.
pub(crate) struct Row {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What it measures.
    pub(crate) measures: &'static [Measure],
    /// Measures one suite once.
    pub(crate) run: fn(&Lab, &Peer) -> Result<Figures>,
}

/// One line of the table.
pub(crate) struct Measure {
    /// What it says in front; `{n}` stands for the number of services.
    pub(crate) title: &'static str,
    /// What ours must reach.
    pub(crate) goal: Goal,
}

/// What ours must reach.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// Nothing: the figure explains others.
    None,
    /// Less than the best of all suites has.
    BelowBest,
    /// At most so many times what the floor has.
    Floor(f64),
    /// At most so many times what the best static suite has.
    Static(f64),
    /// At most so many times what the named suite has.
    Of(f64, &'static str),
    /// At most so many times what the best of the others has.
    BestPeer(f64),
    /// At least so many times what the best of the others has, and such a share of the limit.
    Faster(f64, f64),
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
    /// At least so many times what each of these has.
    Beyond(&'static [(f64, &'static str)]),
    /// At least so many times what the best has whose name begins so.
    More(f64, &'static str),
    /// At most so much for each of the services.
    PerService(f64),
}

const fn measure(title: &'static str, goal: Goal) -> Measure {
    Measure { title, goal }
}

/// All rows, in the order of the table.
pub(crate) const ALL: &[Row] = &[
    Row {
        name: "idle",
        measures: &[
            measure("one idle supervise, private memory, KiB", Goal::None),
            measure("its page tables, KiB", Goal::None),
            measure("both, KiB", Goal::BelowBest),
        ],
        run: memory::idle,
    },
    Row {
        name: "suite",
        measures: &[measure(
            "whole suite, {n} services each with a logger, shared pages divided, + page tables, MiB",
            Goal::PerService(0.09),
        )],
        run: memory::suite,
    },
    Row {
        name: "up",
        measures: &[measure("bring-up of {n} services, ms", Goal::Floor(1.5))],
        run: start::plain,
    },
    Row {
        name: "up-logged",
        measures: &[
            measure(
                "the same, each with a logger, to the last service, ms (floor: without)",
                Goal::None,
            ),
            measure(
                "the same, to the last logger's first file, ms (floor: without)",
                Goal::Floor(4.0),
            ),
        ],
        run: start::logged,
    },
    Row {
        name: "restart",
        measures: &[measure(
            "kill -9 of a long-running service to the next one's first instruction, µs",
            Goal::Floor(1.1),
        )],
        run: control::restart,
    },
    Row {
        name: "down",
        measures: &[
            measure("svc -d to the service's end, µs", Goal::Static(1.0)),
            measure("the same, sent 50 ms after a start, µs", Goal::Of(1.0, "runit")),
        ],
        run: control::down,
    },
    Row {
        name: "new",
        measures: &[
            measure("new directory renamed into place, to its start, ms", Goal::AtMost(5.0)),
            measure("new directory linked into place, to its start, ms", Goal::AtMost(5.0)),
        ],
        run: start::appear,
    },
    Row {
        name: "storm",
        measures: &[measure("{n} services killed at once, to all back, ms", Goal::Floor(1.2))],
        run: control::storm,
    },
    Row {
        name: "status",
        measures: &[
            measure("svstat of one service, µs (floor: fork + exec)", Goal::Floor(2.0)),
            measure("svstat of {n} services in one call, ms", Goal::Of(0.6, "daemontools")),
        ],
        run: tools::status,
    },
    Row {
        name: "stop",
        measures: &[measure(
            "stop of {n} services with loggers, to everything gone, ms",
            Goal::Of(0.7, "runit"),
        )],
        run: stop::all,
    },
    Row {
        name: "switches",
        measures: &[measure("context switches of the whole suite, idle", Goal::AtMost(0.0))],
        run: memory::switches,
    },
    Row {
        name: "chain",
        measures: &[
            measure("setuidgid beyond fork + exec, µs (floor: one more exec)", Goal::Static(1.3)),
            measure("envdir beyond fork + exec, µs", Goal::Static(1.3)),
            measure("softlimit beyond fork + exec, µs", Goal::Static(1.3)),
            measure("setlock beyond fork + exec, µs", Goal::Static(1.3)),
        ],
        run: tools::chain,
    },
    Row { name: "growth", measures: growth::MEASURES, run: growth::all },
];

macro_rules! speeds {
    ($what:literal, $goal:expr) => {
        [
            measure(concat!($what, ", MB per second"), $goal),
            measure(concat!($what, ", million lines per second"), Goal::None),
            measure(concat!($what, ", processor time, s/GB"), Goal::None),
        ]
    };
}

const PLAIN: Goal = Goal::Faster(3.0, 0.6);
const FASTER: Goal = Goal::Faster(3.0, 0.0);

/// The rows of the logger, in the order of their table.
pub(crate) const LOGGER: &[Row] = &[
    Row {
        name: "logger-plain",
        measures: [
            speeds!("lines of 10 bytes", PLAIN),
            speeds!("lines of 80 bytes", PLAIN),
            speeds!("lines of 500 bytes", PLAIN),
            speeds!("lines of 5,000 bytes", Goal::None),
        ]
        .as_flattened(),
        run: logger::plain,
    },
    Row {
        name: "logger-stamps",
        measures: [
            speeds!("stamped lines of 10 bytes", FASTER),
            speeds!("stamped lines of 80 bytes", FASTER),
            speeds!("stamped lines of 500 bytes", Goal::None),
            speeds!("stamped lines of 5,000 bytes", Goal::None),
        ]
        .as_flattened(),
        run: logger::stamps,
    },
    Row {
        name: "logger-disk",
        measures: [
            speeds!("lines of 80 bytes, to a disk", Goal::None),
            speeds!("stamped lines of 80 bytes, to a disk", Goal::None),
        ]
        .as_flattened(),
        run: logger::disk,
    },
    Row {
        name: "logger-select",
        measures: &speeds!("lines of 80 bytes through 10 patterns", FASTER),
        run: logger::select,
    },
    Row {
        name: "logger-single",
        measures: &[
            measure("processor time of a line that comes alone, µs", Goal::BestPeer(1.0)),
            measure("processor time of a stamped line that comes alone, µs", Goal::BestPeer(1.0)),
        ],
        run: logger::single,
    },
    Row {
        name: "logger-latency",
        measures: &[
            measure("from the write of a line to its being in the file, µs", Goal::None),
            measure("from the write of a line to its being in the file, stamped, µs", Goal::None),
        ],
        run: logger::latency,
    },
    Row {
        name: "logger-memory",
        measures: &[
            measure("private memory under load, KiB", Goal::AtMost(256.0)),
            measure("idle after it, KiB", Goal::AtMost(20.0)),
            measure("private memory under load, stamped lines, KiB", Goal::AtMost(256.0)),
            measure("idle after it, stamped lines, KiB", Goal::AtMost(20.0)),
        ],
        run: logger::memory,
    },
];

/// The rows of exo and its queue, in the order of their table.
pub(crate) const QUEUE: &[Row] = &[
    Row {
        name: "queue-power",
        measures: &[
            measure("items a second, power-safe, one participant", Goal::More(1.3, HUEY)),
            measure("items a second, power-safe, 8 participants", Goal::More(3.0, HUEY)),
        ],
        run: queue::power,
    },
    Row {
        name: "queue-kits",
        measures: &[
            measure("items a second, power-safe, one participant by the crate", Goal::None),
            measure(
                "items a second, power-safe, one participant by the Python package",
                Goal::None,
            ),
            measure("items a second, kill-safe, one participant by the crate", Goal::None),
            measure("items a second, kill-safe, one participant by the Python package", Goal::None),
        ],
        run: queue::kits,
    },
    Row {
        name: "queue-kill",
        measures: &[
            measure("items a second, kill-safe, one participant", Goal::More(1.2, HUEY)),
            measure("items a second, kill-safe, 8 participants", Goal::None),
        ],
        run: queue::kill,
    },
    Row {
        name: "queue-item",
        measures: &[measure(
            "items a second, power-safe, a process for each",
            Goal::More(0.8, FLOOR),
        )],
        run: queue::per_item,
    },
    Row {
        name: "queue-latency",
        measures: &[
            measure("submit to answer, idle, median, ms", Goal::None),
            measure("submit to answer, idle, 99 of 100, ms", Goal::AtMost(5.0)),
        ],
        run: queue::latency,
    },
    Row {
        name: "queue-memory",
        measures: &[
            measure("private memory of keeper and worker, KiB", Goal::AtMost(4096.0)),
            measure(
                "its growth from the first tenth of the items to the last, KiB",
                Goal::AtMost(128.0),
            ),
        ],
        run: queue::memory,
    },
    Row { name: "queue-depth", measures: queue::DEPTH, run: queue::depth },
    Row {
        name: "queue-fair",
        measures: &[
            measure("10 exos, a queue for each, the least share, of a tenth", Goal::AtLeast(0.5)),
            measure("10 exos, a queue for each, the largest share, of a tenth", Goal::None),
            measure("10 exos, one queue, the least share, of a tenth", Goal::AtLeast(0.5)),
            measure("10 exos, one queue, the largest share, of a tenth", Goal::None),
        ],
        run: queue::fair,
    },
];

/// The rows of looking, in the order of their table.
pub(crate) const LOOK: &[Row] = &[
    Row {
        name: "readlog",
        measures: &[
            measure("the lines of one process among {n} MiB, MB per second", Goal::More(0.5, GREP)),
            measure("the lines with two words, MB per second", Goal::More(0.5, GREP)),
            measure("all lines with local times, MB per second", Goal::None),
            measure("the first line, ms", Goal::AtMost(50.0)),
            measure("the first of the last ten lines, ms", Goal::AtMost(50.0)),
            measure("the first line of the last second, ms", Goal::AtMost(50.0)),
        ],
        run: look::readlog,
    },
    Row {
        name: "overview",
        measures: &[
            measure("the state of {n} services, ms", Goal::AtMost(50.0)),
            measure("the same, each with a logger, ms", Goal::AtMost(50.0)),
            measure("names of these that begin with 007, for a shell, ms", Goal::AtMost(20.0)),
            measure("all of their names, for a shell, ms", Goal::AtMost(20.0)),
        ],
        run: overview::overview,
    },
];

/// The rows of exo with RabbitMQ, in the order of their table.
pub(crate) const RABBIT: &[Row] = &[
    Row {
        name: "rabbit-speed",
        measures: &[
            measure(
                "items a second, one participant",
                Goal::Beyond(&[(1.5, CELERY), (1.5, CELERY_4), (1.0, PIKA)]),
            ),
            measure("items a second, 4 participants", Goal::Beyond(&[(0.4, PIKA_50)])),
            measure("private memory of exo's keeper and worker, KiB", Goal::AtMost(6144.0)),
            measure("memory with the participant, shared pages divided, MiB", Goal::None),
        ],
        run: rabbit::speed,
    },
    Row {
        name: "rabbit-latency",
        measures: &[
            measure("item to answer, idle, median, ms", Goal::None),
            measure("item to answer, idle, 99 of 100, ms", Goal::AtMost(3.0)),
        ],
        run: rabbit::latency,
    },
    Row {
        name: "rabbit-cancel",
        measures: &[
            measure("cancel to the end of the work, median, ms", Goal::None),
            measure("cancel to the end of the work, longest, ms", Goal::AtMost(1000.0)),
        ],
        run: rabbit::cancel,
    },
    Row {
        name: "rabbit-many",
        measures: &[measure("private memory of 20 exos, MiB", Goal::AtMost(120.0))],
        run: rabbit::many,
    },
    Row {
        name: "rabbit-publish",
        measures: &[measure("messages a second, a confirm for each", Goal::None)],
        run: rabbit::publish,
    },
];

/// Returns the middle of `values`, the mean of the two in the middle of an even number.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// Returns microseconds from `begun` to `ended`, both in nanoseconds.
fn micros(begun: u64, ended: u64) -> f64 {
    ended.saturating_sub(begun) as f64 / 1e3
}

/// Returns milliseconds from `begun` to `ended`, both in nanoseconds.
fn millis(begun: u64, ended: u64) -> f64 {
    micros(begun, ended) / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Table;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[1.0, f64::INFINITY, f64::INFINITY]), Some(f64::INFINITY));
    }

    #[test]
    fn no_two_rows_have_one_name_and_no_two_lines_one_title() {
        let all: Vec<&Row> = Table::ALL.into_iter().flat_map(Table::rows).collect();
        for (i, row) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|other| other.name != row.name), "{}", row.name);
        }
        let titles: Vec<_> =
            all.iter().flat_map(|row| row.measures).map(|measure| measure.title).collect();
        for (i, title) in titles.iter().enumerate() {
            assert!(!titles[..i].contains(title), "{title}");
        }
    }
}
