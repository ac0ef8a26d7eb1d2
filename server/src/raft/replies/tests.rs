use std::future::poll_fn;

use futures_util::{FutureExt, StreamExt};
use tollgate_limiter::{Grant, Label, Outcome};

use super::*;

/// What a respondent was told.
#[derive(Default)]
struct Told {
    cancelled: Mutex<Vec<CallNumber>>,
    given_back: Mutex<Vec<PermitId>>,
}

impl Respondent for Told {
    fn cancel(&self, number: CallNumber) {
        self.cancelled.lock().push(number);
    }

    fn give_back(&self, permit: PermitId) {
        self.given_back.lock().push(permit);
    }
}

fn granted(permit: u64) -> Answered {
    let grant = Grant {
        permit: PermitId(permit),
        key: Label::default(),
        use_within: None,
        lease: None,
        slots: Default::default(),
        usage: Default::default(),
        replayed: false,
        alternative: 0,
    };
    Ok(Ok(Outcome::Granted(grant)).into())
}

/// Three calls with the numbers 7, 8 and 9, of which the last two are told of.
fn three() -> (Arc<Told>, Replies, [Caller; 3]) {
    let told = Arc::new(Told::default());
    let (replies, mut callers) = replies(told.clone(), 7, [false, true, true].into_iter());
    let mut next = || callers.next().expect("there are three");
    let callers = [next(), next(), next()];
    (told, replies, callers)
}

#[tokio::test]
async fn replies_come_as_they_are_decided() {
    let (_, mut replies, [first, second, third]) = three();
    assert!(replies.next().now_or_never().is_none(), "nothing is decided yet");
    let reader = tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Some(some) = replies.next().await {
            taken.push(some);
        }
        taken
    });
    tokio::task::yield_now().await;
    assert_eq!(third.send(granted(3)), None);
    assert_eq!(first.send(granted(1)), None);
    tokio::task::yield_now().await;
    assert_eq!(second.send(Err(Refusal::NoLeader)), None);
    let expected = [vec![(2, granted(3)), (0, granted(1))], vec![(1, Err(Refusal::NoLeader))]];
    assert_eq!(reader.await.unwrap(), expected);
}

#[tokio::test]
async fn a_caller_that_is_dropped_leaves_the_outcome_unknown() {
    let (_, mut replies, callers) = three();
    drop(callers);
    let unknown = |index| (index, Err(Refusal::OutcomeUnknown));
    assert_eq!(replies.next().await, Some((0..3).map(unknown).collect()));
    assert_eq!(replies.next().await, None);
}

#[test]
fn whoever_goes_away_is_told_of_and_what_it_was_granted_goes_back() {
    let (told, replies, [first, second, third]) = three();
    assert_eq!(second.send(granted(2)), None);
    drop(replies);
    assert_eq!(*told.cancelled.lock(), [9], "the first is decided at once, the second was");
    assert_eq!(*told.given_back.lock(), [PermitId(2)]);
    assert!(first.is_closed() && third.is_closed());
    assert_eq!(first.send(granted(1)), Some(granted(1)), "whoever replies learns that nobody is there");
}

#[tokio::test]
async fn one_call_is_given_up_without_the_others() {
    let (told, mut replies, [first, second, third]) = three();
    assert_eq!(first.send(granted(1)), None);
    for index in [0, 1] {
        replies.canceller(index).cancel();
        replies.canceller(index).cancel();
    }
    assert_eq!((told.cancelled.lock().clone(), told.given_back.lock().clone()), (vec![8], vec![PermitId(1)]));
    assert!(second.is_closed() && !third.is_closed());
    assert_eq!(third.send(granted(3)), None);
    assert_eq!(replies.next().await, Some(vec![(2, granted(3))]));
    assert_eq!(replies.next().await, None);
    replies.canceller(2).cancel();
    assert_eq!(told.given_back.lock().len(), 1, "what was taken is delivered");
}

#[tokio::test]
async fn the_last_call_that_is_given_up_ends_the_replies() {
    let (_, mut replies, callers) = three();
    let cancellers: Vec<_> = (0..3).map(|index| replies.canceller(index)).collect();
    let ended = tokio::spawn(async move { replies.next().await });
    tokio::task::yield_now().await;
    cancellers.into_iter().for_each(Canceller::cancel);
    assert_eq!(ended.await.unwrap(), None);
    drop(callers);
}

#[tokio::test]
async fn a_call_that_is_tried_again_is_given_up_with_its_second_try() {
    let (_, mut replies, [first, ..]) = three();
    let (handle, _registration) = AbortHandle::new_pair();
    assert_eq!(first.send(Err(Refusal::NoLeader)), None);
    assert!(poll_fn(|context| replies.poll_next_unpin(context)).await.is_some());
    replies.try_again(0, handle.clone());
    assert!(replies.cancel(0));
    assert!(handle.is_aborted());
}

#[tokio::test]
async fn a_refusal_is_for_all_of_them() {
    let mut refused = Replies::refused(2, &Refusal::StorageFull);
    let expected = vec![(0, Err(Refusal::StorageFull)), (1, Err(Refusal::StorageFull))];
    assert_eq!(refused.next().await, Some(expected));
    assert_eq!(Replies::refused(1, &Refusal::NoLeader).only().await, Err(Refusal::NoLeader));
}
