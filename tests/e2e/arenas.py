# arenas.py - each arena's figures against what the allocator, or gdb for the tcache, says of it.
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import harness
from harness import cases, check, check_equal

BYTES = ("live_bytes", "free_bytes", "tcache_bytes", "fastbin_bytes", "top_bytes",
         "overhead_bytes")
CASES = [("direct",), ("freed",), ("arenas",), ("arenas", 100, 3), ("memalign",), ("mmapped",),
         ("brkforeign",), ("brkblocked",), ("huge",), ("cxx", "clean"), ("manythreads", 300),
         ("roots_dtls",), ("arenas_static",), ("freed", "glibc.malloc.tcache_count=0"),
         ("arenas", "glibc.malloc.hugetlb=1"), ("arenas", "glibc.malloc.arena_max=2"),
         ("freed", "glibc.malloc.mxfast=0"), ("mmapped", "glibc.malloc.mmap_max=3"),
         ("arenas", "glibc.malloc.top_pad=1000000")]


def start(case):
    """
    A fixture that wrote malloc_info and mallinfo2 after its last change of the heap. The last word
    of a case may tune its allocator.
    """
    path = os.path.join(harness.scratch(), "info.xml")
    environment = {"TRUTH_INFO": path}
    if str(case[-1]).startswith("glibc.malloc."):
        environment["GLIBC_TUNABLES"] = case[-1]
        case = case[:-1]
    target = harness.start(*case, environment=environment)
    with open(path) as file:
        return target, file.read()


def stated_arenas(text):
    """
    One tuple an arena, as malloc_info has it: system bytes, fast chunks and their bytes, free
    chunks but top and the bytes of those and top.

    malloc_info adds up the size fields of chunks in bins with their flag bits. A free chunk's
    neighbour below is never free, so each has PREV_INUSE, and no other flag.
    """
    arenas = []
    for heap in ElementTree.fromstring(text.split("<!--")[0]).findall("heap"):
        totals = {t.get("type"): (int(t.get("count")), int(t.get("size")))
                  for t in heap.findall("total")}
        system = [int(s.get("size")) for s in heap.findall("system")
                  if s.get("type") == "current"][0]
        blocks = totals["rest"][0] - 1  # top is always one of them
        size = totals["rest"][1] - blocks
        check(size % 16 == 0, "free chunks with other flags than expected: %s" % (totals,))
        arenas.append((system, totals["fast"][0], totals["fast"][1], blocks, size))
    return arenas


def reported(target):
    run = harness.memscope("memstats", "-j", target.pid, expect=0)
    rows = run.json["memstats"]["arenas"]
    return ([r for r in rows if not r.get("mapped")], [r for r in rows if r.get("mapped")])


@cases(*CASES)
def malloc_info(case):
    """Each arena's system bytes, fastbins, bins and top are those of malloc_info."""
    target, text = start(case)
    rows, _ = reported(target)
    ours = [(r["system"], r["fastbin_blocks"], r["fastbin_bytes"], r["free_blocks"],
             r["free_bytes"] + r["top_bytes"]) for r in rows]
    theirs = stated_arenas(text)
    check_equal(len(ours), len(theirs), "number of arenas")
    only_ours = sorted(set(ours) - set(theirs))
    only_theirs = sorted(set(theirs) - set(ours))
    check(sorted(ours) == sorted(theirs),
          "(system, fast blocks, bytes, free blocks, bytes with top):\nonly memscope: %s\n"
          "only malloc_info: %s" % (only_ours[:8], only_theirs[:8]))
    target.check_unharmed()


@cases(*CASES)
def sums(case):
    """Every byte of every arena is in one class."""
    target, _ = start(case)
    rows, mapped = reported(target)
    for row in rows:
        check_equal(sum(row[b] for b in BYTES), row["system"], "sum of arena %s" % row["address"])
        check_equal(row.get("unknown_bytes", 0), 0, "unknown bytes of arena %s" % row["address"])
        check(all(v >= 0 for v in row.values() if isinstance(v, int)), "negative figure %s" % row)
    for row in mapped:
        check_equal(sum(row[b] for b in BYTES), row["system"], "sum of the mapped blocks")


