//! Asks for a permit before one call. Needs `tollgate dev`, or `TOLLGATE_NODES`.

use std::time::Duration;

use tollgate_client::{Client, Error, Outcome};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::from_env()?;
    let permit = client
        .acquire("hubspot/acme")
        .operation("search")
        .consumer("crm-sync")
        .wait_up_to(Duration::from_secs(5))
        .await?;

    permit.ensure_usable()?;
    println!("{} lets one call through", permit.id()); // call HubSpot here
    permit.release().outcome(Outcome::Ok).await?;
    Ok(())
}
