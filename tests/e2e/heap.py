# heap.py - `memscope heap`: groups that add up, and what is retained against the truth of fixtures.
import os
import re
import subprocess
import sys
import time

import harness
from harness import cases, check, check_equal, test

ALL = ("-n", 1000000)


def heap(target, *options, **more):
    run = harness.memscope("heap", "-j", *options, getattr(target, "pid", target), expect=0, **more)
    return run.json["heap"]


def check_sums(report):
    """Groups and `others` add up to all live blocks; the retainers, when all are there, to the reachable."""
    live, groups, others = report["live"], report["groups"], report["others"]
    for key in ("blocks", "bytes"):
        check_equal(sum(g[key] for g in groups) + others[key], live[key], "sum of %s" % key)
        check_equal(report["reachable"][key] + report["lost"][key], live[key], "all %s" % key)
    for group in groups:
        check(abs(group["share"] - group["bytes"] / live["bytes"]) < 1e-4, "share of %s" % group)
        check(0 <= group["retained_bytes"] <= report["reachable"]["bytes"],
              "retains more than there is: %s" % group)
    check_equal(sum(r["retained_bytes"] for r in report["retainers"]),
                report["reachable"]["bytes"], "sum of what the roots' blocks retain")
    check_equal(sum(r["retained_blocks"] for r in report["retainers"]),
                report["reachable"]["blocks"], "blocks that the roots' blocks retain")


@cases(("owners",), ("owners", 50000), ("trees",), ("rings",), ("cxx", "leaky"), ("arenas",),
       ("mmapped",), ("manythreads", 100), ("freed",), ("direct_static",))
def sums(case):
    """By whatever it is grouped, everything is counted once."""
    target = harness.start(*case)
    for by in ("type", "size", "module", "arena"):
        report = heap(target, "--by", by, *ALL)
        check_sums(report)
        check_equal(report["by"], by, "by")
    target.check_unharmed()


@test
def sums_of_a_million():
    """The same with a million blocks, one in a hundred lost."""
    target = harness.start("bigheap", 1000000)
    report = heap(target, *ALL, timeout=120)
    check_sums(report)
    counts = {n.split()[0]: list(map(int, n.split()[1:3])) for n in target.truth.notes["count"]}
    lost = [counts["definite"][i] + counts["indirect"][i] for i in (0, 1)]
    check_equal([report["lost"]["blocks"], report["lost"]["bytes"]], lost, "lost")
    # all but what the C library itself has hang from one block
    top = report["retainers"][0]
    check_equal([top["retained_blocks"], top["retained_bytes"]], counts["reachable"], "the tree's root")
    check_equal(report["suspects"][0]["block"]["address"], top["address"], "first suspect")


@cases(1000, 30000)
def owners(length):
    """Of each shape the retained bytes and blocks, and what dominates it."""
    target = harness.start("owners", length)
    addresses = {b[0]: a for a, b in target.truth.blocks.items()}
    report = heap(target, *ALL)
    top = {int(r["address"], 16): r for r in report["retainers"]}
    alone = {int(g["sample"], 16): g for g in heap(target, "--by", "size")["groups"]
             if g["blocks"] == 1 and g["sample"]}
    compared = {"by roots": 0, "by size": 0}
    for note in target.truth.notes["retained"]:
        name, size, blocks = note.split()
        found = top.get(addresses[name])
        if found:
            check_equal((found["retained_bytes"], found["retained_blocks"]), (int(size), int(blocks)),
                        "retained by " + name)
            compared["by roots"] += 1
        if addresses[name] in alone:
            check_equal(alone[addresses[name]]["retained_bytes"], int(size), "group of " + name)
            compared["by size"] += 1
    for note in target.truth.notes["under"]:
        name, under = note.split()
        check_equal(addresses[name] in top, under == "roots", "%s is right below the roots" % name)
    check(compared["by roots"] >= 11 and compared["by size"] >= 50, "compared: %s" % compared)


@test
def size_groups():
    """A size that one chain alone has: its group retains the chain once, not once for each member."""
    target = harness.start("owners", 1000)
    notes = dict(n.split(" ", 1) for n in target.truth.notes["retained"])
    chain = int(notes["chain.0"].split()[0])
    size = [b[3] for b in target.truth.blocks.values() if b[0] == "chain.0"][0]
    group = [g for g in heap(target, "--by", "size")["groups"] if g["size"] == size][0]
    members = [b for b in target.truth.blocks.values() if b[3] == size]
    check(group["blocks"] >= len(members), "blocks of %d bytes: %s" % (size, group))
    check(chain <= group["retained_bytes"] < chain * 2, "%s retains %s" % (group, chain))


@test
def classes():
    """C++ classes are named by their vtables, and the sum of a class is the fixture's own."""
    target = harness.start("cxx", "clean")
    groups = heap(target)["groups"]
    named = {g["type"]: g for g in groups if g["kind"] == "class"}
    check(any("Square" in name for name in named), "no Square among %s" % sorted(named))
    check(all(g["module"] == "cxx" for n, g in named.items() if "Square" in n), "module of Square")
    check(any(g["kind"] == "text" and g["preview"] for g in groups), "no text")
    by_module = heap(target, "--by", "module")["groups"]
    check(any(g.get("module") == "cxx" for g in by_module), "no module cxx: %s" % by_module)


