//! One process: where it is, what it did, what it wants done. Performs nothing.

use super::condition;
use super::dollar::Source;
use super::message::{About, Fei, Wrong, item};
use super::registry::Registry;
use super::tree::{Expr, Kind, OWN, Object, REGISTER, raw};
pub use super::visit::{Action, Outcome, State, Visit};
use participant::protocol::Flavour;
use serde::{Deserialize, Serialize};
use serde_json::json;
use work::wire;

/// Steps that are kept of a process; a `redo` may make any number.
const VISITS: usize = 10_000;

/// An expression that was begun and is not over.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Live {
    expid: String,
    /// As it was begun with.
    fields: Object,
    what: What,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum What {
    Sequence {
        next: usize,
    },
    /// So many branches are open; what the first one to answer had counts.
    Concurrence {
        open: usize,
        first: Option<Object>,
    },
    Step {
        subid: String,
        visit: usize,
        dispatched_at: String,
        is_handler: bool,
    },
}

/// A process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Process {
    /// Its name among all.
    pub wfid: String,
    /// What launched it: the same message launches once.
    pub key: String,
    /// Name of its definition.
    pub name: String,
    /// Revision of its definition.
    pub revision: Option<String>,
    /// When it began, in microseconds since 1970.
    pub at: i64,
    /// When it was over.
    pub ended: Option<i64>,
    /// How it stands.
    pub state: State,
    /// Where and why it failed.
    pub error: Option<(String, Wrong)>,
    /// What its item had at the end; until then, at the beginning.
    pub fields: Object,
    /// Each step that it came by.
    pub path: Vec<Visit>,
    /// What is to be done and not known to be done, by number.
    pub outbox: Vec<(u64, Action)>,
    tree: Expr,
    live: Vec<Live>,
    seed: u64,
    count: u64,
}

/// What a process needs from outside to go on.
pub struct Surroundings<'a> {
    /// Which step goes where.
    pub registry: &'a mut Registry,
    /// The moment, in microseconds since 1970.
    pub now: i64,
}

/// What is to be looked at next.
enum Todo {
    Enter(String, Object),
    /// An expression is over.
    Over(String, Object),
    Fail {
        expid: String,
        fields: Object,
        error: Wrong,
    },
}

impl Todo {
    fn place(&self) -> &str {
        match self {
            Self::Enter(expid, _) | Self::Over(expid, _) | Self::Fail { expid, .. } => expid,
        }
    }
}

/// How a process begins.
pub struct Start {
    /// Its name.
    pub wfid: String,
    /// What launched it.
    pub key: String,
    /// What it does.
    pub tree: Expr,
    /// What its first item has.
    pub fields: Object,
    /// Makes its handings out different from all others.
    pub seed: u64,
}

impl Process {
    /// Begins one.
    #[must_use]
    pub fn begin(start: Start, around: &mut Surroundings<'_>) -> Self {
        let Start { wfid, key, tree, fields, seed } = start;
        let (name, revision) = tree.title();
        let mut process = Self {
            wfid,
            key,
            name,
            revision,
            at: around.now,
            ended: None,
            state: State::Running,
            error: None,
            fields: fields.clone(),
            path: Vec::new(),
            outbox: Vec::new(),
            tree,
            live: Vec::new(),
            seed,
            count: 0,
        };
        process.go(vec![Todo::Enter("0".to_owned(), fields)], around);
        process
    }

    /// An item came back; `false` where nobody waits for it.
    pub fn replied(&mut self, fei: &Fei, fields: Object, around: &mut Surroundings<'_>) -> bool {
        let Some(visit) = self.take_step(fei) else { return false };
        self.close(visit, Outcome::Done, around.now);
        self.path[visit].result = fields.get("__result__").cloned();
        self.go(vec![Todo::Over(fei.expid.clone(), fields)], around);
        true
    }

    /// Work on an item failed; `false` where nobody waits for it.
    pub fn failed(
        &mut self,
        fei: &Fei,
        fields: Object,
        error: Wrong,
        around: &mut Surroundings<'_>,
    ) -> bool {
        let Some(live) = self.step(fei) else { return false };
        let What::Step { visit, is_handler, .. } = self.live[live].what else { return false };
        self.close(visit, Outcome::Error, around.now);
        self.path[visit].error = Some(error.clone());
        // The step itself stays until it is known who sees to it, but for one that saw to another.
        let expid = if is_handler { parent(&fei.expid) } else { Some(fei.expid.clone()) };
        match expid {
            Some(expid) => self.go(vec![Todo::Fail { expid, fields, error }], around),
            None => self.stop(State::Failed, fei.expid.clone(), error, around.now),
        }
        true
    }

