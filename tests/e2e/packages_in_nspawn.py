# SPDX-License-Identifier: Apache-2.0
"""The packages: what lintian says; each alone in a Debian 12 that has nothing yet, with what it depends on; and their
life in one with systemd as the first process: installed, upgraded from 0.1.0 and to a later version, downgraded,
removed and purged, as packaged.py tells. By scripts/test --deep, as root: it needs lintian, debootstrap, the network,
overlayfs and systemd-nspawn.

    /usr/bin/python3 -B tests/e2e/packages_in_nspawn.py [Packages.test_NAME]

SMARTKEY_PACKAGES, SMARTKEY_OLD: directories with packages, and with what 0.1.0 installs, that are there already.
SMARTKEY_DEBIAN_ROOT: a tree that debootstrap has made, to be copied."""

import glob
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from stack import ROOT

OLD_COMMIT, OLD = "f700e25", "0.1.0"
SUITE, MIRROR = "bookworm", "http://deb.debian.org/debian"
# Beside what the packages depend on, for their life: the sandbox EHR, a TPM, a system.
NEEDED = ("systemd-sysv", "dbus", "python3", "python3-authlib", "python3-flask", "swtpm", "libtss2-tcti-swtpm0")

# What shows that a package has all it needs where nothing else is, beside libraries that are found.
STARTS = {
    "smartkeyd": "smartkeyd --version && smartkeyd --check-config && ldconfig -p | grep libtss2-tcti-device.so.0",
    "smartkeyctl": "smartkeyctl --version && smartkey-notify --help",
    "libsmartkey1": "ldconfig -p | grep libsmartkey.so.1",
    "libsmartkey-dev": "cat /usr/include/smartkey.h /usr/lib/*/pkgconfig/smartkey.pc && "
                       "readlink -e /usr/lib/*/libsmartkey.so",
    "smartkey-sandbox": "useradd alice && runuser -u alice -- smartkey-sandbox run -- "
                        "sh -c 'smartkeyctl token \"$SMARTKEY_SANDBOX_REGISTRATION\"'",
}
# What one of its programs and libraries wants and does not find.
LIBRARIES = """dpkg -L {package} | grep -E '/s?bin/|[.]so' | while read -r file; do
  ldd "$file" 2>&1 | grep 'not found' | sed "s|^|$file:|"
done"""

UNIT = """
[Unit]
Description=the test
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
Environment=PYTHONUNBUFFERED=1
ExecStart=/usr/bin/python3 -B /checkout/tests/e2e/packaged.py /packages
StandardOutput=file:/result
StandardError=file:/result
TimeoutStartSec=1200
"""


def run(*args, **options):
    subprocess.run(args, check=True, **options)


def build(directory):
    """The packages of this tree."""
    ready = os.environ.get("SMARTKEY_PACKAGES")
    if ready:
        return sorted(glob.glob(f"{ready}/*.deb"))
    tree = f"{directory}/smartkeyd"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns("build", ".git", "__pycache__"))
    run("dpkg-buildpackage", "-us", "-uc", "-b", cwd=tree,
        env={**os.environ, "DEB_BUILD_OPTIONS": "nocheck", "DEB_BUILD_PROFILES": "nocheck"})
    return sorted(glob.glob(f"{directory}/*.deb"))


def build_old(directory):
    """The two programs of 0.1.0, and what was installed with them."""
    ready = os.environ.get("SMARTKEY_OLD")
    if ready:
        return ready
    tree, installed = f"{directory}/0.1.0", f"{directory}/installed"
    os.mkdir(tree)
    with subprocess.Popen(["git", "-C", ROOT, "archive", OLD_COMMIT], stdout=subprocess.PIPE) as archive:
        run("tar", "-x", "-C", tree, stdin=archive.stdout)
    run("cmake", "--preset", "release", "-DCMAKE_INSTALL_PREFIX=/usr", cwd=tree)
    # smartkey.protoset is installed as well, and needs no target of its own.
    run("cmake", "--build", "--preset", "release", "--target", "smartkeyd", "smartkeyctl",
        "proto/smartkey.protoset", cwd=tree)
    run("cmake", "--install", "build/release", cwd=tree, env={**os.environ, "DESTDIR": installed})
    return installed


