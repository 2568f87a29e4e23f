//! What of the source no client program brings along.

use super::column_order;
use super::computed::generated_columns;
use super::detaching::pending_detaches;
use super::indexes::OF_NO_EXTENSION;
use super::query::{self, USER_SCHEMA, member_of_extension};
use super::sequences::scripted_sequences;
use super::tablespaces;
use crate::catalog::{NotMoved, NotMovedKind};
use crate::postgres::{Connection, Error};

/// Of what initdb made, oids are lower (FirstNormalObjectId).
const BY_USERS: &str = "16384";

/// The role that ran initdb, whatever its name is now (BOOTSTRAP_SUPERUSERID).
pub(super) const INITDB: &str = "10";

/// Reads what of the source as a whole is not moved, and is not on the target already.
pub(super) async fn of_server(
    source: &Connection,
    target: &Connection,
    target_user: &str,
) -> Result<Vec<NotMoved>, Error> {
    let mut found = Vec::new();
    for (what, sql) in [
        (
            NotMovedKind::MembershipWithoutRole,
            "SELECT pg_get_userbyid(m.roleid)::text, pg_get_userbyid(m.member)::text \
             FROM pg_catalog.pg_auth_members m \
             WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = m.roleid) \
                OR NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = m.member) \
                OR NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = m.grantor) \
             ORDER BY m.roleid, m.member",
        ),
        (
            NotMovedKind::SecurityLabel,
            "SELECT d.datname::text, l.provider FROM pg_catalog.pg_shseclabel l \
             JOIN pg_catalog.pg_database d ON d.oid = l.objoid \
             WHERE l.classoid = 'pg_catalog.pg_database'::regclass ORDER BY d.datname, l.provider",
        ),
    ] {
        found.extend(read(source, what, sql).await?);
    }
    let slots = match source.version().major() {
        ..904 => None,
        904..1000 => Some("true"),
        _ => Some("NOT temporary"),
    };
    if let Some(kept) = slots {
        let sql = format!(
            "SELECT slot_name::text, concat_ws(' ', slot_type, 'in database ' || quote_ident(database)) \
             FROM pg_catalog.pg_replication_slots WHERE {kept} ORDER BY 1"
        );
        found.extend(read(source, NotMovedKind::ReplicationSlot, &sql).await?);
    }
    let there = both(target, target_user).await?;
    let mut here = both(source, target_user).await?;
    here.retain(|not_moved| !there.contains(not_moved));
    found.extend(here);
    Ok(found)
}

/// What either server may have of its own, and is never changed on the target: settings of all roles, tablespaces that initdb made, and
/// what is set for the role that runs the migration there.
async fn both(connection: &Connection, target_user: &str) -> Result<Vec<NotMoved>, Error> {
    let sql = "SELECT split_part(c, '=', 1), substr(c, strpos(c, '=') + 1) \
               FROM pg_catalog.pg_db_role_setting s, LATERAL unnest(s.setconfig) AS c \
               WHERE s.setdatabase = 0 AND s.setrole = 0 ORDER BY c";
    let mut found = read(connection, NotMovedKind::SettingOfAllRoles, sql).await?;
    let what = NotMovedKind::SystemTablespace;
    found.extend(read(connection, what, tablespaces::OF_INITDB).await?);
    let sql = "SELECT r.rolname::text, 'setting ' || c \
               FROM pg_catalog.pg_db_role_setting s \
               JOIN pg_catalog.pg_roles r ON r.oid = s.setrole, LATERAL unnest(s.setconfig) AS c \
               WHERE s.setdatabase = 0 AND r.rolname = $1 \
               UNION ALL SELECT r.rolname::text, 'comment ' || quote_literal(shobj_description(r.oid, 'pg_authid')) \
               FROM pg_catalog.pg_roles r \
               WHERE r.rolname = $1 AND shobj_description(r.oid, 'pg_authid') IS NOT NULL \
               UNION ALL SELECT r.rolname::text, 'attribute CONNECTION LIMIT ' || r.rolconnlimit \
               FROM pg_catalog.pg_roles r WHERE r.rolname = $1 AND r.rolconnlimit <> -1 \
               UNION ALL SELECT r.rolname::text, 'attribute VALID UNTIL ' || quote_literal(r.rolvaliduntil::text) \
               FROM pg_catalog.pg_roles r WHERE r.rolname = $1 AND r.rolvaliduntil < 'infinity' \
               UNION ALL SELECT r.rolname::text, 'membership in role ' || pg_get_userbyid(m.roleid) \
               FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles r ON r.oid = m.member \
               WHERE r.rolname = $1 ORDER BY 2";
    let rows = connection
        .query(sql, &[&target_user])
        .await
        .map_err(connection.failed("read the role that runs the migration"))?;
    found.extend(rows.iter().map(|row| NotMoved {
        what: NotMovedKind::MigratingRole,
        object: row.get(0),
        detail: row.get(1),
    }));
    Ok(found)
}

