//! What an answer means for a delivery (`spec/cloud/bridge-protocol.md` § 5).

use std::time::Duration;

use duologue_bridge::Failure;
use duologue_store::outbox::{Kind, settle::Outcome};

/// Pauses before the second and the third attempt at an event.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
/// How long a delivery waits for code that runs here and fails to start, without spending attempts: whoever
/// deploys it anew in this time loses nothing.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// How often it looks meanwhile whether the code runs. Looking costs next to nothing.
const SHORTEST_LOOK: Duration = Duration::from_millis(500);
const LONGEST_LOOK: Duration = Duration::from_secs(10);
/// The longest pause that somebody who is called may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// How a delivery ends that was written `age` ago and tried `attempts` times before. `jitter`, from 0 to 1,
/// spreads the next attempts of what failed together.
pub(crate) fn outcome(kind: Kind, attempts: i64, age: Duration, result: &Result<(), Failure>, jitter: f64) -> Outcome {
    let failure = match result {
        Ok(()) => return Outcome::Processed,
        Err(failure) => failure,
    };
    if let Failure::NotRunning { after, .. } = failure
        && age < LONGEST_WAIT
    {
        return Outcome::Wait(millis((*after).clamp(SHORTEST_LOOK, LONGEST_LOOK).mul_f64(1.0 + 0.1 * jitter)));
    }
    let reason = failure.to_string();
    let again =
        if kind.is_event() { after_event(attempts, failure, jitter) } else { after_operation(attempts, failure) };
    match again {
        Some(pause) => Outcome::Retry(millis(pause), reason),
        None => Outcome::Failed(reason),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Events are tried again if that may help.
fn after_event(attempts: i64, failure: &Failure, jitter: f64) -> Option<Duration> {
    let pause = PAUSES.get(usize::try_from(attempts).ok()?).filter(|_| failure.is_transient())?;
    let spread = pause.mul_f64(0.9 + 0.2 * jitter);
    let wanted = match failure {
        Failure::Unavailable { retry_after: Some(after), .. } | Failure::NotRunning { after, .. } => {
            (*after).min(LONGEST_PAUSE)
        }
        _ => Duration::ZERO,
    };
    Some(spread.max(wanted))
}

/// Somebody outside would rather miss a message than get it twice: it is tried again, once and at once,
/// only if nobody can have got it.
fn after_operation(attempts: i64, failure: &Failure) -> Option<Duration> {
    let is_untouched = matches!(failure, Failure::Unreachable(_) | Failure::NotRunning { .. });
    (attempts == 0 && is_untouched).then_some(Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unavailable(retry_after: Option<u64>) -> Result<(), Failure> {
        let retry_after = retry_after.map(Duration::from_secs);
        Err(Failure::Unavailable { status: 500, message: "no".to_owned(), retry_after })
    }

    fn pause(outcome: Outcome) -> i64 {
        match outcome {
            Outcome::Retry(millis, _) => millis,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn events_have_three_attempts() {
        assert_eq!(outcome(Kind::Event, 0, Duration::ZERO, &Ok(()), 0.5), Outcome::Processed);
        assert_eq!(pause(outcome(Kind::Event, 0, Duration::ZERO, &unavailable(None), 0.5)), 1000);
        assert_eq!(pause(outcome(Kind::Announced, 1, Duration::ZERO, &unavailable(None), 1.0)), 5500);
        assert_eq!(outcome(Kind::Event, 2, Duration::ZERO, &unavailable(None), 0.5), Outcome::Failed("no".to_owned()));
        let timeout = Err(Failure::Timeout(Duration::from_secs(60)));
        assert!(matches!(outcome(Kind::Event, 0, Duration::ZERO, &timeout, 0.5), Outcome::Failed(_)));
    }

    #[test]
    fn pauses_that_are_asked_for_are_kept_within_bounds() {
        assert_eq!(pause(outcome(Kind::Event, 0, Duration::ZERO, &unavailable(Some(7)), 0.5)), 7000);
        assert_eq!(pause(outcome(Kind::Event, 0, Duration::ZERO, &unavailable(Some(9999)), 0.5)), 300_000);
    }

    #[test]
    fn operations_are_tried_again_only_if_nothing_arrived() {
        let unreachable = Err(Failure::Unreachable("nobody".to_owned()));
        assert_eq!(pause(outcome(Kind::Message, 0, Duration::ZERO, &unreachable, 0.5)), 1);
        assert!(matches!(outcome(Kind::Message, 1, Duration::ZERO, &unreachable, 0.5), Outcome::Failed(_)));
        assert!(matches!(outcome(Kind::Message, 0, Duration::ZERO, &unavailable(None), 0.5), Outcome::Failed(_)));
    }

    #[test]
    fn what_does_not_run_is_waited_for_without_attempts_for_a_while() {
        let crashed = |seconds| {
            let after = Duration::from_secs(seconds);
            Err(Failure::NotRunning { reason: "it crashed".to_owned(), after })
        };
        for kind in [Kind::Event, Kind::Message] {
            for attempts in [0, 2] {
                let wait = outcome(kind, attempts, Duration::from_secs(3599), &crashed(4), 0.5);
                assert_eq!(wait, Outcome::Wait(4200));
            }
        }
        assert_eq!(outcome(Kind::Event, 0, Duration::ZERO, &crashed(60), 0.0), Outcome::Wait(10_000));
        assert_eq!(outcome(Kind::Event, 0, Duration::ZERO, &crashed(0), 0.0), Outcome::Wait(500));
        // Later it is as with anybody who can't be reached.
        assert_eq!(pause(outcome(Kind::Event, 0, LONGEST_WAIT, &crashed(60), 0.5)), 60_000);
        let given_up = Outcome::Failed("it crashed".to_owned());
        assert_eq!(outcome(Kind::Event, 2, LONGEST_WAIT, &crashed(60), 0.5), given_up);
        assert_eq!(outcome(Kind::Message, 1, LONGEST_WAIT, &crashed(60), 0.5), given_up);
    }
}
