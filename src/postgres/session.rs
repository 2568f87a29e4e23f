//! How our sessions behave, whatever settings the database or the role has.

use std::fmt::Write as _;
use std::time::Duration;

use tokio_postgres::Client;

use super::application::application_name;
use super::identifier::quote_literal;
use super::notices::Notices;
use crate::catalog::Version;
use crate::names::quote_identifier;
use crate::plan::Side;

/// Settings by which text becomes a value in another way than pg_dump meant it. A database or a role may have others.
/// pg_restore sets the rest itself: `client_encoding`, `standard_conforming_strings`, `xmloption`. Dates and intervals as pg_dump
/// writes them mean the same under every `DateStyle` and `IntervalStyle`, by which the database's own functions compute.
pub(crate) const VALUES_FROM_TEXT: [(&str, &str); 2] = [NULLS, ("lc_monetary", "C")];

/// Of constants in definitions too.
const NULLS: (&str, &str) = ("array_nulls", "on");

/// Comes before whatever names a function or an operator: by the database's own setting, its owner's might be meant, and would run with
/// our rights.
const OWN_NAMES_ONLY: &str = "SET search_path = 'pg_catalog';\n";

/// Says that transactions write nothing, unless they say otherwise.
const READ_ONLY: &str = "default_transaction_read_only";

/// That of a database or a role is the application's, and comes along with the data. That of the server itself is its owner's
/// protection, or the provider's where the disk is almost full: it stays, also where it is set while we are at work.
const OVERRULE_OWN_READ_ONLY: &str = "SELECT pg_catalog.set_config(name, 'off', false) FROM pg_catalog.pg_settings \
     WHERE name OPERATOR(pg_catalog.=) 'default_transaction_read_only' \
     AND source OPERATOR(pg_catalog.=) ANY ('{database, user, database user}');\n";

/// What a connection presents itself as, and what it is for.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    application: String,
    lock_timeout: Duration,
    snapshot: Option<String>,
    settings: Vec<(String, String)>,
    purpose: Purpose,
    notices: Option<Notices>,
}

/// What a session's rows and texts are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// The same value is the same text on either server.
    Comparison,
    /// Text becomes the values that pg_dump wrote; checks compute by the database's settings.
    Load,
    /// Rows are computed by the database's settings.
    Refresh,
    /// Index entries are.
    Build,
    /// Nothing is set.
    Client,
}

impl Session {
    /// A session that calls itself `application` (see [`application_name`]) and waits for locks as
    /// long as it takes.
    pub(crate) fn new(application: &str) -> Self {
        Session {
            application: application_name(application),
            lock_timeout: Duration::ZERO,
            snapshot: None,
            settings: Vec::new(),
            purpose: Purpose::Comparison,
            notices: None,
        }
    }

    /// A session that loads rows: checks, defaults and generated columns compute by the database's own settings.
    pub(crate) fn for_load(mut self) -> Self {
        self.purpose = Purpose::Load;
        self
    }

    /// A session that computes rows, all by the database's own settings.
    pub(crate) fn for_refresh(mut self) -> Self {
        self.purpose = Purpose::Refresh;
        self
    }

    /// A session that builds indexes, whose entries are computed by the database's own settings.
    pub(crate) fn for_build(mut self) -> Self {
        self.purpose = Purpose::Build;
        self
    }

    /// A session that sets nothing, as a client's.
    pub(crate) fn like_a_client(mut self) -> Self {
        self.purpose = Purpose::Client;
        self
    }

    /// Gives up waiting for a lock after this long, in whole milliseconds; zero: never.
    pub(crate) fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// Sees what the exported snapshot of this id sees: the session is in a read-only transaction
    /// from its start to its end (see [`super::Snapshot`]).
    pub(crate) fn under_snapshot(mut self, id: &str) -> Self {
        self.snapshot = Some(id.to_owned());
        self
    }

    /// Sees what is there.
    pub(super) fn without_snapshot(mut self) -> Self {
        self.snapshot = None;
        self
    }

