//! Judges at all times whether a machine's port is in a segment that its tenant does not own: by the switches themselves and by packets.
//! Of the control plane it believes only what it said is done.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lab::netos::device::Device;

use crate::plane::Cables;

/// A tenant, who is a network here.
pub type Tenant = usize;

/// Who may have a port.
#[derive(Default)]
struct Place {
    /// Those to whom it was given and of whom it was not yet said that it was taken back.
    owners: Vec<(Tenant, u64)>,
    /// Those who may have had it until lately, and until when.
    past: Vec<(Tenant, Instant)>,
    /// Somebody put it into this VLAN by hand: until it was set right.
    by_hand: Option<(Instant, u16)>,
    /// Whom the control plane said last to have the port, and when.
    confirmed: Option<(Tenant, Instant)>,
}

/// Whose each port may be, as the one who asks the control plane knows.
pub struct Book {
    places: Vec<Mutex<Place>>,
    /// The VLAN of each tenant.
    pub vlans: Vec<u16>,
}

/// How long after a tenant's time ended a packet may still be on its way to where it is noticed.
const GRACE: Duration = Duration::from_millis(250);

impl Book {
    pub fn new(places: usize, vlans: Vec<u16>) -> Self {
        Self { places: (0..places).map(|_| Mutex::default()).collect(), vlans }
    }

    /// A tenant may have the port from now on; `claim` tells claims of one tenant apart.
    pub fn give(&self, place: usize, tenant: Tenant, claim: u64) {
        self.places[place].lock().unwrap().owners.push((tenant, claim));
    }

    /// The control plane said that the port was taken back.
    pub fn take_back(&self, place: usize, claim: u64) {
        let mut place = self.places[place].lock().unwrap();
        if let Some(at) = place.owners.iter().position(|it| it.1 == claim) {
            let (tenant, _) = place.owners.remove(at);
            place.past.push((tenant, Instant::now() + GRACE));
        }
    }

    /// The control plane said that this tenant has the port: so nobody else has.
    pub fn confirm(&self, place: usize, claim: u64) {
        let mut place = self.places[place].lock().unwrap();
        let (stays, ended): (Vec<_>, Vec<_>) = place.owners.drain(..).partition(|it| it.1 >= claim);
        place.confirmed = stays.iter().find(|it| it.1 == claim).map(|it| (it.0, Instant::now()));
        place.owners = stays;
        let until = Instant::now() + GRACE;
        place.past.extend(ended.into_iter().map(|it| (it.0, until)));
    }

    /// Somebody puts the port into the VLAN by hand; nobody judges it meanwhile.
    pub fn by_hand(&self, place: usize, vlan: u16, edit: impl FnOnce()) {
        let mut place = self.places[place].lock().unwrap();
        edit();
        place.by_hand = Some((Instant::now(), vlan));
    }

    /// Who may have the port at some time since `since`; `None`: a hand is in it.
    fn owners(&self, place: usize, since: Instant) -> Option<BTreeSet<Tenant>> {
        let mut place = self.places[place].lock().unwrap();
        place.past.retain(|it| it.1 + Duration::from_secs(5) > Instant::now());
        if place.by_hand.is_some() {
            return None;
        }
        let past = place.past.iter().filter(|it| it.1 >= since).map(|it| it.0);
        Some(place.owners.iter().map(|it| it.0).chain(past).collect())
    }

    fn was_set_right(&self, place: usize) {
        self.places[place].lock().unwrap().by_hand = None;
    }

    /// How long the oldest change by hand has lasted.
    fn oldest_by_hand(&self) -> Option<(usize, Duration)> {
        let all = self.places.iter().enumerate();
        all.filter_map(|(nth, it)| Some((nth, it.lock().unwrap().by_hand?.0.elapsed()))).max_by_key(|it| it.1)
    }
}

/// How often in a row packets may be late to follow the switches, seconds each time, while nobody judges them.
const LATE: u32 = 20;

/// What the watcher found.
#[derive(Default)]
pub struct Findings {
    pub violations: Mutex<Vec<String>>,
    pub rounds: AtomicUsize,
    pub packets: AtomicUsize,
    pub slowest_repair: Mutex<Duration>,
}

/// A watcher at work.
pub struct Watcher {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    pub found: Arc<Findings>,
}

