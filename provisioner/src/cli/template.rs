// SPDX-License-Identifier: Apache-2.0
//! `provisioner template …`: the site's own templates of answer files, for those who write them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use kickstart::Templates;
use provisioner_api::{TemplateAnswer, TemplateList, TemplateTrial};
use serde::Serialize;

use super::words::{plain, table};
use super::{Template, Trial, answer, client, say, talk};
use crate::config::Config;
use crate::templates::{load, read, said, trial};

/// What a check finds.
#[derive(Debug, Serialize)]
struct Checked {
    folder: String,
    overrides: Vec<String>,
    wrong: Vec<Wrong>,
}

/// What is wrong in a file; line 0 is the file as a whole.
#[derive(Debug, Serialize)]
struct Wrong {
    file: String,
    line: usize,
    why: String,
}

/// Carries out a command; whether all is well.
pub fn run(config: &Config, command: &Template, json: bool) -> anyhow::Result<bool> {
    match command {
        Template::List => list(config, json)?,
        Template::Check { folder } => {
            // A folder that is named is meant; the site's own need not be there.
            if let Some(missing) = folder.as_ref().filter(|folder| !folder.is_dir()) {
                bail!("there is no folder {}", missing.display());
            }
            return check(folder.as_deref().unwrap_or(&config.templates), json);
        }
        Template::Show { template } => show(template)?,
        Template::Render { trial, file } => render(config, trial, file.as_deref(), json)?,
        Template::Diff { trial, file } => diff(config, trial, file.as_deref(), json)?,
    }
    Ok(true)
}

fn list(config: &Config, json: bool) -> anyhow::Result<()> {
    let list: TemplateList = talk(client(config).get("/api/v1/templates"))?;
    answer(&list, json, |list| {
        let rows = list.templates.iter().map(|template| {
            let from = if template.site { "the site's own" } else { "built in" };
            vec![template.path.clone(), from.into()]
        });
        let mut words = table(&["TEMPLATE", "IN FORCE"], rows);
        if !list.refused.is_empty() {
            let wrong: Vec<String> = list.refused.iter().map(|wrong| plain(wrong)).collect();
            words = format!(
                "{words}\n\n{} is refused; what was in force before it still is:\n{}",
                list.folder,
                wrong.join("\n")
            );
        }
        words
    })
}

/// Reads a folder as the server would; needs no server.
fn check(folder: &Path, json: bool) -> anyhow::Result<bool> {
    let mut checked = Checked {
        folder: folder.display().to_string(),
        overrides: Vec::new(),
        wrong: Vec::new(),
    };
    let mut lines = Vec::new();
    match load(folder, trial::apart) {
        Ok((files, _)) => checked.overrides = files.into_keys().collect(),
        Err(broken) => {
            lines = broken.iter().map(|broken| plain(&said(broken))).collect();
            let wrong = broken.into_iter().map(|broken| Wrong {
                file: broken.file,
                line: broken.line,
                why: broken.why,
            });
            checked.wrong = wrong.collect();
        }
    }
    let good = checked.wrong.is_empty();
    answer(&checked, json, |checked| match checked.overrides.len() {
        _ if !good => lines.join("\n"),
        0 => format!(
            "{folder} has no templates: the built-in ones are in force",
            folder = checked.folder
        ),
        many => format!("{}: {many} good: {}", checked.folder, checked.overrides.join(", ")),
    })?;
    Ok(good)
}

/// A built-in template, to begin one's own with.
fn show(template: &str) -> anyhow::Result<()> {
    let mut built_in = Templates::paths();
    let text = built_in
        .remove(template)
        .with_context(|| format!("there is no built-in template {template}; see: provisioner template list"))?;
    say(&text)
}

fn render(config: &Config, trial: &Trial, file: Option<&str>, json: bool) -> anyhow::Result<()> {
    let got = asked(config, trial, "/api/v1/templates/render", file)?;
    answer(&got, json, |got| {
        if file.is_some() {
            return got.files.values().map(|text| text.trim_end_matches('\n')).collect();
        }
        let way = if got.arguments.is_empty() {
            "beside its image lies:".to_owned()
        } else {
            format!("the installer is started with:\n{}", got.arguments.join(" "))
        };
        let head = format!("{} as {} ({}); {way}", got.machine, got.profile, got.os);
        let files = got
            .files
            .iter()
            .map(|(name, text)| format!("\n\n==> {name} <==\n{}", text.trim_end()));
        head + &files.collect::<String>()
    })
}

fn diff(config: &Config, trial: &Trial, file: Option<&str>, json: bool) -> anyhow::Result<()> {
    let got = asked(config, trial, "/api/v1/templates/diff", file)?;
    answer(&got, json, |got| {
        let changes: String = got.files.values().map(String::as_str).collect();
        if changes.is_empty() {
            return format!("nothing changes for {} as {} ({})", got.machine, got.profile, got.os);
        }
        changes.trim_end().to_owned()
    })
}

/// Asks the server, with the files of a folder if one is named; of the answer, one file if one is.
fn asked(config: &Config, trial: &Trial, path: &str, file: Option<&str>) -> anyhow::Result<TemplateAnswer> {
    let overrides = match &trial.folder {
        None => None,
        Some(folder) if !folder.is_dir() => bail!("there is no folder {}", folder.display()),
        Some(folder) => Some(files(folder)?),
    };
    let question = TemplateTrial {
        node: trial.node.clone(),
        profile: trial.profile.clone(),
        overrides,
    };
    let mut got: TemplateAnswer = talk(client(config).post(path, &question))?;
    if let Some(file) = file {
        // In a diff there are only the files that change.
        let is_diff = path.ends_with("diff");
        if !is_diff && !got.files.contains_key(file) {
            let known: Vec<&str> = got.files.keys().map(String::as_str).collect();
            bail!("{} gets no {file}; it gets {}", got.machine, known.join(", "));
        }
        got.files.retain(|name, _| name == file);
    }
    Ok(got)
}

fn files(folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    read(folder).map_err(|broken| {
        let lines: Vec<String> = broken.iter().map(said).collect();
        anyhow::anyhow!("{}", lines.join("\n"))
    })
}
