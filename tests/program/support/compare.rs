//! An independent check that two servers hold the same: nothing of the program is used here.
//!
//! Rows are compared as pg_dump writes them on both sides. Schemas cannot be compared as text between
//! major versions, whose servers spell views and defaults differently; so the source's schema is loaded
//! into a database beside the target's by plain pg_dump and psql, and the two are compared there.

use std::collections::BTreeMap;

use super::server::{Server, identifier, literal, run_with_input};

/// What differs between the source's database and the target's of the same name, a line each.
pub fn dumps(source: &Server, target: &Server, database: &str) -> Vec<String> {
    Expected::of(source, target, database).differences(target)
}

/// What a database of the target has to hold: read once from a source that does not change.
pub struct Expected {
    database: String,
    floats: Floats,
    data: BTreeMap<String, Vec<String>>,
    views: BTreeMap<String, Vec<String>>,
    objects: BTreeMap<String, Vec<String>>,
}

impl Expected {
    /// `reference`: a server of the target's version.
    pub fn of(source: &Server, reference: &Server, database: &str) -> Expected {
        let floats = float_columns(source, database);
        Expected {
            data: data(source, database, &floats),
            views: materialized_views(source, database),
            objects: reference_schema(source, reference, database),
            database: database.to_owned(),
            floats,
        }
    }

    /// What differs on the target, a line each.
    pub fn differences(&self, target: &Server) -> Vec<String> {
        let exists = format!(
            "SELECT 1 FROM pg_database WHERE datname = {}",
            literal(&self.database)
        );
        if target.psql("postgres", &exists).is_empty() {
            return vec![format!(
                "database {:?}: missing on the target",
                self.database
            )];
        }
        let mut differences = Vec::new();
        compare_maps(
            &mut differences,
            "data of",
            &self.data,
            &data(target, &self.database, &self.floats),
        );
        compare_maps(
            &mut differences,
            "materialized view",
            &self.views,
            &materialized_views(target, &self.database),
        );
        compare_maps(
            &mut differences,
            "object",
            &self.objects,
            &schema(target, &self.database),
        );
        differences
    }
}

/// Fails the test when the databases differ.
#[track_caller]
pub fn assert_same(source: &Server, target: &Server, database: &str) {
    let differences = dumps(source, target, database);
    assert!(
        differences.is_empty(),
        "database {database:?} differs:\n{}",
        differences.join("\n")
    );
}

/// What differs between the databases' own properties, and between the roles, a line each.
pub fn globals(source: &Server, target: &Server) -> Vec<String> {
    let mut differences = Vec::new();
    for (kind, query) in [
        ("role", ROLES),
        ("membership", MEMBERSHIPS),
        ("setting of", SETTINGS),
        ("database", DATABASES),
    ] {
        let rows = |server: &Server| -> BTreeMap<String, Vec<String>> {
            server
                .psql("postgres", query)
                .split('\x1e')
                .filter_map(|row| row.trim_start_matches('\n').split_once('\x1f'))
                .map(|(key, value)| (key.to_owned(), vec![value.to_owned()]))
                .collect()
        };
        compare_maps(&mut differences, kind, &rows(source), &rows(target));
    }
    differences
}

/// The migration's own role keeps the target's password, so it is left out.
const ROLES: &str = "
SELECT rolname || E'\\x1f' || concat_ws(',', rolsuper, rolinherit, rolcreaterole, rolcreatedb,
       rolcanlogin, rolreplication, rolbypassrls, rolconnlimit, rolvaliduntil AT TIME ZONE 'UTC',
       coalesce(rolpassword, '(none)'), coalesce(shobj_description(oid, 'pg_authid'), '')) || E'\\x1e'
FROM pg_authid WHERE rolname !~ '^pg_' AND rolname <> 'postgres'";

const MEMBERSHIPS: &str = "
SELECT m.member::regrole || ' in ' || m.roleid::regrole || E'\\x1f' || m.admin_option || E'\\x1e'
FROM pg_auth_members m WHERE m.roleid::regrole::text !~ '^pg_' OR m.member::regrole::text !~ '^pg_'";

const SETTINGS: &str = "
SELECT coalesce(r.rolname, '(every role)') || ' in ' || coalesce(d.datname, '(every database)')
       || E'\\x1f' || (SELECT string_agg(c, ';' ORDER BY c) FROM unnest(s.setconfig) c) || E'\\x1e'
FROM pg_db_role_setting s
LEFT JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole";

const DATABASES: &str = "
SELECT d.datname || E'\\x1f' || concat_ws(',', pg_encoding_to_char(d.encoding), d.datcollate,
       d.datctype, d.datdba::regrole, d.datconnlimit, d.datistemplate,
       coalesce(shobj_description(d.oid, 'pg_database'), ''),
       (SELECT string_agg(a::text, ';' ORDER BY a::text) FROM unnest(coalesce(d.datacl, acldefault('d', d.datdba))) a)) || E'\\x1e'
