//! Client programs of PostgreSQL, as the steps run them.

use std::ffi::OsString;

use super::error::printable;
use super::{Context, StepError, exhausted};
use crate::catalog::{Inspection, value};
use crate::plan::password::Password;
use crate::plan::{Endpoint, Side};
use crate::postgres::{Class, Session, application_name, connect, escape_control};
use crate::process::{ChildError, Finished, Invocation, PgEnvironment, Stdout};

/// Settings of a database or a role that would break the session of a client program, and which it does
/// not set itself. What comes with the connection wins over ALTER DATABASE … SET (PostgreSQL manual,
/// 19.1.3).
fn options(context: &Context, side: Side, more: &[(&str, &str)]) -> String {
    // Neither may sessions begin as another role than the plan's.
    let mut options = "-c role=none".to_owned();
    for (name, value) in settings(context, side, more) {
        options.push_str(&format!(" -c {name}={}", option_value(&value)));
    }
    options
}

/// As [`options`], each by itself.
pub(super) fn settings(
    context: &Context,
    side: Side,
    more: &[(&str, &str)],
) -> Vec<(String, String)> {
    let inspection = &context.shared.inspection;
    let (server, read_only) = match side {
        Side::Source => (&inspection.source, Some("on")),
        Side::Target => (
            &inspection.target,
            overrules_read_only(context).then_some("off"),
        ),
    };
    let mut settings = Vec::new();
    let mut set = |name: &str, value: &str| settings.push((name.to_owned(), value.to_owned()));
    if let Some(read_only) = read_only {
        set("default_transaction_read_only", read_only);
    }
    if server.version.major() >= 1400 {
        set("idle_session_timeout", "0");
    }
    if server.sets_language {
        set("lc_messages", "C");
    }
    if server.sets_event_triggers {
        set("event_triggers", "off");
    }
    if side == Side::Target {
        context
            .session_settings()
            .for_each(|(name, value)| set(name, value));
    }
    more.iter().for_each(|(name, value)| set(name, value));
    settings
}

