//! What a run finds beside its steps: on record, in the log, and told to who watches.

use crate::event::Event;
use crate::journal::{self, Entry, Journal};
use crate::step::Shared;

/// Warns of something that is about a database, or about the whole server.
///
/// # Errors
///
/// A journal that cannot be written.
pub(super) fn warn(
    shared: &Shared,
    journal: &mut Journal,
    database: Option<String>,
    message: String,
) -> Result<(), journal::Error> {
    tracing::warn!(database, "{message}");
    journal.append(Entry::Warning {
        database: database.clone(),
        message: message.clone(),
    })?;
    // Without a receiver the run goes on.
    let _ = shared.events.send(Event::Warning { database, message });
    Ok(())
}
