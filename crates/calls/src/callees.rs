//! From what the store knows to whom the bridge calls.

use std::time::{Duration, SystemTime};

use duologue_bridge::{Address, Callee, Code, Installed, Invalid, Secrets, TIMEOUT};
use duologue_store::callees::{BotCode, InstanceCode, Signing};

/// The longest that a definition may let a call take.
const LONGEST: Duration = Duration::from_secs(3600);

/// A bot's code.
///
/// # Errors
/// [`Invalid`] if something of it can't be sent in a header.
pub fn bot(code: &BotCode) -> Result<Callee, Invalid> {
    let address = address(code.url.as_ref(), code.has_code, || Code::Bot(code.id.to_string()));
    let callee = Callee::bot(code.id.as_str(), &code.configuration, address)?;
    let callee = callee.with_timeout(timeout(code.max_execution_time));
    Ok(callee.with_secrets(code.signing.as_ref().map(secrets)))
}

/// An integration's code, at work for one instance.
///
/// # Errors
/// [`Invalid`] if something of it can't be sent in a header.
pub fn instance(code: &InstanceCode) -> Result<Callee, Invalid> {
    let address = address(code.url.as_ref(), code.has_code, || Code::Integration(code.integration_id.clone()));
    let installed = Installed {
        bot_id: code.bot.as_str(),
        integration_id: &code.integration_id,
        alias: &code.alias,
        webhook_id: &code.webhook_id,
        configuration: &code.settings.configuration,
        configuration_type: code.settings.configuration_type.as_deref(),
    };
    let callee = Callee::integration(installed, address)?.with_timeout(timeout(code.max_execution_time));
    Ok(callee.with_secrets(Some(secrets(&code.signing))))
}

fn secrets(signing: &Signing) -> Secrets {
    let previous = signing.previous.as_ref().map(|(secret, until)| {
        let until = Duration::from_millis(u64::try_from(until.millis()).unwrap_or(0));
        (secret.clone(), SystemTime::UNIX_EPOCH + until)
    });
    Secrets::new(signing.secret.clone(), previous)
}

fn address(url: Option<&String>, has_code: bool, code: impl FnOnce() -> Code) -> Address {
    match url {
        Some(url) => Address::Url(url.clone()),
        None if has_code => Address::Code(code()),
        None => Address::None,
    }
}

fn timeout(seconds: Option<i64>) -> Duration {
    match seconds.and_then(|seconds| u64::try_from(seconds).ok()) {
        None | Some(0) => TIMEOUT,
        Some(seconds) => Duration::from_secs(seconds).min(LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use duologue_model::{Json, id::BotId};

    use super::*;

    fn code(url: Option<&str>, has_code: bool, seconds: Option<i64>) -> BotCode {
        BotCode {
            id: BotId::new("bot_1"),
            url: url.map(str::to_owned),
            has_code,
            blocked: false,
            configuration: Json::empty_object(),
            max_execution_time: seconds,
            subscriptions: None,
            signing: None,
        }
    }

    #[test]
    fn a_url_wins_over_code() {
        let address = |url, has_code| bot(&code(url, has_code, None)).unwrap().address().clone();
        assert_eq!(address(Some("http://b"), true), Address::Url("http://b".to_owned()));
        assert_eq!(address(None, true), Address::Code(Code::Bot("bot_1".to_owned())));
        assert_eq!(address(None, false), Address::None);
    }

    #[test]
    fn definitions_bound_how_long_a_call_takes() {
        let timeout = |seconds| bot(&code(None, true, seconds)).unwrap().timeout();
        assert_eq!(timeout(None), TIMEOUT);
        assert_eq!(timeout(Some(-1)), TIMEOUT);
        assert_eq!(timeout(Some(5)), Duration::from_secs(5));
        assert_eq!(timeout(Some(i64::MAX)), LONGEST);
    }
}
