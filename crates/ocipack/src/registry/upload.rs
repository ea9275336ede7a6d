//! The upload of one blob, without a connection: what to send next, and what an answer means.
//!
//! Distribution specification 1.1, "Pushing Blobs", with what registries really do: one that has committed less than was
//! sent, one that forgot the session, one that takes no large piece, one that takes no pieces at all.
//!
//! ```
//! use imgcore::Digest;
//! use ocipack::registry::{Head, Step, Upload};
//!
//! let mut upload = Upload::new("https://h.io/v2/a/b/".parse()?, Digest::of(b"hello"), 5, None);
//! assert!(matches!(upload.step(), Step::Begin { .. }));
//! upload.answer(&Head { status: 202, location: Some("/v2/a/b/blobs/uploads/1?s=x".to_owned()), ..Head::default() })?;
//! let Step::Close { url, range } = upload.step() else { panic!("all at once") };
//! assert_eq!((url.path(), range), ("/v2/a/b/blobs/uploads/1", 0..5));
//! upload.answer(&Head { status: 201, ..Head::default() })?;
//! assert!(matches!(upload.step(), Step::Done(_)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::ops::Range;

use imgcore::Digest;
use serde::{Deserialize, Serialize};
use transfer::Url;

const MIB: u64 = 1024 * 1024;
/// A blob of this size or less goes in one request.
const WHOLE: u64 = 64 * MIB;
/// Size of a piece of larger ones.
const PIECE: u64 = 64 * MIB;
/// What GitHub's registry takes at most; it answers 416 above.
const CEILING: u64 = 4 * MIB;
/// What a piece shrinks to when it is refused; 1 MiB is what nginx lets through when nobody told it otherwise.
const SMALLER: [u64; 3] = [CEILING, MIB, 256 * 1024];
/// So often an upload begins anew.
const MOST_RESTARTS: u32 = 3;
/// So often a session may fall short of what was sent, all in all.
const MOST_STALLS: u32 = 12;
/// So often a session may go nowhere in a row.
const MOST_STALLS_IN_A_ROW: u32 = 3;
/// So often an upload follows 307 or 308.
const MOST_HOPS: u32 = 5;

/// How a blob came to be at the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uploaded {
    /// It was taken over from another repository, no byte was sent.
    Mounted,
    /// It was sent.
    Sent {
        /// Bytes that an earlier run had sent.
        resumed: u64,
    },
}

/// An upload that is under way: what another process needs to go on. Its address may open the session to who knows it;
/// keep it as a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Address of the session, absolute.
    pub location: String,
    /// Digest of the blob.
    pub digest: Digest,
    /// Size of the blob in bytes.
    pub size: u64,
    /// Bytes that the registry has said to hold.
    pub committed: u64,
}

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// POST without body: take the blob over from another repository.
    Mount {
        /// Address.
        url: Url,
    },
    /// POST without body: open a session.
    Begin {
        /// Address.
        url: Url,
    },
    /// GET: how much does the session hold?
    Ask {
        /// Address.
        url: Url,
    },
    /// PATCH with these bytes of the blob.
    Piece {
        /// Address.
        url: Url,
        /// Offsets in the blob.
        range: Range<u64>,
    },
    /// PUT with these bytes of the blob, all or none, which ends the upload.
    Close {
        /// Address.
        url: Url,
        /// Offsets in the blob.
        range: Range<u64>,
    },
    /// HEAD: is the blob there?
    Confirm {
        /// Address.
        url: Url,
    },
    /// Nothing; the blob is there.
    Done(Uploaded),
}

/// The part of an answer that matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// Status code.
    pub status: u16,
    /// `Location`.
    pub location: Option<String>,
    /// `Range`.
    pub range: Option<String>,
    /// `OCI-Chunk-Min-Length`.
    pub least: Option<u64>,
    /// `Docker-Content-Digest`.
    pub digest: Option<String>,
    /// `Content-Length`.
    pub length: Option<u64>,
}

impl Head {
    fn is_ok(&self) -> bool {
        matches!(self.status, 200..=204)
    }
}

/// Why an upload ends without the blob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The status of the last answer says it.
    #[error("the registry refuses")]
    Refused,
    /// An answer that the specification does not allow.
    #[error("{0}")]
    Protocol(String),
}

