//! Names that people write: whole, or with `*`, `?` and `[...]`.

use crate::failure::{Failure, code, warn};
use crate::service::Service;
use clap::Args;
use glob::{MatchOptions, Pattern};

/// Which services a verb is for.
#[derive(Clone, Debug, Default, Args)]
pub struct Names {
    /// Services by name, or by a pattern with *, ? and [...].
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// All of them.
    #[arg(short, long, conflicts_with = "names")]
    pub all: bool,
}

/// Services that were asked for.
#[derive(Clone, Debug, Default)]
pub struct Picked {
    /// Those there are, in the order of their names, each once.
    pub services: Vec<Service>,
    /// Some were asked for that are not there, which was said.
    pub some_are_unknown: bool,
}

impl Picked {
    /// Returns the exit code of a verb whose work on these services ended with `code`.
    #[must_use]
    pub fn code(&self, code: i32) -> i32 {
        if code == 0 && self.some_are_unknown { code::UNKNOWN } else { code }
    }
}

impl Names {
    /// Picks those that were asked for; says which are not there.
    ///
    /// # Errors
    /// None was asked for, or a pattern is none.
    pub fn pick(&self, all: Vec<Service>) -> Result<Picked, Failure> {
        if self.names.is_empty() && !self.all {
            return Err(Failure::usage("which service? Give a name, a pattern, or --all"));
        }
        self.pick_or_all(all)
    }

    /// The same, where no name means all.
    ///
    /// # Errors
    /// A pattern is none.
    pub fn pick_or_all(&self, all: Vec<Service>) -> Result<Picked, Failure> {
        let (picked, unknown) = self.sort_out(all)?;
        for line in &unknown {
            warn(line);
        }
        Ok(picked)
    }

    /// The same, and nothing is said of those that are not there.
    ///
    /// # Errors
    /// A pattern is none.
    pub fn pick_quietly(&self, all: Vec<Service>) -> Result<Vec<Service>, Failure> {
        Ok(self.sort_out(all)?.0.services)
    }

    /// Returns also what to say of those that are not there.
    fn sort_out(&self, all: Vec<Service>) -> Result<(Picked, Vec<String>), Failure> {
        if self.names.is_empty() {
            return Ok((Picked { services: all, some_are_unknown: false }, Vec::new()));
        }
        let mut wanted = vec![false; all.len()];
        let mut lines = Vec::new();
        for name in &self.names {
            if !mark(name, &all, &mut wanted)? {
                lines.push(unknown(name, &all));
            }
        }
        let services = all.into_iter().zip(wanted).filter(|(_, wanted)| *wanted);
        let services = services.map(|(service, _)| service).collect();
        Ok((Picked { services, some_are_unknown: !lines.is_empty() }, lines))
    }
}

fn mark(name: &str, all: &[Service], wanted: &mut [bool]) -> Result<bool, Failure> {
    // A name may hold what a pattern is made of: it comes first.
    if let Some(i) = all.iter().position(|service| service.name == name) {
        wanted[i] = true;
        return Ok(true);
    }
    if !name.contains(['*', '?', '[']) {
        return Ok(false);
    }
    let pattern = Pattern::new(name)
        .map_err(|why| Failure::usage(format!("\"{name}\" is no pattern: {}", why.msg)))?;
    let options = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::new() };
    let mut found = false;
    for (service, wanted) in all.iter().zip(wanted) {
        if pattern.matches_with(&service.name, options) {
            (found, *wanted) = (true, true);
        }
    }
    Ok(found)
}

fn unknown(name: &str, all: &[Service]) -> String {
    let what = if name.contains(['*', '?', '[']) { "no service matches" } else { "no service" };
    let near = nearest(name, all.iter().map(|service| service.name.as_str()));
    let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    format!("{what} {name}{near}")
}

/// Returns which of `known` was probably meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// From here on two names look alike.
    const ALIKE: f64 = 0.8;
    let measured = known.into_iter().map(|known| (strsim::jaro_winkler(name, known), known));
    let near = measured.filter(|(likeness, _)| *likeness >= ALIKE);
    near.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{Origin, Service};
    use exo::config::Whose;

    fn services() -> Vec<Service> {
        let service = |name: &str| Service {
            name: name.into(),
            dir: "/d".into(),
            origin: Origin::ByHand,
            is_linked: false,
            is_participant: true,
            whose: Whose::Callers,
            is_lenient: false,
        };
        ["resize", "resize-small", "sizer", "we[ir]d"].map(service).into()
    }

    fn picked(names: &[&str]) -> (Vec<String>, bool) {
        let names = Names { names: names.iter().map(|&name| name.into()).collect(), all: false };
        let picked = names.pick(services()).unwrap();
        let found = picked.services.iter().map(|service| service.name.clone()).collect();
        (found, picked.some_are_unknown)
    }

    #[test]
    fn names_and_patterns_pick_each_service_once() {
        assert_eq!(picked(&["sizer"]).0, ["sizer"]);
        assert_eq!(picked(&["res*", "resize", "?izer"]).0, ["resize", "resize-small", "sizer"]);
        assert_eq!(picked(&["we[ir]d"]), (vec!["we[ir]d".into()], false));
        assert_eq!(picked(&["x*", "sizer"]), (vec!["sizer".into()], true));
    }

    #[test]
    fn nobody_is_meant_by_nothing() {
        let none = Names::default().pick(services()).unwrap_err();
        assert_eq!(none.code, sys::program::USAGE);
        assert_eq!(Names::default().pick_or_all(services()).unwrap().services.len(), 4);
        let all = Names { all: true, ..Names::default() };
        assert_eq!(all.pick(services()).unwrap().services.len(), 4);
    }

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        let all = services();
        assert_eq!(unknown("resise", &all), "no service resise; did you mean resize?");
        assert_eq!(unknown("zzz", &all), "no service zzz");
        assert_eq!(unknown("q*", &all), "no service matches q*");
    }

    #[test]
    fn a_code_that_says_more_than_an_unknown_name_stays() {
        let picked = Picked { services: Vec::new(), some_are_unknown: true };
        assert_eq!((picked.code(0), picked.code(1)), (4, 1));
    }
}
