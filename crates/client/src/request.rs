//! One call of the API, whatever the operation: path, query, body, and what to take from the answer.
//!
//! Every operation of this crate is a few words about a [`Request`]; it is public so that operations
//! without a typed function can be called too.

use std::fmt::{Display, Write as _};

use bytes::Bytes;
use duologue_model::Json;
use http::{HeaderName, HeaderValue, Method, Uri, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Client, Error,
    error::excerpt,
    retry,
    transport::{ByteStream, Outgoing},
};

/// Everything but the unreserved characters of RFC 3986. Tag keys keep their dots
/// (`spec/cloud/runtime.md` § 2).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A call under construction. Mistakes in its arguments are reported when it is sent.
#[derive(Clone, Debug)]
pub struct Request {
    client: Client,
    method: Method,
    path: String,
    query: String,
    body: Bytes,
    key: Option<HeaderValue>,
    repeatable: bool,
    mistake: Option<String>,
}

impl Client {
    /// A call of an operation this crate has no function for. `segments` are the path's, unencoded.
    ///
    /// ```no_run
    /// # async fn example(client: duologue_client::Client) -> Result<(), duologue_client::Error> {
    /// use duologue_client::{Json, Method};
    /// let plugins: Vec<Json> =
    ///     client.request(Method::GET, &["v1", "admin", "plugins"]).query("name", "hitl").field("plugins").await?;
    /// # Ok(()) }
    /// ```
    pub fn request(&self, method: Method, segments: &[&str]) -> Request {
        let mut path = String::new();
        let mut mistake = None;
        for segment in segments {
            path.push('/');
            match *segment {
                "" => mistake = Some(format!("an id or name in the path {path}… is empty")),
                // Left alone, these would be taken for steps in the path.
                "." => path.push_str("%2E"),
                ".." => path.push_str("%2E%2E"),
                segment => path.extend(utf8_percent_encode(segment, RESERVED)),
            }
        }
        Request {
            client: self.clone(),
            // A POST without a body is `{}`; the others go without.
            body: if needs_body(&method) { Bytes::from_static(b"{}") } else { Bytes::new() },
            method,
            path,
            query: String::new(),
            key: None,
            repeatable: false,
            mistake,
        }
    }
}

fn needs_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

impl Request {
    /// Adds a parameter to the query. Arrays repeat the name; objects use `name.key`.
    pub fn query(mut self, name: &str, value: impl Display) -> Self {
        let separator = if self.query.is_empty() { '?' } else { '&' };
        let value = value.to_string();
        // Writing to a String doesn't fail.
        let _ = write!(
            self.query,
            "{separator}{}={}",
            utf8_percent_encode(name, RESERVED),
            utf8_percent_encode(&value, RESERVED)
        );
        self
    }

    /// Sends this as the JSON body.
    pub fn json(mut self, body: &(impl Serialize + ?Sized)) -> Self {
        match serde_json::to_vec(body) {
            Ok(text) => self.body = text.into(),
            Err(e) => self.mistake = Some(format!("the body of {} has no JSON form: {e}", self.name())),
        }
        self
    }

    /// Says that a POST or PATCH may be repeated whatever happened to the first attempt, because
    /// applying it twice is applying it once.
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Sends this `Idempotency-Key` and repeats accordingly. Only for servers that honour it:
    /// elsewhere a repeated request would be applied twice.
    pub fn idempotency_key(mut self, key: &str) -> Self {
        match HeaderValue::from_str(key) {
            Ok(key) => self.key = Some(key),
            Err(_) => self.mistake = Some("an idempotency key can't hold control characters".into()),
        }
        self
    }

    /// The answer, whole.
    pub async fn send<T: DeserializeOwned>(self) -> Result<T, Error> {
        let body = self.send_raw().await?;
        self.decode(&body)
    }

    /// One member of the answer: the API wraps what it returns (`{"message": {…}}`).
    pub async fn field<T: DeserializeOwned>(self, name: &str) -> Result<T, Error> {
        let body = self.send_raw().await?;
        let mut members: std::collections::HashMap<String, Json> = self.decode(&body)?;
        let member = members.remove(name).ok_or_else(|| self.misunderstood(format!("it has no \"{name}\"")))?;
        self.decode(member.text().as_bytes())
    }

    /// Nothing of the answer but that it was a success.
    pub async fn done(self) -> Result<(), Error> {
        self.send_raw().await.map(drop)
    }

    /// The body of the answer as it arrives, for what isn't JSON or is long.
    pub async fn stream(self) -> Result<ByteStream, Error> {
        self.client.transport().stream(&self.outgoing()?).await
    }

