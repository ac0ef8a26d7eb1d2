//! `tollgate demo`. What a comparison of seconds says means nothing; that both fleets work, and that nothing stays, does.

use tempfile::TempDir;

use crate::cluster::{answer, free_base_port, tollgate};

#[test]
fn both_fleets_work_and_nothing_stays() {
    for vendor in ["hubspot", "salesforce"] {
        let temporary = TempDir::new().unwrap();
        let mut demo = tollgate();
        demo.args(["demo", "--vendor", vendor, "--seconds", "6", "--workers", "20", "--output", "json"]);
        demo.args(["--base-port", &free_base_port().to_string()]).env("TMPDIR", temporary.path());
        let compared = answer(demo).expect(0, "").json();
        for side in ["naive", "tollgate"] {
            assert!(compared[side]["done"].as_u64().unwrap() > 0, "{vendor}: {compared}");
            assert!(compared[side]["during_outage"].as_u64().unwrap() > 0, "{vendor}: {compared}");
            assert!(compared[side]["interactive_p95"].as_f64().unwrap() > 0.0, "{vendor}: {compared}");
        }
        assert_eq!(temporary.path().read_dir().unwrap().count(), 0);
    }
}

#[test]
fn a_fleet_without_urgent_work_cannot_be_shown() {
    let mut demo = tollgate();
    demo.args(["demo", "--workers", "9"]);
    answer(demo).expect(2, "--workers");
}
