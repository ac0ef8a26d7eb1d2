"""Permits by generated stubs: what the README promises to any language."""

import time
import uuid

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from tollgate.v1 import permit_pb2, resource_pb2

from conftest import daily, seconds, slots

acquire_request = permit_pb2.AcquirePermitRequest


def reason(error):
    """The ErrorInfo reason of a failed call."""
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    for detail in status_pb2.Status.FromString(details).details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            assert info.domain == "tollgate"
            return info.reason
    raise AssertionError(f"no ErrorInfo in {error}")


def acquire(node, **fields):
    return node.permits.AcquirePermit(acquire_request(**fields), timeout=30)


def test_any_node_grants_and_names_the_leader(cluster, create):
    name = create(daily(100))
    leader = cluster.leader()
    for node in cluster.nodes:
        answer, call = node.permits.AcquirePermit.with_call(acquire_request(resource=name), timeout=30)
        assert answer.WhichOneof("decision") == "granted"
        metadata = dict(call.initial_metadata()) | dict(call.trailing_metadata())
        assert metadata["tollgate-leader"] == leader.client
        assert metadata["tollgate-leader-id"] == str(leader.number)


def test_denied_with_the_limit_and_when_to_ask_again(cluster, create):
    name = create(daily(3), slots(10))
    for _ in range(3):
        assert acquire(cluster.nodes[0], resource=name).HasField("granted")
    denied = acquire(cluster.nodes[1], resource=name).denied
    assert denied.reason == permit_pb2.DENIAL_REASON_LIMIT_EXHAUSTED
    assert denied.limit == "daily"
    assert [(e.limit, e.available, e.requested) for e in denied.exhausted] == [("daily", 0, 1)]
    assert 86_000 < denied.retry_after.ToSeconds() < 88_000

    usage = cluster.nodes[2].resources.GetResourceUsage(resource_pb2.GetResourceUsageRequest(name=name), timeout=30)
    assert [len(limit.counters) and limit.counters[0].used for limit in usage.limits] == [3, 3]
    assert len(usage.held) == 3


def test_granted_again_after_retry_after(cluster, create):
    window = resource_pb2.SlidingWindow(amount=2, period=seconds(1), resolution=10)
    name = create(resource_pb2.Limit(name="second", sliding_window=window))
    node = cluster.nodes[0]
    assert all(acquire(node, resource=name).HasField("granted") for _ in range(2))
    denied = acquire(node, resource=name).denied
    assert 0 < denied.retry_after.ToNanoseconds() <= 2_000_000_000
    time.sleep(denied.retry_after.ToNanoseconds() / 1e9 + 0.05)
    assert acquire(node, resource=name).HasField("granted")


def test_renewed_and_released(cluster, create):
    name = create(slots(1))
    node = cluster.followers()[0]
    permit = acquire(node, resource=name, consumer="sync").granted
    assert permit.slots[0].limit == "concurrent" and permit.slots[0].index == 0
    assert acquire(node, resource=name).HasField("denied")

    renewed = node.permits.RenewPermit(
        permit_pb2.RenewPermitRequest(permit_id=permit.permit_id, lease=seconds(120)), timeout=30
    )
    assert renewed.lease.ToSeconds() == 120

    node.permits.ReleasePermit(permit_pb2.ReleasePermitRequest(permit_id=permit.permit_id), timeout=30)
    again = acquire(node, resource=name).granted
    assert again.slots[0].index == 0 and again.slots[0].generation > permit.slots[0].generation

    with pytest.raises(grpc.RpcError) as twice:
        node.permits.ReleasePermit(permit_pb2.ReleasePermitRequest(permit_id=permit.permit_id), timeout=30)
    assert twice.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert reason(twice.value) == "PERMIT_ENDED"


def test_an_expired_lease_frees_the_slot_and_never_revives(cluster, create):
    name = create(slots(1, lease=0.5, grace=0.1))
    node = cluster.nodes[0]
    zombie = acquire(node, resource=name).granted
    denied = acquire(node, resource=name).denied
    assert 0 < denied.retry_after.ToNanoseconds() <= 600_000_000
    time.sleep(denied.retry_after.ToNanoseconds() / 1e9 + 0.05)
    assert acquire(node, resource=name).HasField("granted")
    with pytest.raises(grpc.RpcError) as renewed:
        node.permits.RenewPermit(permit_pb2.RenewPermitRequest(permit_id=zombie.permit_id), timeout=30)
    assert renewed.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert reason(renewed.value) == "PERMIT_ENDED"


def test_same_request_id_same_permit(cluster, create):
    name = create(daily(10))
    request = dict(resource=name, request_id=str(uuid.uuid4()), cost=4)
    first = acquire(cluster.nodes[0], **request).granted
    again = acquire(cluster.nodes[1], attempt=2, **request).granted
    assert again.permit_id == first.permit_id and again.replayed and not first.replayed
    usage = cluster.nodes[2].resources.GetResourceUsage(resource_pb2.GetResourceUsageRequest(name=name), timeout=30)
    assert usage.limits[0].counters[0].used == 4

    with pytest.raises(grpc.RpcError) as other:
        acquire(cluster.nodes[2], attempt=3, **(request | dict(cost=5)))
    assert other.value.code() == grpc.StatusCode.ALREADY_EXISTS
    assert reason(other.value) == "REQUEST_ID_REUSED"