/// An upload.
#[derive(Debug, Clone)]
pub struct Upload {
    /// `https://host/v2/NAME/`.
    base: Url,
    digest: Digest,
    size: u64,
    from: Option<String>,
    begin: Url,
    state: State,
    location: Option<Url>,
    committed: u64,
    resuming: bool,
    /// The piece of which the answer told a count that cannot be the whole session's.
    doubted: Option<Range<u64>>,
    resumed: u64,
    piece: u64,
    least: u64,
    way: Way,
    whole_refused: bool,
    restarts: u32,
    stalls: u32,
    stalls_in_a_row: u32,
    hops: u32,
    abandoned: Vec<Url>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Mounting,
    Beginning,
    Asking,
    Sending,
    Confirming(Otherwise),
    Done(Uploaded),
}

/// What a blob that is not there means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Otherwise {
    /// The closing request broke: the session may live.
    Ask,
    /// The session is gone.
    Restart,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As the size suggests.
    Usual,
    /// The registry takes no pieces.
    Whole,
    /// The registry does not take all at once.
    Pieces,
}

impl Upload {
    /// An upload to the repository at `base` (`https://host/v2/NAME/`); `from` is a repository of the same registry that
    /// may have the blob.
    pub fn new(base: Url, digest: Digest, size: u64, from: Option<String>) -> Self {
        let begin = base.join("blobs/uploads/").unwrap_or_else(|_| base.clone());
        let state = if from.is_some() { State::Mounting } else { State::Beginning };
        Self {
            base,
            digest,
            size,
            from,
            begin,
            state,
            location: None,
            committed: 0,
            resuming: false,
            doubted: None,
            resumed: 0,
            piece: PIECE,
            least: 0,
            way: Way::Usual,
            whole_refused: false,
            restarts: 0,
            stalls: 0,
            stalls_in_a_row: 0,
            hops: 0,
            abandoned: Vec::new(),
        }
    }

    /// Goes on with a session of an earlier run, asking first what it holds; a session of another blob is not used.
    #[must_use]
    pub fn resume(mut self, session: &Session) -> Self {
        if session.digest == self.digest
            && session.size == self.size
            && let Ok(location) = Url::parse(&session.location)
            && is_web(&location)
        {
            self.location = Some(location);
            self.state = State::Asking;
            self.resuming = true;
        }
        self
    }

    /// Pieces of another size than the usual 64 MiB, for all blobs that are larger.
    #[must_use]
    pub fn with_piece(mut self, bytes: u64) -> Self {
        self.piece = bytes.max(1);
        if self.size > self.piece {
            self.way = Way::Pieces;
        }
        self
    }

    /// What another process needs to go on, while a session is open.
    pub fn session(&self) -> Option<Session> {
        let location = self.location.as_ref().filter(|_| !matches!(self.state, State::Done(_)))?;
        let (digest, size, committed) = (self.digest, self.size, self.committed);
        Some(Session { location: location.to_string(), digest, size, committed })
    }

    /// Bytes that the registry has said to hold.
    pub fn committed(&self) -> u64 {
        self.committed
    }

    /// Sessions that nobody goes on with; who is polite cancels them (DELETE).
    pub fn take_abandoned(&mut self) -> Vec<Url> {
        std::mem::take(&mut self.abandoned)
    }

    /// Gives the session up.
    pub fn abandon(&mut self) {
        self.abandoned.extend(self.location.take());
    }

    /// What to send. The same until an [`answer`](Self::answer) or a [break](Self::broken) comes.
    pub fn step(&self) -> Step {
        let location = || self.location.clone().unwrap_or_else(|| self.begin.clone());
        match self.state {
            State::Mounting => {
                let mut url = self.begin.clone();
                url.query_pairs_mut()
                    .append_pair("mount", &self.digest.to_string())
                    .append_pair("from", self.from.as_deref().unwrap_or_default());
                Step::Mount { url }
            }
            State::Beginning => Step::Begin { url: self.begin.clone() },
            State::Asking => Step::Ask { url: location() },
            State::Sending => match self.range() {
                Sent::Piece(range) => Step::Piece { url: location(), range },
                Sent::Close(range) => {
                    let mut url = location();
                    // What the registry wrote there stays byte for byte: it may be signed.
                    let digest = format!("digest={}", self.digest);
                    let query = url.query().filter(|query| !query.is_empty());
                    let query = query.map_or_else(|| digest.clone(), |query| format!("{query}&{digest}"));
                    url.set_query(Some(&query));
                    Step::Close { url, range }
                }
            },
            State::Confirming(_) => {
                let blob = format!("blobs/{}", self.digest);
                Step::Confirm { url: self.base.join(&blob).unwrap_or_else(|_| self.base.clone()) }
            }
            State::Done(how) => Step::Done(how),
        }
    }

