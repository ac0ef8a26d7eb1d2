"""Clients killed with `kill -9` while they hold slots: never more holders than slots, and no slot lost for ever."""

import pathlib
import random
import subprocess
import sys
import time

import grpc
from tollgate.v1 import permit_pb2, resource_pb2

from conftest import slots

SLOTS = 25  # As Salesforce's.
CLIENTS = 16
HELD_AT_LEAST = 400  # Beliefs to be seen before the test is content.
PATIENCE_S = 120


def test_crashed_clients_never_make_a_26th_holder(cluster, create, tmp_path):
    for count in (SLOTS, 5):
        crash_clients(cluster, create(slots(count, lease=1, grace=0.2)), count, tmp_path)


def crash_clients(cluster, resource, count, directory):
    holder = pathlib.Path(__file__).with_name("holder.py")
    outputs, running = [], []

    def spawn():
        number = len(outputs)
        output = directory / f"{count}-{number}.txt"
        outputs.append(output)
        node = cluster.nodes[number % 3]
        running.append(
            subprocess.Popen(
                [sys.executable, str(holder), node.client, resource, str(number)],
                stdout=open(output, "w"),
                stderr=subprocess.DEVNULL,
            )
        )

    random.seed(count)
    for _ in range(CLIENTS * 2 if count == SLOTS else CLIENTS):
        spawn()
    killed, most_held = 0, 0
    deadline = time.monotonic() + PATIENCE_S
    try:
        while len(beliefs(outputs)) < HELD_AT_LEAST or killed < 10:
            assert time.monotonic() < deadline, "too few grants"
            time.sleep(0.3)
            victim = running.pop(random.randrange(len(running)))
            victim.kill()
            victim.wait()
            killed += 1
            spawn()
            held = held_now(cluster, resource)
            indexes = [s.index for s in held]
            assert len(indexes) == len(set(indexes)), f"a slot has two holders: {held}"
            most_held = max(most_held, len(held))
    finally:
        for client in running:
            client.kill()
            client.wait()
    assert most_held <= count

    seen = beliefs(outputs)
    worst = most_at_once(seen)
    assert worst <= count, f"{worst} clients believed to hold one of {count} slots"
    generations = [g for *_, g in seen]
    assert len(generations) == len(set(generations))

    # All holders are dead: once lease and grace are over, every slot can be had again.
    while held_now(cluster, resource):
        assert time.monotonic() < deadline, "a crashed client keeps a slot"
        time.sleep(0.1)
        acquire_and_release(cluster, resource)
    granted = [acquire(cluster, resource) for _ in range(count)]
    assert all(a.HasField("granted") for a in granted)
    assert acquire(cluster, resource).HasField("denied")


def beliefs(outputs):
    """(from, until, slot, generation): from the reply to the end of the lease, counted from the invocation."""
    found = {}
    for output in outputs:
        for line in output.read_text().splitlines():
            kind, *rest = line.split()
            if kind == "hold" and len(rest) == 5:
                invoked, replied, lease, slot, generation = map(float, rest)
                found[generation] = [replied, invoked + lease, slot, generation]
            elif kind == "done" and len(rest) == 2 and float(rest[0]) in found:
                belief = found[float(rest[0])]
                belief[1] = min(belief[1], float(rest[1]))
    return [tuple(b) for b in found.values() if b[1] > b[0]]


def most_at_once(seen):
    """The most beliefs that overlap: ends sort before beginnings at the same instant."""
    edges = sorted([(begin, 1) for begin, *_ in seen] + [(end, -1) for _, end, *_ in seen])
    most = holding = 0
    for _, change in edges:
        holding += change
        most = max(most, holding)
    return most


def held_now(cluster, resource):
    request = resource_pb2.GetResourceUsageRequest(name=resource)
    return cluster.nodes[0].resources.GetResourceUsage(request, timeout=30).held


def acquire(cluster, resource):
    return cluster.nodes[1].permits.AcquirePermit(permit_pb2.AcquirePermitRequest(resource=resource), timeout=30)


def acquire_and_release(cluster, resource):
    answer = acquire(cluster, resource)
    if answer.HasField("granted"):
        request = permit_pb2.ReleasePermitRequest(permit_id=answer.granted.permit_id)
        try:
            cluster.nodes[2].permits.ReleasePermit(request, timeout=30)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
