# SPDX-License-Identifier: Apache-2.0
"""Somebody else's HTTP server on loopback, which keeps what it is asked: nobody should have asked it."""

import http.server
import socket
import threading


class Listener:
    """Answers every request with 200 and a page whose title is Elsewhere. `targets` and `headers` are in order."""

    def __init__(self, address="127.0.0.1", port=0):
        targets, headers = self.targets, self.headers = [], []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                targets.append(self.path)
                headers.append(dict(self.headers))
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"<title>Elsewhere</title>")

            do_POST = do_GET

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

        self._server = Server((address, port), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def free_port():
    """One that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
