"""A mail server of a few lines on this machine: what it was given, and how it is to misbehave."""

import base64
import datetime
import email
import ipaddress
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Mails:
    """What came in, and the answers to give."""

    port: int = 0
    mails: list[tuple[list[str], Message]] = field(default_factory=list)
    connections: int = 0
    logins: list[tuple[str, str]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    #: Answers to RCPT, one a connection, as long as there are any; then 250.
    to_recipients: list[str] = field(default_factory=list)
    offers_starttls: bool = True
    says_good_bye: bool = True
    came: threading.Event = field(default_factory=threading.Event)


def certificate(folder: Path) -> Path:
    """Key and certificate of 127.0.0.1 in one file, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "mail.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@contextmanager
def mail_server(pem: Path | None = None, *, tls_at_once: bool = False) -> Iterator[Mails]:
    """The server, as long as the context lasts; with `pem` it offers TLS."""
    given = Mails()
    context = None
    if pem is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                _talk(self.request, given, context, tls_at_once)
            except OSError:  # who asked went away: no fault of the server's
                return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        given.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield given
        server.shutdown()


def _talk(raw: Any, given: Mails, context: ssl.SSLContext | None, tls_at_once: bool) -> None:
    given.connections += 1
    to_recipients = given.to_recipients.pop(0) if given.to_recipients else "250 ok"
    encrypted = False
    if tls_at_once and context is not None:
        raw, encrypted = context.wrap_socket(raw, server_side=True), True
    stream = raw.makefile("rwb", buffering=0)

    def say(text: str) -> None:
        stream.write(text.encode() + b"\r\n")

    recipients: list[str] = []
    say("220 mail.example")
    while line := stream.readline().decode().strip():
        word = line.split(" ")[0].split(":")[0].upper()
        if word == "EHLO":
            offers = ["mail.example", "AUTH PLAIN"]
            offers += ["STARTTLS"] if context is not None and given.offers_starttls and not encrypted else []
            for place, offer in enumerate(offers):
                say(f"250{' ' if place == len(offers) - 1 else '-'}{offer}")
        elif word == "STARTTLS" and context is not None:
            say("220 go on")
            raw, encrypted = context.wrap_socket(raw, server_side=True), True
            stream = raw.makefile("rwb", buffering=0)
        elif word == "AUTH":
            _, user, password = base64.b64decode(line.split(" ")[-1]).decode().split("\0")
            given.logins.append((user, password))
            say("235 ok" if password == "right" else "535 no, anna@x.example")
        elif word == "RCPT":
            recipients.append(line.partition("<")[2].partition(">")[0])
            say(to_recipients)
        elif word == "DATA":
            say("354 go on")
            lines = []
            while (text := stream.readline()) not in (b".\r\n", b""):
                lines.append(text)
            given.mails.append((recipients, email.message_from_bytes(b"".join(lines))))
            given.encrypted.append(encrypted)
            say("250 taken")
            given.came.set()
        elif word == "QUIT":
            say("221 bye" if given.says_good_bye else "421 no")
            return
        else:
            say("250 ok")
