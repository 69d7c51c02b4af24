//! `label_replace` and `label_join`.

use super::Call;
use crate::model::labels::METRIC_NAME;
use crate::model::pattern::{Template, anchored};
use crate::promql::error::{PromqlError, failed};
use crate::promql::eval::{Frame, merged};
use crate::promql::print::quoted;

pub(super) fn label_replace(call: &Call<'_>) -> Result<Frame, PromqlError> {
    let (target, replacement) = (call.text(1)?, call.text(2)?);
    let (source, pattern) = (call.text(3)?, call.text(4)?);
    let regex = anchored(&pattern)
        .map_err(|_| failed!("invalid regular expression in label_replace(): {pattern}"))?;
    check_name(&target, "label_replace")?;
    let replacement = Template::new(&replacement);
    relabelled(call, &target, |labels| {
        let captures = regex.captures(labels.get(&source).unwrap_or(""))?;
        Some(replacement.expand(&captures))
    })
}

pub(super) fn label_join(call: &Call<'_>) -> Result<Frame, PromqlError> {
    let (target, separator) = (call.text(1)?, call.text(2)?);
    let sources =
        (3..call.args.len()).map(|at| call.text(at)).collect::<Result<Vec<_>, PromqlError>>()?;
    check_name(&target, "label_join")?;
    if let Some(bad) = sources.iter().find(|name| name.is_empty()) {
        return Err(failed!("invalid source label name in label_join(): {}", quoted(bad)));
    }
    relabelled(call, &target, |labels| {
        let values: Vec<_> = sources.iter().map(|name| labels.get(name).unwrap_or("")).collect();
        Some(values.join(&separator))
    })
}

/// Sets the target label to what `value` gives, where it gives something.
fn relabelled(
    call: &Call<'_>,
    target: &str,
    value: impl Fn(&crate::model::labels::Labels) -> Option<String>,
) -> Result<Frame, PromqlError> {
    let rows = call.vector(0)?.into_iter().map(|mut row| {
        if let Some(value) = value(&row.labels) {
            row.labels = row.labels.with(target, &value);
            // A name that was asked for is not removed later.
            row.drop_name &= target != METRIC_NAME;
        }
        row
    });
    Ok(Frame::Vector(merged(rows)?))
}

fn check_name(name: &str, function: &str) -> Result<(), PromqlError> {
    if name.is_empty() {
        return Err(failed!("invalid destination label name in {function}(): {}", quoted(name)));
    }
    Ok(())
}
