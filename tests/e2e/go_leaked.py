# go_leaked.py - leaked goroutines, against the programs that Go tests its own goroutine leak profile with.
"""
The oracles are Go's: what src/runtime/goroutineleakprofile_test.go expects of each scenario, and the
profile itself, taken of the same process between two looks at it. The programs are copied from the
toolchain; where they would write the profile they wait for us.

LEAK_RUNS=N runs every scenario N times in both ways, and prints a table; without it a few are run once.
"""

import os
import re
import shutil
import sys

import golang
import harness
from harness import Target, cases, check, check_equal, memscope, test

RUNS = int(os.environ.get("LEAK_RUNS", "0"))
SOURCES = "src/runtime/testdata/testgoroutineleakprofile"
SCENARIOS = "src/runtime/goroutineleakprofile_test.go"
WAIT = os.path.join(golang.SOURCES, "lookat", "lookat.go")
# Of those that leak for certain, a few are run always: each way of waiting, and some larger programs.
ALWAYS_GOKER = ("Cockroach7504", "Cockroach35073", "Etcd5509", "Grpc862", "Moby25348", "Moby30408",
                "Syncthing5795", "Kubernetes38669")

_built = {}


class Scenario:
    def __init__(self, name, flaky, goker, patterns):
        self.name, self.flaky, self.goker = name, flaky, goker
        self.patterns = [re.compile(pattern) for pattern in patterns]

    def unexpected(self, leaks):
        return [leak for leak in leaks if not any(pattern.search(leak) for pattern in self.patterns)]

    def missing(self, leaks):
        return [pattern.pattern for pattern in self.patterns if not any(map(pattern.search, leaks))]


def scenarios():
    with open(os.path.join(golang.toolchain(golang.NEWEST), SCENARIOS)) as file:
        text = re.sub(r"^\s*//.*\n", "", file.read(), flags=re.M)
    goker_from = text.index("gokerTestCases := ")
    found = [Scenario(match.group(2), bool(match.group(1)), match.start() > goker_from,
                      re.findall("`([^`]*)`", match.group(3)))
             for match in re.finditer(r'make(Flaky)?Test\("(\w+)"(.*?)\),\n(?=\t\tmake|\t\}|\n)', text, re.S)]
    check(len(found) == text.count('makeTest("') + text.count('makeFlakyTest("') and
          sum(scenario.goker for scenario in found) > 50, "only %d scenarios" % len(found))
    return found


def program(goker, profiling):
    """Path of one of the two programs, built with the profile or without."""
    if (goker, profiling) not in _built:
        where = os.path.join(harness.scratch(), "leaked-%d" % len(_built))
        os.makedirs(where)
        sources = os.path.join(golang.toolchain(golang.NEWEST), SOURCES, "goker" if goker else "")
        for name in os.listdir(sources):
            if name.endswith(".go"):
                with open(os.path.join(sources, name)) as file:
                    text = file.read()
                with open(os.path.join(where, name), "w") as file:
                    file.write(text.replace("prof.WriteTo(", "lookAt(prof, "))
        shutil.copy(WAIT, where)
        with open(os.path.join(where, "go.mod"), "w") as file:
            file.write("module leaked\n\ngo 1.26\n")
        golang.go(golang.NEWEST, "build", "-o", "leaked", ".", where=where, CGO_ENABLED="0",
                  **({"GOEXPERIMENT": "goroutineleakprofile"} if profiling else {}))
        _built[goker, profiling] = os.path.join(where, "leaked")
    return _built[goker, profiling]


def start(scenario, profiling):
    environment = {"GODEBUG": "asyncpreemptoff=1"}
    if not scenario.flaky:
        environment["GOMAXPROCS"] = "1"
    return Target([program(scenario.goker, profiling), scenario.name], truth=False,
                  environment=environment)


def tracebacks(text):
    """{id: "function(...) [reason]"} as the test of Go has them, of tracebacks that say `leaked` or of all."""
    found = {}
    for part in re.split(r"\n\n+(?=goroutine )", text.strip()):
        head = re.match(r"goroutine (\d+)(?: gp=\S+ m=\S+(?: mp=\S+)?)? \[([^\],]*)", part)
        lines = part.split("\n")
        created = next((i for i, line in enumerate(lines) if line.startswith("created by")), None)
        if head and created:
            function = re.sub(r"^main\.", "", lines[created - 2])
            found[int(head.group(1))] = (function, head.group(2))
    return found


