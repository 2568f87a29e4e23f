//! Small real data: one of each thing that a migration has to bring along.

use super::server::{Server, identifier, literal, random_word};

/// Names that every layer has to quote, for databases and for what is in them.
pub const ODD_NAMES: [&str; 5] = [
    "Weird Name",
    "100% of it",
    r#"it's "quoted"; \x $1"#,
    // 63 bytes, the longest name there is.
    "äöüßéèêçñåøæœőűčšžřďťňłąęýµабдеx",
    "-new\nline",
];

/// A role that logs in, and its password.
pub struct Login {
    pub role: String,
    pub password: String,
}

/// What [`everything`] made.
pub struct Filled {
    pub logins: Vec<Login>,
    /// The databases that a migration has to bring over.
    pub databases: Vec<String>,
}

/// Everything that this module knows, on a new server.
pub fn everything(server: &Server) -> Filled {
    let logins = roles(server);
    shop(server);
    special_databases(server);
    odd_names(server);
    let mut databases = vec!["shop", "latin", "nothing inside"];
    databases.extend(ODD_NAMES);
    Filled {
        logins,
        databases: databases.into_iter().map(str::to_owned).collect(),
    }
}

/// Roles with passwords, memberships, settings.
pub fn roles(server: &Server) -> Vec<Login> {
    let login = |role: &str| Login {
        role: role.to_owned(),
        password: format!("{}'s \\ pass\"word", random_word("role")),
    };
    let logins = vec![login("app_rw"), login("Weird \"Role\"")];
    let sql = include_str!("fill/roles.sql")
        .replace("@APP@", &literal(&logins[0].password))
        .replace("@ODD@", &literal(&logins[1].password));
    server.psql("postgres", &sql);
    logins
}

/// The database `shop`: all kinds of relations, functions and privileges. Needs [`roles`].
pub fn shop(server: &Server) {
    server.psql("postgres", "CREATE DATABASE shop OWNER app_owner");
    server.psql("shop", include_str!("fill/shop.sql"));
    for (since, sql) in [
        (11, include_str!("fill/shop_11.sql")),
        (12, include_str!("fill/shop_12.sql")),
        (14, include_str!("fill/shop_14.sql")),
        (15, include_str!("fill/shop_15.sql")),
    ] {
        if server.major() >= since {
            server.psql("shop", sql);
        }
    }
    server.psql(
        "postgres",
        "ALTER DATABASE shop SET search_path = sales, public;
         ALTER DATABASE shop CONNECTION LIMIT 90;
         ALTER ROLE app_rw IN DATABASE shop SET work_mem = '8MB';
         ALTER ROLE app_rw IN DATABASE shop SET \"my.setting\" = 'it''s; \"here\"';
         ALTER ROLE \"Weird \"\"Role\"\"\" IN DATABASE shop SET DateStyle = 'SQL, DMY';
         REVOKE CONNECT ON DATABASE shop FROM PUBLIC;
         GRANT CONNECT, TEMPORARY ON DATABASE shop TO app_rw, \"Weird \"\"Role\"\"\";
         COMMENT ON DATABASE shop IS 'sells ''things'' to \"people\"'",
    );
}

/// An empty database, one with another encoding, locale and settings, one that refuses connections,
/// and a template. Needs [`roles`].
pub fn special_databases(server: &Server) {
    server.psql("postgres", "CREATE DATABASE \"nothing inside\"");
    server.psql(
        "postgres",
        "CREATE DATABASE latin OWNER app_rw TEMPLATE template0
             ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'",
    );
    server.psql(
        "postgres",
        "ALTER DATABASE latin SET TimeZone = 'Asia/Kathmandu';
         ALTER DATABASE latin SET default_transaction_read_only = on",
    );
    server.psql(
        "latin",
        "SET default_transaction_read_only = off;
         CREATE TABLE words (w text PRIMARY KEY);
         INSERT INTO words VALUES ('Grüße'), ('señor'), ('façade')",
    );
    server.psql("postgres", "CREATE DATABASE closed");
    server.psql("closed", "CREATE TABLE out_of_reach (i int)");
    server.psql(
        "postgres",
        "ALTER DATABASE closed WITH ALLOW_CONNECTIONS false",
    );
}

/// A database by each awkward name, with a table by that name.
pub fn odd_names(server: &Server) {
    for name in ODD_NAMES {
        let quoted = identifier(name);
        server.psql("postgres", &format!("CREATE DATABASE {quoted}"));
        let sql = include_str!("fill/odd_table.sql").replace("@NAME@", &quoted);
        server.psql(name, &sql);
    }
}

/// Databases `db1`, `db2`, … with three tables of so many rows each, and their indexes.
pub fn plain(server: &Server, databases: u32, rows: u32) -> Vec<String> {
    let names: Vec<String> = (1..=databases).map(|i| format!("db{i}")).collect();
    for name in &names {
        server.psql("postgres", &format!("CREATE DATABASE {name}"));
        for table in ["table1", "table2", "table3"] {
            server.psql(
                name,
                &format!(
                    "CREATE TABLE {table} AS SELECT i AS id, md5(i::text) AS word
                         FROM generate_series(1, {rows}) i;
                     ALTER TABLE {table} ADD PRIMARY KEY (id);
                     CREATE INDEX {table}_word ON {table} (word)"
                ),
            );
        }
    }
    names
}

/// A table of so many rows whose index takes a hundredth of a second for each, on a target of 18 or later alone.
pub fn slow_index(rows: u32) -> String {
    format!(
        "CREATE FUNCTION slow(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
             IF current_setting('server_version_num')::int >= 180000 THEN PERFORM pg_sleep(0.01); END IF; RETURN i; END $$;
         CREATE TABLE slow AS SELECT n AS id FROM generate_series(1, {rows}) n;
         CREATE INDEX ON slow (slow(id))"
    )
}
