//! Whole operations over a scripted connection.
