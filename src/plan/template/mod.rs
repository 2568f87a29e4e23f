//! Writes a plan: commented, with the values that are known and the defaults as comments.

use std::fmt::{Display, Write};

/// What a written plan shall say, by the names of the reference tool's flags. What is `None` is
/// left at its default, and the plan shows the default in a comment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Template {
    /// The plan's name; by default its file's.
    pub name: Option<String>,
    pub from_host: Option<String>,
    pub from_port: Option<u16>,
    pub from_user: Option<String>,
    pub from_db: Option<String>,
    /// The environment variable with the source's password; default `SOURCE_PASSWORD`.
    pub from_pass_env: Option<String>,
    pub to_host: Option<String>,
    pub to_port: Option<u16>,
    pub to_user: Option<String>,
    pub to_db: Option<String>,
    /// The environment variable with the target's password; default `TARGET_PASSWORD`.
    pub to_pass_env: Option<String>,
    pub max_parallel: Option<u32>,
    pub dump_parallel: Option<u32>,
    pub restore_parallel: Option<u32>,
    pub dump_jobs: Option<u32>,
    pub restore_jobs: Option<u32>,
    pub verify_concurrency: Option<u32>,
    /// Relative to the plan file.
    pub dump_root: Option<String>,
    pub migrate_globals: Option<bool>,
    /// `target.tuning.mode = "off"`.
    pub disable_dst_optimizations: Option<bool>,
    /// `verify.mode = "fast"`.
    pub fast_verify: Option<bool>,
    /// `DATABASE.TABLE` or `DATABASE.SCHEMA.TABLE`.
    pub delay_table_data: Vec<String>,
    /// Names and bytes of the databases on the source, for a comment.
    pub databases: Vec<(String, u64)>,
}

/// Where [`Template::from_pass_env`] is silent.
pub(crate) const SOURCE_PASSWORD: &str = "SOURCE_PASSWORD";
/// Where [`Template::to_pass_env`] is silent.
pub(crate) const TARGET_PASSWORD: &str = "TARGET_PASSWORD";

/// The plan's text.
///
/// It is a valid plan if the values are valid and name two servers. Without any host or port both
/// are `localhost:5432`: such a text is for the user to fill in, and a comment in it says so.
pub(crate) fn render(values: &Template) -> String {
    let mut plan = Writer::default();
    plan.comment("A plan for pg-migrate. What is commented out is the default.");
    plan.comment(
        "`pg-migrate check PLAN` looks at it and at both servers, `pg-migrate plan --dry-run PLAN`",
    );
    plan.comment("shows what would be done, `pg-migrate run PLAN` does it.");
    plan.blank();
    let name = values.name.as_deref();
    plan.key(
        "name",
        name.map(quoted),
        "\"…\"",
        "default: this file's name",
    );

    servers(&mut plan, values);
    databases(&mut plan, values);
    parallelism(&mut plan, values);
    the_rest(&mut plan, values);
    plan.text
}

fn servers(plan: &mut Writer, values: &Template) {
    plan.table("source", "The server that is left; it is only read.");
    let endpoint = |host: &Option<String>, port: Option<u16>| {
        let host = host.as_deref().unwrap_or("localhost").to_lowercase();
        (host, port.unwrap_or(5432))
    };
    if endpoint(&values.from_host, values.from_port) == endpoint(&values.to_host, values.to_port) {
        plan.comment(
            "TO FILL IN: source and target are still the same server. Say which is which.",
        );
    }
    plan.server(
        values.from_host.as_deref(),
        values.from_port,
        values.from_user.as_deref(),
        values.from_db.as_deref(),
        values.from_pass_env.as_deref().unwrap_or(SOURCE_PASSWORD),
    );
    plan.key(
        "read_only",
        None,
        "false",
        "true: no client writes to the source any more",
    );
    plan.key("lock_timeout", None, "\"10s\"", "");

    plan.table("target", "The server that everything goes to.");
    plan.server(
        values.to_host.as_deref(),
        values.to_port,
        values.to_user.as_deref(),
        values.to_db.as_deref(),
        values.to_pass_env.as_deref().unwrap_or(TARGET_PASSWORD),
    );
    plan.table(
        "target.tuning",
        "The target's settings during the load; they come back at the end.",
    );
    plan.comment(
        "fast: a crash of the target's operating system during the load loses the target;",
    );
    plan.comment("safe: only what cannot lose data; off: nothing is changed.");
    let off = values.disable_dst_optimizations == Some(true);
    plan.key("mode", off.then(|| quoted("off")), "\"fast\"", "");
    plan.key(
        "shared_target",
        None,
        "false",
        "true: `fast`, although it serves other databases",
    );
    plan.key(
        "found_unsafe",
        None,
        "\"refuse\"",
        "keep: fsync and the like that are off already stay off",
    );
    plan.key(
        "open_early",
        None,
        "false",
        "true: clients are let in while fsync is off",
    );
}

