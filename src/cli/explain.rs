//! `pg-migrate explain`.

use super::arguments::ExplainArguments;
use super::failure::Failure;
use super::output::{Terminal, print};
use crate::exit::Exit;
use crate::explain::{Subject, find};
use crate::report::explain;

pub(super) fn run(arguments: ExplainArguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let (columns, color) = (terminal.columns(), terminal.stdout_color());
    let text = match arguments.subject {
        None => explain::list(columns, color),
        Some(word) => match find(&word).map_err(|meant| unknown(&word, meant))? {
            Subject::Code(code) => explain::code(code, columns, color),
            Subject::Topic(topic) => explain::topic(topic, columns, color),
        },
    };
    print(&text)?;
    Ok(Exit::Completed)
}

fn unknown(word: &str, meant: Option<&str>) -> Failure {
    let list = "`pg-migrate explain` lists all codes and topics";
    Failure::message(
        Exit::WrongInput,
        format!("`{word}` is neither the code of a finding nor a topic"),
        &match meant {
            Some(meant) => format!("did you mean `{meant}`? {list}"),
            None => list.to_owned(),
        },
    )
}
