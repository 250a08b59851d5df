# go_profile.py - memscope profile of Go programs: equal to what they write of themselves, sample by sample.
"""
The oracle is runtime/pprof in the target, which writes its heap profile at rest; `go tool pprof -raw` reads
both files. Locations are compared whole: address, mapping, and each inlined call with its file and line.
"""

import os
import pty
import re
import struct
import subprocess
import sys

import golang
import harness
from harness import cases, check, check_equal, test

SAMPLE = re.compile(r"^((?: +-?\d+)+): ?((?:\d+ )*)$")
LABELS = re.compile(r"^ {16}(\S.*)$")
LOCATION = re.compile(r"^ +(\d+): (0x[0-9a-f]+) (?:M=(\d+) )?(.*)$")


class Profile:
    """What pprof says that is in a file."""

    def __init__(self, path, *options):
        self.path = path
        raw = pprof("-raw", *options, path)
        head, rest = raw.split("Samples:\n")
        samples, rest = rest.split("Locations\n")
        places, maps = rest.split("Mappings\n")
        self.head = [line for line in head.splitlines() if not line.startswith("Time: ")]
        self.maps = maps.splitlines()
        self.types, *samples = samples.splitlines()
        self.locations = self._read_locations(places)
        self.samples = {}
        self._read_samples(samples)

    def _read_locations(self, text):
        locations, last = {}, None
        for line in text.splitlines():
            first = LOCATION.match(line)
            if first:
                last = locations[first.group(1)] = [first.group(2)]
                last.append(self.maps[int(first.group(3)) - 1] if first.group(3) else None)
                last.append(first.group(4))
            else:
                last.append(line.strip())
        return {number: tuple(location) for number, location in locations.items()}

    def _read_samples(self, lines):
        """Values by stack and labels; those of nothing but zeros are none."""
        for number, line in enumerate(lines):
            found = SAMPLE.match(line)
            if not found:
                continue
            values = [int(word) for word in found.group(1).split()]
            stack = tuple(self.locations[word] for word in found.group(2).split())
            labels = LABELS.match(lines[number + 1]) if number + 1 < len(lines) else None
            key = (stack, labels.group(1) if labels else "")
            if any(values):
                old = self.samples.get(key, [0] * len(values))
                self.samples[key] = [a + b for a, b in zip(old, values)]

    def functions(self):
        return {line.split(" ")[0] for stack, _ in self.samples for location in stack
                for line in location[2:]}


def pprof(*arguments):
    return golang.go(golang.NEWEST, "tool", "pprof", "-symbolize=none", *arguments)


def ours(target, name, *options, **more):
    path = os.path.join(harness.scratch(), name + ".pb.gz")
    harness.memscope("profile", "-o", path, *options, target.pid, **dict({"expect": 0}, **more))
    return Profile(path)


def start(program, mode, rounds, rate):
    directory = os.path.join(harness.scratch(), "written")
    os.makedirs(directory, exist_ok=True)
    target = harness.Target([program, mode, str(rounds), str(rate), directory], truth=False)
    return target, directory


def compare(mine, theirs, leave_out=None):
    """Leaves out samples that LEAVE_OUT is true of."""
    check_equal(mine.head, theirs.head, "what the profile is of")
    check_equal(mine.types, theirs.types, "the types of samples")
    check_equal(mine.maps, theirs.maps, "mappings")
    wrong = []
    for key in sorted(set(mine.samples) | set(theirs.samples), key=str):
        a, b = mine.samples.get(key), theirs.samples.get(key)
        if a != b and not (leave_out and leave_out(key)):
            wrong.append("%s, not %s: %s" % (a, b, key))
    check(not wrong, "%d of %d samples differ:\n%s" % (len(wrong), len(theirs.samples),
                                                       "\n".join(wrong[:5])))


def check_program(program, mode, rounds, rate, least):
    target, directory = start(program, mode, rounds, rate)
    heap, allocs = ours(target, "heap"), ours(target, "allocs", "--type", "allocs")
    check_equal(target.ask("go"), "written", "what the target said")
    target.check_unharmed()
    compare(heap, Profile(directory + "/heap"))
    compare(allocs, Profile(directory + "/allocs"))
    check(len(heap.samples) >= least, "only %d samples" % len(heap.samples))
    target.stop()
    return heap


@cases(*golang.versions())
def same_as_the_program_says_at_every_allocation(version):
    heap = check_program(golang.go_program("profile", version), "twice", 20, 1, 100)
    for function in ("main.innermost", "main.even", "main.closures.func1", "main.drop"):
        check(function in heap.functions(), "no %s in the profile" % function)