def repack(package, version, target, change=lambda tree: None):
    """The same package with another version, and what `change` does to its files."""
    with tempfile.TemporaryDirectory() as tree:
        run("dpkg-deb", "-R", package, tree)
        with open(f"{tree}/DEBIAN/control", encoding="utf-8") as file:
            control = file.read()
        with open(f"{tree}/DEBIAN/control", "w", encoding="utf-8") as file:
            file.write(re.sub(r"(?m)^Version: .*$", f"Version: {version}", control))
        change(tree)
        os.unlink(f"{tree}/DEBIAN/md5sums")
        run("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "-b", tree, target, stdout=subprocess.DEVNULL)


def with_files_of(installed):
    """0.1.0 had no packages: its files in those of today."""
    def change(tree):
        for folder, _, names in os.walk(tree):
            for name in names:
                path = os.path.join(folder, name)
                place = os.path.relpath(path, tree)
                older = os.path.join(installed, place.replace("lib/systemd/system", "usr/lib/systemd/system"))
                if os.path.isfile(older):
                    shutil.copy(older, path)
                elif place.endswith("smartkeyd.toml"):
                    with open(path, "w", encoding="utf-8") as file:
                        file.write("# Nothing is set.\n")
                elif place.startswith("usr/") and "/doc/" not in place:
                    os.unlink(path)  # came later
    return change


def dependencies(packages):
    """The names of what they need, without each other."""
    names = set()
    for package in packages:
        fields = subprocess.run(["dpkg-deb", "-f", package, "Depends"], check=True, text=True,
                                stdout=subprocess.PIPE).stdout
        names.update(re.split(r"[\s(:|]", one.strip())[0] for one in fields.split(",") if one.strip())
    return sorted(name for name in names if not name.startswith(("smartkey", "libsmartkey")))


def libraries_of(programs):
    """The packages with what these load; those of 0.1.0 load more."""
    loaded = subprocess.run(["ldd", *programs], check=True, text=True, stdout=subprocess.PIPE).stdout
    paths = {os.path.realpath(path) for path in re.findall(r"=> (/\S+)", loaded)}
    # Those that dpkg knows by their other name, below /lib, are in every Debian.
    found = subprocess.run(["dpkg-query", "-S", *sorted(paths)], check=False, text=True, stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL).stdout
    return sorted({line.split(":")[0] for line in found.splitlines()})


def name_of(package):
    return os.path.basename(package).partition("_")[0]


def apt_get(root, *args):
    done = subprocess.run(["chroot", root, "apt-get", "-q", *args], check=False, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          # Without TMPDIR, for one: it names a directory of this machine.
                          env={"PATH": os.environ["PATH"], "DEBIAN_FRONTEND": "noninteractive"})
    if done.returncode != 0:
        raise AssertionError(f"apt-get {' '.join(args)}: {done.stdout}")


class Packages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="smartkey-packages-")
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.built = [p for p in build(cls.directory) if "-dbgsym_" not in p]
        # What debootstrap leaves: the least that is a Debian.
        cls.least = f"{cls.directory}/least"
        ready = os.environ.get("SMARTKEY_DEBIAN_ROOT")
        if ready:
            run("cp", "-a", ready, cls.least)
        else:
            run("debootstrap", "--variant=minbase", SUITE, cls.least, MIRROR)
        shutil.copy("/etc/resolv.conf", f"{cls.least}/etc/resolv.conf")
        apt_get(cls.least, "update")

    def test_LintianFindsNoError(self):
        self.assertEqual({name_of(package) for package in self.built}, set(STARTS))
        checked = subprocess.run(["lintian", "--allow-root", "--fail-on", "error", *self.built], check=False, text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        print(checked.stdout or "lintian has nothing to say")
        self.assertEqual(checked.returncode, 0, checked.stdout)

    def test_InTheInstalledDocumentation_EachLinkLeadsSomewhere(self):
        for package in self.built:
            tree = f"{self.directory}/{name_of(package)}"
            run("dpkg-deb", "-x", package, tree)
            for document in glob.glob(f"{tree}/usr/share/doc/**/*.md", recursive=True):
                with open(document, encoding="utf-8") as file:
                    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)", file.read())
                for link in links:
                    if "://" not in link and not link.startswith("mailto:"):
                        self.assertTrue(os.path.exists(f"{os.path.dirname(document)}/{link}"), f"{document}: {link}")

    def test_WithWhatItDependsOnAndNothingElse_EachStarts(self):
        for package, command in STARTS.items():
            with self.subTest(package=package), tempfile.TemporaryDirectory(dir=self.directory) as place:
                root, upper, work, archive = (f"{place}/{name}" for name in ("root", "upper", "work", "upper/archive"))
                for path in (root, work, archive):
                    os.makedirs(path)
                for file in self.built:
                    shutil.copy(file, archive)
                # apt is to find what they depend on among each other as well.
                with open(f"{archive}/Packages", "wb") as index:
                    run("dpkg-scanpackages", ".", cwd=archive, stdout=index, stderr=subprocess.DEVNULL)
                os.makedirs(f"{upper}/etc/apt/sources.list.d")
                with open(f"{upper}/etc/apt/sources.list.d/archive.list", "w", encoding="ascii") as file:
                    file.write("deb [trusted=yes] file:/archive ./\n")
                run("mount", "-t", "overlay", "overlay", root, "-o",
                    f"lowerdir={self.least},upperdir={upper},workdir={work}")
                try:
                    self.install_and_start(root, package, command)
                finally:
                    run("umount", root)

    def install_and_start(self, root, package, command):
        apt_get(root, "update")
        apt_get(root, "install", "-y", "--no-install-recommends", package)
        self.assertEqual(self.said_in(root, LIBRARIES.format(package=package)), "")
        self.assertNotEqual(self.said_in(root, command), "")
        print(f"ok  {package} has what it needs")

    def said_in(self, root, script):
        """There is /proc and /dev, and no network but loopback."""
        ran = subprocess.run(
            ["systemd-nspawn", "--quiet", "-D", root, "--register=no", "--keep-unit", "--private-network",
             "--system-call-filter=@memlock", "--console=pipe", f"--machine=smartkey-{os.getpid()}", "--",
             "sh", "-c", f"exec 2>&1\n{script}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=120,
            text=True)
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        return ran.stdout

    def test_InAFreshDebian_TheyLiveTheirLife(self):
        root = f"{self.directory}/root"
        packages = [p for p in self.built if name_of(p) in ("smartkeyd", "smartkeyctl")]
        installed = build_old(self.directory)
        old_programs = [f"{installed}/usr/sbin/smartkeyd", f"{installed}/usr/bin/smartkeyctl"]
        run("cp", "-a", self.least, root)
        apt_get(root, "install", "-y", "--no-install-recommends", *NEEDED, *dependencies(self.built),
                *libraries_of(old_programs))
        version = subprocess.run(["dpkg-deb", "-f", packages[0], "Version"], check=True, text=True,
                                 stdout=subprocess.PIPE).stdout.strip()
        for folder in ("old", "new", "next", "beside"):
            os.makedirs(f"{root}/packages/{folder}")
        for package in set(self.built) - set(packages):
            shutil.copy(package, f"{root}/packages/beside")
        for package in packages:
            name = os.path.basename(package)
            shutil.copy(package, f"{root}/packages/new/{name}")
            repack(package, f"{version}+next", f"{root}/packages/next/{name}")
            repack(package, OLD, f"{root}/packages/old/{name}", with_files_of(installed))
        for folder in ("tests/e2e", "tests/ehr"):
            shutil.copytree(f"{ROOT}/{folder}", f"{root}/checkout/{folder}")
        units = f"{root}/etc/systemd/system"
        with open(f"{units}/smartkey-test.service", "w", encoding="utf-8") as file:
            file.write(UNIT)
        with open(f"{units}/smartkey-test.target", "w", encoding="utf-8") as file:
            file.write("[Unit]\nRequires=basic.target\nWants=smartkey-test.service\nAfter=basic.target\n"
                       "AllowIsolate=yes\n")
        ended = subprocess.run(
            ["systemd-nspawn", "--quiet", "-D", root, "--boot", "--register=no", "--keep-unit", "--private-network",
             "--system-call-filter=@memlock",  # which a machine allows anyway
             "--console=pipe", f"--machine=smartkey-{os.getpid()}", "--", "--unit=smartkey-test.target"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=1500, check=False)
        said = ended.stdout.decode(errors="replace")[-4000:]
        self.assertTrue(os.path.exists(f"{root}/result"), said)
        with open(f"{root}/result", encoding="utf-8") as file:
            result = file.read()
        print(result)
        self.assertRegex(result, r"\nOK \d+ s\n$", f"{result}\n{said}")


if __name__ == "__main__":
    unittest.main()
