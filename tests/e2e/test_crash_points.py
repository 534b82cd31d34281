# SPDX-License-Identifier: Apache-2.0
"""SIGKILL at every crash point of every story in crashing.py, and a start after it."""

import os
import unittest

from crashing import STORIES, CrashTest, all_crash_points

# Each name once in each story; with this set each passage of it (scripts/test --deep).
DEEP = bool(os.environ.get("SMARTKEY_DEEP"))


class CrashPoints(CrashTest):
    passed = set()

    def kill_everywhere(self, story):
        passages = self.told(story)
        self.passed.update(name for name, _ in passages)
        # Between these two there is a key that no record names.
        making, known = (passages.index(passage) if passage in passages else -1
                         for passage in (("hardware.key_generated", 1), ("enrollment.key_recorded", 1)))
        for position, passage in enumerate(passages):
            if passage[1] > 1 and not DEEP:
                continue
            with self.subTest(story.name, passage=passage):
                said = self.interrupt(story, passage)
                passed = [name for name, _ in passages[:position + 1]]
                self.check(story, said, passed, may_be_stray=making <= position < known)


def _add(story):
    def test(self):
        self.kill_everywhere(story())
    setattr(CrashPoints, f"test_KilledAtEachPointOf{story.__name__}_WhatWasToldIsSoAndNothingIsHalfMade", test)


for _story in STORIES:
    _add(_story)


def _test_all(self):
    """Named so that it runs after the others."""
    self.assertEqual(self.passed, all_crash_points())
    self.assertGreaterEqual(len(self.passed), 25)


CrashPoints.test_ZEveryCrashPointOfTheSource_IsInAStory = _test_all


if __name__ == "__main__":
    unittest.main()
