//! What a source has that is not moved and that it did not have when a run first looked.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{LOOKS_AT_A_TIME, contents, not_moved, not_moved_of, open, system_objects};
use crate::catalog::{Appeared, Contents, Inspection, NotMoved, NotMovedKind, ServerFacts};
use crate::plan::{Endpoint, Plan};
use crate::postgres::Error;

/// Looks into these databases again, and compares with the first look. Nothing of which nothing appeared.
///
/// # Errors
///
/// A server that cannot be reached, or refuses us.
pub(crate) async fn appeared(
    plan: &Plan,
    (source, target): (&Endpoint, &Endpoint),
    first: &Inspection,
    databases: impl Iterator<Item = &String>,
) -> Result<Vec<Appeared>, Error> {
    let in_target = open(plan, target, &target.database).await?;
    let of_target = system_objects::read_target(&in_target).await?;
    let server = {
        let in_source = open(plan, source, &source.database).await?;
        let mut found = not_moved::of_server(&in_source, &in_target, &first.target.user).await?;
        in_source.close().await;
        found.retain(|now| !is_known(now, &first.source.not_moved));
        Appeared {
            not_moved: found,
            ..Appeared::default()
        }
    };
    in_target.close().await;
    let mut found: Vec<Appeared> = stream::iter(databases)
        .map(|name| in_database(plan, source, first, (name, &of_target)))
        .buffered(LOOKS_AT_A_TIME)
        .try_collect()
        .await?;
    found.push(server);
    found.retain(|found| !found.not_moved.is_empty() || !found.placed.is_empty());
    Ok(found)
}

async fn in_database(
    plan: &Plan,
    source: &Endpoint,
    first: &Inspection,
    (name, of_target): (&str, &[NotMoved]),
) -> Result<Appeared, Error> {
    let connection = open(plan, source, name).await?;
    let mut not_moved = not_moved_of(&connection, source, &first.target.newer).await?;
    let mut placed = contents::placed(&connection).await?;
    connection.close().await;
    let was = contents_in(&first.source, name);
    system_objects::retain_other(&mut not_moved, of_target, contents_in(&first.target, name));
    not_moved.retain(|now| !was.is_some_and(|was| is_known(now, &was.not_moved)));
    placed.retain(|now| !was.is_some_and(|was| was.placed.contains(now)));
    Ok(Appeared {
        database: Some(name.to_owned()),
        not_moved,
        placed,
    })
}

fn contents_in<'a>(server: &'a ServerFacts, database: &str) -> Option<&'a Contents> {
    server.database(database)?.contents.as_ref()
}

/// Where a sequence stands moves on.
fn is_known(now: &NotMoved, first: &[NotMoved]) -> bool {
    let mut first = first.iter();
    first.any(|first| match now.what {
        NotMovedKind::ExtensionSequence => first.what == now.what && first.object == now.object,
        _ => first == now,
    })
}
