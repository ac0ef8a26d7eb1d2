//! Takes the first of several resources that has room; if none has, waits for whichever comes first.

use std::time::Duration;

use tollgate_client::{Alternative, Client, Error, Outcome};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::from_env()?;
    let permit = client
        .acquire("hubspot/acme")
        .or(Alternative::new("salesforce/acme").operation("query"))
        .wait_up_to(Duration::from_secs(30))
        .await?;

    permit.ensure_usable()?;
    println!("call {}, after waiting {:?}", permit.resource(), permit.waited());
    permit.release().outcome(Outcome::Ok).await?;
    Ok(())
}
