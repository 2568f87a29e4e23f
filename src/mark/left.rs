//! What the mark says of plans that did not come to their end.

use super::error::Error;
use crate::postgres::Connection;

/// What plans did not bring to an end, by the mark.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Left {
    pub databases: Vec<LeftDatabase>,
    /// Settings of the server that are still those for the load.
    pub settings: Vec<String>,
}

/// A database that a plan did not bring to an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeftDatabase {
    pub plan: String,
    pub name: String,
    /// `None`: it was about to be made.
    pub oid: Option<u32>,
    pub lacks: Lacks,
}

/// What a database lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lacks {
    /// Anything may be missing.
    Verification,
    /// It is whole, but for its owner, privileges and settings.
    Opening,
    /// Rows of the delayed tables, or their indexes.
    DelayedTables,
}

/// What plans of any name did not bring to an end.
pub(super) async fn read(connection: &Connection) -> Result<Left, Error> {
    let databases = connection
        .query(
            "SELECT s.plan, d.name, d.oid, \
                    CASE WHEN d.verified IS NULL THEN 'v' WHEN d.handed_over IS NULL THEN 'o' ELSE 'd' END \
             FROM mark.database d JOIN mark.state s ON s.id = d.state \
             WHERE d.verified IS NULL OR d.handed_over IS NULL OR d.delayed ORDER BY 2, 1",
            &[],
        )
        .await
        .map_err(connection.failed("read the mark"))?;
    let settings = connection
        .query("SELECT DISTINCT name FROM mark.setting ORDER BY 1", &[])
        .await
        .map_err(connection.failed("read the mark"))?;
    let databases = databases.iter().map(|row| LeftDatabase {
        plan: row.get(0),
        name: row.get(1),
        oid: row.get(2),
        lacks: match row.get(3) {
            "v" => Lacks::Verification,
            "o" => Lacks::Opening,
            _ => Lacks::DelayedTables,
        },
    });
    Ok(Left {
        databases: databases.collect(),
        settings: settings.iter().map(|row| row.get(0)).collect(),
    })
}
