//! promql-parser's tree to ours: durations in milliseconds, matchers compiled, positions found.

use std::time::{Duration, SystemTime};

use promql_parser::label as upstream_label;
use promql_parser::parser as upstream;

use crate::model::labels::METRIC_NAME;
use crate::model::matcher::{MatchOp, Matcher};

use super::error::PromqlError;
use super::functions;
use super::scan::{self, Token};
use super::syntax::{
    Aggregate, Aggregation, At, Binary, Kind, Matching, Node, Op, Selector, Side, Tree, When,
};

/// Walks the tree in the order of the text, and the tokens beside it, to place each node.
pub(super) struct Converter<'a> {
    text: &'a str,
    tokens: &'a [Token<'a>],
    next: usize,
    /// What comes is the second argument of `info`: matchers only, any of them.
    matchers_only: bool,
}

impl<'a> Converter<'a> {
    pub(super) fn new(text: &'a str, tokens: &'a [Token<'a>]) -> Converter<'a> {
        Converter { text, tokens, next: 0, matchers_only: false }
    }

    pub(super) fn tree(&mut self, expr: &upstream::Expr) -> Result<Tree, PromqlError> {
        let start = self.here();
        let node = match expr {
            upstream::Expr::Unary(unary) => {
                while self.peek() == "+" {
                    self.next += 1;
                }
                self.next += 1;
                Node::Negate(Box::new(self.tree(&unary.expr)?))
            }
            upstream::Expr::Binary(_) => return self.binary_spine(expr),
            upstream::Expr::Subquery(subquery) => {
                let inner = self.tree(&subquery.expr)?;
                let start = inner.start;
                self.skip_balanced();
                self.skip_modifiers();
                let node = Node::Subquery {
                    expr: Box::new(inner),
                    range: self.positive(subquery.range, start)?,
                    step: subquery.step.map(|step| self.positive(step, start)).transpose()?,
                    when: self.when(start, subquery.at.as_ref(), subquery.offset.as_ref())?,
                };
                return Ok(Tree { start, node });
            }
            _ => {
                // Signs that the parser folded into a literal, or plus signs it forgot.
                while matches!(self.peek(), "+" | "-") {
                    self.next += 1;
                }
                self.primary(expr, start)?
            }
        };
        Ok(Tree { start, node })
    }

    fn primary(&mut self, expr: &upstream::Expr, start: usize) -> Result<Node, PromqlError> {
        Ok(match expr {
            upstream::Expr::NumberLiteral(number) => {
                let literal = self.peek();
                if number.val.is_infinite() && !literal.ends_with(char::is_alphabetic) {
                    return Err(self.refused(start, format!("number {literal:?} is out of range")));
                }
                self.next += 1;
                Node::Number(number.val)
            }
            upstream::Expr::StringLiteral(text) => {
                let literal = self.peek();
                self.next += 1;
                match literal.starts_with('`') || scan::is_utf8(literal) {
                    true => Node::Text(text.val.clone()),
                    false => Node::NotText(literal.to_owned()),
                }
            }
            upstream::Expr::Paren(paren) => {
                self.next += 1;
                let inner = self.tree(&paren.expr)?;
                self.next += 1;
                Node::Paren(Box::new(inner))
            }
            upstream::Expr::VectorSelector(selector) => {
                Node::Selector(self.selector(selector, start, false)?)
            }
            upstream::Expr::MatrixSelector(matrix) => Node::Range {
                selector: self.selector(&matrix.vs, start, true)?,
                range: self.positive(matrix.range, start)?,
            },
            upstream::Expr::Call(call) => self.call(call, start)?,
            upstream::Expr::Aggregate(aggregate) => self.aggregate(aggregate, start)?,
            _ => return Err(self.unsupported(start, "this kind of expression")),
        })
    }

    /// A chain of left-associative operators is as deep as it is long: it is unrolled.
    fn binary_spine(&mut self, expr: &upstream::Expr) -> Result<Tree, PromqlError> {
        let mut spine = Vec::new();
        let mut leaf = expr;
        while let upstream::Expr::Binary(binary) = leaf {
            spine.push(binary);
            leaf = &binary.lhs;
        }
        let mut left = self.tree(leaf)?;
        for binary in spine.into_iter().rev() {
            let at = self.here();
            self.next += 1;
            let (matching, returns_bool) = self.matching(binary)?;
            let op = operator(&binary.op.to_string())
                .ok_or_else(|| self.unsupported(at, &format!("operator {}", binary.op)))?;
            let right = self.tree(&binary.rhs)?;
            let start = left.start;
            let node = Binary { op, left, right, returns_bool, matching };
            left = Tree { start, node: Node::Binary(Box::new(node)) };
        }
        Ok(left)
    }

    fn matching(&mut self, binary: &upstream::BinaryExpr) -> Result<(Matching, bool), PromqlError> {
        let mut matching = Matching {
            on: false,
            labels: Vec::new(),
            side: Side::OneToOne,
            include: Vec::new(),
            fill_left: None,
            fill_right: None,
        };
        let Some(modifier) = &binary.modifier else {
            return Ok((matching, false));
        };
        loop {
            let is =
                |words: &[&str]| words.iter().any(|word| self.peek().eq_ignore_ascii_case(word));
            let bracket = self.tokens.get(self.next + 1).is_some_and(|next| next.text == "(");
            let more = is(&["bool", "on", "ignoring", "group_left", "group_right"])
                // Without brackets it is a metric of that name.
                || (bracket && is(&["fill", "fill_left", "fill_right"]));
            if !more {
                break;
            }
            let bare = is(&["bool"]) || !bracket;
            self.next += 1;
            if !bare {
                self.skip_balanced();
            }
        }
        if let Some(labels) = &modifier.matching {
            matching.on = labels.is_include();
            matching.labels = labels.labels().labels.clone();
        }
        match &modifier.card {
            upstream::VectorMatchCardinality::ManyToOne(labels) => {
                matching.side = Side::ManyToOne;
                matching.include = labels.labels.clone();
            }
            upstream::VectorMatchCardinality::OneToMany(labels) => {
                matching.side = Side::OneToMany;
                matching.include = labels.labels.clone();
            }
            _ => {}
        }
        matching.fill_left = modifier.fill_values.lhs;
        matching.fill_right = modifier.fill_values.rhs;
        Ok((matching, modifier.return_bool))
    }

    fn selector(
        &mut self,
        selector: &upstream::VectorSelector,
        start: usize,
        range: bool,
    ) -> Result<Selector, PromqlError> {
        let filled = self.peek() == "{";
        if !filled {
            self.next += 1;
        }
        if self.peek() == "{" {
            self.skip_balanced();
        }
        if range && self.peek() == "[" {
            self.skip_balanced();
        }
        self.skip_modifiers();
        if !selector.matchers.or_matchers.is_empty() {
            return Err(self.unsupported(start, "`or` between matchers"));
        }
        let matchers_only = std::mem::take(&mut self.matchers_only);
        if matchers_only && !filled {
            let why = "expected label selectors only, got vector selector instead";
            return Err(self.refused(start, why.into()));
        }
        let mut matchers = Vec::new();
        if let Some(name) = &selector.name {
            matchers.push(Matcher::equal(METRIC_NAME, name.as_str()));
        }
        for matcher in selector.matchers.matchers.iter().skip(usize::from(filled)) {
            if matcher.name == METRIC_NAME && selector.name.is_some() {
                return Err(self.refused(start, "metric name must not be set twice".into()));
            }
            matchers.push(compiled(matcher).map_err(|why| self.refused(start, why))?);
        }
        if !matchers_only && matchers.iter().all(|matcher| matcher.matches("")) {
            let why = "vector selector must contain at least one non-empty matcher";
            return Err(self.refused(start, why.into()));
        }
        let when = self.when(start, selector.at.as_ref(), selector.offset.as_ref())?;
        Ok(Selector { matchers, when })
    }

    fn call(&mut self, call: &upstream::Call, start: usize) -> Result<Node, PromqlError> {
        let function = functions::find(call.func.name)
            .ok_or_else(|| self.unsupported(start, &format!("function {}()", call.func.name)))?;
        self.next += 2;
        let mut args = Vec::new();
        for (at, arg) in call.args.args.iter().enumerate() {
            self.matchers_only = call.func.name == "info" && at == 1;
            if self.matchers_only && !matches!(arg.as_ref(), upstream::Expr::VectorSelector(_)) {
                return Err(self.refused(self.here(), "expected label selectors only".into()));
            }
            let tree = self.tree(arg)?;
            self.next += 1; // the comma, or the closing parenthesis
            let wanted = call.func.arg_types.get(at).or(call.func.arg_types.last());
            if let Some(wanted) = wanted
                && tree.kind() != kind(*wanted)
            {
                let why = format!(
                    "expected type {} in call to function \"{}\", got {}",
                    kind(*wanted),
                    call.func.name,
                    tree.kind()
                );
                return Err(self.refused(tree.start, why));
            }
            args.push(tree);
        }
        if call.args.args.is_empty() {
            self.next += 1;
        }
        Ok(Node::Call { function, args })
    }

    fn aggregate(
        &mut self,
        aggregate: &upstream::AggregateExpr,
        start: usize,
    ) -> Result<Node, PromqlError> {
        let name = aggregate.op.to_string();
        let kind = Aggregation::ALL
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(kind, _)| *kind)
            .ok_or_else(|| self.unsupported(start, &format!("aggregation {name}")))?;
        self.next += 1;
        self.skip_grouping();
        self.next += 1;
        let param = match &aggregate.param {
            None => None,
            Some(param) => {
                let tree = self.tree(param)?;
                self.next += 1;
                Some(tree)
            }
        };
        let wants = match kind {
            Aggregation::CountValues => Some(Kind::Text),
            Aggregation::Topk
            | Aggregation::Bottomk
            | Aggregation::Quantile
            | Aggregation::Limitk
            | Aggregation::LimitRatio => Some(Kind::Scalar),
            _ => None,
        };
        if param.as_ref().map(Tree::kind) != wants {
            let why = match wants {
                None => format!("{name} takes no parameter"),
                Some(wants) => format!("{name} needs a parameter of type {wants}"),
            };
            return Err(self.refused(start, why));
        }
        let expr = self.tree(&aggregate.expr)?;
        self.next += 1;
        self.skip_grouping();
        let (without, labels) = match &aggregate.modifier {
            Some(modifier) => (!modifier.is_include(), modifier.labels().labels.clone()),
            None => (false, Vec::new()),
        };
        Ok(Node::Aggregate(Box::new(Aggregate { kind, expr, param, without, labels })))
    }

    fn when(
        &self,
        start: usize,
        at: Option<&upstream::AtModifier>,
        offset: Option<&upstream::Offset>,
    ) -> Result<When, PromqlError> {
        let at = match at {
            None => None,
            Some(upstream::AtModifier::Start) => Some(At::Start),
            Some(upstream::AtModifier::End) => Some(At::End),
            Some(upstream::AtModifier::At(time)) => {
                let bad = || self.refused(start, "timestamp out of bounds for @ modifier".into());
                Some(At::Time(epoch_millis(*time).ok_or_else(bad)?))
            }
        };
        let offset = match offset {
            None => 0,
            Some(upstream::Offset::Pos(by)) => millis(*by),
            Some(upstream::Offset::Neg(by)) => -millis(*by),
        };
        Ok(When { at, offset })
    }

    fn here(&self) -> usize {
        self.tokens.get(self.next).map_or(self.text.len(), |token| token.at)
    }

    fn peek(&self) -> &'a str {
        self.tokens.get(self.next).map_or("", |token| token.text)
    }

