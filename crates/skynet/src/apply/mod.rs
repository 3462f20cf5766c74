//! Reality made equal to configuration, touching only what differs.
//!
//! | module | |
//! |---|---|
//! | [`plan`] | what is to be done for one service, from how it stands and nothing else |
//! | `change` | whether it runs with what it would be started with now |
//! | `removed` | what is left of services whose directory is gone |
//!
//! Each thing that is done is whole or not done, and the plan is made anew from what there is: so
//! whenever this is killed, the next one goes on.

mod change;
pub mod plan;
mod removed;

use crate::failure::{Failure, code};
use crate::here::Here;
use crate::life::plan::{Order, Step, Steps, Task};
use crate::life::{Lines, Looker, Patience, Terms, care, walk};
use crate::links;
use crate::names::{Names, nearest};
use crate::service::{self, Origin, Service};
use crate::svscan;
use daemontools::observe::{Life, Snapshot};
use daemontools::wait::Goal;
use plan::{Action, Change, Facts, Obstacle, State, Wanted};
use removed::Removed;
use std::path::PathBuf;
use sys::linux::fd::Fd;

/// A service, and what is to be done for it.
pub struct Item {
    service: Service,
    dir: PathBuf,
    actions: Vec<Action>,
    obstacle: Option<Obstacle>,
    /// What changed, or what is wrong.
    reasons: Vec<String>,
    /// Its supervise is in a directory that was replaced.
    is_left_behind: bool,
}

/// Everything that is to be done.
pub struct Agenda {
    items: Vec<Item>,
    removed: Vec<(String, Removed)>,
    /// Services that are to be enabled and are not installed, each with what to say.
    absent: Vec<(String, String)>,
    /// Some were named that are not there, which was said.
    pub some_are_unknown: bool,
}

/// One line of it: a name, what is to be done, and why, or why not.
pub struct Entry {
    /// The service.
    pub name: String,
    /// What is to be done.
    pub actions: Vec<&'static str>,
    /// What changed.
    pub changed: Vec<String>,
    /// What hinders the rest.
    pub hindered: Vec<String>,
}

/// Finds out what is to be done; changes nothing.
///
/// # Errors
/// Which services there are cannot be told, or a pattern is none.
pub fn agenda(here: &Here, names: &Names) -> Result<Agenda, Failure> {
    let all = service::all(here)?;
    let removed = removed::find(here)?;
    let mut known = all.clone();
    let is_new = |name: &str| all.iter().all(|service| service.name != name);
    let wanted = here.site.services.iter().filter(|(_, wanted)| wanted.enabled);
    let others = wanted.map(|(name, _)| name).chain(removed.keys()).filter(|name| is_new(name));
    known.extend(others.map(|name| named(here, name)));
    known.sort_by(|a, b| a.name.cmp(&b.name));
    known.dedup_by(|a, b| a.name == b.name);
    let picked = names.pick_or_all(known)?;
    let mut agenda = Agenda {
        items: Vec::new(),
        removed: Vec::new(),
        absent: Vec::new(),
        some_are_unknown: picked.some_are_unknown,
    };
    let mut removed = removed;
    let has_svscan = svscan::find(here).is_some();
    let mut looker = Looker::new();
    for service in picked.services {
        let name = service.name.clone();
        if let Some(gone) = removed.remove(&name) {
            agenda.removed.push((name.clone(), gone));
        }
        if is_new(&name) {
            let absent = here.site.services.get(&name).filter(|wanted| wanted.enabled);
            let text = absent.map(|wanted| absence(&name, &wanted.origin.to_string(), &all));
            agenda.absent.extend(text.map(|text| (name, text)));
        } else if !service.is_own() {
            agenda.items.push(item(here, service, &mut looker, has_svscan));
        }
    }
    Ok(agenda)
}

/// A name that stands for no directory.
fn named(here: &Here, name: &str) -> Service {
    let origin = Origin::Elsewhere;
    let name = name.to_owned();
    let (dir, whose, is_lenient) = (PathBuf::new(), here.whose, here.is_lenient);
    Service { name, dir, origin, is_linked: false, is_participant: false, whose, is_lenient }
}

