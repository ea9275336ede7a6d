//! Runs a scenario and says what is wrong with how it went.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    io::{self, Write},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use imgcore::{Blob, Digest, NoProgress, Progress};
use ocipack::{
    BlobSource, Descriptor, Document,
    registry::{
        BlobStore, Client, Credential, Credentials, Incoming, NoCredentials, Options, PushOptions, Reference, pull,
        push,
    },
};
use testkit::{
    faulty::{At, Faulty, IDENTITY, TOKEN, digest},
    registry::{PASSWORD, USER, base64},
};
use transfer::{Anonymous, Engine, EngineOptions, ErrorKind, Get, Have, Net, Pace, Policy, RealPace, Secret, Sink};

use crate::scenario::{Does, Ends, IMAGE, INDEX, Scenario, Who, layer};

/// A password that nobody has.
const WRONG: &str = "canary-wrong-31";

/// Time runs as it does, but a pause is over after a moment and remembered.
struct Hurry {
    real: RealPace,
    longest: Mutex<Duration>,
}

impl Pace for Hurry {
    fn now(&self) -> Duration {
        self.real.now()
    }

    fn unix_time(&self) -> u64 {
        self.real.unix_time()
    }

    fn sleep(&self, time: Duration, why: &str) -> Result<(), transfer::Error> {
        let mut longest = self.longest.lock().unwrap();
        *longest = time.max(*longest);
        drop(longest);
        self.real.sleep(time.min(Duration::from_millis(10)), why)
    }

    fn jitter(&self, most: Duration) -> Duration {
        most / 2
    }
}

struct Known(Who);

impl Credentials for Known {
    fn find(&self, _registry: &str, _repository: &str) -> Result<Option<Credential>, transfer::Error> {
        let basic = |password: &str| Credential::Basic { user: USER.to_owned(), password: Secret::new(password) };
        Ok(match self.0 {
            Who::Keeper => Some(basic(PASSWORD)),
            Who::Stranger => Some(basic(WRONG)),
            Who::Identity => Some(Credential::IdentityToken(Secret::new(IDENTITY))),
            Who::Nobody => None,
        })
    }
}

/// Blobs in memory: a name is given by `commit` alone.
#[derive(Default, Clone)]
struct Store(Arc<Shelves>);

#[derive(Default)]
struct Shelves {
    named: Mutex<BTreeMap<Digest, Vec<u8>>>,
    /// What came of those that were not finished.
    partial: Mutex<BTreeMap<Digest, Vec<u8>>>,
}

impl BlobSource for Store {
    fn blob(&self, digest: &Digest) -> io::Result<Option<Blob>> {
        let named = self.0.named.lock().unwrap();
        Ok(named.get(digest).map(|bytes| Blob::new(digest.to_string(), Arc::new(bytes.clone()), Some(*digest))))
    }
}

struct Arriving {
    store: Store,
    digest: Digest,
    bytes: Vec<u8>,
}

impl BlobStore for Store {
    fn receive(&self, descriptor: &Descriptor, _: &dyn Progress) -> io::Result<Option<Box<dyn Incoming>>> {
        if self.0.named.lock().unwrap().contains_key(&descriptor.digest) {
            return Ok(None);
        }
        let bytes = self.0.partial.lock().unwrap().remove(&descriptor.digest).unwrap_or_default();
        Ok(Some(Box::new(Arriving { store: self.clone(), digest: descriptor.digest, bytes })))
    }
}

impl Write for Arriving {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Arriving {
    fn restart(&mut self) -> io::Result<()> {
        self.bytes.clear();
        Ok(())
    }
}

impl Incoming for Arriving {
    fn have(&self) -> Have {
        let mut hasher = imgcore::Hasher::new();
        hasher.update(&self.bytes);
        Have { offset: self.bytes.len() as u64, hasher, validator: None }
    }

