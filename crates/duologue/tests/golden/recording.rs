//! The recordings, and what one of their steps asks and expects.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use duologue_v12::{auth::jwt, json::Json};

/// Members whose values differ from run to run; and `license`, which the bots had when they were recorded and
/// don't have in the data folder.
const VOLATILE: &[&str] = &["eventId", "replyDate", "timestamp", "license"];

/// The folder with the recordings, if there is one.
pub fn golden() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let named = std::env::var_os("DUOLOGUE_GOLDEN").map(PathBuf::from);
    // Beside the workspace, or beside the folder of its worktrees.
    let places = [workspace.join("../shared/golden"), workspace.join("../../shared/golden")];
    let found = named.into_iter().chain(places).find(|place| place.join("recordings").is_dir());
    if found.is_none() {
        println!("passed over: there are no recordings beside the workspace; DUOLOGUE_GOLDEN names none either");
    }
    found
}

/// The recordings in order, by their number.
pub fn all(golden: &Path) -> Vec<(String, Vec<Step>)> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(golden.join("recordings")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |file: PathBuf| {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let recording = Json::parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let Some(Json::Array(steps)) = recording.get("steps") else { panic!("{name} has no steps") };
        (name, steps.iter().map(Step::read).collect())
    };
    files.into_iter().map(read).collect()
}

/// A request, and what the original answered.
#[derive(Clone, Debug)]
pub struct Step {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
    /// `None` where the original never answered.
    pub status: Option<u16>,
    pub recorded_headers: Vec<(String, String)>,
    /// `None` where it is compressed.
    pub recorded_body: Option<String>,
}

impl Step {
    fn read(step: &Json) -> Step {
        let text = |value: Option<&Json>| value.and_then(Json::as_str).map(str::to_owned);
        let (request, response) = (step.get("request").unwrap(), step.get("response").unwrap());
        let pairs = |value: &Json| match value {
            Json::Object(members) => members
                .iter()
                .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
                .collect(),
            Json::Array(pairs) => pairs.iter().map(pair).collect(),
            _ => Vec::new(),
        };
        Step {
            method: text(request.get("method")).unwrap(),
            path: text(request.get("path")).unwrap(),
            headers: request.get("headers").map(pairs).unwrap_or_default(),
            body: text(request.get("body")),
            status: if let Some(Json::Number(status)) = response.get("status") { Some(*status as u16) } else { None },
            recorded_headers: response.get("headers").map(pairs).unwrap_or_default(),
            recorded_body: text(response.get("body")),
        }
    }

