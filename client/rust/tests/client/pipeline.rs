//! Streams of tasks. Time is paused.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};
use tokio_stream::StreamExt;
use tollgate_client::{Answer, CallError, Error, Failure, Limiter, Pipeline, Priority, Retries};
use tonic::Code;

use crate::fake::{Node, denied, eventually, granted, late, overloaded, plain, queue_full, refusal, slot};

const SECOND: Duration = Duration::from_secs(1);

fn limiter(node: &Node) -> Limiter {
    Limiter::new(node.client()).retries(Retries { tries: 3, ..Retries::default() })
}

/// A vendor that takes a second, and refuses multiples of 10 for ever, and of 7 the first time.
async fn put(seen: Arc<Mutex<Vec<u32>>>, n: Arc<u32>) -> Result<Answer, Answer> {
    sleep(SECOND).await;
    let tries = {
        let mut seen = seen.lock();
        seen.push(*n);
        seen.iter().filter(|seen| **seen == *n).count()
    };
    match *n {
        n if n % 10 == 0 => Err(Answer::new(400)),
        n if n % 7 == 0 && tries == 1 => Err(Answer::new(429)),
        _ => Ok(Answer::new(204)),
    }
}

#[tokio::test(start_paused = true)]
async fn every_task_is_done_or_a_dead_letter() {
    let node = Node::in_memory().await;
    let letters = Arc::new(Mutex::new(Vec::new()));
    let sink = letters.clone();
    let pipeline =
        Pipeline::new(limiter(&node), "hubspot/acme").concurrency(16).dead_letters(move |letter| {
            let Failure::Call(CallError::Failed { .. }) = letter.failure else { panic!("{letter:?}") };
            sink.lock().push((*letter.task, letter.tries));
            async {}
        });
    let progress = pipeline.progress();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let done = pipeline.run(tokio_stream::iter(1..=200), move |_, n| put(seen.clone(), n)).await.unwrap();
    // Of 28 multiples of 7, two are multiples of 10 as well.
    assert_eq!((done.taken, done.done, done.dead, done.retries), (200, 180, 20, 26));
    assert_eq!(done.to_string(), "180 of 200 done, 20 failed, 0 under way, 0 queued, 26 retries");
    assert_eq!(*progress.borrow(), done);
    let mut letters = letters.lock().clone();
    letters.sort_unstable();
    assert_eq!(letters, Vec::from_iter((10..=200).step_by(10).map(|n| (n, 1))));
    assert_eq!(node.script().acquires.len(), 226, "a permit for each call");
    assert_eq!(node.script().releases.len(), 226);
}

#[tokio::test(start_paused = true)]
async fn so_many_at_once_and_so_many_taken_ahead() {
    let node = Node::in_memory().await;
    let (pulled, running, most) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let tasks = {
        let pulled = pulled.clone();
        tokio_stream::iter(0..500).map(move |n: u32| {
            pulled.fetch_add(1, Ordering::Relaxed);
            n
        })
    };
    let work = {
        let (pulled, running, most) = (pulled.clone(), running.clone(), most.clone());
        move |_, n: Arc<u32>| {
            let (pulled, running, most) = (pulled.clone(), running.clone(), most.clone());
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                sleep(SECOND).await;
                running.fetch_sub(1, Ordering::Relaxed);
                // The last of a round finds the stream asked for the next round, and no more.
                assert!(pulled.load(Ordering::Relaxed) <= *n as usize + 10 + 25 + 1, "{n}");
                Ok::<_, Answer>(Answer::new(200))
            }
        }
    };
    let pipeline = Pipeline::new(limiter(&node), "r").concurrency(10).look_ahead(25);
    let done = pipeline.run(tasks, work).await.unwrap();
    assert_eq!((done.done, done.dead, most.load(Ordering::Relaxed)), (500, 0, 10));
}

