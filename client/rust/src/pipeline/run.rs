//! A pipeline at work: one loop that takes, begins and counts.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::task::{Id, JoinError, JoinSet};
use tokio_stream::{Stream, StreamExt};

use super::{
    DeadLetter, Failure, Pipeline, Progress, URGENT_SHARE,
    queue::{Queue, Queued, Urgency},
};
use crate::{
    call::{CallError, Observation, Observe},
    permit::Permit,
};

/// A pipeline at work.
pub(super) struct Run<T, E, W> {
    pipeline: Pipeline<T, E>,
    work: Arc<W>,
    queue: Queue<T>,
    calls: JoinSet<Result<(), Failure<E>>>,
    begun: HashMap<Id, Begun<T>>,
    /// Of those that have begun, those that are not urgent.
    patient: usize,
    progress: Progress,
}

/// A task that is under way.
struct Begun<T> {
    task: Arc<T>,
    urgency: Urgency,
    tries: Arc<AtomicU32>,
}

impl<T, E, W> Run<T, E, W>
where
    T: Send + Sync + 'static,
    E: Observe + Send + 'static,
{
    pub(super) fn new(pipeline: Pipeline<T, E>, work: W) -> Run<T, E, W> {
        Run {
            pipeline,
            work: Arc::new(work),
            queue: Queue::default(),
            calls: JoinSet::new(),
            begun: HashMap::new(),
            patient: 0,
            progress: Progress::default(),
        }
    }

    pub(super) async fn drain<V, F>(mut self, mut tasks: Pin<&mut impl Stream<Item = T>>) -> Progress
    where
        V: Observe + Send + 'static,
        W: Fn(Arc<Permit>, Arc<T>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<V, E>> + Send + 'static,
    {
        let mut flows = true;
        loop {
            while let Some(next) = self.next() {
                self.begin(next);
            }
            self.tell();
            let room = self.queue.len() < self.pipeline.look_ahead;
            tokio::select! {
                // What has ended makes room for what is to begin.
                biased;
                Some(ended) = self.calls.join_next_with_id() => self.end(ended).await,
                () = &mut self.pipeline.until, if flows => flows = false,
                task = tasks.next(), if flows && room => match task {
                    Some(task) => self.take(task),
                    None => flows = false,
                },
                else => return self.progress,
            }
        }
    }

    fn take(&mut self, task: T) {
        let request = (self.pipeline.request)(&task);
        self.queue.push(task, request);
        self.progress.taken += 1;
    }

    /// The next task that there is a place for.
    fn next(&mut self) -> Option<Queued<T>> {
        let places = self.pipeline.concurrency;
        let kept = if self.pipeline.prioritised && places > 1 { places.div_ceil(URGENT_SHARE) } else { 0 };
        if self.begun.len() >= places {
            None
        } else if self.patient >= places - kept {
            self.queue.pop(Urgency::High)
        } else {
            self.queue.pop(Urgency::Low)
        }
    }

    fn begin<V, F>(&mut self, queued: Queued<T>)
    where
        V: Observe + Send + 'static,
        W: Fn(Arc<Permit>, Arc<T>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<V, E>> + Send + 'static,
    {
        let urgency = queued.urgency();
        let begun = Begun { task: Arc::new(queued.task), urgency, tries: Arc::default() };
        let (limiter, work) = (self.pipeline.limiter.clone(), self.work.clone());
        let (task, tries) = (begun.task.clone(), begun.tries.clone());
        let call = self.calls.spawn(async move {
            let counted = |permit| {
                tries.fetch_add(1, Ordering::Relaxed);
                work(permit, task.clone())
            };
            judged(limiter.call(queued.request, counted).await)
        });
        self.patient += usize::from(urgency < Urgency::High);
        self.begun.insert(call.id(), begun);
    }

    async fn end(&mut self, ended: Result<(Id, Result<(), Failure<E>>), JoinError>) {
        let (id, result) = match ended {
            Ok((id, result)) => (id, result),
            Err(error) => (error.id(), Err(Failure::Panicked)),
        };
        let begun = self.begun.remove(&id).expect("each call is noted when it begins, and ends once");
        self.patient -= usize::from(begun.urgency < Urgency::High);
        let tries = begun.tries.load(Ordering::Relaxed);
        self.progress.retries += u64::from(tries.saturating_sub(1));
        match result {
            Ok(()) => self.progress.done += 1,
            Err(failure) => {
                self.progress.dead += 1;
                if let Some(sink) = &mut self.pipeline.sink {
                    sink(DeadLetter { task: begun.task, failure, tries }).await;
                }
            }
        }
    }

    fn tell(&mut self) {
        self.progress.queued = self.queue.len() as u64;
        self.progress.running = self.begun.len() as u64;
        self.pipeline.progress.send_replace(self.progress);
    }
}

/// Whether a task is done.
fn judged<V: Observe, E>(result: Result<V, CallError<E>>) -> Result<(), Failure<E>> {
    match result.map_err(Failure::Call)?.observe() {
        Observation::Answered(answer) if answer.status() >= 400 => Err(Failure::Refused(answer)),
        _ => Ok(()),
    }
}
