"""A file server on this machine that misbehaves as real servers do."""

import contextlib
import hashlib
import http.server
import threading

PROXIES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")


class Site(http.server.BaseHTTPRequestHandler):
    """Serves the ``files`` of its server by their paths; ``behaviour`` says what goes wrong, or is
    the bytes of each reply.
    """

    def do_GET(self):
        self.server.asked.append(self.path)
        behaviour = self.server.behaviour
        if isinstance(behaviour, bytes):
            self.wfile.write(behaviour)
            return
        data = self.server.files.get(self.path)
        if behaviour == 404 or data is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")  # as the Hugging Face hub does
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", hashlib.sha256(data).hexdigest()[:40])
        self.end_headers()
        if behaviour == "stall":
            self.server.released.wait(30)
        elif behaviour == "corrupt":
            self.wfile.write(data[:100] + bytes([data[100] ^ 1]) + data[101:])
        elif self.command != "HEAD":
            self.wfile.write(data)

    do_HEAD = do_POST = do_GET

    def log_message(self, *_):
        """Silence."""


@contextlib.contextmanager
def site(files: dict[str, bytes], behaviour=None):
    """A server in this process; yields its address and the server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        server.daemon_threads = True
        server.files = files
        server.behaviour = behaviour
        server.asked = []
        server.released = threading.Event()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()