    /// The process, or what runs at one place, is not wanted any more; `false` where nothing runs
    /// there.
    pub fn cancel(
        &mut self,
        expid: Option<&str>,
        flavour: Flavour,
        around: &mut Surroundings<'_>,
    ) -> bool {
        if self.state != State::Running {
            return false;
        }
        let Some(expid) = expid else {
            self.drop_below("0", flavour, around.now);
            (self.state, self.ended) = (State::Cancelled, Some(around.now));
            return true;
        };
        let Some(live) = self.live.iter().find(|live| live.expid == expid) else { return false };
        let mut fields = live.fields.clone();
        if flavour == Flavour::Timeout {
            fields.insert("__timed_out__".to_owned(), raw(&json!([expid, stamp(around.now)])));
        }
        self.drop_below(expid, flavour, around.now);
        self.go(vec![Todo::Over(expid.to_owned(), fields)], around);
        true
    }

    /// What was to be done is done, or will never be.
    pub fn settled(&mut self, number: u64) {
        self.outbox.retain(|(known, _)| *known != number);
    }

    /// Returns the steps that wait for an answer.
    pub fn running(&self) -> impl Iterator<Item = &Visit> {
        self.path.iter().filter(|visit| visit.outcome == Outcome::Running)
    }

    fn go(&mut self, mut todo: Vec<Todo>, around: &mut Surroundings<'_>) {
        while let Some(next) = todo.pop() {
            if self.state != State::Running {
                return;
            }
            if self.path.len() >= VISITS {
                let error = Wrong::here(format!("it came by {VISITS} steps"));
                return self.stop(State::Failed, "0".to_owned(), error, around.now);
            }
            match next {
                Todo::Enter(expid, fields) => self.enter(expid, fields, &mut todo, around),
                Todo::Over(expid, fields) => self.over(&expid, fields, &mut todo, around.now),
                Todo::Fail { expid, fields, error } => {
                    self.fail(expid, fields, error, &mut todo, around);
                }
            }
        }
    }

    fn enter(
        &mut self,
        expid: String,
        fields: Object,
        todo: &mut Vec<Todo>,
        around: &mut Surroundings<'_>,
    ) {
        let Some(expr) = self.tree.at(&expid).cloned() else {
            let error = Wrong::here("the definition has no such place");
            return self.stop(State::Failed, expid, error, around.now);
        };
        match self.is_wanted(&expr, &expid, &fields) {
            Ok(true) => {}
            Ok(false) => {
                if expr.kind() == Kind::Step {
                    self.visit(&expid, expr.participant(), "", Outcome::Skipped, around.now);
                }
                return todo.push(Todo::Over(expid, fields));
            }
            Err(why) => {
                let error = Wrong::here(why);
                return todo.push(Todo::Fail { expid, fields, error });
            }
        }
        match expr.kind() {
            Kind::Sequence => {
                let what = What::Sequence { next: 1 };
                self.live.push(Live { expid: expid.clone(), fields: fields.clone(), what });
                todo.push(first(&expr, expid, fields));
            }
            Kind::Concurrence if expr.2.is_empty() => todo.push(Todo::Over(expid, fields)),
            Kind::Concurrence => {
                let what = What::Concurrence { open: expr.2.len(), first: None };
                self.live.push(Live { expid: expid.clone(), fields: fields.clone(), what });
                let branches = (0..expr.2.len()).rev();
                todo.extend(branches.map(|n| Todo::Enter(format!("{expid}_{n}"), fields.clone())));
            }
            Kind::Step if expr.participant() == REGISTER => {
                self.register(&expr, expid, fields, todo, around);
            }
            Kind::Step => {
                let params = self.params(&expr, &expid, &fields);
                let step = Step { expid, name: expr.participant(), params, is_handler: false };
                self.dispatch(step, fields, todo, around);
            }
        }
    }

    fn is_wanted(&self, expr: &Expr, expid: &str, fields: &Object) -> Result<bool, String> {
        let source = Source { fields, wfid: &self.wfid, expid };
        let holds = |key: &str| {
            let text = expr.1.get(key).map(|value| super::dollar::plain(value));
            text.map(|text| condition::holds(&text, source)).transpose()
        };
        Ok(holds("if")?.unwrap_or(true) && !holds("unless")?.unwrap_or(false))
    }

    /// Returns the attributes of a step as its participant gets them: filled in, but for conditions.
    fn params(&self, expr: &Expr, expid: &str, fields: &Object) -> Object {
        let source = Source { fields, wfid: &self.wfid, expid };
        let filled = expr.1.iter().map(|(key, value)| {
            let is_own = OWN.contains(&key.as_str());
            (key.clone(), if is_own { value.clone() } else { source.whole(value) })
        });
        let mut params: Object = filled.collect();
        params.insert("ref".to_owned(), raw(&expr.participant()));
        params
    }

