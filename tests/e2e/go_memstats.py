# go_memstats.py - `memscope memstats` of Go programs: runtime.MemStats as ReadMemStats has it, and an account of Rss.
import json
import sys
import time

import golang
import harness
from harness import cases, check, check_equal

# Those that only grow; what is read between two calls of ReadMemStats lies between them.
GROWING = ("TotalAlloc", "Mallocs", "Frees", "NumGC", "NumForcedGC", "LastGC", "PauseTotalNs")
ROUNDS = 8


def start(version, *arguments, **options):
    program = golang.go_program("memstats", version)
    return harness.Target([program] + [str(a) for a in arguments], truth=False, **options)


def ask(target, letter):
    target.process.stdin.write(letter.encode())
    target.process.stdin.flush()
    return target.process.stdout.readline().decode().strip()


def read(target):
    """The target's own runtime.MemStats: this gives back the caches of its Ps."""
    return json.loads(ask(target, "s"))


def come_to_rest(target):
    """Sweeping and the scavenger go on for a while after a collection."""
    deadline = time.monotonic() + harness.TIMEOUT / 2
    before = read(target)
    while time.monotonic() < deadline:
        time.sleep(0.15)
        now = read(target)
        if now == before:
            return now
        before = now
    raise harness.Failure("the target does not come to rest")


def ours(target):
    return harness.memscope("memstats", "-j", target.pid, expect=0).json["memstats"]["go"]


def differences(mine, theirs, flushed):
    """
    Names of fields that differ. Where the caches were not given back before, doing so may take blocks
    for the lists of spans: they move from OtherSys to GCSys, which may be mapped for that in pieces of
    256 KiB; a memory limit counts these, so that the goal changes.
    """
    wrong = []
    moved, grown = theirs["GCSys"] - mine["GCSys"], theirs["Sys"] - mine["Sys"]
    excused = ()
    if (not flushed and 0 < moved <= 1 << 18 and grown in (0, 1 << 18) and
            mine["OtherSys"] - theirs["OtherSys"] == moved - grown):
        excused = ("GCSys", "OtherSys", "Sys", "NextGC") if grown else ("GCSys", "OtherSys")
    for name, value in theirs.items():
        found = mine[name]
        if isinstance(found, float) or isinstance(value, float):
            same = float(found) == float(value)
        else:
            same = found == value
        if not same and name not in excused:
            wrong.append("%s: %s, not %s" % (name, str(found)[:200], str(value)[:200]))
    return wrong


def compare(target):
    """
    Field by field, at rest: after ReadMemStats, and before it with counts in the caches. Who sees the
    target at work in between tries again.
    """
    for _ in range(ROUNDS):
        theirs = come_to_rest(target)
        after = differences(ours(target), theirs, True)
        if after and read(target) != theirs:
            continue
        check(not after, "after ReadMemStats:\n" + "\n".join(after))
        check_equal(ask(target, "l"), "done", "answer")
        mine = ours(target)
        again = ours(target)
        theirs = read(target)
        before = differences(mine, theirs, False)
        if before and (mine != again or theirs["NumGC"] != mine["NumGC"]):
            continue
        check(not before, "before ReadMemStats:\n" + "\n".join(before))
        check(mine["Mallocs"] > 0 and mine["pacing"]["phase"] == "off", str(mine["pacing"]))
        return mine
    raise harness.Failure("never at rest in %d rounds" % ROUNDS)


@cases(*golang.versions())
def as_the_process_reads_it(version):
    target = start(version, 2, 100, 40)
    mine = compare(target)
    pacing = mine["pacing"]
    check_equal((pacing["gc_percent"], pacing["cycle"]), (100, mine["NumGC"]), "GOGC and cycle")
    check_equal(pacing["goal"], mine["NextGC"], "goal")
    check(pacing["heap_marked"] <= pacing["trigger"] <= pacing["goal"], str(pacing))
    target.check_unharmed()


@cases(golang.versions()[0], golang.versions()[-1])
def without_a_collector(version):
    mine = compare(start(version, 1, "off", 100, environment={"GOMAXPROCS": "7"}))
    check_equal((mine["pacing"]["gc_percent"], mine["pacing"]["gomaxprocs"]), (-1, 7), "settings")


@cases(*[v for v in (golang.versions()[0], golang.versions()[-1]) if golang.minor(v) >= 19])
def with_a_memory_limit(version):
    mine = compare(start(version, 1, "off", 20, environment={"GOMEMLIMIT": "200MiB"}))
    check_equal(mine["pacing"]["memory_limit"], 200 << 20, "limit")


