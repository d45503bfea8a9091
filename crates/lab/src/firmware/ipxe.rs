//! The part of iPXE's script language that boot scripts of bare metal services use (<https://ipxe.org/scripting>,
//! <https://ipxe.org/cmd>): kernel, initrd, imgargs, imgfree, boot, chain, set, inc, echo, sleep, goto with labels, iseq, isset, exit,
//! reboot, `||` and `&&`, comments and `${settings}`.
//!
//! The interpreter touches nothing: what has an effect goes through [`World`].

use std::collections::BTreeMap;
use std::time::Duration;

/// Most commands one boot executes: a script that loops for ever must come back to the firmware at some time.
const MAX_STEPS: usize = 10_000;
/// Most scripts that may chain into one another.
const MAX_CHAIN: usize = 8;
/// Longest pause a script may ask for.
const MAX_SLEEP: Duration = Duration::from_secs(60);

/// What scripts act upon.
pub(crate) trait World {
    /// Fetches a file; scripts only see whether it worked.
    fn fetch(&mut self, url: &str) -> Result<Vec<u8>, String>;
    /// Fetches an image to be kept for booting.
    fn fetch_image(&mut self, url: &str, kind: ImageKind) -> Result<(), String>;
    /// Forgets all images.
    fn free_images(&mut self);
    /// Writes a line on the console.
    fn say(&mut self, line: &str);
    /// Waits.
    fn sleep(&mut self, time: Duration);
}

/// What an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ImageKind {
    Kernel,
    Initrd,
}

/// How a script ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Boot the kernel that was fetched, with these arguments.
    Boot { arguments: String },
    /// Back to the firmware, which tries the next boot device.
    Exit,
    /// Start over.
    Reboot,
}

/// Runs the script `text` found at `url`.
///
/// # Errors
/// A line that says which command of which line failed, as iPXE prints before it returns to the firmware.
pub(crate) fn run(text: &[u8], url: &str, settings: &BTreeMap<String, String>, world: &mut dyn World) -> Result<Outcome, String> {
    let mut shell = Shell { settings: settings.clone(), arguments: None, has_kernel: false, steps: 0, world };
    let mut script = parse(text)?;
    let mut base = url.to_owned();
    for _ in 0..MAX_CHAIN {
        match shell.script(&script, &base)? {
            Next::End(outcome) => return Ok(outcome),
            Next::Chain { text, url } => {
                script = parse(&text)?;
                base = url;
            }
        }
    }
    Err("too many scripts chain into one another".into())
}

enum Next {
    End(Outcome),
    Chain { text: Vec<u8>, url: String },
}

#[derive(Debug)]
struct Script {
    lines: Vec<(usize, String)>,
    labels: BTreeMap<String, usize>,
}

fn parse(text: &[u8]) -> Result<Script, String> {
    let text = std::str::from_utf8(text).map_err(|_| "the script is not text".to_owned())?;
    let mut lines = text.lines();
    if lines.next().map(str::trim_end) != Some("#!ipxe") {
        return Err("exec format error: the file does not begin with #!ipxe".into());
    }
    let mut script = Script { lines: Vec::new(), labels: BTreeMap::new() };
    let mut pending: Option<(usize, String)> = None;
    for (index, line) in lines.enumerate() {
        let (number, mut whole) = pending.take().unwrap_or_else(|| (index + 2, String::new()));
        whole.push_str(line);
        if let Some(begun) = whole.strip_suffix('\\') {
            pending = Some((number, begun.to_owned()));
            continue;
        }
        let line = whole.trim();
        if let Some(label) = line.strip_prefix(':') {
            script.labels.insert(label.split_whitespace().next().unwrap_or("").to_owned(), script.lines.len());
        } else if !line.is_empty() && !line.starts_with('#') {
            script.lines.push((number, line.to_owned()));
        }
    }
    Ok(script)
}

struct Shell<'a> {
    settings: BTreeMap<String, String>,
    arguments: Option<String>,
    has_kernel: bool,
    steps: usize,
    world: &'a mut dyn World,
}

enum Step {
    Ok,
    Failed(String),
    Goto(String),
    End(Outcome),
    Chain { text: Vec<u8>, url: String },
}

