//! `delayed-verify`: the rows that the source had, that the load brought, and that are there now.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::count;
use super::proof::Broken;
use super::{indexes, large_objects, newer, numbered, references, uniqueness, writers};
use crate::graph::delayed_archive;
use crate::names::{
    Compared, Counts, Kind, Output, Product, RelationKind, TableCount, TableName, TableResult,
    list_of_tables,
};
use crate::plan::Side;
use crate::postgres::{Pool, escape_control};
use crate::step::verify::{CHANGED, DIFFERED, make_again, make_again_or_waive, remove_archive};
use crate::step::{Context, StepError, made_tables, others, ours, regular};
use crate::verify::large_objects::{KEEP_AWAY, table, told};

/// Compares the rows of the source's snapshot with those that the load's own command tags counted, and with those that are
/// there. Where clients may use the database already, what they added or removed meanwhile is reported, and no difference.
pub(crate) async fn verify(context: &Context) -> Result<Output, StepError> {
    let session = context.session(Side::Target);
    // It may have asked a person to correct rows. One that was killed after it had found nothing has put on record what was written so
    // far, and what is computed after that would be taken for another's.
    let may_be_corrected = context.was_begun && context.restored.is_none();
    let left_empty = match may_be_corrected {
        true => indexes::compute_again(context).await?,
        false => Vec::new(),
    };
    let replaced = replaced(context).await?;
    let before = context.counts(Side::Source)?.tables.iter();
    let views: Vec<&TableCount> = before
        .filter(|count| count.kind == RelationKind::MaterializedView)
        .collect();
    let beside = beside(context)?;
    let views_by_name = views.iter().map(|view| view.table.clone());
    let dump = context.delayed_dump()?;
    let of_newer = dump.newer.iter().map(|count| count.table.clone());
    let names = views_by_name
        .chain(beside.keys().cloned())
        .chain(of_newer)
        .collect();
    let stop = &context.shared.stop;
    let now = count(context, Side::Target, &session, &names, stop).await?;
    // As they were dumped: the plan may say something else since.
    let (kind, note) = if dump.is_later() {
        (Kind::DelayedDump, Some(later(context)?))
    } else {
        (Kind::SourceCounts, None)
    };
    let asked = others::asked(context).await?;
    let whose = match context.is_closed {
        true => Whose::Ours(&asked),
        false => Whose::Clients,
    };
    let mut tables = compare(
        &context.delayed_tables().into_iter().collect::<Vec<_>>(),
        context.input(kind)?.counts(),
        context.input(Kind::DelayedRestore)?.counts(),
        &now,
        context.hashed_by_enum()?,
        &whose,
        &beside,
    );
    let gone = without_loaded_rows(context, &mut tables, &replaced);
    let queries = context.step().jobs as usize;
    let endpoint = context.endpoint(Side::Target);
    let pool = Pool::new(endpoint, context.database_name(), &session, queries)?;
    let compared = large_objects::compare(context, &pool).await?;
    let (row, removed) = compared.unzip();
    tables.extend(row);
    let again = once_differed(context, &mut tables);
    let numbered = numbered::compare(context, &mut tables).await?;
    {
        let connection = pool.get().await?;
        writers::wait(context, &connection).await?;
    }
    let mut broken = references::prove(context, &pool, queries).await?;
    broken.extend(uniqueness::prove(context, &pool, queries).await?);
    drop(pool);
    broken.sort_by(|a, b| a.message.cmp(&b.message));
    let mut differing = differing_of(&tables);
    // What clients do to what they may use is theirs.
    if context.is_closed && !differing.is_empty() {
        others::record_difference(context, &differing).await?;
    } else if differing.iter().any(|table| replaced.contains(table)) {
        // Where a person stands for the other ones, the plan waives it.
        let mut lost = differing.clone();
        lost.retain(|table| replaced.contains(table));
        others::record_difference(context, &lost).await?;
    } else if told(&tables).is_some() {
        // Of these a person has to say that they were brought: clients may have made as many others.
        others::record_difference(context, &[table()]).await?;
    }
    let newer = newer::compare(dump, &now, context.is_difference_accepted());
    let missing = differing_of(&newer);
    if !missing.is_empty() {
        // A person is to bring them.
        regular::ask_for_correction(context, missing.clone()).await?;
        differing.extend(missing.iter().cloned());
    }
    tables.extend(newer);
    let of_large_objects = told(&tables).map(|told| format!("\n{told}"));
    let of_large_objects = of_large_objects.unwrap_or_default();
    let mut tables = with_broken(tables, &broken);
    let views = refreshed(&views, &now);
    let mut warnings: Vec<String> = note
        .into_iter()
        .chain(again)
        .chain(removed.flatten())
        .chain(numbered)
        .chain(gone)
        .chain(left_empty)
        .collect();
    warnings.extend(views.iter().filter_map(refreshed_otherwise));
    tables.extend(views);
    let mut output = Output {
        warnings,
        product: Product::Comparison(Compared { tables }),
    };
    let changed = look_for_changes(context, &asked, &mut output).await?;
    if !broken.is_empty() {
        regular::ask_for_correction(context, to_correct(context, &broken)).await?;
        let messages: Vec<String> = broken.into_iter().map(|broken| broken.message).collect();
        output.warnings.extend(messages.iter().cloned());
        return Err(StepError::new(format!(
            "database \"{}\": constraints of delayed tables count as valid, but do not hold:\n{}{}",
            context.shown_database(),
            messages.join("\n"),
            match differing.is_empty() {
                true => String::new(),
                false => format!(
                    "\nand delayed tables differ: {}{of_large_objects}",
                    list(&differing)
                ),
            }
        ))
        .help(
            "insert the parents on the target, or delete these rows there, and run again; of rows that are in each other's way, delete \
             or renumber those that are wrong: the constraints are proved again",
        )
        .with_output(output));
    }
    if let (true, Some(changed)) = (differing.is_empty(), changed) {
        return Err(StepError::new(changed)
            .help("find out who it was, and keep it from connecting")
            .help(make_again_or_waive(context))
            .with_output(output));
    }
    if differing.is_empty() {
        if context.is_closed {
            others::restored(context).await;
        }
        let archive = delayed_archive(context.plan(), context.database_name());
        output
            .warnings
            .extend(remove_archive(context, archive).await);
        return Ok(output);
    }
    let error = StepError::new(format!(
        "database \"{}\": delayed tables differ between source and target: {}{of_large_objects}",
        context.shown_database(),
        list(&differing)
    ));
    let error = if of_large_objects.is_empty() {
        error
    } else {
        error.help(KEEP_AWAY).help(
            "a large object that is missing can be made under its number: its contents by lo_get(oid) on the source, \
             lo_from_bytea(oid, contents) on the target, its owner by ALTER LARGE OBJECT … OWNER TO …",
        )
    };
    let error = match missing.is_empty() {
        true => error,
        false => error.help(newer::help(context, &missing)),
    };
    // Nobody can stand for tables that are not there.
    let again = match missing.len() == differing.len() {
        true => make_again(context),
        false => make_again_or_waive(context),
    };
    Err(error
        .help("look at them in the report")
        .help(again)
        .with_output(output))
}

