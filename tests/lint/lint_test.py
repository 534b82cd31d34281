#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plants violations in a small tree of its own and expects the lints to find each of them."""

import importlib.machinery
import importlib.util
import os
import pathlib
import re
import shutil
import tempfile
import unittest
import unittest.mock

import doc_lint
import layer_lint
import rules_lint
import source_lint
import unit_lint
import version_lint

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]

# A program, whose name has no ending.
_loader = importlib.machinery.SourceFileLoader("conformance", str(CHECKOUT / "scripts/conformance"))
conformance = importlib.util.module_from_spec(importlib.util.spec_from_loader(_loader.name, _loader))
_loader.exec_module(conformance)

HEAD = "// " + source_lint.LICENSE_LINE + "\n#pragma once\n"


class PlantedTree(unittest.TestCase):
    """A tree in a temporary folder, with one sound header in every layer."""

    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.root = pathlib.Path(holder.name)
        for folder in layer_lint.LAYERS:
            self.write(f"{folder}/sound.h", HEAD)

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


class LayerLint(PlantedTree):
    def include(self, path, include):
        self.write(path, HEAD + f"#include {include}\n")
        return layer_lint.check(self.root)

    def test_a_tree_without_violations_passes(self):
        self.include("daemon/token/user.cc", '"daemon/jose/sound.h"')
        self.include("hsm/tpm/user.cc", "<tss2/tss2_esys.h>")
        self.include("daemon/app/user.cc", '"hsm/tpm/sound.h"')
        self.include("clients/cpp/user.cc", '"smartkey/v1/token.grpc.pb.h"')
        self.include("daemon/oauth/other.cc", '"absl/strings/str_cat.h"')
        self.assertEqual(layer_lint.check(self.root), [])

    def test_each_layer_that_includes_a_higher_one_is_found(self):
        for lower, higher in (
                ("base", "hsm"), ("hsm", "daemon/model"), ("daemon/model", "daemon/jose"),
                ("daemon/jose", "daemon/oauth"), ("daemon/http", "daemon/oauth"),
                ("daemon/store", "daemon/access"), ("daemon/oauth", "daemon/token"),
                ("daemon/access", "daemon/token"), ("daemon/token", "daemon/enrollment"),
                ("daemon/enrollment", "daemon/rpc"), ("daemon/rpc", "daemon/app"),
                ("clients", "daemon/model"), ("hsm/tpm", "daemon/model"),
                ("daemon/http/curl", "daemon/oauth")):
            with self.subTest(lower=lower, higher=higher):
                path = f"{lower}/planted.cc"
                problems = self.include(path, f'"{higher}/sound.h"')
                self.assertEqual([p.split(":")[:2] for p in problems], [[path, "3"]])
                (self.root / path).unlink()

    def test_an_adapter_seen_by_more_than_the_app_is_found(self):
        for folder, adapter in (("hsm", "hsm/tpm"), ("daemon/http", "daemon/http/curl"),
                                ("daemon/token", "daemon/store/sqlite"),
                                ("hsm/pkcs11", "hsm/tpm")):
            with self.subTest(folder=folder):
                path = f"{folder}/planted.cc"
                self.assertEqual(len(self.include(path, f'"{adapter}/sound.h"')), 1)
                (self.root / path).unlink()

    def test_each_technology_outside_its_folder_is_found(self):
        for include in ("<tss2/tss2_esys.h>", "<p11-kit/pkcs11.h>", "<curl/curl.h>", "<sqlite3.h>",
                        "<grpcpp/server.h>", '"grpcpp/channel.h"', "<grpc/grpc.h>", "<boost/beast.hpp>",
                        '"smartkey/v1/token.grpc.pb.h"'):
            with self.subTest(include=include):
                self.assertEqual(len(self.include("daemon/token/planted.cc", include)), 1)

    def test_a_manager_that_knows_the_wire_is_found(self):
        self.assertEqual(len(self.include("daemon/token/planted.cc", '"smartkey/v1/token.pb.h"')), 1)

    def test_grpc_in_a_client_s_public_header_is_found(self):
        path = layer_lint.PUBLIC_HEADERS + "/planted.h"
        self.assertEqual(len(self.include(path, '"grpcpp/channel.h"')), 1)
        self.assertEqual(len(self.include(path, '"smartkey/v1/token.pb.h"')), 1)

    def test_a_folder_in_no_row_is_found(self):
        self.assertEqual(len(self.include("elsewhere/planted.cc", '"base/sound.h"')), 1)