fn databases(plan: &mut Writer, values: &Template) {
    plan.table("databases", "Globs over database names.");
    plan.key("include", None, "[\"*\"]", "");
    plan.key("exclude", None, "[]", "");
    if !values.databases.is_empty() {
        plan.comment("On the source:");
        for (name, bytes) in &values.databases {
            plan.comment(&format!("  {}, {}", quoted(name), size(*bytes)));
        }
    }
}

fn parallelism(plan: &mut Writer, values: &Template) {
    plan.table("parallelism", "How much happens at a time.");
    let parallel = values.max_parallel.unwrap_or(6).to_string();
    plan.key_unless(
        "max_parallel",
        values.max_parallel,
        6,
        "databases at a time",
    );
    plan.key(
        "dump_parallel",
        values.dump_parallel.map(|n| n.to_string()),
        &parallel,
        "on the source",
    );
    plan.key(
        "restore_parallel",
        values.restore_parallel.map(|n| n.to_string()),
        &parallel,
        "on the target",
    );
    plan.key_unless(
        "dump_jobs",
        values.dump_jobs,
        24,
        "pg_dump --jobs, per database",
    );
    plan.key_unless(
        "restore_jobs",
        values.restore_jobs,
        12,
        "pg_restore --jobs, and CREATE INDEX",
    );
    plan.key_unless(
        "verify_concurrency",
        values.verify_concurrency,
        16,
        "count queries in all",
    );
}

fn the_rest(plan: &mut Writer, values: &Template) {
    plan.table("dump", "Archives; paths are relative to this file.");
    let root = values
        .dump_root
        .as_deref()
        .filter(|root| *root != "pg_dumps");
    plan.key("root", root.map(quoted), "\"pg_dumps\"", "");
    plan.key("compression", None, "\"zstd:5\"", "");
    plan.key(
        "keep",
        None,
        "false",
        "true: leave archives after a verified run",
    );

    plan.table("globals", "Roles, memberships, tablespaces.");
    plan.key_unless("migrate", values.migrate_globals, true, "");

    plan.table(
        "tablespaces",
        "Where what is in them goes: another of the target, or its database's default.",
    );
    plan.comment("  fast = \"default\"");

    plan.table(
        "delay",
        "Huge tables whose rows come last, without secondary indexes in the way.",
    );
    let patterns: Vec<String> = values
        .delay_table_data
        .iter()
        .map(|text| quoted(text))
        .collect();
    let patterns = (!patterns.is_empty()).then(|| format!("[{}]", patterns.join(", ")));
    plan.comment("\"DATABASE.TABLE\" or \"DATABASE.SCHEMA.TABLE\", each part a glob.");
    plan.key("table_data", patterns, "[]", "");
    plan.key(
        "snapshot",
        None,
        "\"same\"",
        "later: a new one for the delayed rows",
    );
    plan.key(
        "concurrently",
        None,
        "false",
        "true: clients write while indexes are built",
    );

    plan.table(
        "verify",
        "How the servers are compared: exact, fast (estimates) or checksum.",
    );
    let fast = values.fast_verify == Some(true);
    plan.key("mode", fast.then(|| quoted("fast")), "\"exact\"", "");

    plan.table("retry", "Errors that go away by themselves.");
    plan.key("attempts", None, "9", "");
    plan.key("backoff", None, "\"1s\"", "");
    plan.key("max_backoff", None, "\"60s\"", "");
    plan.key("restore_settings", None, "\"15m\"", "");

    plan.table("state", "The journal, the report and the logs.");
    plan.key("dir", None, "\".pg-migrate\"", "");

    plan.blank();
    plan.comment(
        "Other values for some databases; `accept` and `waive` name errors of pg_restore and",
    );
    plan.comment("findings of `pg-migrate check` that are expected.");
    for line in [
        "[[override]]",
        "databases = [\"analytics*\"]",
        "dump_jobs = 4",
        "[[accept]]",
        "database = \"erp\"",
        "object = \"FUNCTION legacy.*\"",
        "reason = \"why it may stay behind\"",
        "[[waive]]",
        "code = \"source/with-oids\"",
        "object = \"erp.public.*\"",
        "until = 2027-01-31",
        "reason = \"why it does no harm\"",
    ] {
        plan.comment(&format!("  {line}"));
    }
}

