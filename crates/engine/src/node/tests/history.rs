//! What happened is remembered, but not all of it for ever.

use store::Severity;

use super::*;
use crate::history::HISTORY_WORK;

async fn lines(rig: &Rig, id: &Id<Node>) -> Vec<String> {
    rig.store().history(Node::NAME, id.as_str(), 10_000).await.unwrap().into_iter().map(|it| it.event).collect()
}

async fn written(rig: &Rig, id: &Id<Node>, count: usize) {
    let line = |batch: Batch<_>, at: usize| batch.history(id, Severity::Info, &at.to_string(), &json!({}));
    rig.store().apply((0..count).fold(Batch::wishes(), line)).await.unwrap();
}

/// Goes through all histories, killed again and again if there are dice.
async fn trimmed(rig: &Rig, mut dice: Option<Dice>) {
    rig.store().apply(Batch::wishes().wake_named(HISTORY_WORK, HISTORY_WORK)).await.unwrap();
    loop {
        let claim = rig.store().claim("w", LEASE).await.unwrap().unwrap();
        assert_eq!(claim.kind, HISTORY_WORK);
        let polls = dice.as_mut().and_then(|it| (it.below(8) > 0).then(|| it.below(40)));
        rig.look_at(claim.clone(), polls).await;
        if polls.is_none() {
            break;
        }
    }
    // It would look again.
    let claim = rig.store().claim("w", LEASE).await.unwrap().unwrap();
    rig.store().finish(&claim, Outcome::Gone).await.unwrap();
}

#[tokio::test]
async fn the_newest_lines_stay_whoever_dies() {
    for seed in [None, Some(7_u64), Some(77)] {
        println!("seed {seed:?}");
        let rig = Rig::new(|_| {}).await;
        let (few, many, more) = (
            rig.enrolled("redfish", ProvisionState::Available, |_| {}).await,
            rig.enrolled("redfish", ProvisionState::Available, |_| {}).await,
            rig.enrolled("redfish", ProvisionState::Available, |_| {}).await,
        );
        written(&rig, &few, 300).await;
        written(&rig, &many, 301).await;
        written(&rig, &more, 1500).await;
        trimmed(&rig, seed.map(Dice)).await;
        assert_eq!(lines(&rig, &few).await.len(), 300);
        assert_eq!((lines(&rig, &many).await.len(), lines(&rig, &many).await.last().unwrap().as_str()), (300, "1"));
        assert_eq!((lines(&rig, &more).await.len(), lines(&rig, &more).await.last().unwrap().as_str()), (300, "1200"));
    }
}

#[tokio::test]
async fn who_has_no_time_left_goes_on_where_it_stopped() {
    let rig = Rig::new(|_| {}).await;
    let mut ids = Vec::new();
    for _ in 0..120 {
        let id = rig.enrolled("redfish", ProvisionState::Available, |_| {}).await;
        written(&rig, &id, 303).await;
        ids.push(id);
    }
    rig.store().apply(Batch::wishes().wake_named(HISTORY_WORK, HISTORY_WORK)).await.unwrap();
    let claim = rig.store().claim("w", LEASE).await.unwrap().unwrap();
    let cx = Cx { shared: Arc::clone(&rig.shared), claim };
    let mut looks = 0;
    // Each look has time for a page only, and each gets further.
    while let Next::Again(after) = crate::history::trim_for(&cx, Timestamp::now(), Duration::from_millis(1)).await.unwrap() {
        looks += 1;
        if after > Duration::from_secs(60) {
            break;
        }
        assert!(looks < 200, "it does not get through");
    }
    assert!(looks >= 3, "{looks}");
    for id in &ids {
        assert_eq!(lines(&rig, id).await.len(), 300);
    }
}

#[tokio::test]
async fn what_is_no_more_is_remembered_for_a_while() {
    let rig = Rig::new(|_| {}).await;
    let id = rig.enrolled("redfish", ProvisionState::Available, |_| {}).await;
    written(&rig, &id, 5).await;
    rig.store().apply(Batch::wishes().remove(&rig.node(&id).await)).await.unwrap();
    for _ in 0..2 {
        trimmed(&rig, None).await;
        assert_eq!(lines(&rig, &id).await, ["removed", "4", "3", "2", "1", "0"]);
    }
    let later = async |days: i64| {
        rig.store().apply(Batch::wishes().wake_named(HISTORY_WORK, HISTORY_WORK)).await.unwrap();
        let claim = rig.store().claim("w", LEASE).await.unwrap().unwrap();
        let cx = Cx { shared: Arc::clone(&rig.shared), claim };
        crate::history::trim_at(&cx, Timestamp::now().plus_seconds(days * 86_400)).await.unwrap();
        rig.store().finish(&cx.claim, Outcome::Gone).await.unwrap();
    };
    later(29).await;
    assert_eq!(lines(&rig, &id).await.len(), 6);
    later(31).await;
    assert!(lines(&rig, &id).await.is_empty());
}
