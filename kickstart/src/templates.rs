// SPDX-License-Identifier: Apache-2.0
//! The templates: those that are built in, and above them those of a site.
//!
//! A set with overrides is tried out as a whole when it is made: a site whose override is broken keeps the set that it
//! had, and is told the file, the line and the reason. Those that are built in were tried out when they were built.

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

/// What templates say, by their paths.
type Texts = BTreeMap<String, String>;

/// A set of templates that compiles and renders. Each is compiled when it is asked for first: a server knows seven
/// families, and most need one or none.
#[derive(Clone, Debug)]
pub struct Templates {
    environment: Arc<Environment<'static>>,
    overridden: Vec<String>,
}

impl Templates {
    /// Those that are built in.
    pub fn built_in() -> Result<Self, Broken> {
        Self::with(Texts::new())
    }

    /// Those that are built in with others in the place of some: paths such as `debian/preseed.preseed`, and what the
    /// files hold. All that is wrong is told, not only the first.
    pub fn with_overrides(overrides: &BTreeMap<String, String>) -> Result<Self, Vec<Broken>> {
        if overrides.is_empty() {
            return Self::built_in().map_err(|broken| vec![broken]);
        }
        let mut wrong = strangers(overrides);
        let mut known = overrides.clone();
        known.retain(|path, _| wrong.iter().all(|stranger| stranger.file != *path));
        let with = |texts: &Texts| Self::with(texts.clone()).map_err(|broken| vec![broken]);
        // What is compiled to be tried out is not kept.
        let tried = with(&known)?;
        let broken = tried.compile_all(known.keys());
        wrong.extend(if broken.is_empty() { tried.try_out() } else { broken });
        if wrong.is_empty() { with(&known) } else { Err(wrong) }
    }

    /// The paths that are not the built-in ones.
    pub fn overridden(&self) -> &[String] {
        &self.overridden
    }

    /// Every path that can be overridden, with the built-in text.
    pub fn paths() -> BTreeMap<String, String> {
        BuiltIn::iter()
            .filter_map(|path| Some((path.to_string(), built_in(&path)?)))
            .collect()
    }

    /// Compiles a set of templates that stands by itself.
    pub(crate) fn alone(texts: Texts) -> Result<Self, Broken> {
        let paths: Vec<String> = texts.keys().cloned().collect();
        let set = Self::of(Vec::new(), move |path| texts.get(path).cloned())?;
        let broken = set.compile_all(&paths);
        broken.into_iter().next().map_or(Ok(set), Err)
    }

    /// The built-in ones with these above them.
    fn with(texts: Texts) -> Result<Self, Broken> {
        let overridden = texts.keys().cloned().collect();
        Self::of(overridden, move |path| {
            texts.get(path).cloned().or_else(|| built_in(path))
        })
    }

    /// Those that `load` finds by their paths.
    fn of(
        overridden: Vec<String>,
        load: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Result<Self, Broken> {
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
        environment.set_syntax(syntax.map_err(|error| broken(&error, ""))?);
        environment.set_loader(move |path| Ok(load(path)));
        Ok(Self {
            environment: Arc::new(environment),
            overridden,
        })
    }

    /// Every one of these that does not compile.
    fn compile_all<'a>(&self, paths: impl IntoIterator<Item = &'a String>) -> Vec<Broken> {
        let compile = |path: &String| {
            let error = self.environment.get_template(path).err()?;
            Some(broken(&error, path))
        };
        paths.into_iter().filter_map(compile).collect()
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

fn built_in(path: &str) -> Option<String> {
    let file = BuiltIn::get(path)?;
    Some(String::from_utf8_lossy(&file.data).into_owned())
}

/// Overrides that nothing would ever use: mostly a slip of the keyboard.
fn strangers(overrides: &Texts) -> Vec<Broken> {
    let stranger = |path: &String| {
        let why = if Kind::of(path).is_none() {
            "the end of its name says no kind of file: .preseed, .sh, .ks, .yaml, .json, .xml or .ini"
        } else if BuiltIn::get(path).is_none() && !overrides.values().any(|text| text.contains(path.as_str())) {
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
