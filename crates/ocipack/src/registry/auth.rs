//! Tokens and passwords for requests, each for the one registry that it is for.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::Deserialize;
use transfer::{
    Access, Anonymous, Body, Error, ErrorKind, HeaderValue, Method, Net, Request, Response, Secret, StatusCode, Url,
    check, clean, header, host, host_is_listed, same_origin, shown,
};

use super::{
    challenge::{Challenge, Scopes},
    credentials::{Credential, Credentials},
    place::Place,
};

/// Life of a token that does not tell ("Token Authentication Specification" of the distribution project).
const USUAL_LIFE: Duration = Duration::from_mins(1);
/// A token may be used no longer than this, whatever it claims.
const LONGEST_LIFE: Duration = Duration::from_hours(1);
/// A token is not used in the last part of its life: the request must still arrive.
const MARGIN: Duration = Duration::from_secs(10);
/// The most that a token server's answer may hold.
const TOKEN_ANSWER: u64 = 1024 * 1024;
/// As many tokens as are kept; the oldest goes first.
const MOST_TOKENS: usize = 64;
/// What token servers log us as.
const CLIENT: &str = "ocipack";

/// What one client knows of registries: how each wants to be asked, and tokens that still live.
pub(crate) struct Auth {
    net: Net,
    credentials: Arc<dyn Credentials>,
    plain_http: Vec<String>,
    /// By origin of the registry.
    known: Mutex<BTreeMap<String, Way>>,
    tokens: Mutex<Vec<Token>>,
    /// By registry and repository. A helper is asked once.
    found: Mutex<BTreeMap<(String, String), Option<Credential>>>,
    /// One token is fetched at a time, so that many threads do not all ask for the same.
    fetching: Mutex<()>,
}

#[derive(Debug, Clone)]
enum Way {
    Basic,
    Bearer(Server),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Server {
    realm: Url,
    service: Option<String>,
}

#[derive(Debug, Clone)]
struct Token {
    origin: String,
    server: Server,
    scopes: Scopes,
    value: HeaderValue,
    until: Duration,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Auth {
    pub(crate) fn new(net: Net, credentials: Arc<dyn Credentials>, plain_http: Vec<String>) -> Self {
        Self {
            net,
            credentials,
            plain_http,
            known: Mutex::default(),
            tokens: Mutex::default(),
            found: Mutex::default(),
            fetching: Mutex::default(),
        }
    }

    /// Access for requests to these places; the scopes are those that each needs.
    pub(crate) fn access(&self, places: Vec<(Place, Scopes)>) -> Asking<'_> {
        let targets = places.into_iter().map(|(place, scopes)| Target { place, scopes, state: Mutex::default() });
        Asking { auth: self, targets: targets.collect() }
    }

    /// Whether any credential is known for a place; what cannot be found out is none.
    pub(crate) fn has_credential(&self, place: &Place) -> bool {
        self.credential(place).is_ok_and(|found| found.is_some())
    }

    fn credential(&self, place: &Place) -> Result<Option<Credential>, Error> {
        let key = (place.registry.clone(), place.name.clone());
        if let Some(found) = lock(&self.found).get(&key) {
            return Ok(found.clone());
        }
        let found = self.credentials.find(&place.registry, &place.name)?;
        lock(&self.found).insert(key, found.clone());
        Ok(found)
    }

    /// A living token that serves, but not the one that was just refused.
    fn living(&self, origin: &str, server: &Server, scopes: &Scopes) -> Option<HeaderValue> {
        let now = self.net.pace.now();
        let mut tokens = lock(&self.tokens);
        tokens.retain(|token| now < token.until);
        let serves = |token: &&Token| token.origin == origin && token.server == *server && token.scopes.cover(scopes);
        tokens.iter().find(serves).map(|token| token.value.clone())
    }

    fn forget(&self, value: &HeaderValue) {
        lock(&self.tokens).retain(|token| token.value != *value);
    }

