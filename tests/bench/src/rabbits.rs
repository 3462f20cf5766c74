//! Who works off items of RabbitMQ: exo with a participant in Python, a loop with pika, Celery.

use crate::peer::{Folders, Peer};
use crate::queue::rabbit::Rival;

/// exo, with a participant by the package `skynet`.
pub(crate) const EXO: &str = crate::workers::EXO;
/// exo, with one that was written for `SkyNET`.
pub(crate) const OLDER: &str = "exo, SkyNET";
/// A loop that has one message at a time.
pub(crate) const PIKA: &str = "pika";
/// One that has 50 on their way.
pub(crate) const PIKA_50: &str = "pika, 50 ahead";
/// Celery with one worker, which has one message at a time.
pub(crate) const CELERY: &str = "Celery";
/// One that has four on their way.
pub(crate) const CELERY_4: &str = "Celery, 4 ahead";
const CELERY_2: &str = "Celery, 2 workers";
const CELERY_2_4: &str = "Celery, 2 workers, 4 ahead";

/// Returns how each works that is not ours.
pub(crate) fn rival(name: &str) -> Option<Rival> {
    let celery = |workers, ahead| Some(Rival::Celery { workers, ahead });
    match name {
        PIKA => Some(Rival::Pika { ahead: 1 }),
        PIKA_50 => Some(Rival::Pika { ahead: 50 }),
        CELERY => celery(1, 1),
        CELERY_4 => celery(1, 4),
        CELERY_2 => celery(2, 1),
        CELERY_2_4 => celery(2, 4),
        _ => None,
    }
}

/// Returns those that are on this machine, ours first.
pub(crate) fn installed(folders: &Folders) -> Vec<Peer> {
    let python = folders.built.join("rabbit/bin");
    let ours = [EXO, OLDER].map(|name| Peer::worker(name, &folders.ours));
    let others = [PIKA, PIKA_50, CELERY, CELERY_4, CELERY_2, CELERY_2_4];
    let mut all: Vec<_> = ours.into_iter().filter(|peer| peer.command("exo").is_some()).collect();
    let others = others.map(|name| Peer::worker(name, &python));
    all.extend(others.into_iter().filter(|peer| peer.command("python3").is_some()));
    all
}
