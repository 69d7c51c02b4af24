//! Templates in labels and annotations: Go's language, Prometheus' functions.
//!
//! The crate `gotmpl` runs them; this module adds what it lacks (see `syntax`, `rewrite`,
//! `record` and `values`).

pub(crate) mod functions;
pub(crate) mod humanize;
pub(crate) mod members;
pub(crate) mod moment;
pub mod number;
pub(crate) mod output;
pub(crate) mod record;
pub(crate) mod rewrite;
pub(crate) mod syntax;
#[cfg(test)]
mod tests;
pub(crate) mod values;

use std::fmt;
use std::sync::{Arc, LazyLock};

use gotmpl::Value;

use self::output::Bounded;
use crate::model::labels::Labels;
use crate::model::sample::Timestamp;

pub use syntax::SyntaxError;

/// Runs an instant query for a template; an error is told as text.
pub type QueryFn = Arc<dyn Fn(&str) -> Result<Vec<(Labels, f64)>, String> + Send + Sync>;

/// Longer output than this is cut off with an error: an annotation is a sentence, not a file.
const MAX_OUTPUT: usize = 64 * 1024;
const MAX_LOOPS: u64 = 100_000;
const MAIN: &str = "";
const VARIABLES: &[&str] = &["$labels", "$value", "$externalLabels", "$externalURL"];
const PREAMBLE: &str = "{{$labels := .Labels}}{{$value := .Value}}\
    {{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}";

/// A label or annotation value, parsed once.
#[derive(Clone)]
pub struct Template {
    text: String,
    /// Absent when the text is plain.
    parsed: Option<gotmpl::Template>,
}

/// What one element of an expression's result brings to its templates.
pub struct Scope {
    functions: gotmpl::FuncMap,
    data: Value,
}

/// What is the same for all templates of a program.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    pub external_labels: Labels,
    pub external_url: String,
}

impl Template {
    pub fn parse(text: &str) -> Result<Template, SyntaxError> {
        if !text.contains("{{") {
            return Ok(Template { text: text.to_owned(), parsed: None });
        }
        let (mut body, defines) = rewrite::parse(text, &functions::known, VARIABLES)?;
        let (preamble, _) = rewrite::parse(PREAMBLE, &functions::known, &[])?;
        body.nodes.splice(0..0, preamble.nodes);
        let mut parsed = BARE.clone().add_parse_tree(MAIN, body);
        for define in defines {
            parsed = parsed.add_parse_tree(&define.name, define.body);
        }
        Ok(Template { text: text.to_owned(), parsed: Some(parsed) })
    }

    /// Text that is not expanded, whatever it holds.
    pub fn plain(text: &str) -> Template {
        Template { text: text.to_owned(), parsed: None }
    }

    /// The text as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The expanded text. A template that fails costs its own text and nothing else: the answer is
    /// then `<error expanding template: …>`; `name` is the rule's.
    pub fn expand(&self, name: &str, scope: &Scope) -> String {
        let Some(parsed) = &self.parsed else { return self.text.clone() };
        let template = parsed.clone().funcs(scope.functions.clone());
        let mut output = Bounded::new(MAX_OUTPUT);
        match template.execute_template_fmt(&mut output, MAIN, &scope.data) {
            Ok(()) => output.text,
            Err(error) => {
                let message = output.cause(error);
                format!(
                    "<error expanding template: error executing template __alert_{name}: {message}>"
                )
            }
        }
    }
}

impl Scope {
    /// `labels` and `value` are the query's own: templates do not see labels that the rule adds.
    pub fn new(
        labels: &Labels,
        value: f64,
        now: Timestamp,
        around: &Surroundings,
        query: QueryFn,
    ) -> Scope {
        let data = [
            ("Labels", functions::label_map(labels)),
            ("Value", Value::Float(value)),
            ("ExternalLabels", functions::label_map(&around.external_labels)),
            ("ExternalURL", Value::String(around.external_url.as_str().into())),
        ];
        Scope {
            functions: functions::bound(query, now, &around.external_url),
            data: record::record(record::ALERT, data),
        }
    }
}

/// Path and query of the page that draws an expression.
pub fn graph_link(expr: &str) -> String {
    format!("/graph?g0.expr={}&g0.tab=0", gotmpl::url_encode(expr))
}

/// Path and query of the page that lists an expression's values.
pub fn table_link(expr: &str) -> String {
    format!("/graph?g0.expr={}&g0.tab=1", gotmpl::url_encode(expr))
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Template) -> bool {
        self.text == other.text
    }
}

/// A template without text that has every function but those of [`Scope`].
static BARE: LazyLock<gotmpl::Template> = LazyLock::new(|| {
    gotmpl::Template::new("").max_range_iters(MAX_LOOPS).funcs(functions::fixed())
});
