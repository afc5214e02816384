"""A web server on 127.0.0.1 that serves bytes from memory, misbehaves on demand, and keeps a log."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Fault:
    """How one GET goes wrong: with an HTTP status, or a connection that ends or hangs after some bytes."""

    status: int | None = None
    cut_after: int | None = None
    hang_after: int | None = None


@dataclass
class Request:
    method: str
    path: str
    range: str | None


@dataclass
class Page:
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200


class FileServer(ThreadingHTTPServer):
    """`faults` are used up one for each GET; `ranges` off ignores Range headers; `pause` slows it down."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, Page] = {}
        self.faults: list[Fault] = []
        self.ranges = True
        self.pause = 0.0
        self.log: list[Request] = []
        self.hanging = threading.Event()
        self.closing = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are what the tests are about."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, path: str, body: bytes, **headers: str) -> str:
        """Serve `body`; headers are written with underscores. The address."""
        self.pages[path] = Page(body, {key.replace("_", "-"): value for key, value in headers.items()})
        return self.url + path

    def gets(self) -> list[Request]:
        return [request for request in self.log if request.method == "GET"]


@contextmanager
def serving() -> Iterator[FileServer]:
    """Run a server in a thread."""
    server = FileServer()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: FileServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer("HEAD", Fault())

    def do_GET(self) -> None:
        self._answer("GET", self.server.faults.pop(0) if self.server.faults else Fault())

    def _answer(self, method: str, fault: Fault) -> None:
        path, wanted = self.path.partition("?")[0], self.headers.get("Range")
        self.server.log.append(Request(method, path, wanted))
        page = self.server.pages.get(path, Page(b"", status=404))
        status, body, headers = fault.status or page.status, page.body, dict(page.headers)
        if status != 200:
            body = b""
        elif wanted is not None and self.server.ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            status = 206 if start < len(body) else 416
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            body = body[start:]
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if method == "GET":
            self._send(body, fault)

    def _send(self, body: bytes, fault: Fault) -> None:
        end = next((n for n in (fault.cut_after, fault.hang_after) if n is not None), len(body))
        piece = max(1, len(body) // 16)
        for start in range(0, end, piece):
            self.wfile.write(body[start : min(start + piece, end)])
            self.wfile.flush()
            time.sleep(self.server.pause)
        if fault.hang_after is not None:
            self.server.hanging.set()
            self.server.closing.wait(timeout=30)
        if end < len(body):
            self.close_connection = True