FROM pg_database d WHERE d.datallowconn AND d.datname NOT IN ('postgres', 'template0', 'template1', 'pg_migrate_mark')";

fn compare_maps(
    differences: &mut Vec<String>,
    kind: &str,
    source: &BTreeMap<String, Vec<String>>,
    target: &BTreeMap<String, Vec<String>>,
) {
    for (name, lines) in source {
        match target.get(name) {
            None => differences.push(format!("{kind} {name}: missing on the target")),
            Some(others) => {
                if let Some(difference) = first_difference(lines, others) {
                    differences.push(format!("{kind} {name}: {difference}"));
                }
            }
        }
    }
    for name in target.keys().filter(|name| !source.contains_key(*name)) {
        differences.push(format!("{kind} {name}: only on the target"));
    }
}

fn first_difference(source: &[String], target: &[String]) -> Option<String> {
    let pair = source.iter().zip(target).find(|(a, b)| a != b);
    match pair {
        Some((source, target)) => Some(format!("source {source:?}, target {target:?}")),
        None if source.len() != target.len() => Some(format!(
            "{} lines on the source, {} on the target",
            source.len(),
            target.len()
        )),
        None => None,
    }
}

/// Floating-point columns: for the start of a table's COPY statement, the columns' positions, and
/// whether each is a `real`.
type Floats = Vec<(String, Vec<(usize, bool)>)>;

/// Servers before 12 write 17 digits, later ones the shortest text that reads back as the same number:
/// so these columns are compared as numbers.
fn float_columns(source: &Server, database: &str) -> Floats {
    if source.major() >= 12 {
        return Vec::new();
    }
    let columns = source.psql(
        database,
        "SELECT format('COPY %I.%I (', nspname, relname), position - 1, atttypid = 'real'::regtype
         FROM (SELECT n.nspname, c.relname, a.atttypid,
                      row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum) AS position
               FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
               JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
                 AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_') columns
         WHERE atttypid IN ('real'::regtype, 'double precision'::regtype)",
    );
    let mut floats: Floats = Vec::new();
    for line in columns.lines() {
        let mut parts = line.rsplitn(3, '|');
        let real = parts.next() == Some("t");
        let position = parts.next().and_then(|text| text.parse().ok());
        let start = parts.next().expect("three columns");
        let column = (position.expect("a number"), real);
        match floats.last_mut().filter(|(last, _)| last == start) {
            Some((_, columns)) => columns.push(column),
            None => floats.push((start.to_owned(), vec![column])),
        }
    }
    floats
}

/// The row with its floating-point columns spelled in one way.
fn with_plain_floats(row: &str, columns: &[(usize, bool)]) -> String {
    let mut fields: Vec<String> = row.split('\t').map(str::to_owned).collect();
    for &(position, real) in columns {
        let field = &mut fields[position];
        // NULL is not a number, and stays as it is.
        let number = if real {
            field.parse().map(|number: f32| number.to_string())
        } else {
            field.parse().map(|number: f64| number.to_string())
        };
        *field = number.unwrap_or_else(|_| field.clone());
    }
    fields.join("\t")
}

/// Every table's rows in an order of their own, and everything else of the data section.
fn data(server: &Server, database: &str, floats: &Floats) -> BTreeMap<String, Vec<String>> {
    let dump = pg_dump(server, database, &["--data-only"]);
    let mut parts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut table: Option<String> = None;
    let mut lines = dump.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = &table {
            if line == "\\." {
                table = None;
            } else {
                let columns = floats.iter().find(|(start, _)| name.starts_with(start));
                let row = match columns {
                    Some((_, columns)) => with_plain_floats(line, columns),
                    None => line.to_owned(),
                };
                parts.entry(name.clone()).or_default().push(row);
            }
        } else if line.starts_with("COPY ") {
            // A name may hold a line feed.
            let mut copy = line.to_owned();
            while !copy.ends_with(" FROM stdin;") {
                copy.push_str(lines.next().expect("COPY has an end"));
            }
            parts.entry(copy.clone()).or_default();
            table = Some(copy);
        } else if is_statement(line) {
            let part = if line.contains("pg_catalog.setval(") {
                "sequences"
            } else {
                "large objects"
            };
            parts
                .entry(part.to_owned())
                .or_default()
                .push(line.to_owned());
        }
    }
    // The order of rows means nothing; that of the other statements does.
    for (_, lines) in parts
        .iter_mut()
        .filter(|(name, _)| name.starts_with("COPY "))
    {
        lines.sort();
    }
    parts
}