/// Reads privileges on objects of the system in a database that does not migrate. In one that does, pg_dump writes them.
pub(super) async fn of_installation(connection: &Connection) -> Result<Vec<NotMoved>, Error> {
    // The privileges that initdb gives are on record since 9.6.
    if connection.version().major() < 906 {
        return Ok(Vec::new());
    }
    // Those of the information schema are not among them.
    let changed = |class: &str, alias: &str, acl: &str, which: &str| {
        format!(
            "LEFT JOIN pg_catalog.pg_init_privs i ON i.objoid = {alias}.oid \
                  AND i.classoid = 'pg_catalog.{class}'::regclass AND i.objsubid = 0 \
             WHERE {alias}.oid < {BY_USERS} AND {alias}.{acl} IS DISTINCT FROM i.initprivs \
               AND {alias}.{acl} IS NOT NULL AND {which}"
        )
    };
    let sql = format!(
        "SELECT p.oid::regprocedure::text, ''::text FROM pg_catalog.pg_proc p {} \
         UNION ALL SELECT c.oid::regclass::text, ''::text FROM pg_catalog.pg_class c {} \
         UNION ALL SELECT 'schema ' || n.nspname, ''::text FROM pg_catalog.pg_namespace n {} ORDER BY 1",
        changed(
            "pg_proc",
            "p",
            "proacl",
            "p.pronamespace = 'pg_catalog'::regnamespace"
        ),
        changed(
            "pg_class",
            "c",
            "relacl",
            "c.relnamespace = 'pg_catalog'::regnamespace"
        ),
        changed(
            "pg_namespace",
            "n",
            "nspacl",
            "n.nspname <> 'information_schema'"
        )
    );
    read(connection, NotMovedKind::SystemPrivilege, &sql).await
}

