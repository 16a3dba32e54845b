#!/usr/bin/env python3
"""Pushes numbers onto a plain Redis List, where Millrace workers take them: producer.py [COUNT]"""
import os
import random
import sys

import redis

client = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"))
count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
numbers = [str(random.randrange(10**11, 10**12)) for _ in range(count)]
# Who collects has to know what was asked for.
client.rpush("asked", *numbers)
client.lpush("task_queue", *numbers)
print(f"pushed {count} numbers onto task_queue")
