# SPDX-License-Identifier: Apache-2.0
"""A hospital over https on one port, with whatever certificate a test gives it, and certificates to choose from."""

import contextlib
import datetime
import ipaddress
import json
import os
import socket
import ssl
import subprocess
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stack import EHR, wait_for

DAY = datetime.timedelta(days=1)


class Authority:
    """Somebody who vouches for servers. `file` is its certificate, for a ca_file."""

    def __init__(self, directory, name):
        self._directory, self._name = directory, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._sign(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None), DAY)
        self.file = self._write(f"{name}.pem", self._certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(self, subject, key, constraints, until, names=()):
        now = datetime.datetime.utcnow()
        builder = x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number(),
                                          now - 3 * DAY, now + until).add_extension(constraints, critical=True)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, name, data):
        path = os.path.join(self._directory, name)
        with open(path, "wb") as file:
            file.write(data)
        os.chmod(path, 0o644)
        return path

    def certify(self, name, host="127.0.0.1", until=DAY):
        """(certificate file, key file) of a server at that address or name."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            names = [x509.IPAddress(ipaddress.ip_address(host))]
        except ValueError:
            names = [x509.DNSName(host)]
        certificate = self._sign(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key,
                                 x509.BasicConstraints(ca=False, path_length=None), until, names)
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                    serialization.NoEncryption())
        return (self._write(f"{name}-cert.pem", certificate.public_bytes(serialization.Encoding.PEM)),
                self._write(f"{name}-key.pem", private))


class TlsHospital:
    """The sandbox with that certificate."""

    def __init__(self, stack, certificate, key, port=0):
        ready = os.path.join(stack.ehr_dir, "tls.json")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(ready)
        self._process = stack.spawn(
            EHR, ["/usr/bin/python3", "-B", os.path.join(stack.ehr_code, "sandbox.py"), "--port", str(port),
                  "--ready-file", ready, "--tls-cert", certificate, "--tls-key", key, "--until-stdin-closes"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: os.path.exists(ready), "the sandbox over https")
        with open(ready, encoding="utf-8") as file:
            self.ready = json.load(file)
        self.port = int(self.ready["fhir_base"].split(":")[2].split("/")[0])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait(30)


class OldTls:
    """A server at that port that knows TLS 1.1 and nothing newer. `handshakes` that have succeeded."""

    def __init__(self, certificate, key, port):
        self.handshakes = 0
        self.connections = 0
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.load_cert_chain(certificate, key)
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", port))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            with connection, contextlib.suppress(OSError):
                connection.settimeout(10)
                with self._context.wrap_socket(connection, server_side=True):
                    self.handshakes += 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()