    fn token(&self, place: &Place, server: &Server, scopes: &Scopes) -> Result<HeaderValue, Error> {
        let origin = origin(&place.base);
        let _one = lock(&self.fetching);
        if let Some(value) = self.living(&origin, server, scopes) {
            return Ok(value);
        }
        let credential = self.credential(place)?;
        if credential.is_some() {
            may_have(place, server)?;
        }
        let answer = match &credential {
            Some(Credential::IdentityToken(token)) => self.exchange_identity(server, scopes, token)?,
            Some(Credential::Basic { user, password }) => {
                self.get(server, scopes, Some(&basic(user, password, &server.realm)?))?
            }
            None => self.get(server, scopes, None)?,
        };
        let url = &server.realm;
        let fetched = self.net.pace.now();
        let bytes = check(answer, url)?.read(url, TOKEN_ANSWER)?;
        let (value, life) = read_token(&bytes, url)?;
        let margin = MARGIN.min(life.checked_div(10).unwrap_or_default());
        let until = fetched.saturating_add(life.saturating_sub(margin));
        let mut tokens = lock(&self.tokens);
        if tokens.len() >= MOST_TOKENS {
            tokens.remove(0);
        }
        let (server, scopes) = (server.clone(), scopes.clone());
        tokens.push(Token { origin, server, scopes, value: value.clone(), until });
        Ok(value)
    }

    /// "Requesting a Token" of the distribution project's token specification.
    fn get(&self, server: &Server, scopes: &Scopes, basic: Option<&HeaderValue>) -> Result<Response, Error> {
        let mut url = server.realm.clone();
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = &server.service {
                query.append_pair("service", service);
            }
            for scope in scopes.texts() {
                query.append_pair("scope", &scope);
            }
        }
        let mut request = Request::new(Method::GET, url).header(header::ACCEPT, JSON);
        if let Some(basic) = basic {
            request = request.header(header::AUTHORIZATION, basic.clone());
        }
        self.net.exchange(request, &Anonymous)
    }

    /// "Token Authentication Specification: OAuth2". Servers that know only GET answer 404 or 405; they get the token as
    /// the password of the user `<token>`, which is how credential helpers name it.
    fn exchange_identity(&self, server: &Server, scopes: &Scopes, token: &Secret) -> Result<Response, Error> {
        let scopes_text = scopes.texts().collect::<Vec<_>>().join(" ");
        // The address is never sent; it lends its rules of writing a form.
        let mut form = server.realm.clone();
        form.set_query(None);
        form.query_pairs_mut()
            .append_pair("grant_type", "refresh_token")
            .append_pair("service", server.service.as_deref().unwrap_or_default())
            .append_pair("client_id", CLIENT)
            .append_pair("scope", &scopes_text)
            .append_pair("refresh_token", token.reveal());
        let body = form.query().unwrap_or_default().as_bytes().to_vec();
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        let request = Request::new(Method::POST, server.realm.clone())
            .header(header::ACCEPT, JSON)
            .header(header::CONTENT_TYPE, kind)
            .body(Body::Bytes(body));
        let answer = self.net.exchange(request, &Anonymous)?;
        if matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) {
            return self.get(server, scopes, Some(&basic("<token>", token, &server.realm)?));
        }
        if let Err(status) = check_status(&answer) {
            // The text of a refusal may repeat the form that was sent.
            let (host, message) = (host(&server.realm), "the identity token is not taken: log in again".to_owned());
            return Err(match status {
                401 | 403 | 400 => ErrorKind::Refused { host, status, message, with_credentials: true },
                _ => ErrorKind::Status { url: shown(&server.realm), status, message: String::new() },
            }
            .into());
        }
        Ok(answer)
    }

    /// The token server of a challenge: over TLS, or where the registry itself is spoken to without.
    fn server(&self, place: &Place, challenge: &Challenge) -> Result<Server, Error> {
        let protocol = |problem: String| Error::from(ErrorKind::Protocol { host: host(&place.base), problem });
        let text = challenge
            .parameter("realm")
            .ok_or_else(|| protocol("asks for a bearer token without saying where to get one".to_owned()))?;
        let mut realm = place
            .base
            .join(text.trim())
            .map_err(|error| protocol(format!("names a token server that is no address ({error}): {}", clean(text))))?;
        realm.set_fragment(None);
        if !realm.username().is_empty() || realm.password().is_some() {
            return Err(protocol("names a token server with a user in its address".to_owned()));
        }
        let own = place.base.scheme() == "http" && place.base.host() == realm.host();
        match realm.scheme() {
            "https" => {}
            "http" if own && host_is_listed(&realm, &self.plain_http) => {}
            "http" => return Err(ErrorKind::Insecure { host: host(&realm) }.into()),
            _ => return Err(protocol(format!("names a token server that is none of the web: {}", shown(&realm)))),
        }
        Ok(Server { realm, service: challenge.parameter("service").map(ToOwned::to_owned) })
    }
}

