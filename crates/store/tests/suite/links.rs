//! Links, usage and its limits, touching, and the queries that go by links.

use std::collections::BTreeSet;

use model::net::{FixedIp, Network, Port, PortDesired, Subnet};
use model::{Id, Kind, Object};
use store::{Batch, Query, Store, StoreError, Term};

use crate::things::{create, kind_of, network, project, read, subnet};
use crate::world::on_each;

pub fn port(of: &Id<Network>, owner: &str, addresses: &[&str]) -> Object<Port> {
    let mut desired = PortDesired::new(of.clone(), "52:54:00:00:00:01".into());
    let subnet_id = Id::<Subnet>::parse("sub").unwrap();
    desired.fixed_ips = addresses.iter().map(|it| FixedIp { subnet_id: subnet_id.clone(), ip_address: it.parse().unwrap() }).collect();
    Object::new(Id::random(), Some(project(owner)), addresses.join(" "), desired)
}

async fn with(store: &Store, address: &str) -> Vec<String> {
    names(store, Query::<Port>::new().with_deleted().linked("ip_address", [address.to_owned()])).await
}

async fn names<K: Kind>(store: &Store, query: Query<K>) -> Vec<String> {
    let found = store.list(&query).await.unwrap();
    assert_eq!(store.count(&query).await.unwrap(), found.len() as u64, "list and count agree");
    found.into_iter().map(|it| it.name).collect()
}

#[test]
fn links_follow_their_object() {
    on_each(async |world| {
        let store = &world.store;
        let net = network("net");
        create(store, &net).await;
        let it = port(&net.id, "p", &["10.0.0.1", "10.0.0.2", "10.0.0.2"]);
        create(store, &it).await;
        let rows = "SELECT COUNT(*) FROM link WHERE kind = 'port'";
        assert_eq!(world.raw_number(rows).await, 3, "two addresses, one subnet");
        assert_eq!(with(store, "10.0.0.2").await.len(), 1);
        let mut it = read(store, &it.id).await;
        it.desired.fixed_ips.remove(0);
        it.desired.fixed_ips[0].ip_address = "10.0.0.3".parse().unwrap();
        store.apply(Batch::wishes().want(&it)).await.unwrap();
        assert_eq!(world.raw_number(rows).await, 3);
        assert!(with(store, "10.0.0.1").await.is_empty());
        assert_eq!(with(store, "10.0.0.3").await.len(), 1);
        // A batch that fails changes no link.
        let mut stale = it.clone();
        stale.desired.fixed_ips.clear();
        assert_eq!(kind_of(&store.apply(Batch::wishes().want(&stale)).await), "stale");
        assert_eq!(with(store, "10.0.0.3").await.len(), 1);
        let it = read(store, &it.id).await;
        store.apply(Batch::wishes().mark_deleted(&it)).await.unwrap();
        assert_eq!(with(store, "10.0.0.3").await.len(), 1, "what is being removed still has its links");
        let it = read(store, &it.id).await;
        store.apply(Batch::wishes().remove(&it)).await.unwrap();
        assert_eq!(world.raw_number(rows).await, 0);
        // More of them than one statement writes.
        let many: Vec<String> = (0..100).map(|at| format!("10.1.0.{at}")).collect();
        let mut big = port(&net.id, "p", &many.iter().map(String::as_str).collect::<Vec<_>>());
        big.name = "big".into();
        create(store, &big).await;
        assert_eq!(world.raw_number(rows).await, 101);
        assert_eq!(with(store, "10.1.0.99").await, ["big"]);
        let mut none = read(store, &big.id).await;
        none.desired.fixed_ips.clear();
        store.apply(Batch::wishes().want(&none)).await.unwrap();
        assert_eq!(world.raw_number(rows).await, 0);
    });
}

