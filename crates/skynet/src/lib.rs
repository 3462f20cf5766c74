//! One command for administrators, developers of participants and process writers.
//!
//! The design note is this crate's README.

pub mod apply;
pub mod builder;
pub mod cli;
pub mod doctor;
pub mod engine;
pub mod failure;
pub mod finding;
pub mod folders;
pub mod help;
pub mod here;
pub mod instance;
pub mod items;
pub mod json_text;
pub mod kept;
pub mod legacy;
pub mod life;
pub mod links;
pub mod lint;
pub mod live;
pub mod logs;
pub mod look;
pub mod making;
pub mod moment;
pub mod names;
pub mod notice;
pub mod past;
pub mod rabbit;
pub mod scaffold;
pub mod screen;
pub mod secrets;
pub mod service;
pub mod source;
pub mod stage;
pub mod store;
pub mod svscan;
mod talk;
pub mod tree;
pub mod usage;
pub mod verbs;
pub mod wrap;
