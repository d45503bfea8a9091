//! What a network operating system has to say for itself, if it has a command line: which lines there are, how it complains, how it
//! shows a configuration.

use std::collections::BTreeSet;

use super::super::device::{Config, Device, Port, Protocol, Rules};
use super::cli::{Cli, join};
use super::grammar::{Arg, Bad, Names};
use super::{Answer, Shape, Weight};

/// Where a line may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// Before `enable`, and after.
    User,
    /// After `enable`.
    Exec,
    /// In configuration, and below.
    Config,
    /// Where an interface is configured.
    Interface,
    /// Where a VLAN is configured.
    Vlan,
    /// In a section of the operating system's own.
    Sub(u8),
}

/// A mode that a session is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) at: At,
    /// The interfaces that are configured.
    pub(super) ports: Vec<String>,
    /// The VLANs that are configured.
    pub(super) vlans: BTreeSet<u16>,
    /// The section of [`Config::extra`] that lines go to, below others separated by `\n`.
    pub(super) section: String,
}

impl Spot {
    pub(super) fn new(at: At) -> Self {
        Self { at, ports: Vec::new(), vlans: BTreeSet::new(), section: String::new() }
    }
}

/// How the list of a trunk is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    Set,
    Add,
    Remove,
    Except,
    All,
    None,
    /// As on a port fresh from the box.
    Default,
}

/// What a line does. Arguments are in the order of the pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Do {
    Enable,
    Disable,
    Configure,
    Exit,
    End,
    /// Understood, and without effect here.
    Nothing,
    /// Lines of a page; 0: no paging.
    PageLength,
    PageOff,
    PageOn,
    Width,
    ShowRunning,
    ShowRunningInterface,
    ShowStartup,
    ShowVlans,
    ShowStatus,
    ShowSwitchport,
    ShowVersion,
    /// Asks before.
    SaveAsking,
    Save,
    Commit,
    Discard,
    Hostname,
    Interface,
    NoInterface,
    DefaultInterface,
    Vlan,
    NoVlan,
    Describe,
    NoDescribe,
    Up,
    Down,
    Switched,
    Routed,
    Access,
    NoAccess,
    ModeAccess,
    ModeTrunk,
    ModeHybrid,
    /// Negotiated with the other side.
    ModeDynamic,
    NoMode,
    Native,
    NoNative,
    NativeTag,
    Allow(List),
    Join(Protocol),
    Leave,
    Protect,
    NoProtect,
    VlanName,
    NoVlanName,
    Vni,
    NoVni,
    /// Opens a section, which is there from then on.
    Section(At),
    NoSection,
    /// A line that means nothing here and is kept.
    Keep,
    NoKeep,
    /// [`Flavour::special`].
    Special(u8),
}

/// What is being waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    /// The enable password, for so many more times.
    Password(u8),
    /// Whether to save.
    Save(String),
    /// [`Flavour::answer`].
    Other(u8, String),
}

/// Which configuration is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Running,
    Startup,
}

/// What fails beside the words of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    NoSuchPort(String),
    /// Not for interfaces of this kind.
    WrongPort(String),
    DefaultVlan(u16),
    /// A line for ports that are set otherwise.
    WrongMode,
}

