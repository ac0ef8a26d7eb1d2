//! Looks up 50,000 contacts, with a call each and whatever else calls HubSpot going first, and shows how far it is. Ctrl-C ends it when
//! what was begun is done. Needs `tollgate dev`, or `TOLLGATE_NODES`.

use std::{sync::Arc, time::Duration};

use tollgate_client::{Answer, Client, Error, Limiter, Pipeline, Priority};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::from_env()?;
    // To look something up twice does no harm.
    let limiter = Limiter::new(client.clone()).vendor("hubspot").idempotent(true);
    let permit =
        client.acquire("hubspot/acme").operation("contacts").consumer("enrichment").priority(Priority::Low);
    let enrichment = Pipeline::<String, Answer>::new(limiter, permit)
        .until(tokio::signal::ctrl_c())
        .dead_letters(|letter| async move { eprintln!("{}: {}", letter.task, letter.failure) });

    let progress = enrichment.progress();
    let shown = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            println!("{}", *progress.borrow());
        }
    });
    let contacts = (0..50_000).map(|n| format!("contact-{n}@acme.example"));
    println!("{}", enrichment.run(tokio_stream::iter(contacts), |_permit, contact| look_up(contact)).await?);
    shown.abort();
    Ok(())
}

/// Call HubSpot here, with the credential that the permit names.
async fn look_up(contact: Arc<String>) -> Result<Answer, Answer> {
    tokio::time::sleep(Duration::from_millis(100)).await;
    if contact.starts_with("contact-42@") { Err(Answer::new(404)) } else { Ok(Answer::new(200)) }
}
