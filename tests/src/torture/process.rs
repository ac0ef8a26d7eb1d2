//! One process, which ends with the value that stands for it.

use std::{
    fs, io,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use tokio::time::{Instant, sleep};

/// How often the end of a process is looked for.
const POLL: Duration = Duration::from_millis(10);

/// A process of ours.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts it, without input.
    pub fn start(command: &mut Command) -> io::Result<Process> {
        Ok(Process { child: command.stdin(Stdio::null()).spawn()? })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal. One that has ended takes no notice.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).expect("the system's numbers of processes fit");
        // Not yet waited for, its number is still its own; the only error is that it is a zombie.
        let _ = signal::kill(Pid::from_raw(pid), signal);
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        // It was started here and not waited for elsewhere, so there is something to wait for.
        let _ = self.child.wait();
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until it ends, but not for longer.
    pub async fn ends_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            if began.elapsed() > patience {
                return None;
            }
            sleep(POLL).await;
        }
    }

    /// The memory that it has in RAM now, in bytes; none where the system does not say.
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
