//! Who may use the Converse API of a bot, and how often: members of the block `converse` that the
//! original doesn't know.
//!
//! The same members are read from `bot.config.json` and from `botpress.config.json`; what a bot says
//! wins over what the server says, except that either of them can close the door. Applied by whatever
//! serves HTTP; here are the settings and the comparisons, no clock and no counter.

use std::time::Duration;

use ring::digest::{SHA256, digest};

use crate::{
    answer::Answer,
    config::{Block, RateLimit},
    json::Json,
};

/// How a key is written whose text isn't to stand in the file.
const HASHED: &str = "sha256:";

/// What one file says; `None` where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restrictions {
    /// `enabled`: false closes all routes.
    pub enabled: Option<bool>,
    /// `apiKeys`. If the list can't be understood it is empty, and nobody has a key.
    pub api_keys: Option<Vec<ApiKey>>,
    /// `allowedOrigins`, in the form that browsers send. If the list can't be understood it is empty,
    /// and no origin is allowed.
    pub allowed_origins: Option<Vec<String>>,
    /// `throttle.perBot`: requests for the bot.
    pub per_bot: Option<RateLimit>,
    /// `throttle.perUser`: requests for one user of the bot.
    pub per_user: Option<RateLimit>,
    /// `throttle.perAddress`: requests for the bot from one address.
    pub per_address: Option<RateLimit>,
    /// `parallelRequests`: whether a message is refused while another of the same user is being answered.
    pub refuses_parallel: Option<bool>,
}

/// A key of the public route, by its hash.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey([u8; 32]);

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

impl ApiKey {
    /// The key that this text is.
    pub fn of(text: &str) -> ApiKey {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        ApiKey(hash)
    }

    /// As a file writes it: the text, or `sha256:` and 64 hexadecimal digits. `None` if it is empty or
    /// isn't such a hash.
    fn read(written: &str) -> Option<ApiKey> {
        let Some(hex) = written.strip_prefix(HASHED) else {
            return (!written.is_empty()).then(|| ApiKey::of(written));
        };
        if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut hash = [0; 32];
        for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&hex[at..at + 2], 16).ok()?;
        }
        Some(ApiKey(hash))
    }

    /// In a time that doesn't depend on where they differ.
    fn is(&self, other: &ApiKey) -> bool {
        self.0.iter().zip(&other.0).fold(0, |different, (a, b)| different | (a ^ b)) == 0
    }
}

impl Restrictions {
    pub(crate) fn read(block: &mut Block<'_, '_>) -> Restrictions {
        Restrictions {
            enabled: block.bool("enabled"),
            api_keys: list(block, "apiKeys", "a list of keys", ApiKey::read),
            allowed_origins: list(block, "allowedOrigins", "a list of origins", origin),
            per_bot: rate(&mut block.block("throttle"), "perBot"),
            per_user: rate(&mut block.block("throttle"), "perUser"),
            per_address: rate(&mut block.block("throttle"), "perAddress"),
            refuses_parallel: parallel(block),
        }
    }
}

/// A text or a list of texts. An empty list says nothing; of a list that has something wrong in it, what
/// is right counts, and where nothing is right, nothing is allowed.
fn list<T>(block: &mut Block<'_, '_>, name: &str, wanted: &str, read: fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let written: Vec<&Json> = match block.get(name)? {
        Json::Array(items) if items.is_empty() => return None,
        Json::Array(items) => items.iter().collect(),
        other => vec![other],
    };
    let right: Vec<T> = written.iter().filter_map(|item| read(item.as_str()?)).collect();
    if right.len() < written.len() {
        block.problems.push(format!("{}{name} isn't {wanted}", block.path));
    }
    Some(right)
}

/// An origin as browsers send it: `https://shop.example`, in lower case, without a slash at its end.
fn origin(written: &str) -> Option<String> {
    let origin = written.trim().trim_end_matches('/').to_ascii_lowercase();
    let (scheme, host) = origin.split_once("://")?;
    let is_plain = !scheme.is_empty() && !host.is_empty() && !host.contains(['/', '*', '?', '#', '@', ' ']);
    is_plain.then_some(origin)
}

