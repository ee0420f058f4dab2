"""python -m tests.partition.paced_load MODEL HOST:PORT N: N clients that never pause."""

from __future__ import annotations

import sys
import threading

from partition.codec.codec import Codec
from partition.edge.client import CloudClient
from partition.errors import CloudError
from partition.model.folder import ModelFolder
from partition.model.runtime import random_inputs
from partition.transport.tls import ClientSecurity


def ask_on(folder, address, stop, loading):
    encoded = tuple(Codec().encode(x) for x in random_inputs(folder))
    with CloudClient(address, folder, security=ClientSecurity(insecure=True)) as client:
        while not stop.is_set():
            try:
                client.infer(folder.split_points[0], encoded, 30.0)
                loading.release()
            except CloudError:
                stop.wait(0.01)


if __name__ == "__main__":
    folder, stop = ModelFolder.open(sys.argv[1]), threading.Event()
    loading = threading.Semaphore(0)
    threads = [
        threading.Thread(target=ask_on, args=(folder, sys.argv[2], stop, loading))
        for _ in range(int(sys.argv[3]))
    ]
    for thread in threads:
        thread.start()
    for _ in threads:
        loading.acquire()
    print("loading", flush=True)
    sys.stdin.read()
    stop.set()
