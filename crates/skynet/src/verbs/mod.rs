//! The verbs.

pub mod boot;
pub mod check;
pub mod disable;
pub mod drain;
pub mod enable;
pub mod halt;
pub mod list;
pub mod reload;
pub mod restart;
pub mod resume;
pub mod start;
pub mod stop;
pub mod wait;