    fn range(&self) -> Sent {
        let all = match self.way {
            Way::Usual => self.size <= WHOLE,
            Way::Whole => true,
            Way::Pieces => self.size == 0,
        };
        if self.committed >= self.size {
            Sent::Close(self.size..self.size)
        } else if all && self.committed == 0 {
            Sent::Close(0..self.size)
        } else {
            Sent::Piece(self.committed..self.committed.saturating_add(self.piece.max(self.least)).min(self.size))
        }
    }

    /// Takes an answer to the last step.
    ///
    /// # Errors
    /// When the upload cannot be done.
    pub fn answer(&mut self, head: &Head) -> Result<(), Fault> {
        self.least = head.least.filter(|least| *least <= PIECE).unwrap_or(self.least);
        match self.state {
            State::Mounting => self.mounted(head),
            State::Beginning => self.begun(head),
            State::Asking => self.told(head),
            State::Sending => match self.range() {
                Sent::Piece(range) => self.taken(head, &range),
                Sent::Close(range) => self.closed(head, &range),
            },
            State::Confirming(otherwise) => self.confirmed(head, otherwise),
            State::Done(_) => Ok(()),
        }
    }

    /// The connection broke, or the registry failed in the middle (5xx): it may have kept anything of what was sent.
    pub fn broken(&mut self) {
        if self.state == State::Sending {
            self.state = match self.range() {
                Sent::Piece(_) => State::Asking,
                // It may have ended well, and only the answer was lost.
                Sent::Close(_) => State::Confirming(Otherwise::Ask),
            };
        }
    }

    /// Whether the next question is about a session of an earlier run, of which nobody knows whether it lives.
    pub fn is_resuming(&self) -> bool {
        self.resuming
    }

    /// Leaves a session of an earlier run that cannot be asked for. It is not cancelled: its host may be gone, or back later.
    ///
    /// # Errors
    /// When the upload has begun anew too often.
    pub fn forget(&mut self) -> Result<(), Fault> {
        self.location = None;
        self.restart()
    }

    /// "Mounting a blob from another repository". A mount is a wish: whatever refuses it, the blob can be sent.
    fn mounted(&mut self, head: &Head) -> Result<(), Fault> {
        match head.status {
            201 => {
                self.check_digest(head)?;
                self.state = State::Done(Uploaded::Mounted);
            }
            200 | 202 | 204 if head.location.is_some() => return self.begun(head),
            429 => return Err(Fault::Refused),
            _ => self.state = State::Beginning,
        }
        Ok(())
    }

    /// "POST then PUT", step 1.
    fn begun(&mut self, head: &Head) -> Result<(), Fault> {
        if self.hop(head)? {
            if let Some(location) = self.location.take() {
                self.begin = location;
            }
            return Ok(());
        }
        if !head.is_ok() {
            return Err(Fault::Refused);
        }
        let location = head.location.as_deref().ok_or_else(|| {
            Fault::Protocol(format!("answers {} to the begin of an upload without a Location", head.status))
        })?;
        let location = self.resolve(location)?;
        (self.location, self.committed, self.resumed, self.state) = (Some(location), 0, 0, State::Sending);
        Ok(())
    }

    /// What the session holds ("Pushing a blob in chunks", GET of the location).
    fn told(&mut self, head: &Head) -> Result<(), Fault> {
        match head.status {
            200..=204 => {
                self.moved(head)?;
                match head.range.as_deref().map(committed) {
                    Some(Some(committed)) if committed <= self.size => {
                        // `0-0` is one byte or none: registry 2.8 says it of an empty session. None is safe, because a
                        // registry that holds one refuses the first byte then.
                        let committed = if committed == 1 { 0 } else { committed };
                        if std::mem::take(&mut self.resuming) {
                            self.resumed = committed;
                        }
                        self.committed = committed;
                        self.state = State::Sending;
                        match self.doubted.take() {
                            Some(sent) if committed == sent.end => {
                                self.stalls_in_a_row = 0;
                                Ok(())
                            }
                            Some(sent) => self.stalled(committed > sent.start),
                            None => Ok(()),
                        }
                    }
                    _ => self.restart(),
                }
            }
            // Registries answer so of a session that their storage has dropped (distribution's `GetUploadStatus` 500). If there
            // is more to it, the next POST says so.
            401 | 403 | 500.. if self.resuming => self.forget(),
            401 | 403 | 429 | 500.. => Err(Fault::Refused),
            _ => self.restart(),
        }
    }

