"""Waiting for a turn, from generated stubs: `max_wait` and nothing else. Nobody polls for a permit here."""

import time
import uuid

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from tollgate.v1 import permit_pb2, resource_pb2

from cluster import PATIENCE_S, Cluster
from conftest import seconds, slots

HIGH, LOW = permit_pb2.PRIORITY_HIGH, permit_pb2.PRIORITY_LOW


def request(name, max_wait=PATIENCE_S, **fields):
    return permit_pb2.AcquirePermitRequest(resource=name, max_wait=seconds(max_wait), **fields)


def park(node, name, **fields):
    """A call that waits, in the background."""
    return node.permits.AcquirePermit.future(request(name, **fields), timeout=2 * PATIENCE_S)


def hold(node, name):
    """Takes a slot at once."""
    return node.permits.AcquirePermit(permit_pb2.AcquirePermitRequest(resource=name), timeout=30).granted.permit_id


def release(node, permit_id):
    node.permits.ReleasePermit(permit_pb2.ReleasePermitRequest(permit_id=permit_id), timeout=30)


def granted(call):
    answer = call.result(timeout=PATIENCE_S)
    assert answer.HasField("granted"), answer
    return answer.granted


def waiting(node, name):
    usage = resource_pb2.GetResourceUsageRequest(name=name)
    return node.resources.GetResourceUsage(usage, timeout=30).waiting


def eventually(what, so):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            if so():
                return
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE, error
        assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.02)


def until_waiting(node, name, count):
    eventually(f"{count} wait for {name}", lambda: waiting(node, name) == count)


def test_a_released_slot_goes_to_who_waits(cluster, create):
    name = create(slots(1))
    leader, follower = cluster.leader(), cluster.followers()[0]
    held = hold(leader, name)
    call = park(follower, name, consumer="sync")
    until_waiting(leader, name, 1)
    release(leader, held)
    permit = granted(call)
    assert permit.resource == name and permit.waited.ToNanoseconds() > 0
    assert waiting(leader, name) == 0
    release(follower, permit.permit_id)


def test_the_wait_ends_with_a_denial_that_says_what_held_it(cluster, create):
    name = create(slots(1))
    node = cluster.nodes[0]
    hold(node, name)
    denied = node.permits.AcquirePermit(request(name, max_wait=0.3), timeout=PATIENCE_S).denied
    assert (denied.limit, denied.resource) == ("concurrent", name)
    assert denied.waited.ToNanoseconds() > 200_000_000 and denied.retry_after.ToNanoseconds() > 0
    assert waiting(cluster.leader(), name) == 0


def test_a_cancelled_call_frees_its_place(cluster, create):
    name = create(slots(1), max_waiters=1)
    leader, follower = cluster.leader(), cluster.followers()[0]
    held = hold(leader, name)
    first = park(follower, name)
    until_waiting(leader, name, 1)

    with pytest.raises(grpc.RpcError) as full:
        leader.permits.AcquirePermit(request(name), timeout=PATIENCE_S)
    assert full.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    info, retry, quota = details(full.value)
    assert info.reason == "QUEUE_FULL"
    assert retry.retry_delay.ToNanoseconds() > 0
    assert [violation.subject for violation in quota.violations] == [f"resource:{name}"]

    first.cancel()
    until_waiting(leader, name, 0)
    second = park(follower, name)
    until_waiting(leader, name, 1)
    release(leader, held)
    release(leader, granted(second).permit_id)


def test_the_urgent_go_first_and_others_in_their_order(cluster, create):
    name = create(slots(1))
    leader = cluster.leader()
    permit = hold(leader, name)
    calls = {}
    for count, (who, priority) in enumerate([("early", LOW), ("late", LOW), ("urgent", HIGH)], 1):
        calls[who] = park(leader, name, priority=priority)
        until_waiting(leader, name, count)
    for who in ("urgent", "early", "late"):
        release(leader, permit)
        permit = granted(calls.pop(who)).permit_id
        assert not any(call.done() for call in calls.values()), f"somebody overtook {who}"


def test_the_first_resource_that_comes_free_is_taken(cluster, create):
    busy, freed = create(slots(1)), create(slots(1))
    node = cluster.nodes[0]
    hold(node, busy)
    held = hold(node, freed)
    call = park(node, busy, alternatives=[permit_pb2.Alternative(resource=freed)])
    until_waiting(cluster.leader(), freed, 1)
    release(node, held)
    assert granted(call).resource == freed
    assert waiting(cluster.leader(), busy) == 0, "it does not wait there any more"


def test_those_who_wait_keep_their_turn_when_the_leader_is_killed():
    name = "python/turns"
    with Cluster() as cluster:
        leader = cluster.leader()
        resource = resource_pb2.Resource(name=name, limits=[slots(1, lease=600)])
        leader.resources.CreateResource(resource_pb2.CreateResourceRequest(resource=resource), timeout=30)
        held = hold(leader, name)
        followers = cluster.followers()
        calls = []
        for count, node in enumerate(followers, 1):
            calls.append(park(node, name, request_id=str(uuid.uuid4())))
            until_waiting(leader, name, count)
            # Places at the next leader go by how long each has waited, as far as messages take equally long.
            time.sleep(1)

        leader.kill()
        survivor = cluster.leader()
        until_waiting(survivor, name, 2)
        release(survivor, held)
        for index, call in enumerate(calls):
            permit = granted(call)
            assert not any(later.done() for later in calls[index + 1 :]), "a later one overtook"
            release(survivor, permit.permit_id)


def details(error):
    """The ErrorInfo, RetryInfo and QuotaFailure of a failed call."""
    kinds = (error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo, error_details_pb2.QuotaFailure)
    packed = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"]).details
    found = []
    for kind in kinds:
        message = kind()
        assert any(detail.Unpack(message) for detail in packed), f"no {kind.DESCRIPTOR.name} in {error}"
        found.append(message)
    return found
