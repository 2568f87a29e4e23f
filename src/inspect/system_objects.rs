//! What a person may change of the objects that initdb made, and pg_dump leaves out. Whether it was changed shows beside the other
//! server: what initdb makes of these is the same in all versions.

use super::not_moved;
use crate::catalog::{Contents, NotMoved, NotMovedKind};
use crate::postgres::{Connection, Error};

/// Text search: which dictionaries a configuration asks for each kind of token, and what dictionaries are made with.
const TEXT_SEARCH: &str = "\
    SELECT 'configuration ' || c.cfgname, coalesce(string_agg(concat_ws(' ', t.alias, m.mapseqno, n.nspname, d.dictname), \
           ', ' ORDER BY t.alias, m.mapseqno), '') \
    FROM pg_catalog.pg_ts_config c \
    LEFT JOIN pg_catalog.pg_ts_config_map m ON m.mapcfg = c.oid \
    LEFT JOIN LATERAL ts_token_type(c.cfgparser) t ON t.tokid = m.maptokentype \
    LEFT JOIN pg_catalog.pg_ts_dict d ON d.oid = m.mapdict \
    LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.dictnamespace \
    WHERE c.oid < 16384 GROUP BY c.oid, c.cfgname \
    UNION ALL SELECT 'dictionary ' || d.dictname, coalesce(d.dictinitoption, '') \
    FROM pg_catalog.pg_ts_dict d WHERE d.oid < 16384 ORDER BY 1";

/// The information schema: what other roles than its owner may do.
const INFORMATION_SCHEMA: &str = "\
    SELECT o.name, coalesce((SELECT string_agg(concat_ws(' ', coalesce(r.rolname::text, 'PUBLIC'), a.privilege_type), ', ' \
                                    ORDER BY r.rolname, a.privilege_type) \
                             FROM aclexplode(o.acl) a LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee \
                             WHERE a.grantee <> o.owner), '') \
    FROM (SELECT 'the schema itself' AS name, n.nspowner AS owner, n.nspacl AS acl \
          FROM pg_catalog.pg_namespace n WHERE n.nspname = 'information_schema' \
          UNION ALL SELECT c.relname::text, c.relowner, c.relacl \
          FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
          WHERE n.nspname = 'information_schema' AND c.oid < 16384 AND c.relkind IN ('r', 'v') \
          UNION ALL SELECT p.proname || '()', p.proowner, coalesce(p.proacl, acldefault('f', p.proowner)) \
          FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
          WHERE n.nspname = 'information_schema' AND p.oid < 16384) AS o ORDER BY 1";

/// Casts that are not as initdb made them (BootstrapTransactionId, FrozenTransactionId), and functions with what it gives to none.
const CASTS_AND_FUNCTIONS: &str = "\
    SELECT 'cast (' || format_type(c.castsource, NULL) || ' AS ' || format_type(c.casttarget, NULL) || ')', \
           CASE c.castcontext WHEN 'i' THEN 'implicit' WHEN 'a' THEN 'in assignments' ELSE 'explicit' END \
    FROM pg_catalog.pg_cast c WHERE c.oid < 16384 AND c.xmin::text NOT IN ('1', '2') \
    UNION ALL SELECT 'function ' || p.oid::regprocedure, \
           concat_ws(', ', CASE WHEN p.prosecdef THEN 'security definer' END, 'settings ' || p.proconfig::text) \
    FROM pg_catalog.pg_proc p \
    WHERE p.oid < 16384 AND p.pronamespace = 'pg_catalog'::regnamespace AND (p.prosecdef OR p.proconfig IS NOT NULL) ORDER BY 1";

/// Languages that CREATE LANGUAGE did not make: which roles beside the owner may use them.
const LANGUAGES: &str = "\
    SELECT 'language ' || l.lanname, coalesce((SELECT string_agg(CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END \
                                                                 || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END, \
                                                                 ', ' ORDER BY r.rolname) \
                                               FROM aclexplode(coalesce(l.lanacl, acldefault('l', l.lanowner))) a \
                                               LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee \
                                               WHERE a.grantee <> l.lanowner), 'no role') \
    FROM pg_catalog.pg_language l WHERE NOT l.lanispl ORDER BY 1";

