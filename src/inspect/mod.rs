//! A look at a live server: SQL in, `catalog` out. The only place with catalog queries, each by the
//! server's version.

mod appeared;
mod column_order;
mod columns;
mod computed;
mod condition;
mod configuration;
mod contents;
mod count;
mod countable;
mod databases;
mod definitions;
mod delayed;
mod detaching;
mod elsewhere;
mod families;
mod indexes;
mod libraries;
mod load_order;
mod locks;
mod materialized_views;
mod members;
mod names;
mod newer;
mod not_moved;
mod oversized;
mod own;
mod owners_code;
mod planned;
mod query;
mod roles;
mod scripted;
mod sequences;
mod server;
mod server_settings;
mod statement_log;
mod stemmers;
mod system_objects;
mod tablespaces;
mod types;
mod written;

pub(crate) use appeared::appeared;
pub(crate) use columns::columns_of;
pub(crate) use computed::computed;
pub(crate) use condition::await_replay;
pub(crate) use contents::read as contents_of;
pub(crate) use count::{Rows, count_large_objects, count_tables};
pub(crate) use databases::read as databases_of;
pub(crate) use definitions::{Definition, definitions};
pub(crate) use delayed::{
    NamedIndex, Reference, droppable_indexes, indexes_by_name, references_between,
};
pub(crate) use detaching::{PendingDetach, pending_detaches};
pub(crate) use elsewhere::owners_code_in_load;
pub(crate) use families::families;
pub(crate) use indexes::{Index, indexable_tables, valid_indexes};
pub(crate) use locks::{DumpedTable, dumped_tables, tables_in_use, unlocked_tables};
pub(crate) use materialized_views::{MaterializedView, materialized_views};
pub(crate) use members::{Member, members};
pub(crate) use own::{own_of, without_default_privileges};
pub(crate) use scripted::{ScriptedRows, scripted_rows};
pub(crate) use sequences::{ScriptedSequence, Sequence, scripted_sequences, sequences};
pub(crate) use server::system_identifier;
pub(crate) use statement_log::keep_out_of_log;
pub(crate) use types::{enum_labels, type_meanings, types_in};
pub(crate) use written::{await_our_sessions, filled, written, written_to_others};

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::catalog::{Contents, Database, Newer, NotMoved, ServerFacts};
use crate::plan::{Endpoint, Plan, Retry, Side, TuningMode};
use crate::postgres::{Application, Connection, Error, Session, connect, with_retries};

/// Databases that are looked into at a time.
const LOOKS_AT_A_TIME: usize = 4;

/// How often it is looked into a database, at most.
const LOOKS: u32 = 5;
/// As many beside them into databases that do not migrate.
const OTHERS_AT_A_TIME: usize = 2;

/// Both servers, with the contents of every database that may matter: on the source those that the plan
/// takes, on the target those of the same names, and where the whole target may be tuned, the others as far
/// as they can be looked into.
///
/// # Errors
///
/// A server that cannot be reached, refuses us, or has a catalog that may not be read.
pub(crate) async fn servers(
    plan: &Plan,
    source: &Endpoint,
    target: &Endpoint,
) -> Result<(ServerFacts, ServerFacts), Error> {
    let (mut source_facts, mut target_facts) =
        tokio::try_join!(facts(plan, source), facts_of_target(plan, target))?;
    let wanted = |database: &Database| {
        database.left_out().is_none()
            && !database.is_of_installation()
            && plan.databases.takes(&database.name)
    };
    let of_source: Vec<String> = names(&source_facts, wanted);
    target_facts.newer = {
        let of_users = names(&target_facts, |database| {
            may_connect(database) && !matches!(database.name.as_str(), "template0" | "template1")
        });
        let in_source = open_for_words(plan, source, &source_facts, &of_source).await?;
        let in_target = open_for_words(plan, target, &target_facts, &of_users).await?;
        let newer = newer::of_target(&in_source, &in_target).await?;
        in_source.close().await;
        in_target.close().await;
        newer
    };
    let of_target = names(&target_facts, |database| {
        may_connect(database)
            // DROP DATABASE did not end, and no session can connect: one of ours is dropped again.
            && database.connection_limit != -2
            && of_source.contains(&database.name)
    });
    let is_tuned = plan.tuning.mode != TuningMode::Off && may_alter_system(&target_facts);
    let others = names(&target_facts, |database| {
        is_tuned
            && may_connect(database)
            && database.connection_limit != -2
            && !matches!(database.name.as_str(), "template0" | "template1")
            && !of_target.contains(&database.name)
    });
    let of_installation = names(&source_facts, |database| {
        matches!(database.name.as_str(), "postgres" | "template1") && may_connect(database)
    });
    let (mut in_source, mut in_target, in_installation, in_others) = tokio::try_join!(
        look_into(plan, source, of_source, &target_facts.newer),
        look_into(plan, target, of_target, &target_facts.newer),
        async { Ok(look_into_other_databases(plan, source, of_installation).await) },
        async { Ok(look_into_other_databases(plan, target, others).await) }
    )?;
    in_source.extend(in_installation);
    source_facts.not_moved = {
        let in_source_server = open(plan, source, &source.database).await?;
        let in_target_server = open(plan, target, &target.database).await?;
        target_facts.lacked_libraries =
            libraries::lacked(&in_source_server, &in_target_server).await?;
        if plan.globals && target_facts.is_superuser {
            target_facts.makeable_tablespaces =
                tablespaces::makeable(&in_source_server, &in_target_server).await?;
        }
        let of_target = system_objects::read_target(&in_target_server).await?;
        for (name, contents) in &mut in_source {
            let in_target = in_target.get(name);
            system_objects::retain_other(&mut contents.not_moved, &of_target, in_target);
        }
        not_moved::of_server(&in_source_server, &in_target_server, &target_facts.user).await?
    };
    fill(&mut source_facts, in_source);
    in_target.extend(in_others);
    fill(&mut target_facts, in_target);
    source_facts.seen = source.watch.latest();
    target_facts.seen = target.watch.latest();
    Ok((source_facts, target_facts))
}

