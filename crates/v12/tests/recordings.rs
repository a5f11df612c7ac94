//! The recordings of the original, as far as they can be checked without a server and an engine:
//! everything that is decided before a turn begins.
//!
//! The recordings aren't part of the project; where they are missing, these tests say so and pass.

#![allow(clippy::unwrap_used)]

use std::{collections::HashMap, fs, path::PathBuf, time::Duration};

use bytes::Bytes;
use duologue_v12::{
    Answer, ApiError, Error,
    auth::{
        external::{ExternalVerifier, FetchKeys, Fetching},
        jwt,
        login::{self, Account, Login},
        password::StoredPassword,
        token::{Presented, TokenSettings},
    },
    body,
    converse::{Include, Input, check_public},
    installation::{self, Installation},
    source::{Limits, Source},
    workspaces::Operation,
};
use serde_json::Value;

fn golden() -> Option<PathBuf> {
    // The recordings lie beside the workspace, or beside the folder of its worktrees.
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let found = here.ancestors().map(|folder| folder.join("shared/golden")).find(|folder| folder.is_dir());
    if found.is_none() {
        eprintln!("passed over: there are no recordings here");
    }
    found
}

fn steps(name: &str) -> Vec<Value> {
    let Some(golden) = golden() else { return Vec::new() };
    let text = fs::read_to_string(golden.join(format!("recordings/{name}.json"))).unwrap();
    let Value::Array(steps) = serde_json::from_str::<Value>(&text).unwrap()["steps"].take() else { panic!() };
    steps
}

fn data() -> Option<Installation> {
    let source = Source::open(&golden()?.join("data"), &Limits::default()).unwrap();
    Some(installation::read(source, None, &|_| None).unwrap())
}

const NOW: i64 = 1_795_184_281;

/// Tokens as the recordings name them, made with the key of the recorded server.
fn tokens(settings: &TokenSettings, external_key: &str) -> HashMap<&'static str, String> {
    let claims = |email: &str, version: i64, admin: bool, rest: &str| {
        format!(
            "{{\"email\":\"{email}\",\"strategy\":\"default\",\"tokenVersion\":{version},\"isSuperAdmin\":{admin},\"iat\":{NOW}{rest}}}"
        )
    };
    let until = NOW + 3600;
    let rest = format!(",\"exp\":{until},\"aud\":\"collaborators\"");
    let admin = "admin@example.com";
    let own = |claims: &str| jwt::sign(claims, settings.secret.as_bytes());
    let good = own(&claims(admin, 1, true, &rest));
    let parts: Vec<&str> = good.split('.').collect();
    let external = |aud: &str, exp: i64, key: &str| {
        jwt::sign(
            &format!(
                "{{\"sub\":\"u1\",\"name\":\"Ext User\",\"aud\":\"{aud}\",\"iss\":\"golden-issuer\",\"iat\":1,\"exp\":{exp}}}"
            ),
            key.as_bytes(),
        )
    };
    HashMap::from([
        ("expired", own(&claims(admin, 1, true, &format!(",\"exp\":{},\"aud\":\"collaborators\"", NOW - 1)))),
        ("wrongaud", own(&claims(admin, 1, true, &format!(",\"exp\":{until},\"aud\":\"chat_users\"")))),
        ("noaud", own(&claims(admin, 1, true, &format!(",\"exp\":{until}")))),
        ("oldversion", own(&claims(admin, 0, true, &rest))),
        ("nouser", own(&claims("ghost@example.com", 1, true, &rest))),
        ("noexp", own(&claims(admin, 1, true, ",\"aud\":\"collaborators\""))),
        ("badsig", jwt::sign(&claims(admin, 1, true, &rest), b"another")),
        ("algnone", format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", parts[1])),
        ("notyet", own(&claims(admin, 1, true, &format!(",\"nbf\":{}{rest}", NOW + 60)))),
        ("limited", own(&claims("limited@example.com", 1, false, &rest))),
        ("notsuper", own(&claims(admin, 1, false, &rest))),
        ("server", own(&claims("server::modules", 99, true, &rest))),
        ("admin", good.clone()),
        ("extok", external("golden-users", until, external_key)),
        ("extexp", external("golden-users", NOW - 1, external_key)),
        ("extaud", external("others", until, external_key)),
        ("extsig", external("golden-users", until, "another key")),
    ])
}

struct NoKeys;

impl FetchKeys for NoKeys {
    fn fetch<'a>(&'a self, _: &'a str) -> Fetching<'a> {
        Box::pin(async { Err("not in these tests".to_owned()) })
    }
}

/// Nothing here waits.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("pending"),
    }
}