#[test]
fn unless_linked() {
    on_each(async |world| {
        let store = &world.store;
        let net = network("net");
        create(store, &net).await;
        let (one, two) = (port(&net.id, "p", &["10.0.0.1"]), port(&net.id, "p", &["10.0.0.2"]));
        let unless = |value: &str| Batch::wishes().unless_linked::<Port>("ip_address", value).bump("x");
        store.apply(unless("10.0.0.1")).await.unwrap();
        create(store, &one).await;
        create(store, &two).await;
        assert_eq!(kind_of(&store.apply(unless("10.0.0.1")).await), "referenced");
        store.apply(unless("10.0.0.9")).await.unwrap();
        store.apply(Batch::wishes().mark_deleted(&one)).await.unwrap();
        assert_eq!(kind_of(&store.apply(unless("10.0.0.1")).await), "referenced");
        let but = |ids: &[String]| Batch::wishes().unless_linked_but::<Port>("subnet_id", "sub", ids).bump("x");
        let (one, two) = (one.id.to_string(), two.id.to_string());
        assert_eq!(kind_of(&store.apply(but(&[])).await), "referenced");
        assert_eq!(kind_of(&store.apply(but(std::slice::from_ref(&one))).await), "referenced");
        assert_eq!(kind_of(&store.apply(but(std::slice::from_ref(&two))).await), "referenced");
        store.apply(but(&[two.clone(), one.clone()])).await.unwrap();
        let mut many: Vec<String> = (0..70_000).map(|at| format!("{at}")).collect();
        assert_eq!(kind_of(&store.apply(but(&many)).await), "referenced");
        many.extend([one, two]);
        store.apply(but(&many)).await.unwrap();
        assert_eq!(kind_of(&store.apply(Batch::wishes().unless_linked::<Port>("nonsense", "x")).await), "referenced");
    });
}

#[test]
fn usage_counts_what_is_not_being_removed() {
    on_each(async |world| {
        let store = &world.store;
        let used = async |project: &str| store.usage("port", project).await.unwrap();
        let net = network("net");
        create(store, &net).await;
        assert_eq!(store.usage("network", "finance").await.unwrap(), 1);
        let ports: Vec<_> = (0..4).map(|_| port(&net.id, "p", &[])).collect();
        store.apply(ports.iter().fold(Batch::wishes(), Batch::create)).await.unwrap();
        create(store, &port(&net.id, "q", &[])).await;
        let mut nobodys = port(&net.id, "q", &[]);
        nobodys.project_id = None;
        create(store, &nobodys).await;
        assert_eq!((used("p").await, used("q").await, used("").await), (4, 1, 0));
        store.apply(Batch::wishes().mark_deleted(&ports[0]).remove(&ports[1]).remove(&ports[1])).await.unwrap();
        assert_eq!(used("p").await, 2);
        let marked = read(store, &ports[0].id).await;
        store.apply(Batch::wishes().mark_deleted(&marked)).await.unwrap();
        assert_eq!(used("p").await, 2, "asking twice takes it off once");
        store.apply(Batch::wishes().remove(&read(store, &marked.id).await)).await.unwrap();
        assert_eq!(used("p").await, 2, "it was taken off when its removal was asked for");
        // What fails counts nothing.
        assert_eq!(kind_of(&store.apply(Batch::wishes().create(&port(&net.id, "p", &[])).remove(&ports[1])).await), "stale");
        assert_eq!(used("p").await, 2);
        store.apply(Batch::wishes().remove(&nobodys)).await.unwrap();
        assert_eq!((used("p").await, used("q").await), (2, 1));
    });
}

#[test]
fn a_limit_holds_also_when_many_ask_at_once() {
    on_each(async |world| {
        let store = &world.store;
        let net = network("net");
        create(store, &net).await;
        // Two stores on one database: as two processes.
        let stores = [store.clone(), Store::open(&world.url).await.unwrap()];
        let tasks: Vec<_> = (0..24)
            .map(|at| {
                let (store, it) = (stores[at % 2].clone(), port(&net.id, "p", &[]));
                tokio::spawn(
                    async move { store.apply(Batch::wishes().create(&it).touch(&it.desired.network_id).within("port", "p", 10)).await },
                )
            })
            .collect();
        let mut ends = Vec::new();
        for task in tasks {
            ends.push(kind_of(&task.await.unwrap()));
        }
        assert_eq!(ends.iter().filter(|it| **it == "ok").count(), 10, "{ends:?}");
        assert_eq!(ends.iter().filter(|it| **it == "over limit").count(), 14, "{ends:?}");
        assert_eq!(store.usage("port", "p").await.unwrap(), 10);
        assert_eq!(store.count(&Query::<Port>::new()).await.unwrap(), 10);
        assert_eq!(read(store, &net.id).await.revision, 11);
        let create = || Batch::wishes().create(&port(&net.id, "p", &[]));
        match store.apply(create().create(&port(&net.id, "p", &[])).within("port", "p", 11).within("port", "p", 50)).await {
            Err(error @ StoreError::OverLimit { .. }) => assert!(!error.is_race() && error.to_string().contains("11")),
            other => panic!("{other:?}"),
        }
        store.apply(create().within("port", "p", -1)).await.unwrap();
        // With nothing counted the limit is looked at all the same.
        assert_eq!(kind_of(&store.apply(Batch::wishes().bump("x").within("port", "p", 10)).await), "over limit");
        store.apply(Batch::wishes().bump("x").within("port", "p", 11).within("port", "q", 0)).await.unwrap();
    });
}

