"""A loopback server that speaks OpenAI's protocol, and misbehaves to order."""

import contextlib
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """Answers `reply(prompt)`; a fault before it: a status code, "slow", "half" or "prose", used up one by one."""

    def __init__(self, reply: Callable[[str], str]) -> None:
        self.reply = reply
        self.faults: list[int | str] = []
        self.requests: list[dict] = []
        self.headers: list[dict] = []
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # noqa: N802
                outer.handle(self)

            def log_message(self, *arguments) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        with self.lock:
            self.requests.append(body)
            self.headers.append(dict(request.headers))
            fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, int):
            request.send_response(fault)
            request.send_header("Retry-After", "0.01")
            request.end_headers()
            request.wfile.write(b'{"error": "no"}')
            return
        if fault == "slow":
            time.sleep(0.4)
        text = self.reply(body["messages"][0]["content"]) if fault != "prose" else "这段文字很难判断，因人而异。"
        answer = {"choices": [{"message": {"content": text}}], "usage": {"prompt_tokens": 100, "completion_tokens": 2}}
        data = json.dumps(answer).encode()
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        with contextlib.suppress(OSError):  # the client may have given up
            request.wfile.write(data[: len(data) // 2] if fault == "half" else data)
        if fault == "half":
            request.close_connection = True

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
