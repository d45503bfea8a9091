//! What the user of the demo sees while it works: headings, the equivalent `openstack` commands, progress.

use std::cell::RefCell;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::phases::{Phases, seconds};

/// In a log that is not a terminal progress is said at most this often.
const QUIET: Duration = Duration::from_secs(5);

/// Standard output: with bars and colours if it is a terminal, in plain lines if not.
pub(crate) struct Screen {
    terminal: bool,
    colours: bool,
    state: RefCell<State>,
}

struct State {
    phases: Phases,
    bar: Option<ProgressBar>,
    said: Option<(Instant, String)>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
        Self { terminal, colours, state: RefCell::new(State { phases: Phases::start(), bar: None, said: None }) }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A part of the demo begins; its time is counted under `name`.
    pub(crate) fn phase(&self, name: &str, heading: &str) {
        self.end_progress();
        self.state.borrow_mut().phases.begin(name);
        println!("\n{}", self.paint("1", &format!("== {heading}")));
    }

    /// The command that does by hand what is done next.
    pub(crate) fn command(&self, text: &str) {
        self.line(&format!("  {} {}", self.paint("2", "$"), self.paint("36", text)));
    }

    /// `openstack --os-cloud <cloud> …`
    pub(crate) fn openstack(&self, cloud: &str, rest: &str) {
        self.command(&format!("openstack --os-cloud {cloud} {rest}"));
    }

    /// A line of its own.
    pub(crate) fn note(&self, text: &str) {
        self.line(&format!("  {text}"));
    }

    /// A line without indentation, above the bar if there is one.
    pub(crate) fn line(&self, text: &str) {
        match &self.state.borrow().bar {
            Some(bar) => bar.suspend(|| println!("{text}")),
            None => println!("{text}"),
        }
    }

    /// How far the thing awaited is: `done` of `total`, and what of it is going on.
    pub(crate) fn progress(&self, done: usize, total: usize, text: &str) {
        let mut state = self.state.borrow_mut();
        if self.terminal {
            let bar = state.bar.get_or_insert_with(|| {
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout());
                let style = ProgressStyle::with_template("  {spinner} [{bar:24}] {pos}/{len} {elapsed} {wide_msg}");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
                bar.enable_steady_tick(Duration::from_millis(120));
                bar
            });
            bar.set_length(count(total));
            bar.set_position(count(done));
            bar.set_message(text.to_owned());
            return;
        }
        let text = format!("  ... {done}/{total} {text}");
        let old = state.said.as_ref().is_none_or(|(at, said)| at.elapsed() > QUIET && *said != text);
        if old {
            println!("{text}");
            state.said = Some((Instant::now(), text));
        }
    }

    /// Something of unknown length is going on; only a terminal shows it.
    pub(crate) fn busy(&self, text: &str) {
        if self.terminal {
            self.progress(0, 1, text);
        }
    }

    /// The thing awaited is there.
    pub(crate) fn end_progress(&self) {
        let mut state = self.state.borrow_mut();
        if let Some(bar) = state.bar.take() {
            bar.finish_and_clear();
        }
        state.said = None;
    }

    /// Ends the last part and prints how long each took. `preparation` names the parts that are paid once.
    pub(crate) fn times(&self, preparation: &[&str]) {
        self.end_progress();
        let mut state = self.state.borrow_mut();
        state.phases.end();
        println!("\n{}\n{}", self.paint("1", "== How long it took"), state.phases.table());
        let once = state.phases.spent_in(preparation);
        let rest = state.phases.total().saturating_sub(once);
        println!("  of which {} for packages, build and images (paid once) and {} for the demo itself", seconds(once), seconds(rest));
    }

    /// Colours for the words of the matrix.
    pub(crate) fn verdict(&self, good: bool, text: &str) -> String {
        self.paint(if good { "32" } else { "1;31" }, text)
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
