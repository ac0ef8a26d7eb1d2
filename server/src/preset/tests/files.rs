//! Presets from files and directories.

use std::{fs, path::PathBuf};

use super::*;

#[test]
fn files_and_directories_are_read_beside_those_of_the_program() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let acme = write("acme.toml", MINIMAL);
    let hubspot = write("hubspot.toml", &MINIMAL.replacen("\"acme\"", "\"hubspot\"", 1));
    write("README.md", "no preset");

    let Loaded { presets, files } = load(&[directory.path().to_owned()]).unwrap();
    let file = |path: &PathBuf, vendor: &str, replaces_embedded| PresetFile {
        path: path.clone(),
        vendor: vendor.to_owned(),
        replaces_embedded,
    };
    assert_eq!(files, [file(&acme, "acme", false), file(&hubspot, "hubspot", true)]);
    // It takes the place of the one of the same vendor, and leaves the others.
    assert_eq!(presets.select("hubspot").unwrap().0.title, "Acme");
    assert!(presets.select("acme:large").is_ok() && presets.select("salesforce").is_ok());
    assert_eq!(load(&[]).unwrap().files, []);

    let empty = directory.path().join("empty");
    fs::create_dir(&empty).unwrap();
    fs::write(empty.join("acme.tml"), MINIMAL).unwrap();
    for (paths, expected) in [
        (vec![empty], "empty holds no .toml file"),
        (vec![acme.clone(), write("again.toml", MINIMAL)], "again.toml: vendor: `acme` is that of"),
        (vec![write("faulty.toml", "vender = 1")], "faulty.toml: the preset is not valid:"),
        (vec![acme, directory.path().join("absent.toml")], "absent.toml: No such file"),
    ] {
        let error = load(&paths).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}\n{error}");
    }
}
