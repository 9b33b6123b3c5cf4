# SPDX-License-Identifier: GPL-2.0
"""What the tests on the bare machine share: a machine, its console, TAP."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TIMEOUT = 180


class Tap:
    """Numbers and counts the results."""

    def __init__(self):
        self.passed = self.failed = 0

    def result(self, good, what):
        if good:
            self.passed += 1
        else:
            self.failed += 1
        print(f"{'ok' if good else 'not ok'} {self.passed + self.failed} - {what}", flush=True)

    def equal(self, value, expected, what):
        self.result(value == expected,
                    what if value == expected else f"{what}: {value!r}, not {expected!r}")

    def comment(self, what):
        print(f"# {what}", flush=True)


class QmpError(Exception):
    pass


class Machine:
    """A QEMU process, its console and its QMP socket."""

    def __init__(self, qemu, *args):
        self.dir = tempfile.TemporaryDirectory()
        path = os.path.join(self.dir.name, "qmp")
        self.process = subprocess.Popen(
            [qemu, "-L", "/usr/share/qemu", "-M", "s390-ccw-virtio",
             "-display", "none", "-nodefaults", "-no-shutdown",
             "-serial", "stdio", "-qmp", f"unix:{path},server=on,wait=off", *args],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace")
        self.timer = threading.Timer(TIMEOUT, self.process.kill)
        self.timer.daemon = True
        self.timer.start()
        self.socket = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError:
                if self.process.poll() is not None:
                    raise QmpError("QEMU did not start") from None
                time.sleep(0.02)
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self.qmp("qmp_capabilities")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.timer.cancel()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.file.close()
        self.socket.close()
        self.dir.cleanup()

    def qmp(self, command, **args):
        self.file.write(json.dumps({"execute": command, "arguments": args}) + "\n")
        self.file.flush()
        while True:
            line = self.file.readline()
            if not line:
                raise QmpError("QEMU is gone")
            answer = json.loads(line)
            if "error" in answer:
                raise QmpError(answer["error"]["desc"])
            if "return" in answer:
                return answer["return"]

    def get(self, path, name):
        return self.qmp("qom-get", path=path, property=name)

    def set(self, path, name, value):
        self.qmp("qom-set", path=path, property=name, value=value)


def run_program(tap, machine, serve):
    """Follow the console until the program is done; serve() what it asks for."""
    for line in machine.process.stdout:
        line = line.strip()
        if line == "@done":
            return True
        if line.startswith("@"):
            serve(tap, machine, line[1:])
        elif line.startswith("ok - "):
            tap.result(True, line[5:])
        elif line.startswith("not ok - "):
            tap.result(False, line[9:])
        elif line.startswith("# "):
            tap.comment(line[2:])
        elif line:
            tap.comment(f"console: {line}")
    tap.result(False, "the program did not get to its end")
    return False


def build(directory, name):
    """Make the program of NAME.c; the path of it."""
    program = os.path.join(directory, name)
    compiler = os.environ.get("CROSS_COMPILE", "s390x-linux-gnu-") + "gcc"
    subprocess.run([compiler, "-m64", "-march=z10", "-O2", "-Wall", "-Wextra", "-Werror",
                    "-ffreestanding", "-fno-pic", "--param=min-pagesize=0",
                    "-fno-stack-protector", "-fno-strict-aliasing",
                    "-fno-asynchronous-unwind-tables", "-msoft-float", "-nostdlib", "-static",
                    "-Wl,--build-id=none,-z,noexecstack", "-I", directory,
                    "-T", os.path.join(HERE, "bare.ld"),
                    "-o", program, os.path.join(HERE, name + ".c")], check=True)
    return program


def main(usage, test):
    """Call test(tap, qemu, directory) and end with what came of it."""
    if len(sys.argv) != 2:
        sys.exit(usage)
    tap = Tap()
    with tempfile.TemporaryDirectory() as directory:
        test(tap, sys.argv[1], directory)
    print(f"1..{tap.passed + tap.failed}")
    print(f"{tap.passed} passed, {tap.failed} failed")
    sys.exit(tap.failed != 0)
