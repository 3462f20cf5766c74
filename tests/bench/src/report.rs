//! The table.

use crate::loggers;
use crate::options::Options;
use crate::peer::{Family, Peer};
use crate::rows::{Figures, Goal, Measure, Row, median};
use crate::table::Table;
use crate::trouble::{Result, Unable};
use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// Where a figure belongs: the measure's title and the suite's name.
type Place = (&'static str, &'static str);

/// All figures of a run.
pub(crate) struct Report<'a> {
    options: &'a Options,
    peers: &'a [Peer],
    figures: HashMap<Place, Vec<f64>>,
    failures: HashMap<Place, usize>,
}

impl<'a> Report<'a> {
    /// Begins without figures.
    pub(crate) fn new(options: &'a Options, peers: &'a [Peer]) -> Self {
        Self { options, peers, figures: HashMap::new(), failures: HashMap::new() }
    }

    /// Adds what one measurement said, `None` where it failed.
    pub(crate) fn add(&mut self, row: &'static Row, peer: &Peer, figures: Option<&Figures>) {
        for (i, measure) in row.measures.iter().enumerate() {
            let place = (measure.title, peer.name);
            match figures.map_or(Some(f64::NAN), |figures| figures.get(i).copied().flatten()) {
                Some(value) if value.is_nan() => *self.failures.entry(place).or_default() += 1,
                Some(value) => self.figures.entry(place).or_default().push(value),
                None => {}
            }
        }
    }

    /// Prints the table and keeps it; returns the exit code: 111 where a measurement failed.
    pub(crate) fn publish(&self) -> Result<i32> {
        let text = self.text();
        println!("{text}");
        let name = self.options.table.file();
        write(&self.options.out.join(name), &text)?;
        if self.options.write {
            let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/doc");
            write(&Path::new(committed).join(name), &text)?;
        }
        Ok(if self.failures.is_empty() { 0 } else { 111 })
    }

    fn text(&self) -> String {
        let (title, reading) = self.options.table.heading();
        let mut text = format!(
            "# {}\n\n\
             Medians of {} rounds in which all take turns, on {}. Behind each figure, in \
             brackets, how it compares with {}. {} measures again.\n\n",
            title,
            self.options.rounds,
            machine(),
            if self.base().is_some_and(|peer| peer.ours) { "ours" } else { "the first suite's" },
            reading,
        );
        text += "| measure |";
        for peer in self.peers {
            let _ = write!(text, " {} |", peer.name);
        }
        text += " ours must reach | |\n|---|";
        for _ in self.peers {
            text += "---|";
        }
        text += "---|---|\n";
        for row in &self.options.rows {
            for measure in row.measures {
                self.line(measure, &mut text);
            }
        }
        // What stands in for parts of a suite has no part in the others.
        let suites = if self.options.table == Table::Suite { self.peers } else { &[] };
        for note in suites.iter().flat_map(Peer::notes) {
            let _ = write!(text, "\n{note}\n");
        }
        if let Some(note) = self.options.table.note() {
            let _ = write!(text, "\n{note}\n");
        }
        text
    }

    fn line(&self, measure: &Measure, text: &mut String) {
        let empty = self.peers.iter().all(|peer| self.is_empty(measure, peer));
        if empty {
            return;
        }
        let services = thousands(self.options.services);
        let _ = write!(text, "| {} |", measure.title.replace("{n}", &services));
        for peer in self.peers {
            let _ = write!(text, " {} |", self.cell(measure, peer));
        }
        let (words, bar) = self.goal(measure);
        let ours = self.peers.iter().find(|peer| peer.ours);
        let verdict = match (ours.and_then(|peer| self.median(measure, peer)), bar) {
            (Some(ours), Some(bar)) if reached(measure.goal, ours, bar) => "reached",
            (Some(_), Some(_)) => "**missed**",
            _ => "",
        };
        let _ = writeln!(text, " {words} | {verdict} |");
    }

    fn is_empty(&self, measure: &Measure, peer: &Peer) -> bool {
        let failed = self.failures.contains_key(&(measure.title, peer.name));
        self.median(measure, peer).is_none() && !failed
    }

    fn median(&self, measure: &Measure, peer: &Peer) -> Option<f64> {
        self.figures.get(&(measure.title, peer.name)).and_then(|all| median(all))
    }

    /// Returns the suite that the others are compared with.
    fn base(&self) -> Option<&Peer> {
        self.peers.first()
    }

    fn cell(&self, measure: &Measure, peer: &Peer) -> String {
        let mut cell = figure(self.median(measure, peer));
        let base = self.base().and_then(|base| self.median(measure, base));
        if let (Some(own), Some(base)) = (self.median(measure, peer), base)
            && own.is_finite()
            && base.is_finite()
            && base > 0.0
            && self.base().is_none_or(|base| base.name != peer.name)
        {
            let _ = write!(cell, " ({:.2})", own / base);
        }
        match self.failures.get(&(measure.title, peer.name)) {
            Some(failed) => format!("{cell}, failed in {failed} of {}", self.options.rounds),
            None => cell,
        }
    }

