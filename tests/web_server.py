"""A server on this machine for tests of `isthmus serve`, and what they ask it with."""

import http.client
import json
import threading
import time
from contextlib import contextmanager

from isthmus.serving import create_app, listening

TOKEN = "correct-horse-battery"


class Client:
    """Ask a server at a port; every answer is (status, headers, content)."""

    def __init__(self, port):
        self.port = port
        self.address = f"http://127.0.0.1:{port}"

    def ask(self, method, path, body=None, headers=None, **options):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            connection.request(method, path, body, headers or {}, **options)
            answer = connection.getresponse()
            content = answer.read()
            if answer.headers["content-type"] == "application/json":
                content = json.loads(content)
            return answer.status, answer.headers, content
        finally:
            connection.close()

    def get(self, path, **headers):
        """Return the status and the content."""
        status, _, content = self.ask("GET", path, headers=headers)
        return status, content

    def post(self, path, body, **headers):
        """Send JSON, or bytes as they are."""
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        status, _, content = self.ask(
            "POST", path, sent, {"Content-Type": "application/json", **headers}
        )
        return status, content


@contextmanager
def running(model, **options):
    """Serve a model file while the body runs."""
    import uvicorn

    app = create_app(model, **options)
    with listening("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            until(lambda: server.started)
            yield Client(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()


def until(done, seconds=300):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)
