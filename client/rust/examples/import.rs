//! Imports 50,000 contacts, a hundred with each call and whatever else calls HubSpot going first, and says of each contact that was not
//! taken why. Ctrl-C ends it when what was begun is done. Needs `tollgate dev`, or `TOLLGATE_NODES`.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use tollgate_client::{Answer, BatchBounds, BatchReply, Batcher, Client, Error, Limiter, Priority};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::from_env()?;
    // Every contact has its own id, so that sending a batch twice does no harm.
    let limiter = Limiter::new(client.clone()).vendor("hubspot").idempotent(true);
    let permit = client.acquire("hubspot/acme").operation("batch").consumer("import").priority(Priority::Low);
    let bounds = BatchBounds { size: 100, ..BatchBounds::default() };
    let import = Batcher::new(limiter, permit, bounds, |_permit, contacts| upsert(contacts))?;

    let contacts = stream::iter(0..50_000).map(|n| format!("contact-{n}@acme.example"));
    let mut results = contacts
        .take_until(Box::pin(tokio::signal::ctrl_c()))
        .map(|contact| async { (contact.clone(), import.add(contact).await) })
        // As many as the batches that may be under way have room for: with fewer, batches would leave half empty.
        .buffer_unordered(bounds.size * bounds.batches as usize);
    let (mut taken, mut failed) = (0, 0);
    while let Some((contact, result)) = results.next().await {
        match result {
            Ok(()) => taken += 1,
            Err(reason) => {
                failed += 1;
                eprintln!("{contact}: {reason}");
            }
        }
        if (taken + failed) % 1_000 == 0 {
            println!("{taken} taken, {failed} failed");
        }
    }
    println!("{taken} taken, {failed} failed: that is all");
    Ok(())
}

/// Call HubSpot here, with the credential that the permit names, and tell of each contact what became of it.
async fn upsert(contacts: Arc<[String]>) -> Result<BatchReply<(), String>, Answer> {
    tokio::time::sleep(Duration::from_millis(100)).await;
    let judged = |contact: &String| match contact.as_str() {
        "contact-42@acme.example" => Err("is no customer's".to_owned()),
        _ => Ok(()),
    };
    Ok(BatchReply { answer: Answer::new(207), results: contacts.iter().map(judged).collect() })
}
