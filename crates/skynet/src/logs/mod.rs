//! The logs of services.
//!
//! | module | |
//! |---|---|
//! | [`place`] | which directory is a service's log, and who may read it |
//! | [`entry`] | a line taken apart |
//! | [`filter`] | which lines are asked for |
//! | [`show`] | a line as it is shown |

pub mod entry;
pub mod filter;
pub mod place;
pub mod show;