/// The tables that clients put into the places of those that the rows were loaded into.
async fn replaced(context: &Context) -> Result<Vec<TableName>, StepError> {
    let connection = ours::open(context, &context.session(Side::Target)).await?;
    // To what columns are called now, nothing is done any more.
    let replaced = made_tables::ensure_same(context, &connection, |_| true, |_, _| false).await?;
    connection.close().await;
    Ok(replaced)
}

/// Of a table that clients dropped, another of its name says nothing of the rows: that is a difference, unless the plan waives it.
/// Where none of the loaded rows is left in the table itself, or it is waived, that is told: a line each.
fn without_loaded_rows(
    context: &Context,
    tables: &mut [TableResult],
    replaced: &[TableName],
) -> Vec<String> {
    let mut told = Vec::new();
    for result in tables {
        let had_rows = result.source_rows.is_some_and(|rows| rows > 0);
        if replaced.contains(&result.table) && result.matches && had_rows {
            let note = "the table that its rows were loaded into was dropped on the target since, and another has its name";
            result.note = Some(note.to_owned());
            result.matches = context.is_difference_accepted();
        } else if !(had_rows && result.target_rows == Some(0)) {
            continue;
        }
        if let (true, Some(note)) = (result.matches, &result.note) {
            told.push(escape_control(&format!("{}: {note}", result.table)).into_owned());
        }
    }
    told
}

fn differing_of(results: &[TableResult]) -> Vec<TableName> {
    let differing = results.iter().filter(|result| !result.matches);
    differing.map(|result| result.table.clone()).collect()
}