/// What precedes a turn, in the original's order; `Ok` where a turn would begin.
fn before_the_turn(server: &Installation, step: &Value) -> Result<Input, Answer> {
    let request = &step["request"];
    let external_key = server.config.external.public_key.clone().unwrap();
    let tokens = tokens(&server.config.tokens, &external_key);
    let header = |name: &str| {
        let mut value = request["headers"][name].as_str()?.to_owned();
        for (token, text) in &tokens {
            value = value.replace(&format!("{{{token}}}"), text);
        }
        // What HTTP takes away.
        Some(value.trim().to_owned())
    };
    let (path, query) =
        request["path"].as_str().unwrap().split_once('?').unwrap_or((request["path"].as_str().unwrap(), ""));
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (["api", "v1", "bots", bot, "converse", user], secured) = (match parts.last() {
        Some(&"secured") if parts.len() == 7 => (&parts[..6], true),
        _ => (&parts[..], false),
    }) else {
        return Err(Answer::cannot(request["method"].as_str().unwrap(), path));
    };
    let fail = |error: ApiError| error.answer();

    let text = request["body"].as_str().unwrap_or_default();
    let text = match text.starts_with("<json text of 10 MiB") {
        true => format!("{{\"text\":\"{}\"}}", "x".repeat(10 << 20)),
        false => text.to_owned(),
    };
    let limit = usize::try_from(server.config.http.body_limit).unwrap();
    let content_type = header("content-type");
    let body = body::parse(content_type.as_deref(), header("content-encoding").as_deref(), &Bytes::from(text), limit);
    let body = body.map_err(fail)?;
    percent_encoding::percent_decode_str(user).decode_utf8().map_err(|_| ApiError::undecodable(user).answer())?;

    let Some(found) = server.bots.get(*bot) else { return Err(ApiError::invalid_bot().answer()) };
    found.settings.check_enabled().map_err(fail)?;
    let authorization = header("authorization");
    let collaborator = || {
        let presented = Presented { authorization: authorization.as_deref(), ..Presented::default() };
        let claims = server.config.tokens.authenticate(presented, NOW)?;
        let known = ["admin@example.com", "limited@example.com"].contains(&claims.email.as_str());
        claims.check_version(known.then_some(1))
    };
    if found.settings.private || secured {
        collaborator().map_err(fail)?;
    }
    if !secured {
        found.settings.check_public_route(bot)?;
    }
    let verifier = ExternalVerifier::new(server.config.external.clone());
    ready(verifier.credentials(header("x-bp-externalauth").as_deref(), NOW, &NoKeys)).map_err(fail)?;
    if !secured {
        check_public(&body).map_err(fail)?;
        Include::check_public(query.strip_prefix("include=").unwrap_or_default())?;
    }
    Input::new(body, found.settings.max_message_length).map_err(fail)
}

#[test]
fn refusals_are_the_original_s_to_the_byte() {
    let Some(server) = data() else { return };
    let mut refused = 0;
    for name in [
        "20-auth-errors",
        "21-bad-body-public",
        "22-secured-bodies",
        "24-bot-states",
        "25-user-ids",
        "28-external-auth",
        "33-http",
    ] {
        for (index, step) in steps(name).iter().enumerate() {
            let (path, response) = (step["request"]["path"].as_str().unwrap(), &step["response"]);
            // Other routes; the recorder gave up on the bot `___`, which doesn't exist here; bots
            // without id in the path are the router's.
            let is_converse = path.to_ascii_lowercase().contains("/converse") && step["request"]["method"] == "POST";
            if !is_converse || response["status"].is_null() {
                continue;
            }
            let note = format!("{name} step {index}: {}", step["request"]);
            // The router lower-cases what is literal in a path.
            let step = with_lower_case_path(step);
            match before_the_turn(&server, &step) {
                Ok(_) => assert_eq!(response["status"], 200, "{note}"),
                Err(answer) => {
                    refused += 1;
                    assert_eq!(response["status"], answer.status, "{note}");
                    assert_eq!(response["body"], answer.body, "{note}");
                    let headers = response["headers"].as_array().unwrap();
                    let content_type = headers.iter().find(|header| header[0] == "Content-Type").unwrap();
                    assert_eq!(content_type[1], answer.content_type, "{note}");
                }
            }
        }
    }
    assert!(refused > 65, "{refused}");
}

fn with_lower_case_path(step: &Value) -> Value {
    let mut step = step.clone();
    let path = step["request"]["path"].as_str().unwrap();
    let path = path.replace("/API/V1/", "/api/v1/").replace("/CONVERSE/", "/converse/");
    step["request"]["path"] = path.into();
    step
}