# Samples that only come about when the program writes its profile.
WRITING = re.compile(r"^(os\.|runtime/pprof\.|runtime\.(newm|allocm|startm|wakep|mstart|malg|newproc))")


def in_writing(key):
    return any(WRITING.match(line) for location in key[0] for line in location[2:])


@cases(*golang.versions())
def before_the_first_collection(version):
    """All that was allocated so far is published when somebody asks."""
    target, directory = start(golang.go_program("profile", version), "uncollected", 20, 1)
    mine = ours(target, "uncollected")
    target.ask("go")
    theirs = Profile(directory + "/heap")
    check(len(mine.samples) >= 100, "only %d samples" % len(mine.samples))
    compare(mine, theirs, in_writing)


@cases((golang.NEWEST, 512), (golang.NEWEST, 524288), (golang.DEBIAN, 512))
def values_are_scaled_by_the_rate(case):
    version, rate = case
    check_program(golang.go_program("profile", version), "collected", 300, rate, 5)


@cases(("pie", ["-buildmode=pie"], {}), ("stripped", ["-ldflags=-s -w"], {}),
       ("cgo", [], {"cgo": True}), ("not inlined", ["-gcflags=-l"], {}))
def however_it_was_built(case):
    _, flags, more = case
    check_program(golang.go_program("profile", None, flags, **more), "twice", 20, 512, 50)


@cases(*golang.versions())
def goroutines_as_the_program_says(version):
    path = os.path.join(harness.scratch(), "waiters")
    target = harness.Target([golang.go_program("waiters", version), path], truth=False)
    mine = ours(target, "goroutine", "--type", "goroutine")
    check_equal(target.ask("go"), "written", "what the target said")
    # the one that writes is where it asked for that
    writer = (lambda key: any(line.startswith("main.main ") for location in key[0]
                              for line in location[2:]))
    compare(mine, Profile(path), writer)
    check_equal(sum(mine.samples[key][0] for key in mine.samples if not writer(key)), 54, "goroutines")


@cases(*golang.versions())
def of_a_stripped_program(version):
    check_program(golang.go_program("profile", version, ["-ldflags=-s -w"]), "twice", 20, 1, 100)


