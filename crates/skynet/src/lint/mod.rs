//! What is wrong with configuration and service directories, judged as the programs that read them
//! judge.
//!
//! | module | looks at |
//! |---|---|
//! | [`site`] | the site's files |
//! | [`folder`] | what lies in the service folder |
//! | [`directory`] | one service directory |
//! | [`script`] | a program in it |
//! | [`spelling`] | names that are almost right |
//! | [`participant`] | what exo runs, and as whom |
//! | [`queues`] | participants beside each other |

pub mod directory;
pub mod folder;
pub mod participant;
pub mod queues;
pub mod script;
pub mod site;
pub mod spelling;