    /// Returns a goal of more in words, and as a figure: so many times what the best of the others
    /// does, and such a share of the limit.
    fn faster(&self, measure: &Measure, times: f64, share: f64) -> (String, Option<f64>) {
        let most = |wanted: &dyn Fn(&Peer) -> bool| {
            let others = self.peers.iter().filter(|peer| !peer.ours && wanted(peer));
            others.filter_map(|peer| self.median(measure, peer)).max_by(f64::total_cmp)
        };
        let best = most(&|peer: &Peer| peer.family != Family::Floor).map(|best| best * times);
        let limit = most(&|peer: &Peer| peer.name == loggers::FILE).map(|limit| limit * share);
        let mut words = format!("≥ {times} × best");
        let _ = best.map(|best| write!(words, " = {}", figure(Some(best))));
        if let Some(limit) = limit {
            let _ = write!(words, ", ≥ {share} × {} = {}", loggers::FILE, figure(Some(limit)));
        }
        (words, best.into_iter().chain(limit).max_by(f64::total_cmp))
    }

    /// Returns a goal of so many times what each of several does, in words and as a figure.
    fn beyond(&self, measure: &Measure, others: &[(f64, &str)]) -> (String, Option<f64>) {
        let mut words = Vec::new();
        let mut highest: Option<f64> = None;
        for (times, name) in others {
            let peer = self.peers.iter().find(|peer| peer.name == *name);
            let bar = peer.and_then(|peer| self.median(measure, peer)).map(|bar| bar * times);
            let value = bar.map(|bar| format!(" = {}", figure(Some(bar)))).unwrap_or_default();
            words.push(format!("≥ {times} × {name}{value}"));
            highest = highest.into_iter().chain(bar).max_by(f64::total_cmp);
        }
        (words.join("; "), highest)
    }

    /// Returns the goal in words, and as a figure where those it compares with are there.
    fn goal(&self, measure: &Measure) -> (String, Option<f64>) {
        let best = |wanted: &dyn Fn(&Peer) -> bool| {
            let others = self.peers.iter().filter(|peer| !peer.ours && wanted(peer));
            others.filter_map(|peer| self.median(measure, peer)).min_by(f64::total_cmp)
        };
        let (words, bar) = match measure.goal {
            Goal::None => return (String::new(), None),
            Goal::BelowBest => ("< best".into(), best(&|peer: &Peer| peer.family != Family::Floor)),
            Goal::Floor(times) => {
                let bar = best(&|peer: &Peer| peer.family == Family::Floor);
                (format!("≤ {times} × floor"), bar.map(|bar| bar * times))
            }
            Goal::Static(times) => {
                let bar = best(&|peer: &Peer| peer.statically);
                (format!("≤ {times} × best static"), bar.map(|bar| bar * times))
            }
            Goal::Of(times, name) => {
                let bar = best(&|peer: &Peer| peer.name == name);
                (format!("≤ {times} × {name}"), bar.map(|bar| bar * times))
            }
            Goal::BestPeer(times) => {
                let bar = best(&|peer: &Peer| peer.family != Family::Floor);
                (format!("≤ {times} × best"), bar.map(|bar| bar * times))
            }
            Goal::Faster(times, share) => return self.faster(measure, times, share),
            Goal::More(times, name) => {
                let others = self.peers.iter().filter(|peer| peer.name.starts_with(name));
                let most = others.filter_map(|peer| self.median(measure, peer));
                let bar = most.max_by(f64::total_cmp).map(|most| most * times);
                (format!("≥ {times} × {name}"), bar)
            }
            Goal::Beyond(others) => return self.beyond(measure, others),
            Goal::AtLeast(bar) => return (format!("≥ {}", figure(Some(bar))), Some(bar)),
            Goal::AtMost(bar) => return (format!("≤ {}", figure(Some(bar))), Some(bar)),
            Goal::PerService(bar) => {
                let bar = bar * self.options.services as f64;
                return (format!("≤ {}", figure(Some(bar))), Some(bar));
            }
        };
        let value = bar.map(|bar| format!(" = {}", figure(Some(bar)))).unwrap_or_default();
        (words + &value, bar)
    }
}

fn reached(goal: Goal, ours: f64, bar: f64) -> bool {
    match goal {
        Goal::BelowBest => ours < bar,
        Goal::Faster(..) | Goal::More(..) | Goal::Beyond(_) | Goal::AtLeast(_) => ours >= bar,
        _ => ours <= bar,
    }
}

/// Writes a figure with three digits that count.
pub(crate) fn figure(value: Option<f64>) -> String {
    match value {
        None => "-".into(),
        Some(value) if value.is_nan() => "failed".into(),
        Some(value) if value.is_infinite() => "never".into(),
        Some(value) if value.abs() >= 100.0 || value.fract() == 0.0 => {
            let whole = thousands(value.abs().round() as usize);
            if value < 0.0 { format!("-{whole}") } else { whole }
        }
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Says what the figures were measured on.
fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("processor unknown", |(_, model)| model.trim());
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let release = read("/proc/sys/kernel/osrelease");
    // The version alone: what a builder appended names the machine rather than the kernel.
    let release = release.trim().split('-').next().unwrap_or_default();
    format!("{cores} cores ({model}), Linux {release}")
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).unable(|| format!("make {}", folder.display()))?;
    }
    fs::write(path, text).unable(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_that_count() {
        let shown = [0.0, 1.234, 12.34, 123.4, 1234.5, 1_234_567.0, -5.5, -1234.0, f64::INFINITY];
        let texts = ["0", "1.23", "12.3", "123", "1,235", "1,234,567", "-5.50", "-1,234", "never"];
        for (value, text) in shown.into_iter().zip(texts) {
            assert_eq!(figure(Some(value)), text);
        }
        assert_eq!(figure(None), "-");
    }
}