/// The tables in which rows are deleted or changed, or the delayed tables that get parents, where a person does as is advised.
fn to_correct(context: &Context, broken: &[Broken]) -> Vec<TableName> {
    let delayed = context.delayed_tables();
    let parents = broken.iter().filter_map(|broken| broken.parent.clone());
    parents
        .filter(|parent| delayed.contains(parent))
        .chain(broken.iter().map(|broken| broken.table.clone()))
        .collect()
}

/// What other sessions did to rows while the database was this plan's alone, or had done by an earlier look: a difference, unless
/// the plan waives it. What a person was told to delete or change is none. A table that differs by its counts is told as that.
async fn look_for_changes(
    context: &Context,
    asked: &BTreeSet<TableName>,
    output: &mut Output,
) -> Result<Option<String>, StepError> {
    let seen = others::look(context, asked).await?;
    output.warnings.extend(seen.warnings);
    let beside = regular::changed(context, &mut output.warnings).await?;
    // The database may have been opened since. Delayed tables that differed are told as such.
    let compared: BTreeSet<&TableName> = output
        .compared()
        .iter()
        .map(|result| &result.table)
        .collect();
    let known = context.differences.iter().flatten();
    let before: Vec<TableName> = known
        .filter(|table| !compared.contains(table))
        .cloned()
        .collect();
    let is_without_tables = context.differences.as_ref().is_some_and(BTreeSet::is_empty);
    let before = match &before[..] {
        [] => (context.is_closed && is_without_tables).then(|| {
            "an earlier look found that another session wrote to it on the target while it was closed".to_owned()
        }),
        tables => Some(format!(
            "an earlier verification found that another session changed these tables on the target: {}",
            list(tables)
        )),
    };
    let Some(changed) = seen.changed.or(beside).or(before) else {
        return Ok(None);
    };
    let message = format!("database {}: {changed}", context.shown_database());
    if context.is_difference_accepted() {
        output.warnings.push(message);
        return Ok(None);
    }
    others::record_difference(context, &seen.tables).await?;
    if let Product::Comparison(compared) = &mut output.product {
        let changed = |result: &&mut TableResult| seen.tables.contains(&result.table);
        for result in compared.tables.iter_mut().filter(changed) {
            result.matches = false;
            result.note = Some(CHANGED.to_owned());
        }
    }
    Ok(Some(message))
}

fn list(tables: &[TableName]) -> String {
    escape_control(&list_of_tables(tables)).into_owned()
}

/// Tables that agree by now, and differed while nobody else could write to them. That stays a difference unless the plan waives it,
/// which is told.
fn once_differed(context: &Context, tables: &mut [TableResult]) -> Option<String> {
    let known = context.differences.as_ref();
    let differed = |result: &&mut TableResult| {
        result.matches && known.is_some_and(|known| known.contains(&result.table))
    };
    let differed: Vec<&mut TableResult> = tables.iter_mut().filter(differed).collect();
    if !context.is_difference_accepted() {
        for result in differed {
            result.matches = false;
            result.note = Some(DIFFERED.to_owned());
        }
        return None;
    }
    let names: Vec<TableName> = differed.iter().map(|result| result.table.clone()).collect();
    (!names.is_empty()).then(|| format!("{}: {DIFFERED}", list(&names)))
}

/// Partitions that are not delayed and share their rows with others that are, each with its rows on the source. They were compared
/// as a whole when those were still empty.
fn beside(context: &Context) -> Result<BTreeMap<TableName, u64>, StepError> {
    let hashed_by_enum = context.hashed_by_enum()?;
    let in_part = context.delayed_in_part()?;
    let roots: BTreeSet<&TableName> = in_part
        .iter()
        .filter_map(|part| hashed_by_enum.get(part))
        .collect();
    let delayed = context.delayed_tables();
    let is_beside = |count: &&TableCount| {
        let root = hashed_by_enum.get(&count.table);
        root.is_some_and(|root| roots.contains(root)) && !delayed.contains(&count.table)
    };
    let counted = context.counts(Side::Source)?.tables.iter();
    let rows = |count: &TableCount| Some((count.table.clone(), count.rows?));
    Ok(counted.filter(is_beside).filter_map(rows).collect())
}

/// A table whose rows break a constraint is no match, however many rows came.
fn with_broken(mut tables: Vec<TableResult>, broken: &[Broken]) -> Vec<TableResult> {
    for result in &mut tables {
        let found = broken.iter().find(|broken| broken.table == result.table);
        if let Some(found) = found {
            result.matches = false;
            result.note = Some(found.message.clone());
        }
    }
    tables
}

