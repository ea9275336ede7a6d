//! Time and chance, from outside, so that tests are exact.

use std::time::Duration;

use crate::Error;

/// What waits, and how long.
pub trait Pace: Send + Sync {
    /// Time since an arbitrary start; never goes back.
    fn now(&self) -> Duration;

    /// Seconds since 1970, for `Retry-After` and `Expires` that give a date.
    fn unix_time(&self) -> u64;

    /// Waits, telling the user why.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) when the user stops.
    fn sleep(&self, time: Duration, why: &str) -> Result<(), Error>;

    /// A random time from zero to `most`.
    fn jitter(&self, most: Duration) -> Duration;
}
