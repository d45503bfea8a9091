//! Nodes that have their power from another, as clients see them.

use model::Id;
use model::baremetal::{AskedBy, Node, Phase, PowerRequest, PowerState, PowerVerb, ProvisionState};
use serde_json::json;
use store::{Batch, Severity};

use crate::desk::Desk;
use crate::parts::replace;
use crate::world::on_each;

const NODES: &str = "/baremetal/v1/nodes";

#[test]
fn a_parent_that_is_switched_on_for_its_child_shows_it() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let made = async |body| desk.post(admin, NODES, body).await.expect(201)["uuid"].as_str().unwrap().to_owned();
        let parent = made(json!({"driver": "fake-hardware", "name": "blade"})).await;
        let info = json!({"has_dedicated_power_supply": false});
        let child = made(json!({"driver": "fake-hardware", "name": "dpu", "parent_node": "blade", "driver_info": info})).await;
        for id in [&parent, &child] {
            desk.seen(id, ProvisionState::Manageable, Phase::Rest).await;
            desk.observe::<Node>(id, |it| it.observed.power = Some(PowerState::Off)).await;
        }
        let of = |id: &str| format!("{NODES}/{id}");
        assert_eq!(desk.get(admin, &of("dpu")).await.expect(200)["driver_info"]["has_dedicated_power_supply"], false);
        assert_eq!(model::baremetal::supplier(&desk.node(&child).await).unwrap().as_str(), parent);
        desk.patch(admin, &of("dpu"), replace("/driver_info/has_dedicated_power_supply", json!(true))).await.expect(200);
        assert!(model::baremetal::supplier(&desk.node(&child).await).is_none());
        desk.patch(admin, &of("dpu"), replace("/driver_info/has_dedicated_power_supply", json!(false))).await.expect(200);

        // It is the child's power that is asked for; what that means for its parent is the engine's to see.
        desk.put(admin, &format!("{}/states/power", of("dpu")), json!({"target": "power on"})).await.expect(202);
        let shown = desk.get(admin, &format!("{}/states", of("blade"))).await.expect(200);
        assert_eq!((&shown["power_state"], &shown["target_power_state"]), (&json!("power off"), &json!(null)));
        assert_eq!(desk.node(&child).await.desired.power_request.unwrap().asked_by, None, "a user asks");

        // As the engine asks for it.
        let mut node = desk.node(&parent).await;
        let by = AskedBy { node: Id::parse(&child).unwrap(), since: Some(model::Timestamp::now()) };
        let seq = node.observed.handled_power + 1;
        node.desired.power_request = Some(PowerRequest { seq, verb: PowerVerb::On, timeout_seconds: None, asked_by: Some(by) });
        let reason = format!("node {child} has its power from it and is to be switched on");
        let batch = Batch::wishes().want(&node).history(&node.id, Severity::Info, "asked: power on", &json!({ "reason": reason }));
        world.store.apply(batch).await.unwrap();
        let shown = desk.get(admin, &of("blade")).await.expect(200);
        assert_eq!((&shown["power_state"], &shown["target_power_state"]), (&json!("power off"), &json!("power on")));
        assert!(!shown.to_string().contains("asked_by") && !shown.to_string().contains(&child));
        desk.put(admin, &format!("{}/states/power", of("blade")), json!({"target": "power off"})).await.refused(409, "locked");
        let lines = desk.get(admin, &format!("{}/history?detail=true", of("blade"))).await.expect(200);
        assert_eq!(lines["history"].as_array().unwrap().last().unwrap()["event"], format!("asked: power on: {reason}"));

        // And as it ends.
        let why = format!("its parent node {parent} could not be switched on: no route");
        desk.observe::<Node>(&parent, |it| it.observed.handled_power = seq).await;
        desk.observe::<Node>(&child, |it| {
            it.observed.handled_power = it.desired.power_request.as_ref().unwrap().seq;
            it.observed.last_error = Some(why.clone());
        })
        .await;
        let shown = desk.get(admin, &format!("{}/states", of("dpu"))).await.expect(200);
        assert_eq!(
            (&shown["last_error"], &shown["target_power_state"], &shown["power_state"]),
            (&json!(why), &json!(null), &json!("power off"))
        );
        desk.put(admin, &format!("{}/states/power", of("blade")), json!({"target": "power on"})).await.expect(202);
    });
}
