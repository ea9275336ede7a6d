//! How often, and after which pause.

use std::time::Duration;

use http::StatusCode;

use crate::{Error, Pace};

/// How often a transfer is tried.
///
/// ```
/// let policy = transfer::Policy::default();
/// assert_eq!((policy.tries, policy.longest_wait.as_secs()), (5, 600));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Tries in one transfer, the first one included.
    pub tries: u32,
    /// The first pause is random between nothing and this; each further one between nothing and twice as much ("full
    /// jitter", so that many clients of one server do not come back at once).
    pub base: Duration,
    /// The longest such pause.
    pub cap: Duration,
    /// The longest pause that a server may ask for with `Retry-After`. It asks for more: the transfer ends.
    pub longest_wait: Duration,
    /// How long a transfer may wait for servers without one useful byte, pauses not counted. A further try is made
    /// only when another wait as long as the last one fits.
    pub patience: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            tries: 5,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(15),
            longest_wait: Duration::from_mins(10),
            patience: Duration::from_secs(50),
        }
    }
}

/// What is left of the tries of one transfer.
///
/// ```
/// use std::time::Duration;
/// use transfer::{Budget, Policy, RealPace};
///
/// let policy = Policy { tries: 2, base: Duration::from_millis(2), ..Policy::default() };
/// let mut budget = Budget::new(&policy);
/// let took = Duration::from_millis(30);
/// assert!(budget.again(&RealPace::quiet(), took, None, "registry.example: status 503")?);
/// assert!(!budget.again(&RealPace::quiet(), took, None, "registry.example: status 503")?);
/// # Ok::<(), transfer::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Budget {
    policy: Policy,
    tries: u32,
    fruitless: Duration,
}

impl Budget {
    /// All tries are left.
    pub fn new(policy: &Policy) -> Self {
        Self { policy: *policy, tries: 0, fruitless: Duration::ZERO }
    }

    /// Count of tries that failed.
    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// Useful bytes came: patience begins again. Tries do not.
    pub fn useful(&mut self) {
        self.fruitless = Duration::ZERO;
    }

    /// Counts a failed try, in which a server was silent for `took`, and says whether another one is left. Time in which
    /// a body went out or came in is no silence ([`Error::waited`] tells them apart).
    pub fn spend(&mut self, took: Duration) -> bool {
        self.tries = self.tries.saturating_add(1);
        self.fruitless = self.fruitless.saturating_add(took);
        self.tries < self.policy.tries && self.fruitless.saturating_add(took) <= self.policy.patience
    }

    /// Pauses before the next try: what the server asked for and a little more, else a random time. `false`: the
    /// server asks for more than is waited.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
    pub fn pause(&self, pace: &dyn Pace, asked: Option<Duration>, why: &str) -> Result<bool, Error> {
        let time = match asked {
            Some(asked) if asked > self.policy.longest_wait => return Ok(false),
            Some(asked) => asked.saturating_add(pace.jitter(self.policy.base)),
            None => {
                let doubled = 1_u32.checked_shl(self.tries.saturating_sub(1)).unwrap_or(u32::MAX);
                pace.jitter(self.policy.base.saturating_mul(doubled).min(self.policy.cap))
            }
        };
        let next = self.tries.saturating_add(1);
        pace.sleep(time, &format!("{why}; try {next} of {}", self.policy.tries.max(next)))?;
        Ok(true)
    }

    /// Counts a failed try and pauses. `false`: that was the last one.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
    pub fn again(
        &mut self,
        pace: &dyn Pace,
        took: Duration,
        asked: Option<Duration>,
        why: &str,
    ) -> Result<bool, Error> {
        Ok(self.spend(took) && self.pause(pace, asked, why)?)
    }
}

/// Whether the same request may have another answer later: 408, 425, 429 and 5xx without 501 and 505 (RFC 9110 section
/// 15, RFC 8470, RFC 6585).
pub fn is_transient(status: StatusCode) -> bool {
    match status.as_u16() {
        408 | 425 | 429 => true,
        501 | 505 => false,
        code => (500..600).contains(&code),
    }
}
