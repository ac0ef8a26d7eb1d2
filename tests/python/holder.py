"""A client that may be killed at any moment: acquires a slot, believes to hold it, releases it or not.

Prints one line a belief: `hold INVOKED REPLIED LEASE SLOT GENERATION` when granted, `done GENERATION AT` before it
releases. Times are seconds of the machine's monotonic clock, which all processes share.
"""

import random
import sys
import time

import grpc
from tollgate.v1 import permit_pb2, permit_pb2_grpc

from conftest import seconds


def main(address, resource, seed):
    random.seed(seed)
    stub = permit_pb2_grpc.PermitServiceStub(grpc.insecure_channel(address))
    while True:
        lease = random.choice((0.3, 0.6, 1.0))
        invoked = time.monotonic()
        try:
            answer = stub.AcquirePermit(
                permit_pb2.AcquirePermitRequest(resource=resource, lease=seconds(lease), consumer=f"holder-{seed}"),
                timeout=5,
            )
        except grpc.RpcError:
            time.sleep(0.05)
            continue
        replied = time.monotonic()
        if answer.HasField("denied"):
            time.sleep(min(0.05, answer.denied.retry_after.ToNanoseconds() / 1e9))
            continue
        slot = answer.granted.slots[0]
        print("hold", invoked, replied, lease, slot.index, slot.generation, flush=True)
        # Some hold for longer than their lease, as a worker does that hangs: the slot goes to somebody else.
        time.sleep(random.uniform(0, 1.5 * lease))
        if random.random() < 0.7:
            print("done", slot.generation, time.monotonic(), flush=True)
            try:
                stub.ReleasePermit(
                    permit_pb2.ReleasePermitRequest(permit_id=answer.granted.permit_id), timeout=5
                )
            except grpc.RpcError:
                pass  # Expired before: allowed.


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
