//! An archive's table of contents, as `pg_restore --list` writes it.

use std::collections::{HashMap, HashSet};

/// What pg_dump 10 to 18 calls the things in an archive, where that is more than one word: the
/// `description` of the `ArchiveEntry` calls in its source.
const LONG_DESCRIPTIONS: [&str; 31] = [
    "ACCESS METHOD",
    "BLOB METADATA",
    "CHECK CONSTRAINT",
    "DATABASE PROPERTIES",
    "DEFAULT ACL",
    "EVENT TRIGGER",
    "FK CONSTRAINT",
    "FOREIGN DATA WRAPPER",
    "FOREIGN TABLE",
    "INDEX ATTACH",
    "MATERIALIZED VIEW",
    "MATERIALIZED VIEW DATA",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "PROCEDURAL LANGUAGE",
    "PUBLICATION TABLE",
    "PUBLICATION TABLES IN SCHEMA",
    "ROW SECURITY",
    "SECURITY LABEL",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "SHELL TYPE",
    "STATISTICS DATA",
    "SUBSCRIPTION TABLE",
    "TABLE ATTACH",
    "TABLE DATA",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
    "USER MAPPING",
];

/// Where a schema, or in an error a name, could be read as the end of the description: the catalog of the thing with the short
/// one. The long one has another catalog, or none.
const SHORTER: [(&str, u32); 10] = [
    ("DEFAULT ACL", PG_ATTRDEF),
    ("INDEX ATTACH", PG_CLASS),
    ("MATERIALIZED VIEW DATA", PG_CLASS),
    ("OPERATOR CLASS", PG_OPERATOR),
    ("OPERATOR FAMILY", PG_OPERATOR),
    ("SEQUENCE OWNED BY", PG_CLASS),
    ("SEQUENCE SET", PG_CLASS),
    ("STATISTICS DATA", PG_STATISTIC_EXT),
    ("TABLE ATTACH", PG_CLASS),
    ("TABLE DATA", PG_CLASS),
];

/// Object ids of catalogs (PostgreSQL manual, chapter 53): they are the same on every server.
const PG_CLASS: u32 = 1259;
const PG_ATTRDEF: u32 = 2604;
const PG_OPERATOR: u32 = 2617;
const PG_STATISTIC_EXT: u32 = 3381;

/// The things that have definitions with passwords in them: connection strings and options. An error, which
/// leaves out the schema, calls a subscription of the name `TABLE x` a `SUBSCRIPTION TABLE`.
const WITH_SECRETS: [&str; 5] = [
    "FOREIGN DATA WRAPPER",
    "SERVER",
    "SUBSCRIPTION",
    "SUBSCRIPTION TABLE",
    "USER MAPPING",
];

/// One entry of a table of contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `TABLE DATA`
    pub description: String,
    /// `None`: the thing belongs to no schema.
    pub schema: Option<String>,
    /// Its name, or what else tells it from others: `t t_pkey` is constraint t_pkey of table t.
    pub tag: String,
    pub owner: String,
}

impl Entry {
    /// `TABLE DATA public.t`: what a restore error and the plan's `[[accept]]` call it.
    pub fn object(&self) -> String {
        let Entry {
            description, tag, ..
        } = self;
        match &self.schema {
            Some(schema) => format!("{description} {schema}.{tag}"),
            None => format!("{description} {tag}"),
        }
    }

    /// Whether its definition may hold a password.
    pub(super) fn may_hold_secrets(&self) -> bool {
        WITH_SECRETS.contains(&self.description.as_str())
    }

    /// Reads an error's `215; 1259 16385 TABLE t postgres`, which leaves out the schema.
    pub(super) fn from_error(text: &str) -> Option<(u32, Entry)> {
        let (ids, rest) = split_ids(text)?;
        let (description, rest) = split_description(rest, ids.catalog);
        let (tag, owner) = rest.rsplit_once(' ').unwrap_or((rest, ""));
        let entry = Entry {
            description: description.to_owned(),
            schema: None,
            tag: tag.to_owned(),
            owner: owner.to_owned(),
        };
        Some((ids.dump_id, entry))
    }
}

/// An entry that holds the rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableRows {
    pub dump_id: u32,
    /// The table's object id on the source: names are in the archive's encoding.
    pub table: u32,
}

/// A table of contents, by dump id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Toc {
    entries: HashMap<u32, Entry>,
}

