# go_goroutines.py - functions, stacks and goroutines of Go programs, as their own runtime has them.
"""
The oracle is the program: runtime.Stack() of all goroutines, text for text with every argument, the
goroutine profile, and runtime.CallersFrames() for every function of it.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter

import golang
import harness
from harness import Target, cases, check, check_equal, memscope, test

GOCALLS = os.path.join(os.path.dirname(harness.MEMSCOPE), "tests", "e2e", "gocalls")
MANY = 20000
DEPTH = 25  # profiles up to 1.22 have 32 calls of a stack, some of them the runtime's
BUSY = ("spin", "call", "grow", "clock", "allocate", "enter", "yield", "collect", "sendAll",
        "receiveAll", "main")


def start(version, *arguments, cgo=False):
    """The fixture with a directory of its own, where it wrote what the runtime says."""
    directory = os.path.join(harness.scratch(), "goroutines-%d" % time.monotonic_ns())
    os.makedirs(directory)
    program = golang.go_program("goroutines", version, cgo=cgo)
    target = Target([program, directory] + list(arguments))
    target.said = {}
    for name in ("stack", "profile"):
        with open(os.path.join(directory, name)) as file:
            target.said[name] = file.read()
    return target


def by_id(text):
    """{goid: its traceback} of runtime.Stack() or --full."""
    return {int(re.match(r"goroutine (\d+) ", part).group(1)): part.strip("\n")
            for part in text.strip("\n").split("\n\n")}


def check_stacks(target, text):
    """All but the main goroutine, which was writing then and is reading now."""
    ours, theirs = by_id(text), by_id(target.said["stack"])
    check_equal(sorted(ours), sorted(theirs), "the goroutines")
    for goid in sorted(theirs):
        check(goid == 1 or ours[goid] == theirs[goid],
              "goroutine %d is\n%s\nand not\n%s" % (goid, ours[goid], theirs[goid]))
    check("main.main(" in ours[1], "the main goroutine is\n%s" % ours[1])


def groups_of_profile(text):
    """Counts by stack: functions that are not the runtime's, with lines, and labels."""
    found = Counter()
    for part in re.split(r"\n(?=\d+ @)", text.strip())[1:]:
        lines = part.split("\n")
        labels = next((line[len("# labels: "):] for line in lines if line.startswith("# labels")), "{}")
        stack = tuple(re.match(r"#\s+0x\w+\s+(\S+)\+0x\w+\s+(\S+)$", line).groups()
                      for line in lines if line.startswith("#\t"))
        key = tuple(call for call in stack if not call[0].startswith("runtime."))[:DEPTH]
        found[(key, labels)] += int(lines[0].split(" ")[0])
    return found


def groups_of_report(report):
    found = Counter()
    for group in report["groups"]:
        labels = ", ".join("%s:%s" % (json.dumps(label["key"]), json.dumps(label["value"]))
                           for label in group.get("labels", ()))
        key = tuple((call["function"], "%s:%d" % (call["file"], call["line"]))
                    for call in group["stack"] if not call["function"].startswith("runtime."))
        key = key[:DEPTH]
        found[(key, "{%s}" % labels)] += group["count"]
    return found


def check_groups(target, report):
    """All but that of the main goroutine; how many there are, and the total."""
    theirs = groups_of_profile(target.said["profile"])
    check_equal(report["total"], sum(theirs.values()), "the number of goroutines")
    check_equal(report["total"], sum(group["count"] for group in report["groups"]), "the sum")
    counts = [int(count) for count in re.findall(r"^(\d+) @", target.said["profile"], re.M)]
    check_equal([group["count"] for group in report["groups"]], sorted(counts, reverse=True),
                "the counts of groups")

    def without_main(groups):
        return Counter({key: count for key, count in groups.items()
                        if not any(call[0] == "main.main" for call in key[0])})
    ours, theirs = without_main(groups_of_report(report)), without_main(theirs)
    check(ours == theirs, "groups that are not in the profile: %s; that are only there: %s" %
          (list((ours - theirs).items())[:2], list((theirs - ours).items())[:2]))


def goroutines(target, *options, expect=0):
    return memscope("goroutines", *options, str(target.pid), expect=expect)