/// The materialized views as they are after the last refresh, which computed them from what is there by then. Those that clients
/// dropped or emptied since are theirs.
fn refreshed(views: &[&TableCount], now: &[TableCount]) -> Vec<TableResult> {
    let result = |view: &&TableCount| {
        let now = now.iter().find(|count| count.table == view.table)?;
        let target_rows = Some(now.rows?);
        let is_other = view.rows != target_rows;
        Some(TableResult {
            table: view.table.clone(),
            source_rows: view.rows,
            target_rows,
            matches: true,
            note: is_other.then(|| "refreshed after the delayed load".to_owned()),
        })
    };
    views.iter().filter_map(result).collect()
}

/// The source may not have refreshed a view for long.
fn refreshed_otherwise(view: &TableResult) -> Option<String> {
    let note = view.note.as_ref()?;
    let (source, target) = (view.source_rows?, view.target_rows?);
    Some(format!(
        "{}: {source} rows on the source, {target} on the target ({note})",
        view.table
    ))
}

/// What a report says where the two dumps saw the source at different times.
fn later(context: &Context) -> Result<String, StepError> {
    let snapshot = |kind| -> Result<&str, StepError> {
        Ok(context.input(kind)?.snapshot().unwrap_or_default())
    };
    // Whose contents were changed, and whether as many were removed as were made, no count shows.
    let has_objects = |count: &Counts| count.large_objects.is_some_and(|count| count > 0);
    let of_objects = if has_objects(context.counts(Side::Source)?) {
        ", and so are all large objects: those that were made or changed in between are not there as the delayed tables' rows want them"
    } else {
        ""
    };
    Ok(format!(
        "the delayed tables are those of the later snapshot {}, the others those of snapshot {}{of_objects}",
        snapshot(Kind::DelayedDump)?,
        snapshot(Kind::Dump)?
    ))
}

/// Who may change what was loaded.
enum Whose<'a> {
    Clients,
    /// Nobody, but for a person who was told to change rows of these tables.
    Ours(&'a BTreeSet<TableName>),
}

impl Whose<'_> {
    fn may_be_changed(&self, table: &TableName) -> bool {
        match self {
            Whose::Clients => true,
            Whose::Ours(asked) => asked.contains(table),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Whose::Clients => "clients",
            Whose::Ours(_) => "a person, as the run asked for,",
        }
    }
}

