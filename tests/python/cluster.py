"""A real cluster of `tollgate server` processes on free loopback ports, for the tests."""

import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time

import grpc
from tollgate.v1 import cluster_pb2, cluster_pb2_grpc, permit_pb2_grpc, resource_pb2_grpc

PATIENCE_S = 60  # Upper bound of every wait; the machines that run this are shared and slow.


def free_ports(count):
    """Ports that nobody listens on, found by binding them all at once."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


class Node:
    """One node: its configuration, its process, stubs to call it."""

    def __init__(self, number, ports, directory):
        self.number = number
        self.client, self.peer, self.http = (f"127.0.0.1:{p}" for p in ports)
        self.directory = directory
        self.process = None
        self.channel = None

    def member(self):
        return f'{{ id = {self.number}, peer = "{self.peer}", client = "{self.client}", http = "{self.http}" }}'

    def write_config(self, members):
        path = self.directory / f"node-{self.number}.toml"
        path.write_text(
            f"""
[node]
id = {self.number}
data_dir = "{self.directory}/node-{self.number}"

[listen]
client = "{self.client}"
peer = "{self.peer}"
http = "{self.http}"

[cluster]
name = "python-check"
members = [{", ".join(m.member() for m in members)}]
"""
        )
        self.config = path

    def start(self):
        log = open(self.directory / f"node-{self.number}.log", "ab")
        self.process = subprocess.Popen(
            [os.environ["TOLLGATE"], "server", "--config", str(self.config)], stdout=log, stderr=log
        )
        if self.channel is None:
            self.connect()

    def connect(self):
        # Once: other threads use the channel while the node is down, and it finds the node again by itself.
        # A killed node must be found again quickly once it is back.
        options = [("grpc.max_reconnect_backoff_ms", 200), ("grpc.initial_reconnect_backoff_ms", 50)]
        self.channel = grpc.insecure_channel(self.client, options=options)
        self.permits = permit_pb2_grpc.PermitServiceStub(self.channel)
        self.resources = resource_pb2_grpc.ResourceServiceStub(self.channel)
        self.cluster = cluster_pb2_grpc.ClusterServiceStub(self.channel)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def alive(self):
        return self.process is not None and self.process.poll() is None


class Cluster:
    """Three nodes; a context manager that leaves no process behind."""

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="tollgate-python-"))
        ports = free_ports(9)
        self.nodes = [Node(i + 1, ports[3 * i : 3 * i + 3], self.directory) for i in range(3)]
        for node in self.nodes:
            node.write_config(self.nodes)

    def __enter__(self):
        for node in self.nodes:
            node.start()
        self.leader()
        return self

    def __exit__(self, *_):
        for node in self.nodes:
            if node.alive():
                node.kill()
            if node.channel is not None:
                node.channel.close()

    def leader(self):
        """The node that leads, once a node that is alive knows it."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for node in filter(Node.alive, self.nodes):
                try:
                    view = node.cluster.GetCluster(cluster_pb2.GetClusterRequest(), timeout=5)
                except grpc.RpcError:
                    continue
                leader = next((n for n in self.nodes if n.number == view.leader_id), None)
                if leader is not None and leader.alive():
                    return leader
            time.sleep(0.05)
        raise AssertionError(f"no leader within {PATIENCE_S} s; logs are in {self.directory}")

    def followers(self):
        leader = self.leader()
        return [n for n in self.nodes if n is not leader and n.alive()]


def until_answered(call):
    """Repeats a call until a leader answers it."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED), error
            assert time.monotonic() < deadline, f"not answered in {PATIENCE_S} s: {error}"
            time.sleep(0.05)