impl Shell<'_> {
    fn script(&mut self, script: &Script, base: &str) -> Result<Next, String> {
        let mut at = 0;
        while let Some((number, line)) = script.lines.get(at) {
            at += 1;
            match self.line(line, base)? {
                Step::Ok => {}
                Step::Failed(why) => return Err(format!("line {number}: {why}")),
                Step::End(outcome) => return Ok(Next::End(outcome)),
                Step::Chain { text, url } => return Ok(Next::Chain { text, url }),
                Step::Goto(label) => {
                    at = *script.labels.get(&label).ok_or_else(|| format!("line {number}: no such label: {label}"))?;
                }
            }
        }
        Ok(Next::End(Outcome::Exit))
    }

    /// A line of commands joined by `||` (run if the one before failed) and `&&` (run if it did not).
    fn line(&mut self, line: &str, base: &str) -> Result<Step, String> {
        let mut last = Step::Ok;
        let mut skip = false;
        let mut command: Vec<&str> = Vec::new();
        for word in line.split_whitespace().chain(std::iter::once("&&")) {
            if word != "||" && word != "&&" {
                command.push(word);
                continue;
            }
            if !skip && !command.is_empty() {
                self.steps += 1;
                if self.steps > MAX_STEPS {
                    return Err(format!("the script did not end within {MAX_STEPS} commands"));
                }
                last = self.command(&command, base);
                if !matches!(last, Step::Ok | Step::Failed(_)) {
                    return Ok(last);
                }
            }
            let failed = matches!(last, Step::Failed(_));
            skip = if word == "||" { !failed } else { failed };
            if word == "||" && failed {
                // Whatever follows decides; with nothing after it the failure is forgiven.
                last = Step::Ok;
            }
            command.clear();
        }
        Ok(last)
    }

    fn command(&mut self, words: &[&str], base: &str) -> Step {
        let words: Vec<String> = words.iter().map(|word| self.expand(word)).collect();
        let mut rest = words.iter().map(String::as_str);
        let name = rest.next().unwrap_or("");
        let arguments: Vec<&str> = rest.collect();
        match (name, arguments.as_slice()) {
            ("kernel" | "imgselect" | "imgload", _) => self.kernel(&arguments, base),
            ("initrd" | "imgfetch" | "module", _) => match without_options(&arguments).first() {
                Some(url) => self.image(url, base, ImageKind::Initrd),
                None => Step::Failed(format!("{name}: no file named")),
            },
            ("imgargs", [_image, arguments @ ..]) => {
                self.arguments = Some(arguments.join(" "));
                Step::Ok
            }
            ("imgfree", _) => {
                self.world.free_images();
                self.has_kernel = false;
                self.arguments = None;
                Step::Ok
            }
            ("boot", _) => match without_options(&arguments).as_slice() {
                [url, ..] if url.contains('/') => match self.kernel(&arguments, base) {
                    Step::Ok => self.boot(),
                    failed => failed,
                },
                _ => self.boot(),
            },
            ("chain", _) => self.chain(&arguments, base),
            ("set", [setting, value @ ..]) => {
                let key = setting.split(':').next().unwrap_or(setting).to_owned();
                self.settings.insert(key, value.join(" "));
                Step::Ok
            }
            ("clear", [setting]) => {
                self.settings.remove(setting.split(':').next().unwrap_or(setting));
                Step::Ok
            }
            ("inc", [setting, by @ ..]) => {
                let key = setting.split(':').next().unwrap_or(setting).to_owned();
                let now: u64 = self.settings.get(&key).and_then(|value| value.parse().ok()).unwrap_or(0);
                let by: u64 = by.first().and_then(|by| by.parse().ok()).unwrap_or(1);
                self.settings.insert(key, now.saturating_add(by).to_string());
                Step::Ok
            }
            ("iseq", [a, b]) => decide(a == b, "iseq"),
            ("isset", []) => decide(false, "isset"),
            ("isset", [value, ..]) => decide(!value.is_empty(), "isset"),
            ("goto", [label]) => Step::Goto((*label).to_owned()),
            ("echo", _) => {
                self.world.say(&arguments.join(" "));
                Step::Ok
            }
            ("sleep", [seconds]) => match seconds.parse() {
                Ok(seconds) => {
                    self.world.sleep(Duration::from_secs(seconds).min(MAX_SLEEP));
                    Step::Ok
                }
                Err(_) => Step::Failed(format!("sleep: {seconds} is not a number of seconds")),
            },
            // The firmware has configured its only NIC before it ran the script.
            ("dhcp" | "ifopen" | "ifconf" | "ifstat" | "route" | "imgstat" | "isolate", _) => Step::Ok,
            ("exit", _) => Step::End(Outcome::Exit),
            ("reboot", _) => Step::End(Outcome::Reboot),
            _ => Step::Failed(format!("{name}: command not found or wrongly used")),
        }
    }

    fn kernel(&mut self, arguments: &[&str], base: &str) -> Step {
        let words = without_options(arguments);
        let Some((url, arguments)) = words.split_first() else { return Step::Failed("kernel: no file named".into()) };
        let step = self.image(url, base, ImageKind::Kernel);
        if matches!(step, Step::Ok) {
            self.has_kernel = true;
            self.arguments = Some(arguments.join(" "));
        }
        step
    }

    fn image(&mut self, url: &str, base: &str, kind: ImageKind) -> Step {
        match self.world.fetch_image(&resolve(base, url), kind) {
            Ok(()) => Step::Ok,
            Err(why) => Step::Failed(why),
        }
    }

    fn boot(&mut self) -> Step {
        if !self.has_kernel {
            return Step::Failed("boot: no image selected".into());
        }
        Step::End(Outcome::Boot { arguments: self.arguments.clone().unwrap_or_default() })
    }

    fn chain(&mut self, arguments: &[&str], base: &str) -> Step {
        let words = without_options(arguments);
        let Some(url) = words.first() else { return Step::Failed("chain: no file named".into()) };
        let url = resolve(base, url);
        match self.world.fetch(&url) {
            Ok(text) => Step::Chain { text, url },
            Err(why) => Step::Failed(why),
        }
    }

    /// Replaces `${name}` by the setting's value, or by nothing. `${mac:hexhyp}` writes colons as dashes.
    fn expand(&self, word: &str) -> String {
        let mut out = String::new();
        let mut rest = word;
        while let Some((before, after)) = rest.split_once("${") {
            out.push_str(before);
            let Some((name, tail)) = after.split_once('}') else {
                out.push_str("${");
                rest = after;
                continue;
            };
            let (key, form) = name.split_once(':').unwrap_or((name, ""));
            let value = self.settings.get(key).map_or("", String::as_str);
            if form == "hexhyp" {
                out.push_str(&value.replace(':', "-"));
            } else {
                out.push_str(value);
            }
            rest = tail;
        }
        out.push_str(rest);
        out
    }
}

