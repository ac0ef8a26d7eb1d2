//! Another resource that would do as well.

use tollgate_proto::v1;

/// Another resource that would do as well as the one that is asked for, for [`Acquire::or`](crate::Acquire::or). Consumer,
/// subject, priority, lease and everything else that is not said here are those of the request.
///
/// ```
/// use tollgate_client::Alternative;
///
/// let apollo = Alternative::new("apollo/acme").operation("enrich").cost(2);
/// let hunter: Alternative = "hunter/acme".into();
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Alternative(pub(crate) v1::Alternative);

impl Alternative {
    /// This resource, at what the operation costs there.
    pub fn new(resource: impl Into<String>) -> Alternative {
        Alternative(v1::Alternative { resource: resource.into(), ..Default::default() })
    }

    /// What is about to be done there: selects the limits that apply.
    #[must_use]
    pub fn operation(mut self, operation: impl Into<String>) -> Alternative {
        self.0.operation = operation.into();
        self
    }

    /// How much the call weighs there on limits without a dimension: 1 or more. Default: what the resource says that
    /// the operation costs, else 1.
    #[must_use]
    pub fn cost(mut self, cost: u64) -> Alternative {
        self.0.cost = Some(cost);
        self
    }

    /// How much the call weighs there on limits with this dimension.
    #[must_use]
    pub fn amount(mut self, dimension: impl Into<String>, amount: u64) -> Alternative {
        self.0.amounts.insert(dimension.into(), amount);
        self
    }

    /// Which credential of that resource to use. Default: the one with the most headroom.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Alternative {
        self.0.key = key.into();
        self
    }
}

impl From<&str> for Alternative {
    fn from(resource: &str) -> Alternative {
        Alternative::new(resource)
    }
}

impl From<String> for Alternative {
    fn from(resource: String) -> Alternative {
        Alternative::new(resource)
    }
}
