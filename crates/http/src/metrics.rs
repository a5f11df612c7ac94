//! Counters, in the text format of Prometheus.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Upper bounds of the latency buckets, in microseconds.
const BOUNDS: [u64; 12] =
    [250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000];

/// What one operation has served.
#[derive(Debug)]
struct Operation {
    name: &'static str,
    by_class: [AtomicU64; 5],
    buckets: [AtomicU64; BOUNDS.len()],
    micros: AtomicU64,
}

/// A metric of another part of the server, as it is now.
pub struct Family {
    /// Its name, as Prometheus wants it: of a counter, with `_total`.
    pub name: &'static str,
    /// What it is, a sentence.
    pub help: &'static str,
    /// `counter` or `gauge`.
    pub kind: &'static str,
    /// Labels, and a number for them. Labels are constants, so that there is never more than a handful.
    pub values: Vec<(Vec<(&'static str, &'static str)>, u64)>,
}

impl Family {
    /// A number without labels that goes up and down.
    pub fn gauge(name: &'static str, help: &'static str, value: u64) -> Self {
        Family { name, help, kind: "gauge", values: vec![(Vec::new(), value)] }
    }

    /// A number without labels that only grows.
    pub fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Family { kind: "counter", ..Family::gauge(name, help, value) }
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Family { name, help, kind, values } = self;
        writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")?;
        for (labels, value) in values {
            let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
            match labels.is_empty() {
                true => writeln!(out, "{name} {value}")?,
                false => writeln!(out, "{name}{{{}}} {value}", labels.join(","))?,
            }
        }
        Ok(())
    }
}

type Others = Box<dyn Fn() -> Vec<Family> + Send + Sync>;

/// What the server has served since it started.
pub struct Metrics {
    started: Instant,
    operations: Vec<Operation>,
    pub(crate) in_flight: AtomicU64,
    pub(crate) rate_limited: AtomicU64,
    others: Option<Others>,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            started: Instant::now(),
            operations: crate::route::all()
                .map(|route| Operation {
                    name: route.id,
                    by_class: Default::default(),
                    buckets: Default::default(),
                    micros: AtomicU64::new(0),
                })
                .collect(),
            in_flight: AtomicU64::new(0),
            rate_limited: AtomicU64::new(0),
            others: None,
        }
    }
}

impl Metrics {
    /// With what other parts of the server count; they are asked whenever somebody looks.
    pub fn with(others: impl Fn() -> Vec<Family> + Send + Sync + 'static) -> Self {
        Metrics { others: Some(Box::new(others)), ..Metrics::default() }
    }

    /// Counts an answer of the operation with this index.
    pub(crate) fn served(&self, operation: usize, status: u16, took: Duration) {
        let Some(operation) = self.operations.get(operation) else { return };
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        operation.by_class[class].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        operation.micros.fetch_add(micros, Ordering::Relaxed);
        if let Some(bucket) = BOUNDS.iter().position(|bound| micros <= *bound) {
            operation.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The text that Prometheus scrapes. Operations that nobody has called are left out.
    pub(crate) fn render(&self) -> String {
        let mut out = String::with_capacity(4096);
        // Writing to a string never fails.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        writeln!(out, "# HELP duologue_info Version of the server.\n# TYPE duologue_info gauge")?;
        writeln!(out, "duologue_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))?;
        writeln!(out, "# HELP duologue_uptime_seconds Time since the start.\n# TYPE duologue_uptime_seconds gauge")?;
        writeln!(out, "duologue_uptime_seconds {}", self.started.elapsed().as_secs())?;
        writeln!(
            out,
            "# HELP duologue_requests_in_flight Requests being served.\n# TYPE duologue_requests_in_flight gauge"
        )?;
        writeln!(out, "duologue_requests_in_flight {}", load(&self.in_flight))?;
        writeln!(
            out,
            "# HELP duologue_rate_limited_total Requests refused by the rate limit.\n# TYPE duologue_rate_limited_total counter"
        )?;
        writeln!(out, "duologue_rate_limited_total {}", load(&self.rate_limited))?;
        if let Some(bytes) = resident_bytes() {
            writeln!(
                out,
                "# HELP process_resident_memory_bytes Resident memory.\n# TYPE process_resident_memory_bytes gauge"
            )?;
            writeln!(out, "process_resident_memory_bytes {bytes}")?;
        }
        for family in self.others.iter().flat_map(|others| others()) {
            family.write(out)?;
        }
        let called: Vec<(&Operation, u64)> = self
            .operations
            .iter()
            .map(|op| (op, op.by_class.iter().map(load).sum()))
            .filter(|(_, count)| *count > 0)
            .collect();
        writeln!(
            out,
            "# HELP duologue_requests_total Requests served, by operation and class of status.\n# TYPE duologue_requests_total counter"
        )?;
        for (op, _) in &called {
            for (class, counter) in op.by_class.iter().enumerate().filter(|(_, counter)| load(counter) > 0) {
                writeln!(
                    out,
                    "duologue_requests_total{{operation=\"{}\",status=\"{}xx\"}} {}",
                    op.name,
                    class + 1,
                    load(counter)
                )?;
            }
        }
        writeln!(
            out,
            "# HELP duologue_request_seconds Time to answer, by operation.\n# TYPE duologue_request_seconds histogram"
        )?;
        for (op, count) in &called {
            let mut cumulated = 0;
            for (bound, bucket) in BOUNDS.iter().zip(&op.buckets) {
                cumulated += load(bucket);
                writeln!(
                    out,
                    "duologue_request_seconds_bucket{{operation=\"{}\",le=\"{}\"}} {cumulated}",
                    op.name,
                    *bound as f64 / 1e6
                )?;
            }
            writeln!(out, "duologue_request_seconds_bucket{{operation=\"{}\",le=\"+Inf\"}} {count}", op.name)?;
            writeln!(
                out,
                "duologue_request_seconds_sum{{operation=\"{}\"}} {}",
                op.name,
                load(&op.micros) as f64 / 1e6
            )?;
            writeln!(out, "duologue_request_seconds_count{{operation=\"{}\"}} {count}", op.name)?;
        }
        Ok(())
    }
}

/// Resident memory of this process, where the system tells.
fn resident_bytes() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse::<u64>().ok()?;
    Some(pages * 4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_count_is_written_with_its_labels() {
        let values =
            vec![(vec![("to", "bot"), ("outcome", "failed")], 7), (vec![("to", "bot"), ("outcome", "retry")], 0)];
        let ends = Family { name: "ends_total", help: "How it ended.", kind: "counter", values };
        let others = move || vec![Family::gauge("rows", "Rows.", 3), Family { values: ends.values.clone(), ..ends }];
        let text = Metrics::with(others).render();
        let wanted = "# HELP rows Rows.\n# TYPE rows gauge\nrows 3\n# HELP ends_total How it ended.\n\
                      # TYPE ends_total counter\nends_total{to=\"bot\",outcome=\"failed\"} 7\n\
                      ends_total{to=\"bot\",outcome=\"retry\"} 0\n";
        assert!(text.contains(wanted), "{text}");
    }
}