@cases(*CASES)
def mallinfo2(case):
    """The sums over all arenas, and the mapped blocks, are those of mallinfo2."""
    target, text = start(case)
    figures = text.split("<!--")[1].split("-->")[0].split()
    stated = dict(zip(figures[::2], map(int, figures[1::2])))
    rows, mapped = reported(target)
    free = sum(r["free_bytes"] + r["top_bytes"] + r["fastbin_bytes"] for r in rows)
    check_equal(sum(r["system"] for r in rows), stated["arena"], "arena")
    check_equal(sum(r["free_blocks"] + 1 for r in rows), stated["ordblks"], "ordblks")
    check_equal(sum(r["fastbin_blocks"] for r in rows), stated["smblks"], "smblks")
    check_equal(sum(r["fastbin_bytes"] for r in rows), stated["fsmblks"], "fsmblks")
    check_equal(free, stated["fordblks"], "fordblks")
    # what the allocator counts as in use: live and cached chunks, and what is neither
    used = sum(r["live_bytes"] + r["tcache_bytes"] + r["overhead_bytes"] for r in rows)
    check_equal(used, stated["uordblks"], "uordblks")
    check_equal(sum(r["live_blocks"] for r in mapped), stated["hblks"], "hblks")
    check_equal(sum(r["system"] for r in mapped), stated["hblkhd"], "hblkhd")


@cases(("load", 3), ("loadsingle",), ("churn",))
def under_load(case):
    """Also of a heap that changes all the time every byte is in one class."""
    target = harness.start(*case)
    incomplete = 0
    for _ in range(15):
        run = harness.memscope("memstats", "-j", target.pid, expect=(0, 4))
        incomplete += run.status == 4
        if run.status == 0:
            for row in run.json["memstats"]["arenas"]:
                check_equal(sum(row[b] for b in BYTES), row["system"],
                            "sum of arena %s" % row["address"])
    check(incomplete <= 7, "%d of 15 reports were incomplete" % incomplete)
    target.check_unharmed()


# Adds up, over all threads, how many chunks of which size lie in their tcache.
GDB_TCACHE = """
import gdb
word = gdb.lookup_type("unsigned long").pointer()
blocks = size = 0
for thread in gdb.selected_inferior().threads():
    thread.switch()
    tcache = gdb.parse_and_eval("'malloc.c'::tcache")
    if int(tcache) == 0:
        continue
    for bin in range(64):
        entry = tcache["entries"][bin]
        while int(entry) != 0:
            address = int(entry)
            blocks += 1
            size += int(gdb.Value(address - 8).cast(word).dereference()) & ~7
            entry = gdb.Value(int(entry["next"]) ^ (address >> 12)).cast(entry.type)
print("TCACHE", blocks, size)
"""


@cases(("freed",), ("arenas",), ("cxx", "clean"), ("memalign",))
def tcache(case):
    """Chunks in thread caches are those that gdb finds by libc's debug information."""
    target, _ = start(case)
    script = os.path.join(harness.scratch(), "tcache.py")
    with open(script, "w") as file:
        file.write(GDB_TCACHE)
    done = subprocess.run([harness.tool("gdb"), "-nx", "-batch", "-iex",
                           "set debuginfod enabled off", "-p", str(target.pid), "-x", script],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=harness.TIMEOUT)
    found = re.search(r"^TCACHE (\d+) (\d+)$", done.stdout, re.MULTILINE)
    check(found is not None, "gdb could not tell (libc6-dbg missing?):\n" + done.stdout[-1500:])
    rows, _ = reported(target)
    check_equal((sum(r["tcache_blocks"] for r in rows), sum(r["tcache_bytes"] for r in rows)),
                (int(found.group(1)), int(found.group(2))), "blocks and bytes in thread caches")


if __name__ == "__main__":
    sys.exit(harness.main())