/// What ALTER OPERATOR FAMILY … ADD put into a family of initdb, as it has it. What an operator class has is dumped with it, and extensions
/// add theirs again.
const FAMILY_MEMBERS: &str = "\
    SELECT 'operator family ' || quote_ident(n.nspname) || '.' || quote_ident(f.opfname) || ' USING ' || m.amname, \
           string_agg(one.added, ', ' ORDER BY one.added DESC) \
    FROM ( \
        SELECT o.amopfamily, 'OPERATOR ' || o.amopstrategy || ' ' || o.amopopr::regoperator \
               || CASE o.amoppurpose WHEN 'o' THEN (SELECT ' FOR ORDER BY ' || quote_ident(sn.nspname) || '.' || quote_ident(s.opfname) \
                       FROM pg_catalog.pg_opfamily s JOIN pg_catalog.pg_namespace sn ON sn.oid = s.opfnamespace \
                       WHERE s.oid = o.amopsortfamily) ELSE '' END, \
               'pg_catalog.pg_amop'::regclass, o.oid, 'pg_catalog.pg_operator'::regclass, o.amopopr::oid \
        FROM pg_catalog.pg_amop o \
        UNION ALL SELECT p.amprocfamily, 'FUNCTION ' || p.amprocnum || ' (' || p.amproclefttype::regtype || ', ' \
               || p.amprocrighttype::regtype || ') ' || p.amproc::regprocedure, \
               'pg_catalog.pg_amproc'::regclass, p.oid, 'pg_catalog.pg_proc'::regclass, p.amproc::oid \
        FROM pg_catalog.pg_amproc p) AS one (family, added, class, oid, of_class, of_oid) \
    JOIN pg_catalog.pg_opfamily f ON f.oid = one.family JOIN pg_catalog.pg_namespace n ON n.oid = f.opfnamespace \
    JOIN pg_catalog.pg_am m ON m.oid = f.opfmethod \
    WHERE f.oid < 16384 AND one.oid >= 16384 AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d \
          WHERE d.classid = one.class AND d.objid = one.oid AND d.refclassid = 'pg_catalog.pg_opclass'::regclass \
             OR d.classid = one.of_class AND d.objid = one.of_oid AND d.deptype = 'e') \
    GROUP BY 1 ORDER BY 1";

/// Named as in `not_moved::system_schemas`. Those of the operating system are there from the start, or are imported later.
const COLLATIONS: &str = "\
    SELECT 'collation ' || quote_ident(c.collname), ''::text FROM pg_catalog.pg_collation c \
    WHERE c.collnamespace = 'pg_catalog'::regnamespace";

/// Every such object of the connection's database, as it is.
pub(super) async fn read(connection: &Connection) -> Result<Vec<NotMoved>, Error> {
    let mut found = Vec::new();
    for (what, sql) in [
        (NotMovedKind::TextSearch, TEXT_SEARCH),
        (NotMovedKind::InformationSchema, INFORMATION_SCHEMA),
        (NotMovedKind::SystemObject, CASTS_AND_FUNCTIONS),
        (NotMovedKind::LanguagePrivilege, LANGUAGES),
        (NotMovedKind::FamilyMember, FAMILY_MEMBERS),
    ] {
        found.extend(not_moved::read(connection, what, sql).await?);
    }
    Ok(found)
}

/// As [`read`] of the target, with what users may have added on the source and is on the target as well.
pub(super) async fn read_target(connection: &Connection) -> Result<Vec<NotMoved>, Error> {
    let mut found = read(connection).await?;
    found.extend(not_moved::read(connection, NotMovedKind::SystemSchema, COLLATIONS).await?);
    Ok(found)
}

/// Keeps of such objects those that the target has otherwise. `in_target`: the target's database of the same name, where there was
/// one, empty: it may come from a template of its own.
pub(super) fn retain_other(
    found: &mut Vec<NotMoved>,
    of_target: &[NotMoved],
    in_target: Option<&Contents>,
) {
    let of_target = match in_target {
        Some(there) if !there.not_moved.is_empty() => &there.not_moved,
        _ => of_target,
    };
    found.retain(|one| match one.what {
        NotMovedKind::TextSearch
        | NotMovedKind::InformationSchema
        | NotMovedKind::LanguagePrivilege => {
            let mut there = of_target.iter();
            there.any(|there| {
                there.what == one.what && there.object == one.object && there.detail != one.detail
            })
        }
        NotMovedKind::SystemObject | NotMovedKind::SystemSchema | NotMovedKind::FamilyMember => {
            !of_target.contains(one)
        }
        _ => true,
    });
}
