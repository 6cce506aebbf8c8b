"""A report that follows a run: a server for this machine alone, which renders the page again whenever a file changes.

The address holds a random token, because every user of the machine can reach the port. The server answers only requests
that are addressed to it by its own name, so a page of another site cannot read the report under a name of that site. It
answers GET alone, and writes nothing.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from boat_core import BoatError

from .page import render
from .runs import FILES, RESULTS, absent_runs, find_runs, read_runs

HOST = "127.0.0.1"
#: Nothing keeps a copy of the page, shows it in a frame, or learns its address from a link.
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class LiveReport:
    """The page about runs as their files are now. It is rendered when it is asked for and a file has changed."""

    def __init__(self, places: Sequence[Path]) -> None:
        self._places = places
        self._lock = threading.Lock()
        self._rendered = ("", "")

    def state(self) -> str:
        """Return a digest of the sizes and times of all files that the page is made of."""
        digest = hashlib.sha256()
        files = [folder / name for folder in find_runs(self._places) for name in FILES]
        for path in [*files, *(place / RESULTS for place in self._places)]:
            status = path.stat() if path.is_file() else None
            digest.update(f"{path} {status and (status.st_size, status.st_mtime_ns)}\n".encode())
        return digest.hexdigest()

    def _render(self, state: str) -> str:
        return render(read_runs(find_runs(self._places)), absent_runs(self._places), live=state)

    def page(self) -> str:
        """Return the page. It names the state that it shows, or an earlier one if a file changed meanwhile."""
        with self._lock:
            state = self.state()
            if self._rendered[0] != state:
                self._rendered = (state, self._render(state))
            return self._rendered[1]


class LiveServer(ThreadingHTTPServer):
    """Serves one report on a free port of this machine, under an address that nobody can guess."""

    daemon_threads = True

    def __init__(self, places: Sequence[Path]) -> None:
        self.report = LiveReport(places)
        self.token = secrets.token_urlsafe(24)
        super().__init__((HOST, 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/{self.token}/"


class _Handler(BaseHTTPRequestHandler):
    server: LiveServer
    server_version, sys_version = "boat", ""
    #: Seconds after which a client that sends nothing is left.
    timeout = 10

    def do_GET(self) -> None:
        port, prefix = self.server.server_port, f"/{self.server.token}/"
        start, rest = self.path[: len(prefix)], self.path[len(prefix) :]
        if self.headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):
            self._answer(HTTPStatus.FORBIDDEN, "this address is not the server's own")
        elif not secrets.compare_digest(start.encode(), prefix.encode()) or rest not in ("", "state"):
            self._answer(HTTPStatus.NOT_FOUND, "no such page")
        elif rest:
            self._answer_with(self.server.report.state, "text/plain")
        else:
            self._answer_with(self.server.report.page, "text/html")

    def _answer_with(self, content: Callable[[], str], kind: str) -> None:
        try:
            text = content()
        except (BoatError, OSError) as error:  # a folder may be gone, or be replaced at this moment
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        else:
            self._answer(HTTPStatus.OK, text, kind)

    def _answer(self, status: HTTPStatus, text: str, kind: str = "text/plain") -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": f"{kind}; charset=utf-8", "Content-Length": len(body)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Print no line for each request."""
