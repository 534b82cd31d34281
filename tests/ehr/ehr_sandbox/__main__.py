# SPDX-License-Identifier: Apache-2.0
"""The command line: listens, tells where, and serves until it is ended."""

import argparse
import json
import logging
import os
import signal
import ssl
import sys
import threading

from .app import create_app
from .config import Config
from .request_log import RequestLog
from .state import State, Urls
from .wire import Server


def parse_arguments(arguments=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="sandbox.py",
        description="A sandbox EHR: authorization server and FHIR server for tests, on loopback.",
    )
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes any free port")
    parser.add_argument(
        "--name",
        default="127.0.0.1",
        help="the host in the URLs it publishes (127.0.0.1 or localhost)",
    )
    parser.add_argument(
        "--ready-file", metavar="F", help="written, with the URLs as JSON, once it listens"
    )
    parser.add_argument(
        "--log-file", metavar="F", help="one JSON line is appended for each request"
    )
    parser.add_argument(
        "--config", metavar="F", help="JSON with apps, users, lifetimes (see README.md)"
    )
    parser.add_argument("--tls-cert", metavar="F", help="PEM certificate chain: serve https")
    parser.add_argument("--tls-key", metavar="F", help="PEM key of that certificate")
    parser.add_argument(
        "--until-stdin-closes",
        action="store_true",
        help="end when whoever started this is gone: standard input closes",
    )
    options = parser.parse_args(arguments)
    if bool(options.tls_cert) != bool(options.tls_key):
        parser.error("--tls-cert and --tls-key belong together")
    return options


def write_ready_file(path: str, urls: Urls) -> None:
    """By rename: whoever sees the file can read it whole."""
    ready = {name: value for name, value in vars(urls).items() if name != "origin"}
    ready["pid"] = os.getpid()
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(ready, file)
        file.write("\n")
    os.replace(path + ".new", path)


def end_with_stdin() -> None:
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


def main(arguments=None) -> None:
    options = parse_arguments(arguments)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    try:
        config = Config.load(options.config) if options.config else Config.default()
    except (OSError, TypeError, ValueError) as error:
        sys.exit(f"sandbox.py: {error}")
    tls = None
    if options.tls_cert:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(options.tls_cert, options.tls_key)
    server = Server("127.0.0.1", options.port, tls)
    urls = Urls(f"{'https' if tls else 'http'}://{options.name}:{server.port}")
    state = State(config, urls, RequestLog(options.log_file))
    # SIGTERM is the way tests end it, and no failure.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if options.until_stdin_closes:
        threading.Thread(target=end_with_stdin, daemon=True).start()
    app = create_app(state)
    if options.ready_file:
        write_ready_file(options.ready_file, urls)
    else:
        print(f"FHIR base {urls.fhir_base}\ncontrol   {urls.control}", flush=True)
    server.serve(app, state)


if __name__ == "__main__":
    main()
