//! What changes jobs: who is meant, who does it, and how it went.
//!
//! | module | |
//! |---|---|
//! | [`pick`] | names of jobs |
//! | [`hand`] | who writes the store for us: a running exo, or we ourselves |
//! | [`act`] | having it done for many |
//! | [`report`] | a line or an object for each |
//! | [`watch`] | waiting until a job is recorded, or stands still |
//! | [`input`] | items to be submitted, read and held against the rules |
//! | [`drop`] | leaving them in a drop folder |
//! | [`dead`], [`note`] | what is said of dead items and of classes of faults |
//! | [`submitted`], [`ended`] | what became of them |

pub mod act;
pub mod dead;
pub mod drop;
pub mod ended;
pub mod hand;
pub mod input;
pub mod note;
pub mod pick;
pub mod report;
pub mod submitted;
pub mod watch;

use crate::failure::Failure;
use crate::here::Here;
use crate::store;
use work::Reader;

/// Opens the store, which must be there.
///
/// # Errors
/// It is not there, or may not be read.
pub fn reader(here: &Here) -> Result<Reader, Failure> {
    let folder = here.places().store.display();
    let none = || Failure::unknown(format!("there are no jobs: {folder} holds no store yet"));
    store::read(here)?.ok_or_else(none)
}