fn absence(name: &str, origin: &str, all: &[Service]) -> String {
    let near = nearest(name, all.iter().map(|service| service.name.as_str()));
    let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    format!("it is to be enabled ({origin}) and is not installed{near}")
}

fn item(here: &Here, service: Service, looker: &mut Looker, has_svscan: bool) -> Item {
    let dir = service.real_dir();
    let snapshot = looker.look(&dir);
    let is_left_behind = service.is_linked && care::is_left_behind(&snapshot, &dir);
    let is_ending = care::is_ending(&snapshot);
    let (mut change, mut reasons) = change::look(&service, &dir, &snapshot);
    let wanted = match here.site.services.get(&service.name) {
        Some(wanted) if wanted.enabled => Wanted::Enabled,
        Some(_) => Wanted::Disabled,
        None => Wanted::Unsaid,
    };
    if is_ending && wanted == Wanted::Unsaid {
        // It stays as somebody wanted it.
        (change, reasons) = (Change::None, Vec::new());
    } else if is_ending && change == Change::None {
        (change, reasons) = (Change::Changed, vec!["it was told to end".to_owned()]);
    }
    let facts = Facts {
        wanted,
        is_linked: service.is_linked,
        is_barred: dir.join("down").exists(),
        is_ours: links::is_ours(&service),
        lacks_folder: !snapshot.kept && links::lacks_folder(&dir),
        is_kept: snapshot.kept,
        state: if is_ending && wanted == Wanted::Unsaid { State::Down } else { state(&snapshot) },
        change,
        has_svscan,
    };
    let (actions, obstacle) = plan::plan(&facts);
    Item { service, dir, actions, obstacle, reasons, is_left_behind }
}

fn state(snapshot: &Snapshot) -> State {
    if snapshot.is_up() || !snapshot.kept && snapshot.life == Life::Certain {
        State::Up
    } else if care::is_due(snapshot) {
        State::Due
    } else {
        State::Down
    }
}

impl Item {
    /// Says what hinders it.
    fn hindered(&self, here: &Here) -> Vec<String> {
        match self.obstacle {
            None => Vec::new(),
            Some(Obstacle::NoSvscan) => vec![format!("not started: {}", svscan::advice(here))],
            Some(Obstacle::Orphan) => {
                vec![format!("it runs, and no supervise keeps it; {}", svscan::advice(here))]
            }
            Some(Obstacle::Broken) => {
                let as_it_is = |why: &String| format!("{why}; it stays as it is");
                self.reasons.iter().map(as_it_is).collect()
            }
        }
    }

    fn is_touched(&self) -> bool {
        !self.actions.is_empty() || self.obstacle.is_some()
    }

    /// Does what is done at once; returns what is told and waited for.
    fn begin(&self, here: &Here) -> Result<Vec<Step>, Failure> {
        let mut steps = Vec::new();
        for action in &self.actions {
            let tell = |letters, goal| Step::Reach(Order::Letters(letters), goal);
            match action {
                Action::MakeFolder => links::make_folders(&self.dir)?,
                Action::Unbar => links::unbar(&self.service)?,
                Action::Bar => links::bar(&self.service)?,
                Action::Link => links::put(here, &self.service)?,
                Action::Unlink => links::take_away(here, &self.service)?,
                Action::AwaitCare => steps.push(Step::Reach(Order::None, Goal::Kept)),
                Action::Start | Action::Restart if self.is_left_behind => {
                    steps.extend(care::start_anew(&self.service));
                }
                Action::Start => {
                    steps.extend([tell("u", Goal::Up), care::comes_up(&self.service)]);
                }
                Action::Restart => {
                    steps.extend([tell("du", Goal::Restarted), care::comes_up(&self.service)]);
                }
                Action::Stop => steps.push(tell("d", Goal::Down)),
                Action::End => steps.extend(care::end()),
            }
        }
        Ok(steps)
    }