    #[allow(clippy::match_same_arms, reason = "a line for each status, with its reason")]
    fn taken(&mut self, head: &Head, sent: &Range<u64>) -> Result<(), Fault> {
        if self.hop(head)? {
            return Ok(());
        }
        match head.status {
            200..=204 => {
                self.moved(head)?;
                let committed = match head.range.as_deref() {
                    // The specification wants one; a registry that leaves it out has taken all.
                    None => sent.end,
                    Some(range) => match committed(range) {
                        // As in `told`: after a piece of more than a byte this is one byte or none.
                        Some(1) if sent.end > 1 && sent.start == 0 => 0,
                        // zot tells the length of the piece instead of the total; its answer to GET is right.
                        Some(committed) if is_doubtful(committed, sent) => {
                            self.doubted = Some(sent.clone());
                            self.state = State::Asking;
                            return Ok(());
                        }
                        Some(committed) if committed <= sent.end => committed,
                        _ => return self.restart(),
                    },
                };
                self.committed = committed;
                if committed == sent.end {
                    self.stalls_in_a_row = 0;
                    return Ok(());
                }
                self.stalled(committed > sent.start)
            }
            413 => self.shrink(),
            416 if self.piece > CEILING && self.least <= CEILING => self.shrink(),
            // It holds another count of bytes than was thought.
            416 => {
                self.state = State::Asking;
                self.stalled(false)
            }
            404 | 410 => self.restart(),
            405 | 501 => self.all_at_once(),
            401 | 403 | 429 | 500.. => Err(Fault::Refused),
            _ => self.restart(),
        }
    }

    #[allow(clippy::match_same_arms, reason = "a line for each status, with its reason")]
    fn closed(&mut self, head: &Head, sent: &Range<u64>) -> Result<(), Fault> {
        if self.hop(head)? {
            return Ok(());
        }
        let whole = !sent.is_empty();
        match head.status {
            201 => {
                self.check_digest(head)?;
                self.state = State::Done(Uploaded::Sent { resumed: self.resumed });
                Ok(())
            }
            // Not what the specification says; the registry is asked whether it has the blob.
            200 | 202 | 203 | 204 => {
                self.state = State::Confirming(Otherwise::Restart);
                Ok(())
            }
            413 | 416 if whole && self.way != Way::Whole && (head.status == 413 || self.size > CEILING) => {
                (self.way, self.whole_refused) = (Way::Pieces, true);
                self.piece = self.piece.min(self.size.max(1));
                self.shrink()
            }
            413 => Err(Fault::Refused),
            // Too small to be too large: the session holds something else than was thought.
            416 if self.way != Way::Whole => {
                self.state = State::Asking;
                self.stalled(false)
            }
            // An earlier closing request may have done it.
            404 | 410 => {
                self.state = State::Confirming(Otherwise::Restart);
                Ok(())
            }
            405 | 501 if whole && self.way == Way::Usual => {
                (self.way, self.whole_refused) = (Way::Pieces, true);
                self.restart()
            }
            401 | 403 | 429 | 500.. => Err(Fault::Refused),
            // Among them 400 DIGEST_INVALID: the registry has put the bytes together otherwise.
            _ => self.restart(),
        }
    }

    #[allow(clippy::match_same_arms, reason = "a line for each status, with its reason")]
    fn confirmed(&mut self, head: &Head, otherwise: Otherwise) -> Result<(), Fault> {
        match (head.status, otherwise) {
            // Some say 0 of every blob when nothing of it is sent.
            (200, _) if head.length.is_none_or(|length| length == self.size || length == 0) => {
                self.state = State::Done(Uploaded::Sent { resumed: self.resumed });
                Ok(())
            }
            (200 | 404 | 410, Otherwise::Restart) => self.restart(),
            (404 | 410, Otherwise::Ask) => {
                self.state = State::Asking;
                Ok(())
            }
            (200, Otherwise::Ask) => self.restart(),
            _ => Err(Fault::Refused),
        }
    }

    /// Follows 307 and 308, which keep method and body (RFC 9110 section 15.4); a 301 or 302 of an upload is refused.
    fn hop(&mut self, head: &Head) -> Result<bool, Fault> {
        let Some(location) = head.location.as_deref().filter(|_| matches!(head.status, 307 | 308)) else {
            return Ok(false);
        };
        self.hops = self.hops.saturating_add(1);
        if self.hops > MOST_HOPS {
            return Err(Fault::Protocol(format!("redirects an upload more than {MOST_HOPS} times")));
        }
        let mut location = self.resolve(location)?;
        // The next closing request adds it again.
        if let Some(query) = location.query() {
            let kept: Vec<_> = query.split('&').filter(|pair| !pair.starts_with("digest=")).collect();
            let kept = kept.join("&");
            location.set_query((!kept.is_empty()).then_some(kept.as_str()));
        }
        self.location = Some(location);
        Ok(true)
    }

