//! What an earlier migration to our source left there half done, by its mark on the source.

use super::damage::marked_damage;
use super::error::Error;
use crate::catalog::{MARK_DATABASE, is_mark};
use crate::mark::{Left, Mark};
use crate::plan::{Endpoint, Plan};
use crate::postgres::{Application, Session, connect};
use crate::step::StepError;

/// What the mark on the source says.
#[derive(Debug, Default)]
pub(crate) struct SourceMark {
    pub left: Left,
    /// What was seen of a crash of its machine while it did not wait for the disk.
    pub damage: Option<String>,
    /// Why it cannot be read.
    pub unreadable: Option<String>,
}

/// Looks at the source's mark, if it has one.
///
/// # Errors
///
/// A source that cannot be reached. A mark that cannot be read is in [`SourceMark::unreadable`].
pub(crate) async fn look_at_source_mark(
    plan: &Plan,
    source: &Endpoint,
) -> Result<SourceMark, Error> {
    let application = Application::new(&plan.name).application_name_for("mark");
    let connection = connect(source, &source.database, &Session::new(&application)).await?;
    let row = connection
        .query_opt(
            "SELECT pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database WHERE datname = $1",
            &[&MARK_DATABASE],
        )
        .await
        .map_err(connection.failed("look for the mark of an earlier migration"))?;
    connection.close().await;
    let comment: Option<String> = row.and_then(|row| row.get(0));
    if !is_mark(MARK_DATABASE, comment.as_deref()) {
        return Ok(SourceMark::default());
    }
    let mark = Mark::to_read(source, &plan.name, None);
    let left = mark.left().await;
    mark.close().await;
    Ok(match left {
        Ok(left) => SourceMark {
            left: left.unwrap_or_default(),
            damage: marked_damage(plan, source, None).await?,
            unreadable: None,
        },
        // With what it came from, on one line.
        Err(error) => SourceMark {
            unreadable: Some(StepError::from(error).into_parts().0),
            ..SourceMark::default()
        },
    })
}