@test
def options():
    """-n, --min-bytes and --sort choose what is shown and in which order; totals stay."""
    target = harness.start("cxx", "leaky")
    everything = heap(target, *ALL)
    few = heap(target, "-n", 3)
    check_equal((len(few["groups"]), len(few["retainers"])), (3, 3), "-n 3")
    check_equal(few["live"], everything["live"], "total with -n")
    check_equal(few["groups"], everything["groups"][:3], "the first three groups")
    for key, sort in (("bytes", "bytes"), ("blocks", "blocks"), ("retained_bytes", "retained")):
        figures = [g[key] for g in heap(target, "--sort", sort)["groups"]]
        check_equal(figures, sorted(figures, reverse=True), "order by " + sort)
    large = heap(target, "--min-bytes", "10k", *ALL)
    check(all(max(g["bytes"], g["retained_bytes"]) >= 10240 for g in large["groups"]), "--min-bytes")
    check(all(r["retained_bytes"] >= 10240 for r in large["retainers"]), "--min-bytes, retainers")
    check_equal(large["live"], everything["live"], "total with --min-bytes")
    for wrong in (("--by", "colour"), ("--sort", "x"), ("-n", "0"), ("-n", "-1"), ("--min-bytes", "x")):
        run = harness.memscope("heap", *wrong, target.pid, expect=2)
        check(run.out == "" and wrong[1] in run.err, "no message on %s: %s" % (wrong, run.err))


@test
def text():
    """The verdict comes first, names the suspect, and stands alone with -q."""
    target = harness.start("bigheap", 10000)
    run = harness.memscope("heap", "--retained", target.pid, expect=0)
    first = run.out.splitlines()[0]
    check(re.match("live heap: .* one block retains .* 0x[0-9a-f]+, held by global bigheap.c:root$", first),
          "verdict: " + first)
    check("only roots hold" in run.out and "by type" in run.out, "a table is missing:\n" + run.out)
    quiet = harness.memscope("heap", "-q", target.pid, expect=0)
    check(len(quiet.out.splitlines()) <= 2, "more than the verdict:\n" + quiet.out)
    plain = harness.memscope("heap", target.pid, expect=0)
    check("only roots hold" not in plain.out, "retainers without --retained")
    check("\ntypes: known of " in plain.out, "how much is typed is not said:\n" + plain.out)
    bare = harness.memscope("heap", "--no-types", target.pid, expect=0)
    check("\ntypes: " not in bare.out, "types without types:\n" + bare.out)


@test
def listed():
    """--list has a line for each live block; -q leaves the verdict and the list."""
    target = harness.start("types_c")
    report = heap(target, "--list")
    run = harness.memscope("heap", "-q", "--list", target.pid, expect=0)
    lines = run.out.split("\naddress ")[1].splitlines()[1:]
    check_equal(len(lines), len(report["blocks"]), "lines")
    for line, block in zip(lines, report["blocks"]):
        address, size, what = line.split(None, 2)
        text = (block["type"] or "-") + ("?" if block["type_by"] == "guess" else "")
        check_equal((address, int(size), what), (block["address"], block["size"], text), "line")


@test
def a_file():
    """A FILE is known by glibc's table of functions, also without debug information."""
    python = harness.Target([sys.executable, "-c", "import ctypes, time; c = ctypes.CDLL(None); "
                             "c.fopen(b'/dev/null', b'r'); print('ready', flush=True); time.sleep(1000)"],
                            truth=False)
    groups = [g for g in heap(python, "--no-types")["groups"] if g["type"] == "FILE"]
    check(groups and groups[0]["type_by"] == "vtable" and groups[0]["module"].startswith("libc."),
          "no FILE: %s" % groups)


@cases(2000000)
def memory(blocks):
    """Beside what `leaks --full` takes there are at most 48 bytes a block, and some for debug information."""
    if os.environ.get("SANITIZERS") == "yes":
        return  # their own memory is more
    more = []
    for count in (1000, blocks):
        target, peak = harness.start("bigheap", count), {}
        for command, *full in (("leaks", "--full"), ("heap",)):
            run = harness.memscope(command, *full, "-q", target.pid, expect=(0, 1), timeout=120,
                                   prefix=(sys.executable, "-c", PEAK))
            peak[command] = int(run.err.split()[-1]) * 1024
        more.append(peak["heap"] - peak["leaks"])
    each = (more[1] - more[0]) / (blocks - 1000)
    check(each <= 48, "%.1f bytes a block" % each)


# Runs a program and tells its peak of resident memory in KiB.
PEAK = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:])
sys.stderr.write("\\n%d\\n" % resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def check_program(pid):
    for by in ("type", "size", "module", "arena"):
        check_sums(heap(pid, "--by", by, *ALL))


@test
def python():
    """An interpreter with some modules and a million small objects of its own."""
    script = ("import json, ssl, http.client, sys; held = [str(i) for i in range(10**6)]; "
              "print('ready', flush=True); sys.stdin.read()")
    with harness.Target([harness.tool("python3"), "-c", script], truth=False) as target:
        check_program(target.pid)
        target.check_unharmed()


@test
def nginx():
    """A server: its master and its workers."""
    directory = os.path.join(harness.scratch(), "nginx")
    os.mkdir(directory)
    config = os.path.join(directory, "nginx.conf")
    with open(config, "w") as file:
        file.write("daemon off; worker_processes 2; pid %(dir)s/pid; error_log %(dir)s/error.log;\n"
                   "events {} http { access_log off; server { listen unix:%(dir)s/socket; } }\n"
                   % {"dir": directory})
    target = harness.Target([harness.tool("nginx"), "-c", config, "-p", directory], wait=False,
                            truth=False, stderr=subprocess.DEVNULL)
    children = "/proc/%d/task/%d/children" % (target.pid, target.pid)
    deadline = time.monotonic() + 10
    while len(open(children).read().split()) < 2:
        check(time.monotonic() < deadline, "nginx starts no workers")
        time.sleep(0.05)
    try:
        for pid in [target.pid] + [int(c) for c in open(children).read().split()]:
            check_program(pid)
    finally:
        target.process.terminate()
        target.process.wait(10)


if __name__ == "__main__":
    sys.exit(harness.main())
