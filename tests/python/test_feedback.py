"""What a vendor answers to one worker holds for all, on every node, and outlives the leader that heard it."""

import pytest
from tollgate.v1 import permit_pb2, resource_pb2

from cluster import Cluster, until_answered
from conftest import daily, seconds

FAILURES = 3
HOUR_S = 3600  # No test outlives it.


@pytest.fixture
def cluster():
    """One of its own: its leader is killed."""
    with Cluster() as running:
        yield running


def test_what_one_worker_is_told_holds_for_all(cluster):
    create(cluster, resource_pb2.Resource(name="python/told", limits=[daily(100)]))
    one, other = cluster.followers()
    permit = until_answered(lambda: acquire(one, "python/told")).granted
    told = permit_pb2.VendorFeedback(status=429, headers={"Retry-After": "600", "X-Whatever": "x" * 10_000})
    released = release(one, permit.permit_id, feedback=told)
    # Up to a tenth longer at random, so that not all come back at once.
    assert released.understood.limited and 600 <= released.understood.wait.ToSeconds() <= 660
    denial = until_answered(lambda: acquire(other, "python/told")).denied
    assert denial.reason == permit_pb2.DENIAL_REASON_PAUSED and denial.retry_after.ToSeconds() > 500


def test_an_open_circuit_outlives_the_leader(cluster):
    breaker = resource_pb2.CircuitBreaker(consecutive_failures=FAILURES, open_for=seconds(HOUR_S))
    create(cluster, resource_pb2.Resource(name="python/failing", limits=[daily(100)], circuit_breaker=breaker))
    for turn in range(FAILURES):
        node = cluster.nodes[turn % len(cluster.nodes)]
        permit = until_answered(lambda: acquire(node, "python/failing")).granted
        release(node, permit.permit_id, feedback=permit_pb2.VendorFeedback(status=503))
    before = until_answered(lambda: acquire(cluster.leader(), "python/failing")).denied
    assert before.reason == permit_pb2.DENIAL_REASON_CIRCUIT_OPEN

    cluster.leader().kill()
    survivor = cluster.followers()[0]
    after = until_answered(lambda: acquire(survivor, "python/failing")).denied
    assert after.reason == permit_pb2.DENIAL_REASON_CIRCUIT_OPEN
    assert 0 < after.retry_after.ToSeconds() <= before.retry_after.ToSeconds(), "it opened anew"

    resume = resource_pb2.ResumeResourceRequest(name="python/failing")
    until_answered(lambda: survivor.resources.ResumeResource(resume, timeout=5))
    assert until_answered(lambda: acquire(survivor, "python/failing")).HasField("granted")


def create(cluster, resource):
    cluster.leader().resources.CreateResource(resource_pb2.CreateResourceRequest(resource=resource), timeout=30)


def acquire(node, name):
    return node.permits.AcquirePermit(permit_pb2.AcquirePermitRequest(resource=name), timeout=5)


def release(node, permit_id, **told):
    request = permit_pb2.ReleasePermitRequest(permit_id=permit_id, **told)
    return until_answered(lambda: node.permits.ReleasePermit(request, timeout=5))
