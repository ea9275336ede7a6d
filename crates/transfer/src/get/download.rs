//! The course of one download.

use std::{
    fmt,
    io::{self, Read as _},
    time::Duration,
};

use http::{HeaderValue, Method, StatusCode, header};
use imgcore::{Hasher, Progress};
use url::Url;

use super::{Get, Got, Have, Sink};
use crate::{
    Access, Budget, ContentRange, Error, ErrorKind, Net, Request, Response, check,
    exchange::given_up,
    fields::{content_length, strong_validator},
    host, is_transient, shown,
};

/// One address.
struct Mirror {
    url: Url,
    /// Asked for nothing any more, and why.
    out: Option<Error>,
    /// Answers parts as asked.
    ranges: bool,
    /// Failed since the last pause.
    tired: bool,
    asked: bool,
}

impl Mirror {
    fn new(url: &Url) -> Self {
        Self { url: url.clone(), out: None, ranges: true, tired: false, asked: false }
    }
}

/// Whose bytes are in the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Nothing,
    /// One answer, from the first byte.
    One,
    /// Several answers, or an earlier run.
    Mixed,
}

/// How an attempt failed.
enum Trouble {
    /// No other try helps: the sink, the user, the set-up.
    Fatal(Error),
    /// This address is of no use.
    Out(Error),
    /// It may work later.
    Later(Error, Option<Duration>),
    /// It may work from the first byte on.
    Anew(Error),
}

pub(super) struct Download<'a> {
    net: &'a Net,
    get: &'a Get,
    access: &'a dyn Access,
    sink: &'a mut dyn Sink,
    progress: &'a dyn Progress,
    task: &'a str,
    mirrors: Vec<Mirror>,
    turn: usize,
    budget: Budget,
    /// No try is left for mirrors that were asked before.
    spent: bool,
    /// Time spent waiting for servers since the last useful bytes.
    quiet: Duration,
    unmarked: u64,
    offset: u64,
    hasher: Hasher,
    /// Of the version that the sink holds, and which mirror named it.
    validator: Option<(usize, String)>,
    origin: Origin,
    total: Option<u64>,
    /// Bytes that progress knows of.
    reported: u64,
    requests: u32,
}

/// So many bytes are a sign that the server works.
const USEFUL: u64 = 64 * 1024;

/// A part that is smaller than asked for costs a try below this size, so that a server cannot give single bytes.
const SMALL_PART: u64 = 1024 * 1024;

impl<'a> Download<'a> {
    #[allow(clippy::too_many_arguments, reason = "the arguments of Net::get")]
    pub(super) fn new(
        net: &'a Net,
        get: &'a Get,
        access: &'a dyn Access,
        have: Have,
        sink: &'a mut dyn Sink,
        progress: &'a dyn Progress,
        task: &'a str,
    ) -> Self {
        Self {
            net,
            get,
            access,
            sink,
            progress,
            task,
            mirrors: get.url.iter().map(Mirror::new).collect(),
            turn: 0,
            budget: Budget::new(&net.policy),
            spent: false,
            quiet: Duration::ZERO,
            unmarked: 0,
            offset: have.offset,
            hasher: have.hasher,
            validator: have.validator.map(|validator| (0, validator)),
            origin: if have.offset == 0 { Origin::Nothing } else { Origin::Mixed },
            total: get.size,
            reported: 0,
            requests: 0,
        }
    }
}

