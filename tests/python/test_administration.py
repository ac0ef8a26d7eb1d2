"""Resources, cluster, health and reflection by generated stubs."""

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tollgate.v1 import cluster_pb2, permit_pb2, resource_pb2

from conftest import daily, seconds, slots


def test_a_resource_from_creation_to_deletion(cluster, create):
    name = create(daily(10), description="from Python")
    a, b, c = cluster.nodes
    read = b.resources.GetResource(resource_pb2.GetResourceRequest(name=name), timeout=30)
    assert read.description == "from Python" and read.generation > 0

    with pytest.raises(grpc.RpcError) as exists:
        a.resources.CreateResource(
            resource_pb2.CreateResourceRequest(resource=resource_pb2.Resource(name=name, limits=[daily(1)])), timeout=30
        )
    assert exists.value.code() == grpc.StatusCode.ALREADY_EXISTS

    for _ in range(10):
        a.permits.AcquirePermit(permit_pb2.AcquirePermitRequest(resource=name), timeout=30)
    mine, theirs = resource_pb2.Resource(), resource_pb2.Resource()
    mine.CopyFrom(read)
    theirs.CopyFrom(read)
    mine.limits[0].sliding_window.amount = 12
    updated = c.resources.UpdateResource(resource_pb2.UpdateResourceRequest(resource=mine), timeout=30)
    assert updated.generation > read.generation
    theirs.limits[0].sliding_window.amount = 1000
    with pytest.raises(grpc.RpcError) as stale:
        c.resources.UpdateResource(resource_pb2.UpdateResourceRequest(resource=theirs), timeout=30)
    assert stale.value.code() == grpc.StatusCode.ABORTED

    # The change did not refill: 10 are spent, 2 were added.
    decisions = [
        a.permits.AcquirePermit(permit_pb2.AcquirePermitRequest(resource=name), timeout=30).WhichOneof("decision")
        for _ in range(3)
    ]
    assert decisions == ["granted", "granted", "denied"]

    a.resources.DeleteResource(resource_pb2.DeleteResourceRequest(name=name), timeout=30)
    with pytest.raises(grpc.RpcError) as gone:
        b.resources.GetResource(resource_pb2.GetResourceRequest(name=name), timeout=30)
    assert gone.value.code() == grpc.StatusCode.NOT_FOUND


def test_lists_page_by_page(cluster, create):
    names = sorted(create(daily(1)) for _ in range(5))
    seen, token = [], ""
    while True:
        page = cluster.nodes[0].resources.ListResources(
            resource_pb2.ListResourcesRequest(page_size=2, page_token=token, prefix="python/"), timeout=30
        )
        seen += [r.name for r in page.resources]
        token = page.next_page_token
        if not token:
            break
    assert seen == sorted(seen) and set(names) <= set(seen)


@pytest.mark.parametrize(
    "limits, field",
    [
        ([], "limits"),
        ([daily(1), daily(2)], "limits[1].name"),
        ([daily(0)], "limits[0].sliding_window.amount"),
        ([resource_pb2.Limit(name="none")], "limits[0].kind"),
        ([resource_pb2.Limit(name="w", fixed_window=resource_pb2.FixedWindow(amount=1))], "limits[0].fixed_window.period"),
        (
            [
                resource_pb2.Limit(
                    name="w",
                    fixed_window=resource_pb2.FixedWindow(
                        amount=1, anchor=resource_pb2.ANCHOR_MIDNIGHT, time_zone="Mars/Olympus"
                    ),
                )
            ],
            "limits[0].fixed_window.time_zone",
        ),
        ([slots(0)], "limits[0].concurrency.slots"),
        ([resource_pb2.Limit(name="s", scope=99, sliding_window=daily(1).sliding_window)], "limits[0].scope"),
    ],
)
def test_malformed_limits_are_refused_by_field(cluster, limits, field):
    resource = resource_pb2.Resource(name="python/malformed", limits=limits)
    with pytest.raises(grpc.RpcError) as refused:
        cluster.nodes[0].resources.CreateResource(
            resource_pb2.CreateResourceRequest(resource=resource), timeout=30
        )
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert field in refused.value.details()
    with pytest.raises(grpc.RpcError) as none:
        cluster.nodes[0].resources.GetResource(resource_pb2.GetResourceRequest(name="python/malformed"), timeout=30)
    assert none.value.code() == grpc.StatusCode.NOT_FOUND


def test_the_cluster_shows_three_voters(cluster):
    for node in cluster.nodes:
        view = node.cluster.GetCluster(cluster_pb2.GetClusterRequest(), timeout=30)
        assert [m.id for m in view.members] == [1, 2, 3]
        assert {m.role for m in view.members} == {cluster_pb2.MEMBER_ROLE_VOTER}
        assert view.leader_id == cluster.leader().number


def test_leadership_moves_on_request(cluster):
    target = cluster.followers()[0]
    answer = cluster.nodes[0].cluster.TransferLeadership(
        cluster_pb2.TransferLeadershipRequest(to=target.number), timeout=30
    )
    assert answer.leader_id == target.number
    assert cluster.leader() is target


def test_health_and_reflection(cluster):
    for node in cluster.nodes:
        health = health_pb2_grpc.HealthStub(node.channel)
        for service in ("", "tollgate.v1.PermitService"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=30)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        services = ProtoReflectionDescriptorDatabase(node.channel).get_services()
        assert "tollgate.v1.PermitService" in services


def test_an_oversize_message_is_refused(cluster):
    node = cluster.nodes[0]
    # Over 64 KiB for one request; over 1 MiB the transport refuses it unread.
    for length, code in ((200_000, grpc.StatusCode.INVALID_ARGUMENT), (2_000_000, grpc.StatusCode.OUT_OF_RANGE)):
        with pytest.raises(grpc.RpcError) as refused:
            node.permits.AcquirePermit(permit_pb2.AcquirePermitRequest(resource="r" * length), timeout=30)
        assert refused.value.code() == code
    assert node.cluster.GetCluster(cluster_pb2.GetClusterRequest(), timeout=30).leader_id