def words(target):
    """What the target read last, in words by Go's own formatting."""
    target.process.stdin.write(b"w")
    target.process.stdin.flush()
    return [line.decode().rstrip("\n") for line in iter(target.process.stdout.readline, b".\n")]


@cases(golang.versions()[0], golang.versions()[-1])
def in_words(version):
    """The text is what gops prints."""
    target = start(version, 3, 100, 10)
    for _ in range(ROUNDS):
        come_to_rest(target)
        text = harness.memscope("memstats", target.pid, expect=0).out.splitlines()
        theirs = words(target)
        begin = text.index("runtime.MemStats") + 1
        mine = text[begin:begin + len(theirs)]
        if mine == theirs:
            return
    check_equal("\n".join(mine), "\n".join(theirs), "text")


@cases(golang.versions()[0], golang.versions()[-1])
def while_it_runs(version):
    """A collector at work: what only grows is between before and after, and sums are sums."""
    target = start(version, 1, 100, 10)
    check_equal(ask(target, "b"), "done", "answer")
    for _ in range(5):
        before, mine, after = read(target), ours(target), read(target)
        for name in GROWING:
            check(before[name] <= mine[name] <= after[name],
                  "%s: %d, %d, %d" % (name, before[name], mine[name], after[name]))
        check_equal(mine["Mallocs"] - mine["Frees"], mine["HeapObjects"], "HeapObjects")
        check_equal(mine["HeapIdle"] + mine["HeapInuse"], mine["HeapSys"], "HeapSys")
        check_equal(sum(mine[n] for n in ("HeapSys", "StackSys", "MSpanSys", "MCacheSys",
                                          "BuckHashSys", "GCSys", "OtherSys")), mine["Sys"], "Sys")
        check(mine["HeapAlloc"] <= mine["HeapInuse"] and mine["HeapReleased"] <= mine["HeapIdle"],
              str(mine)[:600])
        check(0 <= mine["pacing"]["cycle"] - mine["NumGC"] <= 1, str(mine["pacing"]))


# The account

KINDS = (  # what it is, verdict, rows that must have most of the MiB that were asked for
    ("live", "retained by live data", ("go_live",)),
    ("garbage", "garbage waiting for the collector", ("go_garbage", "go_unswept")),
    ("idle", "free spans not yet returned to the system", ("go_idle",)),
    ("fragments", "fragmentation", ("go_free_slots",)),
    ("stacks", "stacks of goroutines", ("go_stacks",)),
    ("malloc", "retained by live data", ("live",)),
)
MIB = 48


def account(target):
    before = harness.kib(target.pid, "Rss")
    run = harness.memscope("memstats", "-j", target.pid, expect=0)
    after = harness.kib(target.pid, "Rss")
    rss = run.json["memstats"]["rss"]
    low, high = min(before, after), max(before, after)
    check(low * 0.99 <= rss["total"] <= high * 1.01,
          "total is %d, but Rss %d before and %d after" % (rss["total"], before, after))
    check_equal(sum(r["bytes"] for r in rss["rows"]), rss["accounted"], "sum of rows")
    check(abs(rss["accounted"] - rss["total"]) <= rss["total"] * 0.01, str(rss)[:300])
    return {r["name"]: r["bytes"] for r in rss["rows"]}, run.json["memstats"]


@cases(*[(kind, version) for kind in KINDS for version in (golang.versions()[0],
                                                           golang.versions()[-1])])
def rows_add_up(case):
    (kind, verdict, rows), version = case
    program = golang.go_program("account", version, cgo=kind == "malloc")
    target = harness.Target([program, kind, str(MIB)], truth=False)
    found, report = account(target)
    there = sum(found[row] for row in rows)
    enough = MIB << 20
    if kind in ("fragments", "stacks"):  # a sixteenth is live; what is below the frames is not touched
        enough *= 0.5
    check(enough * 0.9 <= there <= (MIB << 20) * 1.3, "%s: %d\n%s" % (rows, there, found))
    check_equal(report["verdict"]["name"], verdict, "verdict (%s)" % report["verdict"]["reason"])
    if kind == "stacks":  # those of the runtime are in it too
        words = report["verdict"]["reason"].split()
        count = int(words[words.index("goroutines") - 1])
        check(MIB << 5 <= count <= (MIB << 5) + 20, report["verdict"]["reason"])
    if kind == "garbage":
        check("GOGC=off" in report["verdict"]["reason"], report["verdict"]["reason"])
    target.check_unharmed()


if __name__ == "__main__":
    sys.exit(harness.main())
