"""A file server on 127.0.0.1 that answers request by request as a test plans it."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class LoopbackServer:
    """What the server sends, and how often it was asked.

    Attributes:
        address: The address of its one file.
        body: The file's bytes.
        plan: An answer for each request, the last one for all that follow: "whole", "cut <bytes>", "stall", "html",
            "redirect <address>" or "status <number>".
        asked: Requests so far.
    """

    address: str
    body: bytes
    plan: list[str] = field(default_factory=lambda: ["whole"])
    asked: int = 0
    done: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serve_file(body: bytes, name: str) -> Iterator[LoopbackServer]:
    """Serve one file until the block ends."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            state.asked += 1
            kind, _, value = state.plan[min(state.asked, len(state.plan)) - 1].partition(" ")
            if kind == "status":
                self.send_error(int(value))
                return
            self.send_response(302 if kind == "redirect" else 200)
            if kind == "redirect":
                self.send_header("Location", value)
                self.end_headers()
                return
            self.send_header("Content-Type", "text/html" if kind == "html" else "application/octet-stream")
            self.send_header("Content-Length", str(len(state.body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(state.body[: int(value)] if kind == "cut" else b"" if kind == "stall" else state.body)
            if kind == "stall":
                state.done.wait(10)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        state = LoopbackServer(f"http://127.0.0.1:{listening.server_port}/{name}", body)
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield state
        state.done.set()
        listening.shutdown()
        thread.join()
