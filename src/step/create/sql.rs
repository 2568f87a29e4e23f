//! The statements that make a database on the target as it is on the source.

use super::statement::Statement;
use super::{privileges, settings};
use crate::catalog::{Database, LocaleProvider, ServerFacts, Version, locale, parameter};
use crate::plan::Tablespaces;
use crate::postgres::{quote_identifier, quote_literal};

/// What the statements need to know of the target.
#[derive(Debug, Clone)]
pub(super) struct Target<'a> {
    pub version: Version,
    /// Whether the migration runs as a superuser there.
    pub is_superuser: bool,
    pub tablespaces: &'a Tablespaces,
    /// `collcollate` of the collations of provider libc.
    pub locales: &'a [String],
}

impl<'a> Target<'a> {
    pub(super) fn new(facts: &'a ServerFacts, tablespaces: &'a Tablespaces) -> Self {
        Target {
            version: facts.version,
            is_superuser: facts.is_superuser,
            tablespaces,
            locales: &facts.locales,
        }
    }
}

/// Everything that makes one database. All of it can run in a session of another database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Creation {
    /// `CREATE DATABASE`. It cannot run in a transaction block, so it goes alone.
    pub create: String,
    /// `CREATE DATABASE` with the locale's name in the target's spelling (`utf8` for `UTF-8`), to be
    /// tried where `create` fails with `wrong_object_type` (42809), the error for a locale that the
    /// operating system does not know. glibc lists one spelling and accepts both, so the source's own
    /// comes first. `None` where the target lists no other.
    pub create_respelled: Option<String>,
    /// What the load needs: the comment, and the settings by which checks, indexes and refreshes compute. The database is
    /// ours, or where we are not a superuser its owner's, who may not connect: nobody else may, and last of all we may.
    pub before_load: Vec<Statement>,
    /// Of these, what may have changed on the source since an earlier run made them.
    pub again: Vec<Statement>,
    /// What opens it, in one transaction: settings that would disturb the sessions of the load or keep them out, the
    /// owner, privileges, the mark of a template, and last the connection limit.
    pub open: Vec<Statement>,
    /// What the target cannot have, a sentence each.
    pub losses: Vec<String>,
}

/// The statements that make the database.
///
/// A database that allows no connections, or whose DROP was interrupted, cannot be dumped; it is not
/// for this function.
pub(super) fn creation(database: &Database, target: &Target<'_>) -> Creation {
    let mut losses = Vec::new();
    let create = create_database(database, target, &[]);
    let respelled = create_database(database, target, target.locales);
    let create_respelled = (respelled != create).then_some(respelled);
    let name = quote_identifier(&database.name);

    let mut again = Vec::new();
    let mut before_load = Vec::new();
    let mut open = Vec::new();
    if let Some(comment) = &database.comment {
        let statement = Statement {
            sql: format!("COMMENT ON DATABASE {name} IS {}", quote_literal(comment)),
            what: "the comment".to_owned(),
            is_optional: false,
        };
        // By then the database is another role's.
        again.push(Statement {
            is_optional: true,
            ..statement.clone()
        });
        before_load.push(statement);
    }
    let owner = Statement {
        sql: format!(
            "ALTER DATABASE {name} OWNER TO {}",
            quote_identifier(&database.owner)
        ),
        what: "the owner".to_owned(),
        is_optional: false,
    };
    before_load.push(Statement {
        sql: format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC"),
        what: "that nobody else may connect".to_owned(),
        is_optional: false,
    });
    if target.is_superuser {
        open.push(owner);
    } else {
        // Where a superuser does not, only a role that may create objects in a schema can be given one there, and from
        // 15 on that is the database's owner for the schema public.
        before_load.push(owner);
        before_load.extend(privileges::creators(database));
        before_load.extend(privileges::lock_out_owner(database));
        open.extend(privileges::let_owner_in(database));
        open.extend(privileges::not_from_owner(database));
    }
    for setting in &database.settings {
        let statement = settings::statement(&database.name, setting, target.tablespaces);
        match parameter::removed(&setting.name, target.version) {
            Some(reason) => losses.push(format!(
                "database {}: {} is left out: {reason}",
                database.name, statement.what
            )),
            None if settings::disturbs_the_load(setting) => open.push(statement),
            None => {
                again.push(statement.clone());
                before_load.push(statement);
            }
        }
    }
    before_load.push(Statement {
        sql: format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true"),
        what: "that our role may connect".to_owned(),
        is_optional: false,
    });
    open.extend(privileges::revokes(database));
    open.extend(privileges::grants(database, target.is_superuser));
    if database.is_template {
        open.push(Statement {
            sql: format!("ALTER DATABASE {name} WITH IS_TEMPLATE true"),
            what: "the mark of a template".to_owned(),
            is_optional: false,
        });
    }
    if database.connection_limit >= 0 {
        let limit = database.connection_limit;
        open.push(Statement {
            sql: format!("ALTER DATABASE {name} WITH CONNECTION LIMIT {limit}"),
            what: "the connection limit".to_owned(),
            is_optional: false,
        });
    }
    Creation {
        create,
        create_respelled,
        before_load,
        again,
        open,
        losses,
    }
}

