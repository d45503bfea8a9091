//! Measures the store: `cargo run --release -p store --example measure`. Uses an SQLite file in the folder for temporary files and,
//! if `COFFERDAM_TEST_POSTGRES` is set, a database of its own on that PostgreSQL server, dropped at the end.

use std::collections::HashSet;
use std::error::Error;
use std::time::{Duration, Instant};

use model::identity::Project;
use model::net::{FixedIp, Network, NetworkDesired, Port, PortDesired, Segment, VlanId};
use model::{Id, Object};
use store::{Batch, Query, Store};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const OBJECTS: usize = 1_000;
const READS: usize = 5_000;

#[tokio::main]
async fn main() -> Result<()> {
    let directory = tempfile::tempdir()?;
    measure("SQLite", &format!("sqlite:{}", directory.path().join("store.db").display())).await?;
    match std::env::var("COFFERDAM_TEST_POSTGRES") {
        Ok(admin) => {
            let name = format!("cofferdam_measure_{}", std::process::id());
            statement(&admin, &format!("CREATE DATABASE {name}")).await?;
            let server = admin.rsplit_once('/').map_or(admin.as_str(), |(server, _)| server);
            let measured = measure("PostgreSQL", &format!("{server}/{name}")).await;
            statement(&admin, &format!("DROP DATABASE {name} WITH (FORCE)")).await?;
            measured?;
        }
        Err(_) => println!("PostgreSQL skipped: COFFERDAM_TEST_POSTGRES is not set"),
    }
    Ok(())
}

async fn statement(admin: &str, sql: &str) -> Result<()> {
    let (client, line) = tokio_postgres::connect(admin, tokio_postgres::NoTls).await?;
    let line = tokio::spawn(line);
    let done = client.batch_execute(sql).await;
    drop(client);
    line.await??;
    Ok(done?)
}

fn network(at: usize) -> Object<Network> {
    let vlan = VlanId::new(100).unwrap_or_else(|| unreachable!("100 is a VLAN id"));
    let desired = NetworkDesired { segments: vec![Segment::vlan("physnet1", vlan)], ..NetworkDesired::new(1500) };
    Object::new(Id::random(), None, format!("network {at}"), desired)
}

fn report(what: &str, count: usize, took: Duration) {
    let each = took.as_secs_f64() / f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    println!("  {what:<44} {:>9.0} /s {:>9.1} µs each", 1.0 / each, each * 1e6);
}

/// Ports of one project on one network, as the API makes them, by one caller and by eight.
async fn ports(store: &Store, url: &str) -> Result<()> {
    let second = Store::open(url).await?;
    let network = network(0);
    store.apply(Batch::wishes().create(&network)).await?;
    let ways = [
        ("create ports, one at a time", 1, store),
        ("create ports of one project, 8 at once", 8, store),
        ("the same in two processes", 8, &second),
    ];
    for (round, (what, tasks, other)) in ways.into_iter().enumerate() {
        let began = Instant::now();
        let running: Vec<_> = (0..tasks)
            .map(|task| {
                let (store, network) = (if task % 2 == 0 { store.clone() } else { other.clone() }, network.id.clone());
                tokio::spawn(async move {
                    for at in 0..OBJECTS / tasks {
                        port(&store, &network, &format!("{round} {task} {at}")).await?;
                    }
                    Ok::<(), store::StoreError>(())
                })
            })
            .collect();
        for task in running {
            task.await??;
        }
        report(what, OBJECTS / tasks * tasks, began.elapsed());
    }
    let began = Instant::now();
    for _ in 0..20 {
        store.list(&Query::<Port>::new().project(&project()).limit(1_000)).await?;
    }
    println!("  {:<44} {:>9.2} ms", "list 1000 ports", began.elapsed().as_secs_f64() * 1e3 / 20.0);
    Ok(())
}

fn project() -> Id<Project> {
    Id::derived("project")
}