/// Names and bytes of the databases that the plan takes from the server, smallest first.
///
/// # Errors
///
/// A server that cannot be reached or refuses us.
pub(crate) async fn database_sizes(
    plan: &Plan,
    endpoint: &Endpoint,
) -> Result<Vec<(String, u64)>, Error> {
    let connection = open(plan, endpoint, &endpoint.database).await?;
    let databases = databases::read(&connection).await?;
    Ok(databases
        .into_iter()
        .filter(|database| plan.databases.takes(&database.name) && !database.is_template)
        .filter(|database| database.name != "postgres" && database.allows_connections)
        .map(|database| (database.name, database.bytes.unwrap_or(0)))
        .collect())
}

/// Our role has the privilege: only then does it learn the size.
fn may_connect(database: &Database) -> bool {
    database.allows_connections && database.bytes.is_some()
}

fn names(facts: &ServerFacts, wanted: impl Fn(&Database) -> bool) -> Vec<String> {
    facts
        .databases
        .iter()
        .filter(|database| wanted(database))
        .map(|database| database.name.clone())
        .collect()
}

fn fill(facts: &mut ServerFacts, mut contents: BTreeMap<String, Contents>) {
    for database in &mut facts.databases {
        database.contents = contents.remove(&database.name);
        if let Some(contents) = &database.contents {
            database.bytes = Some(contents.bytes);
        }
    }
}

/// One server, without a look into its databases.
async fn facts(plan: &Plan, endpoint: &Endpoint) -> Result<ServerFacts, Error> {
    let connection = open(plan, endpoint, &endpoint.database).await?;
    names::ensure_utf8(&connection).await?;
    let mut facts = server::read(&connection).await?;
    facts.configuration.own = server_settings::read(&connection, false).await?;
    facts.configuration.of_clients = server_settings::of_clients(&connection).await?;
    facts.condition = condition::read(&connection).await?;
    facts.databases = databases::read(&connection).await?;
    Ok(facts)
}

/// As [`facts`], with the server's configuration.
async fn facts_of_target(plan: &Plan, target: &Endpoint) -> Result<ServerFacts, Error> {
    let mut facts = facts(plan, target).await?;
    let connection = open(plan, target, &target.database).await?;
    facts.extension_versions = server::extension_versions(&connection).await;
    facts.configuration = configuration::read(&connection).await?;
    Ok(facts)
}

fn may_alter_system(facts: &ServerFacts) -> bool {
    let mut parameters = facts.configuration.parameters.values();
    parameters.any(|parameter| parameter.may_alter_system)
}

