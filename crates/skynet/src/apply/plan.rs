//! What is to be done so that a service is as it is configured: from how it stands, and nothing else.

/// What the configuration says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// It is to be enabled and run.
    Enabled,
    /// It is not to be.
    Disabled,
    /// Nothing: it stays as it is, but for what it runs with.
    Unsaid,
}

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It does not run and is not going to.
    Down,
    /// It does not run, and is going to.
    Due,
    /// It runs.
    Up,
}

/// What it runs with, beside what it would be started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// The same.
    None,
    /// Something else.
    Changed,
    /// It could not be started with what there is.
    Broken,
}

/// How a service stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Facts {
    /// What is configured.
    pub wanted: Wanted,
    /// The service folder has it.
    pub is_linked: bool,
    /// There is a file `down`.
    pub is_barred: bool,
    /// Its link can be made again: it is installed.
    pub is_ours: bool,
    /// Its supervise folder has gone, as behind a boot.
    pub lacks_folder: bool,
    /// A supervise keeps it.
    pub is_kept: bool,
    /// What it does.
    pub state: State,
    /// What it runs with.
    pub change: Change,
    /// A svscan watches the service folder.
    pub has_svscan: bool,
}

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Make its supervise folder.
    MakeFolder,
    /// Take its file `down` away.
    Unbar,
    /// Make its file `down`.
    Bar,
    /// Put its link into the service folder, and make its supervise folder before.
    Link,
    /// Take its link away.
    Unlink,
    /// Wait until svscan has it supervised.
    AwaitCare,
    /// Start it.
    Start,
    /// End it and start it, in one word: no kill falls between.
    Restart,
    /// Stop it.
    Stop,
    /// End it with its logger and its supervise.
    End,
}

impl Action {
    /// Returns the word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::MakeFolder => "make its supervise folder",
            Self::Unbar => "remove its file down",
            Self::Bar => "make its file down",
            Self::Link => "link it into the service folder",
            Self::Unlink => "remove its link",
            Self::AwaitCare => "wait for its supervise",
            Self::Start => "start it",
            Self::Restart => "restart it",
            Self::Stop => "stop it",
            Self::End => "stop it with its supervise",
        }
    }
}

/// Why a service cannot be as it is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Obstacle {
    /// Nothing starts it: no svscan runs.
    NoSvscan,
    /// It runs, and no supervise is there to be told.
    Orphan,
    /// What it would be started with is wrong.
    Broken,
}

/// What is to be done, in this order, and what hinders the rest.
#[must_use]
pub fn plan(facts: &Facts) -> (Vec<Action>, Option<Obstacle>) {
    match facts.wanted {
        Wanted::Enabled => enabled(facts),
        Wanted::Disabled => disabled(facts),
        Wanted::Unsaid => unsaid(facts),
    }
}

fn enabled(facts: &Facts) -> (Vec<Action>, Option<Obstacle>) {
    if facts.change == Change::Broken {
        return (Vec::new(), Some(Obstacle::Broken));
    }
    let mut actions = Vec::new();
    // Before its link: a service that svscan finds barred would stay down.
    if facts.is_barred {
        actions.push(Action::Unbar);
    }
    if !facts.is_linked {
        actions.push(Action::Link);
    } else if facts.lacks_folder {
        actions.push(Action::MakeFolder);
    }
    if !facts.is_kept {
        if !facts.has_svscan {
            return (actions, Some(Obstacle::NoSvscan));
        }
        actions.extend([Action::AwaitCare, Action::Start]);
        return (actions, None);
    }
    match (facts.state, facts.change) {
        (State::Down | State::Due, _) => actions.push(Action::Start),
        (State::Up, Change::Changed) => actions.push(Action::Restart),
        (State::Up, _) => {}
    }
    (actions, None)
}

