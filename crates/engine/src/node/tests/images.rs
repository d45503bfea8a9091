//! Images of ours whose data is not in the image folder of this replica.

use model::baremetal::StepState;
use model::image_compute::{Image, ImageDesired};

use super::*;

async fn asked(format: &str) -> (Rig, Id<Node>, Object<Image>) {
    let rig = Rig::new(|_| {}).await;
    let desired: ImageDesired = serde_json::from_value(json!({
        "status": "active", "visibility": "public", "disk_format": format, "container_format": "bare", "sha512": "ab".repeat(64),
        "size_bytes": 5,
    }))
    .unwrap();
    let image = Object::<Image>::new(Id::random(), None, "x", desired);
    rig.store().apply(Batch::wishes().create(&image)).await.unwrap();
    let info = json!({"image_source": image.id}).as_object().cloned().unwrap();
    let id = rig.enrolled("redfish", ProvisionState::Available, |it| it.instance_info = model::secret::Settings(info)).await;
    rig.ask(&id, Verb::Deploy, Vec::new()).await;
    for _ in 0..150 {
        rig.calls(&id).await;
        rig.look(None).await;
    }
    (rig, id, image)
}

#[tokio::test]
async fn an_image_that_is_not_here_is_waited_for() {
    for format in ["raw", "qcow2"] {
        let (rig, id, image) = asked(format).await;
        let node = rig.node(&id).await;
        assert_eq!(node.observed.state, ProvisionState::Deploying, "{format}: {:?}", node.observed.last_error);
        assert!(node.observed.reason.contains("image folder"), "{format}: {}", node.observed.reason);
        if format == "raw" {
            std::fs::write(rig.shared.config.image_dir.join(image.id.as_str()), b"12345").unwrap();
            rig.until(&id, ProvisionState::Active).await;
        }
    }
}

#[tokio::test]
async fn it_is_not_waited_for_for_ever() {
    let (rig, id, image) = asked("raw").await;
    let mut node = rig.node(&id).await;
    let step = node.observed.job.steps.iter_mut().find(|it| matches!(it.progress, StepState::Begun { .. })).unwrap();
    let StepState::Begun { at, .. } = &mut step.progress else { panic!("{step:?}") };
    *at = at.plus_seconds(-1000);
    rig.observe(&node).await;
    let node = rig.until(&id, ProvisionState::DeployFailed).await;
    let why = node.observed.last_error.unwrap();
    assert!(why.contains("image folder") && why.contains(image.id.as_str()), "{why}");
    let lines = rig.store().history(Node::NAME, id.as_str(), 50).await.unwrap();
    assert!(lines.iter().any(|it| it.detail["reason"].as_str().is_some_and(|it| it.contains("image folder"))), "{lines:?}");
}
