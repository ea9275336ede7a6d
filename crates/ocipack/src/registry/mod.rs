//! Registries: pull and push by the OCI distribution specification, version 1.1.

mod credentials;
mod reference;

pub use credentials::{Chain, Credential, Credentials, Docker, GithubToken, NoCredentials, Places};
pub use reference::{Reference, Repository};
