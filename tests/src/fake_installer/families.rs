// SPDX-License-Identifier: Apache-2.0
//! What the answer files of the families say, as far as it is obeyed: which scripts run when, where packages come from,
//! and which disk the first script has chosen.

use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// An answer file, read.
pub(super) struct Answers {
    /// Run first; chooses the disk.
    pub(super) pre: String,
    /// Where the first script's choice is found when it has run: the file, and what stands around the name.
    pub(super) choice: (&'static str, &'static str, &'static str),
    /// Run when the disk is written to.
    pub(super) packages: Option<String>,
    /// Run last, on the machine or in the installed system.
    pub(super) late: String,
    /// Whether it runs in the installed system.
    pub(super) in_target: bool,
    /// Where the system comes from.
    pub(super) mirror: String,
    /// Who hears in JSON what it does.
    pub(super) webhook: Option<String>,
    /// Where the installed system gets the time, where it is for the installer to say that.
    pub(super) time: Vec<String>,
}

/// Understands an answer file by its name; `argument` finds a kernel argument.
pub(super) fn read(name: &str, text: &str, argument: impl Fn(&str) -> Option<String>) -> Result<Answers> {
    match name {
        "user-data" => ubuntu(text),
        "ks.cfg" => red_hat(text),
        "autoinst.xml" => autoyast(text, argument("install=").context("no install=")?),
        "profile.json" => agama(text, argument("inst.install_url=").context("no inst.install_url=")?),
        other => bail!("{other} is no answer file that is understood"),
    }
}

/// Lays an answer file where its installer does: Subiquity and `YaST` read it again when the first script has changed it.
pub(super) fn lay(name: &str, text: &str) -> Result<()> {
    let place = match name {
        "user-data" => "/autoinstall.yaml",
        "autoinst.xml" => "/tmp/profile/autoinst.xml",
        _ => return Ok(()),
    };
    fs::create_dir_all("/tmp/profile").context("making a folder")?;
    fs::write(place, text).with_context(|| format!("writing {place}"))
}

fn ubuntu(text: &str) -> Result<Answers> {
    let seed: Value = serde_saphyr::from_str(text).context("reading YAML")?;
    let answers = &seed["autoinstall"];
    let command = |list: &str| string(&answers[list][0][2]).with_context(|| format!("no {list}"));
    Ok(Answers {
        pre: command("early-commands")?,
        choice: ("/autoinstall.yaml", "path: /dev/", "\n"),
        packages: None,
        late: command("late-commands")?,
        in_target: false,
        mirror: string(&answers["apt"]["mirror-selection"]["primary"][0]["uri"])?,
        webhook: string(&answers["reporting"]["gleaner"]["endpoint"]).ok(),
        time: serde_json::from_value(answers["user-data"]["ntp"]["servers"].clone()).unwrap_or_default(),
    })
}

fn red_hat(text: &str) -> Result<Answers> {
    let section = |name: &str| -> Result<String> {
        let begins = |line: &&str| line.split_ascii_whitespace().next() == Some(name);
        let lines: Vec<&str> = text.lines().skip_while(|line| !begins(line)).skip(1).collect();
        let end = lines
            .iter()
            .position(|line| *line == "%end")
            .with_context(|| format!("no {name}"))?;
        Ok(lines[..end].join("\n"))
    };
    let url = text.lines().find_map(|line| line.strip_prefix("url --url="));
    let url = url
        .and_then(|rest| rest.split_ascii_whitespace().next())
        .context("no url")?;
    let mirror = url.split("/BaseOS/").next().unwrap_or(url).split("/Everything/").next();
    Ok(Answers {
        pre: section("%pre")?,
        choice: ("/tmp/gleaner-storage.ks", "--only-use=", "\n"),
        packages: Some(section("%pre-install")?),
        late: section("%post")?,
        in_target: true,
        mirror: mirror.unwrap_or_default().trim_matches('\'').to_owned(),
        webhook: None,
        time: text
            .lines()
            .filter_map(|line| line.strip_prefix("timesource --ntp-server="))
            .map(str::to_owned)
            .collect(),
    })
}

fn autoyast(text: &str, mirror: String) -> Result<Answers> {
    let source = |list: &str| -> Result<String> {
        let rest = text
            .split(&format!("<{list} "))
            .nth(1)
            .with_context(|| format!("no {list}"))?;
        let rest = rest.split("<source>").nth(1).context("a script without a source")?;
        Ok(unescape(rest.split("</source>").next().unwrap_or_default()))
    };
    Ok(Answers {
        pre: source("pre-scripts")?,
        choice: ("/tmp/profile/modified.xml", "<device>/dev/", "</device>"),
        packages: Some(source("postpartitioning-scripts")?),
        late: source("chroot-scripts")?,
        in_target: true,
        mirror,
        webhook: None,
        time: text
            .split("<address>")
            .skip(1)
            .filter_map(|rest| rest.split_once("</address>"))
            .map(|(server, _)| server.to_owned())
            .collect(),
    })
}

fn agama(text: &str, mirror: String) -> Result<Answers> {
    let profile: Value = serde_json::from_str(text).context("reading JSON")?;
    let script = |list: &str| string(&profile["scripts"][list][0]["content"]).with_context(|| format!("no {list}"));
    Ok(Answers {
        pre: script("pre")?,
        choice: ("/run/udev/rules.d/99-gleaner.rules", "KERNEL==\"", "\""),
        packages: Some(script("postPartitioning")?),
        late: script("post")?,
        in_target: true,
        mirror,
        webhook: None,
        time: Vec::new(),
    })
}

fn string(value: &Value) -> Result<String> {
    value
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("{value} is no text"))
}