/// A credential goes to a token server that the registry named over TLS, or on the registry's own host.
fn may_have(place: &Place, server: &Server) -> Result<(), Error> {
    if place.base.scheme() == "https" || place.base.host() == server.realm.host() {
        return Ok(());
    }
    let problem = format!(
        "names {} for tokens, over a connection without TLS: credentials are not sent there",
        host(&server.realm)
    );
    Err(ErrorKind::Protocol { host: host(&place.base), problem }.into())
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

fn check_status(answer: &Response) -> Result<(), u16> {
    if answer.status.is_success() { Ok(()) } else { Err(answer.status.as_u16()) }
}

fn origin(url: &Url) -> String {
    format!("{}://{}", url.scheme(), host(url))
}

fn basic(user: &str, password: &Secret, url: &Url) -> Result<HeaderValue, Error> {
    if user.contains(':') {
        // RFC 7617 section 2.
        let problem = "the user of its credential holds a colon, which no password can be told from".to_owned();
        return Err(ErrorKind::Setup { what: host(url), problem }.into());
    }
    let text = format!("Basic {}", BASE64.encode(format!("{user}:{}", password.reveal())));
    secret_value(&text, url)
}

fn secret_value(text: &str, url: &Url) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        let problem = "gives a token that no header can hold".to_owned();
        Error::from(ErrorKind::Protocol { host: host(url), problem })
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The answer of a token server: `token`, or `access_token` as OAuth2 has it.
#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<serde_json::Value>,
}

fn read_token(bytes: &[u8], url: &Url) -> Result<(HeaderValue, Duration), Error> {
    let protocol = |problem: &str| Error::from(ErrorKind::Protocol { host: host(url), problem: problem.to_owned() });
    // The text of serde's error may quote the token.
    let answer: Answer =
        serde_json::from_slice(bytes).map_err(|_| protocol("gives no JSON with a token, expected `token`"))?;
    let full = |text: Option<String>| text.filter(|text| !text.is_empty());
    let token = full(answer.token)
        .or(full(answer.access_token))
        .ok_or_else(|| protocol("gives JSON without a token, expected `token` or `access_token`"))?;
    let seconds = answer.expires_in.and_then(|life| match life {
        // Some write a number as a text.
        serde_json::Value::String(text) => text.trim().parse().ok(),
        other => other.as_u64(),
    });
    // 0 and nonsense count as unknown: the token was given to be used.
    let life = seconds.filter(|seconds| *seconds > 0).map_or(USUAL_LIFE, Duration::from_secs).min(LONGEST_LIFE);
    Ok((secret_value(&format!("Bearer {token}"), url)?, life))
}

/// Access for the requests of one operation.
pub(crate) struct Asking<'a> {
    auth: &'a Auth,
    targets: Vec<Target>,
}

