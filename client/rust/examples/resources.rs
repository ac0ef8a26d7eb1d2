//! Defines a resource, uses it, looks at its figures and removes it.

use tollgate_client::{
    Client, Error,
    v1::{Concurrency, GetResourceUsageRequest, Limit, Resource, limit::Kind},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::from_env()?;
    let slots = Concurrency { slots: 2, ..Default::default() };
    let limit =
        Limit { name: "concurrent".into(), kind: Some(Kind::Concurrency(slots)), ..Default::default() };
    let resource = Resource { name: "example/api".into(), limits: vec![limit], ..Default::default() };
    let created = client.resources().create(resource).await?;

    let permit = client.acquire("example/api").consumer("demo").await?;
    let request = GetResourceUsageRequest { name: created.name.clone(), ..Default::default() };
    for slot in client.resources().usage(request).await?.held {
        println!("{} holds slot {} of {}", slot.consumer, slot.index, slot.limit);
    }
    permit.release().await?;
    client.resources().delete(&created.name, created.generation).await
}
