//! Records in batches. Time is paused.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::time::Instant;
use tollgate_client::{
    Answer, BatchBounds, BatchError, BatchReply, Batcher, CallError, Error, Limiter, Outcome, Retries,
};

use crate::fake::{Node, denied, eventually, granted, plain};

const SECOND: Duration = Duration::from_secs(1);

type Numbers = Batcher<u32, u32, String, Answer>;

/// The batches that the vendor was sent.
type Sent = Arc<Mutex<Vec<Vec<u32>>>>;

/// A vendor that doubles numbers, and refuses those over a hundred.
async fn doubled(sent: Sent, numbers: Arc<[u32]>) -> Result<BatchReply<u32, String>, Answer> {
    sent.lock().push(numbers.to_vec());
    let double = |n: &u32| if *n <= 100 { Ok(n * 2) } else { Err(format!("{n} is too large")) };
    Ok(BatchReply { answer: Answer::new(207), results: numbers.iter().map(double).collect() })
}

fn batcher(node: &Node, bounds: BatchBounds) -> (Numbers, Sent) {
    let sent = Sent::default();
    let vendor = sent.clone();
    let limiter = Limiter::new(node.client());
    let send = move |_, numbers| doubled(vendor.clone(), numbers);
    (Batcher::new(limiter, "hubspot/acme", bounds, send).unwrap(), sent)
}

fn of(size: usize) -> BatchBounds {
    BatchBounds { size, ..BatchBounds::default() }
}

/// Adds these at the same time.
async fn add_all(
    batcher: &Numbers,
    numbers: impl IntoIterator<Item = u32>,
) -> Vec<Result<u32, BatchError<String, Answer>>> {
    let add = |n| {
        let batcher = batcher.clone();
        tokio::spawn(async move { batcher.add(n).await })
    };
    let adding: Vec<_> = numbers.into_iter().map(add).collect();
    let mut results = Vec::new();
    for added in adding {
        results.push(added.await.unwrap());
    }
    results
}

