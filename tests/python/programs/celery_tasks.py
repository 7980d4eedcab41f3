"""Tasks of celery's, and a plain program that has many of them done at once: the first argument is the redis server's
port, which the worker has from its environment."""

import os
import sys
import threading

from celery import Celery, group

url = f"redis://127.0.0.1:{os.environ['REDIS_PORT']}"
app = Celery("tasks", broker=f"{url}/0", backend=f"{url}/1")
app.conf.broker_connection_retry_on_startup = False
app.conf.worker_prefetch_multiplier = 1
together = threading.Barrier(20)


@app.task
def wait_for_all(number: int) -> int:
    """Ends when as many as the worker has threads have begun."""
    together.wait(60)
    return number


if __name__ == "__main__":
    count = int(sys.argv[1])
    # In this program the module has another name.
    task = app.signature("celery_tasks.wait_for_all")
    numbers = group(task.clone((number,)) for number in range(count))().get(timeout=60)
    assert numbers == list(range(count))
    print(len(numbers), "tasks")
