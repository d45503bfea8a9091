//! A PostgreSQL database whose clock a test turns.

use crate::support::database::{Postgres, statement};

/// Makes the clock of a database one that [`turn`] turns. Before anybody connects.
pub fn make(postgres: &Postgres) {
    statement(
        &postgres.url,
        "CREATE TABLE turned (seconds DOUBLE PRECISION NOT NULL); INSERT INTO turned VALUES (0); \
         CREATE FUNCTION public.statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE AS \
         'SELECT pg_catalog.statement_timestamp() + make_interval(secs => (SELECT seconds FROM public.turned))'; \
         DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog', current_database()); END $$",
    );
}

/// It is wrong by so many seconds from now on.
pub fn turn(postgres: &Postgres, seconds: i32) {
    statement(&postgres.url, &format!("UPDATE turned SET seconds = {seconds}"));
}