/// A line of a table: where it stands, its pattern, what it does.
pub(super) type Entry = (At, &'static str, Do);

/// What is refused, in the words of the operating system.
pub(super) type Outcome = Result<Answer, String>;

/// An operating system with a command line.
pub(super) trait Flavour: Names + Send + Sync + Sized + 'static {
    /// How it is called.
    const NAME: &'static str;
    /// How it forwards.
    const RULES: Rules;
    /// What takes lines back.
    const NEGATION: &'static str = "no";
    /// Whether commands of the first level work while configuring.
    const EXEC_ANYWHERE: bool = false;
    /// Whether lines take effect with a commit only.
    const CANDIDATE: bool = false;
    /// Whether members of a group take over what it carries.
    const INHERITS: bool = false;
    /// Whether a log-in begins with `User` although it may become more without a password.
    const USER_FIRST: bool = false;
    /// Whether a trunk takes only VLANs that are there.
    const TRUNKS_REFER: bool = false;
    /// What begins a remark.
    const COMMENT: char = '!';

    /// The lines that there are.
    fn table(&self) -> &'static [&'static [Entry]];
    /// A switch fresh from the box.
    fn factory(&self, shape: &Shape) -> Config;
    /// The prompt.
    fn prompt(&self, cli: &Cli<Self>) -> String;
    /// What is said to a line that is not understood.
    fn bad(&self, cli: &Cli<Self>, line: &str, bad: &Bad) -> String;
    /// What is said to one that cannot be done; the line is given with the column of its first argument.
    fn fault(&self, cli: &Cli<Self>, line: &str, fault: &Fault) -> String;
    /// A whole configuration, or what of it is about one interface.
    fn render(&self, config: &Config, shown: Shown, port: Option<&str>) -> String;
    /// The answer to one of the `show` commands.
    fn show(&self, cli: &Cli<Self>, what: Do, port: Option<&str>) -> String;
    /// What is asked before saving, and what is said after.
    fn saving(&self) -> (&'static str, &'static str);
    /// Whether an answer to what is asked before saving means yes.
    fn is_yes(&self, answer: &str) -> bool;

    /// The settings of a port or group fresh from the box.
    fn fresh(&self, name: &str) -> Port {
        Port { is_group: self.is_group(name), ..Port::default() }
    }

    /// Whether this is the name of a group.
    fn is_group(&self, name: &str) -> bool;

    /// The name of the group of this number.
    fn group(&self, number: u32) -> String;

    /// Whether an interface of this name is neither a port nor a group but something with lines of its own; and the mode for these.
    fn pseudo(&self, name: &str) -> Option<At> {
        let _ = name;
        None
    }

    /// Called before ports are put into VLANs that may not be there; answers what is said to it.
    fn referring(&self, config: &mut Config, vlan: u16) -> Result<String, String> {
        let _ = (config, vlan);
        Ok(String::new())
    }

    /// Puts a port into a group.
    fn join(&self, config: &mut Config, port: &str, group: u32, protocol: Protocol, line: &str) -> Result<String, String> {
        let _ = line;
        join(self, config, port, group, protocol);
        Ok(String::new())
    }

    /// Called when a group was removed, for each former member.
    fn orphaned(&self, port: &mut Port) {
        let _ = port;
    }

    /// What is printed after logging in.
    fn greeting(&self, device: &Device) -> String {
        let _ = device;
        String::new()
    }

    /// Carries out a line of its own.
    fn special(&self, cli: &mut Cli<Self>, which: u8, args: &[Arg], line: &str) -> Outcome {
        let _ = (cli, which, args, line);
        Ok(Answer::nothing())
    }

    /// Takes the answer to a question of its own.
    fn answer(&self, cli: &mut Cli<Self>, which: u8, line: &str) -> Outcome {
        let _ = (cli, which, line);
        Ok(Answer::nothing())
    }

    /// What is asked before configuration mode is left with something to commit.
    fn leaving(&self) -> Ask {
        Ask::Other(0, String::new())
    }

    /// How long the answer to a question of its own takes to be carried out.
    fn answer_weight(&self, which: u8, line: &str) -> Weight {
        let _ = (which, line);
        Weight::Light
    }

    /// Whether a line is one for a port that is set like this.
    fn fits(&self, port: &Port, what: Do) -> bool {
        let _ = (port, what);
        true
    }

    /// What is said to a new size of the terminal, to the begin of configuring, and to a commit that failed.
    fn said(&self, what: Do, number: u32) -> String {
        let _ = (what, number);
        String::new()
    }

    /// Called after a line changed a port that was like `before`.
    fn after(&self, port: &mut Port, before: &Port, what: Do) {
        let _ = (port, before, what);
    }

    /// Puts right what follows from a change.
    fn settle(&self, config: &mut Config) {
        let _ = config;
    }

    /// What is shown while output waits.
    fn more(&self) -> &'static str {
        "--More--"
    }

    /// How long commands of its own take.
    fn weight(&self, which: u8) -> Weight {
        let _ = which;
        Weight::Light
    }

    /// What asks for the enable password, and what is said to a wrong one.
    fn password(&self) -> (&'static str, &'static str) {
        ("Password: ", "% Bad secrets\n")
    }
}
