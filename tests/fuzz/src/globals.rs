//! The script that pg_dumpall writes, cut into statements, and what happens with each.

use std::collections::HashSet;

use pg_migrate::fuzzing::Version;
use pg_migrate::fuzzing::globals::{Action, Piece, Target, pieces, plan, redact, statements};

pub fn check(data: &[u8]) {
    let Ok(script) = std::str::from_utf8(data) else {
        return;
    };
    let texts: Vec<&str> = pieces(script)
        .into_iter()
        .map(|piece| match piece {
            Piece::Statement(text)
            | Piece::PsqlCommand(text)
            | Piece::Filler(text)
            | Piece::Unterminated(text) => text,
        })
        .collect();
    assert_eq!(texts.concat(), script);
    assert!(texts.iter().all(|text| !text.is_empty()));

    match statements(script) {
        Ok(statements) => mean_the_same_written_again(&statements),
        Err(truncated) => assert!((1..=script.lines().count().max(1)).contains(&truncated.line)),
    }
}

fn mean_the_same_written_again(written: &[&str]) {
    let again: String = written
        .iter()
        .map(|statement| format!("{statement}\n;\n"))
        .collect();
    assert_eq!(statements(&again).as_deref(), Ok(written));
    for statement in written {
        let redacted = redact(statement);
        assert_eq!(redact(&redacted), redacted);
    }
    let target = Target {
        version: Version(180_000),
        user: "postgres",
        roles: HashSet::from(["postgres", "a"]),
        tablespaces: HashSet::from(["t"]),
        needed_tablespaces: HashSet::from(["u"]),
    };
    let actions = plan(written, &target);
    assert!(actions.len() <= written.len());
    for planned in &actions {
        let sql = match &planned.action {
            Action::Run(run) => &run.sql,
            Action::Skip(skip) => &skip.sql,
        };
        // What is shown of a statement is what is sent, but for passwords.
        assert_eq!(sql.to_string(), redact(sql.expose()));
        // It goes to the server as whole statements, never with a command for psql.
        for piece in pieces(sql.expose()) {
            assert!(!matches!(piece, Piece::PsqlCommand(_)), "{piece:?}");
        }
    }
}
