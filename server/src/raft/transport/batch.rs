//! Many small things in one message: whatever is queued when the stream is ready to send goes out together.

use std::task::Poll;

use futures_util::{Stream, stream};
use tokio::sync::mpsc;

/// A batch is sent when it has this many bytes, even if more is queued: long enough to be cheap, short enough that a
/// heartbeat behind it does not wait.
const BATCH_BYTES: usize = 1 << 20;

/// A stream of what is queued, in batches. `add` puts one thing into the batch and says how many bytes it takes. Ends
/// when all senders of the queue are gone.
pub fn batches<T, B: Default>(
    mut queue: mpsc::Receiver<T>,
    mut add: impl FnMut(&mut B, T) -> usize,
) -> impl Stream<Item = B> {
    stream::poll_fn(move |context| {
        let mut batch = None;
        let mut bytes = 0;
        while bytes < BATCH_BYTES {
            match queue.poll_recv(context) {
                Poll::Ready(Some(thing)) => bytes += add(batch.get_or_insert_default(), thing),
                Poll::Pending if batch.is_none() => return Poll::Pending,
                Poll::Pending | Poll::Ready(None) => break,
            }
        }
        Poll::Ready(batch)
    })
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    #[tokio::test]
    async fn what_is_queued_goes_out_together_within_the_bound() {
        let (sender, queue) = mpsc::channel(16);
        let mut stream = batches(queue, |batch: &mut Vec<usize>, bytes: usize| {
            batch.push(bytes);
            bytes
        });
        for bytes in [1, 2, BATCH_BYTES, 4] {
            sender.send(bytes).await.unwrap();
        }
        assert_eq!(stream.next().await, Some(vec![1, 2, BATCH_BYTES]));
        assert_eq!(stream.next().await, Some(vec![4]));
        sender.send(5).await.unwrap();
        drop(sender);
        assert_eq!(stream.next().await, Some(vec![5]));
        assert_eq!(stream.next().await, None);
    }
}
