// SPDX-License-Identifier: Apache-2.0
//! Answer files of unattended installers: one typed specification of a machine in, the files of its distribution's own
//! installer out, and how that installer is told where they are.
//!
//! What a machine serves as is a [role](roles), the same for installers and for images.
//!
//! Pure: no socket, no file, no clock. Templates come in as text.
//!
//! ```text
//! spec::Spec ─check→ Checked ┐
//! site::Site ────────────────┼─ render ─→ Answer: files to serve, kernel, initramfs, arguments
//! families::Os ──────────────┤            or Refused: the field that this family cannot honour
//! templates::Templates ──────┘
//! ```

use std::collections::BTreeMap;

use minijinja::value::Value;

pub mod disks;
mod escape;
pub mod families;
#[cfg(test)]
mod goldens;
mod network;
#[cfg(test)]
mod properties;
pub mod roles;
pub mod samples;
pub mod site;
pub mod spec;
pub mod templates;
mod wellformed;
pub mod words;

pub use families::{Family, Os};
pub use site::Site;
pub use spec::{Checked, Spec};
pub use templates::{Broken, Templates};

/// What a machine is given to install itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Files to serve below [`Site::answers`], by name.
    pub files: BTreeMap<&'static str, AnswerFile>,
    /// What the loader starts; `None` where an image with its own kernel reads the files.
    pub boot: Option<Boot>,
}

/// A file that an installer fetches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerFile {
    /// Its media type.
    pub content_type: &'static str,
    /// What it says.
    pub text: String,
}

/// What the loader starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// The kernel, below [`Site::media`].
    pub kernel: &'static str,
    /// The initramfs, below [`Site::media`].
    pub initrd: &'static str,
    /// The kernel's arguments, a word each: no blanks, no quotes.
    pub arguments: Vec<String>,
}

/// A field that a family cannot honour.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {family} cannot do this: {why}")]
pub struct Unsupported {
    /// The operating system.
    pub family: &'static str,
    /// The field of the [`Spec`], or of the [`Site`] with `site.` before it.
    pub field: String,
    /// Why not, and what can be done instead.
    pub why: String,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The family cannot do what is asked.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Unsupported(Vec<Unsupported>),
    /// A template cannot be filled in.
    #[error(transparent)]
    Template(#[from] Broken),
}

/// What `os` needs to become what `spec` says.
pub fn render(templates: &Templates, os: &'static Os, spec: &Checked, site: &Site) -> Result<Answer, Refused> {
    let definition = os.family.definition();
    let asked = families::Asked {
        os,
        spec: spec.spec(),
        site,
    };
    let unsupported = supports(os, spec, site);
    if !unsupported.is_empty() {
        return Err(Refused::Unsupported(unsupported));
    }
    let context = asked.context();
    let mut files = BTreeMap::new();
    for file in definition.files {
        let text = templates.render(file.template, &context)?;
        wellformed::check(file.template, &text)?;
        files.insert(
            file.name,
            AnswerFile {
                content_type: file.content_type,
                text,
            },
        );
    }
    Ok(Answer {
        files,
        boot: definition.boot.map(|boot| boot(&asked)),
    })
}

/// Every field of `spec` that `os` cannot honour; none if it can be installed.
pub fn supports(os: &'static Os, spec: &Checked, site: &Site) -> Vec<Unsupported> {
    let asked = families::Asked {
        os,
        spec: spec.spec(),
        site,
    };
    let mut refusals = families::Refusals::new(os);
    families::refuse(&asked, &mut refusals);
    (os.family.definition().refuse)(&asked, &mut refusals);
    refusals.into_inner()
}

/// What changes in a machine's files from one set of templates to another: a unified diff a file, empty where nothing does.
pub fn diff(
    (old, new): (&Templates, &Templates),
    os: &'static Os,
    spec: &Checked,
    site: &Site,
) -> Result<BTreeMap<&'static str, String>, Refused> {
    let (old, new) = (render(old, os, spec, site)?, render(new, os, spec, site)?);
    let changes = new.files.iter().filter_map(|(name, file)| {
        let before = old.files.get(name).map_or("", |file| &file.text);
        let change = similar::TextDiff::from_lines(before, file.text.as_str());
        let text = change
            .unified_diff()
            .context_radius(3)
            .header(&format!("built-in/{name}"), &format!("site/{name}"))
            .to_string();
        (before != file.text).then_some((*name, text))
    });
    Ok(changes.collect())
}

fn value(of: impl serde::Serialize) -> Value {
    Value::from(minijinja::value::Serde(of))
}