    /// Sets these parameters as well; those that every session sets cannot be overridden by them.
    pub(crate) fn settings<'a>(
        mut self,
        settings: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        self.settings = settings
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        self
    }

    /// Keeps the server's warnings there.
    pub(crate) fn keep_warnings(mut self, notices: &Notices) -> Self {
        self.notices = Some(notices.clone());
        self
    }

    pub(super) fn warnings_to(&self) -> Option<&Notices> {
        self.notices.as_ref()
    }

    /// The `application_name` of the session.
    pub(crate) fn application(&self) -> &str {
        &self.application
    }

    pub(super) fn snapshot(&self) -> Option<&str> {
        self.snapshot.as_deref()
    }

    /// The statements that come first. They override ALTER DATABASE … SET and ALTER ROLE … SET
    /// (PostgreSQL manual, 19.1.3), which an application may have made for itself. `override_read_only`: on the target, also
    /// what the server's own configuration says of writing.
    pub(super) fn setup(&self, side: Side, version: Version, override_read_only: bool) -> String {
        if self.purpose == Purpose::Client {
            return String::new();
        }
        let lock_timeout = format!("{}ms", self.lock_timeout.as_millis());
        let mut settings = vec![
            ("statement_timeout", "0"),
            ("lock_timeout", lock_timeout.as_str()),
            // Again, after the settings that are given. What the server prints has qualified names.
            ("search_path", "pg_catalog"),
            ("default_transaction_isolation", "read committed"),
            ("default_transaction_deferrable", "off"),
            ("quote_all_identifiers", "off"),
            ("standard_conforming_strings", "on"),
        ];
        // We never have a reason to change the source.
        if side == Side::Source {
            settings.push((READ_ONLY, "on"));
        } else if override_read_only {
            settings.push((READ_ONLY, "off"));
        }
        if self.purpose != Purpose::Refresh {
            // Rows that the role may not see are an error, not a smaller count. The owner of a materialized view may see less.
            settings.push(("row_security", "off"));
        }
        match self.purpose {
            Purpose::Comparison => settings.extend([
                ("DateStyle", "ISO, MDY"),
                ("IntervalStyle", "postgres"),
                ("TimeZone", "UTC"),
                ("bytea_output", "hex"),
                ("extra_float_digits", "3"),
                // The planner would compute with the tables' CHECK constraints, and call their functions.
                ("constraint_exclusion", "off"),
            ]),
            Purpose::Load => settings.extend(VALUES_FROM_TEXT),
            Purpose::Build => settings.push(NULLS),
            Purpose::Refresh | Purpose::Client => {}
        }
        let since = [
            (90_600, "idle_in_transaction_session_timeout"),
            (140_000, "idle_session_timeout"),
            (170_000, "transaction_timeout"),
        ];
        for (first, name) in since {
            if version >= Version(first) {
                settings.push((name, "0"));
            }
        }
        // The plan's role, whatever role its sessions begin as there: it may read or own nothing.
        let mut statements = format!("{OWN_NAMES_ONLY}SET role = 'none';\n");
        if side == Side::Target && !override_read_only {
            statements.push_str(OVERRULE_OWN_READ_ONLY);
        }
        // Ours come after them, and win.
        for (name, value) in &self.settings {
            let _ = writeln!(
                statements,
                "SET {} = {};",
                quote_identifier(name),
                quote_literal(value)
            );
        }
        for (name, value) in settings {
            let _ = writeln!(statements, "SET {name} = {};", quote_literal(value));
        }
        if self.purpose == Purpose::Comparison && version >= Version(120_000) {
            statements.push_str(TABLES_ALONE);
        }
        statements
    }
}

/// Between our look at a table and our query, its owner may put a view of the table's name there, whose functions would run with our
/// rights (CVE-2024-7348). What loads, builds and refreshes needs views. The minor versions before those of August 2024 do not know the
/// parameter.
const TABLES_ALONE: &str = "SELECT pg_catalog.set_config(name, 'view, foreign-table', false) \
    FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) 'restrict_nonsystem_relation_kind';\n";