def test_batch_is_answered_in_order(cluster, create):
    name = create(daily(2))
    requests = [acquire_request(resource=r) for r in (name, "python/none", name, name)]
    answer = cluster.nodes[0].permits.AcquirePermits(permit_pb2.AcquirePermitsRequest(requests=requests), timeout=30)
    kinds = [r.response.WhichOneof("decision") or r.error.reason for r in answer.results]
    assert kinds == ["granted", "RESOURCE_NOT_FOUND", "granted", "denied"]

    too_many = permit_pb2.AcquirePermitsRequest(requests=[acquire_request(resource=name)] * 1001)
    with pytest.raises(grpc.RpcError) as refused:
        cluster.nodes[0].permits.AcquirePermits(too_many, timeout=30)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_stream_correlates_by_id(cluster, create):
    name = create(slots(2))

    def calls():
        yield permit_pb2.StreamPermitsRequest(
            calls=[
                permit_pb2.StreamCall(id=i, acquire=acquire_request(resource=name)) for i in (7, 8, 9)
            ]
        )
        permit_id = granted.pop()
        yield permit_pb2.StreamPermitsRequest(
            calls=[
                permit_pb2.StreamCall(id=10, renew=permit_pb2.RenewPermitRequest(permit_id=permit_id)),
            ]
        )
        yield permit_pb2.StreamPermitsRequest(
            calls=[
                permit_pb2.StreamCall(id=11, release=permit_pb2.ReleasePermitRequest(permit_id=permit_id)),
                permit_pb2.StreamCall(id=12, renew=permit_pb2.RenewPermitRequest(permit_id="nonsense")),
            ]
        )

    # The generator above runs on another thread; it waits here for the first permit.
    granted = WaitingList()
    answers = {}
    for message in cluster.followers()[0].permits.StreamPermits(calls(), timeout=30):
        for answer in message.answers:
            answers[answer.id] = answer
            if answer.acquired.HasField("granted"):
                granted.append(answer.acquired.granted.permit_id)
        if len(answers) == 6:
            break
    decisions = sorted(answers[i].acquired.WhichOneof("decision") for i in (7, 8, 9))
    assert decisions == ["denied", "granted", "granted"]
    assert answers[10].HasField("renewed")
    assert answers[11].HasField("released")
    assert answers[12].error.reason == "PERMIT_NOT_FOUND"


class WaitingList(list):
    """A list whose `pop` waits for something to pop."""

    def pop(self, *args):
        deadline = time.monotonic() + 30
        while not self and time.monotonic() < deadline:
            time.sleep(0.01)
        return super().pop(*args)


@pytest.mark.parametrize(
    "fields, field",
    [
        (dict(cost=0), "cost"),
        (dict(cost=101), "cost"),
        (dict(cost=2**64 - 1), "cost"),
        (dict(resource=""), "resource"),
        (dict(resource="UPPER"), "resource"),
        (dict(resource="x" * 201), "resource"),
        (dict(consumer="x" * 201), "consumer"),
        (dict(request_id="x" * 129), "request_id"),
        (dict(lease=seconds(86_401)), "lease"),
        (dict(priority=77), "priority"),
        (dict(amounts={"tokens": 1}), 'amounts["tokens"]'),
        (dict(key="nobody"), "key"),
    ],
)
def test_bad_input_names_the_field_and_changes_nothing(cluster, create, fields, field):
    name = create(daily(100), slots(10))
    with pytest.raises(grpc.RpcError) as refused:
        acquire(cluster.nodes[0], **(dict(resource=name) | fields))
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    details = dict(refused.value.trailing_metadata())["grpc-status-details-bin"]
    violations = []
    for detail in status_pb2.Status.FromString(details).details:
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            violations += [v.field for v in bad.field_violations]
    assert violations == [field]
    usage = cluster.nodes[0].resources.GetResourceUsage(resource_pb2.GetResourceUsageRequest(name=name), timeout=30)
    assert all(counter.used == 0 for limit in usage.limits for counter in limit.counters)


def test_unknown_permits_and_resources_are_not_found(cluster):
    with pytest.raises(grpc.RpcError) as refused:
        acquire(cluster.nodes[0], resource="python/none")
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND
    for permit_id in ("p0-ffffffffff", "nonsense"):
        with pytest.raises(grpc.RpcError) as refused:
            cluster.nodes[0].permits.ReleasePermit(permit_pb2.ReleasePermitRequest(permit_id=permit_id), timeout=30)
        assert refused.value.code() == grpc.StatusCode.NOT_FOUND
        assert reason(refused.value) == "PERMIT_NOT_FOUND"
