//! Objects: written, read, listed, counted, filtered, sorted.

use model::baremetal::{Node, ProvisionState};
use model::fabric::{PortUse, SwitchPort, SwitchPortDesired};
use model::net::Network;
use model::{Id, Object, Timestamp};
use store::{Batch, Query, Store};

use crate::things::{create, kind_of, network, node, project, read};
use crate::world::on_each;

async fn names<K: model::Kind>(store: &Store, query: Query<K>) -> Vec<String> {
    let found = store.list(&query).await.unwrap();
    assert_eq!(store.count(&query).await.unwrap(), found.len() as u64, "list and count agree");
    found.into_iter().map(|it| it.name).collect()
}

#[test]
fn what_is_stored_is_read_back() {
    on_each(async |world| {
        let store = &world.store;
        let mut wanted = node("n\"1 ' é \u{1F600} %_\\ $1 ?", Some("gold"));
        wanted.desired.extra.insert("nul".into(), "a\u{0}b".into());
        wanted.observed.power = Some(model::baremetal::PowerState::On);
        wanted.project_id = Some(project("medical"));
        wanted.updated_at = Some(Timestamp(7));
        create(store, &wanted).await;
        let found = read(store, &wanted.id).await;
        assert_eq!((&found.id, &found.name, &found.project_id), (&wanted.id, &wanted.name, &wanted.project_id));
        assert_eq!((&found.desired, &found.observed), (&wanted.desired, &wanted.observed));
        assert_eq!((found.generation, found.revision), (1, 1));
        assert_eq!((found.created_at, found.updated_at, found.deleted_at), (wanted.created_at, Some(Timestamp(7)), None));
        assert!(store.get(&Id::<Node>::random()).await.unwrap().is_none());
        assert!(store.get(&Id::<Network>::parse(wanted.id.as_str()).unwrap()).await.unwrap().is_none(), "kinds do not mix");
        assert_eq!(kind_of(&store.apply(Batch::wishes().create(&wanted)).await), "exists");
    });
}

#[test]
fn want_and_observe_count_and_keep_apart() {
    on_each(async |world| {
        let store = &world.store;
        let mut it = node("n1", None);
        create(store, &it).await;
        it.desired.resource_class = Some("gold".into());
        it.name = "n2".into();
        it.observed.state = ProvisionState::Active;
        store.apply(Batch::wishes().want(&it)).await.unwrap();
        let it = read(store, &it.id).await;
        assert_eq!((it.generation, it.revision, it.name.as_str()), (2, 2, "n2"));
        assert!(it.updated_at.is_some());
        assert_eq!(it.observed.state, ProvisionState::Enroll, "the side of users does not write what was seen");
        assert_eq!(names(store, Query::<Node>::new().column("resource_class", ["gold".into()])).await, ["n2"]);

        store.apply(Batch::wishes().wake(&it.id)).await.unwrap();
        let claim = store.claim("w", std::time::Duration::from_secs(60)).await.unwrap().unwrap();
        let mut seen = it.clone();
        seen.observed.state = ProvisionState::Active;
        seen.name = "n3".into();
        store.apply(Batch::facts(&claim).observe(&seen)).await.unwrap();
        let it = read(store, &it.id).await;
        assert_eq!((it.generation, it.revision, it.name.as_str()), (2, 3, "n2"), "the engine does not write what is wanted");
        assert_eq!(it.observed.state, ProvisionState::Active);
        assert_eq!(names(store, Query::<Node>::new().column("provision_state", ["active".into()])).await, ["n2"]);

        // Both are refused if the object moved meanwhile, and so are removals.
        assert_eq!(kind_of(&store.apply(Batch::wishes().want(&seen)).await), "stale");
        assert_eq!(kind_of(&store.apply(Batch::facts(&claim).observe(&seen)).await), "stale");
        assert_eq!(kind_of(&store.apply(Batch::wishes().mark_deleted(&seen)).await), "stale");
        assert_eq!(kind_of(&store.apply(Batch::wishes().remove(&seen)).await), "stale");
        assert_eq!(read(store, &it.id).await.revision, 3);
    });
}

#[test]
fn removal_is_asked_for_and_then_done() {
    on_each(async |world| {
        let store = &world.store;
        let it = network("net");
        create(store, &it).await;
        store.apply(Batch::wishes().mark_deleted(&it)).await.unwrap();
        let it = read(store, &it.id).await;
        assert!(it.is_deleting());
        assert_eq!((it.generation, it.revision), (2, 2));
        assert!(names(store, Query::<Network>::new()).await.is_empty());
        assert_eq!(names(store, Query::<Network>::new().with_deleted()).await, ["net"]);
        assert_eq!(kind_of(&store.apply(Batch::wishes().require(&it.id)).await), "stale");
        store.apply(Batch::wishes().remove(&it)).await.unwrap();
        assert!(store.get(&it.id).await.unwrap().is_none());
        assert_eq!(kind_of(&store.apply(Batch::wishes().remove(&it)).await), "stale");
    });
}