/// Reads what of the connection's database, which migrates, is not moved.
pub(super) async fn of_database(connection: &Connection) -> Result<Vec<NotMoved>, Error> {
    let mut found = Vec::new();
    let queries = [
        (
            NotMovedKind::AclWithoutRole,
            acl_without_role(connection.version().major()),
        ),
        (NotMovedKind::Dropped, DROPPED.to_owned()),
        (
            NotMovedKind::ExtensionOwner,
            format!(
                "SELECT e.extname::text, pg_get_userbyid(e.extowner)::text FROM pg_catalog.pg_extension e \
                 WHERE e.oid >= {BY_USERS} ORDER BY 1"
            ),
        ),
        (NotMovedKind::ExtensionRows, EXTENSION_ROWS.to_owned()),
        (NotMovedKind::InvalidIndex, invalid_indexes()),
        (
            NotMovedKind::RangeFunction,
            format!(
                "SELECT p.oid::regprocedure::text, ''::text FROM pg_catalog.pg_proc p \
                 WHERE p.oid >= {BY_USERS} AND p.proacl IS NOT NULL AND EXISTS \
                       (SELECT FROM pg_catalog.pg_depend d \
                        WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid \
                          AND d.refclassid = 'pg_catalog.pg_type'::regclass AND d.deptype = 'i') \
                 ORDER BY 1"
            ),
        ),
        (
            NotMovedKind::ReferenceDisabled,
            REFERENCE_DISABLED.to_owned(),
        ),
        (NotMovedKind::SystemOwner, system_owners()),
        (NotMovedKind::SystemSchema, system_schemas()),
        (NotMovedKind::UnloggedSequence, unlogged_sequences()),
    ];
    for (what, sql) in queries {
        found.extend(read(connection, what, &sql).await?);
    }
    found.extend(extension_sequences(connection).await?);
    found.extend(unreadable_definitions(connection).await?);
    if connection.version().major() >= 1000 {
        let what = NotMovedKind::SubscriptionCopying;
        found.extend(read(connection, what, SUBSCRIPTION_COPYING).await?);
    }
    found.extend(column_order::changed(connection).await?);
    if connection.version().major() >= 1200 {
        let what = NotMovedKind::GeneratedColumn;
        found.extend(
            read(
                connection,
                what,
                &generated_columns(connection.version().major()),
            )
            .await?,
        );
    }
    let pending = pending_detaches(connection).await?.into_iter();
    found.extend(pending.map(|pending| NotMoved {
        what: NotMovedKind::DetachPending,
        object: format!("{}.{}", pending.partition.schema, pending.partition.name),
        detail: pending.parent.to_string(),
    }));
    Ok(found)
}

/// Before 14 only superusers may read the oids of subscriptions themselves; every role may those of the view.
const SUBSCRIPTION_COPYING: &str = "\
    SELECT s.subname::text, string_agg(r.srrelid::regclass::text, ', ' ORDER BY r.srrelid::regclass::text) \
    FROM pg_catalog.pg_subscription_rel r \
    JOIN (SELECT DISTINCT subid, subname FROM pg_catalog.pg_stat_subscription) s ON s.subid = r.srsubid \
    WHERE r.srsubstate NOT IN ('r', 's') GROUP BY 1 ORDER BY 1";

/// Triggers of foreign keys that ALTER TABLE … DISABLE TRIGGER ALL disabled, on either side. No dump brings that along.
const REFERENCE_DISABLED: &str = "\
    SELECT n.nspname || '.' || c.relname, string_agg(DISTINCT r.conname::text, ', ') \
    FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_catalog.pg_constraint r ON r.oid = t.tgconstraint AND r.contype = 'f' \
    WHERE t.tgisinternal AND t.tgenabled <> 'O' GROUP BY 1 ORDER BY 1";

/// Those of partitioned tables are dumped as they are.
fn invalid_indexes() -> String {
    format!(
        "SELECT n.nspname || '.' || c.relname, CASE WHEN i.indisunique THEN 'unique' ELSE '' END \
         FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE NOT i.indisvalid AND c.relkind = 'i' AND {USER_SCHEMA} AND {} ORDER BY 1",
        OF_NO_EXTENSION
    )
}

/// What a new database has and this one does not.
const DROPPED: &str = "\
    SELECT 'schema public', '' WHERE NOT EXISTS \
           (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'public') \
    UNION ALL SELECT 'extension plpgsql', '' WHERE NOT EXISTS \
           (SELECT FROM pg_catalog.pg_extension WHERE extname = 'plpgsql')";

/// Tables of extensions whose rows are left to their scripts.
const EXTENSION_ROWS: &str = "\
    SELECT n.nspname || '.' || c.relname, e.extname::text \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid \
         AND d.objsubid = 0 AND d.deptype = 'e' \
    JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid \
    WHERE c.relkind IN ('r', 'm') AND NOT c.oid = ANY (coalesce(e.extconfig, '{}')) \
      AND pg_relation_size(c.oid) > 0 ORDER BY 1";

