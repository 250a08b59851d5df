# go_leaked.py - leaked goroutines, against the programs that Go tests its own goroutine leak profile with.
"""
The oracles are Go's: what src/runtime/goroutineleakprofile_test.go expects of each scenario, and the
profile itself, taken of the same process between two looks at it. The programs are copied from the
toolchain; where they would write the profile they wait for us.

LEAK_RUNS=N runs every scenario N times in both ways, and prints a table; without it a few are run once.
"""

import os
import re
import sys

import golang
import harness
from harness import Target, cases, check, memscope

RUNS = int(os.environ.get("LEAK_RUNS", "0"))
SOURCES = "src/runtime/testdata/testgoroutineleakprofile"
SCENARIOS = "src/runtime/goroutineleakprofile_test.go"
WAIT = """package main

import (
	"io"
	"os"
	"runtime/pprof"
)

func wait() {
	os.Stdout.WriteString("ready\\n")
	os.Stdin.Read(make([]byte, 16))
}

func lookAt(prof *pprof.Profile, out io.Writer, debug int) {
	if out == io.Discard {
		if prof != nil {
			prof.WriteTo(out, debug)
		}
		return
	}
	wait()
	if prof != nil {
		prof.WriteTo(out, debug)
		os.Stdout.WriteString("\\n")
		wait()
	}
}
"""
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
        with open(os.path.join(where, "wait.go"), "w") as file:
            file.write(WAIT)
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


if __name__ == "__main__":
    sys.exit(harness.main())