    /// Returns the word for where it leads, and what to say of one that is not waited for.
    fn words(&self) -> (&'static str, &'static str) {
        let has = |wanted: &[Action]| self.actions.iter().any(|action| wanted.contains(action));
        let enables = has(&[Action::Link, Action::Unbar]);
        let disables = has(&[Action::Unlink, Action::Bar]);
        match (has(&[Action::Start]), has(&[Action::Stop, Action::End])) {
            (true, _) if enables => ("enabled and up", "enabled and told to start"),
            (true, _) => ("up", "told to start"),
            (_, true) if disables => ("disabled and down", "disabled and told to stop"),
            (_, true) => ("down", "told to stop"),
            _ if has(&[Action::Restart]) => ("restarted", "told to restart"),
            _ if enables => ("enabled", "enabled"),
            _ if disables => ("disabled", "disabled"),
            _ if has(&[Action::AwaitCare]) => ("supervised", "its supervise folder is made"),
            _ => ("its supervise folder is made", "its supervise folder is made"),
        }
    }
}

impl Agenda {
    /// Returns it in words, in the order of the names, without what stays as it is.
    #[must_use]
    pub fn entries(&self, here: &Here) -> Vec<Entry> {
        let touched = self.items.iter().filter(|item| item.is_touched());
        let items = touched.map(|item| Entry {
            name: item.service.name.clone(),
            actions: item.actions.iter().map(|action| action.word()).collect(),
            changed: if item.obstacle == Some(Obstacle::Broken) {
                Vec::new()
            } else {
                item.reasons.clone()
            },
            hindered: item.hindered(here),
        });
        let removed = self.removed.iter().map(|(name, removed)| Entry {
            name: name.clone(),
            actions: removed.words(),
            changed: vec!["its directory is gone".to_owned()],
            hindered: Vec::new(),
        });
        let absent = self.absent.iter().map(|(name, why)| Entry {
            name: name.clone(),
            actions: Vec::new(),
            changed: Vec::new(),
            hindered: vec![why.clone()],
        });
        let mut all: Vec<Entry> = items.chain(removed).chain(absent).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Does all of it, for all services at the same time, and says so, also of the folders of the
    /// instance that were made; returns the exit code. The lock is given back once nothing is left but
    /// to wait.
    ///
    /// # Errors
    /// There is no way to be told of anything.
    pub fn perform(
        &self,
        here: &Here,
        made: &[PathBuf],
        patience: Patience,
        lock: Fd,
    ) -> Result<i32, Failure> {
        let mut lines = Lines::new(here);
        for folder in made {
            lines.done(&folder.display().to_string(), "made");
        }
        for (name, why) in &self.absent {
            lines.refused(name, std::slice::from_ref(why));
        }
        for (name, how) in removed::end(&self.removed, patience) {
            match how {
                Ok(word) => lines.done(name, word),
                Err(why) => lines.refused(name, &[why]),
            }
        }
        let mut tasks = Vec::new();
        let mut some_is_touched = !made.is_empty() || !self.removed.is_empty();
        for item in self.items.iter().filter(|item| item.is_touched()) {
            some_is_touched = true;
            let (word, told) = item.words();
            match item.begin(here) {
                Err(why) => lines.refused(&item.service.name, &why.lines),
                Ok(_) if item.obstacle.is_some() => {
                    lines.refused(&item.service.name, &item.hindered(here));
                }
                Ok(steps) if steps.is_empty() => lines.done(&item.service.name, word),
                Ok(steps) => {
                    let steps = Steps::to(word, told, steps);
                    tasks.push(Task::new(&item.service, item.dir.clone(), steps));
                }
            }
        }
        walk(here, tasks, patience, Terms { guard: None, lock: Some(lock) }, &mut lines)?;
        if !some_is_touched && self.absent.is_empty() && !self.some_are_unknown {
            here.screen.put("everything is as it is configured\n")?;
        }
        let code = lines.code();
        Ok(if code == 0 && self.some_are_unknown { code::UNKNOWN } else { code })
    }
}
