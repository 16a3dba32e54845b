#!/usr/bin/env python3
"""Takes the results out of a plain Redis Hash as they come, and checks them: collector.py [SECONDS]"""
import json
import math
import os
import sys
import time

import redis

client = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"), decode_responses=True)
deadline = time.monotonic() + (float(sys.argv[1]) if len(sys.argv) > 1 else 60)
waiting = set(client.lrange("asked", 0, -1))
right, wrong, failed = 0, 0, 0

while waiting and time.monotonic() < deadline:
    numbers = list(waiting)
    results = client.hmget("result_hash", numbers)
    errors = client.hmget("result_hash:errors", numbers)
    for number, result, error in zip(numbers, results, errors):
        if result is not None:
            correct = math.prod(int(factor) for factor in result.split()) == int(number)
            right, wrong = right + correct, wrong + (not correct)
        elif error is not None:
            failed += 1
            print(f"{number}: {json.loads(error)['message']}", file=sys.stderr)
        else:
            continue
        waiting.discard(number)
        client.hdel("result_hash", number)
        client.lrem("asked", 0, number)
    if waiting:
        time.sleep(0.05)

print(f"{right} right, {wrong} wrong, {failed} failed, {len(waiting)} without an answer")
sys.exit(0 if right and not (wrong or failed or waiting) else 1)
