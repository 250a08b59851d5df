# go_library.py - C programs with a library in Go: blocks of malloc's that Go holds, those that are lost, and the Go heap.
"""
The C program and its library say of each block who holds it; the runtime in the library counts its objects
and goroutines, and sums up its heap profile.
"""

import os
import re
import subprocess
import sys

import golang
import harness
from harness import Failure, Target, cases, check, check_equal, check_totals, compare, listed, memscope, test

ENDS = (golang.versions()[0], golang.versions()[-1])


def library(version, mode, name):
    out = os.path.join(harness.scratch(), "%s-%s" % (version, mode), name)
    if not os.path.exists(out):
        vcs = ["-buildvcs=false"] if golang.minor(version) >= 18 else []
        golang.go(version, "build", *vcs, "-buildmode=" + mode, "-o", out, "./library", CGO_ENABLED="1")
    return out


def linked(path, *flags):
    """The program with the library at PATH linked."""
    out = os.path.join(os.path.dirname(path), "host" + "".join(flags))
    command = os.environ.get("CC", "gcc").split() + harness.COMMON_FLAGS + [
        "-DLINKED", os.path.join(harness.FIXTURE_SOURCES, "gohost.c"), "-o", out, path, *flags]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise Failure("%s: %s" % (" ".join(command), done.stdout))
    return out


def command(version, how):
    if how == "dlopen":
        return [harness.fixture("gohost"), library(version, "c-shared", "library.so")]
    if how == "shared":
        return [linked(library(version, "c-shared", "library.so"))]
    return [linked(library(version, "c-archive", "library.a"), "-no-pie" if how == "archive" else "-pie")]


def numbers(target, key):
    return [int(word) for word in target.truth.note(key).split()]


def counts(target, version):
    """HeapObjects, HeapAlloc, goroutines, NumGC."""
    objects, size, goroutines, cycles = numbers(target, "go")
    # up to 1.20 the one that C has called lives no longer than that call, in which it counted
    return objects, size, goroutines - (golang.minor(version) < 21), cycles


def check_leaks(target, version):
    run = harness.leaks(target, expect=1)
    compare(target.truth, listed(run))
    check_totals(run)
    go = run.json["leaks"]["go"]
    check_equal(go["version"].split(" ")[0], "go" + version, "version")
    objects, size, _, _ = counts(target, version)
    check_equal((go["live"]["blocks"], go["live"]["bytes"]), (objects, size), "HeapObjects and HeapAlloc")
    check(5 <= go["unreachable_young"]["blocks"] <= go["unreachable"]["blocks"] <= 16,
          "5 that were made and dropped since the collection, and few others: %s" % go)
    text = memscope("leaks", target.pid, expect=1).out
    check(text.startswith("malloc (cgo): definitely lost: "), "the verdict:\n" + text)
    check(re.search(r"^Go 1\.\S+: nothing to leak", text, re.M), "of Go:\n" + text)


def check_others(target, version):
    objects, size, goroutines, cycles = counts(target, version)
    heap = memscope("heap", "-j", target.pid, expect=0).json["heap"]
    check_equal(heap["live"]["blocks"], objects, "blocks of the heap")
    items = [group for group in heap["groups"] if group["type"] == "main.item"]
    check_equal([group["blocks"] for group in items], [3000], "objects of main.item")
    stats = memscope("memstats", "-j", target.pid, expect=0).json["memstats"]
    check_equal((stats["go"]["HeapObjects"], stats["go"]["HeapAlloc"], stats["go"]["NumGC"]), (objects, size, cycles),
                "MemStats")
    rows = {row["name"]: row["bytes"] for row in stats["rss"]["rows"]}
    check_equal(sum(rows.values()), stats["rss"]["total"], "sum of the rows")
    lost = sum(block[3] for block in target.truth.blocks.values() if block[2] <= {"definite", "indirect"})
    check(lost <= rows["lost"] <= lost * 1.05, "lost: %d bytes in the row, %d" % (rows["lost"], lost))
    check(rows["go_live"] >= size * 0.9, "live objects: %d of %d bytes resident" % (rows["go_live"], size))
    found = memscope("goroutines", "-j", target.pid, expect=0).json["goroutines"]
    check_equal(found["total"], goroutines, "goroutines")
    held = [group for group in found["groups"] if "main.holdOnStack" in [frame["function"] for frame in group["stack"]]]
    check_equal([(group["count"], group["wait_reason"]) for group in held], [(5, "chan receive")], "main.holdOnStack")


def check_profiles(target, version):
    path = os.path.join(harness.scratch(), "library.pb.gz")

    def sums(kind):
        memscope("profile", "--type", kind, "-o", path, target.pid, expect=0)
        raw = golang.go(golang.NEWEST, "tool", "pprof", "-symbolize=none", "-raw", path)
        samples = raw.split("Samples:\n")[1].split("Locations\n")[0]
        lines = [re.match(r"((?: +\d+)+): ", line) for line in samples.splitlines()]
        return [sum(column) for column in zip(*([int(word) for word in line.group(1).split()]
                                                for line in lines if line))]

    objects, size, goroutines, _ = counts(target, version)
    check_equal(sums("heap")[2:], numbers(target, "profile"), "objects and bytes in use by the heap profile")
    check_equal(sums("goroutine"), [goroutines], "goroutines in their profile")
    lost = [block[3] for block in target.truth.blocks.values() if block[2] <= {"definite", "indirect"}]
    check_equal(sums("leaks"), [len(lost), sum(lost)], "lost blocks in their profile")
    retained = sums("retained")
    check(retained[0] >= objects * 0.9, "%s retained of %d objects, %d bytes" % (retained, objects, size))


@cases(*((version, how) for version in ENDS for how in ("dlopen", "shared")),
       (golang.NEWEST, "archive"), (golang.NEWEST, "archive in a pie"))
def library_in_go(case):
    version, how = case
    for left in reversed(range(3)):  # something of the runtime may run after it has counted
        with Target(command(version, how)) as target:
            try:
                check_leaks(target, version)
                check_others(target, version)
                check_profiles(target, version)
                target.check_unharmed()
                return
            except Failure:
                if not left:
                    raise


sys.exit(harness.main())
