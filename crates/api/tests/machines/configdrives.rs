//! Config drives: large ones are taken where they belong, lie apart from their nodes, and go with them.

use axum::body::Body;
use base64::Engine as _;
use http::Request;
use model::baremetal::{ConfigDrive, Phase, ProvisionState as S};
use serde_json::{Value, json};
use store::Query;

use crate::desk::Desk;
use crate::world::{on_each, on_sqlite};

const NODES: &str = "/baremetal/v1/nodes";

/// A drive of so many bytes which cannot be compressed; `mark` tells them apart.
fn large(bytes: usize, mark: u64) -> String {
    let mut state = mark | 1;
    let noise = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    });
    let mut out = vec![0x1f, 0x8b];
    out.extend(noise.take(bytes / 8).flat_map(u64::to_le_bytes));
    base64::engine::general_purpose::STANDARD.encode(out)
}

async fn fake(desk: &Desk) -> String {
    let body = json!({"driver": "fake-hardware"});
    let id = desk.post(&desk.admin, NODES, body).await.expect(201)["uuid"].as_str().unwrap().to_owned();
    desk.seen(&id, S::Available, Phase::Rest).await;
    id
}

#[test]
fn large_drives_lie_apart_and_go_with_their_node() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let rows = async || world.store.count(&Query::<ConfigDrive>::new()).await.unwrap();
        let id = fake(&desk).await;
        let path = format!("{NODES}/{id}/states/provision");
        let first = large(6 << 20, 1);
        desk.put(admin, &path, json!({"target": "active", "configdrive": first})).await.expect(202);
        assert_eq!((desk.drive(&id).await.unwrap() == first, rows().await), (true, 1));
        let shown = desk.get(admin, &format!("{NODES}/{id}")).await.expect(200).to_string();
        assert!(shown.len() < 10_000, "a node with a drive is as short as one without: {}", shown.len());
        let row = serde_json::to_string(&desk.node(&id).await.desired).unwrap();
        assert!(row.len() < 10_000 && !row.contains(&first[..100]), "{}", row.len());

        desk.seen(&id, S::Active, Phase::Rest).await;
        desk.put(admin, &path, json!({"target": "rebuild"})).await.expect(202);
        assert_eq!((desk.drive(&id).await.unwrap() == first, rows().await), (true, 1), "rebuilt with the one that it has");
        desk.seen(&id, S::Active, Phase::Rest).await;
        let second = large(2 << 20, 2);
        desk.put(admin, &path, json!({"target": "rebuild", "configdrive": second})).await.expect(202);
        assert_eq!((desk.drive(&id).await.unwrap() == second, rows().await), (true, 1), "one takes the place of the other");
        desk.seen(&id, S::Available, Phase::Rest).await;
        desk.put(admin, &path, json!({"target": "active"})).await.expect(202);
        assert_eq!((desk.drive(&id).await, rows().await), (None, 0), "deployed without one it has none");
        desk.seen(&id, S::Available, Phase::Rest).await;
        desk.put(admin, &path, json!({"target": "active", "configdrive": second})).await.expect(202);
        desk.seen(&id, S::Available, Phase::Rest).await;
        desk.delete(admin, &format!("{NODES}/{id}")).await.expect(204);
        assert_eq!(rows().await, 0);
    });
}

#[test]
fn long_bodies_are_taken_there_and_nowhere_else() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let id = fake(&desk).await;
        let path = format!("{NODES}/{id}/states/provision");
        let text = large(3 << 20, 3);
        desk.put(admin, &format!("{NODES}/{id}/states/power"), json!({"target": "power on", "x": text})).await.expect(413);
        let too_long = "A".repeat(100 << 20);
        desk.put(admin, &path, json!({"target": "active", "configdrive": too_long})).await.expect(413);
        // Who does not see the node is told so whatever is sent, and nothing of it is read.
        let tenant = desk.tenant("tom", "tenants").await;
        desk.put(&tenant, &path, json!({"target": "active", "configdrive": text})).await.expect(404);
        let endless = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 1 << 16]));
        let request = Request::put(&path).header("x-auth-token", &tenant.token).header("content-type", "application/json");
        let answer = desk.send(request.body(Body::from_stream(endless)).unwrap()).await;
        assert_eq!(answer.status.as_u16(), 404);
        desk.put(admin, &path, json!({"target": "active", "configdrive": {"user_data": "y".repeat(4 << 20)}})).await.expect(202);
        assert!(desk.drive(&id).await.unwrap().starts_with("H4sI"));
        let request = Request::put(&path).header("x-auth-token", &admin.token).body(Body::from("{}")).unwrap();
        assert_eq!(desk.send(request).await.status.as_u16(), 415);
    });
}

#[test]
fn steps_on_child_nodes_are_asked_of_who_may() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let owner = desk.somebody("olga", "owners", "manager").await;
        let owned = |more: Value| {
            let mut body = json!({"driver": "fake-hardware", "owner": owner.project});
            body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
            body
        };
        let parent = desk.post(admin, NODES, owned(json!({}))).await.expect(201)["uuid"].as_str().unwrap().to_owned();
        let child = desk.post(admin, NODES, owned(json!({"parent_node": parent}))).await.expect(201)["uuid"].as_str().unwrap().to_owned();
        let other = desk.post(admin, NODES, json!({"driver": "fake-hardware"})).await.expect(201)["uuid"].as_str().unwrap().to_owned();
        desk.seen(&parent, S::Manageable, Phase::Rest).await;
        let path = format!("{NODES}/{parent}/states/provision");
        let steps = |only: Value| {
            let step =
                json!({"interface": "power", "step": "power_off", "execute_on_child_nodes": true, "limit_child_node_execution": only});
            json!({"target": "clean", "clean_steps": [step]})
        };
        desk.put(&owner, &path, steps(json!([child, other]))).await.expect(404);
        desk.put(admin, &path, steps(json!(["m1"]))).await.refused(400, "Invalid entry detected for execute_on_child_node");
        desk.put(&owner, &path, steps(json!([child]))).await.expect(202);
        let asked = desk.node(&parent).await.desired.request.unwrap().steps.remove(0);
        assert_eq!(asked.children.unwrap().only, [model::Id::parse(&child).unwrap()]);
    });
}