/// The five entities of XML, and characters by number.
fn unescape(text: &str) -> String {
    let mut parts = text.split('&');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once(';').unwrap_or((part, ""));
        let number = name
            .strip_prefix("#x")
            .map(|hex| u32::from_str_radix(hex, 16))
            .or_else(|| name.strip_prefix('#').map(str::parse));
        match name {
            "lt" => plain.push('<'),
            "gt" => plain.push('>'),
            "amp" => plain.push('&'),
            "quot" => plain.push('"'),
            "apos" => plain.push('\''),
            _ => plain.extend(number.and_then(Result::ok).and_then(char::from_u32)),
        }
        plain += rest;
    }
    plain
}

/// The name of the disk that the first script has chosen.
pub(super) fn chosen(answers: &Answers) -> Result<String> {
    let (file, before, after) = answers.choice;
    let text = fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
    let rest = text
        .split(before)
        .nth(1)
        .with_context(|| format!("no disk in {file}:\n{text}"))?;
    let name = rest.split(after).next().unwrap_or_default();
    Ok(name.trim_matches(['"', '\'']).trim().to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_stand_in_understands_what_is_really_rendered() {
        let templates = kickstart::Templates::built_in().unwrap();
        let spec = kickstart::samples::plain().unwrap().check().unwrap();
        let site = kickstart::samples::site();
        for (os, name) in [
            ("ubuntu-24.04", "user-data"),
            ("rocky-9", "ks.cfg"),
            ("fedora-43", "ks.cfg"),
            ("opensuse-leap-15", "autoinst.xml"),
            ("opensuse-leap-16", "profile.json"),
        ] {
            let os = kickstart::families::named(os).unwrap();
            let answer = kickstart::render(&templates, os, &spec, &site).unwrap();
            let arguments = answer.boot.unwrap().arguments;
            let argument = |wanted: &str| {
                let mut values = arguments.iter().filter_map(|word| word.strip_prefix(wanted));
                values.next().map(str::to_owned)
            };
            let answers = read(name, &answer.files[name].text, argument).unwrap();
            assert!(answers.pre.contains("one storage.disk"), "{}: {}", os.name, answers.pre);
            assert!(answers.late.contains("/target.sh"), "{}: {}", os.name, answers.late);
            assert!(
                answers.mirror.starts_with("http://mirror.lab.example/"),
                "{}: {}",
                os.name,
                answers.mirror
            );
            assert!(!answers.mirror.contains("BaseOS") && !answers.mirror.contains("Everything"));
        }
    }

    #[test]
    fn entities_become_what_they_stand_for() {
        assert_eq!(
            unescape("a &lt;b&gt; &amp;&amp; &quot;c&quot; &#10;&#x41;"),
            "a <b> && \"c\" \nA"
        );
    }
}
