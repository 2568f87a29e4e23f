//! Servers that exist on paper only, for tests of what a plan compiles to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::catalog::{
    ClientFacts, Configuration, Contents, Database, Inspection, LocaleProvider, Relation,
    ServerFacts, Version,
};
use crate::finding::Finding;
use crate::graph::{DumpedTables, Graph, Input, compile};
use crate::names::RelationKind;
use crate::plan::{Endpoint, Plan, Side, SslMode, parse};

/// Everything that a compilation starts from. Tests change what they are about.
#[derive(Debug)]
pub(crate) struct Case {
    pub plan: Plan,
    pub inspection: Inspection,
    pub created: BTreeSet<String>,
    pub in_use: BTreeSet<String>,
    pub dumped: BTreeMap<String, DumpedTables>,
    pub today: jiff::civil::Date,
    pub findings: Vec<Finding>,
}

impl Case {
    /// A plan with nothing but `rest` beside the two servers: 10.23 with these databases, and an empty
    /// 18.6. The run may use 92 connections of either: the target has the `max_connections` of a new
    /// installation, 100, and the source, which keeps most of its own, four times as many.
    pub(crate) fn new(rest: &str, databases: Vec<Database>) -> Case {
        let mut source = server(Version(100_023), databases);
        source.max_connections = 368;
        Case {
            plan: plan(rest),
            inspection: Inspection {
                source,
                target: server(Version(180_006), Vec::new()),
                client: ClientFacts {
                    version: Version(180_006),
                    is_beta: false,
                    gzip: true,
                    lz4: true,
                    zstd: true,
                    tls: true,
                },
                open_files: Some(1024),
            },
            created: BTreeSet::new(),
            in_use: BTreeSet::new(),
            dumped: BTreeMap::new(),
            today: jiff::civil::date(2026, 3, 1),
            findings: Vec::new(),
        }
    }

    pub(crate) fn compile(&self) -> Graph {
        let graph = compile(Input {
            plan: &self.plan,
            source: &endpoint(Side::Source, "old-db"),
            target: &endpoint(Side::Target, "new-db"),
            inspection: &self.inspection,
            created: &self.created,
            in_use: &self.in_use,
            dumped: &self.dumped,
            today: self.today,
            findings: self.findings.clone(),
        });
        for finding in &graph.findings {
            assert!(finding.is_in_place(), "{finding:?}");
        }
        graph
    }
}

/// The plan whose file holds the two servers' names and `rest`, which may begin with more dotted keys.
pub(crate) fn plan(rest: &str) -> Plan {
    let text = format!("source.host = \"old-db\"\ntarget.host = \"new-db\"\n{rest}\n");
    parse(&text, Path::new("/plans/erp.toml")).unwrap_or_else(|error| panic!("{error:?}"))
}

fn endpoint(side: Side, host: &str) -> Endpoint {
    Endpoint {
        side,
        host: host.into(),
        hostaddr: None,
        port: 5432,
        user: "postgres".into(),
        database: "postgres".into(),
        password: None,
        sslmode: SslMode::Prefer,
        sslrootcert: None,
        sslcert: None,
        sslkey: None,
        protection: crate::plan::Protection::default(),
        connect_timeout: std::time::Duration::from_secs(10),
        watch: crate::names::Watch::default(),
        override_read_only: false,
    }
}

/// A new installation of this version, with these databases. Its operating system has one locale.
pub(crate) fn server(version: Version, databases: Vec<Database>) -> ServerFacts {
    ServerFacts {
        version,
        system_identifier: Some(format!("74{}", version.0)),
        seen: Some(crate::names::Sighting::sample()),
        started: format!("2026-02-01 00:00:00.{}+00", version.0),
        max_connections: 100,
        reserved_connections: 3,
        used_connections: 0,
        left_to_role: None,
        sees_sessions: true,
        user: "postgres".into(),
        is_superuser: true,
        can_create_database: true,
        can_create_role: true,
        bypasses_row_security: true,
        reads_passwords: true,
        sets_replication_role: true,
        sets_event_triggers: version.major() >= 1700,
        sets_language: true,
        lock_slots: 6_400,
        maintenance_work_mem: 64 << 20,
        in_recovery: false,
        condition: crate::catalog::Condition::default(),
        roles: Vec::new(),
        kept_roles: Default::default(),
        role_settings: Vec::new(),
        databases,
        tablespaces: Vec::new(),
        tablespace_facts: Default::default(),
        makeable_tablespaces: Vec::new(),
        locales: vec!["en_US.utf8".into()],
        not_moved: Vec::new(),
        lacked_libraries: Vec::new(),
        newer: crate::catalog::Newer::default(),
        extension_versions: BTreeMap::new(),
        configuration: Configuration::default(),
    }
}

/// A database of this size with so many tables, each with a primary key and an index.
pub(crate) fn database(name: &str, bytes: u64, tables: u32) -> Database {
    Database {
        oid: 0,
        name: name.into(),
        owner: "postgres".into(),
        bytes: Some(bytes),
        is_template: false,
        allows_connections: true,
        connection_limit: -1,
        used_connections: 0,
        encoding: "UTF8".into(),
        collate: "en_US.UTF-8".into(),
        ctype: "en_US.UTF-8".into(),
        provider: LocaleProvider::Libc,
        locale: None,
        icu_rules: None,
        tablespace: "pg_default".into(),
        comment: None,
        privileges: None,
        settings: Vec::new(),
        contents: Some(Contents {
            bytes: 0,
            relations: (0..tables)
                .map(|number| table(16_384 + number, &format!("table_{number:04}")))
                .collect(),
            indexes: 2 * tables,
            attached_indexes: Vec::new(),
            indexed_tables: Vec::new(),
            always_triggers: Vec::new(),
            computed: Vec::new(),
            load_order_constraints: Vec::new(),
            event_triggers: Vec::new(),
            hashed_by_enum: Default::default(),
            large_objects: 0,
            large_object_tables: Vec::new(),
            unreadable: Vec::new(),
            unreadable_large_objects: 0,
            names_not_utf8: Vec::new(),
            parts_not_utf8: BTreeMap::new(),
            user_objects: 0,
            own_objects: 0,
            configured_extensions: BTreeMap::new(),
            extension_versions: BTreeMap::new(),
            extensions_in_columns: Default::default(),
            not_moved: Vec::new(),
            own: Vec::new(),
            without_default_privileges: Vec::new(),
            function_settings: Vec::new(),
            oversized: Vec::new(),
            extensions: 0,
            placed: Vec::new(),
        }),
    }
}

/// A table in `public`.
pub(crate) fn table(oid: u32, name: &str) -> Relation {
    Relation {
        oid,
        schema: "public".into(),
        name: name.into(),
        kind: RelationKind::Table,
        parents: Vec::new(),
        unlogged: false,
        populated: true,
        bytes: 8_192,
        estimated_rows: Some(100),
        row_security: false,
        forces_row_security: false,
        has_oids: false,
        extension: None,
    }
}

/// The contents of a database that [`database`] made, to change them.
pub(crate) fn contents(database: &mut Database) -> &mut Contents {
    database.contents.as_mut().expect("it was inspected")
}
