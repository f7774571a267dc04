//! What members print, made fit to be shown.

use std::borrow::Cow;

/// The text with every character that would act on a terminal or hide from the eye replaced by one that can be seen.
/// Newlines and tabs stay.
#[must_use]
pub fn harmless(text: &str) -> Cow<'_, str> {
    if !text.chars().any(hidden) {
        return Cow::Borrowed(text);
    }
    // A line may end as on other systems.
    let text = text.replace("\r\n", "\n");
    let shown = text.chars().map(|c| match u32::from(c) {
        _ if !hidden(c) => c.to_string(),
        // Unicode has pictures of the old control characters.
        code @ 0..=0x1f => char::from_u32(0x2400 + code).map_or_else(String::new, String::from),
        0x7f => "␡".to_owned(),
        code => format!("‹U+{code:04X}›"),
    });
    Cow::Owned(shown.collect())
}

/// Control characters, and those that turn or hide what stands beside them.
fn hidden(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_or_hides_is_shown() {
        let text = "a\x1b[31mred\x07\tb\r\nc\rd\u{202e}e\u{7f}\u{85}\0";
        assert_eq!(harmless(text), "a␛[31mred␇\tb\nc␍d‹U+202E›e␡‹U+0085›␀");
        assert!(matches!(harmless("plain ä\n\t"), Cow::Borrowed(_)));
    }
}
