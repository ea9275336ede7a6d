//! The right answers: a registry of the distribution specification 1.1 and a file server, in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};

use super::http::{Answer, Request, parameters};
use crate::registry::{PASSWORD, USER, base64};

/// What the scripted registry asks of those who come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Auth {
    /// Nothing.
    #[default]
    Nobody,
    /// User and password with each request.
    Basic,
    /// A token of `/token` with each request, for the action on the repository.
    Bearer,
}

/// An identity token that `/token` takes, as `docker login` keeps one of some registries.
pub const IDENTITY: &str = "canary-identity-77ab";
/// How every token begins that `/token` gives.
pub const TOKEN: &str = "canary-token-";

/// `sha256:…` of bytes.
pub fn digest(bytes: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        text += &format!("{byte:02x}");
    }
    text
}

/// What the registry holds, by repository.
#[derive(Debug, Default)]
pub struct Content {
    pub(super) auth: Auth,
    pub(super) ceiling: Option<(usize, u16)>,
    blobs: BTreeMap<(String, String), Arc<Vec<u8>>>,
    manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    tags: BTreeMap<(String, String), String>,
    files: BTreeMap<String, Arc<Vec<u8>>>,
    uploads: BTreeMap<String, Vec<u8>>,
    tokens: BTreeMap<String, Vec<String>>,
    count: usize,
}

impl Content {
    pub(super) fn new(auth: Auth, ceiling: Option<(usize, u16)>) -> Self {
        Self { auth, ceiling, ..Self::default() }
    }

    /// Adds a blob; its digest.
    pub fn add_blob(&mut self, repository: &str, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        self.blobs.insert((repository.to_owned(), digest.clone()), Arc::new(bytes.to_vec()));
        digest
    }

    /// Adds a manifest or an index; its digest.
    pub fn add_manifest(&mut self, repository: &str, media: &str, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        self.manifests.insert((repository.to_owned(), digest.clone()), (media.to_owned(), bytes.to_vec()));
        digest
    }

    /// Lets a tag point to a digest.
    pub fn set_tag(&mut self, repository: &str, tag: &str, digest: &str) {
        self.tags.insert((repository.to_owned(), tag.to_owned()), digest.to_owned());
    }

    /// Adds a file.
    pub fn add_file(&mut self, name: &str, bytes: &[u8]) {
        self.files.insert(name.to_owned(), Arc::new(bytes.to_vec()));
    }

    /// Where a tag points.
    pub fn tag(&self, repository: &str, tag: &str) -> Option<String> {
        self.tags.get(&(repository.to_owned(), tag.to_owned())).cloned()
    }

    /// A blob.
    pub fn blob(&self, repository: &str, digest: &str) -> Option<Arc<Vec<u8>>> {
        self.blobs.get(&(repository.to_owned(), digest.to_owned())).cloned()
    }

    /// The bytes of a manifest or an index.
    pub fn manifest(&self, repository: &str, digest: &str) -> Option<Vec<u8>> {
        self.manifests.get(&(repository.to_owned(), digest.to_owned())).map(|(_, bytes)| bytes.clone())
    }

