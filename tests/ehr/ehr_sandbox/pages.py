# SPDX-License-Identifier: Apache-2.0
"""The pages a person sees. Plain forms, no JavaScript: a person or a script can fill them in."""

from flask import Response, render_template_string

_LAYOUT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{ title }} – Sandbox Hospital</title>
<style>
:root { --bg: #f3f5f8; --card: #fff; --ink: #1b2430; --soft: #5b6673; --line: #d5dbe3; --go: #0b5cad; --on-go: #fff; --bad: #a3191f; }
@media (prefers-color-scheme: dark) {
  :root { --bg: #12161c; --card: #1c222b; --ink: #e8ecf1; --soft: #a2adba; --line: #364050; --go: #7db8f5; --on-go: #0b1420; --bad: #ff9a9a; }
}
* { box-sizing: border-box; }
body { margin: 0; padding: 6vh 1rem; background: var(--bg); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 27rem; margin: auto; padding: 1.75rem; background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
header { color: var(--soft); font-size: .9rem; }
h1 { font-size: 1.35rem; line-height: 1.3; margin: .25rem 0 1rem; }
label { display: block; margin: .75rem 0; }
label.choice { display: flex; gap: .6rem; align-items: baseline; }
label.choice input { flex: none; }
input[type=text], input[type=password], select { width: 100%; padding: .55rem .7rem; margin-top: .2rem; font: inherit;
  color: inherit; background: var(--bg); border: 1px solid var(--line); border-radius: 8px; }
code { font-size: .85em; color: var(--soft); overflow-wrap: anywhere; }
fieldset { border: 1px solid var(--line); border-radius: 8px; margin: 1rem 0; padding: .25rem 1rem; }
.buttons { display: flex; gap: .75rem; margin-top: 1.25rem; }
button { flex: 1; padding: .65rem 1rem; font: inherit; font-weight: 600; border-radius: 8px; cursor: pointer;
  border: 1px solid var(--go); background: var(--go); color: var(--on-go); }
button.other { background: transparent; color: var(--go); }
:focus-visible { outline: 3px solid var(--go); outline-offset: 2px; }
.error { color: var(--bad); font-weight: 600; }
.hint { color: var(--soft); font-size: .9rem; }
</style>
</head>
<body><main><header>Sandbox Hospital (no real patients)</header>
<h1>{{ title }}</h1>
{% if error %}<p class="error" role="alert">{{ error }}</p>{% endif %}
%BODY%
</main></body></html>
"""

_LOGIN = """<form method="post" action="{{ action }}">
<input type="hidden" name="ticket" value="{{ ticket }}">
<label>User name <input type="text" name="username" autocomplete="username" autofocus required></label>
<label>Password <input type="password" name="password" autocomplete="current-password" required></label>
<div class="buttons"><button name="step" value="login">Sign in</button></div>
</form>
<p class="hint">{{ app }} asks to see a health record. Sandbox users are, for example,
<code>alice</code> with the password <code>alice-password</code>.</p>"""

_PATIENT = """<form method="post" action="{{ action }}">
<input type="hidden" name="ticket" value="{{ ticket }}">
<p>{{ user }}, you may give access to these records.</p>
<fieldset><legend>Record</legend>
{% for id, name in patients %}<label class="choice"><input type="radio" name="patient" value="{{ id }}"
 {% if loop.first %}checked{% endif %}> <span>{{ name }} <code>{{ id }}</code></span></label>
{% endfor %}</fieldset>
<div class="buttons"><button name="step" value="patient">Continue</button></div>
</form>"""

_CONSENT = """<form method="post" action="{{ action }}">
<input type="hidden" name="ticket" value="{{ ticket }}">
<p>The record is that of <strong>{{ patient }}</strong>. {{ app }} will be able to</p>
<fieldset><legend>What is asked for</legend>
{% for scope, text in scopes %}<label class="choice"><input type="checkbox" name="scope" value="{{ scope }}" checked>
<span>{{ text }}<br><code>{{ scope }}</code></span></label>
{% endfor %}</fieldset>
<label>How long the app keeps access <select name="access_period">
<option value="" selected>until I end it</option><option value="3600">one hour</option>
<option value="86400">one day</option><option value="604800">one week</option></select></label>
<div class="buttons"><button name="decision" value="allow">Allow</button>
<button class="other" name="decision" value="deny">Deny</button></div>
</form>"""

_MESSAGE = """<p>{{ message }}</p>"""


def _page(body: str, status: int = 200, **values) -> Response:
    # One template with autoescaping, so that nothing from a request reaches the page as markup.
    html = render_template_string(_LAYOUT.replace("%BODY%", body), **values)
    return Response(
        html,
        status=status,
        mimetype="text/html",
        headers={
            "Cache-Control": "no-store",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            # No form-action: browsers apply it to the redirect after the form too, which goes to the app.
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        },
    )


def login(action, ticket, app, error="") -> Response:
    return _page(_LOGIN, title="Sign in", action=action, ticket=ticket, app=app, error=error)


def choose_patient(action, ticket, user, patients) -> Response:
    return _page(_PATIENT, title="Whose record?", action=action, ticket=ticket, user=user, patients=patients)


def consent(action, ticket, app, patient, scopes) -> Response:
    return _page(_CONSENT, title=f"Allow {app}?", action=action, ticket=ticket, app=app, patient=patient, scopes=scopes)


def failure(message: str, status: int = 400) -> Response:
    """An error that must not be sent to the redirect URI, because that cannot be trusted."""
    return _page(_MESSAGE, status=status, title="This request cannot be served", message=message)