    fn commit(self: Box<Self>) -> io::Result<()> {
        self.store.0.named.lock().unwrap().insert(self.digest, self.bytes.clone());
        Ok(())
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.store.0.partial.lock().unwrap().insert(self.digest, std::mem::take(&mut self.bytes));
    }
}

/// How a run failed: the kind of the innermost cause, and all that a user or a log could see of it.
struct Failure {
    kind: String,
    text: String,
    shown: String,
}

fn name_of(debug: &impl Debug) -> String {
    let text = format!("{debug:?}");
    text.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default().to_owned()
}

fn of_transfer(error: &transfer::Error) -> Failure {
    let mut inner = error;
    while let ErrorKind::GivenUp { last, .. } = inner.kind() {
        inner = last;
    }
    Failure { kind: name_of(inner.kind()), text: error.to_string(), shown: format!("{error} {error:?}") }
}

fn of_registry(error: &ocipack::Error) -> Failure {
    match error.transfer() {
        Some(inner) => Failure { text: error.to_string(), shown: format!("{error} {error:?}"), ..of_transfer(inner) },
        None => Failure { kind: name_of(error.kind()), text: error.to_string(), shown: format!("{error} {error:?}") },
    }
}

/// What a run leaves to look at.
struct World {
    server: Faulty,
    net: Net,
    client: Client,
    store: Store,
    fetched: Vec<u8>,
}

impl World {
    fn go(&mut self, does: Does) -> Result<(), Failure> {
        let host = self.server.host(At::Registry);
        let reference: Reference = format!("{host}/demo/image:latest").parse().expect("a reference");
        match does {
            Does::Pull => {
                let pulled = pull(&self.client, &reference, &[], &self.store, &NoProgress);
                pulled.map(drop).map_err(|error| of_registry(&error))
            }
            Does::Push | Does::PushInPieces | Does::Mount => {
                let source = Store::default();
                let documents = IMAGE.manifests.iter().chain([&IMAGE.index]);
                for bytes in IMAGE.blobs.iter().chain(documents) {
                    source.0.named.lock().unwrap().insert(Digest::of(bytes), bytes.clone());
                }
                let root = Document {
                    media_type: INDEX.to_owned(),
                    digest: Digest::of(&IMAGE.index),
                    bytes: IMAGE.index.clone(),
                };
                let base: Reference = format!("{host}/demo/base:latest").parse().expect("a reference");
                let journal = Base(base.repository().clone());
                let mut options = PushOptions::default();
                if does == Does::Mount {
                    options.journal = &journal;
                }
                let pushed = push(&self.client, &source, &root, &reference, options, &NoProgress);
                pushed.map(drop).map_err(|error| of_registry(&error))
            }
            Does::Fetch => {
                let hosts = [At::Registry, At::Elsewhere].map(|at| self.server.host(at));
                let get = Get {
                    url: hosts.map(|host| format!("http://{host}/files/a").parse().expect("an address")).to_vec(),
                    size: Some(layer().len() as u64),
                    digest: Some(Digest::of(layer())),
                    limit: 1 << 20,
                };
                let got = self.net.get(&get, &Anonymous, Have::default(), &mut self.fetched, &NoProgress, "a");
                got.map(drop).map_err(|error| of_transfer(&error))
            }
        }
    }

