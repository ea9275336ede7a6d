//! Registries: pull and push by the OCI distribution specification, version 1.1.
//!
//! [`Client`] speaks; what it needs of the world comes from outside: connections, time and chance as
//! [`transfer::Net`], who we are as [`Credentials`].
//!
//! - A credential goes to the registry that it is for, and to the token server that this registry names; never to
//!   another host, wherever a redirect or a `Location` leads, and never into an error.
//! - TLS only, but for the hosts of [`Options::plain_http`].
//! - Nothing is held in memory but manifests; blobs stream in and out.
//! - Every digest is of received bytes, and checked.
//!
//! [`pull`] and [`push`] move whole images with it: what is there already does not travel, and what was cut goes on.

mod auth;
mod challenge;
mod client;
mod credentials;
mod parallel;
mod place;
mod pull;
mod push;
mod reference;
mod send;
#[cfg(test)]
mod tests;
mod upload;

pub use challenge::Challenge;
pub use client::{Client, LARGEST_MANIFEST, USUAL_MANIFEST};
pub use credentials::{Chain, Credential, Credentials, Docker, GithubToken, NoCredentials, Places};
pub use place::Options;
pub use pull::{BlobStore, Incoming, Pulled, kept, pull};
pub use push::{Forgetful, Journal, PushOptions, Pushed, push};
pub use reference::{Reference, Repository};
pub use upload::{Fault, Head, Session, Step, Upload, Uploaded};