impl Download<'_> {
    /// Tries until it is done or given up.
    pub(super) fn run(&mut self) -> Result<Got, Error> {
        let unprovable = self.get.digest.is_none() && self.validator.is_none();
        let too_long = self.offset > self.get.size.unwrap_or(self.get.limit);
        if self.offset > 0 && (unprovable || too_long) {
            self.restart()?;
        }
        self.report();
        if let (Some(size), Some(_)) = (self.get.size, self.get.digest)
            && self.offset == size
            && size > 0
        {
            match self.proved(None, None) {
                Ok(got) => return Ok(got),
                Err(_) => self.restart()?,
            }
        }
        loop {
            let Some(index) = self.next_mirror() else { return Err(self.verdict()) };
            let trouble = match self.attempt(index) {
                Ok(Some(got)) => return Ok(got),
                Ok(None) => continue,
                Err(trouble) => trouble,
            };
            let took = std::mem::take(&mut self.quiet);
            let (error, asked) = match trouble {
                Trouble::Fatal(error) => return Err(error),
                Trouble::Out(error) => {
                    self.mirrors[index].out = Some(error);
                    continue;
                }
                Trouble::Later(error, asked) => (error, asked),
                Trouble::Anew(error) => {
                    self.restart()?;
                    (error, Some(Duration::ZERO))
                }
            };
            self.spent |= !self.budget.spend(took);
            self.mirrors[index].tired = true;
            self.turn = index + 1;
            if self.next_mirror().is_some() {
                // Another mirror is asked at once.
                if self.spent {
                    self.mirrors[index].out = Some(given_up(error, &self.budget));
                }
                continue;
            }
            if self.spent || !self.budget.pause(&*self.net.pace, asked, &error.to_string())? {
                self.mirrors[index].out = Some(given_up(error, &self.budget));
                return Err(self.verdict());
            }
            self.mirrors.iter_mut().for_each(|mirror| mirror.tired = false);
            self.turn = index + 1;
        }
    }

    /// The next address in turn that is still of use and has not failed since the last pause; when all tries are spent,
    /// one that was never asked.
    fn next_mirror(&mut self) -> Option<usize> {
        let count = self.mirrors.len();
        let next = (0..count).map(|step| (self.turn + step) % count).find(|index| {
            let mirror = &self.mirrors[*index];
            mirror.out.is_none() && !mirror.tired && !(self.spent && mirror.asked)
        })?;
        self.turn = next;
        Some(next)
    }

    /// One request and what comes of it. Nothing: a part came, go on.
    fn attempt(&mut self, index: usize) -> Result<Option<Got>, Trouble> {
        if self.progress.cancelled() {
            return Err(Trouble::Fatal(ErrorKind::Cancelled.into()));
        }
        let strange = self.validator.as_ref().is_some_and(|(mirror, _)| *mirror != index);
        let provable = self.get.digest.is_some() || (self.validator.is_some() && !strange);
        if self.offset > 0 && (!provable || !self.mirrors[index].ranges) {
            self.restart().map_err(Trouble::Fatal)?;
        }
        let url = self.mirrors[index].url.clone();
        let mut request = Request::new(Method::GET, url.clone())
            .header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let ranged = self.offset > 0;
        if ranged {
            let range = HeaderValue::from_str(&format!("bytes={}-", self.offset));
            request.headers.extend(range.ok().map(|range| (header::RANGE, range)));
            let bound = self.validator.as_ref().filter(|(mirror, _)| *mirror == index);
            let bound = bound.and_then(|(_, validator)| HeaderValue::from_str(validator).ok());
            request.headers.extend(bound.map(|validator| (header::IF_RANGE, validator)));
        }
        self.requests += 1;
        self.mirrors[index].asked = true;
        let mut waited = Duration::ZERO;
        let answer = self.net.attempt(&request, self.access, &mut waited);
        self.quiet += waited;
        let answer = answer.map_err(Trouble::of)?;
        let at = answer.trail.url.clone().unwrap_or(url);
        if is_transient(answer.status) {
            let asked = self.net.asked(&answer);
            let start = self.net.pace.now();
            let error = check(answer, &at).err().unwrap_or_else(|| ErrorKind::Cancelled.into());
            self.quiet += self.net.pace.now().saturating_sub(start);
            return Err(Trouble::Later(error, asked));
        }
        if answer.status == StatusCode::RANGE_NOT_SATISFIABLE && ranged {
            return self.nothing_left(index, &answer, &at);
        }
        let answer = check(answer, &at).map_err(Trouble::Out)?;
        self.body(index, answer, &at, ranged)
    }

    /// 416: there is no byte behind those that are here.
    fn nothing_left(&mut self, index: usize, answer: &Response, at: &Url) -> Result<Option<Got>, Trouble> {
        let whole = match ContentRange::of(&answer.headers) {
            Some(ContentRange::Unsatisfied { total }) => total == self.offset,
            // Some servers leave it out (RFC 9110 section 15.5.17 says only SHOULD); the digest decides.
            _ => self.get.digest.is_some(),
        };
        if whole
            && self.get.size.is_none_or(|size| size == self.offset)
            && let Ok(got) = self.proved(Some(index), None)
        {
            return Ok(Some(got));
        }
        self.mirrors[index].ranges = false;
        Err(Trouble::Anew(protocol(at, format!("has no byte behind byte {} of what it gave before", self.offset))))
    }

    /// Checks the head of a success and takes its body.
    fn body(&mut self, index: usize, mut answer: Response, at: &Url, ranged: bool) -> Result<Option<Got>, Trouble> {
        if let Some(encoding) = encoding(&answer) {
            let problem = format!("sends Content-Encoding {encoding:?}, which was not asked for");
            return Err(Trouble::Out(protocol(at, problem)));
        }
        let length = content_length(&answer.headers);
        let validator = strong_validator(&answer.headers);
        let mut part_end = None;
        match answer.status {
            StatusCode::OK => {
                if ranged {
                    self.restart().map_err(Trouble::Fatal)?;
                }
                self.announced(length, at)?;
                part_end = length.or(part_end);
            }
            StatusCode::PARTIAL_CONTENT => {
                let found = ContentRange::of(&answer.headers);
                let Some(ContentRange::Part { first, last, total }) = found.filter(|_| ranged || found_is_first(found))
                else {
                    return self.bad_part(index, at, "sends a part without a readable Content-Range");
                };
                let end = last.saturating_add(1);
                let size = end.saturating_sub(first);
                if first != self.offset || length.is_some_and(|length| length != size) {
                    let found = length.unwrap_or(size);
                    let problem = format!(
                        "sends {found} bytes as bytes {first}-{last}, expected a part from byte {}",
                        self.offset
                    );
                    return self.bad_part(index, at, &problem);
                }
                // RFC 9110 section 15.3.7: a part carries the validator that the whole would. Without a digest nothing
                // else proves that it belongs to what is here; a cache may have ignored If-Range.
                if ranged && self.get.digest.is_none() && validator.is_none() {
                    return self.bad_part(index, at, "sends a part without the validator of the whole");
                }
                let changed = self.validator.as_ref().zip(validator.as_ref());
                if ranged && changed.is_some_and(|((mirror, old), new)| *mirror == index && old != new) {
                    return Err(Trouble::Anew(protocol(at, "the data changed while it was read".to_owned())));
                }
                self.announced(total, at)?;
                part_end = Some(end);
            }
            status => {
                let problem = format!("answers GET with status {}, expected 200", status.as_u16());
                return Err(Trouble::Out(protocol(at, problem)));
            }
        }
        let start = self.offset;
        self.origin = if start == 0 { Origin::One } else { Origin::Mixed };
        let fatal = |source| Trouble::Fatal(writing(source));
        self.sink.address(&self.mirrors[index].url).map_err(fatal)?;
        self.sink.validator(validator.as_deref()).map_err(fatal)?;
        self.validator = validator.map(|validator| (index, validator));
        self.pump(&mut answer, at, part_end)?;

        if let Some(end) = part_end
            && self.offset < end
        {
            return Err(Trouble::Later(cut(at, self.offset, Some(end)), None));
        }
        match self.total {
            Some(total) if self.offset < total && answer.status == StatusCode::PARTIAL_CONTENT => {
                let part = self.offset - start;
                if part < SMALL_PART && !self.budget.spend(Duration::ZERO) {
                    let problem = format!("gives its data in parts of {part} bytes");
                    return Err(Trouble::Out(protocol(at, problem)));
                }
                return Ok(None);
            }
            Some(total) if self.offset < total => {
                return Err(Trouble::Later(cut(at, self.offset, Some(total)), None));
            }
            // A part that does not tell the size of the whole: the next request finds the end.
            None if answer.status == StatusCode::PARTIAL_CONTENT => {
                if !self.budget.spend(Duration::ZERO) {
                    return Err(Trouble::Out(protocol(at, "never tells the size of the whole".to_owned())));
                }
                return Ok(None);
            }
            _ => {}
        }
        // Pieces of several answers may each be right and yet not belong together, and an end that nothing announced may
        // be a cut.
        let uncertain = self.origin == Origin::Mixed || (part_end.is_none() && self.get.size.is_none());
        match self.proved(Some(index), Some(&answer)) {
            Ok(got) => Ok(Some(got)),
            Err(error) if uncertain => Err(Trouble::Anew(error.into())),
            Err(error) => Err(Trouble::Out(error.into())),
        }
    }

    fn bad_part(&mut self, index: usize, at: &Url, problem: &str) -> Result<Option<Got>, Trouble> {
        self.mirrors[index].ranges = false;
        let error = protocol(at, problem.to_owned());
        Err(if self.offset > 0 { Trouble::Anew(error) } else { Trouble::Out(error) })
    }

    /// Compares the announced size of the whole with what is wanted.
    fn announced(&mut self, total: Option<u64>, at: &Url) -> Result<(), Trouble> {
        let Some(total) = total else { return Ok(()) };
        if let Some(expected) = self.get.size.filter(|size| *size != total) {
            return Err(Trouble::Out(ErrorKind::Size { url: shown(at), expected, found: total }.into()));
        }
        if total > self.get.limit {
            return Err(Trouble::Out(ErrorKind::TooLarge { url: shown(at), limit: self.get.limit }.into()));
        }
        if self.total.is_none() {
            self.total = Some(total);
            self.progress.start(self.task, Some(total));
        }
        Ok(())
    }

    /// Takes a body up to its announced end, and not a byte more than is wanted.
    fn pump(&mut self, answer: &mut Response, at: &Url, part_end: Option<u64>) -> Result<(), Trouble> {
        let end = part_end.or(self.total).unwrap_or(u64::MAX);
        let mut buffer = vec![0; 128 * 1024];
        loop {
            if self.progress.cancelled() {
                return Err(Trouble::Fatal(ErrorKind::Cancelled.into()));
            }
            let start = self.net.pace.now();
            let read = answer.body.read(&mut buffer);
            self.quiet += self.net.pace.now().saturating_sub(start);
            let count = match read {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Trouble::of(Error::from_body(error, at))),
            };
            let next = self.offset.saturating_add(count as u64);
            if next > end {
                let error = if part_end.is_some() && self.total != part_end {
                    protocol(at, format!("sends more than the part up to byte {end} that it announced"))
                } else {
                    ErrorKind::Size { url: shown(at), expected: end, found: next }.into()
                };
                self.restart().map_err(Trouble::Fatal)?;
                return Err(Trouble::Out(error));
            }
            if next > self.get.limit {
                self.restart().map_err(Trouble::Fatal)?;
                return Err(Trouble::Out(ErrorKind::TooLarge { url: shown(at), limit: self.get.limit }.into()));
            }
            let bytes = buffer.get(..count).unwrap_or_default();
            self.sink.write_all(bytes).map_err(|source| Trouble::Fatal(writing(source)))?;
            self.hasher.update(bytes);
            self.offset = next;
            self.unmarked += count as u64;
            if self.unmarked >= USEFUL {
                self.unmarked = 0;
                self.quiet = Duration::ZERO;
                self.budget.useful();
            }
            self.report();
        }
    }

    /// Checks what the sink holds, and empties it when that is wrong.
    fn proved(&mut self, mirror: Option<usize>, answer: Option<&Response>) -> Result<Got, ErrorKind> {
        let url = || self.mirrors.get(mirror.unwrap_or(0)).map(|mirror| shown(&mirror.url)).unwrap_or_default();
        let digest = self.hasher.clone().finish();
        if let Some(expected) = self.get.size.filter(|size| *size != self.offset) {
            return Err(ErrorKind::Size { url: url(), expected, found: self.offset });
        }
        if let Some(expected) = self.get.digest.filter(|expected| *expected != digest) {
            let error = ErrorKind::Digest { url: url(), expected, found: digest };
            return Err(match self.restart() {
                Ok(()) => error,
                Err(error) => error.into_kind(),
            });
        }
        self.sink.flush().map_err(|source| writing(source).into_kind())?;
        let text = |name| answer.and_then(|answer| answer.text(&name)).map(str::to_owned);
        Ok(Got {
            size: self.offset,
            digest,
            etag: text(header::ETAG),
            content_type: text(header::CONTENT_TYPE),
            mirror,
            requests: self.requests,
        })
    }

    fn restart(&mut self) -> Result<(), Error> {
        self.sink.restart().map_err(writing)?;
        (self.offset, self.hasher, self.validator, self.origin) = (0, Hasher::new(), None, Origin::Nothing);
        // Only a size that the caller knows survives a change of the data.
        self.total = self.get.size;
        Ok(())
    }

    /// Bytes that came twice are reported once.
    fn report(&mut self) {
        if self.offset > self.reported {
            self.progress.advance(self.task, self.offset - self.reported);
            self.reported = self.offset;
        }
    }

    /// Of all failures the one that says most.
    fn verdict(&mut self) -> Error {
        let rank = |error: &Error| match error.kind() {
            ErrorKind::Digest { .. } | ErrorKind::Size { .. } | ErrorKind::TooLarge { .. } => 0,
            ErrorKind::Refused { .. } => 1,
            ErrorKind::RateLimited { .. } => 2,
            ErrorKind::NotFound { .. } => 4,
            _ => 3,
        };
        let failures = self.mirrors.iter_mut().filter_map(|mirror| mirror.out.take());
        failures.min_by_key(rank).unwrap_or_else(|| {
            ErrorKind::Address { url: String::new(), problem: "no address to download from".to_owned() }.into()
        })
    }
}

