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
mod address;
#[cfg(feature = "engine")]
mod engine;
mod error;
mod exchange;
mod explain;
mod fields;
mod get;
mod pace;
mod rate;
mod redirect;
mod retry;
mod secret;
mod transport;

pub use access::{Access, Anonymous};
pub use address::{host, host_is_listed, same_origin, shown};
#[cfg(feature = "engine")]
pub use engine::{Engine, EngineOptions};
pub use error::{Error, ErrorKind};
pub use exchange::{Net, check};
pub use explain::clean;
pub use fields::{ContentRange, http_date, retry_after};
pub use get::{Get, Got, Have, Sink};
pub use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
pub use pace::{Cancel, Pace, RealPace};
pub use rate::RateLimit;
pub use redirect::location;
pub use retry::{Budget, Policy, is_transient};
pub use secret::Secret;
pub use transport::{Body, Request, Response, Trail, Transport};
pub use url::Url;
