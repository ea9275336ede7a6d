//! Who asks: what a protocol adds to requests so that a server lets them in.

use crate::{Error, Request, Response};

/// Adds credentials to requests for one host.
pub trait Access: Send + Sync {
    /// Adds what is known, if the request goes to the host that it is for; another host gets nothing.
    ///
    /// # Errors
    /// When credentials could not be had.
    fn authorise(&self, request: &mut Request) -> Result<(), Error>;

    /// Hears of an answer 401 to an authorised request. `true`: something was learned (a fresh token), ask again.
    /// Answers `false` when the same would be sent once more, so that no loop comes about.
    ///
    /// # Errors
    /// When a token server refuses or breaks its protocol.
    fn refused(&self, request: &Request, response: &Response) -> Result<bool, Error>;
}

/// Nobody in particular.
#[derive(Debug, Clone, Copy, Default)]
pub struct Anonymous;

impl Access for Anonymous {
    fn authorise(&self, _request: &mut Request) -> Result<(), Error> {
        Ok(())
    }

    fn refused(&self, _request: &Request, _response: &Response) -> Result<bool, Error> {
        Ok(false)
    }
}
