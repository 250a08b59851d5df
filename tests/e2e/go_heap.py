# go_heap.py - the heap of Go programs: which objects are alive, what they point to, and from where.
"""
The oracle is the program: it says where it has put objects, and in which way each can be reached or
not; runtime.MemStats, read at rest after a collection, counts all that are alive.
"""

import json
import os
import re
import subprocess
import sys

import golang
import harness
from harness import Target, cases, check, check_equal, memscope, test

GOHEAP = os.path.join(os.path.dirname(harness.MEMSCOPE), "tests", "e2e", "goheap")
OBJECTS = 20000
STRIPPED = "-ldflags=-s -w"
ENDS = (golang.versions()[0], golang.versions()[-1])
ROUNDS = 6 if os.environ.get("SANITIZERS") == "yes" else 15
TRUTH = re.compile(r'^"(.*)" (\d+) (\d+)$')


class Object:
    """What the program says of one: its name, address, and bytes that are used of it."""

    def __init__(self, note):
        name, address, size = TRUTH.match(note).groups()
        self.name, self.address, self.size = name, int(address), int(size)


def truths(target, word):
    return [Object(note) for note in target.truth.notes[word]]


def read_heap(target, addresses=(), options=()):
    """What memscope has found: the sums, and of each address the object that it is in."""
    done = subprocess.run([GOHEAP, *options, str(getattr(target, "pid", target))],
                          input=" ".join(map(str, addresses)), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=harness.TIMEOUT)
    check(done.returncode == 0, "goheap: %d\n%s" % (done.returncode, done.stderr))
    found = json.loads(done.stdout)
    check(found["complete"], "not all of the heap could be read")
    return found


def check_truths(target, found, but=()):
    """FOUND has the addresses of the objects and then of the dead ones; not those called BUT."""
    alive, dead = truths(target, "object"), truths(target, "dead")
    for said, answer in zip(alive + dead, found["objects"]):
        if said.name in but:
            continue
        check(answer is not None, "%s: nothing is known at 0x%x" % (said.name, said.address))
        start, size, reached, what, _ = answer
        if said in dead:
            check(not reached, "%s is dead, and reachable by memscope" % said.name)
            continue
        check(reached, "%s is alive, and %s but not reachable by memscope" % (said.name, what))
        # a tiny one shares its block with others
        inside = start <= said.address if said.name == "tiny" else start == said.address
        check(inside and start + size >= said.address + said.size,
              "%s: %d bytes at 0x%x are in %d at 0x%x" % (said.name, said.size, said.address,
                                                          size, start))


def addresses_of(target):
    return [said.address for said in truths(target, "object") + truths(target, "dead")]


@cases(*((version,) for version in golang.versions()), *((version, STRIPPED) for version in ENDS))
def objects_alive_and_dead(case):
    version, *flags = case
    check_alive_and_dead(golang.go_program("heap", version, flags))


@cases(*(case for case in (("1.22.12", "noallocheaders"), (golang.NEWEST, "nogreenteagc", STRIPPED))
         if case[0] in golang.versions()))
def another_collector(case):
    """What a version's runtime has or has not by an experiment is seen in the process, not told by the version."""
    version, experiment, *flags = case
    check_alive_and_dead(golang.go_program("heap", version, flags, GOEXPERIMENT=experiment))


def check_alive_and_dead(program):
    for attempt in range(3):  # something of the runtime may run after it has counted
        with Target([program, str(OBJECTS)]) as target:
            found = read_heap(target, addresses_of(target))
            check_truths(target, found)
            counted = [int(word) for word in target.truth.note("stats").split()]
            if found["live"] == counted:
                break
    check_equal(found["live"], counted, "HeapObjects and HeapAlloc")
    check_equal(found["garbage"], [0, 0], "what is not swept after runtime.GC()")
    # All that the collector has left is reachable, but for what the runtime has dropped since.
    few = counted[0] // 1000
    check(found["unreachable"][0] <= few, "%d objects that the collector has marked are not reachable"
          % found["unreachable"][0])


@cases(*golang.versions())
def while_the_collector_works(version):
    """At each moment of a cycle, what is alive is: the marks, the bits and the sweeper disagree then."""
    with Target([golang.go_program("heap", version), "-busy", str(OBJECTS)]) as target:
        addresses = addresses_of(target)
        seen = set()
        for _ in range(ROUNDS):
            found = read_heap(target, addresses)
            check_truths(target, found, but=("pool", "dead", "dead's", "hidden", "scalar"))
            young = [said.name for said, answer in zip(truths(target, "object"), found["objects"])
                     if answer[4] and said.name != "pool"]
            check(not young, "older than any collection, and young: %s" % young)
            check(found["live"][0] >= OBJECTS, "%d objects are alive" % found["live"][0])
            check_equal(found["reachable"][0] + found["unreachable"][0], found["live"][0],
                        "reachable and not")
            seen.add(found["marking"])
            check(found["reachable"][0] >= OBJECTS, "%d objects are reachable" % found["reachable"][0])
        target.check_unharmed()


@cases(*golang.versions())
def before_any_collection(version):
    """From 1.24 on the collector makes the masks of big types when it first needs them."""
    with Target([golang.go_program("heap", version), "-early", str(OBJECTS)]) as target:
        found = read_heap(target, addresses_of(target))
        check_truths(target, found, but=("dead", "dead's", "hidden", "scalar"))
        old = [said.name for said, answer in zip(truths(target, "object"), found["objects"]) if not answer[4]]
        check(not old, "no collection was there yet, and not young: %s" % old)
        check_equal(found["young"], found["unreachable"], "what is unreachable before any collection")


