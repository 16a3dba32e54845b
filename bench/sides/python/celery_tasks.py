"""The task of the Celery side; its worker imports this."""
import os
from celery import Celery

url = os.environ["BENCH_REDIS"]
app = Celery("celery_tasks", broker=url, backend=url)
app.conf.update(
    # What Celery's guide on optimizing says about short tasks: many messages ahead, no limits, no events.
    worker_prefetch_multiplier=64,
    worker_send_task_events=False,
    task_ignore_result=False,
    task_serializer="json",
    result_expires=3600,
)


@app.task
def noop(value):
    return value
