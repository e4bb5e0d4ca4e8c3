//! Slack's own markup. <https://docs.slack.dev/messaging/formatting-message-text>

/// Text of bounded length in which everything that Slack would act on is escaped.
///
/// The bound is on what is sent: an escaped character counts whole, and is never cut in two.
pub(crate) struct Text {
    written: String,
    length: usize,
    limit: usize,
    cut: bool,
}

impl Text {
    /// Creates an empty text of at most that many characters.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            written: String::new(),
            length: 0,
            limit,
            cut: false,
        }
    }

    /// Adds markup of our own, either whole or not at all. Nothing follows what did not fit.
    pub(crate) fn markup(mut self, markup: &str) -> Self {
        self.push(markup);
        self
    }

    /// Adds a text from elsewhere. `&`, `<` and `>` are escaped, so that the text can neither link nor mention anybody. A text
    /// that does not fit is cut.
    pub(crate) fn plain(mut self, text: &str) -> Self {
        for character in text.chars() {
            match character {
                '&' => self.push("&amp;"),
                '<' => self.push("&lt;"),
                '>' => self.push("&gt;"),
                _ => self.push(character.encode_utf8(&mut [0; 4])),
            }
        }
        self
    }

    /// Adds a text from elsewhere as code. Backticks, which would end the code, become quotes.
    pub(crate) fn code(self, text: &str) -> Self {
        let text = text.replace('`', "'");
        self.markup("`").plain(&text).markup("`")
    }

    /// Adds lines from elsewhere unchanged.
    pub(crate) fn lines(self, text: &str) -> Self {
        let text = text.replace("```", "'''");
        self.markup("```").plain(&text).close("```")
    }

    /// Adds the end of a block, for which there is always room.
    fn close(mut self, markup: &str) -> Self {
        if self.cut {
            self.written.push('…');
        }
        self.written.push_str(markup);
        self
    }

    /// Returns whether everything fitted.
    pub(crate) fn is_whole(&self) -> bool {
        !self.cut
    }

    /// Returns the text, with a `…` for what did not fit.
    pub(crate) fn finish(mut self) -> String {
        if self.cut && !self.written.ends_with("```") {
            self.written.push('…');
        }
        self.written
    }

    fn push(&mut self, piece: &str) {
        let length = piece.chars().count();
        // This leaves room for `…` and the end of a block.
        if self.cut || self.length + length + 4 > self.limit {
            self.cut = true;
        } else {
            self.written.push_str(piece);
            self.length += length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_slack_would_act_on_is_escaped() {
        let text = Text::new(200)
            .markup("*")
            .plain("<!channel> a & b")
            .markup("* ")
            .code("x`<@U1>`y")
            .finish();
        assert_eq!(text, "*&lt;!channel&gt; a &amp; b* `x'&lt;@U1&gt;'y`");
        assert_eq!(
            Text::new(50).lines("a```b\n<c>").finish(),
            "```a'''b\n&lt;c&gt;```"
        );
    }

    #[test]
    fn what_does_not_fit_is_cut_at_a_whole_character() {
        for limit in 5..40 {
            for text in [
                Text::new(limit).plain(&"&".repeat(40)).finish(),
                Text::new(limit).plain(&"é".repeat(40)).finish(),
                Text::new(limit).lines(&"<".repeat(40)).finish(),
                Text::new(limit).code(&"x".repeat(40)).finish(),
            ] {
                assert!(
                    text.chars().count() <= limit,
                    "{text} has more than {limit}"
                );
                assert!(text.contains('…'), "{text}");
                let whole = text.replace("&amp;", "").replace("&lt;", "");
                assert!(!whole.contains('&'), "{text} holds a part of an entity");
            }
        }
        assert_eq!(Text::new(12).plain("12345678").finish(), "12345678");
        assert_eq!(Text::new(12).plain("123456789").finish(), "12345678…");
    }

    #[test]
    fn nothing_follows_a_cut() {
        let text = Text::new(10).plain("1234567").markup("more").markup("x");
        assert!(!text.is_whole());
        assert_eq!(text.finish(), "123456…");
    }
}
