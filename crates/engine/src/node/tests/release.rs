//! What a machine's history says of the isolation it was released by.

use model::baremetal::BaremetalPortDesired;
use model::fabric::{Declared, Forced, PortUse, Switch, SwitchDesired, SwitchPort, SwitchPortDesired};
use model::net::LocalLink;
use store::{HistoryLine, Severity};

use super::*;

/// Releases a machine with cards at these ports of a switch, each read back or freed by an operator; it and what its history says of that.
async fn released(forced: &[bool]) -> (Object<Node>, HistoryLine) {
    let rig = Rig::new(|_| {}).await;
    let id = rig
        .enrolled("redfish", ProvisionState::Active, |it| {
            it.interfaces.insert(Interface::Network, "neutron".into());
        })
        .await;
    let switch: Id<Switch> = Id::parse("leaf1").unwrap();
    let desired = SwitchDesired { declared: Declared::Api, driver: "arista_eos".into(), ..SwitchDesired::default() };
    let mut batch = Batch::wishes().create(&Object::new(switch.clone(), None, "leaf1", desired));
    for (nth, forced) in forced.iter().enumerate() {
        let port = format!("Ethernet{nth}");
        let link = LocalLink { switch_id: String::new(), switch_info: Some("leaf1".into()), port_id: port.clone() };
        let card = BaremetalPortDesired {
            local_link_connection: Some(link),
            ..serde_json::from_value(json!({"node_id": id, "address": format!("02:00:00:00:00:0{nth}"), "pxe_enabled": true})).unwrap()
        };
        batch = batch.create(&Object::<BaremetalPort>::new(Id::random(), None, "", card));
        let word = Forced { by: "the-operator".into(), reason: "cable pulled".into(), at: Timestamp::now() };
        let desired = SwitchPortDesired {
            switch: switch.clone(),
            port: port.clone(),
            wanted: PortUse::Isolated,
            holder: None,
            since: Timestamp::now(),
            lag: None,
            forced: forced.then_some(word),
        };
        let mut row = Object::<SwitchPort>::new(SwitchPortDesired::id_of(&switch, &port), None, "", desired);
        if !forced {
            row.observed.seen = Some(PortUse::Isolated);
            row.observed.generation = row.generation;
            row.observed.read_at = Some(Timestamp::now());
            row.observed.reading = 5;
        }
        assert!(row.is_free());
        batch = batch.create(&row);
    }
    rig.store().apply(batch).await.unwrap();
    rig.ask(&id, Verb::Undeploy, Vec::new()).await;
    for () in looks() {
        if rig.node(&id).await.observed.state == ProvisionState::Cleaning {
            break;
        }
        rig.look(None).await;
    }
    let node = rig.node(&id).await;
    assert_eq!(node.observed.state, ProvisionState::Cleaning, "{}", node.observed.reason);
    let mut lines = rig.store().history(Node::NAME, id.as_str(), 50).await.unwrap();
    lines.retain(|it| it.event.contains("isolation"));
    assert_eq!(lines.len(), 1, "{lines:?}");
    (node, lines.remove(0))
}

#[tokio::test]
async fn what_was_read_and_what_an_operator_said_are_told_apart() {
    let (node, line) = released(&[false, false]).await;
    assert!(line.event.starts_with("isolation proven at") && node.observed.isolated_at.is_some(), "{line:?}");
    assert_eq!(line.severity, Severity::Info.as_str());

    let (node, line) = released(&[false, true]).await;
    assert_eq!(node.observed.isolated_at, None, "a word is no proof");
    assert_eq!(
        (line.event.as_str(), line.severity.as_str()),
        ("released without proof of isolation of 1 of its 2 switch ports", "WARNING")
    );
    let ports = line.detail["ports"].as_array().unwrap();
    let of = |port: &str| ports.iter().find(|it| it["port"] == port).unwrap();
    assert_eq!((&of("Ethernet0")["proven"], &of("Ethernet0")["reading"]), (&json!(true), &json!(5)));
    let word = &of("Ethernet1")["forced"];
    assert_eq!((&word["by"], &word["reason"]), (&json!("the-operator"), &json!("cable pulled")));
    assert!(word["at"].as_str().is_some_and(|it| it.starts_with("20")), "{word}");

    let (node, line) = released(&[true]).await;
    assert_eq!(node.observed.isolated_at, None);
    assert!(!line.event.contains("proven"), "{line:?}");
}