/// Whether sessions on the target may write although a setting says otherwise: that of the database or of our role. The
/// server's own is not overruled unasked, also where it is set while we are at work.
fn overrules_read_only(context: &Context) -> bool {
    if context.plan().target.override_read_only {
        return true;
    }
    let Inspection { source, target, .. } = &context.shared.inspection;
    let name = context.step().id.database_name();
    let of_databases = name.into_iter().flat_map(|name| {
        let found = [source.database(name), target.database(name)];
        found
            .into_iter()
            .flatten()
            .flat_map(|database| &database.settings)
    });
    let of_roles = target.role_settings.iter();
    of_roles.chain(of_databases).any(|setting| {
        let is_ours = setting
            .role
            .as_ref()
            .is_none_or(|role| *role == target.user);
        is_ours
            && setting.name == "default_transaction_read_only"
            && value::boolean(&setting.value) == Some(true)
    })
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
///
/// # Errors
///
/// A server that refuses the password, and whatever it is asked for again.
pub(super) async fn invocation<A: Clone + Into<OsString>>(
    context: &Context,
    side: Side,
    command: &[A],
    settings: &[(&str, &str)],
) -> Result<Invocation, StepError> {
    refresh_password(context, side).await?;
    let (program, arguments) = command
        .split_first()
        .expect("a step that runs a program has its command in the graph");
    let environment = environment(context, context.endpoint(side));
    Ok(Invocation::new(program.clone())
        .arguments(arguments.iter().cloned())
        .environment(environment.options(&options(context, side, settings)))
        .log(context.log_file()))
}

/// What a program of the step finds in its environment that connects to this endpoint.
pub(super) fn environment(context: &Context, endpoint: &Endpoint) -> PgEnvironment {
    PgEnvironment::new(endpoint, &application_name(&context.application()))
}

/// A program cannot ask for its password again, and the one that is known may be hours old: a connection of our own finds
/// out, and asks. It takes the place of one of the program's, which come after it.
async fn refresh_password(context: &Context, side: Side) -> Result<(), StepError> {
    let endpoint = context.endpoint(side);
    if !asks_again(endpoint) {
        return Ok(());
    }
    let session = Session::new(&context.application()).like_a_client();
    let connection = connect(endpoint, &endpoint.database, &session).await?;
    connection.close().await;
    Ok(())
}

fn asks_again(endpoint: &Endpoint) -> bool {
    let password = endpoint.password.as_ref();
    password.is_some_and(Password::can_be_asked_again)
}

/// Runs it to its end, keeping what it prints to standard output, and its warnings.
pub(super) async fn capture(
    context: &Context,
    invocation: Invocation,
    limit: usize,
) -> Result<(Finished, Vec<String>), StepError> {
    let mut warnings = ProgramWarnings::default();
    let finished = invocation
        .stdout(Stdout::Capture { limit })
        .run(&context.stop, |line| warnings.push_line(line))
        .await
        .and_then(Finished::success);
    let finished = finished.map_err(|error| failure(context, error))?;
    Ok((finished, warnings.into_lines(context)))
}

/// Warnings that a report lists of one program; the log has all.
const MOST_WARNINGS: usize = 200;

/// What a client program warns of: often the only word about something that it leaves out.
#[derive(Default)]
pub(super) struct ProgramWarnings {
    lines: Vec<String>,
    more: usize,
    /// The last line was a warning or belonged to one, so details and hints do too.
    under_way: bool,
}

impl ProgramWarnings {
    /// `pg_dump: warning: …`, and the details and hints after it; `WARNING:  …`, with or without the program's name, is the
    /// server's.
    pub(super) fn push_line(&mut self, line: &str) {
        let kind = line.split_once(": ").and_then(|(program, rest)| {
            if program == "WARNING" {
                return Some("warning");
            }
            let (kind, _) = rest.split_once(": ")?;
            program.starts_with("pg_").then_some(match kind {
                "WARNING" => "warning",
                kind => kind,
            })
        });
        self.under_way = match kind {
            Some("warning") => true,
            Some("detail" | "hint") => self.under_way,
            _ => false,
        };
        if !self.under_way {
            return;
        }
        if kind == Some("warning") {
            if self.lines.len() < MOST_WARNINGS {
                self.lines.push(line.to_owned());
            } else {
                self.more += 1;
            }
        } else if self.more == 0
            && let Some(last) = self.lines.last_mut()
        {
            last.push_str("; ");
            last.push_str(line);
        }
    }

    pub(super) fn into_lines(self, context: &Context) -> Vec<String> {
        let mut lines: Vec<String> = self.lines.iter().map(|line| printable(line)).collect();
        if self.more > 0 {
            lines.push(format!(
                "and {} more warnings, in {}",
                self.more,
                context.log_file().display()
            ));
        }
        lines
    }
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
    // It may have run out since, and the next attempt asks for it again.
    let is_run_out = error.is_login_refused()
        && (asks_again(&context.shared.source) || asks_again(&context.shared.target));
    let class = if is_run_out {
        Class::Retry
    } else {
        error.class()
    };
    let mut failure = StepError::caused_by(&error, class);
    if let Some(cause) = exhausted::cause(context, error.last_words()) {
        failure = failure.place(&format!("{}: ", cause.what)).help(cause.help);
    }
    let mut failure = failure.place(&database).help(format!(
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
    fn warnings_are_told_from_progress_with_their_details() {
        let mut warnings = ProgramWarnings::default();
        for line in [
            "pg_dump: reading extensions",
            "pg_dump: warning: circular foreign keys:",
            "pg_dump: detail: a",
            "pg_dump: hint: b",
            "pg_dump: last built-in OID is 16383",
            "pg_dump: detail: of something else",
            "pg_dumpall: warning: orphaned pg_auth_members entry",
            "pg_dump: WARNING:  of the server",
            "WARNING:  of the server as well",
            "a: warning: of another program",
        ] {
            warnings.push_line(line);
        }
        assert_eq!(
            warnings.lines,
            [
                "pg_dump: warning: circular foreign keys:; pg_dump: detail: a; pg_dump: hint: b",
                "pg_dumpall: warning: orphaned pg_auth_members entry",
                "pg_dump: WARNING:  of the server",
                "WARNING:  of the server as well",
            ]
        );
    }

    #[test]
    fn blanks_in_values_do_not_separate() {
        assert_eq!(option_value("2 GB"), r"2\ GB");
        assert_eq!(option_value(r"a\b"), r"a\\b");
        assert_eq!(option_value("0.9"), "0.9");
    }
}
