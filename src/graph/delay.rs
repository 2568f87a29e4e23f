//! Which tables are delayed, and why others are not.

use std::collections::{BTreeSet, HashMap};

use super::DumpedTables;
use crate::catalog::{Contents, Database, Relation};
use crate::finding::Finding;
use crate::names::{RelationKind, TableName};
use crate::plan::{DelayPattern, Plan};
use crate::preflight;

/// A table whose data comes after the regular phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DelayedTable {
    pub name: TableName,
    pub bytes: u64,
}

/// What the plan's patterns mean, over all databases.
#[derive(Debug)]
pub(crate) struct Delays<'a> {
    patterns: &'a [DelayPattern],
    /// Positions of patterns that matched something.
    used: BTreeSet<usize>,
    pub findings: Vec<Finding>,
}

impl<'a> Delays<'a> {
    pub(crate) fn new(plan: &'a Plan) -> Self {
        Delays {
            patterns: &plan.delay.patterns,
            used: BTreeSet::new(),
            findings: Vec::new(),
        }
    }

    /// The delayed tables of one database, largest first. A pattern that matches a partitioned table means
    /// its partitions, down to the leaves. `dumped`: the tables that there were when the database was dumped, if that is done
    /// for good; what came later takes no part, and what is gone since is loaded from its archive.
    pub(crate) fn for_database(
        &mut self,
        database: &Database,
        contents: &Contents,
        dumped: Option<&DumpedTables>,
    ) -> Vec<DelayedTable> {
        let candidates: Vec<(usize, &DelayPattern)> = self
            .patterns
            .iter()
            .enumerate()
            .filter(|(_, pattern)| pattern.database.is_match(&database.name))
            .collect();
        if candidates.is_empty() {
            return Vec::new();
        }
        let by_oid: HashMap<u32, &Relation> = contents
            .relations
            .iter()
            .map(|relation| (relation.oid, relation))
            .collect();
        let mut delayed = Vec::new();
        for relation in &contents.relations {
            let family = ancestors(relation, &by_oid);
            let mut matched = false;
            for (position, pattern) in &candidates {
                let itself = pattern.matches(&database.name, &relation.schema, &relation.name);
                let through_parent = family
                    .iter()
                    .any(|parent| pattern.matches(&database.name, &parent.schema, &parent.name));
                if itself || through_parent {
                    matched = true;
                    self.used.insert(*position);
                }
            }
            if !matched {
                continue;
            }
            let is_new =
                dumped.is_some_and(|dumped| !dumped.tables.contains(&relation.table_name()));
            match relation.kind {
                RelationKind::Table if is_new => self
                    .findings
                    .push(preflight::for_new_table(database, relation)),
                RelationKind::Table if relation.extension.is_none() => delayed.push(DelayedTable {
                    name: relation.table_name(),
                    bytes: relation.bytes,
                }),
                // Its rows are in its partitions.
                RelationKind::PartitionedTable => {}
                _ => self
                    .findings
                    .push(preflight::for_refused_table(database, relation)),
            }
        }
        let gone = gone(contents, dumped);
        if !gone.is_empty() {
            // Whose partitions they were is not known any more.
            self.used
                .extend(candidates.iter().map(|(position, _)| *position));
        }
        delayed.extend(gone);
        delayed.sort_by(|a, b| (b.bytes, &a.name).cmp(&(a.bytes, &b.name)));
        delayed
    }

    /// Findings about patterns that matched nothing, once every database was looked at.
    pub(crate) fn finish(mut self) -> Vec<Finding> {
        for (position, pattern) in self.patterns.iter().enumerate() {
            if !self.used.contains(&position) {
                self.findings
                    .push(preflight::for_delay_pattern(&pattern.text));
            }
        }
        self.findings
    }
}

/// The tables that are to be loaded from an archive, and that the source does not have any more by these names.
fn gone(contents: &Contents, dumped: Option<&DumpedTables>) -> Vec<DelayedTable> {
    let there: BTreeSet<TableName> = contents
        .relations
        .iter()
        .map(Relation::table_name)
        .collect();
    let to_load = dumped.iter().flat_map(|dumped| &dumped.to_load);
    to_load
        .filter(|name| !there.contains(name))
        .map(|name| DelayedTable {
            name: name.clone(),
            bytes: 0,
        })
        .collect()
}

/// Partitioned tables that are delayed in part: some of their partitions, and not all.
pub(super) fn split(contents: &Contents, delayed: &[DelayedTable]) -> Vec<TableName> {
    let relations = contents.relations.iter();
    let by_oid: HashMap<u32, &Relation> =
        relations.map(|relation| (relation.oid, relation)).collect();
    let delayed: BTreeSet<&TableName> = delayed.iter().map(|table| &table.name).collect();
    let mut kinds: [BTreeSet<TableName>; 2] = Default::default();
    let relations = contents.relations.iter();
    for leaf in relations.filter(|relation| relation.kind == RelationKind::Table) {
        let is_delayed = delayed.contains(&leaf.table_name());
        let roots = ancestors(leaf, &by_oid);
        let roots = roots.iter().map(|root| root.table_name());
        kinds[usize::from(is_delayed)].extend(roots);
    }
    let [regular, delayed] = &kinds;
    regular.intersection(delayed).cloned().collect()
}

