//! What `/metrics` shows of the parts of the server that serve no requests.

use duologue_delivery::Counters;
use duologue_hosted::Hosted;
use duologue_http::Family;

/// Deliveries, webhooks, and hosted code if there is any.
pub fn families(counters: &Counters, hosted: Option<&Hosted>) -> Vec<Family> {
    let settled = counters.settled().map(|(to, outcome, count)| (vec![("to", to), ("outcome", outcome)], count));
    let attempts = counters.attempts().map(|(outcome, count)| (vec![("outcome", outcome)], count));
    let mut families = vec![
        Family::gauge(
            "duologue_outbox_rows_in_memory",
            "Deliveries that wait or are under way, as far as they are in memory.",
            counters.rows(),
        ),
        Family::gauge(
            "duologue_deliveries_in_flight",
            "Calls of bots and integrations under way, of deliveries.",
            counters.calls(),
        ),
        Family {
            name: "duologue_deliveries_total",
            help: "Attempts at deliveries, by who was meant and how they ended.",
            kind: "counter",
            values: settled.collect(),
        },
        Family::gauge("duologue_webhooks_in_flight", "Requests to webhooks under way.", counters.requests()),
        Family {
            name: "duologue_webhook_attempts_total",
            help: "Requests to webhooks, by how they ended.",
            kind: "counter",
            values: attempts.collect(),
        },
        Family::counter(
            "duologue_webhooks_disabled_total",
            "Webhooks that were disabled because they failed.",
            counters.disabled(),
        ),
    ];
    if let Some(hosted) = hosted {
        families.extend([
            Family::gauge("duologue_hosted_processes", "Processes of hosted code.", hosted.running() as u64),
            Family::counter(
                "duologue_hosted_starts_total",
                "Processes of hosted code that came to listen, restarts included.",
                hosted.started(),
            ),
            Family::counter(
                "duologue_hosted_failures_total",
                "Processes of hosted code that did not start, crashed, or had to be ended.",
                hosted.failed(),
            ),
        ]);
    }
    families
}