/// Sequences of extensions that are not where they begin.
async fn extension_sequences(connection: &Connection) -> Result<Vec<NotMoved>, Error> {
    let found = scripted_sequences(connection).await?.into_iter();
    let found = found.filter_map(|found| {
        let stands = match &found.sequence {
            Some(sequence) if !sequence.is_used() => return None,
            Some(sequence) => sequence.value.last.to_string(),
            None => "not readable".to_owned(),
        };
        Some(NotMoved {
            what: NotMovedKind::ExtensionSequence,
            object: found.name.to_string(),
            detail: format!("{} ({stands})", found.extension),
        })
    });
    Ok(found.collect())
}

/// Those of users that a standby has no values of.
fn unlogged_sequences() -> String {
    format!(
        "SELECT n.nspname || '.' || c.relname, ''::text FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'S' AND c.relpersistence = 'u' AND pg_is_in_recovery() AND {USER_SCHEMA} AND NOT {} ORDER BY 1",
        member_of_extension("pg_class", "c")
    )
}

/// Everything with a list of privileges that names a role which does not exist.
fn acl_without_role(major: u32) -> String {
    let mut lists = vec![
        ("pg_class", "o.oid::regclass::text", "relacl"),
        (
            "pg_attribute",
            "o.attrelid::regclass || '.' || o.attname",
            "attacl",
        ),
        ("pg_proc", "o.oid::regprocedure::text", "proacl"),
        ("pg_namespace", "'schema ' || o.nspname", "nspacl"),
        ("pg_type", "'type ' || o.oid::regtype", "typacl"),
        ("pg_language", "'language ' || o.lanname", "lanacl"),
        (
            "pg_foreign_data_wrapper",
            "'foreign data wrapper ' || o.fdwname",
            "fdwacl",
        ),
        ("pg_foreign_server", "'server ' || o.srvname", "srvacl"),
        (
            "pg_default_acl",
            "'default privileges of role ' || pg_get_userbyid(o.defaclrole)",
            "defaclacl",
        ),
    ];
    // Their privileges are in a catalog that all may read since 9.0; since 14 there may be very many.
    if major >= 900 {
        lists.push((
            "pg_largeobject_metadata",
            "'large object ' || o.oid",
            "lomacl",
        ));
    }
    let selects: Vec<String> = lists
        .into_iter()
        .map(|(catalog, name, acl)| {
            format!(
                "SELECT DISTINCT {name}, role::text FROM pg_catalog.{catalog} o, \
                        LATERAL aclexplode(o.{acl}) AS a, LATERAL unnest(ARRAY[a.grantee, a.grantor]) AS role \
                 WHERE o.{acl} IS NOT NULL AND role <> 0 \
                   AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = role)"
            )
        })
        .collect();
    format!("{} ORDER BY 1, 2", selects.join(" UNION ALL "))
}

/// What initdb made and another role than the one that ran it owns. The owner of the schema public is dumped.
fn system_owners() -> String {
    let owned = [
        ("pg_class", "o.oid::regclass::text", "relowner"),
        ("pg_proc", "o.oid::regprocedure::text", "proowner"),
        ("pg_type", "'type ' || o.oid::regtype", "typowner"),
        ("pg_namespace", "'schema ' || o.nspname", "nspowner"),
        ("pg_language", "'language ' || o.lanname", "lanowner"),
    ];
    let selects: Vec<String> = owned
        .into_iter()
        .map(|(catalog, name, owner)| {
            let which = match catalog {
                "pg_namespace" => "AND o.nspname <> 'public'",
                // Rows and elements go with the table, the type.
                "pg_type" => "AND o.typrelid = 0 AND o.typelem = 0",
                "pg_class" => "AND o.relkind IN ('r', 'v')",
                // A member of the extension plpgsql.
                "pg_language" => "AND o.lanname <> 'plpgsql'",
                _ => "",
            };
            format!(
                "SELECT {name}, pg_get_userbyid(o.{owner})::text FROM pg_catalog.{catalog} o \
                 WHERE o.oid < {BY_USERS} AND o.{owner} <> {INITDB} {which}"
            )
        })
        .collect();
    format!("{} ORDER BY 1", selects.join(" UNION ALL "))
}