fn rate(throttle: &mut Block<'_, '_>, name: &str) -> Option<RateLimit> {
    throttle.get(name)?;
    let path = format!("{}{name}", throttle.path);
    let mut block = throttle.block(name);
    let limit = block.whole("limit").filter(|limit| *limit > 0);
    let window = match block.get("window") {
        None => Some(Duration::from_secs(60)),
        Some(_) => block.duration("window").filter(|window| !window.is_zero()),
    };
    let rate = limit.zip(window).map(|(limit, window)| RateLimit { window, limit });
    if rate.is_none() {
        throttle.problems.push(format!("{path} has no limit of 1 or more in a window"));
    }
    rate
}

/// `queue` or `refuse`.
fn parallel(block: &mut Block<'_, '_>) -> Option<bool> {
    match block.get("parallelRequests")?.as_str() {
        Some("queue") => Some(false),
        Some("refuse") => Some(true),
        _ => {
            block.problems.push(format!("{}parallelRequests is neither \"queue\" nor \"refuse\"", block.path));
            None
        }
    }
}

/// What holds for a bot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Whether all routes are closed, and by whom.
    pub closed: Option<Closed>,
    /// Keys, one of which is needed; `None` if none is.
    pub api_keys: Option<Vec<ApiKey>>,
    /// Origins that browsers may call from; `None` if all may.
    pub allowed_origins: Option<Vec<String>>,
    /// Requests for the bot.
    pub per_bot: Option<RateLimit>,
    /// Requests for one user of the bot.
    pub per_user: Option<RateLimit>,
    /// Requests for the bot from one address.
    pub per_address: Option<RateLimit>,
    /// Whether a message is refused while another of the same user is being answered, rather than queued.
    pub refuses_parallel: bool,
}

/// Whose configuration closes all routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The bot's.
    ForBot,
    /// The server's.
    ForAll,
}

impl Rules {
    /// Resolves: the bot's own before the server's; either can close.
    pub fn resolve(own: &Restrictions, all: &Restrictions) -> Rules {
        Rules {
            closed: match (own.enabled, all.enabled) {
                (Some(false), _) => Some(Closed::ForBot),
                (_, Some(false)) => Some(Closed::ForAll),
                _ => None,
            },
            api_keys: own.api_keys.clone().or_else(|| all.api_keys.clone()),
            allowed_origins: own.allowed_origins.clone().or_else(|| all.allowed_origins.clone()),
            per_bot: own.per_bot.or(all.per_bot),
            per_user: own.per_user.or(all.per_user),
            per_address: own.per_address.or(all.per_address),
            refuses_parallel: own.refuses_parallel.or(all.refuses_parallel).unwrap_or(false),
        }
    }

    /// Checks that the routes are open at all.
    ///
    /// # Errors
    /// 403, as text.
    pub fn check_open(&self, bot: &str) -> Result<(), Answer> {
        let whom = match self.closed {
            None => return Ok(()),
            Some(Closed::ForBot) => bot,
            Some(Closed::ForAll) => "all bots",
        };
        Err(Answer::text(403, format!("Converse API is disabled for {whom}")))
    }

    /// Whether a page of this origin may call, and read the answer.
    pub fn allows_origin(&self, origin: &str) -> bool {
        let Some(allowed) = &self.allowed_origins else { return true };
        allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
    }