fn decide(yes: bool, name: &str) -> Step {
    if yes { Step::Ok } else { Step::Failed(format!("{name}: no")) }
}

/// The words after the options (`--name kernel`, `-n kernel`, `--autofree`, …).
fn without_options<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let mut words = words.iter().copied().peekable();
    while let Some(word) = words.next_if(|word| word.starts_with('-')) {
        if matches!(word, "--name" | "-n" | "--timeout" | "-t") {
            words.next();
        }
    }
    words.collect()
}

/// A URL relative to the script it stands in.
fn resolve(base: &str, url: &str) -> String {
    if url.contains("://") {
        return url.to_owned();
    }
    let Some((scheme, rest)) = base.split_once("://") else { return url.to_owned() };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if url.starts_with('/') {
        return format!("{scheme}://{host}{url}");
    }
    let folder = path.split('?').next().and_then(|path| path.rsplit_once('/')).map_or(String::new(), |(folder, _)| format!("{folder}/"));
    format!("{scheme}://{host}/{folder}{url}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Paper {
        log: Vec<String>,
        files: BTreeMap<String, Vec<u8>>,
        /// How many fetches fail before one works.
        broken: usize,
    }

    impl World for Paper {
        fn fetch(&mut self, url: &str) -> Result<Vec<u8>, String> {
            self.log.push(format!("fetch {url}"));
            self.files.get(url).cloned().ok_or_else(|| format!("{url}: not found"))
        }
        fn fetch_image(&mut self, url: &str, kind: ImageKind) -> Result<(), String> {
            self.log.push(format!("{kind:?} {url}"));
            if self.broken > 0 {
                self.broken -= 1;
                return Err(format!("{url}: connection reset"));
            }
            Ok(())
        }
        fn free_images(&mut self) {
            self.log.push("free".into());
        }
        fn say(&mut self, line: &str) {
            self.log.push(format!("say {line}"));
        }
        fn sleep(&mut self, time: Duration) {
            self.log.push(format!("sleep {}", time.as_secs()));
        }
    }

    fn check(script: &str, world: &mut Paper) -> Result<Outcome, String> {
        let settings = BTreeMap::from([("net0/mac".into(), "52:54:00:00:00:01".into()), ("next-server".into(), "172.30.0.1".into())]);
        run(script.as_bytes(), "http://172.30.0.1:8089/boot/boot.ipxe", &settings, world)
    }

    #[test]
    fn a_plain_script_boots() {
        let mut world = Paper::default();
        let outcome =
            check("#!ipxe\n# deploy\n\nkernel http://h/k a=1 b=${net0/mac} || goto nowhere\ninitrd --name i.img i.img\nboot\n", &mut world);
        assert_eq!(outcome, Ok(Outcome::Boot { arguments: "a=1 b=52:54:00:00:00:01".into() }));
        assert_eq!(world.log, ["Kernel http://h/k", "Initrd http://172.30.0.1:8089/boot/i.img"]);
    }

    #[test]
    fn imgargs_replaces_the_arguments() {
        let mut world = Paper::default();
        let outcome = check("#!ipxe\nkernel /k old\ninitrd /i\nimgargs k new=${mac:hexhyp} \\\n  more\nboot k", &mut world);
        assert_eq!(outcome, Ok(Outcome::Boot { arguments: "new= more".into() }));
        assert_eq!(world.log[0], "Kernel http://172.30.0.1:8089/k");
    }

    /// The loop of Ironic's boot.ipxe and ipxe_config.template.
    #[test]
    fn retries_as_ironic_writes_them() {
        let script = "#!ipxe\n\nset attempt:int32 0\ngoto deploy\n\n:deploy\nimgfree\n\
                      kernel http://h/k selinux=0 ipa-api-url=http://h/ || goto retry\ninitrd http://h/i || goto retry\nboot\n\n\
                      :retry\niseq ${attempt} 3 && goto fail ||\ninc attempt\necho No response, retrying in ${attempt} seconds.\n\
                      sleep ${attempt}\ngoto deploy\n\n:fail\necho Failed\nexit 1\n";
        let mut world = Paper { broken: 2, ..Paper::default() };
        let outcome = check(script, &mut world);
        assert_eq!(outcome, Ok(Outcome::Boot { arguments: "selinux=0 ipa-api-url=http://h/".into() }), "{:?}", world.log);
        assert!(world.log.contains(&"sleep 2".to_owned()));

        let mut world = Paper { broken: 99, ..Paper::default() };
        assert_eq!(check(script, &mut world), Ok(Outcome::Exit));
        assert_eq!(world.log.last().unwrap(), "say Failed");
    }

    #[test]
    fn scripts_chain() {
        let mut world = Paper::default();
        let url = "http://172.30.0.1:8089/boot/52-54-00-00-00-01";
        world.files.insert(url.into(), b"#!ipxe\nreboot".to_vec());
        assert_eq!(check("#!ipxe\nchain ${net0/mac:hexhyp} || exit", &mut world), Ok(Outcome::Reboot));
        assert_eq!(check("#!ipxe\nchain absent || exit", &mut world), Ok(Outcome::Exit));
        world.files.insert(url.into(), format!("#!ipxe\nchain {url}").into_bytes());
        assert!(check(&format!("#!ipxe\nchain {url}"), &mut world).unwrap_err().contains("chain"));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let check = |script| check(script, &mut Paper::default()).unwrap_err();
        assert!(check("kernel x").contains("#!ipxe"));
        assert!(check("#!ipxe\n\nfly away").starts_with("line 3: fly:"));
        assert_eq!(check("#!ipxe\nboot"), "line 2: boot: no image selected");
        assert!(check("#!ipxe\ngoto x").contains("no such label"));
        assert!(check("#!ipxe\n:x\ngoto x").contains("did not end"));
        assert!(check("#!ipxe\nkernel").contains("no file"));
        assert!(check("#!ipxe\nsleep x").contains("seconds"));
    }
}