/// What those of the databases hold that can be looked into: they do not migrate, and are only told about.
async fn look_into_other_databases(
    plan: &Plan,
    endpoint: &Endpoint,
    names: Vec<String>,
) -> BTreeMap<String, Contents> {
    stream::iter(names)
        .map(|name| async move {
            match look_into_one(plan, endpoint, &name, &Newer::default()).await {
                Ok(contents) => Some((name, contents)),
                Err(error) => {
                    tracing::debug!(%error, "a database that does not migrate cannot be looked into");
                    None
                }
            }
        })
        .buffer_unordered(OTHERS_AT_A_TIME)
        .filter_map(std::future::ready)
        .collect()
        .await
}

/// What the given databases hold. `newer`: what is new on the target.
///
/// # Errors
///
/// The first database that cannot be looked into.
async fn look_into(
    plan: &Plan,
    endpoint: &Endpoint,
    names: Vec<String>,
    newer: &Newer,
) -> Result<BTreeMap<String, Contents>, Error> {
    // A user waits for this, and nothing is lost where it fails.
    let retry = Retry {
        attempts: plan.retry.attempts.min(LOOKS),
        ..plan.retry
    };
    stream::iter(names)
        .map(|name| async move {
            // Another session may be altering a table, or the connection broke.
            let look = |_| look_into_one(plan, endpoint, &name, newer);
            let contents = with_retries(&retry, Error::class, look);
            contents.await.map(|contents| (name, contents))
        })
        .buffer_unordered(LOOKS_AT_A_TIME)
        .try_collect()
        .await
}

async fn look_into_one(
    plan: &Plan,
    endpoint: &Endpoint,
    name: &str,
    newer: &Newer,
) -> Result<Contents, Error> {
    let connection = open(plan, endpoint, name).await?;
    let mut contents = match contents::read(&connection).await {
        Ok(contents) => contents,
        Err(error) if names::is_not_utf8(&error) => {
            let names_not_utf8 = names::not_utf8(&connection).await?;
            if names_not_utf8.is_empty() {
                return Err(error);
            }
            // What else it holds cannot be read, and a finding keeps the run from starting.
            return Ok(Contents {
                names_not_utf8,
                ..Contents::default()
            });
        }
        Err(error) => return Err(error),
    };
    if endpoint.side == Side::Target && contents.is_empty() {
        contents.own = own_of(&connection).await?;
        contents.without_default_privileges = without_default_privileges(&connection).await?;
        contents.not_moved = system_objects::read_target(&connection).await?;
    }
    if endpoint.side == Side::Source {
        if !matches!(name, "postgres" | "template1") {
            contents.oversized = oversized::read(&connection).await?;
        }
        if !plan.delay.patterns.is_empty() {
            contents.parts_not_utf8 = names::parts_not_utf8(&connection).await?;
        }
        contents.not_moved = if matches!(name, "postgres" | "template1") {
            not_moved::of_installation(&connection).await?
        } else {
            not_moved_of(&connection, endpoint, newer).await?
        };
    }
    Ok(contents)
}

/// What of the connection's database, one of the source, is not moved. What is of the system is not compared with the target yet.
async fn not_moved_of(
    connection: &Connection,
    source: &Endpoint,
    newer: &Newer,
) -> Result<Vec<NotMoved>, Error> {
    let mut found = not_moved::of_database(connection).await?;
    found.extend(system_objects::read(connection).await?);
    found.extend(elsewhere::read(connection, source).await?);
    found.extend(newer::read(connection, newer).await?);
    Ok(found)
}

/// In the plan's database, or, where that has no letters for words of all languages, in one of `others` that has.
async fn open_for_words(
    plan: &Plan,
    endpoint: &Endpoint,
    facts: &ServerFacts,
    others: &[String],
) -> Result<Connection, Error> {
    let takes_all = |name: &String| {
        let database = facts.database(name);
        database.is_some_and(|database| stemmers::takes_all(&database.encoding))
    };
    let mut others = others.iter().filter(|name| takes_all(name));
    if let (false, Some(other)) = (takes_all(&endpoint.database), others.next()) {
        match open(plan, endpoint, other).await {
            Ok(connection) => return Ok(connection),
            Err(error) => {
                tracing::debug!(%error, database = %other, "words are looked at in the plan's database");
            }
        }
    }
    open(plan, endpoint, &endpoint.database).await
}

/// Asking for the size of a table takes a lock on it.
async fn open(plan: &Plan, endpoint: &Endpoint, database: &str) -> Result<Connection, Error> {
    let session = Session::new(&Application::new(&plan.name).application_name_for("inspect"))
        .lock_timeout(plan.source_lock_timeout);
    connect(endpoint, database, &session).await
}
