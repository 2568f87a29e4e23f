//! Client programs of PostgreSQL, as the steps run them.

use std::ffi::OsString;

use super::{Context, StepError};
use crate::plan::Side;
use crate::postgres::{application_name, escape_control};
use crate::process::{ChildError, Finished, Invocation, PgEnvironment, Stdout};

/// Settings of a database or a role that would break the session of a client program, and which it does
/// not set itself. What comes with the connection wins over ALTER DATABASE … SET (PostgreSQL manual,
/// 19.1.3).
fn options(context: &Context, side: Side, more: &[(&str, &str)]) -> String {
    let inspection = &context.shared.inspection;
    let (server, read_only) = match side {
        Side::Source => (&inspection.source, "on"),
        Side::Target => (&inspection.target, "off"),
    };
    let mut options = format!("-c default_transaction_read_only={read_only}");
    if server.version.major() >= 1400 {
        options.push_str(" -c idle_session_timeout=0");
    }
    if server.sets_language {
        options.push_str(" -c lc_messages=C");
    }
    let mut set = |name: &str, value: &str| {
        options.push_str(&format!(" -c {name}={}", option_value(value)));
    };
    if server.sets_event_triggers {
        set("event_triggers", "off");
    }
    if side == Side::Target {
        context
            .session_settings()
            .for_each(|(name, value)| set(name, value));
    }
    more.iter().for_each(|(name, value)| set(name, value));
    options
}

/// A value in `PGOPTIONS`, where blanks separate (PostgreSQL manual, 32.1.2, `options`).
fn option_value(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        if c == '\\' || c.is_whitespace() {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// A command of the step, ready to run against one of the servers. Its sessions have these settings too.
pub(super) fn invocation<A: Clone + Into<OsString>>(
    context: &Context,
    side: Side,
    command: &[A],
    settings: &[(&str, &str)],
) -> Invocation {
    let (program, arguments) = command
        .split_first()
        .expect("a step that runs a program has its command in the graph");
    let environment = PgEnvironment::new(
        context.endpoint(side),
        &application_name(&context.application()),
    )
    .options(&options(context, side, settings));
    Invocation::new(program.clone())
        .arguments(arguments.iter().cloned())
        .environment(environment)
        .log(context.log_file())
}

/// Runs it to its end, keeping what it prints to standard output.
pub(super) async fn capture(
    context: &Context,
    invocation: Invocation,
    limit: usize,
) -> Result<Finished, StepError> {
    let finished = invocation
        .stdout(Stdout::Capture { limit })
        .run(&context.stop, |_| {})
        .await
        .and_then(Finished::success);
    finished.map_err(|error| failure(context, error))
}

/// A child's failure as the step's: worth another attempt where the connection was lost.
pub(super) fn failure(context: &Context, error: ChildError) -> StepError {
    if matches!(error, ChildError::Interrupted { .. }) {
        return StepError::interrupted();
    }
    let database = match context.step().id.database_name() {
        Some(database) => format!("database \"{}\": ", escape_control(database)),
        None => String::new(),
    };
    let mut failure = StepError::caused_by(&error, error.class())
        .place(&database)
        .help(format!(
            "the whole of its messages is in {}",
            context.log_file().display()
        ));
    failure.lock_refused = error.is_lock_refused();
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_in_values_do_not_separate() {
        assert_eq!(option_value("2 GB"), r"2\ GB");
        assert_eq!(option_value(r"a\b"), r"a\\b");
        assert_eq!(option_value("0.9"), "0.9");
    }
}