    /// What is not as it must be after a run that ended well.
    fn wrong_result(&self, does: Does) -> Vec<String> {
        match does {
            Does::Pull => {
                let named = self.store.0.named.lock().unwrap();
                let documents = IMAGE.manifests.iter().chain([&IMAGE.index]);
                let all = IMAGE.blobs.iter().chain(documents);
                let missing = all.filter(|bytes| named.get(&Digest::of(bytes)) != Some(bytes));
                missing.map(|bytes| format!("{} did not arrive", digest(bytes))).collect()
            }
            Does::Fetch if self.fetched == layer() => Vec::new(),
            Does::Fetch => vec![format!("{} other bytes", self.fetched.len())],
            _ => IMAGE.missing(&self.server.content(), "demo/image"),
        }
    }
}

/// Knows that another repository has everything.
struct Base(ocipack::registry::Repository);

impl ocipack::registry::Journal for Base {
    fn elsewhere(&self, _: &ocipack::registry::Repository, _: &Digest) -> Option<ocipack::registry::Repository> {
        Some(self.0.clone())
    }
}

/// Runs a scenario; what is wrong with how it went.
pub(crate) fn run(scenario: Scenario) -> Vec<String> {
    let Scenario { does, who, setup, trusts_elsewhere, ends, most, pause, sends, resumes, .. } = scenario;
    let server = Faulty::start(setup);
    match does {
        Does::Pull => IMAGE.fill(&mut server.content(), "demo/image"),
        Does::Mount => IMAGE.fill(&mut server.content(), "demo/base"),
        Does::Fetch => server.add_file("a", layer()),
        Does::Push | Does::PushInPieces => {}
    }
    let mut plain_http = vec![server.host(At::Registry)];
    if trusts_elsewhere {
        let host = server.host(At::Elsewhere);
        plain_http.push(host.replace("127.0.0.1", "localhost"));
        plain_http.push(host);
    }
    let short = Duration::from_millis(700);
    let options = EngineOptions {
        plain_http: plain_http.clone(),
        connect: short,
        answer: short,
        answer_to_body: short,
        idle: short,
        ..EngineOptions::default()
    };
    let engine = Engine::new(options).expect("an engine");
    let pace = Arc::new(Hurry { real: RealPace::quiet(), longest: Mutex::default() });
    let net = Net { transport: Arc::new(engine), pace: pace.clone(), policy: Policy::default() };
    let credentials: Arc<dyn Credentials> = match who {
        Who::Nobody => Arc::new(NoCredentials),
        who => Arc::new(Known(who)),
    };
    let piece = (does == Does::PushInPieces).then_some(64 << 10);
    let client = Client::new(net.clone(), credentials, Options { plain_http, piece, ..Options::default() });
    let mut world = World { server, net, client, store: Store::default(), fetched: Vec::new() };

    let start = Instant::now();
    let outcome = world.go(does);
    let mut problems = Vec::new();
    match (&outcome, ends) {
        (Ok(()), Ends::Right | Ends::Safely) => problems.extend(world.wrong_result(does)),
        (Ok(()), Ends::Wrong(kinds)) => problems.push(format!("no error, expected one of {kinds:?}")),
        (Err(failure), Ends::Right) => problems.push(format!("{}: {}", failure.kind, failure.text)),
        (Err(failure), Ends::Wrong(kinds)) if !kinds.contains(&failure.kind.as_str()) => {
            problems.push(format!("expected one of {kinds:?}, found {}: {}", failure.kind, failure.text));
        }
        (Err(_), _) => {}
    }
    if start.elapsed() > Duration::from_secs(30) {
        problems.push(format!("took {:?}", start.elapsed()));
    }

    // What holds for every fault.
    for (name, bytes) in world.store.0.named.lock().unwrap().iter() {
        if Digest::of(bytes) != *name {
            problems.push(format!("other bytes under the name {name}"));
        }
    }
    let basic = [PASSWORD, WRONG].map(|password| base64(&format!("{USER}:{password}")));
    let secrets = [PASSWORD, WRONG, IDENTITY, TOKEN, &basic[0], &basic[1]];
    problems.extend(world.server.leaks(&secrets));
    if let Err(failure) = &outcome {
        let told = secrets.iter().filter(|secret| failure.shown.contains(**secret));
        problems.extend(told.map(|secret| format!("the error tells {secret}: {}", failure.text)));
        if failure.text.chars().any(char::is_control) || failure.text.len() > 1200 {
            problems.push(format!("not fit to be shown: {:?}", failure.text));
        }
    }
    let seen = world.server.seen();
    if seen.len() > most {
        problems.push(format!("{} requests, expected at most {most}", seen.len()));
    }
    if *pace.longest.lock().unwrap() < Duration::from_secs(pause) {
        problems.push(format!("no pause of {pause} s"));
    }
    if !seen.iter().any(|seen| seen.request.target.contains(sends)) {
        problems.push(format!("no request holds {sends}"));
    }
    if resumes && !seen.iter().any(|seen| seen.request.header("range").is_some()) {
        problems.push("did not ask for the rest".to_owned());
    }
    problems
}
