//! `tollgate acquire … -- COMMAND`: a command that runs only while its permit is held.

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    os::unix::process::ExitStatusExt,
    process::{ExitCode, ExitStatus},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    signal::unix::{self, SignalKind},
};
use tollgate_client::{Outcome, Permit};

use super::Failure;

/// How `acquire … -- COMMAND` behaves, for its help.
pub const HELP: &str = "\
With `-- COMMAND ARGS…` the command runs only with a permit, and standard output is the command's own. It finds in \
its environment: TOLLGATE_PERMIT_ID, TOLLGATE_KEY and, if it holds a slot, TOLLGATE_SLOT_INDEX and \
TOLLGATE_SLOT_GENERATION (of the first one).

Its lease is renewed while it runs; if the lease is lost all the same, the command is sent SIGTERM, because somebody \
else may hold the slot. Signals are passed on.

Afterwards the permit is released: as ok on exit code 0, as server-error on 69 (EX_UNAVAILABLE), as throttled on 75 \
(EX_TEMPFAIL), as not-sent if the command could not be run. Any other end tells nothing of the vendor: unknown, which \
opens no circuit.";

/// Exit codes by which a command says that the vendor failed, and that it throttled: those of sysexits.h.
const EX_UNAVAILABLE: i32 = 69;
const EX_TEMPFAIL: i32 = 75;

/// Exit codes of shells for commands that cannot be run, and added to the number of the signal that ended one.
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;
const SIGNALLED: i32 = 128;

/// Runs the command (at least its name), and releases the permit when it has ended.
pub async fn run(permit: Permit, command: &[OsString]) -> Result<ExitCode, Failure> {
    let mut signals = Signals::listen()?;
    permit.ensure_usable().map_err(tollgate_client::Error::from)?;
    let mut child = match start(&permit, command) {
        Ok(child) => child,
        Err(error) => {
            let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN };
            eprintln!("error: cannot run {}: {error}", command[0].display());
            release(permit, Outcome::NotSent).await;
            return Ok(ExitCode::from(code));
        }
    };
    let status = supervise(&mut child, &permit, &mut signals)
        .await
        .map_err(|error| Failure::new(format!("cannot wait for the command: {error}")))?;
    release(permit, outcome(status)).await;
    Ok(exit_code(status))
}

fn start(permit: &Permit, command: &[OsString]) -> io::Result<Child> {
    let mut child = Command::new(&command[0]);
    child.args(&command[1..]).env("TOLLGATE_PERMIT_ID", permit.id()).env("TOLLGATE_KEY", permit.key());
    if let Some(slot) = permit.slots().first() {
        child.env("TOLLGATE_SLOT_INDEX", slot.index.to_string());
        child.env("TOLLGATE_SLOT_GENERATION", slot.generation.to_string());
    }
    child.spawn()
}

async fn supervise(child: &mut Child, permit: &Permit, signals: &mut Signals) -> io::Result<ExitStatus> {
    let mut held = true;
    loop {
        tokio::select! {
            status = child.wait() => return status,
            signal = signals.next() => send(child, signal),
            () = permit.lost(), if held => {
                held = false;
                eprintln!("error: the permit's lease was lost, and its slot may be another's: stopping the command");
                send(child, Signal::SIGTERM);
            }
        }
    }
}

fn send(child: &Child, signal: Signal) {
    // Without an id it has ended, and `wait` is about to say so; so it has when there is no such process.
    if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
        let _ = kill(Pid::from_raw(id), signal);
    }
}

/// The lease ends the permit if this does not; the command has its exit code already.
async fn release(permit: Permit, outcome: Outcome) {
    if let Err(error) = permit.release().outcome(outcome).await {
        eprintln!("warning: the permit was not released: {error}");
    }
}

fn outcome(status: ExitStatus) -> Outcome {
    match status.code() {
        Some(0) => Outcome::Ok,
        Some(EX_UNAVAILABLE) => Outcome::ServerError,
        Some(EX_TEMPFAIL) => Outcome::Throttled,
        // Its own fault, or a signal's, as far as anybody knows: that shall open no circuit for the whole fleet.
        _ => Outcome::Unknown,
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or(status.signal().map(|signal| SIGNALLED + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// The signals that are meant for the command.
struct Signals {
    interrupt: unix::Signal,
    quit: unix::Signal,
    terminate: unix::Signal,
    hangup: unix::Signal,
}

impl Signals {
    fn listen() -> Result<Signals, Failure> {
        let listen = |kind| {
            unix::signal(kind).map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))
        };
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            quit: listen(SignalKind::quit())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// The next one to pass on. A terminal sends Ctrl-C and Ctrl-\ to the command, too: those are not passed on twice.
    async fn next(&mut self) -> Signal {
        let from_terminal = io::stdin().is_terminal();
        loop {
            let signal = tokio::select! {
                _ = self.interrupt.recv() => Signal::SIGINT,
                _ = self.quit.recv() => Signal::SIGQUIT,
                _ = self.terminate.recv() => Signal::SIGTERM,
                _ = self.hangup.recv() => Signal::SIGHUP,
            };
            if !(from_terminal && matches!(signal, Signal::SIGINT | Signal::SIGQUIT)) {
                return signal;
            }
        }
    }
}
