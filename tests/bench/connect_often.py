#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Connects to a daemon again and again, each time for one call that is answered or refused.

Usage: connect_often.py SOCKET COUNT PAUSE      PAUSE: seconds after each
"""

import socket
import sys
import time


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def header(name, value):
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


HEADERS = b"".join(header(*one) for one in (
    (b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/smartkey.v1.ServerInfoService/GetServerInfo"),
    (b":authority", b"localhost"), (b"content-type", b"application/grpc"), (b"te", b"trailers")))
CALL = (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, HEADERS)
        + frame(0, 1, 1, b"\0\0\0\0\0"))


def main():
    path, count, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    for _ in range(count):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(path)
            connection.sendall(CALL)
            answer = b""
            while b"grpc-status" not in answer:
                part = connection.recv(65536)
                if not part:
                    break
                answer += part
        time.sleep(pause)


if __name__ == "__main__":
    main()