/// The partitioned tables that the relation is a part of.
fn ancestors<'a>(relation: &Relation, by_oid: &HashMap<u32, &'a Relation>) -> Vec<&'a Relation> {
    let mut found: Vec<&Relation> = Vec::new();
    let mut next = relation.parents.clone();
    while let Some(oid) = next.pop() {
        let Some(parent) = by_oid.get(&oid) else {
            continue;
        };
        let is_new = !found.iter().any(|known| known.oid == oid);
        // A parent by INHERITS holds rows of its own and is a table like others.
        if parent.kind == RelationKind::PartitionedTable && is_new {
            found.push(parent);
            next.extend(&parent.parents);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::LocaleProvider;

    fn relation(oid: u32, name: &str, kind: RelationKind, parents: &[u32], bytes: u64) -> Relation {
        Relation {
            oid,
            schema: "public".into(),
            name: name.into(),
            kind,
            parents: parents.to_vec(),
            unlogged: false,
            populated: true,
            bytes,
            estimated_rows: None,
            row_security: false,
            forces_row_security: false,
            has_oids: false,
            extension: None,
        }
    }

    fn names(patterns: &[&str]) -> (Vec<String>, Vec<Finding>) {
        let list: Vec<String> = patterns.iter().map(|text| format!("{text:?}")).collect();
        let text = format!(
            "[source]\nhost = \"a\"\n[target]\nhost = \"b\"\n[delay]\ntable_data = [{}]\n",
            list.join(", ")
        );
        let plan = crate::plan::parse(&text, std::path::Path::new("/plans/p.toml")).unwrap();
        let database = Database {
            oid: 0,
            name: "erp".into(),
            owner: "postgres".into(),
            bytes: None,
            is_template: false,
            allows_connections: true,
            connection_limit: -1,
            used_connections: 0,
            encoding: "UTF8".into(),
            collate: "C".into(),
            ctype: "C".into(),
            provider: LocaleProvider::Libc,
            locale: None,
            icu_rules: None,
            tablespace: "pg_default".into(),
            comment: None,
            privileges: None,
            settings: Vec::new(),
            contents: None,
        };
        let contents = Contents {
            relations: vec![
                relation(1, "events", RelationKind::PartitionedTable, &[], 0),
                relation(2, "events_2024", RelationKind::PartitionedTable, &[1], 0),
                relation(3, "e_2024_01", RelationKind::Table, &[2], 10),
                relation(4, "e_2023", RelationKind::Table, &[1], 20),
                relation(5, "parent", RelationKind::Table, &[], 5),
                relation(6, "child", RelationKind::Table, &[5], 6),
                relation(7, "fact_view", RelationKind::MaterializedView, &[], 0),
                relation(8, "fact_far", RelationKind::ForeignTable, &[], 0),
                relation(9, "fact_a\"b", RelationKind::Table, &[], 1),
            ],
            ..Contents::default()
        };
        let mut delays = Delays::new(&plan);
        let tables = delays.for_database(&database, &contents, None);
        (
            tables.into_iter().map(|table| table.name.name).collect(),
            delays.finish(),
        )
    }

    #[test]
    fn a_partitioned_table_means_its_leaves_largest_first() {
        assert_eq!(names(&["erp.events"]).0, ["e_2023", "e_2024_01"]);
        assert_eq!(names(&["erp.public.events_2024"]).0, ["e_2024_01"]);
        assert_eq!(names(&["*.e_*"]).0, ["e_2023", "e_2024_01"]);
    }

    #[test]
    fn a_parent_by_inheritance_is_itself_alone() {
        assert_eq!(names(&["erp.parent"]).0, ["parent"]);
    }

    #[test]
    fn what_has_no_data_of_its_own_is_refused_with_a_reason() {
        let (tables, findings) = names(&["erp.fact_*"]);
        assert_eq!(tables, ["fact_a\"b"]);
        let objects: Vec<_> = findings
            .iter()
            .filter_map(|found| found.object.clone())
            .collect();
        assert_eq!(objects, ["public.fact_view", "public.fact_far"]);
    }

    #[test]
    fn a_table_that_is_gone_from_the_source_is_loaded_from_its_archive() {
        let contents = Contents {
            relations: vec![relation(1, "there", RelationKind::Table, &[], 1)],
            ..Contents::default()
        };
        let name = |name: &str| TableName::new("public", name);
        let dumped = DumpedTables {
            tables: [name("there"), name("gone"), name("regular")].into(),
            to_load: vec![name("there"), name("gone")],
        };
        let found: Vec<TableName> = gone(&contents, Some(&dumped))
            .into_iter()
            .map(|table| table.name)
            .collect();
        assert_eq!(found, [name("gone")]);
        assert!(gone(&contents, None).is_empty());
    }

    #[test]
    fn a_pattern_without_a_match_is_a_finding() {
        let (_, findings) = names(&["erp.public.events", "other.events", "erp.private.events"]);
        assert_eq!(findings.len(), 2);
        assert!(findings[0].message.contains("other.events"));
    }
}