fn compare(
    delayed: &[TableName],
    source: &[TableCount],
    loaded: &[TableCount],
    now: &[TableCount],
    hashed_by_enum: &BTreeMap<TableName, TableName>,
    whose: &Whose<'_>,
    beside: &BTreeMap<TableName, u64>,
) -> Vec<TableResult> {
    // Partitions between which rows move are loaded by way of the partitioned table, and compared as a whole.
    let whole = |table: &TableName| hashed_by_enum.get(table).unwrap_or(table).clone();
    let by_name = |counts: &[TableCount]| -> HashMap<TableName, Option<u64>> {
        let mut sums: HashMap<TableName, Option<u64>> = HashMap::new();
        // A partitioned table has no rows of its own.
        let tables = counts
            .iter()
            .filter(|count| count.kind != RelationKind::PartitionedTable);
        for count in tables {
            let sum = sums.entry(whole(&count.table)).or_insert(Some(0));
            *sum = sum.zip(count.rows).map(|(sum, rows)| sum + rows);
        }
        sums
    };
    // What is not delayed was compared before, and may be a part of the same whole.
    let of_delayed: Vec<TableCount> = source
        .iter()
        .filter(|count| delayed.contains(&count.table))
        .cloned()
        .collect();
    let (source, loaded, now) = (by_name(&of_delayed), by_name(loaded), by_name(now));
    // Rows that have nothing to do with the delayed ones, and may be in their partitions.
    let mut others: HashMap<TableName, u64> = HashMap::new();
    for (part, rows) in beside {
        *others.entry(whole(part)).or_default() += rows;
    }
    let compared: BTreeSet<TableName> = delayed.iter().map(whole).collect();
    compared
        .iter()
        .map(|table| {
            let rows = |counts: &HashMap<TableName, Option<u64>>| counts.get(table).copied()?;
            let others = others.get(table);
            let now_rows = rows(&now).map(|rows| rows.saturating_sub(others.copied().unwrap_or_default()));
            let (source_rows, loaded_rows) = (rows(&source), rows(&loaded));
            let is_as_loaded = now_rows == loaded_rows || whose.may_be_changed(table);
            let matches = source_rows.is_some()
                && source_rows == loaded_rows
                && now_rows.is_some()
                && is_as_loaded;
            let note = match (loaded_rows, now_rows) {
                (None, _) => Some("was not loaded".to_owned()),
                (_, None) => Some("is not on the target".to_owned()),
                (Some(loaded), Some(now)) if !is_as_loaded && source_rows == loaded_rows => Some(format!(
                    "{loaded} rows were loaded, and there are {now}, although no client may connect yet"
                )),
                (Some(loaded), _) if !matches => Some(format!("{loaded} rows were loaded")),
                (Some(loaded), _) if others.is_some() => Some(format!(
                    "{loaded} rows of its delayed partitions were loaded; which partition has a row depends on the server"
                )),
                (Some(loaded), Some(now)) if now > loaded => Some(format!(
                    "{loaded} rows were loaded, {} were added by {}",
                    now - loaded,
                    whose.name()
                )),
                (Some(loaded), Some(now)) if now < loaded => Some(format!(
                    "{loaded} rows were loaded, {} were removed by {} since",
                    loaded - now,
                    whose.name()
                )),
                _ => None,
            };
            TableResult {
                table: table.clone(),
                source_rows,
                target_rows: now_rows,
                matches,
                note,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(rows: Option<u64>) -> Vec<TableCount> {
        rows.map(|rows| TableCount {
            table: TableName::new("public", "t"),
            kind: RelationKind::Table,
            rows: Some(rows),
            extension: None,
        })
        .into_iter()
        .collect()
    }

    fn judged(source: Option<u64>, loaded: Option<u64>, now: Option<u64>) -> (bool, String) {
        judge(source, loaded, now, false)
    }

    fn judge(
        source: Option<u64>,
        loaded: Option<u64>,
        now: Option<u64>,
        is_closed: bool,
    ) -> (bool, String) {
        let delayed = [TableName::new("public", "t")];
        let asked = BTreeSet::new();
        let whose = match is_closed {
            true => Whose::Ours(&asked),
            false => Whose::Clients,
        };
        let mut results = compare(
            &delayed,
            &counts(source),
            &counts(loaded),
            &counts(now),
            &BTreeMap::new(),
            &whose,
            &BTreeMap::new(),
        );
        let result = results.pop().unwrap();
        (result.matches, result.note.unwrap_or_default())
    }

    #[test]
    fn rows_of_clients_are_reported_and_no_difference() {
        assert_eq!(judged(Some(5), Some(5), Some(5)), (true, String::new()));
        let (matches, note) = judged(Some(5), Some(5), Some(8));
        assert!(matches);
        assert_eq!(note, "5 rows were loaded, 3 were added by clients");
        assert!(judged(Some(5), Some(5), Some(4)).0);
    }

    #[test]
    fn where_no_client_may_connect_other_rows_are_a_difference() {
        assert!(judge(Some(5), Some(5), Some(5), true).0);
        assert!(!judge(Some(5), Some(5), Some(8), true).0);
        assert!(!judge(Some(5), Some(5), Some(0), true).0);
    }

    #[test]
    fn views_are_told_with_the_rows_of_their_last_refresh() {
        let view = |name: &str, rows| TableCount {
            table: TableName::new("public", name),
            kind: RelationKind::MaterializedView,
            rows,
            extension: None,
        };
        let before = [
            view("same", Some(7)),
            view("stale", Some(7)),
            view("dropped", Some(7)),
            view("never", None),
        ];
        let now = [
            view("same", Some(7)),
            view("stale", Some(8)),
            view("never", None),
        ];
        let results = refreshed(&before.iter().collect::<Vec<_>>(), &now);
        let rows: Vec<_> = results.iter().map(|result| result.target_rows).collect();
        assert_eq!(rows, [Some(7), Some(8)]);
        let told: Vec<String> = results.iter().filter_map(refreshed_otherwise).collect();
        assert_eq!(
            told,
            [
                "public.stale: 7 rows on the source, 8 on the target (refreshed after the delayed load)"
            ]
        );
    }

    #[test]
    fn what_was_not_loaded_whole_is_a_difference() {
        assert!(!judged(Some(5), Some(4), Some(5)).0);
        assert!(!judged(Some(5), None, Some(5)).0);
        assert!(!judged(None, Some(5), Some(5)).0);
        assert!(!judged(Some(5), Some(5), None).0);
    }
}
