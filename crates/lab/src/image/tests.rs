use super::*;

#[test]
fn the_cache_forgets_old_images_and_keeps_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    for (age, name) in [(30, "a"), (20, "b"), (10, "c")] {
        let file = File::create(dir.path().join(format!("{name}.raw"))).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        fs::write(dir.path().join(format!("{name}.sha512")), "").unwrap();
    }
    forget_others(dir.path(), "a").unwrap();
    let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["a.raw", "a.sha512", "c.raw", "c.sha512"]);
}

#[test]
fn work_in_progress_is_removed_whatever_happens() {
    let dir = tempfile::tempdir().unwrap();
    drop(Scratch::new(dir.path()).unwrap());
    assert!(!dir.path().join("work").exists());
    fs::create_dir_all(dir.path().join("work/of/a/killed/process")).unwrap();
    remove_leftovers(dir.path()).unwrap();
    assert!(!dir.path().join("work").exists());
    remove_leftovers(dir.path()).unwrap();
}

#[test]
fn digests_are_those_of_the_standard() {
    // FIPS 180-4, example "abc".
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "abc").unwrap();
    assert!(sha512(file.path()).unwrap().starts_with("ddaf35a193617abacc417349ae20413112e6fa4e89a97ea2"));
}

#[test]
fn an_undeliverable_image_leaves_no_draft() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("image"), "x").unwrap();
    let output = dir.path().join("taken");
    fs::create_dir_all(output.join("by a folder")).unwrap();
    assert!(deliver(&dir.path().join("image"), &output).is_err());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    deliver(&dir.path().join("image"), &dir.path().join("fine")).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("fine")).unwrap(), "x");
}

/// The script is the machine's first process: a slip of the pen there is found only on the console of a machine that does not start.
#[test]
fn the_scripts_can_be_parsed() {
    for script in [root::INIT, include_str!("identity.sh")] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("script");
        fs::write(&path, script).unwrap();
        assert!(std::process::Command::new("sh").arg("-n").arg(&path).status().unwrap().success());
    }
}
