# SPDX-License-Identifier: Apache-2.0
"""SIGKILL while a start puts in order what an earlier SIGKILL has left."""

import os
import signal
import unittest

from crashing import CrashTest, Deletion, Enrollment, OtherPatient, Renewal, wait_for

# A story and where it was killed first: each kind of half-made record there is.
LEFT_BEHIND = (
    (Enrollment, "enrollment.recorded"),
    (Enrollment, "enrollment.key_recorded"),
    (Enrollment, "enrollment.registering"),
    (Enrollment, "enrollment.client_recorded"),
    (Renewal, "enrollment.key_recorded"),
    (Renewal, "enrollment.registering"),
    (Renewal, "enrollment.active"),
    (OtherPatient, "renewal.context_changed"),
    (Deletion, "deletion.marked"),
)

# Each point that a start passes, for each of these (scripts/test --deep); else each point once.
DEEP = bool(os.environ.get("SMARTKEY_DEEP"))


class CrashRecovery(CrashTest):
    seen = set()

    def passages_of_the_start_after(self, story, name):
        self.interrupt(story, (name, 1), order_for_the_start="trace")
        self.come_to_rest()
        return self.stack.trace()

    def test_KilledAgainWhileItRecovers_TheStartAfterThatDoesIt(self):
        recovered = set()
        for make_story, name in LEFT_BEHIND:
            story = make_story()
            passages = [passed for passed, _ in self.told(story)]
            passed = passages[:passages.index(name) + 1]
            for point, nth in self.passages_of_the_start_after(story, name):
                recovered.add(point)
                if nth > 1 or (not DEEP and point in self.seen):
                    continue
                self.seen.add(point)
                with self.subTest(story.name, killed_at=name, then_at=point):
                    said = self.interrupt(story, (name, 1), order_for_the_start=f"kill {point} 1")
                    daemon = self.stack.processes["smartkeyd"]
                    wait_for(lambda d=daemon: d.poll() is not None, f"the crash point {point} of the recovery")
                    self.assertEqual(daemon.returncode, -signal.SIGKILL)
                    self.stack.order(None)
                    self.stack.processes.pop("smartkeyd")
                    self.stack.start_daemon()
                    self.check(story, said, passed)
        self.assertLessEqual({"abandonment.key_destroyed", "abandonment.record_removed", "orphan.key_destroyed",
                              "orphan.recorded", "enrollment.first_token", "enrollment.active",
                              "renewal.old_key_destroyed", "renewal.old_generation_removed",
                              "renewal.new_key_destroyed", "renewal.new_key_forgotten", "deletion.marked",
                              "deletion.tokens_revoked", "deletion.keys_destroyed", "deletion.record_removed"},
                             recovered)


if __name__ == "__main__":
    unittest.main()
