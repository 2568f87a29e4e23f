//! `postgresql.auto.conf`, as the server reads it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::postgres::{Connection, escape_control};
use crate::step::StepError;

/// What `postgresql.auto.conf` holds, by name.
pub(super) type Entries = BTreeMap<String, String>;

/// The entries of the file now, as they are spelled there. Of doubled ones the last counts.
pub(super) async fn entries(connection: &Connection) -> Result<Entries, StepError> {
    let rows = connection
        .query(
            "SELECT lower(name), setting FROM pg_catalog.pg_file_settings \
             WHERE sourcefile ~ '/postgresql[.]auto[.]conf$' AND name IS NOT NULL ORDER BY seqno",
            &[],
        )
        .await
        .map_err(connection.failed("read pg_file_settings"))?;
    Ok(rows
        .iter()
        .map(|row| {
            let setting: Option<String> = row.get(1);
            (row.get(0), setting.unwrap_or_default())
        })
        .collect())
}

/// Fails where the server's configuration files cannot be read to their end: nothing that is changed in
/// them would take effect.
pub(super) async fn refuse_syntax_errors(connection: &Connection) -> Result<(), StepError> {
    let row = connection
        .query_opt(
            "SELECT sourcefile, sourceline, error FROM pg_catalog.pg_file_settings \
             WHERE name IS NULL AND error IS NOT NULL ORDER BY seqno LIMIT 1",
            &[],
        )
        .await
        .map_err(connection.failed("read pg_file_settings"))?;
    let Some(row) = row else { return Ok(()) };
    let file: Option<String> = row.get(0);
    let line: Option<i32> = row.get(1);
    let error: String = row.get(2);
    Err(StepError::new(format!(
        "the {} cannot read its configuration: {} line {}: {}",
        connection.place().endpoint(),
        escape_control(&file.unwrap_or_default()),
        line.unwrap_or(0),
        escape_control(&error),
    ))
    .help("fix the file there, and run again"))
}

/// The error that the configuration files were not loaded, with what the server says about them.
pub(super) async fn not_loaded(connection: &Connection, patience: Duration) -> StepError {
    let rows = connection
        .query(
            "SELECT concat_ws(' ', sourcefile, 'line', sourceline, name || ':', error) \
             FROM pg_catalog.pg_file_settings WHERE error IS NOT NULL ORDER BY seqno LIMIT 5",
            &[],
        )
        .await;
    let mut what = format!(
        "the {} did not load its configuration within {} s",
        connection.place().endpoint(),
        patience.as_secs()
    );
    for row in rows.iter().flatten() {
        what.push_str(&format!("\n  {}", escape_control(row.get(0))));
    }
    StepError::new(what).help("its log says why; SELECT pg_reload_conf() once that is fixed")
}
