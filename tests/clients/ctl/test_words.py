# SPDX-License-Identifier: Apache-2.0
"""That smartkeyctl's own help, its manual page and its completions speak of the same commands and options."""

import os
import pty
import re
import shutil
import subprocess
import tempfile
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


# What the daemon would say, for a completion.
NAMES = """#!/bin/sh
case "$*" in
"completion --names registrations") echo mercy; echo mercy-2 ;;
"completion --names servers") echo sandbox ;;
"completion --names apps") echo org.example.viewer ;;
esac
"""

# Completes one line as the Tab key does, keeps what became of it, and ends.
ZSHRC = """autoload -Uz compinit
compinit -D -u
source "$ZDOTDIR/_smartkeyctl"
tell() {
  BUFFER=$LINE_TO_COMPLETE
  CURSOR=$#BUFFER
  zle complete-word
  print -r -- "$BUFFER" > "$ZDOTDIR/line"
  exit
}
zle -N zle-line-init tell
"""


def completed_by_zsh(line):
    """What zsh makes of the line. Nobody types: it completes before it reads anything."""
    with tempfile.TemporaryDirectory() as directory:
        for name, text in {"smartkeyctl": NAMES, ".zshrc": ZSHRC,
                           "_smartkeyctl": said(PROGRAM, "completion", "zsh")}.items():
            with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
                file.write(text)
        os.chmod(os.path.join(directory, "smartkeyctl"), 0o755)
        pid, terminal = pty.fork()
        if pid == 0:
            environment = {"ZDOTDIR": directory, "HOME": directory, "TERM": "dumb", "LINE_TO_COMPLETE": line,
                           "PATH": f"{directory}:/usr/bin:/bin"}
            os.execve(shutil.which("zsh"), ["zsh", "-d", "-i"], environment)
        shown = b""
        try:
            while chunk := os.read(terminal, 4096):
                shown += chunk
        except OSError:  # as Linux says that the other end is closed
            pass
        os.close(terminal)
        os.waitpid(pid, 0)
        try:
            with open(os.path.join(directory, "line"), encoding="utf-8") as file:
                return file.read().strip()
        except FileNotFoundError:
            return shown.decode(errors="replace")


class Words(unittest.TestCase):
    def test_EveryHelp_FitsATerminal(self):
        for path, _ in commands():
            for line in said(PROGRAM, *path, "--help").splitlines():
                self.assertLessEqual(len(line), 80, f"{path}: {line}")

    def test_NothingIsCompletedTwice(self):
        for path, _ in commands():
            words = completed(*path, "-")
            self.assertEqual(len(words), len(set(words)), f"{path}: {words}")

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
        self.assertEqual(completed("share", "--allow", "ma"), ["manage"])
        self.assertEqual(completed("share", "--allow", "token,d"), ["token,dpop"])

    def test_ZshReadsItsScript(self):
        script = said(PROGRAM, "completion", "zsh")
        for path, _ in commands():
            self.assertTrue(not path or path[-1] in script, path)
        zsh = shutil.which("zsh")
        if zsh:
            with open("_smartkeyctl", "w", encoding="utf-8") as file:
                file.write(script)
            subprocess.run([zsh, "-n", "_smartkeyctl"], check=True)

    def test_AName_IsCompletedByZsh(self):
        if not shutil.which("zsh"):
            return  # only scripts/install-deps --deep installs one
        for line, whole in {"tok": "token", "show mer": "show mercy", "enroll san": "enroll sandbox",
                            "enroll --app org": "enroll --app org.example.viewer",
                            "suspend --server s": "suspend --server sandbox", "log-level de": "log-level debug",
                            "share --allow man": "share --allow manage,"}.items():
            self.assertEqual(completed_by_zsh(f"smartkeyctl {line}"), f"smartkeyctl {whole}")


if __name__ == "__main__":
    unittest.main()
