//! An error with all its causes on one line, for logs and for whoever can only be given a text.

use std::error::Error;

/// `cannot read x: permission denied`.
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open it")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn outermost_first() {
        let inner = std::io::Error::other("gone fishing");
        assert_eq!(causes(&Outer(inner)), "cannot open it: gone fishing");
        assert_eq!(causes(&std::fmt::Error), std::fmt::Error.to_string());
    }
}