#[tokio::test(start_paused = true)]
async fn a_batch_costs_one_permit_and_each_record_has_its_own_result() {
    let node = Node::in_memory().await;
    let (batcher, sent) = batcher(&node, of(100));
    let results = add_all(&batcher, [1, 2, 101, 3]).await;
    let texts: Vec<_> = results.iter().map(|result| result.as_ref().map_err(ToString::to_string)).collect();
    assert_eq!(texts, [Ok(&2), Ok(&4), Err("101 is too large".to_owned()), Ok(&6)]);
    assert!(matches!(&results[2], Err(BatchError::Record(_))));
    assert_eq!(*sent.lock(), [[1, 2, 101, 3]]);
    let script = node.script();
    assert_eq!((script.acquires.len(), script.releases.len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn full_batches_do_not_linger() {
    let node = Node::in_memory().await;
    let hour = Duration::from_secs(3_600);
    let (batcher, sent) = batcher(&node, BatchBounds { size: 10, linger: hour, batches: 8 });
    let results = tokio::time::timeout(hour / 2, add_all(&batcher, 0..40)).await.unwrap();
    assert!(results.iter().zip(0..).all(|(result, n)| *result.as_ref().unwrap() == n * 2));
    assert_eq!(sent.lock().iter().map(Vec::len).collect::<Vec<_>>(), [10; 4]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_waits_for_its_permit_takes_more_records() {
    let node = Node::in_memory().await;
    node.script().holds = true;
    let (batcher, sent) = batcher(&node, of(100));
    let first = tokio::spawn({
        let batcher = batcher.clone();
        async move { add_all(&batcher, [1]).await }
    });
    eventually(|| node.script().held == 1).await;
    let second = tokio::spawn({
        let batcher = batcher.clone();
        async move { add_all(&batcher, [2, 3]).await }
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    node.script().let_go();
    assert_eq!((first.await.unwrap().len(), second.await.unwrap().len()), (1, 2));
    assert_eq!(*sent.lock(), [[1, 2, 3]]);
}

#[tokio::test(start_paused = true)]
async fn so_many_batches_at_once_and_no_more() {
    let node = Node::in_memory().await;
    node.script().holds = true;
    let (batcher, sent) = batcher(&node, BatchBounds { size: 2, batches: 3, ..BatchBounds::default() });
    let adding = tokio::spawn({
        let batcher = batcher.clone();
        async move { add_all(&batcher, 0..20).await }
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(node.script().held, 3);
    node.script().let_go();
    assert!(adding.await.unwrap().iter().all(Result::is_ok));
    let mut records = sent.lock().concat();
    records.sort_unstable();
    assert_eq!(records, Vec::from_iter(0..20));
}

#[tokio::test(start_paused = true)]
async fn as_many_adds_as_there_is_room_for_fill_the_batches() {
    let node = Node::in_memory().await;
    let vendor = Sent::default();
    let sent = vendor.clone();
    let send = move |_, numbers| {
        let vendor = vendor.clone();
        async move {
            tokio::time::sleep(SECOND).await;
            doubled(vendor, numbers).await
        }
    };
    let bounds = BatchBounds { size: 10, batches: 4, ..BatchBounds::default() };
    let batcher = Batcher::new(Limiter::new(node.client()), "r", bounds, send).unwrap();
    let records = stream::iter(0..1_000).map(|n| batcher.add(n));
    let results: Vec<_> = records.buffer_unordered(40).collect().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 101, "the rest is too large");
    assert_eq!(sent.lock().iter().map(Vec::len).collect::<Vec<_>>(), [10; 100]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_fails_is_tried_again_and_then_fails_for_all() {
    let node = Node::in_memory().await;
    let tries = Arc::new(Mutex::new(Vec::new()));
    let seen = tries.clone();
    let send = move |_, records: Arc<[u32]>| {
        seen.lock().push(records.to_vec());
        async { Err::<BatchReply<u32, String>, _>(Answer::new(429)) }
    };
    let limiter = Limiter::new(node.client()).retries(Retries { tries: 3, ..Retries::default() });
    let batcher = Batcher::new(limiter, "r", of(2), send).unwrap();
    for result in add_all(&batcher, [1, 2]).await {
        let Err(BatchError::Batch(error)) = result else { panic!("{result:?}") };
        assert!(matches!(&*error, CallError::Failed { tries: 3, .. }), "{error:?}");
    }
    assert_eq!(*tries.lock(), [[1, 2]; 3], "the same records each time");
}

#[tokio::test(start_paused = true)]
async fn a_pause_fails_no_batch_before_its_patience_ends() {
    let node = Node::in_memory().await;
    node.on_acquire(|_, n| if n <= 5 { denied(60 * SECOND) } else { granted(plain(&format!("p0-{n}"))) });
    let (batcher, sent) = batcher(&node, of(2));
    let start = Instant::now();
    let results = add_all(&batcher, [1, 2]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!((sent.lock().len(), node.script().acquires.len()), (1, 6));
    assert!(start.elapsed() >= 300 * SECOND, "{:?}", start.elapsed());

    // Nobody waits for ever.
    node.on_acquire(|_, _| denied(60 * SECOND));
    let batcher = batcher.patience(600 * SECOND);
    let start = Instant::now();
    let results = add_all(&batcher, [1]).await;
    assert!(start.elapsed() > 500 * SECOND && start.elapsed() <= 601 * SECOND, "{:?}", start.elapsed());
    let Err(BatchError::Batch(error)) = &results[0] else { panic!("{results:?}") };
    assert!(matches!(&**error, CallError::NoPermit { error: Error::Denied(_), .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_for_another_number_of_records_is_nobodys() {
    let node = Node::in_memory().await;
    let send = |_, _: Arc<[u32]>| async {
        Ok::<_, Answer>(BatchReply { answer: Answer::new(200), results: vec![Ok::<u32, String>(1)] })
    };
    let batcher = Batcher::new(Limiter::new(node.client()), "r", of(2), send).unwrap();
    for result in add_all(&batcher, [1, 2]).await {
        assert!(matches!(result, Err(BatchError::Mismatched { records: 2, results: 1, .. })), "{result:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_wait_any_more_is_not_sent() {
    let node = Node::in_memory().await;
    node.on_acquire(|_, _| granted(plain("p0-1")));
    let (batcher, sent) = batcher(&node, of(100));
    let withdrawn = tokio::time::timeout(Duration::from_millis(10), batcher.add(1));
    let (withdrawn, two) = tokio::join!(withdrawn, batcher.add(2));
    assert!(withdrawn.is_err());
    assert_eq!((two.unwrap(), sent.lock().concat()), (4, vec![2]));

    // Nobody is left: the permit goes back.
    tokio::time::timeout(Duration::from_millis(10), batcher.add(3)).await.unwrap_err();
    batcher.close().await;
    assert_eq!(sent.lock().len(), 1);
    assert_eq!(node.script().releases.last().unwrap().outcome(), Outcome::NotSent);
}

#[tokio::test(start_paused = true)]
async fn closing_sends_what_is_open_and_takes_nothing_more() {
    let node = Node::in_memory().await;
    let linger = Duration::from_secs(3_600);
    let (batcher, sent) = batcher(&node, BatchBounds { linger, ..BatchBounds::default() });
    let adding = tokio::spawn({
        let batcher = batcher.clone();
        async move { add_all(&batcher, [1, 2]).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    tokio::time::timeout(Duration::from_secs(60), batcher.close()).await.unwrap();
    assert_eq!(*sent.lock(), [[1, 2]]);
    assert!(adding.await.unwrap().iter().all(Result::is_ok));
    assert!(matches!(batcher.add(3).await, Err(BatchError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_panics_leaves_nobody_waiting() {
    let node = Node::in_memory().await;
    let send = |_, records: Arc<[u32]>| async move {
        assert!(records[0] != 1, "as a test wants");
        doubled(Sent::default(), records).await
    };
    let batcher = Batcher::new(Limiter::new(node.client()), "r", of(1), send).unwrap();
    assert!(matches!(batcher.add(1).await, Err(BatchError::Aborted)));
    assert_eq!(batcher.add(2).await.unwrap(), 4, "its place is free again");
}

#[tokio::test]
async fn wrong_bounds_are_named() {
    let node = Node::in_memory().await;
    for (bounds, field) in [
        (BatchBounds { size: 0, ..BatchBounds::default() }, "size"),
        (BatchBounds { batches: 0, ..BatchBounds::default() }, "batches"),
        (BatchBounds { batches: 10_001, ..BatchBounds::default() }, "batches"),
    ] {
        let send = |_, numbers| doubled(Sent::default(), numbers);
        let error = Batcher::new(Limiter::new(node.client()), "r", bounds, send).err().unwrap();
        assert!(
            matches!(&error, Error::Invalid { violations, .. } if violations[0].field == field),
            "{error}"
        );
    }
}