    fn moved(&mut self, head: &Head) -> Result<(), Fault> {
        if let Some(location) = head.location.as_deref() {
            self.location = Some(self.resolve(location)?);
        }
        Ok(())
    }

    /// A `Location` counts from where the last request went.
    fn resolve(&self, text: &str) -> Result<Url, Fault> {
        let here = self.location.as_ref().filter(|_| self.state != State::Beginning).unwrap_or(&self.begin);
        let problem = |what: &str| Fault::Protocol(format!("gives a Location that is {what}"));
        let mut url = here.join(text.trim()).map_err(|_| problem("no address"))?;
        url.set_fragment(None);
        if !is_web(&url) {
            return Err(problem("none of the web, or names a user"));
        }
        // A registry behind a proxy that ends TLS does not know of it and writes `http` for itself.
        if self.base.scheme() == "https"
            && url.scheme() == "http"
            && url.host() == self.base.host()
            && (url.port().is_none() || url.port() == self.base.port())
        {
            let _ = url.set_scheme("https");
            let _ = url.set_port(self.base.port());
        }
        Ok(url)
    }

    fn check_digest(&self, head: &Head) -> Result<(), Fault> {
        match head.digest.as_deref().filter(|digest| digest.starts_with("sha256:")) {
            Some(digest) if digest.parse() != Ok(self.digest) => {
                Err(Fault::Protocol(format!("has stored other bytes than were sent: expected {}", self.digest)))
            }
            _ => Ok(()),
        }
    }

    fn shrink(&mut self) -> Result<(), Fault> {
        let smaller = SMALLER.into_iter().find(|smaller| *smaller < self.piece);
        self.piece = smaller.filter(|smaller| *smaller >= self.least).ok_or(Fault::Refused)?;
        // What it kept of the refused piece is for it to say.
        self.state = State::Asking;
        Ok(())
    }

    /// The session holds less than was sent.
    fn stalled(&mut self, progress: bool) -> Result<(), Fault> {
        self.stalls = self.stalls.saturating_add(1);
        self.stalls_in_a_row = if progress { 0 } else { self.stalls_in_a_row.saturating_add(1) };
        if self.stalls > MOST_STALLS || self.stalls_in_a_row > MOST_STALLS_IN_A_ROW {
            return self.all_at_once();
        }
        Ok(())
    }

    /// Pieces lead nowhere: a last attempt in one request.
    fn all_at_once(&mut self) -> Result<(), Fault> {
        if self.way == Way::Whole || self.whole_refused {
            return Err(Fault::Protocol("takes this blob neither at once nor in pieces".to_owned()));
        }
        self.way = Way::Whole;
        self.restart()
    }

    fn restart(&mut self) -> Result<(), Fault> {
        self.restarts = self.restarts.saturating_add(1);
        if self.restarts > MOST_RESTARTS {
            return Err(Fault::Refused);
        }
        self.abandoned.extend(self.location.take());
        (self.committed, self.resuming, self.resumed, self.stalls_in_a_row) = (0, false, 0, 0);
        self.doubted = None;
        self.state = State::Beginning;
        Ok(())
    }
}

/// Whether a count after a later piece is no count of the whole session: less than was there before, or the piece's own.
fn is_doubtful(committed: u64, sent: &Range<u64>) -> bool {
    let own = sent.end.saturating_sub(sent.start);
    sent.start > 0 && (committed < sent.start || committed == own)
}

enum Sent {
    Piece(Range<u64>),
    Close(Range<u64>),
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty() && url.password().is_none()
}

/// `0-N` means N + 1 bytes from the first one on; some write `bytes=` before it. Anything else is no answer.
fn committed(range: &str) -> Option<u64> {
    let range = range.trim();
    let range = range.strip_prefix("bytes=").or_else(|| range.strip_prefix("bytes ")).unwrap_or(range);
    let (first, last) = range.split_once('-')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(first) || !digits(last) || first.parse::<u64>() != Ok(0) {
        return None;
    }
    last.parse::<u64>().ok()?.checked_add(1)
}
