//! A stream of tasks, each a call under a permit, until all are done or have failed for good.

mod progress;
mod queue;
mod run;

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use tokio::sync::watch;
use tokio_stream::Stream;

pub use self::progress::{DeadLetter, Failure, Progress};
use self::run::Run;
use crate::{
    acquire::Acquire,
    call::{IntoAcquire, Limiter, Observe},
    error::Error,
    permit::Permit,
};

/// Calls under way at once if nobody says otherwise.
const CONCURRENCY_DEFAULT: usize = 32;

/// Calls under way at once, at most.
const CONCURRENCY_MAX: usize = 10_000;

/// Tasks that are taken from the stream before there is a place for them if nobody says otherwise.
const LOOK_AHEAD_DEFAULT: usize = 1_000;

/// Of so many places one is kept for tasks of high priority, where tasks have priorities of their own.
const URGENT_SHARE: usize = 8;

/// Drains a stream of tasks: each is a [call](Limiter::call) with a permit of its own, so many at once, tried again as the limiter
/// says. What fails for good goes to a sink, and how far it is can be seen at any time.
///
/// The stream is asked for no more than there is room for, so a producer that is faster than the vendor is held up. Of the tasks
/// that were taken, those of a higher priority begin first ([`request_for`](Pipeline::request_for)), and one place in eight is kept
/// for [`Priority::High`](crate::Priority::High); at the server they then overtake whatever waits for its permit, of this process and
/// all others.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use tollgate_client::{Answer, Client, Error, Limiter, Pipeline};
/// # struct Contact { line: u64 }
/// # async fn put(contact: Arc<Contact>) -> Result<Answer, Answer> { Err(Answer::new(503)) }
/// # async fn example(client: Client, contacts: Vec<Contact>) -> Result<(), Error> {
/// let limiter = Limiter::new(client).vendor("hubspot").idempotent(true);
/// let import = Pipeline::<Contact, Answer>::new(limiter, "hubspot/acme")
///     .concurrency(50)
///     .dead_letters(|letter| async move { eprintln!("line {}: {}", letter.task.line, letter.failure) });
/// let done = import.run(tokio_stream::iter(contacts), |_permit, contact| put(contact)).await?;
/// println!("{done}");
/// # Ok(())
/// # }
/// ```
pub struct Pipeline<T, E> {
    limiter: Limiter,
    request: Box<dyn Fn(&T) -> Acquire + Send + Sync>,
    /// Tasks have priorities of their own.
    prioritised: bool,
    concurrency: usize,
    look_ahead: usize,
    sink: Option<Sink<T, E>>,
    until: Pin<Box<dyn Future<Output = ()> + Send>>,
    progress: watch::Sender<Progress>,
}

/// Takes what failed for good.
type Sink<T, E> = Box<dyn FnMut(DeadLetter<T, E>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

impl<T, E> Pipeline<T, E>
where
    T: Send + Sync + 'static,
    E: Observe + Send + 'static,
{
    /// Tasks that each ask for a permit by this request: the name of a resource, or more.
    pub fn new(limiter: Limiter, request: impl IntoAcquire) -> Pipeline<T, E> {
        let request = request.into_acquire(limiter.client());
        Pipeline {
            limiter: limiter.patient_by_default(),
            request: Box::new(move |_| request.times(1)),
            prioritised: false,
            concurrency: CONCURRENCY_DEFAULT,
            look_ahead: LOOK_AHEAD_DEFAULT,
            sink: None,
            until: Box::pin(std::future::pending()),
            progress: watch::Sender::default(),
        }
    }

    /// What permit each task asks for, where they differ: in operation, cost, consumer, or priority.
    #[must_use]
    pub fn request_for(mut self, request: impl Fn(&T) -> Acquire + Send + Sync + 'static) -> Pipeline<T, E> {
        self.request = Box::new(request);
        self.prioritised = true;
        self
    }

    /// Tasks under way at once, those that wait for their permits or their next tries included: 1 to 10,000. Default 32.
    #[must_use]
    pub fn concurrency(mut self, tasks: usize) -> Pipeline<T, E> {
        self.concurrency = tasks;
        self
    }

    /// Tasks that are taken from the stream before there is a place for them, so that the urgent among them can begin first: 1 or
    /// more. Default 1,000.
    #[must_use]
    pub fn look_ahead(mut self, tasks: usize) -> Pipeline<T, E> {
        self.look_ahead = tasks;
        self
    }

    /// How long a task goes on asking for permits that it is denied before it fails for that ([`Limiter::patience`]): a vendor that is
    /// paused, or a cluster that cannot be reached, is no fault of the task's. Default 25 h, which a day's quota
    /// does not outlast, unless the limiter says otherwise.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Pipeline<T, E> {
        self.limiter = self.limiter.patience(patience);
        self
    }

    /// What is to be done with each task that failed for good. While it is busy with one, nothing new begins. Default: they are only
    /// counted.
    #[must_use]
    pub fn dead_letters<F>(
        mut self,
        mut sink: impl FnMut(DeadLetter<T, E>) -> F + Send + 'static,
    ) -> Pipeline<T, E>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.sink = Some(Box::new(move |letter| Box::pin(sink(letter))));
        self
    }

    /// Takes no more tasks from the stream once this has come, such as `tokio::signal::ctrl_c()`, and ends when those that were taken
    /// are done.
    #[must_use]
    pub fn until<F>(mut self, stop: F) -> Pipeline<T, E>
    where
        F: IntoFuture<Output: Send, IntoFuture: Send + 'static> + Send + 'static,
    {
        let stop = stop.into_future();
        self.until = Box::pin(async move { drop(stop.await) });
        self
    }

    /// How far it is, while it runs.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Drains the stream. `work` makes the call of a task, once for each try; what it gives back counts as done if the vendor
    /// answered with a status below 400, and does not mean a limit with that as Shopify does ([`CallError::Limited`](crate::CallError::Limited)).
    ///
    /// Dropping the future stops all calls. Slots that they hold are free when their leases end, unless the limiter
    /// [says otherwise](Limiter::unanswered).
    ///
    /// # Errors
    /// [`Error::Invalid`] for a concurrency or a look-ahead out of range. What becomes of the tasks is no error of the pipeline's.
    pub async fn run<V, W, F>(self, tasks: impl Stream<Item = T> + Send, work: W) -> Result<Progress, Error>
    where
        V: Observe + Send + 'static,
        W: Fn(Arc<Permit>, Arc<T>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<V, E>> + Send + 'static,
    {
        if !(1..=CONCURRENCY_MAX).contains(&self.concurrency) {
            let problem = format!("must be 1 to {CONCURRENCY_MAX}, not {}", self.concurrency);
            return Err(Error::invalid("concurrency", problem));
        }
        if self.look_ahead == 0 {
            return Err(Error::invalid("look_ahead", "must be 1 or more, not 0"));
        }
        Ok(Run::new(self, work).drain(pin!(tasks)).await)
    }
}
