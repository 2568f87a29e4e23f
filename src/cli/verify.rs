//! `pg-migrate verify`.

use comfy_table::{ContentArrangement, Table, presets};
use tokio_util::sync::CancellationToken;

use super::arguments::VerifyArguments;
use super::failure::Failure;
use super::output::{Terminal, print};
use super::prepare::{Prepared, load, prepare};
use crate::exit::Exit;
use crate::graph::{DatabaseSummary, TableCount};
use crate::inspect::{Rows, count_tables};
use crate::journal;
use crate::plan::{Side, VerifyMode};
use crate::postgres::{Application, Pool, Session, escape_control};
use crate::report::counted;
use crate::verify::{Comparison, compare};

/// Counts both sides now, each under a snapshot of its own, and compares. What clients wrote since the
/// migration shows as a difference.
pub async fn run(arguments: VerifyArguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let plan = load(&arguments.plan)?;
    let state = journal::read(&plan.state_dir)?.unwrap_or_default();
    let prepared = prepare(plan, &state).await?;
    let mut different = 0;
    let mut differing = 0;
    for database in &prepared.graph.databases {
        let source = count(&prepared, Side::Source, database).await?;
        let exists = prepared
            .inspection
            .target
            .database(&database.name)
            .is_some();
        let target = match exists {
            true => count(&prepared, Side::Target, database).await?,
            false => Vec::new(),
        };
        let comparison = compare_all(&prepared, database, source, target);
        let mismatches: Vec<_> = comparison.mismatches().collect();
        let before = different;
        different += mismatches.len();
        let name = escape_control(&database.name);
        print(&match (exists, mismatches.len()) {
            (false, _) => format!("{name}: the target has no such database\n"),
            (true, 0) if comparison.tables.is_empty() => format!("{name}: no tables\n"),
            (true, 0) => format!("{name}: {} compared, no difference\n", tables(&comparison)),
            (true, count) => format!("{name}: {} compared, {count} differ\n", tables(&comparison)),
        })?;
        for warning in &comparison.warnings {
            print(&format!("  {}\n", escape_control(warning)))?;
        }
        if !mismatches.is_empty() {
            let mut table = Table::new();
            table
                .load_style(presets::UTF8_HORIZONTAL_ONLY)
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(terminal.columns() as u16)
                .set_header(["table", "source rows", "target rows", "why"]);
            for result in mismatches {
                let rows = |rows: Option<u64>| rows.map_or("-".to_owned(), |rows| rows.to_string());
                table.add_row([
                    escape_control(&format!("{}.{}", result.schema, result.table)).into_owned(),
                    rows(result.source_rows),
                    rows(result.target_rows),
                    result.note.clone().unwrap_or_default(),
                ]);
            }
            print(&format!("{table}\n"))?;
        } else if !exists {
            different += 1;
        }
        differing += u32::from(different > before);
    }
    print(&format!(
        "{}: {} compared, {differing} differ\n",
        escape_control(&prepared.graph.name),
        counted(prepared.graph.databases.len(), "database"),
    ))?;
    Ok(if different > 0 {
        Exit::Mismatched
    } else {
        Exit::Completed
    })
}

fn tables(comparison: &Comparison) -> String {
    counted(comparison.tables.len(), "table")
}

fn is_delayed(database: &DatabaseSummary, schema: &str, table: &str) -> bool {
    let name = format!("{schema}.{table}");
    database.delayed.binary_search(&name).is_ok()
}

/// A delayed table was counted on both sides, whatever the plan's mode is.
fn compare_all(
    prepared: &Prepared,
    database: &DatabaseSummary,
    source: Vec<TableCount>,
    target: Vec<TableCount>,
) -> Comparison {
    let split = |counts: Vec<TableCount>| -> (Vec<TableCount>, Vec<TableCount>) {
        counts
            .into_iter()
            .partition(|count| is_delayed(database, &count.schema, &count.table))
    };
    let ((source_delayed, source), (target_delayed, target)) = (split(source), split(target));
    let mut comparison = compare(&source, &target, prepared.plan.verify);
    let delayed = compare(&source_delayed, &target_delayed, VerifyMode::Exact);
    comparison.tables.extend(delayed.tables);
    comparison.warnings.extend(delayed.warnings);
    comparison
}

async fn count(
    prepared: &Prepared,
    side: Side,
    database: &DatabaseSummary,
) -> Result<Vec<TableCount>, Failure> {
    let (endpoint, budget) = match side {
        Side::Source => (&prepared.source, prepared.graph.source.budget),
        Side::Target => (&prepared.target, prepared.graph.target.budget),
    };
    let queries = prepared
        .plan
        .parallelism
        .verify_concurrency
        .min(budget)
        .max(1) as usize;
    let application = Application::new(&prepared.plan.name);
    let session = Session::new(&application.doing(&format!("{}/verify", database.name)))
        .lock_timeout(prepared.plan.source_lock_timeout);
    let pool = Pool::new(endpoint, &database.name, &session, queries)
        .map_err(Failure::with(Exit::NotStarted))?;
    let stop = CancellationToken::new();
    let how = |schema: &str, table: &str| {
        let is_delayed = is_delayed(database, schema, table);
        Some(Rows::by(prepared.plan.verify, is_delayed))
    };
    let counts = count_tables(&pool, side, queries, &stop, how, |_, _| {}).await;
    counts.map_err(Failure::with(Exit::NotStarted))
}
