//! Opening what is verified, when the target is safe again.

use crate::failpoint::reach;
use crate::journal::Change;
use crate::names::WriteMark;
use crate::plan::Side;
use crate::postgres::{Session, connect, escape_control};
use crate::shell;
use crate::step::others::{Wrote, wrote};
use crate::step::{Context, StepError, ToOpen, create};

/// The target is safe again: clients may use what is verified. One that cannot be opened keeps no other closed.
pub(super) async fn open_databases(context: &Context) -> Result<Vec<String>, StepError> {
    let source = &context.shared.inspection.source;
    let mut warnings = Vec::new();
    let mut failed = None;
    for ToOpen {
        name,
        made,
        written,
        is_let_in,
    } in &context.closed
    {
        let Some(database) = source.database(name) else {
            // Gone from the source since; the target's is as it was verified, and ours.
            continue;
        };
        if create::is_left_out(context, name, *made).await? {
            continue;
        }
        let opened = async {
            // An opening that did not come to its end let in whom the source had then.
            if !is_let_in {
                create::refuse_who_was_let_in(context, database).await?;
            }
            warnings.extend(refuse_what_others_wrote(context, name, written.as_ref()).await?);
            create::open(context, database, *made).await
        };
        match opened.await {
            Ok(refused) => warnings.extend(refused),
            Err(error) => {
                tracing::error!(database = name, %error, "cannot open the database");
                failed.get_or_insert(error);
            }
        }
        reach!("{name} opened");
    }
    failed.map_or(Ok(warnings), Err)
}

/// Nobody looks at a database again once it is open, and it may have been closed for long since it was verified: what another session
/// wrote to it then is a difference as before its verification.
async fn refuse_what_others_wrote(
    context: &Context,
    database: &str,
    before: Option<&WriteMark>,
) -> Result<Option<String>, StepError> {
    let Some(before) = before else {
        return Ok(None);
    };
    let shown = escape_control(database);
    let what = match look(context, database, before).await? {
        Wrote::Nobody => return Ok(None),
        Wrote::Perhaps(what) => {
            return Ok(Some(format!(
                "database {shown}: {what}; `pg-migrate verify PLAN` compares its rows"
            )));
        }
        Wrote::Somebody(what) => format!("database {shown}: {what}"),
    };
    if context.shared.graph.accepts_difference(database) {
        return Ok(Some(what));
    }
    let found = Change::FindDifference {
        database: database.to_owned(),
        tables: Vec::new(),
    };
    context.record(found).await?;
    Err(StepError::new(format!("{what}; it stays closed")).help(format!(
        "find out who it was; if nobody needs what was written: `pg-migrate reset PLAN --database {0} --drop {0}`, DROP DATABASE on the \
         target (a run drops nothing that was written to), and run again; where a person stands for it (`pg-migrate verify PLAN` \
         compares the rows): a waiver for target/differed, with the database's name as its object, and run again: it is opened",
        shell::quote(database)
    )))
}

/// One that is gone was written to by nobody; that it is gone is told when it is to be opened.
async fn look(context: &Context, database: &str, before: &WriteMark) -> Result<Wrote, StepError> {
    let session = Session::new(&context.application());
    let inside = match connect(context.endpoint(Side::Target), database, &session).await {
        Ok(inside) => inside,
        // invalid_catalog_name
        Err(error) if error.sqlstate() == Some("3D000") => return Ok(Wrote::Nobody),
        Err(error) => return Err(error.into()),
    };
    let application = &context.shared.application;
    let between = "its verification and its opening";
    let wrote = wrote(&inside, application, before, between).await?;
    inside.close().await;
    Ok(wrote)
}
