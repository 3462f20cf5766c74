//! Who writes the store for us: a running exo of it, else we ourselves, as the user whose it is.

use crate::failure::Failure;
use crate::here::Here;
use exo::control::{Answer, Request};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use sys::account;
use sys::linux::{ids, process};
use work::{By, Change, Store};

/// Who does it.
pub enum Hand {
    /// The exo behind this socket.
    Exo(PathBuf),
    /// We.
    Own(Box<Own>),
}

/// The store in our own hand.
pub struct Own {
    store: Store,
    by: By,
}

/// Why nothing is known of what was asked.
pub enum Lost {
    /// The exo is gone, and may have done it or not.
    Gone(String),
    /// Anything else.
    Failed(Failure),
}

impl Hand {
    /// Finds who may write: any exo of the store, since all of its participants are one site's.
    ///
    /// # Errors
    /// No exo runs, and we may not write.
    pub fn find(here: &Here) -> Result<Self, Failure> {
        let mut denied = None;
        for socket in sockets(here) {
            match exo::ask::ask(&socket, &Request::Status) {
                Ok(_) => return Ok(Self::Exo(socket)),
                Err((_, exo::ask::DOWN)) => {}
                Err((why, _)) => denied = Some(why),
            }
        }
        if !may_write(here) {
            let none = "no exo runs that could change the store; start one, or ask root";
            return Err(Failure::trouble(denied.unwrap_or_else(|| none.to_owned())));
        }
        Ok(Self::Own(Box::new(Own::open(here)?)))
    }

    /// Has it done; returns the answer, as an exo gives it.
    ///
    /// # Errors
    /// No answer came.
    pub fn ask(&mut self, request: &Request) -> Result<Value, Lost> {
        match self {
            Self::Exo(socket) => exo::ask::ask(socket, request).map_err(|(why, _)| Lost::Gone(why)),
            Self::Own(own) => own.ask(request).map_err(Lost::Failed),
        }
    }
}

/// Returns the control sockets of the instance, also those that were left behind.
fn sockets(here: &Here) -> Vec<PathBuf> {
    let entries = fs::read_dir(&here.places().run).into_iter().flatten().flatten();
    let is_socket = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        name.ends_with(b".sock") && !name.starts_with(b".")
    };
    let mut all: Vec<_> = entries.map(|entry| entry.path()).filter(is_socket).collect();
    all.sort();
    all
}

/// Tells whether the store is ours to write, or root's for whoever it is.
#[must_use]
pub fn may_write(here: &Here) -> bool {
    match fs::metadata(&here.places().store) {
        Ok(folder) => here.uid == 0 || folder.uid() == here.uid,
        Err(_) => here.uid == here.owner(),
    }
}

impl Own {
    /// Opens the store; root becomes the user whose it is, for good.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(here: &Here) -> Result<Self, Failure> {
        let by = caller();
        let store = exo::writer::open(&here.site).map_err(Failure::trouble)?;
        Ok(Self { store, by })
    }

    /// Returns the store.
    pub fn store(&mut self) -> &mut Store {
        &mut self.store
    }

    /// Returns who asks.
    #[must_use]
    pub fn by(&self) -> &By {
        &self.by
    }

    fn ask(&mut self, request: &Request) -> Result<Value, Failure> {
        let asked = request.asked().map_err(Failure::usage)?;
        let (ids, changes): (Vec<_>, Vec<_>) = asked
            .into_iter()
            .map(|(id, asked)| (id, Change::Asked(self.by.clone(), asked)))
            .unzip();
        let made = self.store.apply_all(&changes)?;
        let made: Vec<_> = ids.into_iter().zip(made).collect();
        Ok(Answer::made(&made).0)
    }
}

/// Returns who we are, whoever's rights we have.
#[must_use]
pub fn caller() -> By {
    let uid = ids::uids().map_or_else(|_| process::euid(), |[real, ..]| real);
    let name = account::name_of(uid).unwrap_or_default();
    By { uid, name: String::from_utf8_lossy(&name).into_owned() }
}
