"""A web server for a folder that understands byte ranges, and remembers what it was asked for."""

from __future__ import annotations

import re
import threading
import time
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LATENCY = 0.01  # s a request: as in a network, requests that are sent together overlap


class RangeServer(ThreadingHTTPServer):
    """A server on a port of its own.

    Attributes
    ----------
    requests : (path, (start, stop) bytes) of each answer with a part of a chunk or shard
    most : requests at the same time
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Handler, folder))
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.requests: list[tuple[str, tuple[int, int]]] = []
        self.running = self.most = 0
        self.lock = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, folder: Path, *args: object) -> None:
        self.folder = folder
        super().__init__(*args)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        server = self.server
        with server.lock:
            server.running += 1
            server.most = max(server.most, server.running)
        time.sleep(LATENCY)
        self._answer(with_body=True)
        with server.lock:
            server.running -= 1

    def _answer(self, with_body: bool) -> None:
        path = self.folder / self.path.lstrip("/")
        if not path.is_file():
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = path.read_bytes()
        start, stop = 0, len(body)
        if asked := re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "")):
            first, last = asked.groups()
            start = int(first) if first else max(0, len(body) - int(last))
            stop = min(int(last) + 1, len(body)) if first and last else len(body)
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(body)}")
        self.end_headers()
        if with_body:
            if "/c/" in self.path:
                with self.server.lock:
                    self.server.requests.append((self.path, (start, stop)))
            self.wfile.write(body[start:stop])

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@contextmanager
def serve(folder: Path):
    """A running `RangeServer`."""
    with RangeServer(folder) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
