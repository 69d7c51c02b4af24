//! An expression's tree as the JSON that Prometheus' `parse_query` answers with.

use std::fmt::Write;

use serde_json::{Value, json};

use super::print::{number, plain_name};
use super::syntax::{At, Binary, Expr, Kind, Node, Selector, Side, Tree, When};
use crate::model::labels::METRIC_NAME;
use crate::model::matcher::{MatchOp, Matcher};

impl Expr {
    /// A JSON text.
    pub fn outline(&self) -> String {
        let mut out = String::new();
        self.root.outline(&mut out);
        out
    }
}

impl Tree {
    /// Written down rather than built: operators in a row nest as deep as there are any.
    fn outline(&self, out: &mut String) {
        match &self.node {
            Node::Number(value) => {
                text(out, &json!({"type": "numberLiteral", "val": number(*value)}))
            }
            Node::Text(value) | Node::NotText(value) => {
                text(out, &json!({"type": "stringLiteral", "val": value}));
            }
            Node::Selector(selector) => text(out, &described(selector, "vectorSelector", None)),
            Node::Range { selector, range } => {
                text(out, &described(selector, "matrixSelector", Some(*range)));
            }
            Node::Subquery { expr, range, step, when } => {
                let mut about =
                    json!({"range": range, "step": step.unwrap_or(0), "alignEvalTime": false});
                place(&mut about, when);
                around(out, "subquery", &about, "expr", expr);
            }
            Node::Paren(inner) => around(out, "parenExpr", &json!({}), "expr", inner),
            Node::Negate(inner) => around(out, "unaryExpr", &json!({"op": "-"}), "expr", inner),
            Node::Binary(_) => {
                let (leaf, spine) = self.spine();
                for binary in spine.iter().rev() {
                    write(
                        out,
                        format_args!(
                            "{{\"type\":\"binaryExpr\",\"op\":\"{}\",\"bool\":{},\"lhs\":",
                            binary.op.symbol(),
                            binary.returns_bool
                        ),
                    );
                }
                leaf.outline(out);
                let mut left = leaf.kind();
                for binary in spine {
                    out.push_str(",\"rhs\":");
                    binary.right.outline(out);
                    let right = binary.right.kind();
                    write(out, format_args!(",\"matching\":{}}}", matching(binary, left, right)));
                    let scalars = left == Kind::Scalar && right == Kind::Scalar;
                    left = if scalars { Kind::Scalar } else { Kind::Vector };
                }
            }
            Node::Aggregate(aggregate) => {
                out.push_str("{\"type\":\"aggregation\",\"param\":");
                match &aggregate.param {
                    Some(param) => param.outline(out),
                    None => out.push_str("null"),
                }
                out.push_str(",\"expr\":");
                aggregate.expr.outline(out);
                write(
                    out,
                    format_args!(
                        ",\"op\":\"{}\",\"without\":{},\"grouping\":{}}}",
                        aggregate.kind.name(),
                        aggregate.without,
                        json!(aggregate.labels)
                    ),
                );
            }
            Node::Call { function, args } => {
                let (types, variadic) = signature(function.name);
                let types: Vec<_> = types.iter().map(|kind| word(*kind)).collect();
                let about = json!({"name": function.name, "argTypes": types, "variadic": variadic,
                                   "returnType": word(function.returns)});
                write(out, format_args!("{{\"type\":\"call\",\"func\":{about},\"args\":["));
                for (at, arg) in args.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    arg.outline(out);
                }
                out.push_str("]}");
            }
        }
    }
}

fn write(out: &mut String, what: std::fmt::Arguments<'_>) {
    out.write_fmt(what).expect("a String takes all that is written");
}

fn text(out: &mut String, value: &Value) {
    write(out, format_args!("{value}"));
}