impl Watcher {
    pub fn start(mut cables: Cables, devices: Vec<Arc<Device>>, ports: Vec<Vec<String>>, book: Arc<Book>) -> Self {
        let (stop, found) = (Arc::new(AtomicBool::new(false)), Arc::new(Findings::default()));
        let (until, into) = (Arc::clone(&stop), Arc::clone(&found));
        let thread = std::thread::spawn(move || {
            let mut late = 0;
            while !until.load(Ordering::Relaxed) {
                late = if look(&mut cables, &devices, &ports, &book, &into) { 0 } else { late + 1 };
                assert!(late < LATE, "packets did not follow the switches {late} times in a row: nothing was judged by them");
            }
        });
        Self { stop, thread: Some(thread), found }
    }

    pub fn end(mut self) -> Arc<Findings> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        Arc::clone(&self.found)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Looks once; `false`: packets could not be judged.
fn look(cables: &mut Cables, devices: &[Arc<Device>], ports: &[Vec<String>], book: &Book, found: &Findings) -> bool {
    let places = cables.places().to_vec();
    // By the switches: what each port carries, its configuration and whether it is up taken together.
    for _ in 0..4 {
        for (nth, (switch, port)) in places.iter().enumerate() {
            let since = Instant::now();
            let carried = devices[*switch].carries(&ports[*switch][*port]);
            let protected = devices[*switch].running().ports.get(&ports[*switch][*port]).is_some_and(|it| it.protected);
            let vlans: BTreeSet<u16> = carried.untagged.into_iter().chain(carried.tagged.iter().copied()).collect();
            let Some(owners) = book.owners(nth, since) else {
                // Set right: it is in that VLAN no more, or was read back since as that tenant's. One who only asked for the port may give
                // that up again, and the hand's VLAN would be taken for the control plane's doing.
                // Read anew: the hand may have been at it just now.
                let Some((since, vlan)) = book.places[nth].lock().unwrap().by_hand else { continue };
                // Whoever saved meanwhile saved it along: until that is set right, too, a restart of the switch brings it back.
                let configs = [devices[*switch].running(), devices[*switch].startup()];
                let is_in_it = configs.iter().any(|it| it.ports.get(&ports[*switch][*port]).is_some_and(|it| it.up && it.access == vlan));
                let confirmed = book.places[nth].lock().unwrap().confirmed;
                if !is_in_it || confirmed.is_some_and(|(tenant, at)| at > since && book.vlans[tenant] == vlan) {
                    let mut slowest = found.slowest_repair.lock().unwrap();
                    *slowest = (*slowest).max(since.elapsed());
                    book.was_set_right(nth);
                }
                continue;
            };
            let allowed: BTreeSet<u16> = owners.iter().map(|it| book.vlans[*it]).collect();
            if !vlans.is_subset(&allowed) && !protected {
                let text = format!(
                    "the switch has port {} of leaf{} in VLANs {vlans:?}, allowed are {allowed:?}",
                    ports[*switch][*port],
                    switch + 1
                );
                note(found, text);
            }
        }
        std::thread::sleep(Duration::from_millis(15));
    }
    // By packets: who hears whom shares a tenant.
    let since = Instant::now();
    let heard = cables.shout(&book.vlans, Duration::from_millis(60));
    found.rounds.fetch_add(1, Ordering::Relaxed);
    found.packets.fetch_add(heard.len(), Ordering::Relaxed);
    let wrong = |heard: Vec<(usize, usize)>, since: Instant| -> Vec<(usize, usize)> {
        let apart = |from: usize, to: usize| match (book.owners(from, since), book.owners(to, since)) {
            (Some(one), Some(other)) => one.is_disjoint(&other),
            _ => false,
        };
        heard.into_iter().filter(|(from, to)| from != to && apart(*from, *to)).collect()
    };
    let first = wrong(heard, since);
    // What carries the packets follows the switch a little later: what is heard when it did is meant. While it has not, Open vSwitch
    // would be judged and not the switches.
    let is_judged = first.is_empty() || cables.settle();
    if is_judged && !first.is_empty() {
        let since = Instant::now();
        let again = wrong(cables.shout(&book.vlans, Duration::from_millis(100)), since);
        for (from, to) in first.iter().filter(|it| again.contains(it)) {
            let owners = (book.owners(*from, since), book.owners(*to, since));
            note(found, format!("packets of {:?} are heard at {:?}: {owners:?}", places[*from], places[*to]));
        }
    }
    if let Some((nth, lasted)) = book.oldest_by_hand().filter(|it| it.1 > Duration::from_secs(120)) {
        note(found, format!("what a hand did to {:?} was not set right for {lasted:?}", places[nth]));
        book.was_set_right(nth);
    }
    is_judged
}

fn note(found: &Findings, text: String) {
    let mut all = found.violations.lock().unwrap();
    if all.len() < 100 {
        all.push(format!("{} {text}", model::Timestamp::now().iso_micros()));
    }
}
