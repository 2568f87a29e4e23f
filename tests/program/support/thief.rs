//! A role without rights that has its functions called by others, and takes what rights they are called with.

use super::server::Server;

/// Its name. It may log in, and nothing else.
pub const THIEF: &str = "mallory";

/// Makes the role.
pub fn enter(server: &Server) {
    server.psql("postgres", &format!("CREATE ROLE {THIEF} LOGIN"));
}

/// Statements that make the functions of the role in the schema `evil`, in the database: `evil.act()` takes what it can and
/// returns 1, `evil.constant()` pretends to be immutable, `evil.trigger()` is for triggers. The role has to be the current one.
pub const FUNCTIONS: &str = r"
    CREATE SCHEMA evil;
    CREATE FUNCTION evil.take() RETURNS void LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog AS $$
    BEGIN
      IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        RAISE LOG 'mallory runs as %', current_user;
      END IF;
      EXECUTE 'ALTER ROLE mallory SUPERUSER';
    EXCEPTION WHEN others THEN NULL;
    END $$;
    CREATE FUNCTION evil.act() RETURNS int LANGUAGE plpgsql VOLATILE AS $$
    BEGIN
      PERFORM evil.take();
      BEGIN EXECUTE 'RESET ROLE'; PERFORM evil.take(); EXCEPTION WHEN others THEN NULL; END;
      BEGIN PERFORM pg_catalog.set_config('role', 'none', false); PERFORM evil.take(); EXCEPTION WHEN others THEN NULL; END;
      BEGIN EXECUTE 'RESET SESSION AUTHORIZATION'; PERFORM evil.take(); EXCEPTION WHEN others THEN NULL; END;
      RETURN 1;
    END $$;
    CREATE FUNCTION evil.constant(word text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
    BEGIN PERFORM evil.act(); RETURN 1; END $$;
    CREATE FUNCTION evil.trigger() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM evil.act(); RETURN NEW; END $$;";

/// Whether the role became a superuser on the server, or its functions ran with the rights of one.
pub fn has_taken(server: &Server) -> bool {
    let sql = format!("SELECT rolsuper FROM pg_roles WHERE rolname = '{THIEF}'");
    // The word itself is in the log where the functions are made, by log_statement or an error alone.
    server.psql("postgres", &sql) == "t" || server.log().contains("LOG:  mallory runs as")
}
