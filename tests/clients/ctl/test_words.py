# SPDX-License-Identifier: Apache-2.0
"""That smartkeyctl's own help, its manual page and its completions speak of the same commands and options."""

import os
import re
import shutil
import subprocess
import unittest

PROGRAM = os.environ["SMARTKEYCTL"]
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


def said(*args):
    return subprocess.run(args, check=True, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout


def commands(*path):
    """Each command below as (path, its options), from the help."""
    text = said(PROGRAM, *path, "--help")
    yield path, set(re.findall(r"^ +(?:-\w,)?(--[a-z-]+)", text, re.MULTILINE)) - {"--help"}
    below = text.partition("\nSubcommands:\n")[2]
    for name in re.findall(r"^  ([a-z][a-z-]*) ", below, re.MULTILINE):
        yield from commands(*path, name)


def plain(path):
    """The text of a manual page, without its fonts and escapes."""
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        text = file.read().replace("\\-", "-")
    return re.sub(r'\\f.|["\\]', "", text)


def completed(*words):
    """What bash offers for the last of the words."""
    script = ('source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _smartkeyctl; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    with open("completion.bash", "w", encoding="utf-8") as file:
        file.write(said(PROGRAM, "completion", "bash"))
    environment = {**os.environ, "SMARTKEY_SOCKET": "/nonexistent-directory/smartkeyd.sock",
                   "PATH": f"{os.path.dirname(PROGRAM)}:{os.environ['PATH']}"}
    out = subprocess.run(["bash", "-c", script, "completion.bash", "smartkeyctl", *words], check=True, text=True,
                         env=environment, stdout=subprocess.PIPE).stdout
    return out.split()


class Words(unittest.TestCase):
    def test_EveryCommandAndOption_IsInTheManual(self):
        manual = plain("docs/man/smartkeyctl.1")
        for path, options in commands():
            for word in [*path, *options]:
                self.assertRegex(manual, rf"(?<![\w-]){re.escape(word)}(?![\w-])", f"{path} {word}")

    def test_EveryCommandAndOption_IsCompletedByBash(self):
        for path, options in commands():
            self.assertTrue(options <= set(completed(*path, "-")), f"{path}: {completed(*path, '-')}")
            if path:
                self.assertIn(path[-1], completed(*path[:-1], ""))

    def test_AValue_IsCompletedAsWhatItIs(self):
        self.assertEqual(completed("tok"), ["token"])
        self.assertEqual(completed("enroll", "mercy", "--context", "v"), ["varies"])
        self.assertEqual(completed("--json", "enroll", "--algorithm", "=", "RS"), ["RS256", "RS384"])
        self.assertIn("root", completed("chown", "mercy", "ro"))
        self.assertIn("root", completed("chown", "user", ":", "mercy", "ro"))  # as bash splits user:mercy
        self.assertEqual(completed("log-level", "de"), ["debug"])
        self.assertEqual(completed("tpm", "pro"), ["provision"])
        self.assertEqual(completed("show", ""), [])  # no daemon, no names, no complaint
        self.assertEqual(completed("completion", ""), ["bash", "zsh"])

    def test_ZshReadsItsScript(self):
        script = said(PROGRAM, "completion", "zsh")
        for path, _ in commands():
            self.assertTrue(not path or path[-1] in script, path)
        zsh = shutil.which("zsh")
        if zsh:
            with open("_smartkeyctl", "w", encoding="utf-8") as file:
                file.write(script)
            subprocess.run([zsh, "-n", "_smartkeyctl"], check=True)


if __name__ == "__main__":
    unittest.main()
