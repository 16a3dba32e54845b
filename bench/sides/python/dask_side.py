"""Dask: client.map of a no-op over processes of this machine, all results gathered. A round for each line on stdin: how many tasks."""
import json
import sys
import time

from distributed import Client, LocalCluster


def noop(value):
    return value


def main():
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1") as cluster:
        with Client(cluster) as client:
            client.submit(noop, 1).result(timeout=30)
            print(json.dumps({"ready": True}), flush=True)
            for line in sys.stdin:
                count = int(line)
                started = time.perf_counter()
                # pure=False: every call is a task, whatever was computed before.
                values = client.gather(client.map(noop, range(count), pure=False))
                seconds = time.perf_counter() - started
                print(json.dumps({"seconds": seconds, "right": values == list(range(count))}), flush=True)


if __name__ == "__main__":
    main()