    fn visit(
        &mut self,
        expid: &str,
        name: String,
        queue: &str,
        outcome: Outcome,
        now: i64,
    ) -> usize {
        let ended = (outcome != Outcome::Running).then_some(now);
        let (expid, queue) = (expid.to_owned(), queue.to_owned());
        let (result, error) = (None, None);
        self.path.push(Visit { expid, name, queue, at: now, ended, outcome, result, error });
        self.path.len() - 1
    }

    fn register(
        &mut self,
        expr: &Expr,
        expid: String,
        fields: Object,
        todo: &mut Vec<Todo>,
        around: &mut Surroundings<'_>,
    ) {
        let field =
            |key: &str| -> Option<String> { serde_json::from_str(fields.get(key)?.get()).ok() };
        let visit = self.visit(&expid, expr.participant(), "", Outcome::Done, around.now);
        let done = match (field("name"), field("queue"), expr.text("action").as_deref()) {
            (None, ..) => Err("the field name is missing, or no text".to_owned()),
            (Some(name), _, Some("unregister")) => around.registry.remove(&name),
            (Some(name), Some(queue), None) => around.registry.set(&name, &queue),
            (_, None, None) => Err("the field queue is missing, or no text".to_owned()),
            (.., Some(action)) => Err(format!("there is no action {action:?}")),
        };
        match done {
            Ok(()) => todo.push(Todo::Over(expid, fields)),
            Err(why) => {
                let error = Wrong::here(why);
                self.path[visit].outcome = Outcome::Error;
                self.path[visit].error = Some(error.clone());
                todo.push(Todo::Fail { expid, fields, error });
            }
        }
    }

    fn dispatch(
        &mut self,
        step: Step,
        fields: Object,
        todo: &mut Vec<Todo>,
        around: &mut Surroundings<'_>,
    ) {
        let Step { expid, name, params, is_handler } = step;
        let queue = match around.registry.queue_of(&name) {
            Ok(queue) => queue,
            Err(why) => {
                let error = Wrong::here(why);
                let visit = self.visit(&expid, name, "", Outcome::Error, around.now);
                self.path[visit].error = Some(error.clone());
                // What sees to errors of a place does not see to its own.
                let seen_by = if is_handler { parent(&expid) } else { Some(expid.clone()) };
                return match seen_by {
                    Some(expid) => todo.push(Todo::Fail { expid, fields, error }),
                    None => self.stop(State::Failed, expid, error, around.now),
                };
            }
        };
        let is_forgotten = params.get("forget").is_some_and(|value| wire::is_set(value));
        let fei = self.new_fei(&expid);
        let dispatched_at = stamp(around.now);
        let mut sent = fields.clone();
        sent.remove("__result__");
        sent.insert("params".to_owned(), raw(&params));
        sent.insert("dispatched_at".to_owned(), raw(&dispatched_at));
        let launched_at = stamp(self.at);
        let about = About {
            name: &self.name,
            revision: self.revision.as_deref(),
            launched_at: &launched_at,
        };
        let item = item(&fei, &name, about, &sent);
        let outcome = if is_forgotten { Outcome::Forgotten } else { Outcome::Running };
        let visit = self.visit(&expid, name, &queue, outcome, around.now);
        let subid = fei.subid.clone().unwrap_or_default();
        self.put(Action::Dispatch { queue, item, fei });
        if is_forgotten {
            return todo.push(Todo::Over(expid, fields));
        }
        let what = What::Step { subid, visit, dispatched_at, is_handler };
        self.live.push(Live { expid, fields, what });
    }

    fn new_fei(&mut self, expid: &str) -> Fei {
        self.count += 1;
        let subid = Some(format!("{:016x}{:016x}", self.seed, self.count));
        let (engine_id, wfid) = (super::ID.to_owned(), self.wfid.clone());
        Fei { engine_id, wfid, subid, expid: expid.to_owned() }
    }

    fn put(&mut self, action: Action) {
        self.count += 1;
        self.outbox.push((self.count, action));
    }

    fn over(&mut self, expid: &str, fields: Object, todo: &mut Vec<Todo>, now: i64) {
        self.live.retain(|live| live.expid != expid);
        let Some(above) = parent(expid) else {
            (self.state, self.ended, self.fields) = (State::Done, Some(now), fields);
            return;
        };
        let width = self.tree.at(&above).map_or(0, |expr| expr.2.len());
        let Some(live) = self.live.iter_mut().find(|live| live.expid == above) else { return };
        match &mut live.what {
            What::Sequence { next } if *next < width => {
                todo.push(Todo::Enter(format!("{above}_{next}"), fields));
                *next += 1;
            }
            What::Concurrence { open, first } => {
                *open -= 1;
                let kept = first.get_or_insert(fields);
                if *open == 0 {
                    let fields = std::mem::take(kept);
                    todo.push(Todo::Over(above, fields));
                }
            }
            What::Sequence { .. } | What::Step { .. } => todo.push(Todo::Over(above, fields)),
        }
    }