#[test]
fn logins_answer_as_the_original() {
    let Some(server) = data() else { return };
    let config = &server.config;
    let stored = StoredPassword::new("adminpass123").unwrap();
    let account = Account {
        email: "admin@example.com".to_owned(),
        strategy: "default".to_owned(),
        password: stored,
        attributes: Default::default(),
        token_version: 1,
    };
    let mut answers = 0;
    for (index, step) in steps("32-login").iter().enumerate() {
        let (request, recorded) = (&step["request"], step["response"]["body"].as_str().unwrap());
        let text = Bytes::from(request["body"].as_str().unwrap_or_default().to_owned());
        let answer = match request["path"].as_str().unwrap() {
            "/api/v1/auth/login/basic/default" | "/api/v1/admin/auth/login/basic/default" => {
                log_in(&server, &account, &text).unwrap_or_else(|error| error.answer())
            }
            "/api/v1/auth/refresh" if request["headers"]["authorization"].is_string() => {
                let identity = login::identity(&login_of("admin@example.com"), &account, &config.collaborators, true);
                config.tokens.refresh("old", &identity, NOW).unwrap().0
            }
            "/api/v1/auth/refresh" => config.tokens.authenticate(Presented::default(), NOW).unwrap_err().answer(),
            "/api/v1/auth/config" => Answer::success("Auth Config", &config.auth_payload(false)),
            path @ ("/api/v1/auth/ping" | "/api/v1/auth/login/nope/default") => {
                Answer::cannot(request["method"].as_str().unwrap(), path)
            }
            "/api/v1/auth/register/basic/default" => Answer::registration_is_disabled(),
            _ => continue,
        };
        answers += 1;
        assert_eq!(step["response"]["status"], answer.status, "step {index}");
        assert_eq!(answer.body, recorded, "step {index}");
    }
    assert_eq!(answers, 14);
}

fn login_of(email: &str) -> Login {
    let body = duologue_v12::json::Json::parse(&format!("{{\"email\":\"{email}\"}}")).unwrap();
    Login::parse(&body).unwrap()
}

fn log_in(server: &Installation, account: &Account, text: &Bytes) -> Result<Answer, ApiError> {
    let config = &server.config;
    let login = Login::parse(&body::parse(Some("application/json"), None, text, 1000)?)?;
    let known = Some(account).filter(|account| account.email == login.email);
    let outcome = login::decide(&login, known, &config.strategies["default"].basic, NOW * 1000).unwrap();
    outcome.verdict?;
    let admin = config.is_super_admin(&account.email, "default");
    let identity = login::identity(&login, account, &config.collaborators, admin);
    // The recorded tokens are compared to the byte, signature included: their key is known.
    let issued = config.tokens.issue(&identity, NOW).unwrap();
    assert_eq!(issued.lasts, Duration::from_secs(3600));
    Ok(Answer::success("Login successful", &issued.payload()))
}

#[test]
fn etags_are_the_original_s() {
    let mut compared = 0;
    for name in ["20-auth-errors", "24-bot-states", "28-external-auth", "32-login"] {
        for step in steps(name) {
            let header = |wanted: &str| {
                let headers = step["response"]["headers"].as_array()?;
                headers
                    .iter()
                    .find(|header| header[0] == wanted)
                    .and_then(|header| header[1].as_str().map(str::to_owned))
            };
            if let (Some(etag), Some(body)) = (header("ETag"), step["response"]["body"].as_str()) {
                compared += 1;
                assert_eq!(Answer::etag(body.as_bytes()), etag, "{name}: {body}");
            }
        }
    }
    assert!(compared > 50 || golden().is_none(), "{compared}");
}

#[test]
fn the_recorded_server_is_read() {
    let Some(server) = data() else { return };
    assert_eq!(server.kind, installation::Kind::DataFolder);
    assert_eq!(server.bots.len(), 12);
    assert_eq!(server.report.broken().count(), 0, "{}", server.report);
    assert!(server.bots.values().all(|bot| bot.is_listed));
    assert!(server.bots["golden"].files.keys().any(|path| path.starts_with("flows/skills/")));
    assert!(server.bots["golden-disabled"].settings.disabled && server.bots["golden-private"].settings.private);
    assert_eq!(server.config.modules, ["basic-skills", "builtin"]);
    let roles = &server.workspaces[0].roles;
    let editor = roles.iter().find(|role| role.id == "editor").unwrap();
    assert!(editor.allows(Operation::Read, "bot.flows") && !editor.allows(Operation::Write, "bot.flows"));
    assert!(editor.allows(Operation::Write, "module.qna") && !editor.allows(Operation::Read, "admin.logs"));
}

#[test]
fn a_recorded_bot_survives_an_archive() {
    let Some(golden) = golden() else { return };
    let folder = Source::open(&golden.join("data/bots/golden"), &Limits::default()).unwrap();
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (path, content) in &folder.files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, &content[..]).unwrap();
    }
    let archive = builder.into_inner().unwrap().finish().unwrap();
    let unpacked = Source::unpack(&archive, &Limits::default()).unwrap();
    assert_eq!(unpacked.files, folder.files);
    let tight = Limits { total: 10_000, ..Limits::default() };
    assert!(matches!(Source::unpack(&archive, &tight), Err(Error::TooLarge(_))));
    let read = installation::read(unpacked, Some("copy"), &|_| None).unwrap();
    assert_eq!(read.bots["copy"].config.name, "golden (copy)");
}
