//! Imports 50,000 contacts in batches of 100, with whatever else calls HubSpot going first. Ctrl-C ends it when what was begun is
//! done. Needs `tollgate dev`, or `TOLLGATE_NODES`.

use std::{sync::Arc, time::Duration};

use tollgate_client::{Answer, Client, Error, Limiter, Pipeline, Priority};

type Contacts = Vec<String>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::from_env()?;
    // Every contact has its own id, so that sending a batch twice does no harm.
    let limiter = Limiter::new(client.clone()).vendor("hubspot").idempotent(true);
    let permit = client.acquire("hubspot/acme").operation("batch").consumer("import").priority(Priority::Low);
    let import = Pipeline::<Contacts, Answer>::new(limiter, permit)
        .until(tokio::signal::ctrl_c())
        .dead_letters(|letter| async move { eprintln!("from {} on: {}", letter.task[0], letter.failure) });

    let progress = import.progress();
    let shown = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            println!("{}", *progress.borrow());
        }
    });
    let contacts = (0..50_000).map(|n| format!("contact-{n}@acme.example")).collect::<Contacts>();
    let batches = contacts.chunks(100).map(<[String]>::to_vec);
    println!("{}", import.run(tokio_stream::iter(batches), |_permit, batch| upsert(batch)).await?);
    shown.abort();
    Ok(())
}

/// Call HubSpot here, with the credential that the permit names.
async fn upsert(contacts: Arc<Contacts>) -> Result<Answer, Answer> {
    tokio::time::sleep(Duration::from_millis(100)).await;
    if contacts.is_empty() { Err(Answer::new(400)) } else { Ok(Answer::new(200)) }
}