fn disabled(facts: &Facts) -> (Vec<Action>, Option<Obstacle>) {
    let mut actions = Vec::new();
    // Before its supervise ends, so that svscan starts no other.
    if facts.is_ours && facts.is_linked {
        actions.push(Action::Unlink);
    }
    if !facts.is_ours && !facts.is_barred {
        actions.push(Action::Bar);
    }
    if !facts.is_kept {
        let is_orphan = facts.state == State::Up;
        return (actions, is_orphan.then_some(Obstacle::Orphan));
    }
    if facts.is_ours {
        actions.push(Action::End);
    } else if facts.state != State::Down {
        actions.push(Action::Stop);
    }
    (actions, None)
}

fn unsaid(facts: &Facts) -> (Vec<Action>, Option<Obstacle>) {
    let is_broken = facts.state == State::Up && facts.change == Change::Broken;
    let mut actions = Vec::new();
    match (facts.state, facts.change) {
        (State::Up, Change::Changed) if facts.is_kept => actions.push(Action::Restart),
        // It would be started with what it had, again and again.
        (State::Due, Change::Changed) => actions.push(Action::Start),
        _ => {}
    }
    if facts.is_linked && facts.lacks_folder && !facts.is_kept {
        actions.push(Action::MakeFolder);
        if facts.has_svscan {
            actions.push(Action::AwaitCare);
        }
    }
    (actions, is_broken.then_some(Obstacle::Broken))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Every way in which a service can stand.
    fn all() -> Vec<Facts> {
        let mut all = Vec::new();
        for wanted in [Wanted::Enabled, Wanted::Disabled, Wanted::Unsaid] {
            for state in [State::Down, State::Due, State::Up] {
                for change in [Change::None, Change::Changed, Change::Broken] {
                    for bits in 0..64_u8 {
                        let bit = |n: u8| bits & (1 << n) != 0;
                        let facts = Facts {
                            wanted,
                            is_linked: bit(0),
                            is_barred: bit(1),
                            is_ours: bit(2),
                            lacks_folder: bit(3),
                            is_kept: bit(4),
                            state,
                            change,
                            has_svscan: bit(5),
                        };
                        if can_be(&facts) {
                            all.push(facts);
                        }
                    }
                }
            }
        }
        all
    }

    fn can_be(facts: &Facts) -> bool {
        // What is not installed is there by its place in the service folder alone; a supervise needs
        // its folder, and only what runs with something can run with something else.
        (facts.is_ours || facts.is_linked)
            && !(facts.is_kept && facts.lacks_folder)
            && (facts.is_kept || facts.state != State::Due)
            && (facts.is_kept && facts.state != State::Down || facts.change != Change::Changed)
    }

    /// It is started, and runs unless it cannot.
    fn up(facts: Facts) -> Facts {
        match facts.change {
            Change::Broken => Facts { state: State::Due, ..facts },
            _ => Facts { state: State::Up, change: Change::None, ..facts },
        }
    }

    /// What svscan does by itself.
    fn care(facts: Facts) -> Facts {
        if facts.is_kept || !facts.has_svscan || !facts.is_linked || facts.lacks_folder {
            return facts;
        }
        let kept = Facts { is_kept: true, ..facts };
        match facts.state {
            // One that ran on is taken back as it was.
            State::Up => kept,
            _ if facts.is_barred => kept,
            _ => up(kept),
        }
    }

    /// What an action leads to; more than one where others act meanwhile.
    fn after(facts: &Facts, action: Action) -> Vec<Facts> {
        match action {
            Action::MakeFolder | Action::Link => {
                let is_linked = facts.is_linked || action == Action::Link;
                let made = Facts { is_linked, lacks_folder: false, ..*facts };
                vec![made, care(made)]
            }
            Action::Unbar => vec![Facts { is_barred: false, ..*facts }],
            Action::Bar => vec![Facts { is_barred: true, ..*facts }],
            Action::Unlink => vec![Facts { is_linked: false, ..*facts }],
            Action::AwaitCare => {
                assert!(facts.has_svscan && facts.is_linked && !facts.lacks_folder, "{facts:?}");
                let kept = care(*facts);
                assert!(kept.is_kept);
                vec![kept]
            }
            Action::Start => {
                assert!(facts.is_kept, "nobody is there to be told: {facts:?}");
                vec![if facts.state == State::Up { *facts } else { up(*facts) }]
            }
            Action::Restart => {
                assert!(facts.is_kept && facts.state == State::Up, "{facts:?}");
                vec![up(*facts)]
            }
            Action::Stop | Action::End => {
                assert!(facts.is_kept, "nobody is there to be told: {facts:?}");
                let is_kept = action == Action::Stop;
                let change =
                    if facts.change == Change::Changed { Change::None } else { facts.change };
                vec![Facts { state: State::Down, is_kept, change, ..*facts }]
            }
        }
    }

    /// Takes all actions, and returns how it can stand then, and on the way.
    fn walk(facts: Facts, actions: &[Action]) -> (HashSet<Facts>, HashSet<Facts>) {
        let (mut here, mut between) = (HashSet::from([facts]), HashSet::new());
        for action in actions {
            here = here.iter().flat_map(|facts| after(facts, *action)).collect();
            between.extend(here.iter().copied());
        }
        (here, between)
    }

    fn is_as_configured(facts: &Facts) -> bool {
        let runs = facts.is_kept && facts.state == State::Up && facts.change == Change::None;
        match facts.wanted {
            Wanted::Enabled => facts.is_linked && !facts.is_barred && runs,
            Wanted::Disabled if facts.is_ours => {
                !facts.is_linked && !facts.is_kept && facts.state == State::Down
            }
            Wanted::Disabled => facts.is_barred && facts.state == State::Down,
            Wanted::Unsaid => match facts.state {
                State::Down => true,
                State::Due => facts.change != Change::Changed,
                State::Up => facts.change == Change::None,
            },
        }
    }

    #[test]
    fn a_plan_leads_to_what_is_configured_unless_it_says_what_hinders_it() {
        for facts in all() {
            let (actions, obstacle) = plan(&facts);
            let (ends, _) = walk(facts, &actions);
            for end in ends {
                assert_ne!(is_as_configured(&end), obstacle.is_some(), "{facts:?} {actions:?}");
            }
        }
    }

    #[test]
    fn what_is_as_configured_is_not_touched() {
        for facts in all() {
            let (actions, _) = plan(&facts);
            if is_as_configured(&facts) && !facts.lacks_folder {
                assert_eq!(actions, [], "{facts:?}");
            }
        }
    }

    #[test]
    fn wherever_it_is_killed_the_next_plan_goes_on_to_the_same_end() {
        for facts in all() {
            let (actions, _) = plan(&facts);
            let (ends, between) = walk(facts, &actions);
            let ends: HashSet<Facts> = ends.into_iter().map(care).collect();
            for midway in between {
                let (rest, _) = plan(&midway);
                let (others, _) = walk(midway, &rest);
                for end in others.into_iter().map(care) {
                    let is_one = ends.contains(&end);
                    assert!(
                        is_one,
                        "{facts:?} {actions:?} killed at {midway:?}: {end:?} by {rest:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_unsaid_is_neither_enabled_nor_disabled_started_nor_stopped() {
        for facts in all().into_iter().filter(|facts| facts.wanted == Wanted::Unsaid) {
            for action in plan(&facts).0 {
                let may = [Action::MakeFolder, Action::AwaitCare, Action::Restart];
                // It is on its way up anyway.
                let starts = action == Action::Start && facts.state == State::Due;
                assert!(starts || may.contains(&action), "{facts:?}");
            }
        }
    }

    #[test]
    fn what_could_not_be_started_is_not_stopped_for_it() {
        for facts in all().into_iter().filter(|facts| facts.change == Change::Broken) {
            if facts.wanted != Wanted::Disabled {
                let stops = [Action::Restart, Action::Stop, Action::End, Action::Start];
                assert!(!plan(&facts).0.iter().any(|action| stops.contains(action)), "{facts:?}");
            }
        }
    }
}
