//! What is proved before anything is written.

pub(crate) mod flow;
pub mod layout;
