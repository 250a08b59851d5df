# truth.py - every fixture's own truth against `memscope leaks`: sets of addresses and kinds.
import sys

import harness
from harness import cases, check, check_equal, test

FIXTURES = [
    ("direct",), ("trees",), ("rings",), ("interior",), ("onepast",), ("heuristics",),
    ("roots_data",), ("roots_dtls",), ("roots_stack",), ("roots_regs", "wait"),
    ("roots_regs", "spin"), ("roots_maps",), ("roots_altstack",), ("roots_coro",),
    ("roots_kernel",), ("roots_libc",), ("roots_threads",), ("stale",), ("freed",),
    ("arenas",), ("arenas", 64, 2), ("memalign",), ("mmapped",), ("brkforeign",), ("brkblocked",),
    ("huge",), ("cxx", "clean"), ("cxx", "leaky"),
    ("direct_static",), ("direct_static_pie",), ("direct_nopie",), ("arenas_static_pie",),
    ("roots_data_static",),
]


@cases(*FIXTURES)
def fixture(case):
    """All lost blocks are listed with their kinds and sizes, and nothing else is."""
    name, arguments = case[0], case[1:]
    target = harness.start(name, *arguments)
    run = harness.leaks(target)
    harness.compare(target.truth, harness.listed(run))
    harness.check_totals(run)
    target.check_unharmed()
    lost = any("definite" in b[2] for b in target.truth.blocks.values())
    check_equal(run.status, 1 if lost else 0, "exit status")


@cases(("direct",), ("trees",), ("interior",), ("arenas",), ("memalign",), ("mmapped",),
       ("brkblocked",), ("roots_data",))
def reachable(case):
    """With --kinds all the kept blocks are listed too: none is missing from the heap walk."""
    target = harness.start(*case)
    run = harness.leaks(target, kinds=("all",))
    harness.compare(target.truth, harness.listed(run), reachable_listed=True)


@cases(("direct",), ("rings",), ("arenas",), ("roots_regs",), ("mmapped",), ("heuristics",))
def full(case):
    """The full image gives the same as the lean one."""
    target = harness.start(*case)
    harness.compare(target.truth, harness.listed(harness.leaks(target, "--full")))


@cases(*[(name, tunables)
         for tunables in ("tcache_count=0", "hugetlb=1", "arena_max=2", "mxfast=0",
                          "tcache_max=256:glibc.malloc.tcache_count=3", "top_pad=1000000",
                          "mmap_threshold=4000", "perturb=170")
         for name in ("freed", "arenas", "memalign")])
def tunables(case):
    """The allocator tuned by its user: other chunks are cached, others are mapped."""
    name, tuned = case
    target = harness.start(name, environment={"GLIBC_TUNABLES": "glibc.malloc." + tuned})
    harness.compare(target.truth, harness.listed(harness.leaks(target)))


@cases(100000, 2000000)
def bigheap(blocks):
    """Very many blocks: counts, bytes and a checksum over the addresses of each kind."""
    target = harness.start("bigheap", blocks)
    run = harness.leaks(target, timeout=120)
    found = harness.listed(run)
    for note in target.truth.notes["count"]:
        kind, count, usable, checksum = note.split()
        if kind == "reachable":
            continue
        addresses = [a for a, b in found.items() if b[0] == kind]
        check_equal((len(addresses), sum(found[a][1] for a in addresses)),
                    (int(count), int(usable)), "blocks and bytes of kind %s" % kind)
        check_equal(sum((a // 16) ** 2 for a in addresses) % (2 ** 61 - 1), int(checksum),
                    "checksum of kind %s" % kind)
    check(run.json["leaks"]["possible"]["blocks"] == 0, "something is possibly lost")


@test
def again_and_again():
    """Ten reports of a target that does nothing are the same."""
    target = harness.start("cxx", "leaky")
    first = harness.listed(harness.leaks(target))
    for _ in range(9):
        check(harness.listed(harness.leaks(target)) == first, "a later report differs")
    target.check_unharmed()


@test
def kinds_and_min_bytes():
    """--kinds chooses what is listed; --min-bytes leaves out small groups; totals stay."""
    target = harness.start("direct")
    everything = harness.leaks(target).json["leaks"]
    only = harness.leaks(target, kinds=("possible",)).json["leaks"]
    check_equal(only["blocks"], [], "blocks with --kinds possible")
    check_equal(only["definite"], everything["definite"], "total with --kinds possible")
    large = harness.leaks(target, "--min-bytes", "100k").json["leaks"]
    check(all(g["bytes"] + g["indirect_bytes"] >= 100 * 1024 for g in large["groups"]),
          "a group is below --min-bytes")
    check(len(large["groups"]) > 0, "--min-bytes leaves out large groups")
    check_equal(large["definite"], everything["definite"], "total with --min-bytes")


@test
def rings_are_groups():
    """Lost cycles are shown as such."""
    target = harness.start("rings")
    groups = harness.leaks(target).json["leaks"]["groups"]
    check(any(g.get("ring") and g["indirect_blocks"] >= 19999 for g in groups),
          "no group is the ring of 20000 blocks")


@test
def text_report():
    """The text says the verdict in its first line, and the exit status follows the truth."""
    target = harness.start("direct")
    run = harness.memscope("leaks", target.pid, expect=1)
    first = run.out.splitlines()[0]
    check("lost" in first and any(c.isdigit() for c in first), "no verdict first: " + first)
    check(max(map(len, run.out.splitlines())) < 200, "overlong lines")
    clean = harness.start("cxx", "clean")
    run = harness.memscope("leaks", clean.pid, expect=0)
    check(run.out.strip() != "", "no report for a clean target")


if __name__ == "__main__":
    sys.exit(harness.main())