    /// Whether the request may pass, else the challenge.
    fn door(&self, request: &Request, repository: &str, action: &str) -> Result<(), Answer> {
        let given = request.header("authorization").unwrap_or_default();
        let (fine, challenge) = match self.auth {
            Auth::Nobody => (true, String::new()),
            Auth::Basic => {
                let right = format!("Basic {}", base64(&format!("{USER}:{PASSWORD}")));
                (given == right, r#"Basic realm="testkit""#.to_owned())
            }
            Auth::Bearer => {
                let scopes = given.strip_prefix("Bearer ").and_then(|token| self.tokens.get(token));
                let grants = |scope: &String| {
                    let mut parts = scope.rsplitn(2, ':');
                    let actions = parts.next().unwrap_or_default();
                    let name = parts.next().and_then(|rest| rest.strip_prefix("repository:"));
                    name == Some(repository) && actions.split(',').any(|granted| granted == action)
                };
                let fine = scopes.is_some_and(|scopes| repository.is_empty() || scopes.iter().any(grants));
                let mut text = r#"Bearer realm="http://{here}/token",service="testkit""#.to_owned();
                if !repository.is_empty() {
                    let actions = if action == "pull" { "pull" } else { "pull,push" };
                    text += &format!(r#",scope="repository:{repository}:{actions}""#);
                }
                (fine, text)
            }
        };
        if fine {
            return Ok(());
        }
        let answer = Answer::error(401, "UNAUTHORIZED", "authentication required");
        Err(answer.header("WWW-Authenticate", challenge))
    }

    /// The right answer to a request.
    pub(super) fn answer(&mut self, request: &Request) -> Answer {
        let path = request.path().to_owned();
        if path == "/token" {
            return self.token(request);
        }
        if let Some(name) = path.strip_prefix("/files/") {
            return self.files.get(name).map_or_else(|| Answer::new(404), |bytes| served(request, bytes));
        }
        // The other host holds what this one redirects to, and asks nobody.
        if let Some(rest) = request.target.strip_prefix("/cdn") {
            let moved = Request { target: rest.to_owned(), ..request.clone() };
            let auth = std::mem::take(&mut self.auth);
            let mut answer = self.answer(&moved);
            self.auth = auth;
            for (_, value) in answer.headers.iter_mut().filter(|(name, _)| name == "Location") {
                value.insert_str(0, "/cdn");
            }
            return answer;
        }
        let reads = matches!(request.method.as_str(), "GET" | "HEAD");
        if path == "/v2/" || path == "/v2" {
            return self.door(request, "", "").err().unwrap_or_else(|| Answer::new(200).body("{}"));
        }
        let parts = path.strip_prefix("/v2/").and_then(|rest| {
            let at = ["/manifests/", "/blobs/uploads/", "/blobs/"];
            at.iter().find_map(|kind| rest.split_once(kind).map(|(name, last)| (name, *kind, last)))
        });
        let Some((name, kind, last)) = parts else { return Answer::error(404, "UNSUPPORTED", "no such page") };
        if let Err(answer) = self.door(request, name, if reads && kind != "/blobs/uploads/" { "pull" } else { "push" })
        {
            return answer;
        }
        let (name, last) = (name.to_owned(), last.to_owned());
        match (kind, request.method.as_str()) {
            ("/blobs/", "GET" | "HEAD") => match self.blobs.get(&(name, last.clone())) {
                Some(bytes) => served(request, bytes).header("Docker-Content-Digest", last),
                None => Answer::error(404, "BLOB_UNKNOWN", "blob unknown to registry"),
            },
            ("/manifests/", "GET" | "HEAD") => self.read_manifest(&name, &last),
            ("/manifests/", "PUT") => self.put_manifest(request, name, last),
            ("/blobs/uploads/", "POST") => self.start(request, name),
            ("/blobs/uploads/", _) => self.upload(request, name, &last),
            _ => Answer::error(405, "UNSUPPORTED", "the operation is unsupported"),
        }
    }

    fn token(&mut self, request: &Request) -> Answer {
        let form = String::from_utf8_lossy(&request.body).into_owned();
        let identity = parameters(&form, "refresh_token").contains(&IDENTITY.to_owned());
        let basic = format!("Basic {}", base64(&format!("{USER}:{PASSWORD}")));
        let password = parameters(&form, "password").contains(&PASSWORD.to_owned());
        let known = identity || password || request.header("authorization") == Some(basic.as_str());
        if !known && (request.header("authorization").is_some() || request.method == "POST") {
            return Answer::error(401, "UNAUTHORIZED", "incorrect username or password");
        }
        let mut scopes = request.query("scope");
        scopes.extend(parameters(&form, "scope"));
        let mut scopes: Vec<String> = scopes.iter().flat_map(|text| text.split(' ')).map(str::to_owned).collect();
        if !known {
            scopes = scopes.iter().map(|scope| scope.replace("pull,push", "pull")).collect();
        }
        self.count += 1;
        let token = format!("{TOKEN}{}", self.count);
        self.tokens.insert(token.clone(), scopes);
        let body = format!(r#"{{"token": "{token}", "access_token": "{token}", "expires_in": 300}}"#);
        Answer::new(200).header("Content-Type", "application/json").body(body)
    }

    /// Makes every token that was given out worthless.
    pub fn forget_tokens(&mut self) {
        self.tokens.clear();
    }

    fn read_manifest(&self, name: &str, last: &str) -> Answer {
        let digest = self.tags.get(&(name.to_owned(), last.to_owned())).map_or(last, String::as_str);
        match self.manifests.get(&(name.to_owned(), digest.to_owned())) {
            Some((media, bytes)) => {
                let answer = Answer::new(200).header("Content-Type", media.clone());
                answer.header("Docker-Content-Digest", digest).body(bytes.clone())
            }
            None => Answer::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        }
    }

    fn put_manifest(&mut self, request: &Request, name: String, last: String) -> Answer {
        let found = digest(&request.body);
        if last.starts_with("sha256:") && last != found {
            return Answer::error(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
        }
        let text = String::from_utf8_lossy(&request.body).into_owned();
        let named: BTreeSet<_> =
            text.split('"').filter(|word| word.starts_with("sha256:") && word.len() == 71).collect();
        // Labels and annotations may name what is elsewhere; what stands behind `"digest"` must be here.
        for child in named.into_iter().filter(|word| text.replace(": ", ":").contains(&format!(r#""digest":"{word}""#)))
        {
            let key = (name.clone(), child.to_owned());
            if !self.blobs.contains_key(&key) && !self.manifests.contains_key(&key) {
                return Answer::error(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry");
            }
        }
        let media = request.header("content-type").unwrap_or_default().to_owned();
        self.manifests.insert((name.clone(), found.clone()), (media, request.body.clone()));
        if !last.starts_with("sha256:") {
            self.tags.insert((name.clone(), last), found.clone());
        }
        let answer = Answer::new(201).header("Location", format!("/v2/{name}/manifests/{found}"));
        answer.header("Docker-Content-Digest", found)
    }

    fn start(&mut self, request: &Request, name: String) -> Answer {
        if let (Some(wanted), Some(from)) = (request.query("mount").pop(), request.query("from").pop())
            && let Some(bytes) = self.blobs.get(&(from, wanted.clone())).cloned()
        {
            self.blobs.insert((name.clone(), wanted.clone()), bytes);
            return created(&name, &wanted);
        }
        if let Some(wanted) = request.query("digest").pop() {
            return self.close(name, &wanted, request.body.clone());
        }
        self.count += 1;
        let id = format!("upload-{}", self.count);
        self.uploads.insert(id.clone(), Vec::new());
        progress(202, &name, &id, 0)
    }

    fn upload(&mut self, request: &Request, name: String, id: &str) -> Answer {
        let Some(held) = self.uploads.get_mut(id) else {
            return Answer::error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
        };
        if let Some((_, status)) = self.ceiling.filter(|(most, _)| request.body.len() > *most) {
            return progress(status, &name, id, held.len());
        }
        let start = request.header("content-range").and_then(|text| text.split('-').next()?.parse::<usize>().ok());
        if start.is_some_and(|start| start != held.len()) {
            return progress(416, &name, id, held.len());
        }
        match request.method.as_str() {
            "GET" => progress(204, &name, id, held.len()),
            "PATCH" => {
                held.extend_from_slice(&request.body);
                let length = held.len();
                progress(202, &name, id, length)
            }
            "PUT" => {
                let mut bytes = self.uploads.remove(id).unwrap_or_default();
                bytes.extend_from_slice(&request.body);
                let wanted = request.query("digest").pop().unwrap_or_default();
                self.close(name, &wanted, bytes)
            }
            "DELETE" => {
                self.uploads.remove(id);
                Answer::new(204)
            }
            _ => Answer::error(405, "UNSUPPORTED", "the operation is unsupported"),
        }
    }

    fn close(&mut self, name: String, wanted: &str, bytes: Vec<u8>) -> Answer {
        if digest(&bytes) != wanted {
            return Answer::error(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
        }
        let answer = created(&name, wanted);
        self.blobs.insert((name, wanted.to_owned()), Arc::new(bytes));
        answer
    }

    /// Keeps what came of a request whose connection is about to break, as registries do that stream to disk.
    pub(super) fn keep(&mut self, request: &Request) {
        let id = request.path().rsplit('/').next().unwrap_or_default();
        if let Some(held) = self.uploads.get_mut(id) {
            held.extend_from_slice(&request.body);
        }
    }

    /// Forgets every upload that is not finished.
    pub fn forget_uploads(&mut self) {
        self.uploads.clear();
    }
}

fn created(name: &str, digest: &str) -> Answer {
    Answer::new(201).header("Location", format!("/v2/{name}/blobs/{digest}")).header("Docker-Content-Digest", digest)
}

fn progress(status: u16, name: &str, id: &str, held: usize) -> Answer {
    let answer = Answer::new(status).header("Location", format!("/v2/{name}/blobs/uploads/{id}"));
    answer.header("Range", format!("0-{}", held.saturating_sub(1))).header("Docker-Upload-UUID", id)
}

/// A file, or the part of it that `Range` asks for (RFC 9110 section 14).
fn served(request: &Request, bytes: &[u8]) -> Answer {
    let etag = format!("\"{}\"", &digest(bytes)[7..23]);
    let whole = Answer::new(200).header("Accept-Ranges", "bytes").header("ETag", etag.clone());
    let whole = whole.header("Content-Type", "application/octet-stream");
    let range = request.header("range").and_then(|text| text.strip_prefix("bytes="));
    let same = request.header("if-range").is_none_or(|wanted| wanted == etag);
    let Some((first, last)) = range.filter(|_| same).and_then(|text| text.split_once('-')) else {
        return whole.body(bytes);
    };
    let first = first.parse().unwrap_or(usize::MAX);
    let end = last.parse().map_or(bytes.len(), |last: usize| (last + 1).min(bytes.len()));
    match bytes.get(first..end).filter(|part| !part.is_empty()) {
        Some(part) => {
            let range = format!("bytes {first}-{}/{}", end - 1, bytes.len());
            Answer { status: 206, ..whole }.header("Content-Range", range).body(part)
        }
        None => Answer::new(416).header("Content-Range", format!("bytes */{}", bytes.len())),
    }
}
