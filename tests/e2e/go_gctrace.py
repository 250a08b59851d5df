# go_gctrace.py - `memscope gctrace` prints what the process itself prints with GODEBUG=gctrace=1.
import json
import os
import re
import signal
import subprocess
import sys
import time

import golang
import harness
from harness import cases, check, check_equal

LINE = re.compile(r"gc (\d+) @")


class Collected(harness.Target):
    """The fixture; what its runtime writes to stderr is kept."""

    def __init__(self, version, *arguments, trace=True):
        self.log = open(os.path.join(harness.scratch(), "gctrace.log"), "wb")
        super().__init__([golang.go_program("collect", version)] + [str(a) for a in arguments],
                         truth=False, stderr=self.log,
                         environment={"GODEBUG": "gctrace=1"} if trace else {})

    def lines(self):
        with open(self.log.name) as text:
            return {int(LINE.match(line).group(1)): line.rstrip("\n") for line in text
                    if LINE.match(line)}


def follow(pid, *options, **more):
    return subprocess.Popen([harness.MEMSCOPE, "gctrace", *options, str(pid)],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


def shown(ours, theirs):
    """Is each figure of ours that of theirs, where it is shown?"""
    if ours.endswith(" (-)"):  # whether it was forced is not known
        ours, theirs = ours[:-len(" (-)")], theirs.replace(" (forced)", "")
    ours, theirs = (re.split(r"([ @:+/]|->|%|s )", line) for line in (ours, theirs))
    return len(ours) == len(theirs) and all(a in (b, "-") for a, b in zip(ours, theirs))


def compare(text, theirs):
    """Returns how many of our lines are theirs in full."""
    full = 0
    lines = text.splitlines()
    check(lines, "no line at all")
    numbers = [int(LINE.match(line).group(1)) for line in lines]
    check_equal(numbers, list(range(numbers[0], numbers[0] + len(numbers))), "numbers of the cycles")
    for number, line in zip(numbers, lines):
        if number not in theirs:
            check(number == numbers[-1], "cycle %d, which the process does not know" % number)
            continue
        # Who asks for a collection while another one ends is written of that one too: the process prints
        # work.userForced, which is the next one's already. We go by the count of forced ones.
        after = theirs.get(number + 1, "")
        if not line.endswith(")") and after.endswith("(forced)"):
            theirs[number] = theirs[number].replace(" (forced)", "")
        check(shown(line, theirs[number]), "cycle %d:\n%s\n%s" % (number, line, theirs[number]))
        # nothing keeps what go1.19 prints of stacks
        stacks = re.compile(r"[\d-]+ MB stacks")
        full += stacks.sub("", line) == stacks.sub("", theirs[number])
    return full, len(lines)


@cases(*golang.versions())
def same_lines(version):
    """Each figure that is shown is the one that the process printed; most lines are whole."""
    target = Collected(version, 30, 14, 7)
    run = follow(target.pid, "--count", "25")
    text, errors = run.communicate(timeout=harness.TIMEOUT)
    check_equal((run.returncode, errors), (0, ""), "status and messages")
    time.sleep(0.1)  # the process prints after it has counted
    theirs = target.lines()
    full, lines = compare(text, theirs)
    check_equal(lines, 25, "lines")
    check(full >= lines * 0.8, "only %d of %d lines are whole:\n%s" % (full, lines, text))
    check(any("(forced)" in line for line in text.splitlines()), "no forced cycle in\n" + text)
    target.check_unharmed()


@harness.test
def cycles_one_after_another():
    """Where cycles overwrite one another at once, what is shown is right all the same."""
    target = Collected(golang.NEWEST, 0, 4, 1)
    run = follow(target.pid, "--count", "300", "--interval", "5")
    text, _ = run.communicate(timeout=harness.TIMEOUT)
    time.sleep(0.1)
    compare(text, target.lines())


@harness.test
def as_json():
    target = Collected(golang.NEWEST, 30, 12, 3)
    run = follow(target.pid, "--json", "--count", "5")
    text, _ = run.communicate(timeout=harness.TIMEOUT)
    theirs = target.lines()
    for line in text.splitlines():
        cycle = json.loads(line)
        if cycle["heap_start"] is None or cycle["gc"] not in theirs:
            continue
        sizes = "%d->%d->%d MB" % tuple(cycle[k] >> 20 for k in ("heap_start", "heap_end",
                                                               "heap_live"))
        check(sizes in theirs[cycle["gc"]], "%s: %s" % (line, theirs[cycle["gc"]]))
        check_equal(cycle["forced"], "(forced)" in theirs[cycle["gc"]], "forced")
        check(cycle["pause_ns"] > 0 and cycle["pause_end"] > 1e18, line)


@harness.test
def ends_with_the_process():
    target = Collected(golang.NEWEST, 30, 8, 0, trace=False)
    run = follow(target.pid)
    first = run.stdout.readline()
    check(LINE.match(first), first)
    target.process.stdin.write(b"x")
    target.process.stdin.flush()
    target.process.wait(harness.TIMEOUT)
    _, errors = run.communicate(timeout=harness.TIMEOUT)
    check_equal(run.returncode, 0, "status")
    check("process %d has ended" % target.pid in errors, errors)


@cases(signal.SIGINT, signal.SIGTERM)
def ends_when_asked(number):
    target = Collected(golang.NEWEST, 30, 8, 0, trace=False)
    run = follow(target.pid)
    check(LINE.match(run.stdout.readline()), "no line")
    run.send_signal(number)
    _, errors = run.communicate(timeout=harness.TIMEOUT)
    check_equal((run.returncode, errors), (0, ""), "status and messages")
    target.check_unharmed()


@harness.test
def never_stopped():
    """No thread of the target is ever traced, nor its pages touched."""
    target = Collected(golang.NEWEST, 5, 8, 0, trace=False)
    run = follow(target.pid)
    check(LINE.match(run.stdout.readline()), "no line")
    seen = set()
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        for task in os.listdir("/proc/%d/task" % target.pid):
            try:
                seen.add(target.status("TracerPid", int(task)))
            except (FileNotFoundError, ProcessLookupError):
                pass
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=harness.TIMEOUT)
    check_equal(seen, {"0"}, "tracers")


@harness.test
def what_is_no_target():
    for target, status in (("core.file", 2), ("0", 2), ("999999999", 3), (str(os.getpid()), 3)):
        run = harness.memscope("gctrace", target, expect=status)
        check(target in run.err, str(run))


if __name__ == "__main__":
    sys.exit(harness.main())