async fn port(store: &Store, network: &Id<Network>, mac: &str) -> std::result::Result<(), store::StoreError> {
    let pool = "ip:subnet";
    let mut spread = 0;
    loop {
        let ranges = [(0x0a00_0000, 0x0aff_ffff)];
        let unkey = |text: &str| u128::from_str_radix(text, 16).ok();
        let picked = store.pick(pool, &ranges, |it| format!("{it:08x}"), unkey, &HashSet::new(), spread).await?;
        let Some(picked) = picked else { return Ok(()) };
        let mut desired = PortDesired::new(network.clone(), mac.to_owned());
        let address = std::net::Ipv4Addr::from(u32::try_from(picked.value).unwrap_or_default());
        desired.fixed_ips = vec![FixedIp { subnet_id: Id::derived("subnet"), ip_address: address.into() }];
        let port = Object::<Port>::new(Id::random(), Some(project()), "port", desired);
        let batch = Batch::wishes()
            .within("port", project().as_str(), 1_000_000)
            .touch(network)
            .hold(pool, &picked.key, port.id.as_str())
            .hold(&format!("mac:{network}"), mac, port.id.as_str())
            .create(&port)
            .wake(&port.id);
        match store.apply(batch).await {
            Err(store::StoreError::Taken { .. }) => spread = 16,
            other => return other,
        }
    }
}

async fn measure(name: &str, url: &str) -> Result<()> {
    println!("{name}");
    let began = Instant::now();
    let store = Store::open(url).await?;
    println!("  {:<44} {:>9.1} ms", "open an empty store, make its tables", began.elapsed().as_secs_f64() * 1e3);

    let networks: Vec<_> = (0..OBJECTS).map(network).collect();
    let began = Instant::now();
    for network in &networks {
        store.apply(Batch::wishes().hold("vlan", &network.name, network.id.as_str()).create(network).wake(&network.id)).await?;
    }
    report("create (hold, insert, wake), one at a time", OBJECTS, began.elapsed());

    let began = Instant::now();
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for at in 0..OBJECTS / 16 {
                    let network = network(at);
                    store.apply(Batch::wishes().hold("other", &format!("{task}/{at}"), "x").create(&network).wake(&network.id)).await?;
                }
                Ok::<(), store::StoreError>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    report("create, 16 at once", OBJECTS / 16 * 16, began.elapsed());

    let mut times = Vec::with_capacity(READS);
    let began = Instant::now();
    for network in networks.iter().cycle().take(READS) {
        let one = Instant::now();
        store.get(&network.id).await?;
        times.push(one.elapsed());
    }
    report("read by id, one at a time", READS, began.elapsed());
    times.sort_unstable();
    let at = |share: usize| times.get(READS * share / 100).copied().unwrap_or_default().as_secs_f64() * 1e6;
    println!("  {:<44} {:>9.1} µs median, {:.1} µs 99th percentile", "", at(50), at(99));

    let began = Instant::now();
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (store, ids) = (store.clone(), networks.iter().take(READS / 16).map(|it| it.id.clone()).collect::<Vec<_>>());
            tokio::spawn(async move {
                for id in &ids {
                    store.get(id).await?;
                }
                Ok::<(), store::StoreError>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    report("read by id, 16 at once", READS / 16 * 16, began.elapsed());

    let began = Instant::now();
    for network in networks.iter().cycle().take(READS) {
        store.list(&Query::<Network>::new().id(&network.id)).await?;
    }
    report("list with that id as filter, one at a time", READS, began.elapsed());

    let began = Instant::now();
    for _ in 0..20 {
        store.list(&Query::<Network>::new().limit(1_000)).await?;
    }
    println!("  {:<44} {:>9.2} ms", "list 1000", began.elapsed().as_secs_f64() * 1e3 / 20.0);

    ports(&store, url).await?;

    let began = Instant::now();
    let mut claims = 0;
    while let Some(claim) = store.claim("measure", Duration::from_secs(60)).await? {
        store.finish(&claim, store::Outcome::Again(Duration::from_secs(600))).await?;
        claims += 1;
    }
    report("claim and finish", claims, began.elapsed());
    Ok(())
}
