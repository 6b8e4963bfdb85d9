// SPDX-License-Identifier: Apache-2.0
//! `provisioner image …`: what can be installed, for people.

use indicatif::{ProgressBar, ProgressStyle};
use provisioner_api::{ImageSummary, ImportLine};

use super::handover::Handover;
use super::words::table;
use super::{Image, answer, client, talk};
use crate::api_client::Client;
use crate::config::{Config, size_in_words};

/// Carries out a command.
pub fn run(config: &Config, command: &Image, json: bool) -> anyhow::Result<()> {
    let client = client(config);
    match command {
        Image::List => list(&client, json),
        Image::Import { folder } => import(&client, &Handover::of(folder, &config.paths)?, json),
    }
}

fn list(client: &Client, json: bool) -> anyhow::Result<()> {
    let images: Vec<ImageSummary> = talk(client.get("/api/v1/images"))?;
    answer(&images, json, |images| images_in_words(images))
}

fn import(client: &Client, handover: &Handover, json: bool) -> anyhow::Result<()> {
    let bar = bar()?;
    let told = talk(client.import(handover.folder(), |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    }));
    bar.finish_and_clear();
    answer(&told?, json, |told| match told {
        ImportLine::Done { what, name, version } => format!("imported {what} {name} {version}"),
        // `import` returns nothing else.
        ImportLine::Progress { .. } | ImportLine::Failed { .. } => String::new(),
    })
}

/// Shown on a terminal only; a log has no use for a bar.
fn bar() -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("verifying {bar:40} {bytes} of {total_bytes}, {eta} left")?;
    Ok(ProgressBar::new(0).with_style(style))
}

fn images_in_words(images: &[ImageSummary]) -> String {
    if images.is_empty() {
        return "No image yet: build one with `images build`, then `provisioner image import FOLDER`.".into();
    }
    let rows = images.iter().map(|image| {
        vec![
            image.name.clone(),
            image.version.clone(),
            size_in_words(image.disk_size),
            size_in_words(image.data_size),
            image.signed_by.clone(),
            image.problem.clone().unwrap_or_else(|| "ok".into()),
        ]
    });
    table(&["NAME", "VERSION", "DISK", "ON THE WIRE", "SIGNED BY", "STATE"], rows)
}