@test
def of_a_core():
    target, directory = start(golang.go_program("profile"), "twice", 20, 512)
    core = os.path.join(harness.scratch(), "core")
    subprocess.run([harness.tool("gcore"), "-o", core, str(target.pid)], check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    core += ".%d" % target.pid
    path = os.path.join(harness.scratch(), "core.pb.gz")
    harness.memscope("profile", "-o", path, core, expect=0)
    check_equal(target.ask("go"), "written", "what the target said")
    compare(Profile(path), Profile(directory + "/heap"))
    os.unlink(core)


def poke(target, program, offset, value):
    """
    Writes a word into the newest bucket: OFFSET 8 is allnext, 16 typ, 40 nstk. None is its own address.
    """
    nm = golang.go(golang.NEWEST, "tool", "nm", program)
    head = int(next(line.split()[0] for line in nm.splitlines() if line.endswith(" runtime.mbuckets")), 16)
    with open("/proc/%d/mem" % target.pid, "r+b", buffering=0) as memory:
        memory.seek(head)
        bucket = struct.unpack("<Q", memory.read(8))[0]
        memory.seek(bucket + offset)
        memory.write(struct.pack("<Q", value if value is not None else bucket))


@cases(("ring", 8, None), ("nowhere", 8, 0x1234), ("stack", 40, 1 << 40), ("kind", 16, 77))
def a_damaged_list_ends_and_is_told(case):
    _, offset, value = case
    program = golang.go_program("profile")
    target, _ = start(program, "collected", 5, 1)
    poke(target, program, offset, value)
    path = os.path.join(harness.scratch(), "damaged.pb.gz")
    run = harness.memscope("profile", "-o", path, target.pid, expect=4)
    target.process.kill()  # its own way through that list would end worse
    check("damaged" in run.err, "nothing said: %s" % run)
    kept = len(Profile(path).samples)
    check(kept <= 1, "%d samples" % kept)


@test
def without_a_profile_it_is_said_why():
    program = golang.go_program("unprofiled")
    target = harness.Target([program], truth=False)
    run = harness.memscope("profile", "-o", harness.scratch() + "/none", target.pid, expect=3)
    check("runtime.MemProfile" in run.err, "no reason: %s" % run)
    check(not os.path.exists(harness.scratch() + "/none"), "a file was left")


@test
def a_rate_of_zero_is_told():
    target, directory = start(golang.go_program("profile"), "collected", 5, 0)
    path = os.path.join(harness.scratch(), "zero.pb.gz")
    run = harness.memscope("profile", "-o", path, target.pid, expect=0)
    check("MemProfileRate is 0" in run.err, "nothing said: %s" % run)
    target.ask("go")
    compare(Profile(path), Profile(directory + "/heap"))


@test
def other_programs_have_no_such_profile():
    target = harness.start("trees")
    run = harness.memscope("profile", "-o", harness.scratch() + "/c", target.pid, expect=3)
    check("no Go program" in run.err and "--type leaks" in run.err, str(run))


@test
def leaks_add_up():
    target = harness.start("trees")
    report = harness.memscope("leaks", "-j", "--kinds", "definite,possible", target.pid,
                              expect=1).json["leaks"]
    mine = ours(target, "leaks", "--type", "leaks")
    expected = {}
    for group in report["groups"]:
        name = group["type"] or "%d bytes, type not known" % group["size"]
        kind = {"definite": "definitely lost", "possible": "possibly lost"}[group["kind"]]
        own = expected.setdefault((name, kind), [0, 0])
        own[0] += group["blocks"]
        own[1] += group["bytes"]
        if group["indirect_blocks"]:
            held = expected.setdefault(("what they hold", name, kind), [0, 0])
            held[0] += group["indirect_blocks"]
            held[1] += group["indirect_bytes"]
    found = {}
    for (stack, _), values in mine.samples.items():
        names = tuple(re.sub(r"  ?:0.*", "", location[2]).strip() for location in stack)
        old = found.get(names, [0, 0])
        found[names] = [old[0] + values[0], old[1] + values[1]]
    check_equal(found, expected, "samples of leaks")
    check(len(expected) >= 2, "too few groups: %r" % expected)


def names(location):
    """What a location without code stands for."""
    return re.sub(r" *:?\d+:\d+ s=\d+$", "", location[2]).strip()


def sums(profile, wanted):
    """Objects and bytes of the samples with a frame of which WANTED(name, is innermost) is true."""
    total = [0, 0]
    for (stack, _), values in profile.samples.items():
        if any(wanted(names(location), index == 0) for index, location in enumerate(stack)):
            total = [total[0] + values[0], total[1] + values[1]]
    return total


@test
def retained_is_what_the_fixture_retains():
    target = harness.start("owners")
    mine = ours(target, "retained", "--type", "retained")
    notes = {}
    for note in target.truth.notes["retained"]:
        name, size, blocks = note.split()
        notes[name] = [int(blocks), int(size)]
    for root, held in (("root_of_tree", "tree.0"), ("root_of_chain", "chain.0"), ("root_of_ring", "ring.0"),
                       ("root_of_diamond", "diamond_top"), ("root_into_middle", "middle")):
        check_equal(sums(mine, lambda name, _, root=root: name.endswith(":" + root)), notes[held], root)


@cases(golang.DEBIAN, golang.NEWEST)
def retained_of_go(version):
    rounds = 20
    target, _ = start(golang.go_program("profile", version), "collected", rounds, 524288)
    mine = ours(target, "retained", "--type", "retained")
    # main.work() is called four times, and makes one each round and two in depth
    nodes = 4 * (rounds + 2)
    check_equal(sums(mine, lambda name, leaf: leaf and name == "main.node")[0], nodes, "nodes that are kept")
    kept = sums(mine, lambda name, _: "main.kept" in name)
    check(kept[0] > nodes, "main.kept holds %d objects" % kept[0])


@test
def no_binary_on_a_terminal():
    master, slave = pty.openpty()
    done = subprocess.run([harness.MEMSCOPE, "profile", str(os.getpid())], stdin=subprocess.DEVNULL,
                          stdout=slave, stderr=subprocess.PIPE, timeout=harness.TIMEOUT)
    os.close(slave)
    os.close(master)
    check_equal(done.returncode, 2, "exit status")
    check(b"-o FILE" in done.stderr, "no advice: %r" % done.stderr)


@cases(("--json",), ("--type", "cheese"))
def usage(options):
    run = harness.memscope("profile", *options, os.getpid(), expect=2)
    check(options[-1].strip("-") in run.err, str(run))


if __name__ == "__main__":
    sys.exit(harness.main())
