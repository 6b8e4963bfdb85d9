// SPDX-License-Identifier: Apache-2.0
//! What a disk says of its own health, by way of `smartctl --json`.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use provisioner_api::DiskHealth;
use serde::Deserialize;

/// A dying disk may take its time over every command; after this the machine goes on without its opinion.
const PATIENCE: Duration = Duration::from_secs(20);

/// Reallocated, pending and uncorrectable sectors.
const BAD_SECTOR_ATTRIBUTES: [u32; 3] = [5, 197, 198];

#[derive(Deserialize, Default)]
#[serde(default)]
struct Report {
    smart_status: Option<Status>,
    ata_smart_attributes: Attributes,
    nvme_smart_health_information_log: Option<NvmeLog>,
    power_on_time: Option<PowerOnTime>,
}

#[derive(Deserialize)]
struct Status {
    passed: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Attributes {
    table: Vec<Attribute>,
}

#[derive(Deserialize)]
struct Attribute {
    id: u32,
    raw: Raw,
}

#[derive(Deserialize)]
struct Raw {
    value: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct NvmeLog {
    media_errors: u64,
    percentage_used: Option<u64>,
}

#[derive(Deserialize)]
struct PowerOnTime {
    hours: u64,
}

/// Reads smartctl's answer; `None` where the disk knows nothing of its health.
pub(crate) fn parse(json: &str) -> Option<DiskHealth> {
    let report: Report = serde_json::from_str(json).ok()?;
    let passed = report.smart_status?.passed;
    let attributes = &report.ata_smart_attributes.table;
    let bad_sectors = match &report.nvme_smart_health_information_log {
        Some(log) => Some(log.media_errors),
        None if attributes.is_empty() => None,
        None => {
            let bad = attributes.iter().filter(|a| BAD_SECTOR_ATTRIBUTES.contains(&a.id));
            Some(bad.fold(0_u64, |sum, a| sum.saturating_add(a.raw.value)))
        }
    };
    let power_on_hours = report.power_on_time.map(|t| t.hours);
    let worn = report
        .nvme_smart_health_information_log
        .and_then(|log| log.percentage_used);
    let mut words = vec![if passed {
        "healthy".to_owned()
    } else {
        "says that it is failing".to_owned()
    }];
    words.extend(bad_sectors.filter(|n| *n > 0).map(|n| format!("{n} bad sectors")));
    words.extend(worn.map(|percent| format!("{percent} % worn")));
    words.extend(power_on_hours.map(|hours| format!("{hours} h under power")));
    Some(DiskHealth {
        passed,
        bad_sectors,
        power_on_hours,
        summary: words.join(", "),
    })
}

/// Asks smartctl; `None` where there is no smartctl, no answer in time, or nothing known.
pub(crate) fn ask(device: &str) -> Option<DiskHealth> {
    let mut child = Command::new("smartctl")
        .args(["--json", "--info", "--health", "--attributes", device])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut out = child.stdout.take()?;
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = out.by_ref().take(1 << 20).read_to_string(&mut text);
        text
    });
    let asked = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if asked.elapsed() > PATIENCE {
            // A command stuck in the kernel does not die either; it is left behind.
            let _ = child.kill();
            return None;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    // smartctl's exit status is a set of bits about the disk's past, not about the answer.
    parse(&reader.join().ok()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_worn_out_disk_is_called_that() {
        let health = parse(
            r#"{"smart_status":{"passed":false},"power_on_time":{"hours":41022},"ata_smart_attributes":{"table":[
            {"id":5,"name":"Reallocated_Sector_Ct","raw":{"value":12}},{"id":197,"raw":{"value":3}},
            {"id":9,"raw":{"value":41022}}]}}"#,
        )
        .unwrap();
        assert_eq!(health.bad_sectors, Some(15));
        assert_eq!(
            health.summary,
            "says that it is failing, 15 bad sectors, 41022 h under power"
        );
    }

    #[test]
    fn a_disk_without_smart_has_no_opinion() {
        assert_eq!(parse(r#"{"smartctl":{"exit_status":4}}"#), None);
    }

    proptest! {
        #[test]
        fn no_answer_is_too_strange_to_read(text in "(?s).{0,300}", n in any::<u64>()) {
            parse(&text);
            let two = format!(r#"{{"id":5,"raw":{{"value":{n}}}}},{{"id":197,"raw":{{"value":{n}}}}}"#);
            parse(&format!(r#"{{"smart_status":{{"passed":true}},"ata_smart_attributes":{{"table":[{two}]}}}}"#));
        }
    }
}
