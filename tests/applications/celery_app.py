"""A Celery application whose broker and results are in the database that CELERY_URL names."""

import os
from typing import Any

from celery import Celery

from tests.applications import tasks


def make(url: str) -> Any:
    app = Celery("applications", broker=url, backend=url)
    app.conf.broker_connection_retry_on_startup = True
    app.task(tasks.double, name="double")
    app.task(tasks.fail, name="fail")
    return app


app = make(os.environ["CELERY_URL"]) if "CELERY_URL" in os.environ else None