#[derive(Default)]
struct Writer {
    text: String,
}

impl Writer {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn blank(&mut self) {
        self.line("");
    }

    fn comment(&mut self, text: &str) {
        self.line(&format!("# {text}"));
    }

    fn table(&mut self, name: &str, about: &str) {
        self.blank();
        self.comment(about);
        self.line(&format!("[{name}]"));
    }

    /// A key with its value, or its default as a comment. Notes are aligned.
    fn key(&mut self, name: &str, value: Option<String>, default: &str, note: &str) {
        let mut line = match value {
            Some(value) => format!("{name} = {value}"),
            None => format!("# {name} = {default}"),
        };
        if !note.is_empty() {
            let _ = write!(
                line,
                "{:1$} # {note}",
                "",
                32_usize.saturating_sub(line.chars().count())
            );
        }
        self.line(&line);
    }

    /// As `key`, for values that can be the default.
    fn key_unless<T: Display + PartialEq>(
        &mut self,
        name: &str,
        value: Option<T>,
        default: T,
        note: &str,
    ) {
        let other = value.filter(|value| *value != default);
        self.key(
            name,
            other.map(|value| value.to_string()),
            &default.to_string(),
            note,
        );
    }

    fn server(
        &mut self,
        host: Option<&str>,
        port: Option<u16>,
        user: Option<&str>,
        database: Option<&str>,
        password: &str,
    ) {
        let other = |value: Option<&str>, default: &str| {
            value.filter(|value| *value != default).map(quoted)
        };
        self.key("host", other(host, "localhost"), "\"localhost\"", "");
        self.key_unless("port", port, 5432, "");
        self.key("user", other(user, "postgres"), "\"postgres\"", "");
        self.comment("{ env = … }, { file = … } or { command = [ … ] }; without it, ~/.pgpass");
        self.key(
            "password",
            Some(format!("{{ env = {} }}", quoted(password))),
            "",
            "",
        );
        self.key(
            "database",
            other(database, "postgres"),
            "\"postgres\"",
            "where discovery connects",
        );
        self.key(
            "sslmode",
            None,
            "\"prefer\"",
            "verify-full needs sslrootcert",
        );
        self.key("connect_timeout", None, "\"10s\"", "");
        self.key(
            "max_connections",
            None,
            "…",
            "default: what is free; of the source, a quarter at most",
        );
    }
}

/// A TOML string on one line. JSON's escapes are TOML's, but for DEL.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text)
        .to_string()
        .replace('\u{7f}', "\\u007f")
}

/// Bytes for a reader, in PostgreSQL's units.
fn size(bytes: u64) -> String {
    let units = [(40, "TB"), (30, "GB"), (20, "MB")];
    let (shift, unit) = units
        .into_iter()
        .find(|(shift, _)| bytes >= 10 << shift)
        .unwrap_or((10, "kB"));
    format!("{} {unit}", bytes >> shift)
}

#[cfg(test)]
mod tests;
