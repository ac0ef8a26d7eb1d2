//! The node's metrics, in Prometheus' words. Names begin with `tollgate_`; durations are in seconds.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

/// What grants and denials are told apart by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResourceLabels {
    /// The resource.
    pub resource: String,
}

/// What denials are told apart by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DenialLabels {
    /// The resource.
    pub resource: String,
    /// The limit that binds; empty where limits are not the reason.
    pub limit: String,
    /// Why: `limit_exhausted`, `paused`, `key_unavailable`, `budget_exhausted`, `others_wait`, `circuit_open`, `paced` or
    /// `call_under_way`.
    pub reason: &'static str,
}

/// How waits end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WaitLabels {
    /// `granted`, `shared`, `denied`, `rejected` or `cancelled`.
    pub outcome: &'static str,
}

/// How calls end, by gRPC method and status code.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CallLabels {
    /// Such as `AcquirePermit`.
    pub method: &'static str,
    /// Such as `OK`.
    pub code: &'static str,
}

/// How vendor calls end, as the releases say.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabels {
    /// Such as `throttled`.
    pub outcome: &'static str,
}

/// What vendors answered, as the releases say.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FeedbackLabels {
    /// The HTTP status, 100 to 599; 0: none that HTTP knows.
    pub status: u32,
}

/// What connections are told apart by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PortLabels {
    /// Whom the port is for: `clients`, `peers` or `watchers`.
    pub port: &'static str,
}

/// All of them. Decisions are counted where they are made: on the leader.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Permits granted, without replays.
    pub grants: Family<ResourceLabels, Counter>,
    /// Permits returned again to a retry.
    pub replays: Counter,
    /// Requests that had the result of another's call instead of a permit.
    pub results_shared: Family<ResourceLabels, Counter>,
    /// Requests denied, by the reason and the limit that binds.
    pub denials: Family<DenialLabels, Counter>,
    /// Requests that wait for their turn.
    pub waiting: Family<ResourceLabels, Gauge>,
    /// How long requests waited for their turn, those that were not decided at once.
    pub wait_seconds: Family<WaitLabels, Histogram>,
    /// Requests refused because as many waited as may.
    pub queue_full: Family<ResourceLabels, Counter>,
    /// Grants given back because nobody was left to receive them.
    pub grants_undelivered: Counter,
    /// Permits that a client ended, by how the vendor call went.
    pub releases: Family<OutcomeLabels, Counter>,
    /// What vendors answered; counted on the node that the client called.
    pub feedback: Family<FeedbackLabels, Counter>,
    /// Leases that ran out.
    pub leases_expired: Counter,
    /// Circuits that opened, each time that a probe failed too.
    pub circuits_opened: Counter,
    /// Calls answered by this node.
    pub calls: Family<CallLabels, Counter>,
    /// Connections closed at once, because the port had as many as it takes.
    pub connections_refused: Family<PortLabels, Counter>,
    /// From the arrival of an AcquirePermit to its answer, on the node that the client called.
    pub acquire_seconds: Histogram,
    /// From proposal to application, on the leader.
    pub commit_seconds: Histogram,
    /// One write and fsync of the log.
    pub fsync_seconds: Histogram,
    /// Commands per log entry.
    pub commands_per_entry: Histogram,
    /// The Raft term.
    pub term: Gauge,
    /// 1 while this node leads.
    pub is_leader: Gauge,
    /// The leader's id; 0 when none is known.
    pub leader_id: Gauge,
    /// The last entry known to be on a quorum.
    pub commit_index: Gauge,
    /// The last entry applied.
    pub applied_index: Gauge,
    /// Bytes of log on disk.
    pub log_bytes: Gauge,
    /// The entry up to which the last snapshot reaches.
    pub snapshot_index: Gauge,
    /// Resources defined.
    pub resources: Gauge,
    /// Permits that hold slots or can still be settled.
    pub permits_live: Gauge,
    /// Those of them that have a lease.
    pub permits_leased: Gauge,
    /// Results kept for requests with a coalesce key.
    pub results: Gauge,
    /// What they take of memory, roughly.
    pub result_bytes: Gauge,
    /// What counters take of memory at most, when each is as large as it can become.
    pub counter_bytes: Gauge,
    /// 1 while the disk has less room than its reserve.
    pub disk_is_low: Gauge,
    /// 1 while this node should be sent calls.
    pub ready: Gauge,
}

