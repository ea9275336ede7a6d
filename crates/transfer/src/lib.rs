//! Bytes over HTTP that arrive whole or not at all.
//!
//! [`Transport`] is the one seam between protocols and the network: a request goes in, the head of an answer and a reader
//! for its body come out. It follows no redirect, repeats nothing and adds no credential; what is built on it does.
//!
//! # Guarantees
//!
//! - A [`Secret`] is printed by nothing in this crate, and reaches no URL.
//! - `unsafe` is forbidden.

mod access;
mod error;
mod pace;
mod secret;
mod transport;

pub use access::{Access, Anonymous};
pub use error::{Error, ErrorKind};
pub use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
pub use pace::Pace;
pub use secret::Secret;
pub use transport::{Body, Request, Response, Transport};
pub use url::Url;
