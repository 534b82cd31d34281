# SPDX-License-Identifier: Apache-2.0
"""The disk of a virtual machine: a Debian with its own kernel, and smartkeyd installed in it. As root, since its files
have owners."""

import glob
import os
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))

# What the system needs, then what the programs of the tree are linked with (a package says so itself).
SYSTEM = ("linux-image-amd64", "systemd-sysv", "udev", "dbus", "iproute2", "qemu-guest-agent", "python3", "tpm-udev")
LIBRARIES = ("libcurl4", "libp11-kit0", "libspdlog1.10", "libsqlite3-0", "libsystemd0", "libtomlplusplus3",
             "libtss2-esys-3.0.2-0", "libtss2-tctildr0", "libtss2-tcti-device0", "libprometheus-cpp-core1.0",
             "libcpp-httplib0.11")

# With these three the kernel finds its disk; the rest is loaded from there.
SMALL_INITRD = """mkdir -p "$1/etc/initramfs-tools/conf.d"
echo MODULES=list > "$1/etc/initramfs-tools/conf.d/small"
printf '%s\\n' ext4 virtio_pci virtio_blk > "$1/etc/initramfs-tools/modules"
"""

# The emulator's network reaches the host's loopback as 10.0.2.2.
NETWORK = """[Unit]
Requires=sys-subsystem-net-devices-eth0.device
After=sys-subsystem-net-devices-eth0.device
Before=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=ip address add 10.0.2.15/24 dev eth0
ExecStart=ip link set eth0 up
[Install]
WantedBy=multi-user.target
"""

# The hospital is elsewhere and outlives the machine's reboots; smartkeyd asks for https anywhere but on loopback.
HOSPITAL_SOCKET = """[Socket]
ListenStream=127.0.0.1:{port}
[Install]
WantedBy=sockets.target
"""
HOSPITAL_SERVICE = """[Unit]
Requires=network.service
After=network.service
[Service]
ExecStart=/usr/lib/systemd/systemd-socket-proxyd 10.0.2.2:{port}
"""


# An emulated processor on a busy host.
PATIENCE = """[Manager]
DefaultTimeoutStartSec=15min
DefaultDeviceTimeoutSec=15min
"""


def run(*args, **options):
    """Its output only when it fails."""
    ended = subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           errors="replace", check=False, **options)
    if ended.returncode != 0:
        raise RuntimeError(f"{args[0]} ended with {ended.returncode}:\n{ended.stdout[-4000:]}")


def write(root, path, text):
    path = f"{root}/{path}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def make_root(root, mirror, packages=None):
    """`packages`: a folder with smartkeyd's own packages; None: what the programs of the tree need."""
    hooks = [f"--essential-hook={SMALL_INITRD}"]
    if packages:
        wanted = [path for path in sorted(glob.glob(f"{os.path.abspath(packages)}/*.deb")) if "-dbgsym_" not in path]
        if not wanted:
            raise RuntimeError(f"no packages in {packages}")
        hooks += ['--customize-hook=mkdir "$1/packages"', f"--customize-hook=copy-in {' '.join(wanted)} /packages",
                  '--customize-hook=chroot "$1" sh -c "apt-get install -y /packages/*.deb"']
    include = SYSTEM if packages else SYSTEM + LIBRARIES
    run("mmdebstrap", "--variant=apt", f"--include={','.join(include)}", *hooks, "bookworm", root, mirror)


def furnish(root, installed, others, people, hospital_port, config):
    """`installed`: what `cmake --install` made, or None. `others`: further programs and scripts, into /usr/local/bin."""
    if installed:
        run("cp", "-r", "--no-preserve=ownership", f"{installed}/.", root)
    for path in others:
        shutil.copy(path, f"{root}/usr/local/bin")
    for person in people:
        run("chroot", root, "useradd", "--create-home", person)
    write(root, "etc/hostname", "smartkey\n")
    write(root, "etc/systemd/system.conf.d/patience.conf", PATIENCE)
    write(root, "etc/systemd/system/network.service", NETWORK)
    write(root, "etc/systemd/system/hospital.socket", HOSPITAL_SOCKET.format(port=hospital_port))
    write(root, "etc/systemd/system/hospital.service", HOSPITAL_SERVICE.format(port=hospital_port))
    write(root, "etc/smartkeyd/smartkeyd.toml", config)
    run("systemctl", f"--root={root}", "enable", "network.service", "hospital.socket", "smartkeyd.service")


def make_disk(root, directory):
    """The root as `directory`/disk, and beside it the kernel and initrd that the emulator starts."""
    for name in ("vmlinuz", "initrd"):
        shutil.copy(glob.glob(f"{root}/boot/{name}*")[0], f"{directory}/{name}")
    run("mkfs.ext4", "-q", "-d", root, f"{directory}/disk", "2G")
