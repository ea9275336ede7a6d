//! What is proved before anything is written.

pub mod layout;