@cases(*golang.versions())
def like_the_runtime(version):
    for cgo in (False, True):
        with start(version, cgo=cgo) as target:
            check_stacks(target, goroutines(target, "--full").out)
            check_groups(target, json.loads(goroutines(target, "-j").out)["goroutines"])
            target.check_unharmed()


@cases(golang.versions()[0], golang.versions()[-1])
def many(version):
    with start(version, str(MANY)) as target:
        check_stacks(target, goroutines(target, "--full").out)
        report = json.loads(goroutines(target, "-j").out)["goroutines"]
        check(report["total"] > MANY, "%d goroutines, not more than %d" % (report["total"], MANY))
        check_groups(target, report)


@test
def each_with_its_facts():
    """What JSON says of each one, and of how long they wait."""
    begin = time.monotonic_ns()
    with start(None) as target:
        report = json.loads(goroutines(target, "-j", "--full", "--system").out)["goroutines"]
        life = time.monotonic_ns() - begin
    listed = {one["id"]: one for one in report["list"]}
    check_equal(len(listed), report["total"], "the length of the list")
    reasons = Counter(one["wait_reason"] for one in listed.values())
    for reason in ("chan receive", "chan send", "chan receive (nil chan)", "select", "sleep",
                   "select (no cases)", "sync.Mutex.Lock", "sync.RWMutex.RLock", "IO wait",
                   "sync.RWMutex.Lock", "sync.WaitGroup.Wait", "sync.Cond.Wait",
                   "force gc (idle)"):
        check(reasons[reason], "no goroutine in %r: %s" % (reason, reasons))
    for one in listed.values():
        check(one["complete"], "goroutine %d has no end" % one["id"])
        check(one["waited_ns"] < life, "goroutine %d waits for %d ns of %d" %
              (one["id"], one["waited_ns"], life))
        check((one["state"] == "syscall") == ("tid" in one), "thread and state of %r" % one)
        creator = one.get("created_by", {}).get("function", "")
        check(not creator.startswith("main.") or one["parent"] in listed or one["parent"] == 1,
              "goroutine %d has the parent %r" % (one["id"], one.get("parent")))
    check(any(one["waited_ns"] > 0 for one in listed.values()), "nobody waits for some time")
    check_equal(sum("locked" in one for one in listed.values()), 1, "goroutines locked to threads")


@cases(*golang.versions())
def objects_are_not_copied(version):
    """More objects take no more memory of memscope, unless they are asked about."""
    program, small, big = golang.go_program("account", version), 8, 136
    output = os.path.join(harness.scratch(), "goroutines.pb.gz")
    peaks = {}
    for size in (small, big):
        with Target([program, "live", str(size)]) as target:
            peaks[size] = [harness.peak(*arguments, target.pid, expect=0) for arguments in
                           (("goroutines", "-j"), ("profile", "--type", "goroutine", "-o", output),
                            ("goroutines", "-j", "--leaked"))]
    plain, profile, leaked = ((b - a) / ((big - small) << 20) for a, b in zip(peaks[small], peaks[big]))
    check(plain < 0.25 and profile < 0.25 and leaked > 0.75,
          "of each byte more, %.2f, %.2f and %.2f (all that there is) were kept" % (plain, profile, leaked))


@test
def text_is_what_json_is():
    with start(None) as target:
        report = json.loads(goroutines(target, "-j").out)["goroutines"]
        text = goroutines(target).out
    check(text.startswith("%d goroutines in %d groups" % (report["total"], len(report["groups"]))),
          "the first line is %r" % text.split("\n")[0])
    heads = re.findall(r"^ +(\d+)  (\S.*?)(?:, \d+ seconds?(?: at most)?)?(?:  \(goroutine \d+\))?$",
                       text, re.M)
    check_equal(heads, [(str(group["count"]), group["wait_reason"] or group["state"])
                        for group in report["groups"]], "the heads of groups")


@cases(golang.versions()[0], golang.versions()[-1])
def in_the_middle_of_anything(version):
    """Programs that run: each goroutine has its stack, down to its first function."""
    with Target([golang.go_program("running", version)]) as target:
        for _ in range(10):
            report = json.loads(goroutines(target, "-j", "--full").out)["goroutines"]
            seen = set()
            for one in report["list"]:
                check(one["complete"], "the stack of %r has no end" % one)
                seen.update(call["function"] for call in one["stack"])
            missing = [name for name in BUSY if "main." + name not in seen]
            check(not missing, "no stack has %s" % ", ".join(missing))
            report = json.loads(goroutines(target, "-j", "--leaked").out)["goroutines"]
            check_equal(report["leaked"], 0, "leaked goroutines of those that all run")


