//! The harness: every test runs on SQLite and, if `COFFERDAM_TEST_POSTGRES` names a server, on a PostgreSQL database of its own.
//!
//! This file depends on nothing else in the suite, so that other crates' tests can take it by `#[path]`.

use std::io::Write;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use store::Store;
use tokio_postgres::NoTls;

/// The variable that holds the URL of a PostgreSQL server on which the tests may make and drop databases.
const ADMIN: &str = "COFFERDAM_TEST_POSTGRES";
/// No test takes this long: what does hangs.
const DEADLINE: Duration = Duration::from_secs(180);

/// A store of the test's own, and what is needed to look behind it.
pub struct World {
    /// The store, open.
    pub store: Store,
    /// Where it is.
    pub url: String,
    /// Of SQLite; goes away with this value.
    directory: Option<tempfile::TempDir>,
    /// Of PostgreSQL; the same.
    _database: Option<Dropped>,
}

/// A PostgreSQL database that goes away with this value, also when the test fails.
struct Dropped {
    admin: String,
    name: String,
}

/// Runs a test on each database.
pub fn on_each(test: impl AsyncFn(&World)) {
    on_sqlite(&test);
    on_postgres(&test);
}

/// Runs a test on SQLite alone.
pub fn on_sqlite(test: impl AsyncFn(&World)) {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("store.db").display());
    run(url, Some(directory), None, test);
}

/// Runs a test on PostgreSQL alone, if there is one; else says that it did not.
pub fn on_postgres(test: impl AsyncFn(&World)) {
    let Ok(admin) = std::env::var(ADMIN) else {
        static SAID: Once = Once::new();
        // Not `println!`: the test runner would swallow it.
        SAID.call_once(|| drop(writeln!(std::io::stderr(), "PostgreSQL skipped: {ADMIN} is not set")));
        return;
    };
    let database = Dropped::make(&admin);
    let url = with_database(&admin, &database.name);
    run(url, None, Some(database), test);
}

fn run(url: String, directory: Option<tempfile::TempDir>, database: Option<Dropped>, test: impl AsyncFn(&World)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(&url).await.unwrap();
        let world = World { store, url, directory, _database: database };
        let name = world.name();
        let done = tokio::time::timeout(DEADLINE, test(&world)).await;
        assert!(done.is_ok(), "on {name}: not done within {DEADLINE:?}");
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
}

impl World {
    /// Which database it is, for messages.
    pub fn name(&self) -> &'static str {
        if self.is_postgres() { "PostgreSQL" } else { "SQLite" }
    }

    /// Whether it is PostgreSQL.
    pub fn is_postgres(&self) -> bool {
        self.directory.is_none()
    }

    /// The folder of the SQLite file.
    pub fn directory(&self) -> Option<&std::path::Path> {
        self.directory.as_ref().map(tempfile::TempDir::path)
    }

    /// Runs statements behind the store's back.
    pub async fn raw(&self, sql: &str) {
        match self.directory() {
            Some(directory) => {
                let connection = rusqlite::Connection::open(directory.join("store.db")).unwrap();
                connection.busy_timeout(Duration::from_secs(10)).unwrap();
                connection.execute_batch(sql).unwrap();
            }
            None => self.line().await.batch_execute(sql).await.unwrap(),
        }
    }

    /// Asks for one number behind the store's back.
    pub async fn raw_number(&self, sql: &str) -> i64 {
        match self.directory() {
            Some(directory) => {
                let connection = rusqlite::Connection::open(directory.join("store.db")).unwrap();
                connection.query_row(sql, [], |row| row.get(0)).unwrap()
            }
            None => self.line().await.query_one(sql, &[]).await.unwrap().get(0),
        }
    }

    /// A line to the PostgreSQL database that is not the store's.
    pub async fn line(&self) -> tokio_postgres::Client {
        connect(&self.url).await
    }
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, line) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(line);
    client
}

fn with_database(admin: &str, name: &str) -> String {
    let (before, parameters) = admin.split_once('?').map_or((admin, String::new()), |(url, rest)| (url, format!("?{rest}")));
    let (server, _) = before.rsplit_once('/').unwrap();
    format!("{server}/{name}{parameters}")
}

/// Runs one statement on the server from a thread of its own, so that it also works while a test's runtime is going down.
fn admin_statement(admin: &str, sql: String) -> Result<(), tokio_postgres::Error> {
    let admin = admin.to_owned();
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, line) = tokio_postgres::connect(&admin, NoTls).await?;
            let line = tokio::spawn(line);
            let result = client.batch_execute(&sql).await;
            drop(client);
            drop(line.await);
            result
        })
    };
    std::thread::spawn(work).join().unwrap()
}

impl Dropped {
    fn make(admin: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("cofferdam_test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // A database that sorts as a language does, where the server can: the store must not depend on that.
        let plain = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'");
        if admin_statement(admin, format!("{plain} LOCALE_PROVIDER icu ICU_LOCALE 'en-US'")).is_err() {
            admin_statement(admin, plain).unwrap();
        }
        Self { admin: admin.to_owned(), name }
    }
}

impl Drop for Dropped {
    fn drop(&mut self) {
        if let Err(error) = admin_statement(&self.admin, format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)) {
            drop(writeln!(std::io::stderr(), "could not drop the database {}: {error}", self.name));
        }
    }
}
