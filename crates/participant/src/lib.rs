//! What a participant's author uses: work items in, answers out.

pub mod protocol;
