//! Text that Slack shows as it is: nothing in it mentions, links or notifies (pure).
//!
//! Lengths are counted in UTF-16 units of the escaped text, the strictest way that Slack may count.

use reqwest::Url;

use crate::model::sample::Timestamp;

/// On one line, escaped, at most `limit` long.
pub(super) fn line(text: &str, limit: usize) -> String {
    bounded(text.trim(), limit, |c| if c.is_control() { ' ' } else { c })
}

/// Escaped, at most `limit` long; lines stay.
pub(super) fn paragraph(text: &str, limit: usize) -> String {
    bounded(text.trim(), limit, |c| if c.is_control() && c != '\n' { ' ' } else { c })
}

/// For where Slack reads no markup, nor entities: on one line, with brackets that mean nothing.
pub(super) fn plain(text: &str, limit: usize) -> String {
    let mut plain = String::new();
    let mut left = limit;
    let tame = |c: char| match c {
        '<' => '‹',
        '>' => '›',
        c if c.is_control() => ' ',
        c => c,
    };
    let mut chars = text.trim().chars().map(tame).peekable();
    while let Some(c) = chars.next() {
        // Room for the ellipsis, unless this is all.
        let needed = c.len_utf16() + usize::from(chars.peek().is_some());
        if needed > left {
            plain.push('…');
            break;
        }
        left -= c.len_utf16();
        plain.push(c);
    }
    plain
}

/// A link of ours; its words are ours too.
pub(super) fn anchor(url: &Url, words: &str) -> String {
    format!("<{}|{words}>", escape(&url.as_str().replace('|', "%7C")))
}

/// A moment in the reader's own time zone.
pub(super) fn moment(at: Timestamp) -> String {
    let text = at.rfc3339();
    let minutes = text.get(..16).unwrap_or(&text).replace('T', " ");
    format!("<!date^{}^{{date_short_pretty}} {{time}}|{minutes} UTC>", at.0.div_euclid(1000))
}

/// Slack's three control characters; with them gone no text can mention, link or notify.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn bounded(text: &str, limit: usize, change: impl Fn(char) -> char) -> String {
    let mut escaped = String::new();
    let mut left = limit;
    let mut chars = text.chars().map(change).peekable();
    while let Some(c) = chars.next() {
        let entity = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            _ => "",
        };
        let size = if entity.is_empty() { c.len_utf16() } else { entity.len() };
        if size + usize::from(chars.peek().is_some()) > left {
            escaped.push('…');
            break;
        }
        left -= size;
        match entity {
            "" => escaped.push(c),
            entity => escaped.push_str(entity),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_slack_reads() {
        assert_eq!(
            line("<!channel> & <@U1|x>\nnext", 99),
            "&lt;!channel&gt; &amp; &lt;@U1|x&gt; next"
        );
        assert_eq!(paragraph(" a\n<b>\u{7}c ", 99), "a\n&lt;b&gt; c");
        assert_eq!(plain("<a>\n&", 99), "‹a› &");
        let url = Url::parse("https://x.test/a?b=1&c=|>").unwrap();
        assert_eq!(anchor(&url, "Runbook"), "<https://x.test/a?b=1&amp;c=%7C%3E|Runbook>");
        let date = "<!date^1700000000^{date_short_pretty} {time}|2023-11-14 22:13 UTC>";
        assert_eq!(moment(Timestamp(1_700_000_000_000)), date);
    }

    #[test]
    fn lengths_are_those_of_what_is_sent() {
        for (text, limit, want) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("<<", 8, "&lt;&lt;"),
            ("<<", 7, "&lt;…"),
            ("<<", 4, "…"),
            ("😀😀", 4, "😀😀"),
            ("😀😀", 3, "😀…"),
            ("", 0, ""),
        ] {
            let found = line(text, limit);
            assert_eq!(found, want, "{text:?} at {limit}");
            assert!(found.encode_utf16().count() <= limit.max(1));
        }
        assert_eq!(plain("😀😀", 3), "😀…");
        assert_eq!(line(&"&".repeat(64 * 1024), 3000).encode_utf16().count(), 2996);
    }
}