/// What users made in schemas that pg_dump leaves out: those of the system, and all that begin with its prefix.
fn system_schemas() -> String {
    let in_system = "(n.nspname = 'information_schema' OR n.nspname ~ '^pg_') AND n.nspname !~ '^pg_(toast|temp_)'";
    let others = [
        (
            "pg_operator",
            "'operator ' || o.oid::regoperator",
            "oprnamespace",
        ),
        (
            "pg_opclass",
            "'operator class ' || o.opcname",
            "opcnamespace",
        ),
        (
            "pg_opfamily",
            "'operator family ' || o.opfname",
            "opfnamespace",
        ),
        (
            "pg_collation",
            "'collation ' || quote_ident(o.collname)",
            "collnamespace",
        ),
        (
            "pg_conversion",
            "'conversion ' || o.conname",
            "connamespace",
        ),
        (
            "pg_ts_config",
            "'text search configuration ' || o.cfgname",
            "cfgnamespace",
        ),
        (
            "pg_ts_dict",
            "'text search dictionary ' || o.dictname",
            "dictnamespace",
        ),
        (
            "pg_ts_parser",
            "'text search parser ' || o.prsname",
            "prsnamespace",
        ),
        (
            "pg_ts_template",
            "'text search template ' || o.tmplname",
            "tmplnamespace",
        ),
    ]
    .map(|(catalog, name, namespace)| {
        format!(
            "UNION ALL SELECT {name}, ''::text FROM pg_catalog.{catalog} o \
             JOIN pg_catalog.pg_namespace n ON n.oid = o.{namespace} \
             WHERE o.oid >= {BY_USERS} AND {in_system} AND NOT {} ",
            member_of_extension(catalog, "o")
        )
    });
    format!(
        "SELECT n.nspname || '.' || c.relname, ''::text FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.oid >= {BY_USERS} AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c') AND {in_system} AND NOT {} \
         UNION ALL SELECT n.nspname || '.' || t.typname, ''::text \
         FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
         WHERE t.oid >= {BY_USERS} AND t.typtype IN ('d', 'e', 'r') AND {in_system} AND NOT {} \
         UNION ALL SELECT n.nspname || '.' || p.proname \
                || '(' || pg_get_function_identity_arguments(p.oid) || ')', ''::text \
         FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
         WHERE p.oid >= {BY_USERS} AND {in_system} AND NOT {} \
         {} ORDER BY 1",
        member_of_extension("pg_class", "c"),
        member_of_extension("pg_type", "t"),
        member_of_extension("pg_proc", "p"),
        others.concat()
    )
}

/// What pg_dump leaves out, or a part of it, for a role that is not a superuser.
async fn unreadable_definitions(connection: &Connection) -> Result<Vec<NotMoved>, Error> {
    let sql = "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user";
    let row = query::row(connection, "read our role", sql).await?;
    if row.get(0) {
        return Ok(Vec::new());
    }
    let what = NotMovedKind::UnreadableDefinition;
    let sql = "SELECT 'user mapping of ' || usename || ' for server ' || srvname, ''::text \
               FROM pg_catalog.pg_user_mappings WHERE umoptions IS NULL ORDER BY 1";
    let mut found = read(connection, what, sql).await?;
    if connection.version().major() >= 1000 {
        let sql = "SELECT 'subscription ' || s.subname, ''::text FROM pg_catalog.pg_subscription s \
                   JOIN pg_catalog.pg_database d ON d.oid = s.subdbid \
                   WHERE d.datname = current_database() ORDER BY 1";
        found.extend(read(connection, what, sql).await?);
    }
    Ok(found)
}

/// Reads what a query finds: the object, and what of it.
pub(super) async fn read(
    connection: &Connection,
    what: NotMovedKind,
    sql: &str,
) -> Result<Vec<NotMoved>, Error> {
    let rows = query::rows(connection, "look for what is not moved", sql).await?;
    let found = rows.iter().map(|row| NotMoved {
        what,
        object: row.get(0),
        detail: row.get(1),
    });
    Ok(found.collect())
}