def look(target):
    """{id: leak} by memscope."""
    text = memscope("goroutines", "--leaked", "--full", target.pid, expect=(0, 1)).out
    return {goid: "%s [%s]" % (function, reason.replace(" (leaked)", ""))
            for goid, (function, reason) in tracebacks(text).items()}


def profile(target):
    """The same by Go, which goes on until it waits again."""
    target.process.stdin.write(b"go on\n")
    target.process.stdin.flush()
    lines = []
    for line in target.process.stdout:
        line = line.decode()
        if line == "ready\n":
            break
        lines.append(line)
    return {goid: "%s [%s]" % (function, reason.replace(" (leaked)", ""))
            for goid, (function, reason) in tracebacks("".join(lines)).items()
            if reason.endswith(" (leaked)")}


def as_expected(scenario, runs):
    """By patterns: (found of them, false alarms)."""
    leaks, false = set(), []
    for _ in range(runs):
        with start(scenario, False) as target:
            seen = look(target).values()
        leaks.update(seen)
        false += scenario.unexpected(seen)
    return leaks, false


def as_profiled(scenario):
    """By the profile: what only we found, what only Go did, and how many were found by both."""
    with start(scenario, True) as target:
        before = look(target)
        theirs = profile(target)
        after = look(target)
    return ({goid: leak for goid, leak in before.items() if goid not in theirs},
            {goid: leak for goid, leak in theirs.items() if goid not in after}, len(theirs))


def always(scenario):
    return not scenario.flaky and (scenario.name in ALWAYS_GOKER if scenario.goker
                                   else scenario.name != "DaisyChain")


@cases(False, True)
def as_go_expects(goker):
    bad = []
    for scenario in scenarios():
        if scenario.goker != goker or not (RUNS or always(scenario)):
            continue
        leaks, false = as_expected(scenario, RUNS or 1)
        missing = scenario.missing(leaks)
        if RUNS:
            print("%-24s %s %2d of %2d, %d false" % (scenario.name, "flaky  " if scenario.flaky else "certain",
                                                     len(scenario.patterns) - len(missing),
                                                     len(scenario.patterns), len(false)), flush=True)
        if false or (missing and not scenario.flaky):
            bad.append((scenario.name, "not leaked: %s" % false[:3], "not found: %s" % missing))
    check(not bad, "\n".join(map(str, bad)))


@cases(False, True)
def as_go_finds(goker):
    bad, both = [], 0
    for scenario in scenarios():
        if scenario.goker != goker or not (RUNS or always(scenario)):
            continue
        for _ in range(RUNS or 1):
            ours, theirs, common = as_profiled(scenario)
            both += common
            if ours or theirs:
                bad.append((scenario.name, "only by us: %s" % ours, "only by Go: %s" % theirs))
    if RUNS:
        print("%d leaked goroutines compared" % both)
    check(both, "Go finds none")
    check(not bad, "\n".join(map(str, bad)))


# what is said of them, and what is left out

MIB = 1 << 20


def stuck(version):
    return Target([golang.go_program("stuck", version)])


def report(target, *options, expect=(0, 1)):
    return memscope("goroutines", "--leaked", "-j", *options, target.pid, expect=expect).json["goroutines"]


def by_function(groups):
    """{name of the fixture's function: its group}"""
    return {call["function"][len("main."):]: group for group in groups for call in group["stack"]
            if re.match(r"main\.(leaked|kept)", call["function"])}