    /// The body to be sent; the recording only describes the largest.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        let body = self.body.as_ref()?;
        if body.starts_with("<json text of 10 MiB") {
            return Some(format!("{{\"text\":\"{}\"}}", "x".repeat(10 * 1024 * 1024 + 10)).into_bytes());
        }
        Some(body.clone().into_bytes())
    }

    /// The headers to be sent, with the tokens that stand in them by name.
    pub fn headers_with(&self, tokens: &HashMap<&'static str, String>) -> Vec<(String, String)> {
        let fill = |value: &str| match value
            .split_once('{')
            .and_then(|(before, rest)| Some((before, rest.strip_suffix('}')?)))
        {
            Some((before, name)) => format!("{before}{}", tokens[name]),
            None => value.to_owned(),
        };
        self.headers.iter().map(|(name, value)| (name.clone(), fill(value))).collect()
    }

    pub fn recorded_header(&self, name: &str) -> Option<&str> {
        let found = self.recorded_headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

fn pair(pair: &Json) -> (String, String) {
    let Json::Array(items) = pair else { panic!("no pair: {pair}") };
    let text = |at: usize| items[at].as_str().unwrap_or_default().to_owned();
    (text(0), text(1))
}

/// The tokens that the recordings name, signed with the keys of the copied configuration.
pub fn tokens(config: &Json, admin: String) -> HashMap<&'static str, String> {
    let text = |value: Option<&Json>| value.and_then(Json::as_str).unwrap().to_owned();
    let secret = text(config.get("appSecret"));
    let external = config.get("pro").and_then(|pro| pro.get("externalAuth")?.get("publicKey"));
    let external = text(external);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let until = now + 3600;
    let good = format!(",\"exp\":{until},\"aud\":\"collaborators\"");
    let claims = |email: &str, version: u32, admin: bool, rest: &str| {
        format!(
            "{{\"email\":\"{email}\",\"strategy\":\"default\",\"tokenVersion\":{version},\"isSuperAdmin\":{admin},\
             \"iat\":{now}{rest}}}"
        )
    };
    let own =
        |email: &str, version, admin, rest: &str| jwt::sign(&claims(email, version, admin, rest), secret.as_bytes());
    let ours = "admin@example.com";
    let end_user = |audience: &str, until: u64, key: &str| {
        let claims = format!(
            "{{\"sub\":\"u1\",\"name\":\"Ext User\",\"aud\":\"{audience}\",\"iss\":\"golden-issuer\",\"iat\":{now},\
             \"exp\":{until}}}"
        );
        jwt::sign(&claims, key.as_bytes())
    };
    let unsigned = format!(
        "{}.{}.",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#),
        URL_SAFE_NO_PAD.encode(claims(ours, 1, true, &good))
    );
    HashMap::from([
        ("admin", admin),
        ("expired", own(ours, 1, true, &format!(",\"exp\":{},\"aud\":\"collaborators\"", now - 1))),
        ("wrongaud", own(ours, 1, true, &format!(",\"exp\":{until},\"aud\":\"chat_users\""))),
        ("noaud", own(ours, 1, true, &format!(",\"exp\":{until}"))),
        ("oldversion", own(ours, 0, true, &good)),
        ("nouser", own("ghost@example.com", 1, true, &good)),
        ("noexp", own(ours, 1, true, ",\"aud\":\"collaborators\"")),
        ("badsig", jwt::sign(&claims(ours, 1, true, &good), b"another secret")),
        ("algnone", unsigned),
        ("notyet", own(ours, 1, true, &format!(",\"nbf\":{}{good}", now + 600))),
        ("limited", own("limited@example.com", 1, false, &good)),
        ("notsuper", own(ours, 1, false, &good)),
        ("server", own("server::modules", 99, true, &good)),
        ("extok", end_user("golden-users", until, &external)),
        ("extexp", end_user("golden-users", now - 1, &external)),
        ("extaud", end_user("others", until, &external)),
        ("extsig", end_user("golden-users", until, "another key")),
    ])
}

/// A body as it is compared: JSON without what differs from run to run, members in their order; any other
/// text as it is.
pub fn comparable(body: &str) -> String {
    match Json::parse(body) {
        Ok(json) => still(&json).to_string(),
        Err(_) => body.to_owned(),
    }
}

fn still(value: &Json) -> Json {
    match value {
        Json::Array(items) => Json::Array(items.iter().map(still).collect()),
        Json::Object(members) => {
            let still_member = |(name, value): (&String, &Json)| {
                let value = match value {
                    _ if VOLATILE.contains(&name.as_str()) => Json::String("*".to_owned()),
                    Json::String(token) if name == "jwt" => Json::String(claims(token)),
                    // Of the end users' tokens.
                    Json::Number(_) if name == "iat" || name == "exp" && members.contains_key("iss") => Json::Null,
                    other => still(other),
                };
                (name.clone(), value)
            };
            Json::Object(members.iter().map(still_member).collect())
        }
        other => other.clone(),
    }
}

/// What a token says, but for its instants. How long it lasts stays.
fn claims(token: &str) -> String {
    let bytes = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()).unwrap_or_default();
    let Ok(Json::Object(mut claims)) = Json::parse(&String::from_utf8_lossy(&bytes)) else { return token.to_owned() };
    if let (Some(Json::Number(from)), Some(Json::Number(until))) = (claims.get("iat"), claims.get("exp")) {
        let lasts = until - from;
        claims.insert("exp".to_owned(), Json::Number(lasts));
        claims.insert("iat".to_owned(), Json::Null);
    }
    Json::Object(claims).to_string()
}
