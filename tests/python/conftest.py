"""Fixtures: one cluster for the whole run, a fresh resource for each test."""

import itertools

import pytest
from google.protobuf.duration_pb2 import Duration
from tollgate.v1 import resource_pb2

from cluster import Cluster

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cluster():
    with Cluster() as running:
        yield running


@pytest.fixture
def create(cluster):
    """Creates a resource with the given limits and returns its name."""

    def create(*limits, **fields):
        name = f"python/r{next(_numbers)}"
        resource = resource_pb2.Resource(name=name, limits=limits, **fields)
        cluster.leader().resources.CreateResource(resource_pb2.CreateResourceRequest(resource=resource), timeout=30)
        return name

    return create


def seconds(value):
    """A duration of so many seconds."""
    duration = Duration()
    duration.FromNanoseconds(round(value * 1e9))
    return duration


def daily(amount, name="daily"):
    """An amount per 24 hours that no test outlives."""
    window = resource_pb2.SlidingWindow(amount=amount, period=seconds(86_400))
    return resource_pb2.Limit(name=name, sliding_window=window)


def slots(count, lease=30, grace=0.1, name="concurrent"):
    """Concurrency slots."""
    concurrency = resource_pb2.Concurrency(slots=count, lease_default=seconds(lease), grace=seconds(grace))
    return resource_pb2.Limit(name=name, concurrency=concurrency)