    pub(crate) async fn send_raw(&self) -> Result<Bytes, Error> {
        self.client.transport().send(&self.outgoing()?).await
    }

    pub(crate) fn decode<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(body).map_err(|e| {
            let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
            self.misunderstood(match first {
                None => "it is empty".into(),
                // Not JSON at all: most likely another server. JSON is not shown: it may be private.
                Some(b'<') => format!("it is not JSON: {}", excerpt(&String::from_utf8_lossy(body))),
                Some(_) => e.to_string(),
            })
        })
    }

    pub(crate) fn misunderstood(&self, reason: String) -> Error {
        Error::Decode { request: self.name(), reason }
    }

    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn outgoing(&self) -> Result<Outgoing, Error> {
        if let Some(mistake) = &self.mistake {
            return Err(Error::config(mistake.clone()));
        }
        let mut headers = self.client.headers().clone();
        if needs_body(&self.method) {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let key = self.key.clone().or_else(|| self.client.new_key(&self.method));
        let keyed = key.is_some();
        if let Some(key) = key {
            headers.insert(IDEMPOTENCY_KEY, key);
        }
        let safe = keyed || self.repeatable || retry::is_idempotent(&self.method);
        Ok(Outgoing { method: self.method.clone(), uri: self.uri()?, headers, body: self.body.clone(), safe })
    }

    fn uri(&self) -> Result<Uri, Error> {
        format!("{}{}{}", self.client.base(), self.path, self.query)
            .parse()
            .map_err(|e| Error::config(format!("{} is too long or malformed: {e}", self.name())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(request: &Request) -> String {
        request.uri().unwrap().to_string()
    }

    fn client(url: &str) -> Client {
        Client::builder().api_url(url).build().unwrap()
    }

    #[test]
    fn path_segments_are_encoded_once_each() {
        let client = client("http://localhost:3000/prefix/");
        let request = client.request(Method::GET, &["v1", "chat", "states", "bot", "a/b", "s#x y%é"]);
        assert_eq!(uri(&request), "http://localhost:3000/prefix/v1/chat/states/bot/a%2Fb/s%23x%20y%25%C3%A9");
        let request = client.request(Method::GET, &["v1", "..", "."]);
        assert_eq!(uri(&request), "http://localhost:3000/prefix/v1/%2E%2E/%2E");
    }

    #[test]
    fn an_empty_segment_is_refused_before_anything_is_sent() {
        let request = client("http://localhost").request(Method::DELETE, &["v1", "chat", "users", ""]);
        let refused = request.outgoing().unwrap_err();
        assert!(matches!(refused, Error::Config(_)));
        assert!(refused.to_string().contains("/v1/chat/users/"), "{refused}");
    }

    #[test]
    fn queries_use_the_dot_form_and_repeat_arrays() {
        let request = client("http://localhost")
            .request(Method::GET, &["v1"])
            .query("tags.webchat:id", "a b&c")
            .query("tags.x.y", "z")
            .query("participantIds", "u1")
            .query("participantIds", "u2")
            .query("dev", true);
        assert_eq!(
            uri(&request),
            "http://localhost/v1?tags.webchat%3Aid=a%20b%26c&tags.x.y=z&participantIds=u1&participantIds=u2&dev=true"
        );
    }

    #[test]
    fn only_writing_requests_carry_a_body() {
        let client = client("http://localhost");
        for (method, body) in [(Method::GET, ""), (Method::DELETE, ""), (Method::POST, "{}"), (Method::PUT, "{}")] {
            let outgoing = client.request(method, &["v1"]).outgoing().unwrap();
            assert_eq!(outgoing.body, body);
            assert_eq!(outgoing.headers.contains_key(header::CONTENT_TYPE), !body.is_empty());
        }
    }

    #[test]
    fn keys_are_made_for_posts_only_and_only_on_demand() {
        let plain = client("http://localhost");
        let keyed = Client::builder().api_url("http://localhost").idempotency(true).build().unwrap();
        let key = |client: &Client, method: Method| {
            client.request(method, &["v1"]).outgoing().unwrap().headers.get(IDEMPOTENCY_KEY).cloned()
        };
        assert_eq!(key(&plain, Method::POST), None);
        assert_eq!(key(&keyed, Method::PUT), None);
        let (one, two) = (key(&keyed, Method::POST).unwrap(), key(&keyed, Method::POST).unwrap());
        assert_ne!(one, two);
        let own = plain.request(Method::POST, &["v1"]).idempotency_key("evt_1").outgoing().unwrap();
        assert!(own.safe);
        assert_eq!(own.headers[IDEMPOTENCY_KEY], "evt_1");
    }
}