@cases(golang.versions()[0], golang.versions()[-1])
def what_they_keep(version):
    with stuck(version) as target:
        found = report(target, expect=1)
    groups = by_function(found["groups"])
    check_equal({name: group["leaked"] for name, group in groups.items()},
                {"leakedHolding": 12, "leakedOne": 1, "leakedOther": 1, "leakedQueued": 2}, "what is leaked")
    for name, least in (("leakedHolding", 12 * MIB), ("leakedOne", 0), ("leakedOther", 0), ("leakedQueued", 0)):
        group = groups[name]
        check(least <= group["retained_bytes"] < least + MIB // 4,
              "%s keeps %d bytes, not %d" % (name, group["retained_bytes"], least))
        check(group["stack_bytes"] >= 2048 * group["leaked"], "%s has %d bytes of stacks" %
              (name, group["stack_bytes"]))
    check(13 * MIB <= found["retained_bytes"] < 13 * MIB + MIB // 4, "all keep %d bytes" % found["retained_bytes"])
    waits = groups["leakedQueued"]["waits_for"]
    check_equal((waits["channel"], waits["length"], waits["capacity"], waits["waiters"]), (True, 4, 4, 2),
                "what senders wait for")
    check_equal(groups["leakedOne"]["waits_for"]["waiters"], 1, "those that wait for a channel of one's own")


@cases(*golang.versions())
def main_in_an_empty_select(version):
    """It is meant to stay, as the program would end without it; another goroutine that does so is stuck."""
    program = golang.go_program("resting", version)
    with Target([program]) as target:
        check_equal(report(target, expect=0)["groups"], [], "what is leaked of a program at rest")
        whole = memscope("goroutines", "-j", target.pid, expect=0).json["goroutines"]
        check(any(group["wait_reason"] == "select (no cases)" for group in whole["groups"]),
              "main is in no select {}: %s" % whole["groups"])
    with Target([program, "stuck"]) as target:
        found = report(target, expect=1)
        check_equal(found["leaked"], 4, "leaked goroutines")
        check_equal({name: group["leaked"] for name, group in by_function(found["groups"]).items()},
                    {"leakedByMain": 1, "leakedForEver": 1, "leakedNil": 1, "leakedAlone": 1}, "what is leaked")


@test
def only_the_new_ones():
    baseline = os.path.join(harness.scratch(), "baseline.json")
    with stuck(golang.NEWEST) as target:
        for options in ((), ("--leaked",)):
            with open(baseline, "w") as file:
                file.write(memscope("goroutines", "-j", *options, target.pid, expect=(0, 1)).out)
            same = report(target, "--baseline", baseline, expect=0)
            check_equal((same["remaining"], same["groups"], same["suspects"]), (0, [], []), "what is new")
        memscope("goroutines", "-j", "-o", baseline, target.pid, expect=0)
        target.process.stdin.write(b"\n")
        target.process.stdin.flush()
        target.wait_ready()
        found = report(target, "--baseline", baseline, expect=1)
        text = memscope("goroutines", "--leaked", "--baseline", baseline, target.pid, expect=1).out
        plain = memscope("goroutines", "-j", "--baseline", baseline, target.pid, expect=0).json["goroutines"]
    groups = by_function(found["groups"])
    check_equal({name: group["leaked"] - group.get("known", 0) for name, group in groups.items()},
                {"leakedHolding": 1, "leakedNew": 1}, "the new ones")
    check_equal(found["remaining"], 2, "how many are new")
    check_equal(list(by_function(found["suspects"])), ["keptFew"], "what has grown")
    check_equal(sorted(re.findall(r"^ +(\d+)  (?:of \d+ )?[cs]", text, re.M)), ["1", "1", "4"], "the counts in\n" + text)
    check_equal(sorted(by_function(plain["groups"])), ["keptFew", "leakedHolding", "leakedNew"],
                "the new ones without --leaked")


@test
def ignored_ones():
    with stuck(golang.NEWEST) as target:
        for function, left in (("main.leakedHolding", ["leakedOne", "leakedOther", "leakedQueued"]),
                               ("main.leakedO*", ["leakedHolding", "leakedQueued"]),
                               ("main.leaked", ["leakedHolding", "leakedOne", "leakedOther", "leakedQueued"])):
            found = report(target, "--ignore", function, expect=1)
            check_equal(sorted(by_function(found["groups"])), left, "what is left without " + function)
        found = report(target, "--ignore", "main.leakedO*", "--ignore", "main.leakedHolding",
                       "--ignore", "runtime.chansend", expect=0)
        check_equal(found["groups"], [], "what is left")


@test
def suspects():
    with stuck(golang.NEWEST) as target:
        check_equal(report(target)["suspects"], [], "suspects of a program that has just begun")
        found = report(target, "--suspect-after", "0", "--ignore", "main.leaked*", expect=0)
        text = memscope("goroutines", "--leaked", "--suspect-after", "0", target.pid, expect=1).out
    groups = by_function(found["suspects"])
    check_equal({name: group["count"] for name, group in groups.items()}, {"keptMany": 15}, "the suspects")
    check("suspects, which something can still wake" in text and "keptMany" in text.split("suspects")[1],
          "the text is\n" + text)


@test
def bad_baselines():
    path = os.path.join(harness.scratch(), "bad.json")
    for text in ("", "[]", "{}", '{"goroutines": {"groups": [{"count": 1}]}}'):
        with open(path, "w") as file:
            file.write(text)
        said = memscope("goroutines", "--baseline", path, os.getpid(), expect=2).err
        check(path in said, "of %r it said %r" % (text, said))


if __name__ == "__main__":
    sys.exit(harness.main())
