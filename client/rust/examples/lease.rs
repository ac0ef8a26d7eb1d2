//! Holds a slot during a long call: the lease is renewed meanwhile, and the call is stopped if it is lost.

use std::time::Duration;

use tollgate_client::{Client, Error, Outcome};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::from_env()?;
    let permit = client.acquire("salesforce/acme").lease(Duration::from_secs(2)).await?;
    for slot in permit.slots() {
        println!("slot {} of {}, generation {}", slot.index, slot.limit, slot.generation);
    }

    tokio::select! {
        () = long_call() => println!("done, and still held: {}", permit.is_held()),
        () = permit.lost() => eprintln!("stopped: somebody else may hold the slot"),
    }
    permit.release().outcome(Outcome::Ok).await?;
    Ok(())
}

async fn long_call() {
    tokio::time::sleep(Duration::from_secs(3)).await; // call Salesforce here
}
