//! How figures are printed.

use std::time::Duration;

use crate::load::Figures;

/// A heading.
pub(crate) fn title(text: &str) {
    println!("{text}");
}

/// A side of a comparison.
pub(crate) fn side(name: &str, figures: &Figures) {
    println!(
        "  {name:<44} {:>9.0}/s   p50 {:>8}   p99 {:>8}",
        figures.per_second,
        millis(figures.p50),
        millis(figures.p99)
    );
}

/// A figure against its goal.
pub(crate) fn goal(name: &str, value: f64, goal: f64, at_least: bool) {
    let (met, word) = if at_least { (value >= goal, "at least") } else { (value <= goal, "at most") };
    println!("  {name:<44} {value:>9.2}     {word} {goal}: {}", if met { "met" } else { "MISSED" });
}

/// A plain figure.
pub(crate) fn figure(name: &str, text: &str) {
    println!("  {name:<44} {text:>9}");
}

/// Milliseconds with two digits.
pub(crate) fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1000.0)
}