impl Toc {
    /// Reads the output of `pg_restore --list`: `215; 1259 16385 TABLE public t postgres` a line,
    /// which is dump id, catalog, oid, description, schema, tag, owner. Other lines are left
    /// out.
    ///
    /// Names stand without quotes, so one with spaces could end anywhere. `roles` are the names
    /// that owners can have; schemas with spaces are found among the list's own.
    pub fn parse<'a>(listing: &str, roles: impl IntoIterator<Item = &'a str>) -> Toc {
        let roles: HashSet<String> = roles.into_iter().map(in_one_line).collect();
        let lines: Vec<(u32, &str, &str)> = listing
            .lines()
            .filter_map(|line| {
                let (ids, rest) = split_ids(line)?;
                let (description, rest) = split_description(rest, ids.catalog);
                Some((ids.dump_id, description, rest))
            })
            .collect();
        let schemas: HashSet<String> = lines
            .iter()
            .filter(|(_, description, _)| *description == "SCHEMA")
            .filter_map(|(_, _, rest)| rest.strip_prefix("- "))
            .map(|rest| split_owner(rest, &roles).0.to_owned())
            .collect();
        let entries = lines.into_iter().map(|(id, description, rest)| {
            let (rest, owner) = split_owner(rest, &roles);
            let (schema, tag) = split_schema(rest, &schemas);
            let entry = Entry {
                description: description.to_owned(),
                schema: (schema != "-").then(|| schema.to_owned()),
                tag: tag.to_owned(),
                owner: owner.to_owned(),
            };
            (id, entry)
        });
        Toc {
            entries: entries.collect(),
        }
    }

    /// Dump ids in a listing, in its order.
    pub fn ids(listing: &str) -> Vec<u32> {
        let ids = listing
            .lines()
            .filter_map(|line| Some(split_ids(line)?.0.dump_id));
        ids.collect()
    }

    /// The entries of a listing that hold the rows of tables.
    pub fn table_rows(listing: &str) -> Vec<TableRows> {
        let rows = listing.lines().filter_map(|line| {
            let (ids, rest) = split_ids(line)?;
            let (description, _) = split_description(rest, ids.catalog);
            (description == "TABLE DATA").then_some(TableRows {
                dump_id: ids.dump_id,
                table: ids.object,
            })
        });
        rows.collect()
    }

    pub fn get(&self, dump_id: u32) -> Option<&Entry> {
        self.entries.get(&dump_id)
    }

    /// How many entries there are.
    pub fn entry_count(&self) -> usize {
        self.entries.len()
    }
}

/// A name as pg_restore lists it: line breaks become spaces.
fn in_one_line(name: &str) -> String {
    name.replace(['\n', '\r'], " ")
}

/// `215; 1259 16385 ` at the start of a line.
struct Ids {
    dump_id: u32,
    catalog: u32,
    object: u32,
}

fn split_ids(text: &str) -> Option<(Ids, &str)> {
    let (dump_id, rest) = text.split_once("; ")?;
    let (catalog, rest) = rest.split_once(' ')?;
    let (object, rest) = rest.split_once(' ')?;
    let ids = Ids {
        dump_id: dump_id.parse().ok()?,
        catalog: catalog.parse().ok()?,
        object: object.parse().ok()?,
    };
    Some((ids, rest))
}

/// The longest known description of a thing in the catalog, or else the first word.
fn split_description(text: &str, catalog: u32) -> (&str, &str) {
    let known = LONG_DESCRIPTIONS
        .into_iter()
        .filter(|description| !SHORTER.contains(&(description, catalog)))
        .filter(|description| {
            text.strip_prefix(description)
                .is_some_and(|rest| rest.starts_with(' '))
        })
        .map(str::len)
        .max();
    match known {
        Some(length) => (&text[..length], &text[length + 1..]),
        None => text.split_once(' ').unwrap_or((text, "")),
    }
}

/// Takes the owner off the end: the longest known role, or else the last word. Entries without an
/// owner end with a space.
fn split_owner<'a>(text: &'a str, roles: &HashSet<String>) -> (&'a str, &'a str) {
    let mut spaces = text.match_indices(' ').map(|(at, _)| at);
    let known = spaces.find(|at| roles.contains(&text[at + 1..]));
    match known.or_else(|| text.rfind(' ')) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, ""),
    }
}

