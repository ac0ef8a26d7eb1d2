//! The vendor while it runs: what it can be told to do, and what it tells.

use std::{
    io,
    net::SocketAddr,
    ops::{Range, RangeInclusive},
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use crate::{
    account::{Account, Capacity, Refusal},
    call::Asked,
    ledger::{Answer, Call, Ledger},
    profile::Profile,
    serve,
    traffic::Traffic,
};

/// A vendor that listens on a port of this machine until this value is dropped.
pub struct MockVendor {
    address: SocketAddr,
    vendor: Arc<Vendor>,
    serving: JoinHandle<()>,
}

/// How a vendor is out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Every call is answered with 503 at once.
    Failing,
    /// No call is answered before the outage is over; then with 504.
    Hanging,
    /// Nobody listens: connections are refused, and those that there were are cut, in the middle of a call as well. What runs goes
    /// on. The ledger knows nothing of callers that are refused.
    Refusing,
}

/// Limits that are lower than what is documented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tightening {
    /// So many percent of what is documented. 100: as documented again.
    pub percent: u32,
    /// Headers say so. Otherwise only refusals do.
    pub told: bool,
}

impl MockVendor {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// When it cannot listen.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn start(profile: Profile) -> io::Result<MockVendor> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let vendor = Arc::new(Vendor::new(profile));
        let serving = tokio::spawn(serve::serve(listener, address, vendor.clone()));
        Ok(MockVendor { address, vendor, serving })
    }

    /// Where it can be called: `http://127.0.0.1:…`, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How long it has run: the time by which the ledger goes.
    pub fn now(&self) -> Duration {
        self.vendor.now()
    }

    /// Enforces lower limits than are documented, from now on.
    pub fn tighten(&self, tightening: Tightening) {
        self.vendor.tighten(tightening);
    }

    /// Is out of order from now on, for so long.
    pub fn fail_for(&self, outage: Outage, span: Duration) {
        self.vendor.fail_for(outage, span);
    }

    /// What it saw until now.
    pub fn ledger(&self) -> Ledger {
        self.vendor.ledger()
    }

    /// The part of what callers could have had in a span (times as in the ledger) that they had: of the cost of calls, in its
    /// [whole windows](Ledger::whole_windows), or of the time for which calls run where only their number at a time is limited.
    /// By the limits as they are enforced now; a day's quota is left aside. None: there was no whole window.
    pub fn share_used(&self, span: &Range<Duration>) -> Option<f64> {
        self.vendor.share_used(span)
    }
}