def leaked(target):
    """Goroutines by the function that says what is to be found, and those that are."""
    def names(*options):
        listed = json.loads(goroutines(target, "-j", "--full", *options, expect=len(options)).out)["goroutines"]["list"]
        return Counter(call["function"] for one in listed for call in one["stack"]
                       if re.match(r"main\.(leaked|kept)", call["function"]))
    return names(), names("--leaked")


@cases(*golang.versions())
def leaked_ones(version):
    """All that nothing can wake, and no other."""
    with Target([golang.go_program("leaking", version)]) as target:
        there, found = leaked(target)
        text = goroutines(target, "--leaked", expect=1).out
        target.check_unharmed()
    expected = Counter({name: count for name, count in there.items() if "leaked" in name})
    check(sum(expected.values()) >= 14 and sum((there - expected).values()) > 100,
          "the fixture has %s" % there)
    check_equal(found, expected, "what is leaked")
    check(text.startswith("%d of " % sum(found.values())), "the first line is %r" % text[:80])


@test
def leaked_ones_as_go_finds_them():
    """The profile of 1.26, also once the runtime itself has marked what it found."""
    program = golang.go_program("leaking", golang.NEWEST, GOEXPERIMENT="goroutineleakprofile")
    path = os.path.join(harness.scratch(), "goroutineleak")
    with Target([program, path]) as target:
        _, found = leaked(target)
    with open(path) as profile:
        text = profile.read()
    theirs = Counter()
    for part in re.split(r"\n(?=\d+ @)", text)[1:]:
        name = re.search(r"main\.(?:leaked|kept)\w+", part).group(0)
        theirs[name] += int(part.split(" ")[0])
    check(theirs, "the profile is %r" % text)
    check_equal(found, theirs, "what is leaked")


@cases(*golang.versions())
def functions_and_lines(version):
    """Every function of a program, at some of its addresses."""
    program = golang.go_program("calls", version)
    with Target([program]) as target:
        done = subprocess.run([GOCALLS, str(target.pid), "61"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=harness.TIMEOUT)
        check(done.returncode == 0, "gocalls: %s" % done.stderr)
    ours, entries = {}, set()
    for line in done.stdout.splitlines():
        pc, depth, function, file, number, entry = line.split("\t")
        if depth == "0":
            ours[pc] = (function, file, number)
        entries.add(entry)
    asked = subprocess.run([program], input="".join(pc + "\n" for pc in ours) + "\n", text=True,
                           stdout=subprocess.PIPE, check=True, timeout=harness.TIMEOUT).stdout
    theirs = {line.split("\t")[0]: tuple(line.split("\t")[1:]) for line in asked.splitlines()[1:]}
    check_equal(len(theirs), len(ours), "the number of answers")
    check(len(entries) > 1000, "only %d functions" % len(entries))
    # The runtime looks one byte further, where the next function may begin. Up to 1.17 it does not
    # shorten brackets.
    bad = [(pc, ours[pc], theirs[pc]) for pc in ours
           if ours[pc] != theirs[pc] and "%x" % (int(pc, 16) + 1) not in entries
           and not (golang.minor(version) <= 17 and "[" in ours[pc][0])
           and not ours[pc][0].startswith("go:")]  # marks of the linker
    check(not bad, "%d of %d differ, as %s" % (len(bad), len(ours), bad[:3]))


@test
def from_a_core():
    with start(None) as target:
        live = by_id(goroutines(target, "--full").out)
        prefix = os.path.join(harness.scratch(), "gocore")
        done = subprocess.run([harness.tool("gcore"), "-o", prefix, str(target.pid)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        core = "%s.%d" % (prefix, target.pid)
        check(os.path.exists(core), "gcore wrote no core:\n" + done.stdout[-1000:])
    check_equal(by_id(memscope("goroutines", "--full", core, expect=0).out), live, "the stacks")


@test
def no_go_program():
    with harness.start("direct") as target:
        said = goroutines(target, expect=3).err
    check("is no Go program" in said, "it said %r" % said)


if __name__ == "__main__":
    sys.exit(harness.main())
