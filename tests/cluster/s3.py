"""A local S3 server that counts requests, can be as slow as a network, and can fail for a while."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import boto3
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Where pyarrow looks for them first: the environment."""

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class S3Server:
    """Moto, wrapped to count and fail requests: a context manager.

    Attributes:
        requests: number of requests by method, without listings.
        pages: the listings that were requested.
        failing: the status that every request gets instead of an answer.
        fail_after: number of requests after which access is denied.
        delay: seconds that each request takes longer.
    """

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.pages: set[str] = set()
        self.failing: str | None = None
        self.fail_after: int | None = None
        self.delay = 0.0
        self._answer: Application = DomainDispatcherApplication(create_backend_app)

    def __enter__(self) -> S3Server:
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].reset()  # moto keeps buckets for the life of the process
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._start(0)
        return self

    def __exit__(self, *unused: object) -> None:
        self.stop()

    def _start(self, port: int) -> None:
        self._server = make_server("127.0.0.1", port, self._handle, threaded=True)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Close the port, as when the network is gone; what is stored stays."""
        self._server.shutdown()
        self._server.server_close()

    def start_again(self) -> None:
        """Open the same port."""
        self._start(self.port)

    def fail(self, how: str) -> None:
        """Answer with a status such as `503 Slow Down`, or be `stopped`, until `mend`."""
        if how == "stopped":
            self.stop()
        else:
            self.failing = how

    def mend(self) -> None:
        """Answer again."""
        if self.failing:
            self.failing = None
        else:
            self.start_again()

    def uri(self, path: str) -> str:
        """For `--results`."""
        return f"s3://{path}?endpoint_override=http://127.0.0.1:{self.port}"

    def make_bucket(self, name: str) -> None:
        """As `aws s3 mb` does."""
        self._client().create_bucket(Bucket=name)

    def put(self, bucket: str, keys: Iterable[str], content: bytes) -> None:
        """Store the same object many times, without asking over the network."""
        backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        for key in keys:
            backend.put_object(bucket, key, content)

    def get(self, bucket: str, key: str) -> bytes:
        """An object's content."""
        content: bytes = self._client().get_object(Bucket=bucket, Key=key)["Body"].read()
        return content

    def keys(self, bucket: str) -> list[str]:
        """Every object of a bucket."""
        pages = self._client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]

    def _client(self) -> Any:
        return boto3.client("s3", endpoint_url=f"http://127.0.0.1:{self.port}")

    def _handle(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        listing = environ["REQUEST_METHOD"] == "GET" and "list-type" in environ.get("QUERY_STRING", "")
        if listing:
            self.pages.add(environ["QUERY_STRING"])  # a client asks a slow server for the same page again
        else:
            self.requests[environ["REQUEST_METHOD"]] += 1
        time.sleep(self.delay)
        refused = self.fail_after is not None and self.requests.total() > self.fail_after
        status = "403 Forbidden" if refused else self.failing
        if status:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start(status, [("Content-Type", "application/xml"), ("Content-Length", "0")])
            return [b""]
        return self._answer(environ, start)
