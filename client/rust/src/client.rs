//! What everything begins with.

use std::{env, pin::Pin, sync::Arc, time::Duration};

use tonic::{Response, Status, transport::Channel};

use crate::{
    Acquire, Cluster, Permit, PermitStream, Release, Renew, Resources,
    attempt::{self, Answered, Failed, Terms, Try},
    each,
    error::Error,
    nodes::Nodes,
};

/// The deadline of a call that is not given one.
pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(10);

/// The longest deadline; a longer one is shortened to it.
pub const DEADLINE_MAX: Duration = Duration::from_secs(3_600);

/// The nodes of `tollgate dev`.
pub const NODES_DEFAULT: [&str; 3] = ["127.0.0.1:7600", "127.0.0.1:7610", "127.0.0.1:7620"];

/// The environment variable that lists the nodes: `host:port`, divided by commas.
pub const NODES_VARIABLE: &str = "TOLLGATE_NODES";

/// What a builder becomes when it is awaited.
pub(crate) type Answer<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// A client of one cluster. Cheap to clone; all clones share their connections.
#[derive(Clone)]
pub struct Client {
    nodes: Arc<Nodes>,
    deadline: Duration,
}

impl Client {
    /// A client of the cluster with these nodes, each `host:port` (`http://` before it is allowed). Some of the nodes are
    /// enough, more survive more failures. Connections are made when they are first needed.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no node at all, and for what is not an address.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect<I>(nodes: I) -> Result<Client, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Ok(Client { nodes: Arc::new(Nodes::new(nodes)?), deadline: DEADLINE_DEFAULT })
    }

    /// A client of the nodes that [`NODES_VARIABLE`] lists; by default, [`NODES_DEFAULT`].
    ///
    /// # Errors
    /// As [`Client::connect`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn from_env() -> Result<Client, Error> {
        match env::var(NODES_VARIABLE) {
            Ok(nodes) => Client::connect(nodes.split(',').map(str::trim)),
            Err(_) => Client::connect(NODES_DEFAULT),
        }
    }

    /// A client over a connection that was made elsewhere: through TLS, a Unix socket, or inside of this process. It asks whoever
    /// is at its other end, and never turns to another node.
    ///
    /// If thousands of calls are open at once on it, give the channel the settings that [`connect`](Client::connect) uses:
    /// `initial_connection_window_size(1 << 30)`, `http2_max_concurrent_reset_streams(16_384)` and
    /// `http2_max_local_error_reset_streams(None)`. Otherwise the HTTP/2 library takes many small answers at once for a flood, and
    /// closes the connection; their calls are then repeated on another.
    pub fn over(channel: Channel) -> Client {
        Client { nodes: Arc::new(Nodes::over(channel)), deadline: DEADLINE_DEFAULT }
    }

    /// The same client, with another default for how long a call may take with all its tries; at most
    /// [`DEADLINE_MAX`].
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Client {
        self.deadline = deadline;
        self
    }

    /// Asks for one permit to call this resource, such as `salesforce/acme`.
    pub fn acquire(&self, resource: impl Into<String>) -> Acquire {
        Acquire::new(self.clone(), resource.into())
    }

    /// Asks for many permits in one call, up to [`BATCH_MAX`](crate::BATCH_MAX). The requests are independent: each is
    /// decided for itself, and the answers come in the order of the requests, when the last of them is decided: those that
    /// [wait](Acquire::wait_up_to) hold up the others' answers. The call has this client's deadline, and the longest of the
    /// waits on top; the deadlines of the requests do not count here.
    ///
    /// # Errors
    /// As a whole only when it has no requests or too many, or when nobody could decide it.
    pub async fn acquire_each(
        &self,
        requests: impl IntoIterator<Item = Acquire>,
    ) -> Result<Vec<Result<Permit, Error>>, Error> {
        each::ask(self, requests.into_iter().collect()).await
    }

    /// A stream over which many permits can be asked for, each by itself.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn stream(&self) -> PermitStream {
        PermitStream::new(self.clone())
    }

    /// Extends the lease of a permit that somebody [detached](Permit::detach).
    pub fn renew(&self, permit_id: impl Into<String>) -> Renew {
        Renew::new(self.clone(), permit_id.into())
    }

    /// Ends a permit that somebody [detached](Permit::detach).
    pub fn release(&self, permit_id: impl Into<String>) -> Release {
        Release::of_id(self.clone(), permit_id.into())
    }

    /// Administers resources.
    pub fn resources(&self) -> Resources<'_> {
        Resources::new(self)
    }

    /// Shows and changes the cluster.
    pub fn cluster(&self) -> Cluster<'_> {
        Cluster::new(self)
    }

    pub(crate) fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    pub(crate) async fn call<T, F>(
        &self,
        terms: Terms,
        ask: impl FnMut(Try) -> F,
    ) -> Result<Answered<T>, Failed>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        attempt::call(&self.nodes, terms, ask).await
    }
}
