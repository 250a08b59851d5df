# ps.py - memscope ps: what processes are there, what they are, and how big their heaps.
"""The oracles are the programs themselves (runtime.ReadMemStats()), and /proc."""

import os
import shutil
import subprocess
import sys

import golang
import harness
from harness import MEMSCOPE, Target, cases, check, check_equal, memscope, test

STRIPPED = "-ldflags=-s -w"


def listed(*pids):
    """What is told of these processes."""
    found = {entry["pid"]: entry for entry in memscope("ps", "-j", expect=0).json["ps"]}
    for pid in pids:
        check(pid in found, "process %d is not listed" % pid)
    return [found[pid] for pid in pids]


def near(found, expected, slack, what):
    check(abs(found - expected) <= slack, "%s is %d, not %d" % (what, found, expected))


@cases(*golang.versions())
def go_programs(version):
    """Figures are those of ReadMemStats at the same time; the program does nothing meanwhile."""
    for flags in (), (STRIPPED,), ("-buildmode=pie", STRIPPED):
        with Target([golang.go_program("objects", version, flags)]) as target:
            target.ask("gc")
            target.ask("gc")
            cycles, goal, allocated, in_use = map(int, target.ask("stats").split())
            entry, = listed(target.pid)
            check_equal(entry["go"], target.truth.note("version"), "the version")
            check_equal(entry["module"], target.truth.note("module"), "the main module")
            check_equal(entry["package"], target.truth.note("package"), "the package")
            check_equal(entry["allocator"], "go", "the allocator")
            check(entry["gc"], "nothing is known of the collector: %s" % entry)
            check_equal(entry["gc"]["cycles"], cycles, "the number of cycles")
            check_equal(entry["gc"]["phase"], "none", "the phase")
            check_equal(entry["gc"]["goal_bytes"], goal, "the goal")
            near(entry["heap_bytes"], in_use, 64 << 10, "the heap")
            # the runtime counts whole spans that caches have taken as live
            near(entry["gc"]["live_bytes"], allocated, 512 << 10, "the live heap")


@test
def collector_off():
    with Target([golang.go_program("objects")], environment={"GOGC": "off"}) as target:
        check_equal(listed(target.pid)[0]["gc"]["goal_bytes"], None, "the goal without one")


def status_bytes(target, key):
    return int(target.status(key).split()[0]) * 1024


@test
def native_programs():
    with harness.start("direct") as target:
        entry, = listed(target.pid)
        check_equal((entry["go"], entry["module"], entry["gc"]), (None, None, None), "what is Go's")
        check_equal(entry["allocator"], "glibc", "the allocator")
        check_equal(entry["program"], target.command[0], "the program")
        check_equal(entry["rss_bytes"], status_bytes(target, "VmRSS"), "the resident memory")
        check_equal(entry["heap_bytes"], None, "the heap, that cannot be known")
        check_equal(entry["heap_at_most_bytes"], status_bytes(target, "RssAnon"), "its bound")


@test
def fake_go_program():
    """Its data and its sections look like Go's, but there is no Go code."""
    with harness.start("gomagic") as target:
        check_equal(listed(target.pid)[0]["go"], None, "the version of Go in a C program")


@test
def nobody_is_disturbed():
    """No fault, no switch, no stop: neither a C program nor a Go program notices."""
    def traces(target):
        with open("/proc/%d/stat" % target.pid) as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (fields[7], fields[9], target.status("voluntary_ctxt_switches"),
                target.status("nonvoluntary_ctxt_switches"), target.status("VmRSS"))

    with harness.start("direct") as target:
        before = traces(target)
        listed(target.pid)
        check_equal(traces(target), before, "faults, switches and memory of the C program")
        target.check_unharmed()
    with Target([golang.go_program("objects")]) as target:
        before = traces(target)[:2]
        listed(target.pid)
        check_equal(traces(target)[:2], before, "faults of the Go program")
        target.check_unharmed()


@test
def others_processes():
    """Without the right to look into them they are counted, and that is no error."""
    check(os.geteuid() == 0, "this test needs root")
    program = os.path.join(harness.scratch(), "memscope")
    shutil.copy(MEMSCOPE, program)
    with harness.start("direct") as target:
        done = subprocess.run([harness.tool("setpriv"), "--reuid", "65534", "--clear-groups", program, "ps"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        check_equal(done.returncode, 0, "the exit status")
        check(str(target.pid) not in [line.split()[0] for line in done.stdout.splitlines() if line],
              "a process of another user is listed:\n" + done.stdout)
        check(" more cannot be inspected" in done.stdout, done.stdout)


@test
def order_and_columns():
    with harness.start("direct"), Target([golang.go_program("objects")]):
        run = memscope("ps", "-j", expect=0)
        heaps = [entry["heap_bytes"] if entry["heap_bytes"] is not None
                 else entry["heap_at_most_bytes"] for entry in run.json["ps"]]
        check_equal(heaps, sorted(heaps, reverse=True), "the order")
        lines = memscope("ps", "-q", expect=0).out.rstrip("\n").split("\n")
        column = lines[0].index("PROGRAM")
        check(all(line[column - 1] == " " != line[column] for line in lines),
              "columns do not line up:\n" + "\n".join(lines))


@test
def no_target():
    run = memscope("ps", "1", expect=2)
    check("takes no target" in run.err, run.err)


if __name__ == "__main__":
    sys.exit(harness.main())