@cases(*golang.versions())
def unreachable_and_young(version):
    """Of what nothing reaches, what was allocated since the last collection, and what was reachable then."""
    each = {"collected": None, "old": (True, False), "survived": (False, False), "young": (False, True),
            "new": (True, True)}
    with Target([golang.go_program("dropped", version), "200"]) as target:
        found = read_heap(target, options=["--all"])
        objects = {answer[0]: answer for answer, pointers in found["all"]}
        notes = [(way, int(note.split()[0])) for way in each for note in target.truth.notes[way]]
        used = {address for way, address in notes if way != "collected"}
        check_equal(len(used), sum(len(target.truth.notes[way]) for way in each if way != "collected"), "addresses")
        for way, address in notes:
            # the slot of one that was collected may have another now, which is no older than that
            answer = objects.get(address)
            if way == "collected":
                check(answer is None or answer[4], "0x%x was collected: %s" % (address, answer))
                continue
            check(answer is not None, "0x%x, %s: no object" % (address, way))
            check_equal((answer[2], answer[4]), each[way], "reachable and young of 0x%x, %s" % (address, way))
        for way, key in (("young", True), ("survived", False)):
            others = [answer for answer in objects.values()
                      if not answer[2] and answer[4] == key and answer[0] not in used]
            # what main itself does not need any more, and the runtime
            check(len(others) <= 8, "%s: %d more: %s" % (way, len(others), others[:20]))
        go = memscope("leaks", "-j", target.pid, expect=0).json["leaks"]["go"]
        for key, name in ("unreachable", "unreachable"), ("young", "unreachable_young"):
            check_equal([go[name]["blocks"], go[name]["bytes"]], found[key], name)
        text = memscope("leaks", target.pid, expect=0).out
        said = re.search(r"allocated since the last collection: .* in ([\d,]+) object", text)
        check(said and int(said.group(1).replace(",", "")) == found["young"][0], "young in the text:\n" + text)


@cases(*golang.versions())
def commands(version):
    with Target([golang.go_program("heap", version), str(OBJECTS)]) as target:
        named = {said.name: said for said in truths(target, "object")}
        heap = memscope("heap", "-j", target.pid, expect=0).json
        check(heap["heap"]["live"]["blocks"] >= OBJECTS, "too few blocks: %s" % heap["heap"]["live"])
        leaks = memscope("leaks", "-j", target.pid, expect=0).json["leaks"]
        check_equal(leaks["definite"]["blocks"], 0, "leaks")
        check_equal(leaks["go"]["version"].split(" ")[0], "go" + version, "version")
        check(leaks["go"]["live"]["blocks"] >= OBJECTS, "too few objects: %s" % leaks["go"])
        text = memscope("leaks", target.pid, expect=0).out
        check(re.match(r"Go 1\.\S+: nothing to leak: ", text), "the verdict:\n" + text)
        lost = memscope("profile", "--type", "leaks", "-o", os.devnull, target.pid, expect=3)
        check("--type retained" in lost.err, "of a profile of leaks:\n" + lost.err)
        for name, root in (("global", "main.global"), ("slice", "main.slice"),
                           ("map value", "main.values"), ("closure", "main.closure"),
                           ("interface", "main.face"), ("channel", "main.channel"),
                           ("lazy's last", "main.lazies"), ("huge's last", "main.giant")):
            path = memscope("path", "-j", target.pid, "0x%x" % named[name].address, expect=0).json
            chain = path["path"]["chains"][0]
            check(root in chain["root"]["name"], "%s: %s" % (name, chain["root"]))
        path = memscope("path", "-j", target.pid, "0x%x" % named["goroutine"].address, expect=0).json
        root = path["path"]["chains"][0]["root"]
        check(re.match(r"goroutine \d+ frame \d+ main\.waiter ", root["name"]), str(root))


@test
def core():
    """A core says the same as the process."""
    with Target([golang.go_program("heap"), str(OBJECTS)]) as target:
        live = read_heap(target, addresses_of(target))
        where = os.path.join(harness.scratch(), "core")
        subprocess.run([harness.tool("gcore"), "-o", where, str(target.pid)], check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        path = "%s.%d" % (where, target.pid)
        core_heap = read_heap(path, addresses_of(target))
        os.unlink(path)
        check_truths(target, core_heap)
        for key in "live", "garbage":
            check_equal(core_heap[key], live[key], key)


@cases(*ENDS)
def blocks_of_c(version):
    """What C code has lost is a leak; what Go's objects and variables hold is none."""
    with Target([golang.go_program("cleak", version, cgo=True)]) as target:
        lost, size = [int(word) for word in target.truth.note("lost").split()]
        run = harness.leaks(target, expect=1)
        check_equal(run.json["leaks"]["definite"]["blocks"], lost, "lost blocks")
        held = {int(target.truth.note(key)) for key in ("global", "held")}
        for block in run.json["leaks"]["blocks"]:
            check(int(block["address"], 16) not in held, "a block that Go holds is lost: %s" % block)
            check(block["size"] >= size, "another size: %s" % block)
        text = memscope("leaks", target.pid, expect=1).out
        check(text.startswith("malloc (cgo): definitely lost: "), "the verdict:\n" + text)
        check(re.search(r"^Go 1\.\S+: nothing to leak", text, re.M), "of Go:\n" + text)


sys.exit(harness.main())
