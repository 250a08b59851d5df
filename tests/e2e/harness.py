# harness.py - shared by the end-to-end tests: TAP output, fixtures and their truth, memscope runs.
"""
Environment: MEMSCOPE is the program under test, FIXTURES the directory of built fixtures (what is
not there is built into a temporary directory), SRCDIR the root of the sources (found from this file
when unset).

A test file is a list of functions decorated with @test, and ends in `sys.exit(harness.main())`.
What a test cannot find on this machine is a failure: a skipped proof proves nothing.
"""

import atexit
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
SRCDIR = os.environ.get("SRCDIR") or os.path.dirname(os.path.dirname(HERE))
FIXTURE_SOURCES = os.path.join(SRCDIR, "tests", "fixtures")
MEMSCOPE = os.path.abspath(os.environ.get("MEMSCOPE", os.path.join(os.getcwd(), "memscope")))
COMMON_FLAGS = ["-O1", "-g", "-fno-builtin", "-fno-omit-frame-pointer", "-pthread", "-Wall",
                "-Wextra"]
TIMEOUT = float(os.environ.get("TEST_TIMEOUT", "60"))
LOST_KINDS = ("definite", "indirect", "possible")

_tests = []
_targets = []
_scratch = None


class Failure(Exception):
    """A test found something wrong; the text says what, with the values."""


def check(condition, message):
    if not condition:
        raise Failure(message)


def check_equal(actual, expected, what):
    if actual != expected:
        raise Failure("%s is %r, not %r" % (what, actual, expected))


def test(function):
    """Makes a function of the program a test; one of a module that it imports stays a function."""
    if function.__module__ == "__main__":
        _tests.append(function)
    return function


def cases(*arguments):
    """Runs a test once for each argument; the TAP line names the argument."""
    def decorate(function):
        for argument in arguments:
            def run(argument=argument):
                function(argument)
            run.__name__ = "%s %s" % (function.__name__, _brief(argument))
            run.__module__ = function.__module__
            test(run)
        return function
    return decorate


def _brief(argument):
    if isinstance(argument, (tuple, list)):
        return " ".join(_brief(item) for item in argument if not isinstance(item, dict))
    if isinstance(argument, bytes):
        argument = ascii(argument[:20])[2:-1]
    return getattr(argument, "__name__", str(argument)).replace("#", " ")


def main():
    """Runs all tests, or those whose names contain an argument, and prints TAP."""
    chosen = [t for t in _tests
              if len(sys.argv) < 2 or any(a in t.__name__ for a in sys.argv[1:])]
    failed = 0
    if not os.path.exists(MEMSCOPE):
        print("Bail out! no memscope at %s; set MEMSCOPE" % MEMSCOPE)
        return 1
    print("1..%d" % len(chosen))
    for number, function in enumerate(chosen, 1):
        started = time.monotonic()
        try:
            function()
            verdict, message = "ok", None
        except Exception as error:  # a test that breaks is a test that fails
            verdict = "not ok"
            failed += 1
            message = (str(error) if isinstance(error, (Failure, subprocess.TimeoutExpired))
                       else traceback.format_exc())
        stop_targets()
        print("%s %d - %s # %.1f s" % (verdict, number, function.__name__.replace("_", " "),
                                       time.monotonic() - started))
        if message is not None:
            for line in message.rstrip().split("\n")[-60:]:
                print("#   " + line)
        sys.stdout.flush()
    return 1 if failed else 0


# Directories and programs

def scratch():
    """A directory that is removed at the end; readable by other users, as some tests need."""
    global _scratch
    if _scratch is None:
        _scratch = tempfile.mkdtemp(prefix="memscope-test-")
        os.chmod(_scratch, 0o755)
        atexit.register(shutil.rmtree, _scratch, ignore_errors=True)
    return _scratch


