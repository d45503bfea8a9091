//! Kills the control plane at points drawn at random, and starts it again each time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::chance::Chance;
use super::say;
use super::serve::Serve;

/// Who kills.
pub struct Killer {
    serve: Arc<Serve>,
    chance: Chance,
    began: Instant,
    /// How often it did.
    pub kills: usize,
}

/// Becomes true when this is dropped, however that comes.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Killer {
    pub fn new(serve: &Arc<Serve>) -> Self {
        Self { serve: Arc::clone(serve), chance: Chance::seeded(), began: Instant::now(), kills: 0 }
    }

    /// Does `work` while the control plane is killed `times` times, at moments drawn from the first `window` of it. Moments that have
    /// not come when the work is done are not waited for: the kills come then.
    pub fn during<T>(&mut self, what: &str, times: usize, window: Duration, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let limit = u64::try_from(window.as_millis()).unwrap();
        let mut moments: Vec<Duration> = (0..times).map(|_| Duration::from_millis(self.chance.below(limit))).collect();
        moments.sort();
        // Dead for up to a second: mostly short, so that it is also killed while it starts.
        let pauses: Vec<Duration> = moments.iter().map(|_| Duration::from_millis(self.chance.below(1_000))).collect();
        let done = AtomicBool::new(false);
        let serve = &*self.serve;
        let (done, run_began) = (&done, self.began);
        let result = std::thread::scope(|scope| {
            let killing = scope.spawn(move || {
                for (moment, pause) in moments.into_iter().zip(pauses) {
                    while began.elapsed() < moment && !done.load(Ordering::Relaxed) {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    say(&format!("{:6.2} s: killed ({what}), dead for {pause:?}", run_began.elapsed().as_secs_f64()));
                    serve.kill();
                    std::thread::sleep(pause);
                    serve.spawn();
                }
            });
            let result = {
                let _done = Done(done);
                work()
            };
            killing.join().unwrap();
            result
        });
        self.kills += times;
        say(&format!("{:6.2} s: {what}: done in {:.1} s", self.began.elapsed().as_secs_f64(), began.elapsed().as_secs_f64()));
        result
    }
}
