//! The site's files.

use crate::finding::Finding;
use crate::here::Here;
use crate::names::nearest;
use crate::service::Service;
use exo::config;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// Looks at one file as at one of the site's.
#[must_use]
pub fn file(path: &Path) -> Vec<Finding> {
    match config::check_site_file(path) {
        Ok(warnings) => warnings.into_iter().map(Finding::warning).collect(),
        Err(trouble) => trouble.lines.into_iter().map(Finding::from).collect(),
    }
}

/// Looks at what the site says of services that are not there. (The rest was read, or this command
/// would not have come this far.)
#[must_use]
pub fn services(here: &Here, all: &[Service]) -> Vec<Finding> {
    let is_unknown = |name: &str| all.iter().all(|service| service.name != name);
    let wanted = here.site.services.iter().filter(|(name, _)| is_unknown(name));
    let found = wanted.map(|(name, wanted)| {
        let near = nearest(name, all.iter().map(|service| service.name.as_str()));
        let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        let what = format!("services.{name}: no service {name}{near}");
        // Nothing is wrong with wanting that something is not there.
        let found = if wanted.enabled { Finding::error(what) } else { Finding::warning(what) };
        found.set_at(Some(&wanted.origin))
    });
    found.collect()
}

/// Looks whether the password of the broker is where it is said to be. Who may not look there learns
/// nothing.
#[must_use]
pub fn password(here: &Here) -> Option<Finding> {
    let file = here.site.broker.password_file.as_deref()?;
    let is_missing = fs::metadata(file).is_err_and(|why| why.kind() == ErrorKind::NotFound);
    is_missing.then(|| {
        Finding::error(format!("broker.password-file: there is no file {}", file.display()))
            .because("no exo connects to RabbitMQ")
    })
}

/// Looks whether what goes to the broker can be read on the way.
#[must_use]
pub fn in_clear(here: &Here) -> Option<Finding> {
    config::in_clear(&here.site.broker).map(|told| Finding::warning(format!("broker: {told}")))
}
