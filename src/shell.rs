//! Command lines as a person would type them.
//!
//! The crates for this were considered: shlex and shell-words leave escape sequences and bidirectional controls in a word as
//! they are, so that a name could steer the terminal that shows the plan, and shlex and shell-quote quote every word with an
//! equals sign, which is most of pg_dump's.

use std::borrow::Cow;

use crate::escape::escape_control;

/// The words of a command, quoted for a POSIX shell where they need it.
pub(crate) fn words(command: &[String]) -> Vec<String> {
    command.iter().map(|word| quote(word)).collect()
}

/// One word, quoted for a POSIX shell where it needs it; a word with characters that a reader would not
/// see is written as `$'…'`, which bash and zsh know.
pub(crate) fn quote(word: &str) -> String {
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
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quotes_what_a_shell_would_read_otherwise() {
        let command = ["pg_dump", "--dbname=erp", "", "it's", "a b", "e\x1b[1m'\n"];
        assert_eq!(
            words(&command.map(str::to_owned)).join(" "),
            r"pg_dump --dbname=erp '' 'it'\''s' 'a b' $'e\033[1m\'\n'"
        );
    }
    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        #[expect(clippy::disallowed_methods, reason = "the test starts a shell")]
        fn a_shell_reads_the_words_and_a_person_sees_them(
            command in proptest::collection::vec("[^\0]{0,12}|[ -~\t\n\u{1b}\u{202e}]{0,12}", 1..40)
        ) {
            let line = words(&command).join(" ");
            prop_assert_eq!(escape_control(&line), &*line);
            let script = format!("printf '%s\\0' {line}");
            let output = Command::new("bash").args(["-c", &script]).output().unwrap();
            let read: Vec<u8> = command.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
            prop_assert_eq!(output.stdout, read);
        }
    }
}
