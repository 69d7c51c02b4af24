//! Alertmanager's templates: the texts of receivers, expanded over one notification (pure but for
//! [`Templates::load`]).
//!
//! The language is Go's, run by the crate `gotmpl` as for rules; its `html` half escapes by context.
//! Values keep Go's types where templates can tell: see [`data`].

mod data;
mod functions;
mod json;
mod members;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use gotmpl::Value;
use gotmpl::parse::{DefineNode, ListNode};
use pitcrew_exporter::config::glob;
use pitcrew_exporter::config::yaml::{self, Invalid};

pub use self::data::quote;
use super::notification::Notification;
use crate::rules::template::output::{Bounded, cause};
use crate::rules::template::{SyntaxError, rewrite};

/// Longer output is an error: receivers cut far below it.
const MAX_OUTPUT: usize = 512 * 1024;
const MAX_LOOPS: u64 = 100_000;
/// Files that the patterns of `templates` may find together.
const MAX_FILES: usize = 1000;
const MAIN: &str = "__main";
/// What well-known names say unless the user's files define them.
const DEFAULT: &str = include_str!("template/default.tmpl");

/// Every named template: the defaults, and what the user's files define over them.
#[derive(Clone)]
pub struct Templates {
    text: gotmpl::Template,
    html: gotmpl::html::Template,
    /// Names whose text is the user's, or calls for something that is.
    changed: BTreeSet<String>,
}

impl Templates {
    /// Those of the files that `patterns` find; a pattern that finds none is none, as in
    /// Alertmanager. `file` and its key `templates` are for messages.
    pub fn load(file: &Path, patterns: &[PathBuf]) -> Result<Templates, Invalid> {
        let mut templates = Templates::default();
        let mut paths: Vec<PathBuf> = patterns.iter().flat_map(|path| glob::expand(path)).collect();
        paths.retain(|path| path.try_exists().unwrap_or(true));
        if paths.len() > MAX_FILES {
            let expected = format!("at most {MAX_FILES} files");
            return Err(Invalid::value(file, "templates", expected, paths.len().to_string()));
        }
        for path in paths {
            let text = yaml::read(&path)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            templates = templates.with(&name, &text).map_err(|error| Invalid::Syntax {
                file: path.clone(),
                message: error.to_string(),
            })?;
        }
        Ok(templates)
    }

    /// The same with the text of one more file of this name, which is a template too.
    pub fn with(mut self, name: &str, text: &str) -> Result<Templates, SyntaxError> {
        let (body, defines) = parse(text)?;
        let mut own: BTreeSet<String> = BTreeSet::from([name.to_owned()]);
        self.text = self.text.add_parse_tree(name, body.clone());
        self.html = added(self.html, name, body);
        for define in defines {
            own.insert(define.name.to_string());
            self.text = self.text.add_parse_tree(&define.name, define.body.clone());
            self.html = added(self.html, &define.name, define.body);
        }
        self.changed.extend(own);
        self.changed.extend(callers(&self.changed));
        Ok(self)
    }

    /// The text of a receiver's key: what the configuration says, else what the user's files say
    /// under the well-known `name`, else `None`, which leaves the wording to the notifier.
    pub fn text(&self, configured: Option<&str>, name: &str, of: &Scope<'_>) -> Option<String> {
        match configured {
            Some(text) => Some(self.expand(text, of)),
            None if self.changed.contains(name) => Some(self.expand(&call(name), of)),
            None => None,
        }
    }

    /// The same as a page: each value is escaped for the place where it stands.
    pub fn page(&self, configured: Option<&str>, name: &str, of: &Scope<'_>) -> Option<String> {
        let text = match configured {
            Some(text) => text.to_owned(),
            None if self.changed.contains(name) => call(name),
            None => return None,
        };
        // The cause may hold what a label says.
        let escaped = |cause| gotmpl::html_escape(&failed(cause));
        Some(self.run_html(&text, of).unwrap_or_else(escaped))
    }