    /// Past a bracket and all up to its partner.
    fn skip_balanced(&mut self) {
        let mut open = 0;
        while let Some(token) = self.tokens.get(self.next) {
            self.next += 1;
            match token.text {
                "(" | "[" | "{" => open += 1,
                ")" | "]" | "}" => open -= 1,
                _ => {}
            }
            if open == 0 {
                return;
            }
        }
    }

    fn skip_grouping(&mut self) {
        if ["by", "without"].iter().any(|word| self.peek().eq_ignore_ascii_case(word)) {
            self.next += 1;
            self.skip_balanced();
        }
    }

    fn skip_modifiers(&mut self) {
        while self.peek() == "@" || self.peek().eq_ignore_ascii_case("offset") {
            self.next += 1;
            while matches!(self.peek(), "+" | "-") {
                self.next += 1;
            }
            self.next += 1;
            if self.peek() == "(" {
                self.skip_balanced();
            }
        }
    }

    fn positive(&self, duration: Duration, at: usize) -> Result<i64, PromqlError> {
        match millis(duration) {
            0 => Err(self.refused(at, "duration must be greater than 0".into())),
            millis => Ok(millis),
        }
    }

    fn refused(&self, at: usize, message: String) -> PromqlError {
        let (line, column) = scan::line_and_column(self.text, at);
        PromqlError::Parse { line, column, message }
    }

