//! Command lines as a person would type them.

use std::borrow::Cow;

use crate::postgres::escape_control;

/// The words of a command, quoted for a POSIX shell where they need it.
pub(super) fn words(command: &[String]) -> Vec<String> {
    command.iter().map(|word| quote(word)).collect()
}

/// One word, quoted for a POSIX shell where it needs it; a word with characters that a reader would not
/// see is written as `$'…'`, which bash and zsh know.
pub(super) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+.,:/@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    if !word.contains(is_hidden) {
        return format!("'{}'", word.replace('\'', r"'\''"));
    }
    let mut quoted = String::from("$'");
    for c in word.chars() {
        match c {
            '\'' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c if is_hidden(c) => {
                // Byte by byte: \u depends on the shell's locale.
                let mut utf8 = [0; 4];
                for byte in c.encode_utf8(&mut utf8).bytes() {
                    quoted.push_str(&format!("\\{byte:03o}"));
                }
            }
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

fn is_hidden(c: char) -> bool {
    matches!(escape_control(c.encode_utf8(&mut [0; 4])), Cow::Owned(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_what_a_shell_would_read_otherwise() {
        let command = ["pg_dump", "--dbname=erp", "", "it's", "a b", "e\x1b[1m'\n"];
        assert_eq!(
            words(&command.map(str::to_owned)).join(" "),
            r"pg_dump --dbname=erp '' 'it'\''s' 'a b' $'e\033[1m\'\n'"
        );
    }
}
