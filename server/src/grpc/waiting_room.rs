//! How many calls of one connection may wait. A connection carries a bounded number of open calls; were all of them to
//! wait, the releases that they wait for could not be sent.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;

use super::status::Failure;

/// Calls of one connection that may wait; a batch is one. The connection has room for a thousand others:
/// [`crate::ports`].
pub const WAITING_PER_CONNECTION_MAX: usize = 15_360;

/// The waiting calls of all connections.
#[derive(Clone, Default)]
pub struct WaitingRoom {
    by_connection: Arc<Mutex<HashMap<SocketAddr, usize>>>,
}

/// A place in the room; it is free again when this is dropped.
pub struct Place {
    room: WaitingRoom,
    connection: SocketAddr,
}

impl WaitingRoom {
    /// Takes a place for a call that may wait for so long; one that may not needs none.
    ///
    /// # Errors
    ///
    /// `OVERLOADED` when the connection has no more places.
    pub fn enter(
        &self,
        connection: Option<SocketAddr>,
        max_wait: Duration,
    ) -> Result<Option<Place>, Failure> {
        let Some(connection) = connection.filter(|_| !max_wait.is_zero()) else { return Ok(None) };
        let mut by_connection = self.by_connection.lock();
        let waiting = by_connection.entry(connection).or_default();
        if *waiting >= WAITING_PER_CONNECTION_MAX {
            return Err(Failure::too_many_wait("connection", WAITING_PER_CONNECTION_MAX));
        }
        *waiting += 1;
        Ok(Some(Place { room: self.clone(), connection }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_connection = self.room.by_connection.lock();
        let Some(waiting) = by_connection.get_mut(&self.connection) else { return };
        *waiting -= 1;
        if *waiting == 0 {
            by_connection.remove(&self.connection);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(1);

    #[test]
    fn a_connection_whose_places_are_taken_is_refused_and_others_are_not() {
        let room = WaitingRoom::default();
        let connection = |port| Some(SocketAddr::from(([127, 0, 0, 1], port)));
        let enter = |port| room.enter(connection(port), WAIT);
        let mut places: Vec<_> = (0..WAITING_PER_CONNECTION_MAX).map(|_| enter(1).ok()).collect();
        assert!(enter(1).is_err());
        assert!(room.enter(connection(1), Duration::ZERO).is_ok(), "it does not wait");
        assert!(enter(2).is_ok());
        places.pop();
        assert!(enter(1).is_ok());
        drop(places);
        assert!(room.by_connection.lock().is_empty(), "idle connections leave nothing behind");
    }
}