/// Takes the schema off the start: the longest known one, or else the first word.
fn split_schema<'a>(text: &'a str, schemas: &HashSet<String>) -> (&'a str, &'a str) {
    let mut spaces = text.rmatch_indices(' ').map(|(at, _)| at);
    let known = spaces.find(|at| schemas.contains(&text[..*at]));
    match known.or_else(|| text.find(' ')) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => ("-", text),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_of_entry_is_read() {
        let listing = include_str!("../../../tests/restore-log/every-kind.list");
        let toc = Toc::parse(listing, ["postgres"]);
        let entries = listing.lines().filter(|line| !line.starts_with(';'));
        assert_eq!(toc.entry_count(), entries.count());
        let descriptions: BTreeSet<&str> = toc
            .entries
            .values()
            .map(|entry| entry.description.as_str())
            .collect();
        let descriptions: Vec<&str> = descriptions.into_iter().collect();
        insta::assert_snapshot!(descriptions.join(", "), @"ACCESS METHOD, ACL, AGGREGATE, BLOB METADATA, BLOBS, CAST, CHECK CONSTRAINT, COLLATION, COMMENT, CONSTRAINT, CONVERSION, DEFAULT, DEFAULT ACL, DOMAIN, EVENT TRIGGER, EXTENSION, FK CONSTRAINT, FOREIGN DATA WRAPPER, FOREIGN TABLE, FUNCTION, INDEX, INDEX ATTACH, MATERIALIZED VIEW, MATERIALIZED VIEW DATA, OPERATOR, OPERATOR CLASS, OPERATOR FAMILY, POLICY, PROCEDURAL LANGUAGE, PROCEDURE, PUBLICATION, PUBLICATION TABLE, PUBLICATION TABLES IN SCHEMA, ROW SECURITY, RULE, SCHEMA, SEQUENCE, SEQUENCE OWNED BY, SEQUENCE SET, SERVER, SHELL TYPE, STATISTICS, STATISTICS DATA, SUBSCRIPTION, TABLE, TABLE ATTACH, TABLE DATA, TEXT SEARCH CONFIGURATION, TEXT SEARCH DICTIONARY, TEXT SEARCH PARSER, TEXT SEARCH TEMPLATE, TRANSFORM, TRIGGER, TYPE, USER MAPPING, VIEW");
        // Whatever has a schema is in the only one there is.
        for entry in toc.entries.values() {
            assert!(
                entry.schema.as_deref().is_none_or(|schema| schema == "s"),
                "{entry:?}"
            );
            assert!(
                ["", "postgres"].contains(&entry.owner.as_str()),
                "{entry:?}"
            );
        }
    }

    /// A schema or a table may be called so.
    #[test]
    fn a_name_is_not_the_end_of_a_description() {
        let listing = "5; 2615 1 SCHEMA - DATA postgres\n\
                       6; 1259 2 TABLE DATA t postgres\n\
                       7; 0 2 TABLE DATA DATA t postgres\n\
                       8; 1259 3 MATERIALIZED VIEW DATA v postgres\n\
                       9; 0 3 MATERIALIZED VIEW DATA DATA v postgres\n";
        let toc = Toc::parse(listing, ["postgres"]);
        let objects: Vec<String> = (6..=9).map(|id| toc.get(id).unwrap().object()).collect();
        let expected = [
            "TABLE DATA.t",
            "TABLE DATA DATA.t",
            "MATERIALIZED VIEW DATA.v",
            "MATERIALIZED VIEW DATA DATA.v",
        ];
        assert_eq!(objects, expected);
        let rows = [TableRows {
            dump_id: 7,
            table: 2,
        }];
        assert_eq!(Toc::table_rows(listing), rows);
        let (_, entry) = Entry::from_error("215; 1259 16385 TABLE DATA postgres").unwrap();
        assert_eq!(entry.object(), "TABLE DATA");
    }

    #[test]
    fn names_with_spaces_end_where_a_known_one_does() {
        let listing = "5; 2615 1 SCHEMA - My Schema My Owner\n\
                       6; 1259 2 TABLE My Schema my table My Owner\n\
                       7; 0 2 TABLE DATA My Schema DATA x Owner\n\
                       8; 3079 3 EXTENSION - hstore \n\
                       9; 1255 4 FUNCTION public f(integer, text) new line\n\
                       10; 1259 5 THING public t postgres\n\
                       ; 11; 1259 5 TABLE public t postgres\n\
                       \n";
        let toc = Toc::parse(listing, ["My Owner", "Owner", "new\nline", "Schema"]);
        let mut entries: Vec<_> = toc.entries.iter().collect();
        entries.sort_by_key(|(id, _)| **id);
        let shown: Vec<String> = entries
            .into_iter()
            .map(|(id, entry)| format!("{id}: {} of {:?}", entry.object(), entry.owner))
            .collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        5: SCHEMA My Schema of "My Owner"
        6: TABLE My Schema.my table of "My Owner"
        7: TABLE DATA My Schema.DATA x of "Owner"
        8: EXTENSION hstore of ""
        9: FUNCTION public.f(integer, text) of "new line"
        10: THING public.t of "postgres"
        "#);
    }

    #[test]
    fn tables_with_rows_are_known_by_their_object_ids() {
        let listing = "6; 1259 16385 TABLE public TABLE DATA postgres\n\
                       7; 0 16385 TABLE DATA public TABLE DATA postgres\n\
                       8; 0 16390 MATERIALIZED VIEW DATA public v postgres\n\
                       9; 0 16399 TABLE DATA public stra\u{fffd}e postgres\n";
        let rows = Toc::table_rows(listing).into_iter();
        let rows: Vec<_> = rows.map(|rows| (rows.dump_id, rows.table)).collect();
        assert_eq!(rows, [(7, 16385), (9, 16399)]);
    }

    #[test]
    fn an_error_names_its_entry_without_the_schema() {
        let (id, entry) = Entry::from_error("215; 1259 16385 TABLE DATA t postgres").unwrap();
        assert_eq!((id, entry.object().as_str()), (215, "TABLE DATA t"));
        assert_eq!(Entry::from_error("215; 1259 TABLE t postgres"), None);
    }
}
