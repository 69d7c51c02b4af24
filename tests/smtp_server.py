"""A mail server on loopback for tests: Debian's aiosmtpd with every way to secure it.

usage: smtp_server.py PORT OUT [--tls starttls|implicit --cert PEM --key PEM [--clients PEM]]
                      [--auth MECHANISM] [--refuse ADDRESS=CODE] [--later ADDRESS] [--grey N] [--answer CODE] [--hang]
Each message that it takes becomes one line of JSON in OUT. A line with "ready" says that it listens.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import ssl

from aiosmtpd.controller import UnthreadedController
from aiosmtpd.smtp import AuthResult, LoginPassword, MISSING

USER, PASSWORD = b"crew", b"hunter2"


class Handler:
    def __init__(self, options):
        self.options = options
        self.grey = options.grey
        self.later = options.later
        self.refused = dict(pair.split("=") for pair in options.refuse)

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address == self.later:
            self.later = None
            return "451 4.7.1 not now"
        if address in self.refused:
            return self.refused[address] + " not this one"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if self.options.hang:
            await asyncio.sleep(3600)
        if self.grey > 0:
            self.grey -= 1
            return "451 4.7.1 greylisted, come back"
        if self.options.answer:
            return self.options.answer + " not taken"
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "text": envelope.content.decode(),
            "hello": session.host_name,
            "encrypted": server.transport.get_extra_info("ssl_object") is not None,
            "login": getattr(session, "login", None),
        }
        with open(self.options.out, "a") as out:
            out.write(json.dumps(mail) + "\n")
        return "250 OK"

    async def auth_CRAM__MD5(self, server, args):
        challenge = b"<17.42@pitcrew.test>"
        answer = await server.challenge_auth(challenge)
        if answer is MISSING:
            return AuthResult(success=False)
        digest = hmac.new(PASSWORD, challenge, hashlib.md5).hexdigest().encode()
        if answer != USER + b" " + digest:
            return AuthResult(success=False, handled=False)
        server.session.login = "CRAM-MD5"
        return AuthResult(success=True)

    async def auth_PLAIN(self, server, args):
        blob = base64.b64decode(args[1]) if len(args) == 2 else await server.challenge_auth("")
        identity, user, password = blob.split(b"\0")
        if (user, password) != (USER, PASSWORD):
            return AuthResult(success=False, handled=False)
        server.session.login = "PLAIN " + identity.decode()
        return AuthResult(success=True)


def authenticate(server, session, envelope, mechanism, data):
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (USER, PASSWORD)
    if right:
        session.login = mechanism
    return AuthResult(success=right, handled=False)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("port", type=int)
    arguments.add_argument("out")
    arguments.add_argument("--tls", choices=["starttls", "implicit"])
    arguments.add_argument("--cert")
    arguments.add_argument("--key")
    arguments.add_argument("--clients")
    arguments.add_argument("--auth", choices=["PLAIN", "LOGIN", "CRAM-MD5"])
    arguments.add_argument("--refuse", action="append", default=[])
    arguments.add_argument("--later", help="not taken the first time")
    arguments.add_argument("--grey", type=int, default=0)
    arguments.add_argument("--answer")
    arguments.add_argument("--hang", action="store_true")
    options = arguments.parse_args()
    context = None
    if options.tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=options.clients)
        context.load_cert_chain(options.cert, options.key)
        if options.clients:
            context.verify_mode = ssl.CERT_REQUIRED
    others = {"PLAIN", "LOGIN", "CRAM-MD5"} - {options.auth}
    extra = {
        "server_hostname": "mail.pitcrew.test",
        "authenticator": authenticate,
        "auth_required": bool(options.auth),
        "auth_require_tls": False,
        "auth_exclude_mechanism": others,
    }
    if options.tls == "starttls":
        extra |= {"tls_context": context, "require_starttls": True}
    loop = asyncio.new_event_loop()
    implicit = context if options.tls == "implicit" else None
    server = UnthreadedController(
        Handler(options), "127.0.0.1", options.port, loop=loop, ssl_context=implicit, **extra
    )
    server.begin()
    print("ready", flush=True)
    loop.run_forever()


main()
