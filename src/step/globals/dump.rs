//! The dumps of roles and tablespaces that the step goes by.

use std::collections::BTreeMap;

use super::chosen::chosen;
use super::since::{by_subject, digests};
use super::{has_closing_line, statements};
use crate::graph;
use crate::names::Product;
use crate::plan::Side;
use crate::postgres::conninfo;
use crate::step::child::{capture, invocation};
use crate::step::{Context, StepError};

/// Far more than the roles of any server need.
const LARGEST_SCRIPT: usize = 256 << 20;

/// The script that pg_dumpall writes of a server, and the warnings that it gave.
pub(super) struct Script {
    pub text: String,
    pub warnings: Vec<String>,
}

/// Dumps roles, memberships and tablespaces of a server.
pub(super) async fn dump(context: &Context, side: Side) -> Result<Script, StepError> {
    let command = match side {
        Side::Source => context.step().command.clone(),
        Side::Target => {
            let target = context.endpoint(side);
            let reads_passwords = context.shared.inspection.target.reads_passwords;
            graph::globals(
                &conninfo(target, &target.database),
                &target.database,
                reads_passwords,
            )
        }
    };
    let child = invocation(context, side, &command, &[]).await?;
    let (finished, warnings) = capture(context, child, LARGEST_SCRIPT).await?;
    // It is written in UTF-8 (`--encoding`), but a cluster of encoding SQL_ASCII passes any bytes through.
    let text = String::from_utf8(finished.stdout).map_err(|error| {
        StepError::new(format!(
            "the roles of the {} have names or comments that are not UTF-8 (byte {}); rename them there",
            context.endpoint(side),
            error.utf8_error().valid_up_to()
        ))
    })?;
    if !has_closing_line(&text) {
        return Err(StepError::new(format!(
            "the output of pg_dumpall on the {} has no closing line: it was cut off, and roles may be missing from it, so none \
             of it is used",
            context.endpoint(side),
        ))
        .help(format!(
            "look at its messages in {}, and run again",
            context.log_file().display()
        )));
    }
    Ok(Script { text, warnings })
}

/// What became different on the source since the step read it: a sentence for each role and tablespace. `when`: the time
/// since then, in words.
///
/// # Errors
///
/// As the step itself.
pub(crate) async fn changed_since(
    context: &Context,
    product: &Product,
    when: &str,
) -> Result<Vec<String>, StepError> {
    let Product::Globals(read) = product else {
        return Ok(Vec::new());
    };
    let script = dump(context, Side::Source).await?;
    let statements = statements(&script.text).map_err(StepError::fault)?;
    let statements = chosen(
        &statements,
        context.plan(),
        &context.shared.inspection.target,
    );
    let statements: Vec<&str> = statements.iter().map(AsRef::as_ref).collect();
    let now = digests(&by_subject(&statements));
    Ok(differences(&read.subjects, &now, when))
}

fn differences(
    then: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
    when: &str,
) -> Vec<String> {
    let told = |subject: &String, what: &str| {
        format!(
            "{subject} {what} on the source {when}; `pg-migrate reset PLAN --step globals`, and the next run brings \
             that along"
        )
    };
    let mut differences: Vec<String> = now
        .iter()
        .filter_map(|(subject, digest)| match then.get(subject) {
            None => Some(told(subject, "was made")),
            Some(then) if then != digest => Some(told(subject, "changed")),
            Some(_) => None,
        })
        .collect();
    let gone = then.keys().filter(|subject| !now.contains_key(*subject));
    differences.extend(gone.map(|subject| {
        format!("{subject} was dropped on the source {when}; it is still on the target")
    }));
    differences
}