    fn unsupported(&self, at: usize, message: &str) -> PromqlError {
        let (line, column) = scan::line_and_column(self.text, at);
        PromqlError::Unsupported { line, column, message: message.to_owned() }
    }
}

fn compiled(matcher: &upstream_label::Matcher) -> Result<Matcher, String> {
    let op = match &matcher.op {
        upstream_label::MatchOp::Equal => MatchOp::Equal,
        upstream_label::MatchOp::NotEqual => MatchOp::NotEqual,
        upstream_label::MatchOp::Re(_) => MatchOp::Regex,
        upstream_label::MatchOp::NotRe(_) => MatchOp::NotRegex,
    };
    Matcher::new(op, matcher.name.as_str(), matcher.value.as_str()).or_else(|error| {
        // Go takes a brace that begins no repetition literally; the parser has escaped it.
        let escaped = match &matcher.op {
            upstream_label::MatchOp::Re(regex) | upstream_label::MatchOp::NotRe(regex) => {
                regex.as_str().strip_prefix("^(?:").and_then(|rest| rest.strip_suffix(")$"))
            }
            _ => None,
        };
        Matcher::new(op, matcher.name.as_str(), escaped.unwrap_or(&matcher.value))
            .map_err(|_| format!("bad regular expression {:?}: {error}", matcher.value))
    })
}

fn operator(symbol: &str) -> Option<Op> {
    use Op::{
        Add, And, Atan2, Div, Equal, Greater, GreaterEqual, Less, LessEqual, Mod, Mul, NotEqual,
        Or, Pow, Sub, Unless,
    };
    [
        Add,
        Sub,
        Mul,
        Div,
        Mod,
        Pow,
        Atan2,
        Equal,
        NotEqual,
        Less,
        LessEqual,
        Greater,
        GreaterEqual,
        And,
        Or,
        Unless,
    ]
    .into_iter()
    .find(|op| op.symbol() == symbol)
}

fn kind(of: upstream::value::ValueType) -> Kind {
    match of {
        upstream::value::ValueType::Scalar => Kind::Scalar,
        upstream::value::ValueType::String => Kind::Text,
        upstream::value::ValueType::Vector => Kind::Vector,
        upstream::value::ValueType::Matrix => Kind::Matrix,
    }
}

/// `None` beyond what milliseconds can say.
fn epoch_millis(time: SystemTime) -> Option<i64> {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).ok(),
        Err(before) => i64::try_from(before.duration().as_millis()).ok().map(|millis| -millis),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
