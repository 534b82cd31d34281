# SPDX-License-Identifier: Apache-2.0
"""The pages a person sees. Plain forms, no JavaScript: a person or a script can fill them in."""

from flask import Response, render_template

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    # No form-action: browsers apply it to the redirect after a form too, and that goes to the app.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
    ),
}


def _page(template: str, status: int = 200, **values) -> Response:
    # Flask escapes in templates called .html: nothing from a request becomes markup.
    html = render_template(template, **values)
    return Response(html, status=status, mimetype="text/html", headers=_HEADERS)


def login(error="", **values) -> Response:
    """`values`: action, ticket, app."""
    return _page("login.html", title="Sign in", error=error, **values)


def choose_patient(**values) -> Response:
    """`values`: action, ticket, user, patients as pairs of id and name."""
    return _page("patient.html", title="Whose record?", **values)


def consent(app, **values) -> Response:
    """`values`: action, ticket, patient, scopes as pairs of value and description."""
    return _page("consent.html", title=f"Allow {app}?", app=app, **values)


def failure(message: str, status: int = 400) -> Response:
    """An error that must not be sent to the redirect URI, because that cannot be trusted."""
    return _page(
        "failure.html", status=status, title="This request cannot be served", message=message
    )