class SourceLint(PlantedTree):
    def problems(self, path, text):
        self.write(path, text)
        found = source_lint.check(self.root)
        (self.root / path).unlink()
        return found

    def test_a_tree_without_violations_passes(self):
        self.assertEqual(source_lint.check(self.root), [])
        self.assertEqual(self.problems("scripts/run", "#!/bin/sh\n# " + source_lint.LICENSE_LINE), [])

    def test_a_missing_license_line_is_found(self):
        for path, text in (("a.cc", "int a;\n"), ("a.py", "#!/usr/bin/python3\nimport sys\n"),
                           ("a.sh", ""), ("CMakeLists.txt", "project(a)\n"),
                           ("scripts/run", "#!/bin/sh\nexit 0\n"), ("a.proto", 'syntax = "proto3";\n')):
            with self.subTest(path=path):
                self.assertEqual(len(self.problems(path, text)), 1)

    def test_a_header_without_pragma_once_is_found(self):
        self.assertEqual(len(self.problems("a.h", "// " + source_lint.LICENSE_LINE + "\n")), 1)

    def test_a_file_of_more_than_a_thousand_lines_is_found(self):
        self.assertEqual(self.problems("a.h", HEAD + "\n" * 998), [])
        self.assertEqual(len(self.problems("a.h", HEAD + "\n" * 999)), 1)

    def test_a_note_of_something_undone_is_found(self):
        for word in ("TO" "DO", "FIX" "ME", "X" "XX"):
            with self.subTest(word=word):
                self.assertEqual(len(self.problems("a.h", HEAD + f"// {word}: later\n")), 1)
                self.assertEqual(len(self.problems("a.md", f"# {word}\n")), 1)

    def test_a_test_that_is_switched_off_is_found(self):
        for line in ("TEST(Suite, DISABLED" "_Situation) {}", "GTEST" "_SKIP();"):
            with self.subTest(line=line):
                self.assertEqual(len(self.problems("a.h", HEAD + line + "\n")), 1)
        python = "# " + source_lint.LICENSE_LINE + "\n@unittest." "skip\n"
        self.assertEqual(len(self.problems("a.py", python)), 1)

    def test_a_lasting_change_of_the_tpm_outside_its_one_file_is_found(self):
        evict = HEAD + "rc = Esys_EvictControl(context);\n"
        self.assertEqual(self.problems("hsm/tpm/tpm_provisioning.cc", evict), [])
        self.assertEqual(self.problems("tests/hsm/tpm/tpm_fixture.h", evict), [])
        self.assertEqual(len(self.problems("hsm/tpm/tpm_parents.cc", evict)), 1)
        for call in ("Esys_EvictControl_Async", "Tss2_Sys_EvictControl", "Esys_NV_DefineSpace", "Esys_Clear",
                     "Esys_HierarchyChangeAuth", "Esys_DictionaryAttackLockReset"):
            with self.subTest(call=call):
                line = HEAD + f"rc = {call}(context);\n"
                self.assertEqual(len(self.problems("hsm/tpm/tpm_provisioning.cc", line)), 1)


    def test_a_state_changed_past_the_table_is_found(self):
        for change in ("generation->state = GenerationState::kActive;",
                       "one.state =\n    lost ? GenerationState::kKeyLost : GenerationState::kActive;"):
            with self.subTest(change=change):
                self.assertEqual(len(self.problems("daemon/token/planted.cc", HEAD + change + "\n")), 1)
                self.assertEqual(self.problems("tests/daemon/token/planted.cc", HEAD + change + "\n"), [])
        for look in ("if (one.state == GenerationState::kActive) return;",
                     "standing.state = registration.state();"):
            with self.subTest(look=look):
                self.assertEqual(self.problems("daemon/token/planted.cc", HEAD + look + "\n"), [])