    /// Whether one of the keys presented is good. Every key is compared with every other, whatever the
    /// outcome.
    pub fn accepts_key<'k>(&self, presented: impl IntoIterator<Item = &'k str>) -> bool {
        let Some(keys) = &self.api_keys else { return true };
        presented
            .into_iter()
            .map(ApiKey::of)
            .fold(false, |good, given| keys.iter().fold(good, |good, key| key.is(&given) | good))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Restrictions, Vec<String>) {
        let json = Json::parse(text).unwrap();
        let mut problems = Vec::new();
        let mut block = Block { value: Some(&json), path: "converse.".to_owned(), problems: &mut problems };
        (Restrictions::read(&mut block), problems)
    }

    fn right(text: &str) -> Restrictions {
        let (read, problems) = read(text);
        assert!(problems.is_empty(), "{problems:?}");
        read
    }

    fn rules(own: &str, all: &str) -> Rules {
        Rules::resolve(&right(own), &right(all))
    }

    #[test]
    fn either_file_closes() {
        let text = |rules: Rules| rules.check_open("shop").unwrap_err().body;
        let (open, closed) = (r#"{"enabled":true}"#, r#"{"enabled":false}"#);
        assert_eq!(text(rules(closed, open)), "Converse API is disabled for shop");
        assert_eq!(text(rules(open, closed)), "Converse API is disabled for all bots");
        assert!(rules(open, "{}").check_open("shop").is_ok());
        assert_eq!(rules("{}", "{}"), Rules::default());
    }

    #[test]
    fn keys_are_texts_or_hashes() {
        // The hash of "abc", from the standard's own examples.
        let hash = "sha256:BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let all = rules("{}", &format!(r#"{{"apiKeys":["plain","{hash}"]}}"#));
        for good in ["plain", "abc"] {
            assert!(all.accepts_key([good]) && all.accepts_key(["wrong", good]), "{good}");
        }
        for bad in ["", "Plain", "plain ", hash, &hash[7..]] {
            assert!(!all.accepts_key([bad]), "{bad}");
        }
        assert!(!all.accepts_key([]));
        assert!(rules("{}", "{}").accepts_key([]));
        let own = rules(r#"{"apiKeys":"mine"}"#, r#"{"apiKeys":["plain"]}"#);
        assert!(own.accepts_key(["mine"]) && !own.accepts_key(["plain"]), "the bot's keys replace the server's");
        assert!(!rules(r#"{"apiKeys":[]}"#, r#"{"apiKeys":["plain"]}"#).accepts_key([]), "an empty list says nothing");
        assert!(!format!("{own:?}").contains("mine"));
    }

    #[test]
    fn what_cannot_be_understood_opens_nothing() {
        let (read, problems) = read(
            r#"{"apiKeys":["sha256:12",7,""],"allowedOrigins":["*"],"enabled":"no",
                "throttle":{"perBot":{"limit":0},"perUser":{"window":"1m"},"perAddress":{"limit":9,"window":"soon"}}}"#,
        );
        assert_eq!(problems.len(), 7, "{problems:#?}");
        assert!(problems.contains(&"converse.throttle.perBot has no limit of 1 or more in a window".to_owned()));
        let rules = Rules::resolve(&read, &Restrictions::default());
        assert!(!rules.accepts_key(["", "7", "sha256:12"]) && !rules.allows_origin("https://a.example"));
        assert_eq!((rules.per_bot, rules.per_user, rules.per_address), (None, None, None));
    }

    #[test]
    fn origins_are_compared_whole() {
        let rules = rules(r#"{"allowedOrigins":["https://Shop.example/","http://localhost:8080"]}"#, "{}");
        for good in ["https://shop.example", "http://localhost:8080"] {
            assert!(rules.allows_origin(good), "{good}");
        }
        for bad in ["http://shop.example", "https://shop.example.evil.example", "https://shop.example:444", "null", ""]
        {
            assert!(!rules.allows_origin(bad), "{bad}");
        }
    }

    #[test]
    fn limits_have_windows() {
        let own = r#"{"throttle":{"perUser":{"limit":5}}}"#;
        let all = r#"{"throttle":{"perUser":{"limit":9,"window":"1s"},"perBot":{"limit":100,"window":"10s"}}}"#;
        let rules = rules(own, all);
        assert_eq!(rules.per_user, Some(RateLimit { window: Duration::from_secs(60), limit: 5 }));
        assert_eq!(rules.per_bot, Some(RateLimit { window: Duration::from_secs(10), limit: 100 }));
        assert_eq!(rules.per_address, None);
    }

    #[test]
    fn parallel_requests_are_queued_or_refused() {
        let (queue, refuse) = (r#"{"parallelRequests":"queue"}"#, r#"{"parallelRequests":"refuse"}"#);
        assert!(!rules("{}", "{}").refuses_parallel && rules("{}", refuse).refuses_parallel);
        assert!(!rules(queue, refuse).refuses_parallel && rules(refuse, queue).refuses_parallel);
        let (read, problems) = read(r#"{"parallelRequests":true}"#);
        assert_eq!((read.refuses_parallel, problems.len()), (None, 1));
    }
}
