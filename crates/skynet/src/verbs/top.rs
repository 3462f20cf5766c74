//! `skynet top`: how services stand, as it changes.

use crate::failure::{Answer, Failure, code};
use crate::here::Here;
use crate::life;
use crate::live::{Live, Wish};
use crate::look::changes::Changes;
use crate::look::{self, Seen, Sight, overview};
use crate::names::Names;
use crate::screen::{Screen, Tone, cut};
use crate::{service, svscan};
use clap::{Args, ValueEnum};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;
use sys::linux::errno::Errno;
use sys::linux::fd::{self, PollFd};
use sys::linux::local;
use sys::linux::time;

/// However much changes, this long one screen stays.
const SOONEST: u64 = time::SECOND / 5;

/// Shows how services stand, as it changes.
///
/// It is drawn anew whenever something changes, and each second.
/// Keys: q ends it; n, s, c, m, w and r sort by name, state, CPU, memory, waiting items and restarts;
/// arrows, j and k scroll. Where output is no terminal, or with --batch, tables follow each other.
#[derive(Debug, Args)]
pub struct Top {
    #[command(flatten)]
    names: Names,
    /// Look again after this time, whatever changes.
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = delay)]
    delay: Duration,
    /// Write one table after the other.
    #[arg(short, long)]
    batch: bool,
    /// End after so many tables.
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    number: Option<u64>,
    /// What comes first.
    #[arg(short, long, value_enum, default_value_t)]
    sort: Sort,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Sort {
    Name,
    /// What is not up, and what is in trouble.
    State,
    #[default]
    Cpu,
    Memory,
    /// The longest queue.
    Waiting,
    Restarts,
}

impl Sort {
    fn of_key(key: u8) -> Option<Self> {
        Some(match key {
            b'n' => Self::Name,
            b's' => Self::State,
            b'c' => Self::Cpu,
            b'm' => Self::Memory,
            b'w' => Self::Waiting,
            b'r' => Self::Restarts,
            _ => return None,
        })
    }

    fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::State => "state",
            Self::Cpu => "CPU",
            Self::Memory => "memory",
            Self::Waiting => "waiting items",
            Self::Restarts => "restarts",
        }
    }
}

fn delay(text: &str) -> Result<Duration, String> {
    const LEAST: Duration = Duration::from_millis(100);
    let delay = life::time(text)?;
    if delay < LEAST { Err("100ms is the least".to_owned()) } else { Ok(delay) }
}

/// Runs it.
///
/// # Errors
/// A folder cannot be read, or the terminal cannot be drawn on.
pub fn run(args: &Top, here: &Here) -> Answer {
    let picked = args.names.pick_or_all(service::all(here)?)?;
    if picked.some_are_unknown {
        return Ok(code::UNKNOWN);
    }
    let mut view = View::new(args);
    if args.batch || here.screen.width.is_none() {
        batch(&mut view, here)
    } else {
        live(&mut view, here)
    }
}

/// What is shown, and how.
struct View<'a> {
    args: &'a Top,
    sort: Sort,
    /// The first service that is shown.
    from: usize,
    /// What each service had computed when it was looked at last: nanoseconds, pid, and when.
    before: HashMap<String, (u64, Option<u32>, u64)>,
    /// Of each service hundredths of a processor.
    shares: HashMap<String, u64>,
}

impl<'a> View<'a> {
    fn new(args: &'a Top) -> Self {
        let (before, shares) = (HashMap::new(), HashMap::new());
        Self { args, sort: args.sort, from: 0, before, shares }
    }

    /// Looks at the services.
    fn look(&mut self, here: &Here) -> Result<Sight, Failure> {
        let services = self.args.names.pick_quietly(service::all(here)?)?;
        let sight = look::see(here, &services, look::COUNTED)?;
        let now = time::monotonic();
        self.shares.clear();
        for seen in &sight.services {
            let name = &seen.service.name;
            let is = (seen.usage.cpu, seen.pid(), now);
            let was = self.before.insert(name.clone(), is);
            // A new life has computed nothing of what the last one had.
            if let Some((cpu, pid, at)) = was.filter(|was| was.1 == is.1)
                && pid.is_some()
            {
                let share = is.0.saturating_sub(cpu).saturating_mul(100);
                self.shares.insert(name.clone(), share / now.saturating_sub(at).max(1));
            }
        }
        Ok(sight)
    }

    fn share(&self, seen: &Seen) -> String {
        let share = self.shares.get(&seen.service.name);
        share.map_or_else(|| "-".into(), |share| format!("{share}%"))
    }