impl Metrics {
    /// Fresh metrics, registered.
    pub fn new(registry: &mut Registry) -> Metrics {
        let latency = || Histogram::new(exponential_buckets(0.000_1, 2.0, 18));
        let metrics = Metrics {
            grants: Family::default(),
            replays: Counter::default(),
            results_shared: Family::default(),
            denials: Family::default(),
            waiting: Family::default(),
            wait_seconds: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.001, 2.0, 23))
            }),
            queue_full: Family::default(),
            grants_undelivered: Counter::default(),
            releases: Family::default(),
            feedback: Family::default(),
            leases_expired: Counter::default(),
            circuits_opened: Counter::default(),
            calls: Family::default(),
            connections_refused: Family::default(),
            acquire_seconds: latency(),
            commit_seconds: latency(),
            fsync_seconds: latency(),
            commands_per_entry: Histogram::new(exponential_buckets(1.0, 2.0, 13)),
            term: Gauge::default(),
            is_leader: Gauge::default(),
            leader_id: Gauge::default(),
            commit_index: Gauge::default(),
            applied_index: Gauge::default(),
            log_bytes: Gauge::default(),
            snapshot_index: Gauge::default(),
            resources: Gauge::default(),
            permits_live: Gauge::default(),
            permits_leased: Gauge::default(),
            results: Gauge::default(),
            result_bytes: Gauge::default(),
            counter_bytes: Gauge::default(),
            disk_is_low: Gauge::default(),
            ready: Gauge::default(),
        };
        let m = metrics.clone();
        let registry = registry.sub_registry_with_prefix("tollgate");
        registry.register("grants", "Permits granted, without replays", m.grants);
        registry.register("replays", "Permits returned again to a retry", m.replays);
        registry.register(
            "results_shared",
            "Requests that had the result of another's call instead of a permit",
            m.results_shared,
        );
        registry.register("denials", "Requests denied, by the reason and the limit that binds", m.denials);
        registry.register("waiting", "Requests that wait for their turn", m.waiting);
        registry.register_with_unit(
            "wait",
            "Waits for a turn, of requests that were not decided at once",
            Unit::Seconds,
            m.wait_seconds,
        );
        registry.register("queue_full", "Requests refused because as many waited as may", m.queue_full);
        registry.register(
            "grants_undelivered",
            "Grants given back: nobody was left to receive them",
            m.grants_undelivered,
        );
        registry.register(
            "releases",
            "Permits ended by their clients, by how the vendor call went",
            m.releases,
        );
        registry.register("feedback", "What vendors answered, by HTTP status", m.feedback);
        registry.register("leases_expired", "Leases that ran out", m.leases_expired);
        registry.register(
            "circuits_opened",
            "Circuits that opened, again after a failed probe too",
            m.circuits_opened,
        );
        registry.register("calls", "Calls answered by this node, by method and status", m.calls);
        registry.register(
            "connections_refused",
            "Connections closed at once: the port had as many as it takes",
            m.connections_refused,
        );
        registry.register_with_unit(
            "acquire",
            "Arrival of an AcquirePermit to its answer",
            Unit::Seconds,
            m.acquire_seconds,
        );
        registry.register_with_unit(
            "commit",
            "Proposal to application, on the leader",
            Unit::Seconds,
            m.commit_seconds,
        );
        registry.register_with_unit(
            "fsync",
            "One write and fsync of the log",
            Unit::Seconds,
            m.fsync_seconds,
        );
        registry.register("commands_per_entry", "Commands in one log entry", m.commands_per_entry);
        registry.register("term", "Raft term", m.term);
        registry.register("is_leader", "1 while this node leads", m.is_leader);
        registry.register("leader_id", "The leader's node id, 0 when none is known", m.leader_id);
        registry.register("commit_index", "Last entry known to be on a quorum", m.commit_index);
        registry.register("applied_index", "Last entry applied", m.applied_index);
        registry.register_with_unit("log", "Log on disk", Unit::Bytes, m.log_bytes);
        registry.register("snapshot_index", "Entry up to which the last snapshot reaches", m.snapshot_index);
        registry.register("resources", "Resources defined", m.resources);
        registry.register("permits_live", "Permits that hold slots or can still be settled", m.permits_live);
        registry.register("permits_leased", "Those of them that have a lease", m.permits_leased);
        registry.register("results", "Results kept for requests with a coalesce key", m.results);
        registry.register_with_unit("result", "Memory of those results", Unit::Bytes, m.result_bytes);
        registry.register_with_unit(
            "counter",
            "Memory of the counters, each as large as it can become",
            Unit::Bytes,
            m.counter_bytes,
        );
        registry.register("disk_is_low", "1 while the disk has less room than its reserve", m.disk_is_low);
        registry.register("ready", "1 while this node should be sent calls, as /readyz says", m.ready);
        metrics
    }
}
