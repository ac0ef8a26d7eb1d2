//! Makes one call that never storms: tried again where that is safe, when the cluster lets it. Needs `tollgate dev`, or
//! `TOLLGATE_NODES`.

use tollgate_client::{Answer, CallError, Client, Limiter};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::from_env()?;
    let hubspot = Limiter::new(client.clone()).vendor("hubspot").idempotent(true);
    let search = client.acquire("hubspot/acme").operation("search").consumer("crm-sync");

    match hubspot.call(search, |permit| async move { find(permit.id()).await }).await {
        Ok(response) => println!("{}", response.into_body()),
        Err(CallError::Failed { error, tries, .. }) => println!("{error}, after {tries} tries"),
        Err(error) => println!("not called: {error}"),
    }
    Ok(())
}

/// Call HubSpot here, and hand back its answer, whatever it is.
async fn find(permit: &str) -> Result<http::Response<String>, Answer> {
    Ok(http::Response::new(format!("{permit} let one search through")))
}
