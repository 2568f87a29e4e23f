//! Functions of owners that the load would run, which were made, or got their place, while the database was open.

use std::collections::BTreeSet;

use crate::inspect::owners_code_in_load;
use crate::names::some_of;
use crate::postgres::{Connection, escape_control};
use crate::step::{Context, StepError};

/// How many functions a message names.
const NAMED: usize = 5;

/// Looks for them in the session that is about to load a table, which is locked: no constraint is added to it any more. What the
/// source has is a finding of the plan.
///
/// # Errors
///
/// There are such, and the plan does not trust owners.
pub(super) async fn look(
    context: &Context,
    connection: &Connection,
    table: &str,
) -> Result<(), StepError> {
    let database = context.database()?.contents.iter();
    let known: BTreeSet<&str> = database
        .flat_map(|contents| &contents.not_moved)
        .map(|found| found.object.as_str())
        .collect();
    let found = owners_code_in_load(connection, table).await?;
    let new: Vec<String> = found
        .iter()
        .filter(|found| !known.contains(found.object.as_str()))
        .map(|found| format!("{} of role {}", found.object, found.detail))
        .collect();
    if new.is_empty() {
        return Ok(());
    }
    let what = format!(
        "database \"{}\": functions of owners that the source did not have there run with the rights of the target's role while the \
         delayed table {} is loaded: {}",
        context.shown_database(),
        escape_control(table),
        escape_control(&some_of(&new, NAMED))
    );
    if context.plan().untrusted_owners {
        return Err(
            StepError::new(format!("{what}; target.untrusted_owners is true, and nothing of the table was loaded")).help(
                "read them; give them to a role that you trust (ALTER FUNCTION … OWNER TO) or take away what calls them until the run is \
                 done, on the target; or take target.untrusted_owners out of the plan; then run again",
            ),
        );
    }
    context.notices.extend([what]);
    Ok(())
}