impl Trouble {
    fn of(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Cancelled | ErrorKind::Setup { .. } | ErrorKind::Io { .. } => Self::Fatal(error),
            _ if error.is_transient() => Self::Later(error, None),
            _ => Self::Out(error),
        }
    }
}

impl fmt::Debug for Download<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download").field("offset", &self.offset).finish_non_exhaustive()
    }
}

fn found_is_first(found: Option<ContentRange>) -> bool {
    matches!(found, Some(ContentRange::Part { first: 0, .. }))
}

fn protocol(at: &Url, problem: String) -> Error {
    ErrorKind::Protocol { host: host(at), problem }.into()
}

fn cut(at: &Url, offset: u64, end: Option<u64>) -> Error {
    let of = end.map(|end| format!(" of {end}")).unwrap_or_default();
    let source = io::Error::new(io::ErrorKind::UnexpectedEof, format!("the data ends at byte {offset}{of}"));
    ErrorKind::Connect { host: host(at), source: source.into() }.into()
}

fn writing(source: io::Error) -> Error {
    match source.downcast::<Error>() {
        Ok(error) => error,
        Err(source) => ErrorKind::Io { what: "writing what came".to_owned(), source }.into(),
    }
}

/// A content coding that is not `identity` (RFC 9110 section 8.4).
fn encoding(answer: &Response) -> Option<String> {
    let values = answer.headers.get_all(header::CONTENT_ENCODING).iter();
    let text: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
    let text = crate::clean(&text.join(", "));
    let plain = text.split(',').all(|part| matches!(part.trim().to_ascii_lowercase().as_str(), "" | "identity"));
    (!plain).then_some(text)
}
