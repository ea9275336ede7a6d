//! Who asks: what a protocol adds to requests so that a server lets them in.

use crate::{Error, Request, Response};

/// Adds credentials to requests for one host.
///
/// ```
/// use transfer::{Access, Error, HeaderValue, Request, Response, Secret, header};
///
/// struct Token(Secret);
///
/// impl Access for Token {
///     fn authorise(&self, request: &mut Request) -> Result<(), Error> {
///         if request.url.host_str() == Some("api.example") {
///             let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0.reveal())).expect("a token is text");
///             value.set_sensitive(true);
///             request.headers.insert(header::AUTHORIZATION, value);
///         }
///         Ok(())
///     }
///
///     fn refused(&self, _: &Request, _: &Response) -> Result<bool, Error> {
///         Ok(false)
///     }
/// }
///
/// let mut request = Request::new(transfer::Method::GET, "https://api.example/x?key=1".parse()?);
/// Token(Secret::new("sesame")).authorise(&mut request)?;
/// assert_eq!(format!("{request:?}"), r#"GET https://api.example/x {"authorization": Sensitive}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