#[tokio::test(start_paused = true)]
async fn urgent_tasks_begin_before_those_that_came_before_them() {
    let node = Node::in_memory().await;
    let client = node.client();
    // The last in the stream are the most urgent.
    let priority = |n: u32| match n {
        0..80 => Priority::Low,
        80..90 => Priority::Medium,
        _ => Priority::High,
    };
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = order.clone();
    let work = move |_, n: Arc<u32>| {
        seen.lock().push(*n);
        async {
            sleep(SECOND).await;
            Ok::<_, Answer>(Answer::new(200))
        }
    };
    let request = move |n: &u32| client.acquire("r").priority(priority(*n));
    let pipeline = Pipeline::new(limiter(&node), "r").request_for(request).concurrency(8);
    pipeline.run(tokio_stream::iter(0..100), work).await.unwrap();
    let order = order.lock().clone();
    // Those that had begun before anything else was known: one place of the eight was kept.
    assert_eq!(order[..7], [0, 1, 2, 3, 4, 5, 6]);
    let mut urgent = order[7..17].to_vec();
    urgent.sort_unstable();
    assert_eq!(urgent, Vec::from_iter(90..100));
    let at = |n| order.iter().position(|seen| *seen == n).unwrap();
    assert!((80..90).map(at).max() < (7..80).map(at).min(), "{order:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_drains_what_was_taken() {
    let node = Node::in_memory().await;
    let (stop, stopped) = oneshot::channel::<()>();
    let pipeline = Pipeline::new(limiter(&node), "r").concurrency(4).look_ahead(10).until(stopped);
    let mut progress = pipeline.progress();
    let work = |_, _: Arc<u32>| async {
        sleep(SECOND).await;
        Ok::<_, Answer>(Answer::new(200))
    };
    let endless = tokio_stream::iter(0..);
    let running = tokio::spawn(pipeline.run(endless, work));
    let taken = progress.wait_for(|progress| progress.done >= 8).await.unwrap().taken;
    stop.send(()).unwrap();
    let done = running.await.unwrap().unwrap();
    assert!(done.taken <= taken + 10 + 4, "{done}");
    assert_eq!((done.done, done.dead, done.queued, done.running), (done.taken, 0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_with_a_task_is_said_of_that_task() {
    let node = Node::in_memory().await;
    node.on_acquire({
        let mut n = 0;
        move |asked, _| match asked.operation.as_str() {
            "denied" => denied(SECOND),
            _ => {
                n += 1;
                granted(plain(&format!("p0-{n}")))
            }
        }
    });
    let client = node.client();
    let letters = Arc::new(Mutex::new(Vec::new()));
    let sink = letters.clone();
    let pipeline = Pipeline::new(limiter(&node), "r")
        .request_for(move |task: &&'static str| client.acquire("r").operation(*task))
        .concurrency(1)
        .patience(Duration::ZERO)
        .dead_letters(move |letter| {
            let told = (*letter.task, letter.failure.to_string(), letter.tries);
            let sink = sink.clone();
            async move { sink.lock().push(told) }
        });
    let work = |_, task: Arc<&'static str>| async move {
        match *task {
            "panics" => panic!("as a test wants"),
            "refused" => Ok(http::Response::builder().status(404).body(()).unwrap()),
            _ => Err::<_, BoxError>("no answer".into()),
        }
    };
    let done =
        pipeline.run(tokio_stream::iter(["panics", "refused", "denied", "fails"]), work).await.unwrap();
    assert_eq!((done.done, done.dead), (0, 4));
    let expected = [
        ("panics", "its call panicked", 1),
        ("refused", "the vendor answered 404", 1),
        ("denied", "no permit: denied by limit \"daily\": ask again in 1s", 0),
        ("fails", "no answer", 1),
    ];
    assert_eq!(*letters.lock(), expected.map(|(task, failure, tries)| (task, failure.to_owned(), tries)));
}

#[tokio::test(start_paused = true)]
async fn a_pause_or_an_outage_kills_no_task() {
    let node = Node::in_memory().await;
    node.on_acquire(|_, n| match n {
        1..=20 => denied(60 * SECOND),
        21..=40 => Err(refusal(Code::Unavailable, "NO_LEADER")),
        _ => granted(plain(&format!("p0-{n}"))),
    });
    let work = |_, _: Arc<u32>| async { Ok::<_, Answer>(Answer::new(200)) };
    let done = Pipeline::new(limiter(&node), "r").run(tokio_stream::iter(0..4), work).await.unwrap();
    assert_eq!((done.done, done.dead, done.retries), (4, 0, 0));

    // Nobody waits for ever.
    let start = Instant::now();
    node.on_acquire(|_, _| denied(60 * SECOND));
    let pipeline = Pipeline::new(limiter(&node), "r").patience(600 * SECOND);
    let done = pipeline.run(tokio_stream::iter(0..4), work).await.unwrap();
    assert_eq!((done.done, done.dead), (0, 4));
    assert!(start.elapsed() > 500 * SECOND && start.elapsed() <= 600 * SECOND, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_passes_kills_no_task() {
    let node = Node::in_memory().await;
    // A call asks four times before it gives up on permits that come too late.
    node.on_acquire(|_, n| match n {
        1..=8 => granted(late(&format!("p0-{n}"))),
        9..=11 => Err(queue_full(40 * SECOND)),
        12..=14 => Err(overloaded(40 * SECOND)),
        _ => granted(plain(&format!("p0-{n}"))),
    });
    let letters = Arc::new(Mutex::new(Vec::new()));
    let sink = letters.clone();
    let pipeline = Pipeline::new(limiter(&node), "r").concurrency(1).dead_letters(move |letter| {
        sink.lock().push(letter.failure.to_string());
        async {}
    });
    let start = Instant::now();
    let work = |_, _: Arc<u32>| async { Ok::<_, Answer>(Answer::new(200)) };
    let done = pipeline.run(tokio_stream::iter(0..4), work).await.unwrap();
    assert_eq!((done.done, done.dead), (4, 0), "{:?}", letters.lock());
    assert_eq!(node.script().acquires.len(), 18);
    // 1 s and 2 s after permits that were too late, and six times what the cluster said.
    assert!(start.elapsed() >= 243 * SECOND && start.elapsed() <= 365 * SECOND, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_does_not_pass_kills_a_task_at_once() {
    let node = Node::in_memory().await;
    node.on_acquire(|_, _| Err(refusal(Code::NotFound, "RESOURCE_NOT_FOUND")));
    let start = Instant::now();
    let work = |_, _: Arc<u32>| async { Ok::<_, Answer>(Answer::new(200)) };
    let done = Pipeline::new(limiter(&node), "r").run(tokio_stream::iter(0..4), work).await.unwrap();
    assert_eq!((done.done, done.dead, node.script().acquires.len()), (0, 4, 4));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_denial_between_two_tries_gives_no_tries_back() {
    let node = Node::in_memory().await;
    node.on_acquire(|_, n| if n % 2 == 0 { denied(SECOND) } else { granted(plain(&format!("p0-{n}"))) });
    let tries = Arc::new(Mutex::new(Vec::new()));
    let sink = tries.clone();
    let pipeline = Pipeline::new(limiter(&node), "r").dead_letters(move |letter| {
        assert!(matches!(letter.failure, Failure::Call(CallError::Failed { .. })), "{letter:?}");
        sink.lock().push(letter.tries);
        async {}
    });
    let work = |_, _: Arc<u32>| async { Err::<Answer, _>(Answer::new(429)) };
    pipeline.run(tokio_stream::iter([1]), work).await.unwrap();
    assert_eq!(*tries.lock(), [3]);
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::test(start_paused = true)]
async fn a_dropped_pipeline_stops_its_calls() {
    let node = Node::in_memory().await;
    node.on_acquire(|_, n| granted(slot(&format!("p0-{n}"), 60 * SECOND)));
    let work = |_, _: Arc<u32>| std::future::pending::<Result<Answer, Answer>>();
    let pipeline = Pipeline::new(limiter(&node), "r").concurrency(4);
    let running = tokio::spawn(pipeline.run(tokio_stream::iter(0..100), work));
    eventually(|| node.script().acquires.len() == 4).await;
    sleep(SECOND).await;
    running.abort();
    eventually(|| node.script().reports.len() == 4).await;
    assert!(node.script().releases.is_empty(), "the vendor may still be at work on them");
}

#[tokio::test]
async fn wrong_bounds_are_named() {
    let node = Node::in_memory().await;
    for (concurrency, look_ahead, field) in
        [(0, 1, "concurrency"), (10_001, 1, "concurrency"), (1, 0, "look_ahead")]
    {
        let pipeline = Pipeline::new(limiter(&node), "r").concurrency(concurrency).look_ahead(look_ahead);
        let work = |_, _: Arc<u32>| async { Ok::<_, Answer>(Answer::new(200)) };
        let error = pipeline.run(tokio_stream::iter([1]), work).await.unwrap_err();
        assert!(
            matches!(&error, Error::Invalid { violations, .. } if violations[0].field == field),
            "{error}"
        );
    }
}