    fn sorted<'s>(&self, sight: &'s Sight) -> Vec<&'s Seen> {
        let mut all: Vec<&Seen> = sight.services.iter().collect();
        let by = |all: &mut Vec<&Seen>, key: &dyn Fn(&Seen) -> u64| {
            all.sort_by_key(|seen| Reverse(key(seen)));
        };
        match self.sort {
            // They come so.
            Sort::Name => {}
            Sort::State => by(&mut all, &|seen| {
                let is_troubled = seen.trouble.as_ref().is_some_and(|trouble| !trouble.is_past);
                2 * u64::from(is_troubled) + u64::from(!seen.is_up())
            }),
            Sort::Cpu => {
                by(&mut all, &|seen| self.shares.get(&seen.service.name).copied().unwrap_or(0));
            }
            Sort::Memory => by(&mut all, &|seen| seen.usage.memory),
            Sort::Waiting => {
                by(&mut all, &|seen| seen.queue.as_ref().map_or(0, |queue| queue.waiting));
            }
            Sort::Restarts => by(&mut all, &|seen| seen.restarts().unwrap_or(0)),
        }
        all
    }

    /// Returns the table, sorted.
    fn table(&self, sight: &Sight, screen: &Screen) -> String {
        let sorted = self.sorted(sight).into_iter();
        overview::table(sight, sorted, |seen| self.share(seen)).lines(screen, true)
    }

    fn head(&self, sight: &Sight, screen: &Screen) -> String {
        let at = local::at(sight.now.unix_seconds()).unwrap_or_default();
        let line = format!(
            "skynet top {:02}:{:02}:{:02}, by {}; q ends, sort: n s c m w r",
            at.hour,
            at.minute,
            at.second,
            self.sort.word()
        );
        let line = screen.width.map_or(line.clone(), |room| cut(&line, room).into_owned());
        screen.paint(&line, Tone::Faint).into_owned()
    }

    /// Does as the keys say; `false` = it is over.
    fn obey(&mut self, wish: Wish, page: usize) -> bool {
        match wish {
            Wish::Quit => return false,
            Wish::Key(key) => self.sort = Sort::of_key(key).unwrap_or(self.sort),
            Wish::Scroll(by) => self.from = self.from.saturating_add_signed(by),
            Wish::Page(by) => {
                self.from = self.from.saturating_add_signed(by.saturating_mul(page.cast_signed()));
            }
            Wish::Redraw => {}
        }
        true
    }

    /// Draws a screen: a head, as much of the table as fits, and the totals.
    fn draw(&mut self, sight: &Sight, here: &Here, live: &Live) -> Result<(), Errno> {
        let (columns, lines) = live.size();
        let screen = Screen { width: Some(columns), ..here.screen };
        let table = self.table(sight, &screen);
        let (titles, rows) = table.split_once('\n').unwrap_or_default();
        let rows: Vec<&str> = rows.lines().collect();
        let page = page(lines);
        self.from = self.from.min(rows.len().saturating_sub(page));
        let shown = &rows[self.from..rows.len().min(self.from + page)];
        let (head, totals) =
            (self.head(sight, &screen), overview::totals(sight, &screen, svscan::advice(here)));
        let all = [&*head, titles].into_iter().chain(shown.iter().copied());
        live.draw(&all.chain([totals.trim_end_matches('\n')]).collect::<Vec<_>>())
    }
}

/// Returns how many services fit on a screen of so many lines.
const fn page(lines: usize) -> usize {
    lines.saturating_sub(3)
}

fn nanos(delay: Duration) -> u64 {
    u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX)
}

fn batch(view: &mut View<'_>, here: &Here) -> Answer {
    // What a service uses is known from the second look on.
    view.look(here)?;
    let mut left = view.args.number;
    while left != Some(0) {
        let until = time::monotonic().saturating_add(nanos(view.args.delay));
        while let Some(rest) = until.checked_sub(time::monotonic()).filter(|rest| *rest > 0) {
            fd::poll(&mut [], Some(rest)).map_err(|why| Failure::errno("wait for", "time", why))?;
        }
        let sight = view.look(here)?;
        let gap = if left == view.args.number { "" } else { "\n" };
        let text = format!(
            "{gap}{}{}",
            view.table(&sight, &here.screen),
            overview::totals(&sight, &here.screen, svscan::advice(here))
        );
        here.screen.put(&text)?;
        left = left.map(|left| left - 1);
    }
    Ok(0)
}

fn live(view: &mut View<'_>, here: &Here) -> Answer {
    let unable = |why| Failure::errno("draw on", "the terminal", why);
    let mut live = Live::enter().map_err(unable)?;
    let mut changes = Changes::new();
    let mut left = view.args.number;
    while left != Some(0) {
        let sight = view.look(here)?;
        let begun = time::monotonic();
        changes.follow(here, &sight);
        view.draw(&sight, here, &live).map_err(unable)?;
        let mut until = begun.saturating_add(nanos(view.args.delay));
        loop {
            let now = time::monotonic();
            if now >= until {
                break;
            }
            let wishes = wait(&mut live, &mut changes, until - now).map_err(unable)?;
            if changes.has_any() {
                until = until.min(begun.saturating_add(SOONEST));
            }
            let page = page(live.size().1);
            if !wishes.iter().all(|wish| view.obey(*wish, page)) {
                return Ok(0);
            }
            if !wishes.is_empty() {
                view.draw(&sight, here, &live).map_err(unable)?;
            }
        }
        left = left.map(|left| left - 1);
    }
    Ok(0)
}

/// Waits for a wish or a change, for so many nanoseconds.
fn wait(live: &mut Live, changes: &mut Changes, nanos: u64) -> Result<Vec<Wish>, Errno> {
    let [keys, signals] = live.descriptors();
    let of = |fd: Option<i32>| fd.map_or(PollFd::none(), PollFd::readable);
    let mut fds = [of(keys), of(signals), of(changes.raw())];
    fd::poll(&mut fds, Some(nanos))?;
    let mut wishes = Vec::new();
    if fds[0].is_ready() {
        wishes = live.keys();
    }
    if fds[1].is_ready() {
        wishes.extend(live.signals()?);
    }
    if fds[2].is_ready() {
        changes.hear();
    }
    Ok(wishes)
}