struct Target {
    place: Place,
    scopes: Scopes,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the next request carries, however short a life it claims.
    fresh: Option<HeaderValue>,
    /// What was fetched after a refusal, and when: not the same twice in a row.
    fetched: Vec<((Server, Scopes), Duration)>,
    /// Whether a password was sent and refused.
    basic_refused: bool,
}

/// A first token, and another one when the registry then asks for other scopes.
const MOST_FETCHES: usize = 2;
/// A token that was taken for so long may have died since: a long transfer goes on with another one.
const TAKEN: Duration = Duration::from_secs(30);

impl Asking<'_> {
    fn target(&self, request: &Request) -> Option<&Target> {
        let mine = |target: &&Target| same_origin(&target.place.base, &request.url);
        let nearest = |target: &&Target| request.url.path().starts_with(target.place.base.path());
        self.targets.iter().find(|target| mine(target) && nearest(target)).or_else(|| self.targets.iter().find(mine))
    }
}

impl Access for Asking<'_> {
    fn authorise(&self, request: &mut Request) -> Result<(), Error> {
        let Some(target) = self.target(request) else { return Ok(()) };
        let place = &target.place;
        let fresh = lock(&target.state).fresh.take();
        let known = lock(&self.auth.known).get(&origin(&place.base)).cloned();
        let value = match (fresh, known) {
            (Some(value), _) => Some(value),
            (None, None) => None,
            (None, Some(Way::Basic)) => match self.auth.credential(place)? {
                Some(Credential::Basic { user, password }) => Some(basic(&user, &password, &place.base)?),
                _ => None,
            },
            (None, Some(Way::Bearer(server))) => Some(self.auth.token(place, &server, &target.scopes)?),
        };
        if let Some(value) = value {
            request.headers.insert(header::AUTHORIZATION, value);
        }
        Ok(())
    }

    fn refused(&self, request: &Request, response: &Response) -> Result<bool, Error> {
        let Some(target) = self.target(request) else { return Ok(false) };
        let (auth, place) = (self.auth, &target.place);
        let sent = request.headers.get(header::AUTHORIZATION);
        let fields = response.headers.get_all(header::WWW_AUTHENTICATE);
        let challenges: Vec<_> =
            fields.iter().flat_map(|value| Challenge::parse(&String::from_utf8_lossy(value.as_bytes()))).collect();
        let offered = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme() == scheme);
        let mut state = lock(&target.state);
        state.fresh = None;
        if let Some(sent) = sent {
            auth.forget(sent);
        }
        if let Some(challenge) = offered("bearer") {
            let server = auth.server(place, challenge)?;
            // A registry behind a prefix names its repositories otherwise than we do; its own words count as well.
            let scopes = target.scopes.join(&Scopes::parse(challenge.parameter("scope").unwrap_or_default()));
            let wanted = (server, scopes);
            let now = auth.net.pace.now();
            state.fetched.retain(|(_, then)| now.saturating_sub(*then) < TAKEN);
            if state.fetched.len() >= MOST_FETCHES || state.fetched.iter().any(|(fetched, _)| *fetched == wanted) {
                return Ok(false);
            }
            state.fresh = Some(auth.token(place, &wanted.0, &wanted.1)?);
            lock(&auth.known).insert(origin(&place.base), Way::Bearer(wanted.0.clone()));
            state.fetched.push((wanted, now));
            return Ok(true);
        }
        let basic_sent = sent.is_some_and(|value| value.as_bytes().starts_with(b"Basic "));
        state.basic_refused |= basic_sent;
        if offered("basic").is_some()
            && !state.basic_refused
            && let Some(Credential::Basic { user, password }) = auth.credential(place)?
        {
            state.fresh = Some(basic(&user, &password, &place.base)?);
            lock(&auth.known).insert(origin(&place.base), Way::Basic);
            return Ok(true);
        }
        Ok(false)
    }
}
