//! What lies beside a node: its config drive, and what somebody waits for.

use model::baremetal::{Action, ActionEnd, ConfigDrive, ConfigDriveDesired, DriveOf, NodeActionDesired};

use super::*;

#[tokio::test]
async fn a_drive_reaches_the_agent_and_goes_with_the_tenant() {
    for bytes in [100, 2 << 20] {
        let rig = Rig::new(|_| {}).await;
        let text = "d".repeat(bytes);
        let desired = ConfigDriveDesired { drive: Secret::new(text.as_str()) };
        let drive: Object<ConfigDrive> = Object::new(Id::random(), None, "", desired);
        rig.store().apply(Batch::wishes().create(&drive)).await.unwrap();
        let of = DriveOf { id: drive.id.clone(), bytes };
        let id = rig.enrolled("redfish", ProvisionState::Available, |it| it.drive = Some(of)).await;
        // Large ones wait until there is room for them.
        let room = Arc::clone(&rig.shared.large_drives).try_acquire_many_owned(2).unwrap();
        rig.ask(&id, Verb::Deploy, Vec::new()).await;
        for _ in 0..150 {
            rig.calls(&id).await;
            rig.look(None).await;
        }
        let is_large = bytes > 1 << 20;
        let node = rig.node(&id).await;
        assert_eq!(node.observed.state == ProvisionState::Active, !is_large, "{}", node.observed.reason);
        assert_eq!(node.observed.reason.contains("config drives"), is_large, "{}", node.observed.reason);
        drop(room);
        rig.until(&id, ProvisionState::Active).await;
        assert!(rig.script.with(id.as_str(), |it| it.drive.as_ref() == Some(&text)), "{bytes} bytes");
        assert_eq!(rig.shared.large_drives.available_permits(), 2, "the room is given back");
        rig.ask(&id, Verb::Undeploy, Vec::new()).await;
        let node = rig.until(&id, ProvisionState::Available).await;
        assert!(node.desired.drive.is_none() && rig.store().get(&drive.id).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn what_somebody_waits_for_is_done_and_forgotten() {
    let rig = Rig::new(|_| {}).await;
    let node_id = rig.enrolled("redfish", ProvisionState::Available, |_| {}).await;
    for (action, until, wanted) in [
        (Action::GetBootDevice, 30, Some(ActionEnd::Done { value: json!({"boot_device": "pxe", "persistent": false}) })),
        (Action::InjectNmi, 30, Some(ActionEnd::Unsupported { why: "injecting an NMI".into() })),
        (Action::GetBootDevice, -1, None),
    ] {
        let desired = NodeActionDesired { node_id: node_id.clone(), action, until: Timestamp::now().plus_seconds(until), unwatched: false };
        let row: Object<NodeAction> = Object::new(Id::random(), None, "", desired);
        rig.store().apply(Batch::wishes().create(&row).wake(&row.id)).await.unwrap();
        for _ in 0..5 {
            rig.look(None).await;
        }
        assert_eq!(rig.store().get(&row.id).await.unwrap().and_then(|it| it.observed.end), wanted);
    }
}
