//! Subqueries that Prometheus 2.42 evaluates past the last step that asks for them.

use promql_parser::parser::{self, Expr};

use super::When;

/// Whether some subquery is asked at steps of which the last need not be at the end of their time.
pub(super) fn evaluated(text: &str, when: When) -> bool {
    let between = match when {
        When::Instant(_) => false,
        When::Range { start, end, step } => (end - start) % step != 0,
    };
    parser::parse(text).is_ok_and(|query| below(&query, between))
}

fn below(expr: &Expr, between: bool) -> bool {
    match expr {
        Expr::Subquery(subquery) => between || below(&subquery.expr, true),
        Expr::Aggregate(aggregate) => {
            let param = aggregate.param.as_ref();
            below(&aggregate.expr, between) || param.is_some_and(|param| below(param, between))
        }
        Expr::Binary(binary) => below(&binary.lhs, between) || below(&binary.rhs, between),
        Expr::Call(call) => call.args.args.iter().any(|argument| below(argument, between)),
        Expr::Paren(paren) => below(&paren.expr, between),
        Expr::Unary(unary) => below(&unary.expr, between),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_another_or_off_the_steps() {
        let range = |span: i64| When::Range { start: 500, end: 500 + span, step: 1000 };
        for (text, when, past) in [
            ("sum_over_time(up[5m:1m])", When::Instant(0), false),
            ("-sum(sum_over_time(up[5m:1m])) > 1", range(3000), false),
            ("-sum(sum_over_time(up[5m:1m])) > 1", range(3001), true),
            ("sum_over_time((quantile(scalar(rate(up[5m:])), up))[5m:])", When::Instant(0), true),
            ("rate(up[5m])", range(3001), false),
        ] {
            assert_eq!(evaluated(text, when), past, "{text} {when:?}");
        }
    }
}