/// Begins a read-only transaction that sees what the exported snapshot of this id sees, in a session with the same
/// database. When the snapshot is gone it fails, with SQLSTATE 22023 on older servers and 42704 on newer ones.
pub(super) async fn adopt_snapshot(client: &Client, id: &str) -> Result<(), tokio_postgres::Error> {
    client
        .batch_execute(&format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}",
            quote_literal(id)
        ))
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_gets_the_settings_that_it_has() {
        let session = Session::new("pg-migrate/p/d/dump").lock_timeout(Duration::from_secs(10));
        insta::assert_snapshot!(session.setup(Side::Source, Version(90_524), false), @r"
        SET search_path = 'pg_catalog';
        SET role = 'none';
        SET statement_timeout = '0';
        SET lock_timeout = '10000ms';
        SET search_path = 'pg_catalog';
        SET default_transaction_isolation = 'read committed';
        SET default_transaction_deferrable = 'off';
        SET quote_all_identifiers = 'off';
        SET standard_conforming_strings = 'on';
        SET default_transaction_read_only = 'on';
        SET row_security = 'off';
        SET DateStyle = 'ISO, MDY';
        SET IntervalStyle = 'postgres';
        SET TimeZone = 'UTC';
        SET bytea_output = 'hex';
        SET extra_float_digits = '3';
        SET constraint_exclusion = 'off';
        ");
        let timeouts = |version| {
            let setup = session.setup(Side::Target, Version(version), true);
            assert!(setup.contains("SET default_transaction_read_only = 'off'"));
            [
                setup.contains("idle_in_transaction_session_timeout"),
                setup.contains("idle_session_timeout"),
                setup.contains("transaction_timeout"),
            ]
        };
        assert_eq!(timeouts(90_600), [true, false, false]);
        assert_eq!(timeouts(140_000), [true, true, false]);
        assert_eq!(timeouts(180_006), [true, true, true]);
    }

    #[test]
    fn more_settings_come_first_so_that_ours_win() {
        let settings = [("maintenance_work_mem", "2GB"), ("row_security", "on")];
        let session = Session::new("x").settings(settings.into_iter());
        let setup = session.setup(Side::Target, Version(180_006), true);
        assert!(setup.starts_with(
            "SET search_path = 'pg_catalog';\nSET role = 'none';\nSET \"maintenance_work_mem\" = '2GB';\nSET \"row_security\" = 'on';\nSET statement_timeout"
        ));
        assert!(setup.contains("SET row_security = 'off'"));
    }

    /// The database's own would come first otherwise, and its owner may have put an operator there.
    #[test]
    fn nothing_comes_before_the_search_path() {
        let session = || Session::new("x");
        for session in [
            session(),
            session().for_load(),
            session().for_refresh(),
            session().settings([("search_path", "app")].into_iter()),
        ] {
            for side in [Side::Source, Side::Target] {
                for (version, override_read_only) in [(90_524, true), (180_006, false)] {
                    let setup = session.setup(side, Version(version), override_read_only);
                    assert!(setup.starts_with(OWN_NAMES_ONLY), "{setup}");
                    let last = setup.rfind("search_path").map(|at| &setup[at..]);
                    let is_ours = |rest: &str| rest.starts_with("search_path = 'pg_catalog';");
                    assert!(last.is_some_and(is_ours), "{setup}");
                }
            }
        }
        let setup = session()
            .like_a_client()
            .setup(Side::Target, Version(180_006), false);
        assert_eq!(setup, "");
    }

    #[test]
    fn what_the_server_itself_says_of_writing_is_not_overruled_unasked() {
        let setup = Session::new("x").setup(Side::Target, Version(180_006), false);
        assert!(setup.contains(OVERRULE_OWN_READ_ONLY), "{setup}");
        assert!(
            !setup.contains("SET default_transaction_read_only"),
            "{setup}"
        );
    }
}
