//! Making a database again as it was found: it was there, empty, before this plan filled it, and its owner's settings stay.

use super::found::Found;
use super::sql::Target;
use super::{settings, sql};
use crate::catalog::{Database, ServerFacts};
use crate::journal::Change;
use crate::plan::Tablespaces;
use crate::postgres::{Connection, escape_control, quote_identifier, quote_literal};
use crate::step::{Context, StepError};

/// Why a database that was found empty is not dropped and made again: what it would lose, or what our role may not.
/// `None`: it can be. `own`: what it held when it was found that is no object of a user; `None`: that is not known.
pub(crate) fn obstacle(
    database: &Database,
    own: Option<&[String]>,
    target: &ServerFacts,
) -> Option<String> {
    let Some(own) = own else {
        return Some("what else it held when it was found is not on record".to_owned());
    };
    let mut lost = own.to_vec();
    if database.is_template {
        lost.push("its mark of a template".to_owned());
    }
    if !target.is_superuser && database.settings.iter().any(|one| one.role.is_some()) {
        lost.push("settings of roles in it".to_owned());
    }
    if !lost.is_empty() {
        return Some(format!("it would lose what it had: {}", lost.join(", ")));
    }
    (!target.is_superuser && !target.can_create_database).then(|| {
        format!(
            "the role \"{}\" may not create databases on the target",
            target.user
        )
    })
}

/// Puts on record how the database is made again as it is now, but for its contents. From here on it is this plan's.
pub(super) async fn prepare(context: &Context, found: &Found) -> Result<(), StepError> {
    let target = &context.shared.inspection.target;
    let name = context.database_name();
    let existing = target.database(name).filter(|one| one.oid == found.oid);
    let obstacle = match existing {
        Some(existing) => obstacle(existing, context.found.as_deref(), target),
        None => Some("it was made after this run had looked at the target".to_owned()),
    };
    let statements = match (existing, obstacle) {
        (Some(existing), None) => statements(existing, target),
        (_, obstacle) => {
            return Err(StepError::new(format!(
                "the database \"{}\" was there, empty, and this plan filled it, and it is not dropped: {}; it was left as it is",
                context.shown_database(),
                obstacle.unwrap_or_default()
            ))
            .help(format!(
                "if what is in it is not needed, DROP DATABASE {} on the target, CREATE DATABASE with what it had, and run again",
                escape_control(&quote_identifier(name))
            )));
        }
    };
    let (database, oid) = (name.to_owned(), found.oid);
    let on_record = statements.clone();
    context
        .record(Change::RemakeDatabase {
            database,
            oid,
            statements: on_record,
        })
        .await?;
    context.set_remade(found.oid, statements);
    Ok(())
}

/// `CREATE DATABASE` alone, then what was set for it. Owner and privileges become the source's when it is opened.
fn statements(existing: &Database, target: &ServerFacts) -> Vec<String> {
    // Names of tablespaces are the target's own already.
    let same = Tablespaces::default();
    let mut statements = vec![sql::creation(existing, &Target::new(target, &same)).create];
    let name = quote_identifier(&existing.name);
    if let Some(comment) = &existing.comment {
        statements.push(format!(
            "COMMENT ON DATABASE {name} IS {}",
            quote_literal(comment)
        ));
    }
    let set = existing.settings.iter();
    statements.extend(set.map(|one| settings::statement(&existing.name, one, &same).sql));
    if existing.connection_limit >= 0 {
        let limit = existing.connection_limit;
        statements.push(format!(
            "ALTER DATABASE {name} WITH CONNECTION LIMIT {limit}"
        ));
    }
    statements
}

pub(super) async fn run(connection: &Connection, statements: &[String]) -> Result<(), StepError> {
    for sql in statements {
        connection
            .batch_execute(sql)
            .await
            .map_err(connection.failed(format!("run {sql}")))?;
    }
    Ok(())
}