impl Drop for MockVendor {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// What its connections share.
pub struct Vendor {
    began: Instant,
    state: Mutex<State>,
    /// Until when connections are refused.
    refuses_until: watch::Sender<Instant>,
}

struct State {
    account: Box<dyn Account>,
    traffic: Traffic,
    ledger: Ledger,
    outage: Option<(Outage, Instant)>,
    latency: RangeInclusive<Duration>,
    random: fastrand::Rng,
}

/// What becomes of a call that has arrived.
pub enum Arrival {
    /// It runs until then.
    Accepted { number: usize, until: Instant },
    /// It is answered at once.
    Refused { refusal: Refusal, headers: Vec<(&'static str, String)> },
    /// It is answered then.
    Down { until: Instant, outage: Outage },
}

impl Vendor {
    pub fn new(profile: Profile) -> Vendor {
        let began = Instant::now();
        let state = State {
            account: profile.open(began),
            traffic: Traffic::default(),
            ledger: Ledger::default(),
            outage: None,
            latency: profile.latency,
            random: fastrand::Rng::with_seed(profile.seed),
        };
        Vendor { began, state: Mutex::new(state), refuses_until: watch::Sender::new(began) }
    }

    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub fn tighten(&self, tightening: Tightening) {
        self.state.lock().account.tighten(tightening.percent, tightening.told);
    }

    pub fn fail_for(&self, outage: Outage, span: Duration) {
        let mut state = self.state.lock();
        let now = Instant::now();
        let began = now - self.began;
        state.ledger.outages.push(began..began + span);
        state.outage = Some((outage, now + span));
        self.refuses_until.send_replace(if outage == Outage::Refusing { now + span } else { now });
    }

    /// Waits until connections are refused.
    pub async fn refuses(&self) {
        let mut until = self.refuses_until.subscribe();
        // The sender is this vendor's.
        let _ = until.wait_for(|until| *until > Instant::now()).await;
    }

    /// Waits until connections are taken again.
    pub async fn refuses_no_more(&self) {
        let mut until = self.refuses_until.subscribe();
        loop {
            let end = *until.borrow_and_update();
            tokio::select! {
                () = sleep_until(end) => return,
                _ = until.changed() => {}
            }
        }
    }

    pub fn ledger(&self) -> Ledger {
        self.state.lock().ledger.clone()
    }

    pub fn share_used(&self, span: &Range<Duration>) -> Option<f64> {
        let state = self.state.lock();
        match state.account.capacity() {
            Capacity::Cost { amount, window } => {
                let span = state.ledger.whole_windows(window, span)?;
                let most = amount as f64 * (span.end - span.start).div_duration_f64(window);
                Some(state.ledger.cost_in(&span) as f64 / most)
            }
            Capacity::Calls(most) => {
                let seconds = (span.end - span.start).as_secs_f64();
                Some(state.ledger.call_seconds_in(span) / (most as f64 * seconds))
            }
        }
    }

    /// A call comes in.
    pub fn arrive(&self, asked: &Asked) -> Arrival {
        let mut state = self.state.lock();
        // Read within the lock, so that calls are in order.
        let now = Instant::now();
        state.arrive(asked, now, now - self.began)
    }

    /// A call that was accepted has been carried out; the headers of its answer.
    pub fn finish(&self, number: usize, asked: &Asked) -> Vec<(&'static str, String)> {
        let mut state = self.state.lock();
        let now = Instant::now();
        state.traffic.end(number);
        state.ledger.calls[number].ended = Some(now - self.began);
        state.account.headers(asked, now)
    }
}

impl State {
    fn arrive(&mut self, asked: &Asked, now: Instant, at: Duration) -> Arrival {
        self.outage = self.outage.filter(|(_, until)| now < *until);
        if let Some((outage, until)) = self.outage {
            self.note(asked, at, Answer::Down);
            let until = if outage == Outage::Failing { now } else { until };
            return Arrival::Down { until, outage };
        }
        if let Err(refusal) = self.account.arrive(asked, &self.traffic, now) {
            self.note(asked, at, Answer::Refused(refusal.limit));
            let headers = self.account.headers(asked, now);
            return Arrival::Refused { refusal, headers };
        }
        let number = self.note(asked, at, Answer::Accepted);
        self.traffic.begin(number, now);
        self.ledger.highest_concurrency = self.ledger.highest_concurrency.max(self.traffic.running());
        Arrival::Accepted { number, until: now + self.takes(asked) }
    }

    fn note(&mut self, asked: &Asked, at: Duration, answer: Answer) -> usize {
        let ended = (answer != Answer::Accepted).then_some(at);
        let late = asked.before.and_then(|before| wall_clock().duration_since(before).ok());
        let call = Call {
            at,
            ended,
            label: asked.label.clone(),
            late: late.unwrap_or_default(),
            cost: self.account.cost(asked),
            answer,
        };
        self.ledger.calls.push(call);
        self.ledger.calls.len() - 1
    }

    fn takes(&mut self, asked: &Asked) -> Duration {
        asked.takes.unwrap_or_else(|| {
            let spread = *self.latency.end() - *self.latency.start();
            *self.latency.start() + spread.mul_f64(self.random.f64())
        })
    }
}

/// What other processes of the machine see too.
#[expect(clippy::disallowed_methods, reason = "the vendor is no part of Tollgate, nor is its time")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
