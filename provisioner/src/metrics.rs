// SPDX-License-Identifier: Apache-2.0
//! Figures for Prometheus. Every label is a word from a short list of ours: no address, no name, no path of a
//! stranger becomes a label, so nobody on the LAN can make the table grow.

use std::sync::LazyLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::app::App;

/// Seconds, upper ends: a boot script should be under 50 ms, a long poll takes a minute.
const SECONDS: [f64; 10] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0, 60.0];

/// The recorder is process-wide by nature of the `metrics` crate; `None` where something else was there first.
static RECORDER: LazyLock<Option<PrometheusHandle>> = LazyLock::new(|| {
    let builder = PrometheusBuilder::new();
    let builder = builder
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
        .ok()?;
    let handle = builder.install_recorder().ok()?;
    describe();
    Some(handle)
});

/// Begins to record; figures of before are lost. Calling it again does nothing.
pub fn install() {
    LazyLock::force(&RECORDER);
}

/// All figures as of `now` in Prometheus' text format.
pub fn render(app: &App, now: i64) -> String {
    let Some(handle) = RECORDER.as_ref() else {
        return String::new();
    };
    sample(app, now);
    handle.run_upkeep();
    handle.render()
}

/// Figures that are read, not counted.
fn sample(app: &App, now: i64) {
    let status = app.status(now);
    for state in STATES {
        let count = status.nodes.get(state).copied().unwrap_or(0);
        metrics::gauge!("gleaner_nodes", "state" => state).set(lossy(count));
    }
    let working = status.services.iter().filter(|service| service.ok).count();
    metrics::gauge!("gleaner_services_working").set(lossy(working as u64));
    metrics::gauge!("gleaner_services").set(lossy(status.services.len() as u64));
    metrics::gauge!("gleaner_warnings").set(lossy(status.warnings.len() as u64));
    metrics::gauge!("gleaner_uptime_seconds").set(lossy(status.uptime));
    metrics::gauge!("gleaner_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    if let Some(bytes) = resident() {
        metrics::gauge!("process_resident_memory_bytes").set(lossy(bytes));
    }
    if let Some(open) = open_files() {
        metrics::gauge!("process_open_fds").set(lossy(open));
    }
}

/// The words of `lifecycle::State::word`; a state without nodes shows as 0 rather than not at all.
const STATES: [&str; 10] = [
    "enrolled",
    "rejected",
    "approved",
    "checking",
    "wiping",
    "installing",
    "ready",
    "draining",
    "failed",
    "retired",
];

fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_gauge!("gleaner_build_info", "Version of the provisioner; always 1.");
    describe_gauge!("gleaner_uptime_seconds", "Seconds since the provisioner started.");
    describe_gauge!("gleaner_nodes", "Nodes by state.");
    describe_gauge!("gleaner_services", "Services of the provisioner.");
    describe_gauge!("gleaner_services_working", "Services that work.");
    describe_gauge!("gleaner_warnings", "Things that a person should look at.");
    describe_counter!(
        "gleaner_boot_scripts_total",
        "Boot scripts by decision: discover, local-disk, stop."
    );
    describe_counter!(
        "gleaner_http_requests_total",
        "Requests by listener, route, method and class of status."
    );
    describe_histogram!(
        "gleaner_http_request_seconds",
        "Time from head to answer, without sending the body."
    );
    describe_counter!("gleaner_http_file_bytes_total", "Bytes of files read for sending.");
    describe_gauge!("gleaner_http_connections", "Open connections by listener.");
    describe_counter!(
        "gleaner_http_connections_refused_total",
        "Connections turned away by listener and limit."
    );
    describe_counter!(
        "gleaner_tls_handshakes_failed_total",
        "TLS handshakes that failed, and why."
    );
    describe_counter!(
        "gleaner_tokens_refused_total",
        "Requests with an API token that is not valid."
    );
    describe_gauge!("gleaner_live_streams", "Open event streams.");
    describe_counter!("gleaner_dns_questions_total", "Questions for names.");
    describe_counter!(
        "gleaner_dns_forwarded_total",
        "Questions for names that other servers were asked."
    );
    describe_counter!("gleaner_dns_refused_total", "Questions for names of strangers.");
    describe_counter!(
        "gleaner_dns_crowded_total",
        "Questions for names that were turned away: too many at a time."
    );
    describe_counter!(
        "gleaner_live_resyncs_total",
        "Watchers that fell behind and were shown everything again."
    );
    describe_gauge!("process_resident_memory_bytes", "Resident memory.");
    describe_gauge!("process_open_fds", "Open file descriptors.");
}

/// Resident memory, from the second field of `/proc/self/statm`, which counts pages.
fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    // x86-64 has pages of 4 KiB.
    Some(pages * 4096)
}

fn open_files() -> Option<u64> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count() as u64)
}

/// Prometheus has only floating-point numbers; beyond 2^53 the last digits do not matter.
#[allow(clippy::cast_precision_loss)]
fn lossy(number: u64) -> f64 {
    number as f64
}
