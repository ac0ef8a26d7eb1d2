"""A pause that an operator ordered outlives the leader that took the order."""

from tollgate.v1 import permit_pb2, resource_pb2

from cluster import Cluster, until_answered
from conftest import daily, seconds

NAME = "python/pause"
REASON = "vendor's maintenance"
HOUR_S = 3600  # No test outlives it.


def test_a_pause_outlives_the_leader():
    with Cluster() as cluster:
        leader = cluster.leader()
        resource = resource_pb2.Resource(name=NAME, limits=[daily(10)])
        leader.resources.CreateResource(resource_pb2.CreateResourceRequest(resource=resource), timeout=30)
        order = resource_pb2.PauseResourceRequest(name=NAME, duration=seconds(HOUR_S), reason=REASON)
        leader.resources.PauseResource(order, timeout=30)
        before = denied(leader)

        leader.kill()
        survivor = cluster.followers()[0]
        after = until_answered(lambda: denied(survivor))
        assert 0 < left(after) < left(before) <= HOUR_S, "the pause began anew"

        resume = resource_pb2.ResumeResourceRequest(name=NAME)
        resumed = until_answered(lambda: survivor.resources.ResumeResource(resume, timeout=5))
        assert not resumed.resource.HasField("pause")
        assert until_answered(lambda: acquire(survivor)).HasField("granted")


def acquire(node):
    return node.permits.AcquirePermit(permit_pb2.AcquirePermitRequest(resource=NAME), timeout=5)


def denied(node):
    """The denial by the pause; its limit has room, so that only the pause keeps a call waiting."""
    denial = acquire(node).denied
    assert denial.reason == permit_pb2.DENIAL_REASON_PAUSED
    assert denial.pause.reason == REASON and denial.paused_key == ""
    assert not denial.exhausted and denial.retry_after == denial.pause.left
    return denial


def left(denial):
    return denial.retry_after.ToNanoseconds() / 1e9