class DocLint(PlantedTree):
    def test_documents_that_point_to_what_is_there_pass(self):
        self.write("tests/base/a_test.cc", "TEST(Cache, TwoMiss_OneFetches) {}\n")
        self.write("tests/e2e/test_job.py", "class Job(Base):\n    def test_ItWorks(self):\n        pass\n")
        self.write("docs/a.md", "`Cache.TwoMiss_OneFetches`, `Job.ItWorks`, [b](b.md#part), [w](https://example.org)\n")
        self.write("docs/b.md", "back to [a](a.md)\n")
        self.assertEqual(doc_lint.check(self.root), [])

    def test_a_named_test_that_is_gone_is_found(self):
        self.write("tests/base/a_test.cc", "TEST_F(Cache, Other) {}\n")
        self.write("docs/a.md", "\n| 1 | `Cache.TwoMiss_OneFetches` |\n")
        self.assertEqual([p.split(":")[:2] for p in doc_lint.check(self.root)], [["docs/a.md", "2"]])

    def test_a_link_that_leads_nowhere_is_found(self):
        self.write("docs/a.md", "[b](b.md)\n")
        self.assertEqual(len(doc_lint.check(self.root)), 1)

    def test_a_link_from_an_installed_document_to_one_that_is_not_is_found(self):
        self.write("debian/a.docs", "README.md\n")
        self.write("debian/a.install", "docs/*.md usr/share/doc/a/docs\nusr/bin/a\n")
        self.write("README.md", "[there](docs/b.md) [the folder](docs) [not there](src/c.md)\n")
        self.write("docs/b.md", "[back](../README.md#top)\n")
        self.write("src/c.md", "[nobody installs this](d.md)\n")
        self.write("src/d.md", "\n")
        self.assertEqual(doc_lint.check(self.root),
                         ["README.md:1: the link leads to what no package installs: src/c.md"])


class UnitLint(PlantedTree):
    """What is planted is planted into the units as they are."""

    def setUp(self):
        super().setUp()
        (self.root / "systemd").mkdir()
        for file in (CHECKOUT / "systemd").iterdir():
            shutil.copy(file, self.root / "systemd")

    def change(self, name, old, new):
        file = self.root / "systemd" / name
        text = file.read_text(encoding="utf-8")
        self.assertIn(old, text)
        file.write_text(text.replace(old, new, 1), encoding="utf-8")

    def problems(self, directive, unit="smartkeyd.service", section="[Service]"):
        self.change(unit, section, f"{section}\n{directive}")
        found = unit_lint.check(self.root)
        self.change(unit, f"{section}\n{directive}", section)
        return found

    def test_the_units_as_they_are_pass(self):
        self.assertEqual(unit_lint.check(self.root), [])

    def test_each_directive_that_must_stay_off_is_found(self):
        for directive in ("PrivateUsers=yes", "ProtectProc=invisible", "ProcSubset=pid", "PrivateNetwork=yes",
                          "PrivateDevices=yes", "DynamicUser=yes"):
            with self.subTest(directive=directive):
                name = directive.partition("=")[0]
                found = self.problems(directive)
                self.assertIn(f"smartkeyd.service: {name}= must stay off", found)
                # Nor does the table say that it is there.
                self.assertIn(f"smartkeyd.service: {name}= is there, and in systemd/README.md left out on purpose",
                              found)

    def test_a_directive_that_nobody_explains_is_found(self):
        for unit, section in (("smartkeyd.service", "[Service]"), ("smartkeyd.socket", "[Socket]"),
                              ("smartkey-notify.service", "[Service]")):
            with self.subTest(unit=unit):
                self.assertEqual(self.problems("Nice=5", unit, section),
                                 [f"{unit}: Nice= is not explained in systemd/README.md"])

    def test_an_explanation_of_what_is_not_there_is_found(self):
        self.change("smartkeyd.service", "CPUWeight=200\n", "")
        self.change("README.md", "| `UMask=0077` |", "| `Nice=5`, `UMask=0077` |")
        self.assertEqual(unit_lint.check(self.root), [
            f"smartkeyd.service: {name}= is explained in systemd/README.md, and not there"
            for name in ("Nice", "CPUWeight")])

    def test_a_unit_that_is_more_open_than_it_may_be_is_found(self):
        self.change("smartkeyd.service", "RestrictNamespaces=yes", "RestrictNamespaces=no")
        (found,) = unit_lint.check(self.root)
        self.assertRegex(found, r"systemd-analyze security says \d+\.\d, more than 1\.5")

    def test_an_exposure_that_is_not_told_is_found(self):
        programs = self.root / "programs"
        with unittest.mock.patch.dict(os.environ, {"PATH": str(programs)}):
            self.assertRegex("".join(unit_lint.check(self.root)), "there is no systemd-analyze")
            self.write("programs/systemd-analyze", "#!/bin/sh\necho all is well\n")
            (programs / "systemd-analyze").chmod(0o755)
            self.assertRegex("".join(unit_lint.check(self.root)), "tells no exposure: all is well")


