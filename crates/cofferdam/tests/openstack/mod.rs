//! The `openstack` command of python-openstackclient, with the plugins for Ironic and Magnum, as users have it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{run_anyway, say};

/// Names the command; `cargo xtask test` installs one.
const PROGRAM: &str = "COFFERDAM_TEST_OSC";

/// The command for one user.
#[derive(Clone)]
pub struct Client {
    program: PathBuf,
    /// Its clouds.yaml.
    clouds: PathBuf,
    cloud: String,
}

impl Client {
    /// The same command with another clouds.yaml, whose cloud is called `cofferdam` too.
    pub fn with_clouds(&self, clouds: &Path) -> Self {
        Self { clouds: clouds.to_owned(), ..self.clone() }
    }

    /// For the cloud that `cofferdam serve` wrote into its state directory; says why if there is no command.
    pub fn of(state_dir: &Path) -> Option<Self> {
        let Some(program) = std::env::var_os(PROGRAM) else {
            say(&format!("skipped: {PROGRAM} does not name the openstack command"));
            return None;
        };
        Some(Self { program: program.into(), clouds: state_dir.join("clouds.yaml"), cloud: "cofferdam".into() })
    }

    /// The same for another user, whose clouds.yaml is written beside.
    pub fn login(&self, user: &str, password: &str, project: &str) -> Self {
        let text = std::fs::read_to_string(&self.clouds).unwrap();
        let replaced = text.lines().map(|line| match line.trim_start().split_once(": ").map(|it| it.0) {
            Some("username") => format!("      username: {user}"),
            Some("password") => format!("      password: \"{password}\""),
            Some("project_name") => format!("      project_name: {project}"),
            _ => line.to_owned(),
        });
        let clouds = self.clouds.with_file_name(format!("clouds-{user}.yaml"));
        std::fs::write(&clouds, replaced.collect::<Vec<_>>().join("\n")).unwrap();
        Self { clouds, ..self.clone() }
    }

    /// For bare metal alone, without identity: HTTP's basic scheme, as clients of an Ironic that stands alone are configured.
    pub fn alone(&self, base: &str) -> Self {
        let text = std::fs::read_to_string(&self.clouds).unwrap();
        let of = |key: &str| text.lines().find(|line| line.trim_start().starts_with(key)).unwrap().trim().to_owned();
        let auth = format!("{}\n      {}\n      endpoint: {base}/baremetal", of("username:"), of("password:"));
        let clouds = self.clouds.with_file_name("clouds-alone.yaml");
        let text = format!("clouds:\n  cofferdam:\n    auth_type: http_basic\n    auth:\n      {auth}\n");
        std::fs::write(&clouds, text).unwrap();
        Self { clouds, ..self.clone() }
    }

    fn run(&self, line: &str, more: &[&str]) -> Output {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("OS_")) {
            command.env_remove(name);
        }
        command.env("OS_CLIENT_CONFIG_FILE", &self.clouds).env("OS_CLOUD", &self.cloud).env("PYTHONWARNINGS", "ignore");
        // Magnum's plugin looks for what kind of shell it is to write for.
        command.env("SHELL", "/bin/sh");
        run_anyway(command.args(line.split_whitespace()).args(more))
    }

    /// Runs a command (its words have no spaces) that must succeed; what it printed.
    #[track_caller]
    pub fn run_with(&self, line: &str, more: &[&str]) -> String {
        let output = self.run(line, more);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openstack {line} {more:?}: {}{said}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a command that must succeed.
    #[track_caller]
    pub fn ok(&self, line: &str) -> String {
        self.run_with(line, &[])
    }

    /// Runs a command that shows something.
    #[track_caller]
    pub fn json(&self, line: &str) -> Value {
        let text = self.run_with(line, &["-f", "json"]);
        // Magnum's plugin says a sentence first.
        let start = text.find(['{', '[']).unwrap_or(0);
        serde_json::from_str(&text[start..]).unwrap_or_else(|error| panic!("openstack {line}: {error}: {text}"))
    }

    /// One column of a list, by the name it has in JSON.
    #[track_caller]
    pub fn column(&self, line: &str, column: &str) -> Vec<String> {
        let list = self.json(line);
        let found: Vec<String> = list
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it[column].as_str().unwrap_or_else(|| panic!("no {column} in {it}")).to_owned())
            .collect();
        found
    }

    /// Runs a command that must fail, and say these words about it.
    #[track_caller]
    pub fn refused(&self, line: &str, words: &[&str]) {
        let output = self.run(line, &[]);
        assert!(!output.status.success(), "openstack {line}: {}", String::from_utf8_lossy(&output.stdout));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(words.iter().all(|it| said.to_lowercase().contains(&it.to_lowercase())), "openstack {line} does not say {words:?}: {said}");
        assert!(!said.contains("Traceback"), "openstack {line}: {said}");
    }
}