/// An object with one tree in it.
fn around(out: &mut String, kind: &str, about: &Value, name: &str, inner: &Tree) {
    write(out, format_args!("{{\"type\":\"{kind}\""));
    for (key, value) in about.as_object().into_iter().flatten() {
        write(out, format_args!(",\"{key}\":{value}"));
    }
    write(out, format_args!(",\"{name}\":"));
    inner.outline(out);
    out.push('}');
}

fn described(selector: &Selector, kind: &str, range: Option<i64>) -> Value {
    let named = |matcher: &&Matcher| {
        matcher.name == METRIC_NAME && matcher.op == MatchOp::Equal && plain_name(&matcher.value)
    };
    let name = selector.matchers.first().filter(named);
    // As Prometheus has it, where the name was written before the braces: last.
    let rest = selector.matchers.iter().skip(usize::from(name.is_some()));
    let matchers: Vec<_> = rest
        .chain(name)
        .map(|one| json!({"name": one.name, "value": one.value, "type": one.op.symbol()}))
        .collect();
    let mut value = json!({"type": kind, "name": name.map_or("", |name| name.value.as_str()),
                           "matchers": matchers, "anchored": false, "smoothed": false});
    if let Some(range) = range {
        value["range"] = range.into();
    }
    place(&mut value, &selector.when);
    value
}

fn place(value: &mut Value, when: &When) {
    let (time, edge) = match when.at {
        None => (None, None),
        Some(At::Time(millis)) => (Some(millis), None),
        Some(At::Start) => (None, Some("start")),
        Some(At::End) => (None, Some("end")),
    };
    value["offset"] = when.offset.into();
    value["timestamp"] = time.into();
    value["startOrEnd"] = edge.into();
}

/// Between two vectors only.
fn matching(binary: &Binary, left: Kind, right: Kind) -> Value {
    if left == Kind::Scalar || right == Kind::Scalar {
        return Value::Null;
    }
    let matching = &binary.matching;
    let card = match matching.side {
        Side::OneToOne if binary.op.is_set() => "many-to-many",
        Side::OneToOne => "one-to-one",
        Side::ManyToOne => "many-to-one",
        Side::OneToMany => "one-to-many",
    };
    json!({"card": card, "labels": matching.labels, "on": matching.on, "include": matching.include,
           "fillValues": {"lhs": matching.fill_left, "rhs": matching.fill_right}})
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Scalar => "scalar",
        Kind::Text => "string",
        Kind::Vector => "vector",
        Kind::Matrix => "matrix",
    }
}