class VersionLint(PlantedTree):
    def problems(self, built, packaged):
        self.write("CMakeLists.txt", f"project(smartkeyd VERSION {built} LANGUAGES CXX)\n")
        self.write("debian/changelog", f"smartkeyd ({packaged}) unstable; urgency=medium\n\nsmartkeyd (0.1.0) old\n")
        return version_lint.check(self.root)

    def test_one_version_passes(self):
        self.assertEqual(self.problems("0.2.0", "0.2.0"), [])
        self.assertEqual(self.problems("0.2.0", "0.2.0+deb12u1"), [])

    def test_each_other_version_is_found(self):
        for packaged in ("0.1.0", "0.2.1", "0.2", "0.2.01", "1:0.2.0"):
            with self.subTest(packaged=packaged):
                self.assertEqual(self.problems("0.2.0", packaged),
                                 [f"debian/changelog:1: {packaged}, but CMakeLists.txt says 0.2.0"])


RULE = """
  - alert: NoHardware
    expr: sum(smartkeyd_hardware_ready) == 0 and rate(smartkeyd_wait_seconds_bucket{le="("}[5m]) > 0
    for: 5m
    labels:
      severity: critical
    annotations:
      summary: There is no hardware.
"""


class RulesLint(PlantedTree):
    def problems(self, *rules):
        self.write("docs/metrics.md", "| `smartkeyd_hardware_ready` | |\n| `smartkeyd_wait_seconds` | |\n")
        self.write(rules_lint.RULES, "groups:\n- name: smartkeyd\n  rules:" + "".join(rules))
        return rules_lint.check(self.root)

    def test_a_rule_without_violations_passes(self):
        self.assertEqual(self.problems(RULE), [])

    def test_each_violation_of_a_rule_is_found(self):
        for old, new, said in (
                ("    for:", "    fro:", "has 'fro', which no alert has"),
                ("summary:", "words:", "says nothing to who is woken"),
                ("severity: critical", "severity: bad", "has no severity"),
                ("for: 5m", "for: five minutes", "'five minutes' is no duration"),
                ("[5m])", "[5m]", "a bracket is missing"),
                ("[5m])", "[5m)]", "a bracket is missing"),
                ("sum(smartkeyd_hardware_ready)", "sum(smartkeyd_hardware_raedy)",
                 "asks for smartkeyd_hardware_raedy, which docs/metrics.md does not name"),
                (re.search("expr: (.*)", RULE).group(1), "vector(0)", "asks for no metric")):
            with self.subTest(said=said):
                self.assertIn(old, RULE)
                (found,) = self.problems(RULE.replace(old, new))
                self.assertIn(f"{rules_lint.RULES}: NoHardware", found)
                self.assertIn(said, found)

    def test_an_alert_that_is_there_twice_is_found(self):
        self.assertEqual(self.problems(RULE, RULE), [f"{rules_lint.RULES}: NoHardware is there twice"])


