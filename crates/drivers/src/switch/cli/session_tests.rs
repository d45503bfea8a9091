//! A log-in at a made-up switch that talks as switches do.

use std::time::Duration;

use model::Secret;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::Instant;

use super::session::{Patience, Session};
use super::{Dialect, linux};
use crate::switch::{Login, SwitchError};

const CISCO: Dialect = Dialect {
    prompt_ends: &['>', '#'],
    setup: &["terminal length 0"],
    enable: Some("enable"),
    enter: &["configure terminal"],
    commit: &[],
    discard: &[],
    leave: &["end"],
    save: &["copy running-config startup-config"],
    answers: &[("Destination filename", "")],
    refusals: &["% invalid", "error"],
    harmless: &["no error"],
    commit_seconds: 5,
};

const PATIENCE: Patience = Patience { whole: Duration::from_secs(20), quiet: Duration::from_secs(2), doing: "testing" };

/// How the made-up switch talks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// Shows each line when it comes to it, as command lines do.
    EchoesLate,
    /// Shows all that was typed at once, as a terminal driver does.
    EchoesEarly,
    /// Shows nothing of what is typed.
    Silent,
}

/// Serves one terminal: `answer` is given each line and the mode (a part of the prompt), and says what is printed and the next mode.
async fn serve(
    mut stream: DuplexStream,
    style: Style,
    prompt: impl Fn(&str) -> String,
    mut answer: impl FnMut(&str, &str) -> (String, String),
    first: &str,
    greeting: &str,
) {
    let mut mode = first.to_owned();
    let mut typed = Vec::new();
    let out = greeting.to_owned() + &prompt(&mode);
    stream.write_all(out.as_bytes()).await.unwrap();
    let mut buffer = [0; 1024];
    loop {
        let Ok(count @ 1..) = stream.read(&mut buffer).await else { return };
        if style == Style::EchoesEarly {
            let text = String::from_utf8_lossy(&buffer[..count]).replace('\n', "\r\n");
            stream.write_all(text.as_bytes()).await.unwrap();
        }
        typed.extend_from_slice(&buffer[..count]);
        while let Some(end) = typed.iter().position(|it| *it == b'\n') {
            let line = String::from_utf8(typed.drain(..=end).collect()).unwrap();
            let line = line.trim_end();
            let (said, next) = answer(line, &mode);
            let is_hidden = mode == "password";
            mode = next;
            if mode == "gone" {
                return;
            }
            let mut out = match style {
                Style::EchoesLate if !is_hidden => format!("{line}\r\n"),
                Style::EchoesLate => "\r\n".to_owned(),
                _ => String::new(),
            };
            out += &said.replace('\n', "\r\n");
            out += &prompt(&mode);
            // In small pieces, so that each place is met where a piece can end.
            for piece in out.as_bytes().chunks(7) {
                if stream.write_all(piece).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        }
    }
}

fn cisco_prompt(mode: &str) -> String {
    match mode {
        "user" => "leaf1>".to_owned(),
        "exec" => "leaf1#".to_owned(),
        "password" => "Password: ".to_owned(),
        "save" => "Destination filename [startup-config]? ".to_owned(),
        mode => format!("leaf1({mode})#"),
    }
}

fn cisco(line: &str, mode: &str) -> (String, String) {
    let to = |said: &str, mode: &str| (said.to_owned(), mode.to_owned());
    match (mode, line) {
        ("user", "enable") => to("", "password"),
        ("password", "s3cret") => to("", "exec"),
        ("password", _) => to("% Bad secrets\n\n", "user"),
        ("exec", "configure terminal") => to("Enter configuration commands, one per line.\n", "config"),
        ("exec", "show running-config") => {
            to("hostname leaf1\nbanner motd ^\nleaf1#\nleaf1# is mine, no error\n^\ninterface e1\n description leaf1#\n\nend\n\n", mode)
        }
        ("exec", "copy running-config startup-config") => to("", "save"),
        ("save", _) => to("[OK]\n", "exec"),
        ("config" | "config-if", "interface e9") => to("         ^\n% Invalid input detected at '^' marker.\n", mode),
        ("config" | "config-if", line) if line.starts_with("interface") => to("", "config-if"),
        ("config-if", "exit") => to("", "config"),
        ("config" | "config-if", "end") => to("%SYS-5-CONFIG_I: Configured from console\n", "exec"),
        ("config", line) if line.starts_with("switchport") => to("% Invalid input detected at '^' marker.\n", mode),
        ("exec", "bye") => to("", "gone"),
        (mode, _) => to("", mode),
    }
}

async fn begin(style: Style, password: &str) -> Result<Session, SwitchError> {
    let (ours, theirs) = tokio::io::duplex(4096);
    tokio::spawn(serve(theirs, style, cisco_prompt, cisco, "user", "\r\n*** WELCOME #\r\n  do not touch >\r\n\r\n"));
    let login = Login { enable_password: Some(Secret::new(password)), ..Login::default() };
    Session::begin("leaf1", &CISCO, &login, Box::new(ours), None, Instant::now() + Duration::from_secs(10)).await
}

#[tokio::test]
async fn an_answer_is_whole_and_nothing_else() {
    for style in [Style::EchoesLate, Style::EchoesEarly] {
        let mut session = begin(style, "s3cret").await.unwrap();
        for _ in 0..3 {
            let answer = session.show("show running-config", PATIENCE).await.unwrap();
            let expected = "hostname leaf1\nbanner motd ^\nleaf1#\nleaf1# is mine, no error\n^\ninterface e1\n description leaf1#\n\nend";
            assert_eq!(answer.trim_end(), expected);
            assert!(session.is_alive().await);
        }
    }
}

#[tokio::test]
async fn a_refused_line_is_named() {
    for style in [Style::EchoesLate, Style::EchoesEarly] {
        let mut session = begin(style, "s3cret").await.unwrap();
        session.lines(&["configure terminal"], None, PATIENCE).await.unwrap().unwrap();
        let good = ["interface e1", "switchport access vlan 5", "exit", "interface e2", "switchport access vlan 6", "exit"];
        session.lines(&good, None, PATIENCE).await.unwrap().unwrap();
        let bad = ["interface e1", "switchport access vlan 5", "exit", "interface e9", "switchport access vlan 6", "exit"];
        let refusal = session.lines(&bad, None, PATIENCE).await.unwrap().unwrap_err();
        assert_eq!(refusal.line, "interface e9");
        assert_eq!(refusal.words, "% Invalid input detected at '^' marker.");
        session.lines(&["end"], None, PATIENCE).await.unwrap().unwrap();
        session.settle(PATIENCE).await.unwrap();
        session.lines(&["copy running-config startup-config"], None, PATIENCE).await.unwrap().unwrap();
        session.settle(PATIENCE).await.unwrap();
    }
}

#[tokio::test]
async fn a_wrong_enable_password_is_not_tried_twice() {
    let Err(SwitchError::Trust { reason, .. }) = begin(Style::EchoesLate, "wrong").await else { panic!("let in") };
    assert!(!reason.contains("wrong"), "{reason}");
}

#[tokio::test]
async fn the_end_of_the_session_is_noticed() {
    let mut session = begin(Style::EchoesLate, "s3cret").await.unwrap();
    let lost = session.show("bye", PATIENCE).await.unwrap_err();
    assert!(matches!(lost, SwitchError::Unreachable { .. }), "{lost}");
    assert!(!session.is_alive().await);
}

#[tokio::test]
async fn prompts_of_several_lines_and_of_brackets() {
    let prompt = |mode: &str| match mode {
        "exec" => "\r\n--{ running }--[  ]--\r\nA:leaf1# ".to_owned(),
        "system" => "[~HUAWEI]".to_owned(),
        "changed" => "[*HUAWEI-GE1/0/1]".to_owned(),
        _ => "<HUAWEI>".to_owned(),
    };
    let answer = |line: &str, mode: &str| match line {
        "info" => ("system {\n}\n".to_owned(), mode.to_owned()),
        "system-view" => ("Enter system view.\n".to_owned(), "system".to_owned()),
        "interface GE1/0/1" => (String::new(), "changed".to_owned()),
        "quit" => (String::new(), "user".to_owned()),
        "bad" => ("                  ^\nError: Unrecognized command found at '^' position.\n".to_owned(), mode.to_owned()),
        _ => (String::new(), mode.to_owned()),
    };
    let dialect = Dialect { prompt_ends: &['#', '>', ']'], setup: &[], enable: None, ..CISCO };
    let until = Instant::now() + Duration::from_secs(10);
    let (ours, theirs) = tokio::io::duplex(4096);
    tokio::spawn(serve(theirs, Style::EchoesLate, prompt, answer, "exec", ""));
    let mut session = Session::begin("srl", &dialect, &Login::default(), Box::new(ours), None, until).await.unwrap();
    assert_eq!(session.show("info", PATIENCE).await.unwrap(), "system {\n}");

    let (ours, theirs) = tokio::io::duplex(4096);
    tokio::spawn(serve(theirs, Style::EchoesLate, prompt, answer, "user", "Info: The max number of VTY users is 21.\r\n"));
    let mut session = Session::begin("vrp", &dialect, &Login::default(), Box::new(ours), None, until).await.unwrap();
    session.lines(&["system-view", "interface GE1/0/1", "port default vlan 5"], None, PATIENCE).await.unwrap().unwrap();
    let refusal = session.lines(&["port link-type access", "bad"], None, PATIENCE).await.unwrap().unwrap_err();
    assert_eq!(refusal.line, "bad");
    session.lines(&["quit"], None, PATIENCE).await.unwrap().unwrap();
    session.settle(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_shell_has_to_say_that_it_is_done() {
    let prompt = |mode: &str| if mode == "root" { "root@leaf1:/var/tmp# " } else { "\x1b[01;32madmin@leaf1\x1b[0m:~$ " }.to_owned();
    let answer = |line: &str, mode: &str| match line {
        "sudo -s" => (String::new(), "root".to_owned()),
        line if line.starts_with("ip ") => ("cofferdam-done\n".to_owned(), mode.to_owned()),
        line if line.starts_with("bridge ") => ("Cannot find device \"swp9\"\n".to_owned(), mode.to_owned()),
        _ => (String::new(), mode.to_owned()),
    };
    let (ours, theirs) = tokio::io::duplex(4096);
    tokio::spawn(serve(theirs, Style::EchoesLate, prompt, answer, "user", "Linux leaf1 6.1\r\n"));
    let until = Instant::now() + Duration::from_secs(10);
    let mut session = Session::begin("leaf1", &linux::DIALECT, &Login::default(), Box::new(ours), None, until).await.unwrap();
    let receipt = Some(linux::RECEIPT.1);
    let good = linux::line(&["ip link set dev swp1 up".to_owned()]);
    session.lines(&[&good], receipt, PATIENCE).await.unwrap().unwrap();
    let bad = linux::line(&["bridge vlan add dev swp9 vid 5".to_owned()]);
    let refusal = session.lines(&[&bad], receipt, PATIENCE).await.unwrap().unwrap_err();
    assert_eq!((refusal.line, refusal.words.as_str()), (bad, "Cannot find device \"swp9\""));
}

#[tokio::test]
async fn silence_ends_by_the_deadline() {
    let (ours, _theirs) = tokio::io::duplex(4096);
    let began = Instant::now();
    let login = Login::default();
    let silent = Session::begin("leaf1", &CISCO, &login, Box::new(ours), None, began + Duration::from_secs(1)).await;
    assert!(matches!(silent, Err(SwitchError::Timeout { .. })));
    assert!(began.elapsed() <= Duration::from_secs(8));
}

#[tokio::test]
async fn a_terminal_that_shows_nothing_of_what_is_typed() {
    let mut session = begin(Style::Silent, "s3cret").await.unwrap();
    let answer = session.show("show running-config", PATIENCE).await.unwrap();
    assert!(answer.starts_with("hostname leaf1\n") && answer.contains("\nend"), "{answer}");
}