/// What a function's arguments are, and how many of the last ones may be left out; of an endless
/// number of them, -1.
fn signature(name: &str) -> (&'static [Kind], i8) {
    use Kind::{Matrix as M, Scalar as S, Text as T, Vector as V};
    match name {
        "pi" | "time" | "start" | "end" | "step" | "range" => (&[], 0),
        "min_of" | "max_of" => (&[S, S], 0),
        "vector" => (&[S], 0),
        "predict_linear" => (&[M, S], 0),
        "double_exponential_smoothing" => (&[M, S, S], 0),
        "quantile_over_time" => (&[S, M], 0),
        "histogram_quantile" => (&[S, V], 0),
        "histogram_fraction" => (&[S, S, V], 0),
        "histogram_quantiles" => (&[V, T, S, S], 9),
        "clamp" => (&[V, S, S], 0),
        "clamp_min" | "clamp_max" => (&[V, S], 0),
        "round" => (&[V, S], 1),
        "info" => (&[V, V], 1),
        "label_replace" => (&[V, T, T, T, T], 0),
        "label_join" => (&[V, T, T, T], -1),
        "sort_by_label" | "sort_by_label_desc" => (&[V, T], -1),
        "year" | "month" | "day_of_month" | "day_of_week" | "day_of_year" | "days_in_month"
        | "hour" | "minute" => (&[V], 1),
        "rate" | "increase" | "irate" | "delta" | "idelta" | "changes" | "resets" | "deriv" => {
            (&[M], 0)
        }
        name if name.ends_with("_over_time") => (&[M], 0),
        _ => (&[V], 0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::functions::FUNCTIONS;
    use super::super::parse;
    use super::*;

    fn outline(query: &str) -> Value {
        serde_json::from_str(&parse(query).unwrap().outline()).unwrap()
    }

    #[test]
    fn signatures_are_the_parsers() {
        for function in FUNCTIONS {
            let (kinds, variadic) = signature(function.name);
            let call = |count: usize| {
                let arg = |kind: &Kind| match kind {
                    Kind::Scalar => "1",
                    Kind::Text => "\"a\"",
                    Kind::Vector => "v",
                    Kind::Matrix => "v[5m]",
                };
                let args: Vec<_> = kinds.iter().take(count).map(arg).collect();
                parse(&format!("{}({})", function.name, args.join(", "))).map(drop)
            };
            // The second argument of `info` has to be a selector without a name.
            if function.name != "info" {
                assert!(call(kinds.len()).is_ok(), "{}", function.name);
            }
            if variadic == 0 && !kinds.is_empty() {
                assert!(call(kinds.len() - 1).is_err(), "{}", function.name);
            }
        }
    }

    #[test]
    fn trees() {
        let x = |name: &str| {
            json!({"type": "vectorSelector", "name": name, "offset": 0, "timestamp": null,
                   "startOrEnd": null, "anchored": false, "smoothed": false,
                   "matchers": [{"name": "__name__", "value": name, "type": "="}]})
        };
        let one = json!({"type": "numberLiteral", "val": "1"});
        for (query, want) in [
            ("1", one.clone()),
            ("\"a\"", json!({"type": "stringLiteral", "val": "a"})),
            ("(x)", json!({"type": "parenExpr", "expr": x("x")})),
            ("-x", json!({"type": "unaryExpr", "op": "-", "expr": x("x")})),
            (
                "x{a!~\"b\"}[5m] @ 1.5 offset -1s",
                json!({"type": "matrixSelector", "name": "x", "range": 300_000, "offset": -1000,
                       "timestamp": 1500, "startOrEnd": null, "anchored": false, "smoothed": false,
                       "matchers": [{"name": "a", "value": "b", "type": "!~"},
                                    {"name": "__name__", "value": "x", "type": "="}]}),
            ),
            (
                "x[1h:] @ end()",
                json!({"type": "subquery", "expr": x("x"), "range": 3_600_000, "offset": 0,
                       "step": 0, "timestamp": null, "startOrEnd": "end", "alignEvalTime": false}),
            ),
            (
                "topk by (a) (1, x)",
                json!({"type": "aggregation", "op": "topk", "expr": x("x"), "param": one,
                       "grouping": ["a"], "without": false}),
            ),
            (
                "abs(x)",
                json!({"type": "call", "args": [x("x")],
                       "func": {"name": "abs", "argTypes": ["vector"], "variadic": 0,
                                "returnType": "vector"}}),
            ),
            (
                "x > bool 1 and y",
                json!({"type": "binaryExpr", "op": "and", "bool": false, "rhs": x("y"),
                       "matching": {"card": "many-to-many", "labels": [], "on": false,
                                    "include": [], "fillValues": {"lhs": null, "rhs": null}},
                       "lhs": {"type": "binaryExpr", "op": ">", "bool": true, "lhs": x("x"),
                               "rhs": one, "matching": null}}),
            ),
            (
                "x / on (a) group_left (b) y",
                json!({"type": "binaryExpr", "op": "/", "bool": false, "lhs": x("x"),
                       "rhs": x("y"),
                       "matching": {"card": "many-to-one", "labels": ["a"], "on": true,
                                    "include": ["b"], "fillValues": {"lhs": null, "rhs": null}}}),
            ),
        ] {
            assert_eq!(outline(query), want, "{query}");
        }
        assert!(parse(&vec!["up"; 1900].join(" + ")).unwrap().outline().len() > 100_000);
    }
}
