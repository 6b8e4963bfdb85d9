// SPDX-License-Identifier: Apache-2.0
//! The templates: those that are built in, and above them those of a site.
//!
//! A set is compiled and tried out as a whole when it is made: a site whose override is broken keeps the set that it
//! had, and is told the file, the line and the reason.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{Environment, UndefinedBehavior};
use rust_embed::RustEmbed;

use crate::escape::{self, Kind, filters};
use crate::{families, samples};

/// Steps that a template may take: a hundred times what the longest of ours does. What runs longer runs for ever.
const FUEL: u64 = 500_000;
/// Characters of an answer file at most: installers hold it in memory, and no honest one has a tenth of it.
const LARGEST: usize = 16 << 20;

#[derive(RustEmbed)]
#[folder = "templates"]
struct BuiltIn;

/// A template that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {why}")]
pub struct Broken {
    /// The template.
    pub file: String,
    /// The line in it; 0 where it is the file as a whole.
    pub line: usize,
    /// Why.
    pub why: String,
}

/// A set of templates that compiles and renders.
#[derive(Clone, Debug)]
pub struct Templates {
    environment: Arc<Environment<'static>>,
    overridden: Vec<String>,
}

impl Templates {
    /// Those that are built in.
    pub fn built_in() -> Result<Self, Broken> {
        Self::compile(built_in(), Vec::new())
    }

    /// Those that are built in with others in the place of some: paths such as `debian/preseed.preseed`, and what the
    /// files hold. All that is wrong is told, not only the first.
    pub fn with_overrides(overrides: &BTreeMap<String, String>) -> Result<Self, Vec<Broken>> {
        let mut sources = built_in();
        let mut wrong = strangers(&sources, overrides);
        let known = overrides
            .iter()
            .filter(|(path, _)| wrong.iter().all(|stranger| stranger.file != **path));
        sources.extend(known.map(|(path, text)| (path.clone(), text.clone().into())));
        match Self::compile_all(sources, overrides.keys().cloned().collect()) {
            Ok(set) => {
                wrong.extend(set.try_out());
                if wrong.is_empty() {
                    return Ok(set);
                }
            }
            Err(broken) => wrong.extend(broken),
        }
        Err(wrong)
    }

    /// The paths that are not the built-in ones.
    pub fn overridden(&self) -> &[String] {
        &self.overridden
    }

    /// Every path that can be overridden, with the built-in text.
    pub fn paths() -> BTreeMap<String, String> {
        built_in()
            .into_iter()
            .map(|(path, text)| (path, text.into_owned()))
            .collect()
    }

    /// Compiles a set of sources, by path.
    pub(crate) fn compile(
        sources: BTreeMap<String, Cow<'static, str>>,
        overridden: Vec<String>,
    ) -> Result<Self, Broken> {
        // What is refused is refused for something.
        Self::compile_all(sources, overridden).map_err(|mut broken| broken.remove(0))
    }

    /// The same, with every template that does not compile.
    fn compile_all(sources: BTreeMap<String, Cow<'static, str>>, overridden: Vec<String>) -> Result<Self, Vec<Broken>> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(escape::by_name);
        environment.set_formatter(escape::write);
        environment.remove_filter("safe");
        environment.remove_filter("escape");
        environment.remove_filter("e");
        environment.add_filter("sh", |value: Value| filters::sh(&value));
        environment.add_filter("preseed", |value: Value| filters::preseed(&value));
        environment.add_filter("words", |value: Value| filters::words(&value));
        environment.add_filter("b64", |value: Value| filters::b64(&value));
        // A tag stands in a line of its own and leaves nothing of the line.
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .keep_trailing_newline(true)
            .build();
        let whole = |file: &str| {
            let file = file.to_owned();
            move |error: minijinja::Error| broken(&error, &file)
        };
        environment.set_syntax(syntax.map_err(whole("")).map_err(|broken| vec![broken])?);
        let mut wrong = Vec::new();
        for (path, text) in sources {
            let added = environment.add_template_owned(path.clone(), text);
            wrong.extend(added.map_err(whole(&path)).err());
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(Self {
            environment: Arc::new(environment),
            overridden,
        })
    }

    /// Fills a template in.
    pub(crate) fn render(&self, path: &str, context: &Value) -> Result<String, Broken> {
        let whole = |error: minijinja::Error| broken(&error, path);
        let text = self
            .environment
            .get_template(path)
            .map_err(whole)?
            .render(context.clone())
            .map_err(whole)?;
        if text.len() > LARGEST {
            let why = format!(
                "it makes {} MB; {} are the most that an installer can hold",
                text.len() >> 20,
                LARGEST >> 20
            );
            return Err(Broken {
                file: path.to_owned(),
                line: 0,
                why,
            });
        }
        Ok(text)
    }

    /// Renders every template of every family for every sample, and reads what comes out as the installer would.
    fn try_out(&self) -> Vec<Broken> {
        let mut wrong: Vec<Broken> = Vec::new();
        let samples = samples::all();
        let site = samples::site();
        for os in families::all() {
            for spec in &samples {
                if let Err(crate::Refused::Template(broken)) = crate::render(self, os, spec, &site)
                    && !wrong.contains(&broken)
                {
                    wrong.push(broken);
                }
            }
        }
        wrong
    }
}

fn built_in() -> BTreeMap<String, Cow<'static, str>> {
    let text = |path: &str| BuiltIn::get(path).map(|file| String::from_utf8_lossy(&file.data).into_owned());
    BuiltIn::iter()
        .filter_map(|path| Some((path.to_string(), text(&path)?.into())))
        .collect()
}

/// Overrides that nothing would ever use: mostly a slip of the keyboard.
fn strangers(sources: &BTreeMap<String, Cow<'static, str>>, overrides: &BTreeMap<String, String>) -> Vec<Broken> {
    let stranger = |path: &String| {
        let why = if Kind::of(path).is_none() {
            "the end of its name says no kind of file: .preseed, .sh, .ks, .yaml, .json, .xml or .ini"
        } else if !sources.contains_key(path) && !overrides.values().any(|text| text.contains(path.as_str())) {
            "there is no built-in template of this name, and no other override includes it"
        } else {
            return None;
        };
        Some(Broken {
            file: path.clone(),
            line: 0,
            why: why.into(),
        })
    };
    overrides.keys().filter_map(stranger).collect()
}

/// The innermost cause that knows its place: an error in an included file is that file's.
fn broken(error: &minijinja::Error, file: &str) -> Broken {
    let mut innermost = error;
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref::<minijinja::Error>() {
            innermost = cause;
        }
        source = cause.source();
    }
    let why = innermost.detail().map_or_else(
        || innermost.kind().to_string(),
        |detail| format!("{}: {detail}", innermost.kind()),
    );
    Broken {
        file: innermost.name().or(error.name()).unwrap_or(file).to_owned(),
        line: innermost.line().or(error.line()).unwrap_or_default(),
        why,
    }
}

#[cfg(test)]
#[path = "templates/tests.rs"]
mod tests;
