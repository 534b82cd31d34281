#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Fills in the sandbox's login, patient and consent pages, as a person at a browser would.

    login.py URL [--user alice] [--patient pat-1] [--deny] [--follow]

Prints the redirect that the server ends with, or with --follow delivers it to the app's loopback
listener and prints the title of the page that it answers with. Needs only the standard library.
"""

import argparse
import http.cookiejar
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
from html.parser import HTMLParser

SANDBOX_PASSWORDS = {"alice": "alice-password", "bob": "bob-password"}


class LoginFailed(Exception):
    """The server did not come to a decision; the message says what its page said."""


class _Page(HTMLParser):
    """One page: its title, its text, and its first form with the values a browser would send."""

    def __init__(self, html: str):
        super().__init__()
        self.title, self.alert, self.text = "", "", ""
        self.action, self.fields, self.buttons = None, [], []
        self._inside = None
        self._select, self._in_style = None, False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        name, value = attrs.get("name"), attrs.get("value", "")
        if tag == "title":
            self._inside = "title"
        elif tag == "style":
            self._in_style = True
        elif attrs.get("role") == "alert":
            self._inside = "alert"
        elif tag == "form" and self.action is None:
            self.action = attrs.get("action", "")
        elif tag == "input" and name:
            if attrs.get("type") not in ("radio", "checkbox") or "checked" in attrs:
                self.fields.append((name, value))
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select and "selected" in attrs:
            self.fields.append((self._select, value))
        elif tag == "button" and name:
            self.buttons.append((name, value))

    def handle_endtag(self, tag):
        if tag in ("title", "p"):
            self._inside = None
        elif tag == "select":
            self._select = None
        elif tag == "style":
            self._in_style = False

    def handle_data(self, data):
        if self._inside:
            setattr(self, self._inside, getattr(self, self._inside) + data)
        if not self._in_style:
            self.text += data


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None


class Browser:
    """Keeps cookies, follows no redirect by itself, and ignores the environment's proxies."""

    def __init__(self, ca_file=None):
        handlers = [
            _NoRedirect(),
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()),
        ]
        if ca_file:
            handlers.append(
                urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file))
            )
        self._opener = urllib.request.build_opener(*handlers)

    def open(self, url, fields=None):
        """Returns (status, redirect location or None, body)."""
        data = urllib.parse.urlencode(fields).encode() if fields is not None else None
        try:
            answer = self._opener.open(url, data=data, timeout=30)
        except urllib.error.HTTPError as error:
            answer = error
        except urllib.error.URLError as error:
            raise LoginFailed(f"cannot reach the server: {error.reason}") from error
        with answer:
            body = answer.read().decode("utf-8", "replace")
            location = (
                answer.headers.get("Location") if answer.code in (301, 302, 303, 307) else None
            )
            return answer.code, location, body


def _fill_in(page, user, password, patient, deny, without_scopes, access_period):
    """What a person enters on this page, as the list of fields that goes back."""
    known = {"username": user, "password": password, "patient": patient}
    if access_period is not None:
        known["access_period"] = str(access_period)
    fields = [(name, known.get(name, value)) for name, value in page.fields]
    fields = [
        (name, value) for name, value in fields if name != "scope" or value not in without_scopes
    ]
    if any(name == "decision" for name, _ in page.buttons):
        return fields + [("decision", "deny" if deny else "allow")]
    return fields + page.buttons[:1]


def log_in(
    url,
    user="alice",
    password=None,
    patient="pat-1",
    deny=False,
    without_scopes=(),
    access_period=None,
    browser=None,
):
    """From the authorization URL to the redirect that goes to the app. Raises LoginFailed."""
    browser = browser or Browser()
    if password is None:
        password = SANDBOX_PASSWORDS.get(user, "")
    status, location, body = browser.open(url)
    for _ in range(5):
        if location:
            return location
        page = _Page(body)
        if page.alert or page.action is None:
            said = page.alert or " ".join(page.text.split())
            raise LoginFailed(f"the server answered {status}: {said[:300]}")
        fields = _fill_in(page, user, password, patient, deny, without_scopes, access_period)
        url = urllib.parse.urljoin(url, page.action)
        status, location, body = browser.open(url, fields)
    raise LoginFailed("too many pages")


def deliver(redirect, browser=None):
    """Hands the redirect to the app's listener; returns the title of the page it shows."""
    browser = browser or Browser()
    status, location, body = browser.open(redirect)
    if location:  # to a page whose address has no code in it
        status, _, body = browser.open(urllib.parse.urljoin(redirect, location))
    page = _Page(body)
    if status >= 400:
        raise LoginFailed(f"the app's listener answered {status}: {page.title}")
    return page.title.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="the authorization URL")
    parser.add_argument("--user", default="alice")
    password = parser.add_mutually_exclusive_group()
    password.add_argument(
        "--password-file", metavar="F", help="default: the sandbox's password of that user"
    )
    password.add_argument("--password-stdin", action="store_true")
    parser.add_argument("--patient", default="pat-1", help="whose record to share (default pat-1)")
    parser.add_argument(
        "--access-period", type=int, metavar="SECONDS", help="how long the app keeps access"
    )
    parser.add_argument(
        "--without-scope", action="append", default=[], metavar="S", help="untick this scope"
    )
    parser.add_argument("--deny", action="store_true", help="press Deny")
    parser.add_argument(
        "--follow", action="store_true", help="deliver the redirect to the app's listener"
    )
    parser.add_argument(
        "--ca-file", metavar="F", help="trust the certificates in this PEM file, for https"
    )
    options = parser.parse_args()
    secret = None
    if options.password_file:
        with open(options.password_file, encoding="utf-8") as file:
            secret = file.read().rstrip("\n")
    elif options.password_stdin:
        secret = sys.stdin.read().rstrip("\n")
    browser = Browser(options.ca_file)
    try:
        redirect = log_in(
            options.url,
            options.user,
            secret,
            options.patient,
            options.deny,
            options.without_scope,
            options.access_period,
            browser,
        )
        print(deliver(redirect, browser) if options.follow else redirect)
    except LoginFailed as error:
        sys.exit(f"login.py: {error}")


if __name__ == "__main__":
    main()
