//! What a written plan says is what it was made from.

use std::path::Path;

use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::plan::{self, PasswordSource, Plan, TuningMode, Value, VerifyMode};

fn parsed(text: &str) -> Plan {
    match plan::parse(text, Path::new("plans/test.toml")) {
        Ok(plan) => plan,
        Err(error) => panic!("{:?}\n{text}", miette::Report::new(error)),
    }
}

#[test]
fn a_written_plan_is_commented() {
    let values = Template {
        from_host: Some("old-db".to_owned()),
        to_host: Some("new-db".to_owned()),
        to_port: Some(5433),
        to_pass_env: Some("NEW_PW".to_owned()),
        dump_parallel: Some(3),
        delay_table_data: vec!["analytics.events".to_owned(), "warehouse.fact_*".to_owned()],
        databases: vec![
            ("crm".to_owned(), 8 << 20),
            ("Weird \"Name\"\n".to_owned(), 1 << 40),
        ],
        ..Template::default()
    };
    let text = render(&values);
    parsed(&text);
    insta::assert_snapshot!(text, @r#"
    # A plan for pg-migrate. What is commented out is the default.
    # `pg-migrate check PLAN` looks at it and at both servers, `pg-migrate plan --dry-run PLAN`
    # shows what would be done, `pg-migrate run PLAN` does it.

    # name = "…"                     # default: this file's name

    # The server that is left; it is only read.
    [source]
    host = "old-db"
    # port = 5432
    # user = "postgres"
    # { env = … }, { file = … } or { command = [ … ] }; without it, ~/.pgpass
    password = { env = "SOURCE_PASSWORD" }
    # database = "postgres"          # where discovery connects
    # sslmode = "prefer"             # verify-full needs sslrootcert
    # connect_timeout = "10s"
    # max_connections = …            # default: what is free; of the source, a quarter at most
    # read_only = false              # true: no client writes to the source any more
    # lock_timeout = "10s"

    # The server that everything goes to.
    [target]
    host = "new-db"
    port = 5433
    # user = "postgres"
    # { env = … }, { file = … } or { command = [ … ] }; without it, ~/.pgpass
    password = { env = "NEW_PW" }
    # database = "postgres"          # where discovery connects
    # sslmode = "prefer"             # verify-full needs sslrootcert
    # connect_timeout = "10s"
    # max_connections = …            # default: what is free; of the source, a quarter at most

    # The target's settings during the load; they come back at the end.
    [target.tuning]
    # fast: a crash of the target's operating system during the load loses the target;
    # safe: only what cannot lose data; off: nothing is changed.
    # mode = "fast"
    # shared_target = false          # true: `fast`, although it serves other databases
    # found_unsafe = "refuse"        # keep: fsync and the like that are off already stay off
    # open_early = false             # true: clients are let in while fsync is off

    # Globs over database names.
    [databases]
    # include = ["*"]
    # exclude = []
    # On the source:
    #   "crm", 8192 kB
    #   "Weird \"Name\"\n", 1024 GB

    # How much happens at a time.
    [parallelism]
    # max_parallel = 6               # databases at a time
    dump_parallel = 3                # on the source
    # restore_parallel = 6           # on the target
    # dump_jobs = 24                 # pg_dump --jobs, per database
    # restore_jobs = 12              # pg_restore --jobs, and CREATE INDEX
    # verify_concurrency = 16        # count queries in all

    # Archives; paths are relative to this file.
    [dump]
    # root = "pg_dumps"
    # compression = "zstd:5"
    # keep = false                   # true: leave archives after a verified run

    # Roles, memberships, tablespaces.
    [globals]
    # migrate = true

    # Where what is in them goes: another of the target, or its database's default.
    [tablespaces]
    #   fast = "default"

    # Huge tables whose rows come last, without secondary indexes in the way.
    [delay]
    # "DATABASE.TABLE" or "DATABASE.SCHEMA.TABLE", each part a glob.
    table_data = ["analytics.events", "warehouse.fact_*"]
    # snapshot = "same"              # later: a new one for the delayed rows
    # concurrently = false           # true: clients write while indexes are built

    # How the servers are compared: exact, fast (estimates) or checksum.
    [verify]
    # mode = "exact"

    # Errors that go away by themselves.
    [retry]
    # attempts = 9
    # backoff = "1s"
    # max_backoff = "60s"
    # restore_settings = "15m"

    # The journal, the report and the logs.
    [state]
    # dir = ".pg-migrate"

    # Other values for some databases; `accept` and `waive` name errors of pg_restore and
    # findings of `pg-migrate check` that are expected.
    #   [[override]]
    #   databases = ["analytics*"]
    #   dump_jobs = 4
    #   [[accept]]
    #   database = "erp"
    #   object = "FUNCTION legacy.*"
    #   reason = "why it may stay behind"
    #   [[waive]]
    #   code = "source/with-oids"
    #   object = "erp.public.*"
    #   until = 2027-01-31
    #   reason = "why it does no harm"
    "#);
}

/// Every default in a comment is the default: with all comments taken off, the plan is the same.
#[test]
fn the_defaults_in_comments_are_the_defaults() {
    let values = Template {
        from_host: Some("old-db".to_owned()),
        to_host: Some("new-db".to_owned()),
        max_parallel: Some(3),
        ..Template::default()
    };
    let text = render(&values);
    let uncommented: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(key) if key.contains(" = ") && !key.contains('…') && !key.starts_with(' ') => {
                format!("{key}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    assert_ne!(text, uncommented);
    let (mut plan, mut all) = (parsed(&text), parsed(&uncommented));
    for plan in [&mut plan, &mut all] {
        plan.keys.clear();
        // What a default means and what was written differ in these alone.
        plan.dump.compression_is_explicit = false;
        for server in [&mut plan.source, &mut plan.target] {
            let default = |text: &str| Some(Value::Literal(text.to_owned()));
            server.port = server.port.clone().or(Some(Value::Literal(5432)));
            server.user = server.user.clone().or(default("postgres"));
            server.database = server.database.clone().or(default("postgres"));
            server.sslmode = Some(server.sslmode.unwrap_or_default());
        }
    }
    assert_eq!(format!("{plan:?}"), format!("{all:?}"));
}

#[test]
fn a_template_without_servers_says_what_is_missing() {
    let text = render(&Template::default());
    assert!(text.contains("TO FILL IN"));
    assert!(plan::parse(&text, Path::new("test.toml")).is_err());
}

fn host() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9.-]{0,20}|/run/[ -~é]{0,10}|::1"
}

/// Any text with something in it: names of roles and databases.
fn name() -> impl Strategy<Value = String> {
    any::<String>().prop_filter("blank", |text| !text.trim().is_empty())
}

/// Host, port, user, database, and the variable with the password.
type Endpoint = (
    Option<String>,
    Option<u16>,
    Option<String>,
    Option<String>,
    Option<String>,
);

fn server() -> impl Strategy<Value = Endpoint> {
    (
        option::of(host()),
        option::of(1..=u16::MAX),
        option::of(name()),
        option::of(name()),
        option::of("[A-Z_][A-Z0-9_]{0,10}"),
    )
}

prop_compose! {
    fn template()(
        name in option::of("[a-zé0-9][a-z0-9 ._-]{0,20}[a-z0-9]"),
        (from_host, from_port, from_user, from_db, from_pass_env) in server(),
        (to_host, to_port, to_user, to_db, to_pass_env) in server(),
        (max_parallel, dump_parallel, restore_parallel) in
            (option::of(1..100u32), option::of(1..100u32), option::of(1..100u32)),
        (dump_jobs, restore_jobs, verify_concurrency) in
            (option::of(1..100u32), option::of(1..100u32), option::of(1..100u32)),
        // `.pg-migrate` is the state's directory.
        dump_root in option::of("[a-z/][ -~]{0,20}"),
        migrate_globals in any::<Option<bool>>(),
        disable_dst_optimizations in any::<Option<bool>>(),
        fast_verify in any::<Option<bool>>(),
        delay_table_data in prop::collection::hash_set("[a-z*?\"é]{1,8}(\\.[a-z*? ']{1,8}x){1,2}", 0..4),
        databases in prop::collection::vec(any::<(String, u64)>(), 0..4),
    ) -> Template {
        Template {
            name, from_host, from_port, from_user, from_db, from_pass_env, to_host, to_port,
            to_user, to_db, to_pass_env, max_parallel, dump_parallel, restore_parallel, dump_jobs,
            restore_jobs, verify_concurrency, dump_root, migrate_globals,
            disable_dst_optimizations, fast_verify,
            delay_table_data: delay_table_data.into_iter().collect(),
            databases,
        }
    }
}

fn literal<T: Clone>(value: &Option<Value<T>>, default: T) -> T {
    match value {
        Some(Value::Literal(value)) => value.clone(),
        Some(Value::Env(name)) => panic!("{name} is not literal"),
        None => default,
    }
}

proptest! {
    #[test]
    fn a_written_plan_means_what_it_was_made_from(values in template()) {
        let text = render(&values);
        prop_assume!(!text.contains("TO FILL IN"));
        let plan = parsed(&text);

        prop_assert_eq!(&plan.name, values.name.as_deref().unwrap_or("test"));
        let sides = [
            (&plan.source, &values.from_host, values.from_port, &values.from_user, &values.from_db,
                values.from_pass_env.as_deref().unwrap_or("SOURCE_PASSWORD")),
            (&plan.target, &values.to_host, values.to_port, &values.to_user, &values.to_db,
                values.to_pass_env.as_deref().unwrap_or("TARGET_PASSWORD")),
        ];
        for (server, host, port, user, database, password) in sides {
            let or = |value: &Option<String>, default: &str| value.clone().unwrap_or(default.to_owned());
            prop_assert_eq!(literal(&server.host, "localhost".to_owned()), or(host, "localhost"));
            prop_assert_eq!(literal(&server.port, 5432), port.unwrap_or(5432));
            prop_assert_eq!(literal(&server.user, "postgres".to_owned()), or(user, "postgres"));
            prop_assert_eq!(literal(&server.database, "postgres".to_owned()), or(database, "postgres"));
            prop_assert_eq!(&server.password, &Some(PasswordSource::Env(password.to_owned())));
        }

        let parallel = values.max_parallel.unwrap_or(6);
        prop_assert_eq!(plan.parallelism, plan::Parallelism {
            dump_parallel: values.dump_parallel.unwrap_or(parallel),
            restore_parallel: values.restore_parallel.unwrap_or(parallel),
            dump_jobs: values.dump_jobs.unwrap_or(24),
            restore_jobs: values.restore_jobs.unwrap_or(12),
            verify_concurrency: values.verify_concurrency.unwrap_or(16),
        });
        let root = values.dump_root.as_deref().unwrap_or("pg_dumps");
        prop_assert!(plan.dump.root.ends_with(Path::new(root).strip_prefix("/").unwrap_or(Path::new(root))));
        prop_assert_eq!(plan.globals, values.migrate_globals.unwrap_or(true));
        let tuning = match values.disable_dst_optimizations {
            Some(true) => TuningMode::Off,
            _ => TuningMode::Fast,
        };
        prop_assert_eq!(plan.tuning.mode, tuning);
        let verify = match values.fast_verify {
            Some(true) => VerifyMode::Fast,
            _ => VerifyMode::Exact,
        };
        prop_assert_eq!(plan.verify, verify);
        let patterns: Vec<String> =
            plan.delay.patterns.iter().map(|pattern| pattern.text.clone()).collect();
        prop_assert_eq!(patterns, values.delay_table_data);
    }
}