    /// Finds who sees to an error: what failed, or what is around it, says it with `on_error`.
    fn fail(
        &mut self,
        expid: String,
        mut fields: Object,
        error: Wrong,
        todo: &mut Vec<Todo>,
        around: &mut Surroundings<'_>,
    ) {
        let mut place = Some(expid.clone());
        while let Some(at) = place {
            let Some(handler) = self.tree.at(&at).and_then(|expr| expr.text("on_error")) else {
                place = parent(&at);
                continue;
            };
            let begun = self.live.iter().find(|live| live.expid == at);
            let begun = begun.map_or_else(|| fields.clone(), |live| live.fields.clone());
            self.drop_below(&at, Flavour::Cancel, around.now);
            todo.retain(|todo| !is_below(todo.place(), &at));
            let told = json!({ "fei": { "wfid": self.wfid, "expid": expid }, "class": error.class,
                "message": error.message, "trace": error.trace, "at": stamp(around.now) });
            fields.insert("__error__".to_owned(), raw(&told));
            return match handler.as_str() {
                "redo" => todo.push(Todo::Enter(at, begun)),
                "pass" => todo.push(Todo::Over(at, fields)),
                name => {
                    let params = Object::from([("ref".to_owned(), raw(name))]);
                    let name = name.to_owned();
                    let step = Step { expid: at, name, params, is_handler: true };
                    self.dispatch(step, fields, todo, around);
                }
            };
        }
        self.fields = fields;
        self.stop(State::Failed, expid, error, around.now);
    }

    fn stop(&mut self, state: State, expid: String, error: Wrong, now: i64) {
        self.drop_below("0", Flavour::Cancel, now);
        (self.state, self.ended, self.error) = (state, Some(now), Some((expid, error)));
    }

    /// Everything at a place and below is over; what waits for an answer there is cancelled.
    fn drop_below(&mut self, expid: &str, flavour: Flavour, now: i64) {
        let is_meant = |live: &Live| is_below(&live.expid, expid);
        let (gone, kept) = std::mem::take(&mut self.live).into_iter().partition(is_meant);
        self.live = kept;
        for Live { expid, what, .. } in gone {
            let What::Step { subid, visit, dispatched_at, .. } = what else { continue };
            if self.path[visit].outcome != Outcome::Running {
                continue;
            }
            self.close(visit, Outcome::Cancelled, now);
            let (engine_id, wfid) = (super::ID.to_owned(), self.wfid.clone());
            let fei = Fei { engine_id, wfid, subid: Some(subid), expid };
            let queue = self.path[visit].queue.clone();
            self.put(Action::Cancel { queue, fei, dispatched_at, flavour });
        }
    }

    fn close(&mut self, visit: usize, outcome: Outcome, now: i64) {
        self.path[visit].outcome = outcome;
        self.path[visit].ended = Some(now);
    }

    /// Returns which live expression is the step that this names.
    fn step(&self, fei: &Fei) -> Option<usize> {
        let is_it = |live: &Live| match &live.what {
            What::Step { subid, .. } => {
                live.expid == fei.expid && fei.subid.as_ref() == Some(subid)
            }
            _ => false,
        };
        self.live.iter().position(is_it)
    }

    fn take_step(&mut self, fei: &Fei) -> Option<usize> {
        let live = self.live.remove(self.step(fei)?);
        match live.what {
            What::Step { visit, .. } => Some(visit),
            _ => None,
        }
    }
}

/// A step that is to be handed out.
struct Step {
    expid: String,
    name: String,
    params: Object,
    is_handler: bool,
}

fn first(expr: &Expr, expid: String, fields: Object) -> Todo {
    if expr.2.is_empty() {
        Todo::Over(expid, fields)
    } else {
        Todo::Enter(format!("{expid}_0"), fields)
    }
}

/// Tells whether a place is this one or below it.
fn is_below(expid: &str, this: &str) -> bool {
    expid == this || expid.strip_prefix(this).is_some_and(|rest| rest.starts_with('_'))
}

fn parent(expid: &str) -> Option<String> {
    expid.rsplit_once('_').map(|(above, _)| above.to_owned())
}

/// Returns a moment as items say it: `2026-11-22 08:07:11.000123 UTC`.
#[must_use]
pub fn stamp(micros: i64) -> String {
    crate::moment::utc(work::Wall(micros)).replace('T', " ").replace('Z', " UTC")
}
