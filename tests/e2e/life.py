# SPDX-License-Identifier: Apache-2.0
"""What tests of a registration's life share: time that is not waited for, and changes of the configuration."""

import re
import subprocess

from stack import ALICE, SERVER, SERVICE
from story import StackTest

HOUR = 3600

# Run as the daemon's user, while it is stopped, so that the files stay its own.
SHIFT = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
back = int(sys.argv[2]) * 1000
for column in ("created_at", "registered_at", "first_token_at", "last_token_at", "first_refusal_at", "last_refusal_at",
               "ended_at"):
    db.execute(f"UPDATE generations SET {column} = {column} - ?", (back,))
db.commit()
db.close()
"""


def without_server(text):
    """A configuration without its servers."""
    return re.sub(r"\[\[server\]\].*?(?=\n\[|\Z)", "", text, flags=re.DOTALL)


class LifeTest(StackTest):
    def restart(self, edit=None):
        """Stops and starts smartkeyd, with what `edit` makes of its configuration."""
        self.stack.stop("smartkeyd")
        self.configure(edit)
        self.stack.start_daemon()

    def configure(self, edit=None):
        """Writes the configuration, with what `edit` makes of it."""
        self.stack.write_config(**self.config)
        if edit is not None:
            with open(self.stack.config, encoding="utf-8") as file:
                text = edit(file.read())
            with open(self.stack.config, "w", encoding="utf-8") as file:
                file.write(text)

    def let_time_pass(self, seconds):
        """As if everything had been so much earlier. What counts is in the record, so a restart keeps it."""
        self.stack.stop("smartkeyd")
        shift = self.stack.spawn(SERVICE, ["/usr/bin/python3", "-c", SHIFT, f"{self.stack.state}/smartkeyd.db",
                                           str(int(seconds))], stdin=subprocess.DEVNULL)
        self.assertEqual(shift.wait(60), 0)
        self.stack.start_daemon()

    def show(self, registration=SERVER, user=ALICE):
        result = self.stack.ctl(user, "--json", "show", registration)
        self.assertEqual(result.code, 0, str(result))
        return result.json()["registration"]

    def state(self, registration=SERVER):
        return self.show(registration)["state"]

    def ask(self, *args, registration=SERVER):
        """`smartkeyctl token`, whatever comes of it."""
        return self.stack.ctl(ALICE, "token", registration, *args)

    def client_id(self, registration=SERVER):
        return self.show(registration)["generation"]["client_id"]

    def jtis(self):
        return [line["jti"] for line in self.stack.token_requests()]

    def refuse_until_reauth(self, registration=SERVER):
        """Asks every five hours, as a day and a bit goes by; each time the server refuses."""
        for _ in range(5):
            self.assertEqual(self.state(registration), "SUSPECT")
            self.let_time_pass(5 * HOUR)
            self.assertNotEqual(self.ask(registration=registration).code, 0)
        self.assertEqual(self.state(registration), "REAUTH_REQUIRED")