#[test]
fn filters() {
    on_each(async |world| {
        let store = &world.store;
        for (name, class, owner) in
            [("a", Some("gold"), Some("finance")), ("b", Some("tin"), None), ("c", None, Some("medical")), ("d", Some(""), None)]
        {
            let mut it = node(name, class);
            it.project_id = owner.map(project);
            create(store, &it).await;
        }
        let all = || Query::<Node>::new().sort("name", false);
        let class = |values: &[&str]| all().column("resource_class", values.iter().map(|it| (*it).to_owned()));
        assert_eq!(names(store, all()).await, ["a", "b", "c", "d"]);
        assert_eq!(names(store, class(&["gold"])).await, ["a"]);
        assert_eq!(names(store, class(&["gold", "tin", "lead"])).await, ["a", "b"]);
        assert_eq!(names(store, class(&[""])).await, ["d"], "empty is a value, none is none");
        assert_eq!(names(store, class(&["gold", "tin"]).name("b")).await, ["b"]);
        assert!(names(store, class(&[])).await.is_empty());
        assert_eq!(names(store, all().unset("resource_class")).await, ["c"]);
        assert_eq!(names(store, all().project(&project("finance"))).await, ["a"]);
        assert_eq!(names(store, all().name("c")).await, ["c"]);
        assert!(names(store, all().name("c\u{0}")).await.is_empty(), "no name has a NUL character, asking for one is no fault");
        assert_eq!(store.list(&all().limit(2)).await.unwrap().len(), 2);
        assert!(store.list(&all().limit(0)).await.unwrap().is_empty());
        let one = store.list(&all().name("b")).await.unwrap().remove(0);
        assert_eq!(names(store, all().id(&one.id)).await, ["b"]);
        assert_eq!(names(store, all().ids([one.id.to_string(), "nobody".into()])).await, ["b"]);
        // A filter on a column that is not there lets nothing through, rather than everything.
        assert!(names(store, all().column("nonsense", ["gold".into()])).await.is_empty());
        assert!(names(store, all().unset("nonsense")).await.is_empty());
    });
}

#[test]
fn a_column_follows_its_object() {
    on_each(async |world| {
        let store = &world.store;
        let switch = Id::parse("leaf1").unwrap();
        let desired = SwitchPortDesired {
            switch: switch.clone(),
            port: "p1".into(),
            wanted: PortUse::Isolated,
            holder: None,
            since: Timestamp::now(),
            lag: None,
            forced: None,
        };
        let id = SwitchPortDesired::id_of(&switch, "p1");
        let mut it = Object::<SwitchPort>::new(id.clone(), None, "p1", desired);
        create(store, &it).await;
        assert_eq!(store.count(&Query::<SwitchPort>::new().unset("holder")).await.unwrap(), 1);
        it.desired.holder = Some(Id::parse("port-1").unwrap());
        store.apply(Batch::wishes().want(&it)).await.unwrap();
        assert_eq!(store.count(&Query::<SwitchPort>::new().unset("holder")).await.unwrap(), 0);
        assert_eq!(store.count(&Query::<SwitchPort>::new().column("holder", ["port-1".into()])).await.unwrap(), 1);
        let mut it = read(store, &id).await;
        it.desired.holder = None;
        store.apply(Batch::wishes().want(&it)).await.unwrap();
        assert_eq!(store.count(&Query::<SwitchPort>::new().unset("holder")).await.unwrap(), 1);
    });
}

#[test]
fn every_key_sorts_both_ways_and_alike_on_both_databases() {
    on_each(async |world| {
        let store = &world.store;
        // (name, project, updated_at, class): in this order by id and created_at.
        let rows = [
            ("b", Some("p2"), None, Some("x")),
            ("B", None, Some(5), None),
            ("é", Some("p1"), Some(3), Some("Y")),
            ("a_", Some("p1"), None, Some("y")),
        ];
        for (at, (name, owner, updated, class)) in rows.into_iter().enumerate() {
            let mut it = node(name, class);
            it.id = Id::parse(&format!("id-{at}")).unwrap();
            it.project_id = owner.map(project);
            it.created_at = Timestamp(i64::try_from(at).unwrap());
            it.updated_at = updated.map(Timestamp);
            create(store, &it).await;
        }
        // Text sorts by its bytes (capitals first, accents last), none before all; equals sort by id, in the same direction.
        let expected = [
            ("id", ["b", "B", "é", "a_"]),
            ("created_at", ["b", "B", "é", "a_"]),
            ("name", ["B", "a_", "b", "é"]),
            ("project_id", ["B", "é", "a_", "b"]),
            ("updated_at", ["b", "a_", "é", "B"]),
            ("resource_class", ["B", "é", "b", "a_"]),
            ("no such key", ["b", "B", "é", "a_"]),
        ];
        for (key, mut order) in expected {
            assert_eq!(names(store, Query::<Node>::new().sort(key, false)).await, order, "{key} on {}", world.name());
            if key != "no such key" {
                order.reverse();
                assert_eq!(names(store, Query::<Node>::new().sort(key, true)).await, order, "{key} down on {}", world.name());
            }
        }
    });
}

#[test]
fn a_row_that_cannot_be_read_is_named() {
    on_each(async |world| {
        let it = network("net");
        create(&world.store, &it).await;
        world.raw("UPDATE r_network SET desired = '{\"mtu\": \"many\"}'").await;
        let error = world.store.get(&it.id).await.unwrap_err().to_string();
        assert!(error.contains(it.id.as_str()) && error.contains("network") && error.contains("desired"), "{error}");
    });
}

#[test]
fn a_nul_character_is_refused_alike() {
    on_each(async |world| {
        let result = world.store.apply(Batch::wishes().create(&network("a\u{0}b"))).await;
        assert_eq!(kind_of(&result), "unstorable");
        assert!(result.unwrap_err().to_string().contains("NUL"));
        assert_eq!(world.store.count(&Query::<Network>::new()).await.unwrap(), 0);
    });
}
