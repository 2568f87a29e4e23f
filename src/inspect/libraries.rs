//! Libraries that settings load into sessions: without one of them no session comes about.

use super::query;
use crate::catalog::LackedLibrary;
use crate::postgres::{Connection, Error};

/// The libraries that settings of the source's databases and roles name, and that the target lacks or may lack.
pub(super) async fn lacked(
    source: &Connection,
    target: &Connection,
) -> Result<Vec<LackedLibrary>, Error> {
    let rows = query::rows(
        source,
        "read the libraries in settings",
        "SELECT d.datname::text, r.rolname::text, split_part(c, '=', 1), substr(c, strpos(c, '=') + 1) \
         FROM pg_catalog.pg_db_role_setting s \
         LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase \
         LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole, LATERAL unnest(s.setconfig) AS c \
         WHERE split_part(c, '=', 1) IN ('session_preload_libraries', 'local_preload_libraries') \
           AND (d.oid IS NOT NULL OR r.oid IS NOT NULL) \
         ORDER BY d.datname NULLS FIRST, r.rolname NULLS FIRST, c",
    )
    .await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let directories = directories(target).await?;
    let mut lacked = Vec::new();
    for row in &rows {
        let setting: String = row.get(2);
        for library in elements(row.get(3)) {
            let is_there = match &directories {
                Some(directories) => {
                    Some(is_there(target, &paths(&setting, &library, directories)).await?)
                }
                None => None,
            };
            if is_there == Some(true) {
                continue;
            }
            lacked.push(LackedLibrary {
                database: row.get(0),
                role: row.get(1),
                setting: setting.clone(),
                library,
                is_certain: is_there.is_some(),
            });
        }
    }
    Ok(lacked)
}

/// Where a server looks for libraries.
struct Directories {
    /// What `$libdir` stands for.
    package: String,
    /// `dynamic_library_path`
    searched: String,
}

/// `None`: our role may not look at the server's files.
async fn directories(target: &Connection) -> Result<Option<Directories>, Error> {
    if target.version().major() < 906 {
        return Ok(None);
    }
    let row = query::row(
        target,
        "ask for the right to look for libraries",
        "SELECT rolsuper, current_setting('dynamic_library_path') FROM pg_catalog.pg_roles \
         WHERE rolname = current_user",
    )
    .await?;
    if !row.get::<_, bool>(0) {
        return Ok(None);
    }
    let searched = row.get(1);
    let sql = "SELECT setting FROM pg_catalog.pg_config() WHERE name = 'PKGLIBDIR'";
    let rows = query::rows(target, "ask where libraries are", sql).await?;
    Ok(rows.first().map(|row| Directories {
        package: row.get(0),
        searched,
    }))
}

/// The elements of a list, without their quotes.
fn elements(list: &str) -> impl Iterator<Item = String> + '_ {
    list.split(',')
        .map(|element| element.trim().trim_matches('"').to_owned())
        .filter(|element| !element.is_empty())
}

/// The files that the server would try, in its order (PostgreSQL manual, 19.11 "Shared Library Preloading").
fn paths(setting: &str, library: &str, directories: &Directories) -> Vec<String> {
    let names = if library.contains('/') {
        vec![library.to_owned()]
    } else if setting == "local_preload_libraries" {
        vec![format!("$libdir/plugins/{library}")]
    } else {
        let searched = directories.searched.split(':');
        searched
            .map(|directory| format!("{directory}/{library}"))
            .collect()
    };
    names
        .into_iter()
        .map(|name| match name.strip_prefix("$libdir") {
            Some(rest) => format!("{}{rest}", directories.package),
            None => name,
        })
        .flat_map(|name| ["", ".so", ".dylib", ".dll"].map(|end| format!("{name}{end}")))
        .collect()
}

async fn is_there(target: &Connection, paths: &[String]) -> Result<bool, Error> {
    let row = target
        .query_one(
            "SELECT bool_or((pg_catalog.pg_stat_file(path, true)).size IS NOT NULL) FROM unnest($1::text[]) AS path",
            &[&paths],
        )
        .await
        .map_err(target.failed("look for a library"))?;
    Ok(row.get::<_, Option<bool>>(0).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(setting: &str, list: &str) -> Vec<String> {
        let directories = Directories {
            package: "/lib/pg".into(),
            searched: "/more:$libdir".into(),
        };
        elements(list)
            .flat_map(|library| paths(setting, &library, &directories))
            .filter(|path| path.ends_with(".so"))
            .collect()
    }

    #[test]
    fn libraries_are_looked_for_where_the_server_does() {
        assert_eq!(
            tried("session_preload_libraries", "auto_explain, \"$libdir/a\""),
            [
                "/more/auto_explain.so",
                "/lib/pg/auto_explain.so",
                "/lib/pg/a.so"
            ]
        );
        assert_eq!(
            tried("local_preload_libraries", "b"),
            ["/lib/pg/plugins/b.so"]
        );
        assert_eq!(tried("local_preload_libraries", ""), Vec::<String>::new());
    }
}
