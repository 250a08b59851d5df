# go_suspects.py - what timers, contexts and finalizers of Go programs keep alive.
"""
The oracle is the fixture: it says how many of each it has made, how many bytes they hold at least, and by how much
Go's own count of the heap has grown: they can hold no more than that.
"""

import json
import sys

import golang
import harness
from harness import Target, cases, check, check_equal, memscope

SLACK = 64 << 10  # what the runtime itself frees meanwhile


def suspects(target):
    run = memscope("heap", "-j", str(target.pid), expect=(0,))
    return json.loads(run.out)["heap"].get("go_suspects", [])


def start(version, what, *flags):
    # what go.mod says of the version would have later ones do as 1.22 did
    environment = {"GODEBUG": "asynctimerchan=0"}
    return Target([golang.go_program("suspects", version, flags), what], environment=environment)


def note(target, key):
    return int(target.truth.note(key))


def the_one(target, kind):
    """The suspect of that kind, which is the biggest and has the bytes that the fixture says."""
    found = suspects(target)
    check(found and found[0]["kind"] == kind, "the first is no %s: %s" % (kind, found))
    check_equal([one["kind"] for one in found[1:] if one["kind"] == kind], [], "others like it")
    return found[0]


def check_bytes(target, found, less=0):
    least, most = note(target, "payload") - less, note(target, "grown") + SLACK
    check(least <= found["retained_bytes"] <= most,
          "%d bytes are kept and not %d to %d" % (found["retained_bytes"], least, most))


FLAGS = ((), ("-ldflags=-s -w",))


@cases(*golang.versions())
def test_timers(version):
    for flags in FLAGS:
        with start(version, "timers", *flags) as target:
            found = the_one(target, "timers")
            check_equal((found["timer"], found["function"], found["count"], found["in_an_hour_or_later"],
                         found["stopped"]),
                        ("function", "main.(*session).expire", note(target, "count"), note(target, "far"), 0),
                        "the timers")
            check_bytes(target, found)


@cases(*golang.versions())
def test_channels_of_timers(version):
    """Since 1.23 a timer that nobody waits for is garbage."""
    with start(version, "after") as target:
        found = suspects(target)
        if golang.minor(version) >= 23:
            check_equal(found, [], "suspects")
            return
        check_equal([(one["kind"], one["timer"], one["count"]) for one in found],
                    [("timers", "channel", note(target, "count"))], "the timers")
        check(found[0]["retained_bytes"] <= note(target, "grown") + SLACK, "they keep more than there is")


@cases(*golang.versions())
def test_children_of_contexts(version):
    for flags in FLAGS:
        with start(version, "children", *flags) as target:
            found = the_one(target, "children")
            check_equal((found["count"], found["children"]), (note(target, "count"), note(target, "children")),
                        "children")
            check_bytes(target, found)
            if not flags:
                check_equal((found["type"], found["expression"]),
                            ("context.cancelCtx", "main.base.(*context.cancelCtx)"), "the parent")


@cases(*golang.versions())
def test_chains_of_values(version):
    with start(version, "values") as target:
        found = the_one(target, "values")
        check_equal((found["count"], found["expression"]),
                    (note(target, "count"), "main.request.(*context.valueCtx)"), "the chain")
        check_bytes(target, found)


@cases(*golang.versions())
def test_finalizers(version):
    for flags in FLAGS:
        with start(version, "finalizers", *flags) as target:
            found = the_one(target, "finalizers")
            check_equal((found["count"], found["function"], found["state"]),
                        (note(target, "count"), "main.wait", "chan receive"), "the queue")
            check_equal(found["most_type"], "[]uint8", "most of it")
            check_bytes(target, found)


@cases(*[version for version in golang.versions() if golang.minor(version) >= 24])
def test_cleanups(version):
    """In 1.24 they are in the queue of finalizers; later what has begun is no longer in the queue."""
    with start(version, "cleanups") as target:
        found = the_one(target, "finalizers" if golang.minor(version) == 24 else "cleanups")
        count, started = note(target, "count"), note(target, "started")
        check(count - started <= found["count"] <= count, "%d of %d wait" % (found["count"], count))
        check_equal((found["function"], found["state"]), ("main.cleanups.func1", "chan receive"), "what runs them")
        check_bytes(target, found, less=started * 8192)


@cases(*golang.versions())
def test_cycles_with_finalizers(version):
    with start(version, "cycles") as target:
        check_equal(note(target, "started"), 0, "finalizers that have run")
        found = the_one(target, "cycles")
        check_equal((found["count"], found["type"]), (note(target, "count"), "main.file"), "the cycles")
        check_equal(found["most_type"], "[]uint8", "most of it")
        check_bytes(target, found)


@cases(*golang.versions())
def test_no_false_alarm(version):
    with start(version, "quiet") as target:
        check_equal(suspects(target), [], "suspects")


@cases(*golang.versions())
def test_holders_of_pools(version):
    """The program's own variable holds what is in a pool, and not the runtime's list of all pools."""
    with start(version, "pool") as target:
        for said in target.truth.notes["buffer"]:
            address, name = said.split()
            run = memscope("path", "-j", str(target.pid), address, expect=(0,))
            root = json.loads(run.out)["path"]["chains"][0]["root"]
            check(root["variable"] and root["variable"].startswith(name), "%s is held by %s" % (name, root))


def check_ways(version, what, kinds):
    with start(version, what) as target:
        for said in target.truth.notes["way"]:
            address, kind, expression = said.split(" ", 2)
            if kind not in kinds:
                continue
            run = memscope("path", "-j", str(target.pid), address, expect=(0,))
            path = json.loads(run.out)["path"]
            check_equal((path["block"]["type"], path["chains"][0]["expression"]), ("main.session", expression),
                        "what is at " + address)


@cases(*golang.versions())
def test_ways_through_functions(version):
    """What has no type, and no name, but for the function that has it; Go tells what a closure has from 1.23 on."""
    check_ways(version, "closures", ["bound"] if golang.minor(version) < 23 else ["bound", "byValue", "byReference"])


@cases(*golang.versions())
def test_ways_through_structures(version):
    """Maps for several goroutines, channels; types that the program makes while it runs."""
    check_ways(version, "structures", ["any"])
    with start(version, "structures", "-ldflags=-s -w") as target:
        address, name = target.truth.note("made").split(" ", 1)
        run = memscope("path", "-j", str(target.pid), address, expect=(0,))
        check_equal(json.loads(run.out)["path"]["block"]["type"], name, "what reflection has made")


@cases(golang.versions()[-1])
def test_text(version):
    with start(version, "timers") as target:
        text = memscope("heap", str(target.pid), expect=(0,)).out
        check("2,000 timers (time.AfterFunc of main.(*session).expire) keep " in text, text)
        check("700 of them fire in an hour at the earliest" in text, text)


if __name__ == "__main__":
    sys.exit(harness.main())