fn create_database(database: &Database, target: &Target<'_>, locales: &[String]) -> String {
    let mut sql = format!(
        "CREATE DATABASE {} WITH ALLOW_CONNECTIONS false TEMPLATE template0 ENCODING {}",
        quote_identifier(&database.name),
        quote_literal(&database.encoding),
    );
    let mut option = |keyword: &str, value: &str| {
        sql += &format!(" {keyword} {value}");
    };
    // The clause is new in 15. Left out, the provider is that of template0, which is whatever initdb
    // was told: icu, say, or builtin from 17 on.
    let (provider, locale_keyword) = match database.provider {
        LocaleProvider::Libc => ("libc", None),
        LocaleProvider::Icu => ("icu", Some("ICU_LOCALE")),
        LocaleProvider::Builtin => ("builtin", Some("BUILTIN_LOCALE")),
    };
    if target.version >= Version(150_000) || locale_keyword.is_some() {
        option("LOCALE_PROVIDER", provider);
    }
    if let (Some(keyword), Some(locale)) = (locale_keyword, &database.locale) {
        option(keyword, &quote_literal(locale));
    }
    if let Some(rules) = &database.icu_rules {
        option("ICU_RULES", &quote_literal(rules));
    }
    // These two hold for every provider: the libc locale that is still used for some purposes.
    let libc = |name| quote_literal(locale::spelling(name, locales));
    option("LC_COLLATE", &libc(&database.collate));
    option("LC_CTYPE", &libc(&database.ctype));
    // Where the target lacks it, the roles and tablespaces that came first have made it, or the run was refused.
    let tablespace = target.tablespaces.on_target(&database.tablespace);
    if let Some(tablespace) = tablespace.filter(|_| database.tablespace != "pg_default") {
        option("TABLESPACE", &quote_identifier(tablespace));
    }
    sql
}

#[cfg(test)]
mod tests {
    use crate::catalog::samples;
    use std::collections::BTreeMap;

    use super::*;
    use crate::catalog::{Privilege, Setting};

    fn database() -> Database {
        Database {
            collate: "de_DE.UTF-8".to_owned(),
            ..samples::database("My DB", "o'brien")
        }
    }

    static SAME: Tablespaces = Tablespaces(BTreeMap::new());