#[test]
fn touching_counts_once_for_each_batch() {
    on_each(async |world| {
        let store = &world.store;
        let net = network("net");
        create(store, &net).await;
        store.apply(Batch::wishes().touch(&net.id).create(&subnet(&net.id)).touch(&net.id)).await.unwrap();
        let now = read(store, &net.id).await;
        assert_eq!((now.generation, now.revision), (2, 2));
        assert!(now.updated_at.is_some());
        assert_eq!(kind_of(&store.apply(Batch::wishes().mark_deleted(&net)).await), "stale");
        store.apply(Batch::wishes().mark_deleted(&now)).await.unwrap();
        assert_eq!(kind_of(&store.apply(Batch::wishes().touch(&net.id)).await), "stale");
        assert_eq!(kind_of(&store.apply(Batch::wishes().touch(&network("nobody").id)).await), "stale");
    });
}

#[test]
fn terms_of_which_one_is_enough() {
    on_each(async |world| {
        let store = &world.store;
        let (mine, other) = (network("mine"), {
            let mut it = network("other");
            it.project_id = Some(project("other"));
            it
        });
        create(store, &mine).await;
        create(store, &other).await;
        for (of, owner, address) in
            [(&mine, "q", "10.0.0.1"), (&other, "finance", "10.0.0.2"), (&other, "q", "10.0.0.3"), (&other, "q", "10.0.0.4")]
        {
            create(store, &port(&of.id, owner, &[address])).await;
        }
        let all = || Query::<Port>::new().sort("name", false);
        let finance = project("finance");
        let owned = || Term::of_project::<Network>("network_id", &finance);
        assert_eq!(names(store, all().any_of(vec![owned()])).await, ["10.0.0.1"]);
        assert_eq!(names(store, all().any_of(vec![owned(), Term::project(&finance)])).await, ["10.0.0.1", "10.0.0.2"]);
        let linked = |ips: &[&str]| Term::linked("ip_address", ips.iter().map(|it| (*it).to_owned()).collect());
        assert_eq!(
            names(store, all().any_of(vec![owned(), linked(&["10.0.0.3", "10.0.0.4"])])).await,
            ["10.0.0.1", "10.0.0.3", "10.0.0.4"]
        );
        assert_eq!(names(store, all().any_of(vec![owned(), linked(&[]), Term::ids(vec![])])).await, ["10.0.0.1"]);
        let column = Term::column("network_id", vec![other.id.to_string(), "none".into()]);
        assert_eq!(names(store, all().any_of(vec![column]).project(&finance)).await, ["10.0.0.2"]);
        assert!(names(store, all().any_of(vec![])).await.is_empty());
        assert!(
            names(store, all().any_of(vec![Term::column("nonsense", vec!["x".into()]), Term::linked("nonsense", vec!["x".into()])]))
                .await
                .is_empty()
        );
        assert_eq!(
            names(store, all().any_of(vec![Term::linked("nonsense", vec![]), Term::of_project::<Network>("nonsense", &finance), owned()]))
                .await,
            ["10.0.0.1"]
        );
        let ids: Vec<String> = store.list(&all()).await.unwrap().into_iter().map(|it| it.id.to_string()).collect();
        assert_eq!(names(store, all().not_ids(ids.iter().skip(1).cloned())).await, ["10.0.0.1"]);
        assert_eq!(names(store, all().not_ids([])).await.len(), 4);
        // However long the lists are.
        let many = |some: &[String]| (0..70_000).map(|at| format!("id {at}")).chain(some.iter().cloned()).collect::<Vec<_>>();
        assert_eq!(
            names(store, all().any_of(vec![Term::ids(many(&ids[1..3])), owned()]).column("network_id", many(&[other.id.to_string()])))
                .await,
            ["10.0.0.2", "10.0.0.3"]
        );
        assert_eq!(names(store, all().linked("ip_address", many(&["10.0.0.4".into()])).not_ids(many(&ids[..3]))).await, ["10.0.0.4"]);
        // Nor does it matter what is in them.
        let odd = ["\"", "\\", "é\u{1F600}", "]", "ANY_OF[", "a\u{0}b", "'"].map(str::to_owned);
        assert!(names(store, all().linked("ip_address", odd.clone())).await.is_empty());
        for name in odd.iter().filter(|it| !it.contains('\0')) {
            let mut it = network(name);
            it.name.clone_from(name);
            create(store, &it).await;
            let found = store.list(&Query::<Network>::new().any_of(vec![Term::ids(vec![it.id.to_string(), "]".into()])])).await.unwrap();
            assert_eq!(found.into_iter().map(|it| it.name).collect::<BTreeSet<_>>(), BTreeSet::from([name.clone()]));
        }
    });
}
