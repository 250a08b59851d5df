# rss.py - `memscope memstats` accounts for every resident byte: rows add up to the kernel's Rss.
import sys
import time

import harness
from harness import cases, check, check_equal

CASES = [("direct",), ("freed",), ("arenas",), ("mmapped",), ("huge",), ("memalign",),
         ("roots_maps",), ("brkblocked",), ("cxx", "clean"), ("manythreads", 500), ("prefork", 64),
         ("bigheap", 300000), ("direct_static",), ("direct_nopie",), ("roots_dtls",)]


def check_account(pid):
    before = harness.kib(pid, "Rss")
    run = harness.memscope("memstats", "-j", pid, expect=0)
    after = harness.kib(pid, "Rss")
    rss = run.json["memstats"]["rss"]
    rows = rss["rows"]
    low, high = min(before, after), max(before, after)
    check(low * 0.99 <= rss["total"] <= high * 1.01,
          "total is %d, but Rss %d before and %d after" % (rss["total"], before, after))
    check_equal(sum(r["bytes"] for r in rows), rss["total"], "sum of rows")
    check(all(r["bytes"] >= 0 for r in rows), "a negative row: %s" % rows)
    check_equal(len({r["name"] for r in rows}), len(rows), "number of different rows")
    return {r["name"]: r["bytes"] for r in rows}, run


@cases(*CASES)
def rows_add_up(case):
    target = harness.start(*case)
    check_account(target.pid)
    target.check_unharmed()


@harness.test
def forked_children():
    """A child's resident bytes are counted though they are shared with its parent."""
    target = harness.start("prefork", 64, 2)
    for child in target.truth.notes["child"]:
        check_account(int(child))


@harness.test
def leaked_and_live():
    """The rows of the heap follow the truth: what is lost is in the lost row."""
    target = harness.start("bigheap", 300000)
    rows, run = check_account(target.pid)
    counts = {n.split()[0]: n.split()[1:] for n in target.truth.notes["count"]}
    # 8 bytes of header a block; a page may hold blocks of several kinds
    lost = sum(int(counts[k][1]) + 8 * int(counts[k][0]) for k in ("definite", "indirect"))
    live = int(counts["reachable"][1]) + 8 * int(counts["reachable"][0])
    check(abs(rows["lost"] - lost) <= lost * 0.02, "lost: %d, not %d" % (rows["lost"], lost))
    check(abs(rows["live"] - live) <= live * 0.02, "live: %d, not %d" % (rows["live"], live))
    check(run.json["memstats"]["verdict"]["name"] is not None, "no verdict")


@harness.test
def sleeping_program():
    """A program that uses little heap: text, data and stacks carry the account."""
    target = harness.Target([harness.tool("sleep"), "1000"], wait=False, truth=False)
    time.sleep(0.3)
    check_account(target.pid)


if __name__ == "__main__":
    sys.exit(harness.main())
