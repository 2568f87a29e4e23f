//! The server's databases, from its shared catalogs.

use std::collections::HashMap;

use super::query;
use crate::catalog::{Database, LocaleProvider, Privilege, Setting, is_mark};
use crate::postgres::{Connection, Error};

/// Reads every database, smallest first, without a look into it.
pub(crate) async fn read(connection: &Connection) -> Result<Vec<Database>, Error> {
    // PostgreSQL 15 added providers, 16 the rules of ICU, 17 renamed the locale's column.
    let (provider, locale, rules) = match connection.version().major() {
        0..1500 => ("'c'", "NULL::text", "NULL::text"),
        1500..1600 => (
            "d.datlocprovider::text",
            "d.daticulocale::text",
            "NULL::text",
        ),
        1600..1700 => (
            "d.datlocprovider::text",
            "d.daticulocale::text",
            "d.daticurules::text",
        ),
        _ => (
            "d.datlocprovider::text",
            "d.datlocale::text",
            "d.daticurules::text",
        ),
    };
    let rows = query::rows(
            connection,
            "list the databases",
            &format!(
                "SELECT d.oid, d.datname::text, pg_get_userbyid(d.datdba)::text, \
                        CASE WHEN has_database_privilege(d.oid, 'CONNECT') \
                             THEN pg_database_size(d.oid) END, \
                        d.datistemplate, d.datallowconn, d.datconnlimit, \
                        pg_encoding_to_char(d.encoding)::text, d.datcollate::text, d.datctype::text, \
                        {provider}, {locale}, {rules}, t.spcname::text, \
                        shobj_description(d.oid, 'pg_database'), d.datacl IS NULL, \
                        (SELECT count(*) FROM pg_catalog.pg_stat_activity s WHERE s.datid = d.oid \
                            AND coalesce(s.application_name, '') NOT LIKE 'pg-migrate/%') \
                 FROM pg_catalog.pg_database d \
                 JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace"
            ),
        )
        .await?;
    let mut privileges = privileges(connection).await?;
    let mut settings = settings(connection).await?;
    let mut databases: Vec<Database> = rows
        .iter()
        .map(|row| {
            let oid: u32 = row.get(0);
            let default_privileges: bool = row.get(15);
            Database {
                oid,
                name: row.get(1),
                owner: row.get(2),
                bytes: row
                    .get::<_, Option<i64>>(3)
                    .and_then(|bytes| u64::try_from(bytes).ok()),
                is_template: row.get(4),
                allows_connections: row.get(5),
                connection_limit: row.get(6),
                used_connections: u32::try_from(row.get::<_, i64>(16)).unwrap_or(u32::MAX),
                encoding: row.get(7),
                collate: row.get(8),
                ctype: row.get(9),
                provider: match row.get(10) {
                    "i" => LocaleProvider::Icu,
                    "b" => LocaleProvider::Builtin,
                    _ => LocaleProvider::Libc,
                },
                locale: row.get(11),
                icu_rules: row.get(12),
                tablespace: row.get(13),
                comment: row.get(14),
                privileges: (!default_privileges)
                    .then(|| privileges.remove(&oid).unwrap_or_default()),
                settings: settings.remove(&oid).unwrap_or_default(),
                contents: None,
            }
        })
        .collect();
    databases.retain(|database| !is_mark(&database.name, database.comment.as_deref()));
    databases.sort_by(|a, b| (a.bytes, &a.name).cmp(&(b.bytes, &b.name)));
    Ok(databases)
}

/// `datacl`, entry by entry in its own order, by the database's oid.
async fn privileges(connection: &Connection) -> Result<HashMap<u32, Vec<Privilege>>, Error> {
    let rows = query::rows(
        connection,
        "read the privileges on databases",
        "SELECT d.oid, pg_get_userbyid(a.grantor)::text, \
                    CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee)::text END, \
                    a.privilege_type, a.is_grantable \
             FROM pg_catalog.pg_database d, \
                  LATERAL aclexplode(d.datacl) WITH ORDINALITY \
                      AS a(grantor, grantee, privilege_type, is_grantable, position) \
             ORDER BY d.oid, a.position",
    )
    .await?;
    let mut privileges: HashMap<u32, Vec<Privilege>> = HashMap::new();
    for row in &rows {
        privileges.entry(row.get(0)).or_default().push(Privilege {
            grantor: row.get(1),
            grantee: row.get(2),
            privilege: row.get(3),
            grantable: row.get(4),
        });
    }
    Ok(privileges)
}

/// `pg_db_role_setting` of each database, by its oid.
async fn settings(connection: &Connection) -> Result<HashMap<u32, Vec<Setting>>, Error> {
    let rows = query::rows(
        connection,
        "read the settings of databases",
        "SELECT s.setdatabase, r.rolname::text, c.setting \
             FROM pg_catalog.pg_db_role_setting s \
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole, \
                  LATERAL unnest(s.setconfig) WITH ORDINALITY AS c(setting, position) \
             WHERE s.setdatabase <> 0 AND (s.setrole = 0 OR r.oid IS NOT NULL) \
             ORDER BY s.setdatabase, r.rolname::text COLLATE \"C\" NULLS FIRST, c.position",
    )
    .await?;
    let mut settings: HashMap<u32, Vec<Setting>> = HashMap::new();
    for row in &rows {
        let entry: &str = row.get(2);
        let Some((name, value)) = entry.split_once('=') else {
            continue;
        };
        settings.entry(row.get(0)).or_default().push(Setting {
            role: row.get(1),
            name: name.to_owned(),
            value: value.to_owned(),
        });
    }
    Ok(settings)
}
