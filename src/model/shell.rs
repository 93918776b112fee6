//! Words of a command that a person is to paste into a shell.
//!
//! A POSIX shell takes everything between single quotes as it stands, a single quote itself excepted. A word that means only itself stays
//! bare, because that is how people write it.

use std::borrow::Cow;

/// `text` as one word of a command line.
pub fn word(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("'{}'", text.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_shell_would_change_is_quoted() {
        assert_eq!(word("orders/2024.toml"), "orders/2024.toml");
        assert_eq!(word("a b.toml"), "'a b.toml'");
        assert_eq!(word("it's; rm *"), r"'it'\''s; rm *'");
        assert_eq!(word(""), "''");
    }
}