    /// The expanded text. A template that fails costs its own text and nothing else: the answer is
    /// then `<error expanding template: …>`.
    pub fn expand(&self, text: &str, of: &Scope<'_>) -> String {
        match text.contains("{{") {
            false => text.to_owned(),
            true => self.run(text, of).unwrap_or_else(failed),
        }
    }

    /// What is wrong with a text, as far as that can be told without a notification.
    pub fn check(&self, text: &str) -> Result<(), SyntaxError> {
        parse(text).map(drop)
    }

    fn run(&self, text: &str, of: &Scope<'_>) -> Result<String, String> {
        let (body, defines) = parse(text).map_err(|error| error.to_string())?;
        let mut template = self.text.clone().funcs(functions::bound(of.notification.at));
        for define in defines {
            template = template.add_parse_tree(&define.name, define.body);
        }
        let template = template.add_parse_tree(MAIN, body);
        let mut output = Bounded::new(MAX_OUTPUT);
        match template.execute_template_fmt(&mut output, MAIN, &of.data()) {
            Ok(()) => Ok(output.text),
            Err(error) => Err(output.cause(error)),
        }
    }

    fn run_html(&self, text: &str, of: &Scope<'_>) -> Result<String, String> {
        let (body, defines) = parse(text).map_err(|error| error.to_string())?;
        let mut template = self.html.clone().funcs(functions::bound(of.notification.at));
        for define in defines {
            template = added(template, &define.name, define.body);
        }
        let template = added(template, MAIN, body);
        // Escaping begins at what was parsed without a name.
        let template = template.parse(&call(MAIN)).map_err(cause)?;
        let mut output = Bounded::new(MAX_OUTPUT);
        match template.execute_fmt(&mut output, &of.data()) {
            Ok(()) => Ok(output.text),
            Err(error) => Err(output.cause(error)),
        }
    }
}

/// What a text is expanded over.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    pub notification: &'a Notification,
    /// Where people reach this program.
    pub external_url: &'a str,
}

impl Scope<'_> {
    fn data(&self) -> Value {
        data::data(self.notification, self.external_url)
    }
}

impl Default for Templates {
    fn default() -> Templates {
        BASE.clone()
    }
}

/// The defaults alone.
static BASE: LazyLock<Templates> = LazyLock::new(|| {
    let text = gotmpl::Template::new(MAIN).max_range_iters(MAX_LOOPS).funcs(functions::fixed());
    let html = gotmpl::html::Template::new("").max_range_iters(MAX_LOOPS).funcs(functions::fixed());
    let bare = Templates { text, html, changed: BTreeSet::new() };
    let mut base = bare.with("default.tmpl", DEFAULT).expect("the tests expand them");
    base.changed.clear();
    base
});

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Templates").field("changed", &self.changed).finish_non_exhaustive()
    }
}

/// Default templates that call one of `changed`, directly or not.
fn callers(changed: &BTreeSet<String>) -> BTreeSet<String> {
    let mut all = changed.clone();
    loop {
        let before = all.len();
        for define in DEFAULT.split("{{ define \"").skip(1) {
            let Some((name, body)) = define.split_once('"') else { continue };
            if all.iter().any(|called| body.contains(&format!("{{{{ template \"{called}\""))) {
                all.insert(name.to_owned());
            }
        }
        if all.len() == before {
            return all;
        }
    }
}

fn parse(text: &str) -> Result<(ListNode, Vec<DefineNode>), SyntaxError> {
    rewrite::parse(text, &functions::known, &[])
}

fn call(name: &str) -> String {
    format!("{{{{ template \"{name}\" . }}}}")
}

fn added(
    to: gotmpl::html::Template,
    name: &str,
    tree: gotmpl::parse::ListNode,
) -> gotmpl::html::Template {
    to.add_parse_tree(name, tree).expect("no clone has been executed")
}

fn failed(cause: String) -> String {
    format!("<error expanding template: {cause}>")
}