LOG = """
[       OK ] Cache.TwoMiss_OneFetches (0 ms)
[       OK ] Tpm/Contract.Signs/0 (12 ms)
[  FAILED  ] Token/Contract.Signs/0, where GetParam() = 4 (12 ms)
test_item_01_ItWorks (test_job.Job.test_item_01_ItWorks) ... ok
test_item_02_Parts (test_job.Job.test_item_02_Parts) ... 
  test_item_02_Parts (test_job.Job.test_item_02_Parts) [one] ... FAIL
test_item_02_Never (test_job.Job.test_item_02_Never) ... 
test_item_03_Prints (test_job.Job.test_item_03_Prints) ... something is said
ok
"""


class Conformance(PlantedTree):
    def plant(self, rows, tests):
        self.write("docs/conformance.md", "| | requirement | shown by | end to end | result |\n" + "".join(rows))
        self.write("tests/e2e/test_job.py",
                   "class Job(Base):\n" + "".join(f"    def test_{name}(self):\n        pass\n" for name in tests))

    def test_results_are_read_as_both_frameworks_print_them(self):
        self.assertEqual(conformance.results_of(LOG), {
            ("Cache", "TwoMiss_OneFetches"): True, ("Contract", "Signs"): False, ("Job", "item_01_ItWorks"): True,
            ("Job", "item_02_Parts"): False, ("Job", "item_03_Prints"): True})

    def test_both_columns_are_written_and_the_others_kept(self):
        self.plant(["| 1 | found | `Cache.TwoMiss_OneFetches`. *Not yet*: more | | |\n", "| 2 | bad | | old | old |\n",
                    "| 3 | parts | `Contract.Gone` |\n", "| 4 | none | *planned* | | |\n"],
                   ["item_01_ItWorks", "item_02_Parts", "item_02_Never", "item_03_Prints"])
        text = (self.root / "docs/conformance.md").read_text(encoding="utf-8")
        tests = conformance.end_to_end_tests(self.root)
        written = conformance.rewritten(text, tests, conformance.results_of(LOG)).splitlines()[1:]
        self.assertEqual(written, [
            "| 1 | found | `Cache.TwoMiss_OneFetches`. *Not yet*: more | `Job.item_01_ItWorks` | passed (2) |",
            "| 2 | bad |  | `Job.item_02_Never`, `Job.item_02_Parts` | **failed**: `Job.item_02_Parts` |",
            "| 3 | parts | `Contract.Gone` | `Job.item_03_Prints` | 1 of 2 run, passed |",
            "| 4 | none | *planned* |  |  |"])
        self.assertEqual(conformance.rewritten("\n".join(written) + "\n", tests, None), "\n".join(written) + "\n")

    def test_a_required_item_without_a_test_and_a_stale_column_are_found(self):
        names = [f"item_{item:02}_A" for item in conformance.REQUIRED]
        rows = [f"| {item} | r | | `Job.item_{item:02}_A` | |\n" for item in conformance.REQUIRED]
        self.plant([row.replace("| | `", "|  | `").replace("| |\n", "|  |\n") for row in rows], names)
        self.assertEqual(conformance.problems_of(self.root), [])
        self.plant([row.replace("| | `", "|  | `").replace("| |\n", "|  |\n") for row in rows], names[1:])
        problems = conformance.problems_of(self.root)
        self.assertEqual(len(problems), 2, problems)
        self.assertIn(f"item {conformance.REQUIRED[0]} ", problems[0])


if __name__ == "__main__":
    unittest.main()