    fn target(version: u32) -> Target<'static> {
        Target {
            version: Version(version),
            is_superuser: true,
            tablespaces: &SAME,
            locales: &[],
        }
    }

    fn privilege(grantor: &str, grantee: &str, privilege: &str) -> Privilege {
        Privilege {
            grantor: grantor.to_owned(),
            grantee: (!grantee.is_empty()).then(|| grantee.to_owned()),
            privilege: privilege.trim_end_matches('*').to_owned(),
            grantable: privilege.ends_with('*'),
        }
    }

    fn setting(role: Option<&str>, name: &str, value: &str) -> Setting {
        Setting {
            role: role.map(str::to_owned),
            name: name.to_owned(),
            value: value.to_owned(),
        }
    }

    fn texts(statements: &[Statement]) -> String {
        let lines: Vec<String> = statements
            .iter()
            .map(|statement| format!("{}; -- {}", statement.sql, statement.what))
            .collect();
        lines.join("\n")
    }

    #[test]
    fn a_plain_database_needs_one_statement() {
        for (version, provider) in [
            (100_023, ""),
            (140_022, ""),
            (150_000, " LOCALE_PROVIDER libc"),
            (180_006, " LOCALE_PROVIDER libc"),
        ] {
            let creation = creation(&database(), &target(version));
            assert_eq!(
                creation.create,
                format!(
                    "CREATE DATABASE \"My DB\" WITH ALLOW_CONNECTIONS false TEMPLATE template0 \
                     ENCODING 'UTF8'{provider} LC_COLLATE 'de_DE.UTF-8' LC_CTYPE 'C'"
                )
            );
            assert_eq!(creation.create_respelled, None);
            assert!(creation.losses.is_empty());
        }
        let creation = creation(&database(), &target(180_006));
        insta::assert_snapshot!(texts(&creation.before_load), @r#"
        REVOKE ALL ON DATABASE "My DB" FROM PUBLIC; -- that nobody else may connect
        ALTER DATABASE "My DB" WITH ALLOW_CONNECTIONS true; -- that our role may connect
        "#);
        insta::assert_snapshot!(texts(&creation.open), @r#"
        ALTER DATABASE "My DB" OWNER TO "o'brien"; -- the owner
        GRANT TEMPORARY, CONNECT ON DATABASE "My DB" TO PUBLIC; -- privileges of PUBLIC
        "#);
    }

    #[test]
    fn locales_of_other_providers() {
        let mut database = database();
        database.provider = LocaleProvider::Icu;
        database.locale = Some("de-u-co-phonebk".to_owned());
        database.icu_rules = Some("&a < g".to_owned());
        insta::assert_snapshot!(creation(&database, &target(160_014)).create, @r#"CREATE DATABASE "My DB" WITH ALLOW_CONNECTIONS false TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'de-u-co-phonebk' ICU_RULES '&a < g' LC_COLLATE 'de_DE.UTF-8' LC_CTYPE 'C'"#);
        database.provider = LocaleProvider::Builtin;
        database.locale = Some("C.UTF-8".to_owned());
        database.icu_rules = None;
        insta::assert_snapshot!(creation(&database, &target(170_010)).create, @r#"CREATE DATABASE "My DB" WITH ALLOW_CONNECTIONS false TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LC_COLLATE 'de_DE.UTF-8' LC_CTYPE 'C'"#);
    }

    #[test]
    fn what_the_target_spells_or_places_otherwise() {
        let mut database = database();
        database.tablespace = "fast disks".to_owned();
        let locales = ["de_DE.utf8".to_owned()];
        let mut target = target(180_006);
        target.locales = &locales;
        let without = creation(&database, &target);
        assert!(without.create.contains("LC_COLLATE 'de_DE.UTF-8'"));
        insta::assert_snapshot!(without.create_respelled.unwrap(), @r#"CREATE DATABASE "My DB" WITH ALLOW_CONNECTIONS false TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc LC_COLLATE 'de_DE.utf8' LC_CTYPE 'C' TABLESPACE "fast disks""#);
        assert!(without.create.ends_with(" TABLESPACE \"fast disks\""));
        let chosen = |name: Option<&str>| {
            let name = name.map(str::to_owned);
            Tablespaces(BTreeMap::from([("fast disks".to_owned(), name)]))
        };
        let (other, default) = (chosen(Some("ssd")), chosen(None));
        target.tablespaces = &other;
        let with = creation(&database, &target).create;
        assert!(with.ends_with(" TABLESPACE \"ssd\""), "{with}");
        target.tablespaces = &default;
        let with = creation(&database, &target).create;
        assert!(!with.contains("TABLESPACE"), "{with}");
    }

    #[test]
    fn properties_go_before_or_after_the_load() {
        let mut database = database();
        database.comment = Some("it's; a\ncomment".to_owned());
        database.is_template = true;
        database.connection_limit = 0;
        database.settings = vec![
            setting(None, "search_path", "app, \"$user\""),
            setting(None, "default_with_oids", "on"),
            setting(None, "TimeZone", "Pacific/Auckland"),
            setting(Some("b;c"), "work_mem", "64MB"),
        ];
        database.privileges = Some(vec![
            privilege("o'brien", "", "TEMPORARY"),
            privilege("o'brien", "reader", "CONNECT"),
            privilege("o'brien", "o'brien", "CREATE"),
            privilege("o'brien", "o'brien", "TEMPORARY"),
            privilege("o'brien", "o'brien", "CONNECT*"),
            privilege("o'brien", "lead", "CREATE*"),
            privilege("o'brien", "lead", "CONNECT"),
            privilege("o'brien", "lead", "TEMPORARY*"),
            privilege("lead", "b;c", "CREATE"),
            privilege("lead", "", "CREATE"),
        ]);
        let mut target = target(180_006);
        let as_superuser = creation(&database, &target);
        insta::assert_snapshot!(texts(&as_superuser.before_load), @r#"
        COMMENT ON DATABASE "My DB" IS 'it''s; a
        comment'; -- the comment
        REVOKE ALL ON DATABASE "My DB" FROM PUBLIC; -- that nobody else may connect
        ALTER DATABASE "My DB" SET "TimeZone" TO 'Pacific/Auckland'; -- setting TimeZone
        ALTER DATABASE "My DB" WITH ALLOW_CONNECTIONS true; -- that our role may connect
        "#);
        insta::assert_snapshot!(texts(&as_superuser.open), @r#"
        ALTER DATABASE "My DB" OWNER TO "o'brien"; -- the owner
        ALTER DATABASE "My DB" SET "search_path" TO 'app', '$user'; -- setting search_path
        ALTER ROLE "b;c" IN DATABASE "My DB" SET "work_mem" TO '64MB'; -- setting work_mem of role b;c
        GRANT CONNECT ON DATABASE "My DB" TO "o'brien" WITH GRANT OPTION; -- privileges of role o'brien
        GRANT TEMPORARY ON DATABASE "My DB" TO PUBLIC; -- privileges of PUBLIC
        GRANT CONNECT ON DATABASE "My DB" TO "reader"; -- privileges of role reader
        GRANT CONNECT ON DATABASE "My DB" TO "lead"; -- privileges of role lead
        GRANT CREATE, TEMPORARY ON DATABASE "My DB" TO "lead" WITH GRANT OPTION; -- privileges of role lead
        SET ROLE "lead"; GRANT CREATE ON DATABASE "My DB" TO "b;c"; SET ROLE NONE; -- privileges of role b;c
        SET ROLE "lead"; GRANT CREATE ON DATABASE "My DB" TO PUBLIC; SET ROLE NONE; -- privileges of PUBLIC
        ALTER DATABASE "My DB" WITH IS_TEMPLATE true; -- the mark of a template
        ALTER DATABASE "My DB" WITH CONNECTION LIMIT 0; -- the connection limit
        "#);
        insta::assert_snapshot!(as_superuser.losses.join("\n"), @"database My DB: setting default_with_oids is left out: PostgreSQL 12 and later have no parameter default_with_oids");

        target.is_superuser = false;
        let as_other = creation(&database, &target);
        insta::assert_snapshot!(texts(&as_other.before_load[1..8]), @r#"
        REVOKE ALL ON DATABASE "My DB" FROM PUBLIC; -- that nobody else may connect
        ALTER DATABASE "My DB" OWNER TO "o'brien"; -- the owner
        GRANT CREATE ON DATABASE "My DB" TO "b;c"; -- that role b;c may own schemas
        GRANT CREATE ON DATABASE "My DB" TO "lead"; -- that role lead may own schemas
        GRANT CREATE ON DATABASE "My DB" TO "o'brien"; -- that role o'brien may own schemas
        REVOKE CONNECT ON DATABASE "My DB" FROM "o'brien"; -- that its owner may not connect either
        GRANT CONNECT ON DATABASE "My DB" TO CURRENT_USER; -- that our role may
        "#);
        insta::assert_snapshot!(texts(&as_other.open[..3]), @r#"
        REVOKE CONNECT ON DATABASE "My DB" FROM CURRENT_USER; -- that our role needs no privilege any more
        GRANT CONNECT ON DATABASE "My DB" TO "o'brien"; -- that its owner may connect
        REVOKE CREATE ON DATABASE "My DB" FROM "b;c"; -- that role b;c may own schemas by its own privileges alone
        "#);
        // Whoever has a grant option by then, these are the owner's.
        insta::assert_snapshot!(texts(&as_other.open[5..8]), @r#"
        SET ROLE "o'brien"; GRANT CONNECT ON DATABASE "My DB" TO "o'brien" WITH GRANT OPTION; SET ROLE NONE; -- privileges of role o'brien
        SET ROLE "o'brien"; GRANT TEMPORARY ON DATABASE "My DB" TO PUBLIC; SET ROLE NONE; -- privileges of PUBLIC
        SET ROLE "o'brien"; GRANT CONNECT ON DATABASE "My DB" TO "reader"; SET ROLE NONE; -- privileges of role reader
        "#);
        let what = |statements: &[Statement]| {
            let what = statements.iter().map(|statement| statement.what.clone());
            what.collect::<Vec<String>>()
        };
        assert_eq!(what(&as_other.open[3..]), what(&as_superuser.open[1..]));
    }

    #[test]
    fn an_empty_list_of_privileges_takes_everything_away() {
        let mut database = database();
        database.privileges = Some(Vec::new());
        insta::assert_snapshot!(texts(&creation(&database, &target(180_006)).open), @r#"
        ALTER DATABASE "My DB" OWNER TO "o'brien"; -- the owner
        REVOKE CREATE, TEMPORARY, CONNECT ON DATABASE "My DB" FROM "o'brien"; -- privileges taken from role o'brien
        "#);
    }
}
