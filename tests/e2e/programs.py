# programs.py - types in real programs: how much, and whether gdb agrees. Not part of make check.
"""
PROGRAMS is the directory that contrib/programs.sh has built nginx, memcached and ninja in. python3 is the
system's, with Debian's python3-dbg, which has its debug information.
"""

import os
import random
import socket
import subprocess
import sys
import time

import debugger
import harness
import pyobjects
import real
import typenames
import typetruth
from harness import cases, check, test

SAMPLE = 30


class Built(real.Program):
    """A program of PROGRAMS. `least` is the share of bytes that must be typed by facts."""

    def binary(self):
        directory = os.environ.get("PROGRAMS")
        check(directory, "PROGRAMS is not set: where contrib/programs.sh has built them")
        return os.path.join(directory, type(self).__name__.lower())


class Nginx(Built):
    language, least = "c", 0.25  # most of its heap are pools

    def command(self):
        os.mkdir(self.path("logs"))
        conf = self.write("conf", "daemon off; master_process off; error_log stderr; pid pid;\n"
                          "events { worker_connections 64; }\nhttp { access_log off; server {\n"
                          "listen 127.0.0.1:%d; location / { root /etc; index passwd; } } }\n" % self.port)
        return [self.binary(), "-p", self.directory, "-c", conf]


class Memcached(Built):
    language, least = "c", 0.5

    def command(self):
        return [self.binary(), "-u", "root", "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-t", "4"]

    def wait_started(self):
        real.wait_port(self.port)
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            file = connection.makefile("rwb")
            for i in range(500):
                file.write(b"set key%d 0 0 5\r\nhello\r\n" % i)
                file.flush()
                check(file.readline() == b"STORED\r\n", "memcached does not store")


class Ninja(Built):
    """C++ with the containers of std: a graph of 2000 edges, and commands that take their time."""
    language, least = "c++", 0.5

    def prepare(self):
        rules = ["rule r", "  command = touch started; sleep 1000"]
        for i in range(2000):
            rules += ["build o%d: r i%d | h%d" % (i, i, i % 50), "  flag = x%d" % i]
        self.write("build.ninja", "\n".join(rules) + "\n")
        for name in ["i%d" % i for i in range(2000)] + ["h%d" % i for i in range(50)]:
            self.write(name, "")

    def command(self):
        return [self.binary(), "-j2"]

    def wait_started(self):
        deadline = time.monotonic() + 20
        while not os.path.exists(self.path("started")):
            check(time.monotonic() < deadline, "ninja starts nothing")
            time.sleep(0.05)


class Python:
    """In blocks of its own each object says its class, and its structure is known by python3-dbg."""
    language, least = "c", 0.9

    def __init__(self):
        self.target = pyobjects.start()
        self.pid, self.stop = self.target.pid, self.target.stop


def same_type(said, static):
    """Is the type of a block what gdb says that the pointer to it points to?"""
    return typenames.parse(said)[0] == typenames.canonical(static)


def agreement(program, answers):
    """Asks gdb for the chains of a sample: each expression's value must be the block's address."""
    pid, questions, blocks = program.pid, [], []
    typed = sorted(a for a, (_, by) in answers.items() if by in ("pointer", "container", "vtable"))
    for address in random.Random(1).sample(typed, min(SAMPLE, len(typed))):
        run = harness.memscope("path", "-j", "-n", 1, pid, hex(address), expect=(0, 4))
        for chain in run.json["path"]["chains"]:
            if chain["expression"]:
                root = chain["root"] or {}
                where = {"thread": root["thread"], "frame": root.get("frame") or 0} if root.get("thread") else {}
                questions.append(dict(where, evaluate=chain["expression"]))
                blocks.append((address, answers[address]))
    said = debugger.ask(pid, questions, ("-iex", "set language " + program.language))
    wrong = ["%#x, %s: %s; gdb: %s" % (address, what, question, answer)
             for (address, what), question, answer in zip(blocks, questions, said)
             if address not in (answer.get("pointer"), answer.get("number"))]
    alike = sum(same_type(what[0], answer.get("type", "")) for (_, what), answer in zip(blocks, said))
    print("# of %d typed blocks, %d have an expression; gdb gives that type to %d of these"
          % (min(SAMPLE, len(typed)), len(blocks), alike))
    check(len(blocks) >= min(SAMPLE, len(typed)) * 0.8, "only %d expressions" % len(blocks))
    check(not wrong, "%d of %d expressions are wrong:\n%s"
          % (len(wrong), len(blocks), typetruth.some(wrong)))


@cases(Nginx, Memcached, Ninja, Python)
def program(kind):
    """The share of bytes that is typed, and gdb's word for a sample."""
    running = kind()
    try:
        answers, report = typetruth.live_blocks(running.pid)
        live, typed = report["live"]["bytes"], report["typed"]
        print("# %s: %d bytes in %d blocks; %s" % (
            kind.__name__, live, report["live"]["blocks"],
            ", ".join("%s %.1f%%" % (by, 100 * typed[by]["bytes"] / live) for by in sorted(typed))))
        agreement(running, answers)
        facts = sum(typed[by]["bytes"] for by in ("header", "vtable", "format", "container", "pointer"))
        check(facts >= kind.least * live, "only %.1f%% of the bytes are typed" % (100 * facts / live))
        running.target.check_unharmed()
    finally:
        running.stop()


@test
def python_objects():
    """Every object is known by its class or its structure, and those of C are: a dict is a PyDictObject."""
    target = pyobjects.start()
    pyobjects.check_objects(target, Python.least)
    answers, _ = typetruth.live_blocks(target)
    structures = {typenames.parse(text)[0] for text, by in answers.values() if by == "vtable"}
    check({"PyDictObject", "PyListObject", "PySetObject", "PyFloatObject"} <= structures,
          "not among the structures: %s" % structures)
    target.check_unharmed()


if __name__ == "__main__":
    sys.exit(harness.main())
