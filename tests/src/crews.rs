//! A fleet of workers in several processes, each with a client of its own, that calls a mock vendor through Tollgate.

use std::{mem, path::PathBuf, process::Stdio};

use clap::ValueEnum;
use tokio::process::{Child, Command};
use tollgate_demo::{Scene, Tally};

/// What all processes of the fleet are told.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The binary `crew`.
    pub program: PathBuf,
    /// The nodes of the cluster.
    pub nodes: Vec<String>,
    /// Where the vendor is.
    pub url: String,
    /// What vendor it is.
    pub scene: Scene,
    /// What to ask permits for.
    pub resource: String,
}

/// Processes of a fleet.
pub const CREWS: usize = 4;

/// Workers in each.
pub const WORKERS: u32 = 50;

/// The fleet at work. Killed when it is dropped.
pub struct Crews {
    terms: Terms,
    running: Vec<Crew>,
    started: u32,
}

/// A process, and the consumer that it asks for.
struct Crew {
    consumer: String,
    process: Child,
}

impl Crews {
    /// Starts the fleet; it comes up within one window of the vendor's.
    pub fn start(terms: Terms) -> Crews {
        let mut crews = Crews { terms, running: Vec::new(), started: 0 };
        for place in 0..CREWS {
            let crew = crews.spawn(place);
            crews.running.push(crew);
        }
        crews
    }

    /// Kills the process in one place as `kill -9` does, while its workers do whatever they do; then starts another one there. Whom the
    /// killed one asked for: no other process asks for the same consumer.
    pub async fn replace(&mut self, place: usize) -> String {
        self.running[place].process.kill().await.expect("a process of this fleet");
        let successor = self.spawn(place);
        mem::replace(&mut self.running[place], successor).consumer
    }

    /// Tells all to stop. What those that were not killed have done.
    pub async fn stop(self) -> Tally {
        let mut all = Tally::default();
        for crew in self.running {
            // That closes its standard input.
            let output = crew.process.wait_with_output().await.expect("a process of this fleet");
            let tally = serde_json::from_slice::<Tally>(&output.stdout);
            all = all.and(tally.expect("a crew that was not killed tells what it has done"));
        }
        all
    }

    fn spawn(&mut self, place: usize) -> Crew {
        let Terms { program, nodes, url, scene, resource } = &self.terms;
        let vendor = scene.vendor.to_possible_value().expect("no vendor is hidden");
        let first = place as u32 * WORKERS;
        let consumer = format!("crew-{}", self.started);
        self.started += 1;
        let process = Command::new(program)
            .args([
                "--nodes",
                &nodes.join(","),
                "--url",
                url,
                "--resource",
                resource,
                "--consumer",
                &consumer,
            ])
            .args(["--vendor", vendor.get_name(), "--faster", &scene.faster.to_string()])
            .args(["--first", &first.to_string(), "--workers", &WORKERS.to_string()])
            .args(["--fleet", &(CREWS as u32 * WORKERS).to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        Crew { consumer, process: process.expect("the binary runs") }
    }
}