fn is_statement(line: &str) -> bool {
    !(line.is_empty()
        || line.starts_with("--")
        || line.starts_with("SET ")
        || line.starts_with("SELECT pg_catalog.set_config(")
        || line.starts_with("\\restrict ")
        || line.starts_with("\\unrestrict "))
}

/// Whether each materialized view is populated, and its rows.
fn materialized_views(server: &Server, database: &str) -> BTreeMap<String, Vec<String>> {
    let names = server.psql(
        database,
        "SELECT format('%I.%I', n.nspname, c.relname), c.relispopulated
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'm' ORDER BY 1",
    );
    let mut views = BTreeMap::new();
    for line in names.lines() {
        let (name, populated) = line.rsplit_once('|').expect("two columns");
        let mut lines = vec![format!("populated: {populated}")];
        if populated == "t" {
            let rows = server.psql(
                database,
                &format!("SET extra_float_digits = 3; COPY (SELECT * FROM {name}) TO STDOUT"),
            );
            lines.extend(rows.lines().map(str::to_owned));
            lines[1..].sort();
        }
        views.insert(name.to_owned(), lines);
    }
    views
}

/// The schema's objects by what pg_dump calls them, with their DDL.
fn schema(server: &Server, database: &str) -> BTreeMap<String, Vec<String>> {
    let dump = pg_dump(server, database, &["--schema-only"]);
    let mut objects: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut object = "the preamble".to_owned();
    for line in dump.lines() {
        if let Some(header) = line.strip_prefix("-- Name: ") {
            header.clone_into(&mut object);
        }
        if is_statement(line) {
            objects
                .entry(object.clone())
                .or_default()
                .push(line.to_owned());
        }
    }
    objects
}

/// The source's schema as plain pg_dump and psql bring it to a server of the target's version.
fn reference_schema(
    source: &Server,
    target: &Server,
    database: &str,
) -> BTreeMap<String, Vec<String>> {
    let reference = "compare reference";
    let like = source.psql(
        "postgres",
        &format!(
            "SELECT format('ENCODING %L LC_COLLATE %L LC_CTYPE %L',
                pg_encoding_to_char(encoding), datcollate, datctype)
             FROM pg_database WHERE datname = {}",
            literal(database)
        ),
    );
    assert!(!like.is_empty(), "the source has no database {database:?}");
    let name = identifier(reference);
    target.psql(
        "postgres",
        &format!("CREATE DATABASE {name} TEMPLATE template0 {like}"),
    );
    let mut dump = pg_dump(source, database, &["--schema-only"]);
    if target.major() < 17 {
        // The client of 18 sets it, and it came with 17.
        dump = dump.replace("SET transaction_timeout = 0;\n", "");
    }
    target.psql(reference, &dump);
    let objects = schema(target, reference);
    // A database with a subscription is not dropped.
    target.psql(
        reference,
        "SELECT format('ALTER SUBSCRIPTION %I DISABLE', subname),
             format('ALTER SUBSCRIPTION %I SET (slot_name = NONE)', subname),
             format('DROP SUBSCRIPTION %I', subname)
         FROM pg_subscription JOIN pg_database d ON d.oid = subdbid AND datname = current_database() \\gexec",
    );
    target.psql("postgres", &format!("DROP DATABASE {name}"));
    objects
}

pub fn pg_dump(server: &Server, database: &str, options: &[&str]) -> String {
    let mut command = server.client("pg_dump", database);
    command.args(options);
    run_with_input(command, "")
        .unwrap_or_else(|error| panic!("pg_dump {options:?} of {database:?}: {error}"))
}

/// What a server holds, in one text: its databases, roles, settings and relations. Two readings are
/// equal when nothing was created, changed or dropped in between.
pub fn state(server: &Server) -> String {
    let mut state = String::new();
    for query in [
        ALL_ROLES,
        MEMBERSHIPS,
        SETTINGS,
        ALL_DATABASES,
        SETTINGS_IN_FORCE,
    ] {
        let sorted = format!("SELECT * FROM ({query}) AS rows (r) ORDER BY 1");
        state.push_str(&server.psql("postgres", &sorted));
        state.push('\n');
    }
    let file = server.data_directory().join("postgresql.auto.conf");
    state.push_str(&std::fs::read_to_string(file).unwrap_or_default());
    state.push_str(&server.psql(
        "postgres",
        "SELECT oid, relname FROM pg_class WHERE relfilenode <> 0 ORDER BY 1",
    ));
    state
}

const ALL_ROLES: &str = "SELECT a::text FROM pg_authid a";

const ALL_DATABASES: &str = "
SELECT concat_ws(',', oid, datname, datallowconn, datconnlimit, datacl) FROM pg_database";

const SETTINGS_IN_FORCE: &str = "
SELECT name || '=' || setting FROM pg_settings WHERE source = 'configuration file'";
