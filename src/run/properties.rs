//! What belongs to a database as a whole: what changed of it on the source after it was set on the target, and what only the target
//! has.

use crate::catalog::{Database, TABLESPACE, changed, is_of_another, only_on_target, properties};
use crate::inspect;
use crate::journal::State;
use crate::plan::{Endpoint, Tablespaces};
use crate::postgres::{self, Session, connect, quote_identifier, with_retries};
use crate::step::Shared;

/// A sentence for each database of the plan that has other properties on the source than when it was created, which the target
/// lacks. `source`, `target`: what the servers have now.
pub(super) fn changed_since_creation<'a>(
    names: impl Iterator<Item = &'a String>,
    state: &State,
    tablespaces: &Tablespaces,
    source: &[Database],
    target: &[Database],
) -> Vec<String> {
    names
        .filter_map(|name| {
            let (source, target) = (find(source, name)?, find(target, name)?);
            told(name, state, tablespaces, source, target)
        })
        .collect()
}

/// A sentence for each database of the plan that has more on the target than on the source, which was set there by hand: opening a
/// database sets what the source has, and takes nothing away.
pub(super) fn more_on_target<'a>(
    names: impl Iterator<Item = &'a String>,
    source: &[Database],
    target: &[Database],
) -> Vec<String> {
    names
        .filter_map(|name| {
            let more = only_on_target(find(source, name)?, find(target, name)?);
            (!more.is_empty()).then(|| {
                format!(
                    "database \"{name}\": on the target, and not on the source, it has {}: this plan did not set it, and left it as it \
                     is; find out who did, and take away what is not to stay (ALTER DATABASE, REVOKE)",
                    more.join(", ")
                )
            })
        })
        .collect()
}

/// Reads the databases of both servers again.
pub(super) async fn read_again(
    shared: &Shared,
) -> Result<(Vec<Database>, Vec<Database>), postgres::Error> {
    let read = async |endpoint: &Endpoint| {
        with_retries(&shared.plan.retry, postgres::Error::class, |_| {
            databases(shared, endpoint)
        })
        .await
    };
    tokio::try_join!(read(&shared.source), read(&shared.target))
}

fn told(
    name: &str,
    state: &State,
    tablespaces: &Tablespaces,
    source: &Database,
    target: &Database,
) -> Option<String> {
    // A journal of an earlier version does not say what was set.
    let was = state.made_from.get(name).filter(|was| !was.is_empty())?;
    let of_source = properties(source);
    if is_of_another(was, &of_source) {
        return Some(format!(
            "database \"{name}\": the source's database of this name is not the one that was moved, which was dropped or renamed since: \
             where the target shall have the other one, `pg-migrate reset PLAN --database NAME --drop NAME`, and run again"
        ));
    }
    let of_target = properties(target);
    let mut changed = changed(was, &of_source, &of_target);
    let chosen = tablespaces.on_target(&source.tablespace);
    if chosen.unwrap_or("pg_default") == target.tablespace {
        changed.remove(TABLESPACE);
    }
    (!changed.is_empty()).then(|| {
        let what: Vec<&str> = changed.into_iter().collect();
        format!(
            "database \"{name}\": since it was created on the target, its {} changed on the source; make the same change on the target \
             (ALTER DATABASE {})",
            what.join(", "),
            quote_identifier(name)
        )
    })
}

fn find<'a>(databases: &'a [Database], name: &str) -> Option<&'a Database> {
    databases.iter().find(|one| one.name == name)
}

async fn databases(shared: &Shared, endpoint: &Endpoint) -> Result<Vec<Database>, postgres::Error> {
    let session = Session::new(&shared.application.application_name_for("properties"));
    let connection = connect(endpoint, &endpoint.database, &session).await?;
    let databases = inspect::databases_of(&connection).await?;
    connection.close().await;
    Ok(databases)
}
