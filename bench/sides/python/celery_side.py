"""Celery: one group of no-op tasks, all results gathered in order. A round for each line on stdin: how many tasks."""
import json
import os
import subprocess
import sys
import time

from celery import group
from celery_tasks import app, noop

worker = subprocess.Popen(
    [sys.executable, "-m", "celery", "-A", "celery_tasks", "worker", "-c", "2", "-P", "prefork", "-l", "ERROR",
     "--without-gossip", "--without-mingle", "--without-heartbeat", "-O", "fair"],
    cwd=os.path.dirname(os.path.abspath(__file__)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL)
try:
    noop.delay(1).get(timeout=30)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        count = int(line)
        started = time.perf_counter()
        result = group(noop.s(value) for value in range(count)).apply_async()
        values = result.get(timeout=60)
        seconds = time.perf_counter() - started
        right = values == list(range(count))
        result.forget()
        print(json.dumps({"seconds": seconds, "right": right}), flush=True)
finally:
    worker.terminate()
    try:
        worker.wait(5)
    except subprocess.TimeoutExpired:
        worker.kill()
