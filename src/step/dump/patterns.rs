//! The command line in the encoding that pg_dump speaks.
//!
//! pg_dump sends the patterns of its command line to the server as they are, and the server takes them to be in the
//! session's encoding, which is the database's own (`--encoding`): a name in UTF-8 would be another name.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::plan::Side;
use crate::postgres::connect;
use crate::step::{Context, StepError};

/// Arguments whose values are names of tables.
const WITH_NAMES: [&str; 2] = ["--table=", "--exclude-table-data="];

/// The command with the names of tables in the database's encoding.
pub(super) async fn encoded(
    context: &Context,
    command: &[String],
) -> Result<Vec<OsString>, StepError> {
    let encoding = context.database()?.encoding.as_str();
    let has_another_form = |argument: &&String| {
        !argument.is_ascii() && WITH_NAMES.iter().any(|name| argument.starts_with(name))
    };
    let names: Vec<&String> = command.iter().filter(has_another_form).collect();
    if encoding == "UTF8" || names.is_empty() {
        return Ok(command.iter().map(OsString::from).collect());
    }
    let mut encoded = convert(context, &names, encoding).await?.into_iter();
    let arguments = command.iter().map(|argument| {
        let other_form = has_another_form(&argument).then(|| encoded.next());
        other_form.flatten().unwrap_or_else(|| argument.into())
    });
    Ok(arguments.collect())
}

/// The server knows all of its encodings.
async fn convert(
    context: &Context,
    texts: &[&String],
    encoding: &str,
) -> Result<Vec<OsString>, StepError> {
    let source = context.endpoint(Side::Source);
    let session = context.session(Side::Source);
    let connection = connect(source, context.database_name(), &session).await?;
    let rows = connection
        .query(
            "SELECT pg_catalog.convert_to(t.text, $2) FROM unnest($1::text[]) WITH ORDINALITY t (text, position) \
             ORDER BY t.position",
            &[&texts, &encoding],
        )
        .await
        .map_err(connection.failed(format!("convert names of tables to {encoding}")))?;
    connection.close().await;
    Ok(rows
        .iter()
        .map(|row| OsString::from_vec(row.get(0)))
        .collect())
}