def tool(name):
    """The path of a program that a test needs. Its absence is a failure, not a skip."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/bin")
    if path is None:
        raise Failure("this test needs %s, which is not installed" % name)
    return path


def tool_in(directories, name):
    """As tool(), for programs that are not in PATH."""
    for directory in directories:
        path = os.path.join(directory, name)
        if os.path.exists(path):
            return path
    return tool(name)


def catalogue():
    """The fixtures in list.txt: {name: (source, [flags])}."""
    fixtures = {}
    with open(os.path.join(FIXTURE_SOURCES, "list.txt")) as lines:
        for line in lines:
            words = line.split("#")[0].split()
            if words:
                fixtures[words[0]] = (words[1], words[2:])
    return fixtures


def build(name, directory, extra=()):
    """Compiles one fixture in another way than build.sh does; returns its path."""
    source, flags = catalogue()[name]
    out = os.path.join(directory, name)
    language = ("CXX", "g++") if source.endswith(".cc") else ("CC", "gcc")
    command = os.environ.get(*language).split() + COMMON_FLAGS
    if flags and flags[0].startswith("@"):
        command, flags = [flags[0][1:]] + COMMON_FLAGS, flags[1:]
    flags = [os.path.join(FIXTURE_SOURCES, f) if f.endswith(".c") else f for f in flags]
    if name.endswith(".so"):
        command += ["-shared", "-fPIC"]
    command += [os.path.join(FIXTURE_SOURCES, source), "-o", out]
    # libraries come after the source that needs them
    command += list(flags) + list(extra)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise Failure("cannot build %s: %s\n%s" % (name, " ".join(command), done.stdout))
    if done.stdout.strip():
        sys.stderr.write(done.stdout)
    return out


def fixture(name):
    """The path of a built fixture; all are built when they are not there."""
    directory = os.path.abspath(os.environ.get("FIXTURES") or os.path.join(scratch(), "fixtures"))
    if not os.path.exists(os.path.join(directory, name)):
        directory = os.path.join(scratch(), "fixtures")
        if not os.path.exists(directory):
            os.makedirs(directory)
            subprocess.run(["sh", os.path.join(FIXTURE_SOURCES, "build.sh"), FIXTURE_SOURCES,
                            directory], check=True)
    return os.path.join(directory, name)


# Targets

class Truth:
    """What a fixture printed before `ready`."""

    def __init__(self):
        self.blocks = {}  # address: (name, requested, kinds, usable)
        self.rings = []   # sets of addresses
        self.notes = {}   # key: [value, ...]
        self.lines = []
        self._rings = []

    def read(self, line):
        self.lines.append(line)
        words = line.split()
        if words[0] == "block":
            self.blocks[int(words[2], 16)] = (words[1], int(words[3]), set(words[4].split("|")),
                                              int(words[5]))
        elif words[0] == "ring":
            self._rings.append(words[1:])
        elif words[0] == "note":
            self.notes.setdefault(words[1], []).append(" ".join(words[2:]))
        else:
            raise Failure("a fixture printed what is no truth: " + line)

    def finish(self):
        by_name = {}
        for address, block in self.blocks.items():
            by_name.setdefault(block[0], set()).add(address)
        for names in self._rings:
            ring = set()
            for name in names:
                if name.endswith(".*"):
                    for other, addresses in by_name.items():
                        if other.startswith(name[:-1]):
                            ring |= addresses
                else:
                    ring |= by_name[name]
            self.rings.append(ring)

    def note(self, key):
        return self.notes[key][0]

    def of_kind(self, *kinds):
        """Addresses of the blocks that are for certain of one of these kinds."""
        return {a for a, b in self.blocks.items() if b[2] <= set(kinds)}


class Target:
    """A running fixture, or any other program to inspect."""

    def __init__(self, command, wait=True, environment=None, truth=True, **options):
        self.command = command
        self.truth = Truth() if truth else None
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        env=dict(os.environ, **(environment or {})), **options)
        self.pid = self.process.pid
        _targets.append(self)
        if wait:
            self.wait_ready()

    def wait_ready(self):
        timer = threading.Timer(TIMEOUT, self.process.kill)
        timer.start()
        try:
            for line in self.process.stdout:
                line = line.decode(errors="replace").strip()
                if line == "ready":
                    break
                if self.truth is not None and line:
                    self.truth.read(line)
            else:
                raise Failure("%s ended (%s) before it was ready"
                              % (self.command, self.process.wait()))
        finally:
            timer.cancel()
        if self.truth is not None:
            self.truth.finish()

    def ask(self, line):
        """Sends a line to the fixture and returns the line it answers."""
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().decode().strip()

    def status(self, key="State", pid=None):
        with open("/proc/%d/status" % (pid or self.pid), errors="replace") as lines:
            for line in lines:
                if line.startswith(key + ":"):
                    return line.split(":", 1)[1].strip()
        raise Failure("no %s in status" % key)

    def check_unharmed(self, stopped=False, settle=0.5):
        """
        Alive, traced by nobody, and in the state it was in before. A thread that the kernel frees
        from its dead tracer may take a moment to get there: it is looked at for `settle` seconds.
        """
        deadline = time.monotonic() + settle
        while True:
            check(self.process.poll() is None, "the target is gone: %s" % self.process.returncode)
            wrong = self._harm(stopped)
            if not wrong:
                return
            check(time.monotonic() < deadline, wrong)
            time.sleep(0.005)

    def _harm(self, stopped):
        for task in os.listdir("/proc/%d/task" % self.pid):
            try:
                tracer = self.status("TracerPid", int(task))
                state = self.status("State", int(task))
            except (FileNotFoundError, ProcessLookupError):
                continue  # a thread that ended meanwhile
            if tracer != "0":
                return "TracerPid of %s is %s" % (task, tracer)
            if stopped and not state.startswith("T"):
                return "thread %s is no longer stopped: %s" % (task, state)
            if not stopped and state.startswith(("T", "t")):
                return "thread %s is stopped: %s" % (task, state)
        return None

    def stop(self):
        for stream in (self.process.stdin, self.process.stdout):
            try:
                stream.close()
            except (BrokenPipeError, OSError):
                pass
        if self.process.poll() is None:
            try:
                os.kill(self.process.pid, signal.SIGCONT)
                self.process.wait(0.5)
            except (subprocess.TimeoutExpired, ProcessLookupError):
                self.process.kill()
        self.process.wait()
        if self in _targets:
            _targets.remove(self)

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.stop()


def start(name, *arguments, **options):
    """Starts a fixture and waits until it is ready."""
    return Target([fixture(name)] + [str(a) for a in arguments], **options)


def stop_targets():
    for target in list(_targets):
        target.stop()


atexit.register(stop_targets)


# memscope

class Run:
    """One finished run of memscope: status, both streams, and JSON where there is any."""

    def __init__(self, arguments, status, out, err, seconds):
        self.arguments = arguments
        self.status = status
        self.out = out
        self.err = err
        self.seconds = seconds
        self.json = None

    def __str__(self):
        said = self.out[-1000:]
        if self.json is not None:
            said = "warnings: %s" % "\n".join(map(str, self.json.get("warnings", [])))
        return "memscope %s\nexit status %s\n%s\n%s" % (" ".join(self.arguments), self.status,
                                                       self.err[-3000:], said)


def memscope(*arguments, expect=None, prefix=(), environment=None, timeout=None):
    """Runs memscope. `expect` is an exit status or several; a signal is never expected."""
    arguments = [str(a) for a in arguments]
    started = time.monotonic()
    done = subprocess.run(list(prefix) + [MEMSCOPE] + arguments, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=dict(os.environ, **(environment or {})), timeout=timeout or TIMEOUT)
    run = Run(arguments, done.returncode, done.stdout.decode(errors="replace"),
              done.stderr.decode(errors="replace"), time.monotonic() - started)
    if ("-j" in arguments or "--json" in arguments) and run.out.strip():
        try:
            run.json = json.loads(run.out)
        except ValueError as error:
            raise Failure("not JSON (%s):\n%s" % (error, run))
    expected = (expect,) if isinstance(expect, int) else expect
    if expected is not None and run.status not in expected:
        raise Failure("exit status %s, expected %s\n%s" % (run.status, expected, run))
    check(run.status >= 0 and run.status < 128, "memscope crashed\n%s" % run)
    return run


def peak(*arguments, expect):
    """Bytes of memory that memscope had at most, as the kernel counts them; its output is not kept."""
    script = ("import resource, subprocess, sys\n"
              "status = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)\n"
              "print(status, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)")
    done = subprocess.run([sys.executable, "-S", "-c", script, MEMSCOPE] + [str(a) for a in arguments],
                          stdout=subprocess.PIPE, timeout=TIMEOUT)
    status, most = map(int, done.stdout.split())
    check_equal(status, expect, "exit status")
    return most


def leaks(target, *options, expect=(0, 1), kinds=LOST_KINDS, **more):
    """`memscope leaks` with the list of lost blocks; returns the run."""
    run = memscope("leaks", "-j", "--list", "--kinds", ",".join(kinds), *options,
                   getattr(target, "pid", target), expect=expect, **more)
    check(run.json is not None, "no JSON\n%s" % run)
    return run


def listed(run):
    """{address: (kind, size)} of all listed blocks; one that is listed twice is a failure."""
    blocks = {}
    for block in run.json["leaks"]["blocks"]:
        address = int(block["address"], 16)
        check(address not in blocks, "%#x is listed twice" % address)
        blocks[address] = (block["kind"], block["size"])
    return blocks


def compare(truth, blocks, reachable_listed=False, limit=20):
    """
    Compares the listed blocks with the truth, as sets of addresses and kinds.

    A lost block that the fixture does not know is as wrong as one that is missing. In a ring any
    member may be the leader, but there must be exactly one. Sizes must be the usable sizes.
    """
    wrong = []
    ringed = set()
    for ring in truth.rings:
        ringed |= ring
        kinds = sorted(blocks[a][0] if a in blocks else "not listed" for a in ring)
        expected = ["definite"] + ["indirect"] * (len(ring) - 1)
        if kinds != expected:
            names = sorted(truth.blocks[a][0] for a in ring)[:4]
            wrong.append("ring of %s...: one definite and %d indirect expected, found %s"
                         % (", ".join(names), len(ring) - 1,
                            {k: kinds.count(k) for k in set(kinds)}))
    for address, (name, requested, kinds, usable) in sorted(truth.blocks.items()):
        kind, size = blocks.get(address, ("reachable" if not reachable_listed else None, None))
        if address not in ringed and kind not in kinds:
            wrong.append("%s at %#x (%d bytes) is %s, reported as %s"
                         % (name, address, requested, "|".join(sorted(kinds)), kind))
        if size is not None and size != usable:
            wrong.append("%s at %#x has %d usable bytes (%d asked for), reported as %d"
                         % (name, address, usable, requested, size))
    for address, (kind, size) in sorted(blocks.items()):
        if address not in truth.blocks and kind in LOST_KINDS:
            wrong.append("%#x (%d bytes) is reported as %s, but the fixture knows no such loss"
                         % (address, size, kind))
    if wrong:
        more = "\nand %d more" % (len(wrong) - limit) if len(wrong) > limit else ""
        raise Failure("%d differences\n" % len(wrong) + "\n".join(wrong[:limit]) + more)


def check_totals(run):
    """The totals of each kind are the sums over the listed blocks, and over the groups."""
    report = run.json["leaks"]
    for kind in LOST_KINDS:
        sizes = [b["size"] for b in report["blocks"] if b["kind"] == kind]
        check_equal((report[kind]["blocks"], report[kind]["bytes"]), (len(sizes), sum(sizes)),
                    "total of %s" % kind)
    for kind in ("definite", "possible"):
        groups = [g for g in report["groups"] if g["kind"] == kind]
        check_equal((sum(g["blocks"] for g in groups), sum(g["bytes"] for g in groups)),
                    (report[kind]["blocks"], report[kind]["bytes"]), "sum of %s groups" % kind)


def by_name(truth, kinds):
    """
    {name of a block: kind}, from {address: kind}; blocks that are not there are reachable. Blocks
    that nobody can judge are left out.
    """
    names = {}
    for address, block in truth.blocks.items():
        check(block[0] not in names, "two blocks of the fixture are called " + block[0])
        if len(block[2]) == 1:
            names[block[0]] = kinds.get(address, "reachable")
    return names


def compare_with_oracle(ours, theirs, known, oracle):
    """
    Compares two {name: kind}. `known` has {prefix of names: (kind there, why)} for blocks that the
    oracle is known to see differently: these must differ in just that way, the others not at all.
    A prefix that explains nothing is a failure too, but for one with a third word, "sometimes".
    """
    check_equal(sorted(set(ours) ^ set(theirs)), [], "blocks in one run only")
    wrong, explained = [], {prefix: 0 for prefix in known}
    for name in sorted(ours):
        if ours[name] == theirs[name]:
            continue
        for prefix, (kind, *_) in known.items():
            if name.split(".")[0] == prefix and kind == theirs[name]:
                explained[prefix] += 1
                break
        else:
            wrong.append("%s: %s here, %s by %s" % (name, ours[name], theirs[name], oracle))
    check(not wrong, "%d differences\n%s" % (len(wrong), "\n".join(wrong[:20])))
    unused = [prefix for prefix, count in explained.items()
              if count == 0 and "sometimes" not in known[prefix]]
    check(not unused, "%s no longer sees these differently: %s" % (oracle, unused))


def kib(pid, key, name="smaps_rollup"):
    """A figure of /proc/PID/smaps_rollup or status, in bytes."""
    with open("/proc/%d/%s" % (pid, name)) as lines:
        for line in lines:
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024
    raise Failure("no %s in %s" % (key, name))

