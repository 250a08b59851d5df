# gobench.py - memscope on a Go program beside Go's own heap dump, Delve and goref, as ratios within one run.
"""
`make bench GOBENCHFLAGS="..."` runs this after bench.py:

    --objects 1e6,1e7  sizes of the heap: so many objects, linked at random, one in a hundred dropped (1e6)
    --goroutines N     that wait (1000)
    --runs N           measure everything N times and take medians (3)
    --json FILE        all figures, with every single measurement; - is stdout, instead of the table

All tools look at one process, one after the other:

    plain read   of the same pages, as in bench.py
    heap dump    runtime/debug.WriteHeapDump() in the program: it has the world stopped throughout
    dlv          dlv attach, `goroutines`, and off again; its stop is seen from outside by tests/bench/stopwatch
    grf          grf attach (goref), which looks at the whole heap as `memscope heap` does; seen in the same way

dlv and grf are taken when they are on the PATH; else their rows say that they are not there. For the rest see
bench.py: nothing fails because it is slow, a wrong answer is an error.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))
import bench
import golang
from bench import MEMSCOPE, Missing, Preference, Results, Stopwatch, Wrong, column, machine, plain_read

COMMANDS = ("leaks", "heap", "memstats", "goroutines")
WATCH_MOST = 300  # seconds for another tool

bench.TARGETS.update({
    ("leaks: pause / plain read", None): (2.5, 1.3),
    ("leaks: pause / heap dump", None): (0.5, 0.2),
    ("heap: pause / heap dump", None): (0.5, 0.2),
    ("memstats: pause / heap dump", None): (0.5, 0.2),
    ("goroutines: pause / dlv's stop", None): (0.5, 0.1),
    ("whole goroutines / dlv", None): (1, 0.5),
    ("leaks: peak memory / heap", None): (2.5, 2),
})


class GoTarget(bench.Target):
    def __init__(self, objects, goroutines):
        program = golang.go_program("bigobjects")
        super().__init__(os.path.basename(program), objects, goroutines, directory=os.path.dirname(program))

    def dump(self, path):
        """Nanoseconds that the program took to dump its heap."""
        self.process.stdin.write(path + "\n")
        self.process.stdin.flush()
        words = self.process.stdout.readline().split()
        if words[:1] != ["dumped"]:
            raise Wrong("no heap dump: %s" % " ".join(words))
        return int(words[1])


def run(command, pid, scratch):
    """A command with -j: its report, and what it took."""
    path = os.path.join(scratch, "report.json")
    with open(path, "wb") as out:
        begin = time.monotonic_ns()
        child = os.posix_spawn(MEMSCOPE, [MEMSCOPE, command, "-j", str(pid)], os.environ,
                               file_actions=[(os.POSIX_SPAWN_DUP2, out.fileno(), 1)])
        _, status, usage = os.wait4(child, 0)
        total = time.monotonic_ns() - begin
    if os.waitstatus_to_exitcode(status) != 0:
        raise Wrong("memscope %s %d: exit status %d" % (command, pid, os.waitstatus_to_exitcode(status)))
    with open(path) as text:
        report = json.load(text)
    return report[command], {"pause": report["pause_ns"], "total": total, "peak": usage.ru_maxrss * 1024}


def check(command, report, objects, goroutines):
    """Are the objects and goroutines there? The runtime has some of its own."""
    dropped, most = objects // 100, 5000
    found = {
        "leaks": lambda: (report["go"]["unreachable"]["blocks"], dropped, dropped + most),
        "heap": lambda: (report["live"]["blocks"], objects, objects + most),
        "memstats": lambda: (report["go"]["HeapObjects"], objects, objects + most),
        "goroutines": lambda: (report["total"], goroutines + 1, goroutines + 10),
    }[command]()
    if not found[1] <= found[0] <= found[2]:
        raise Wrong("%s: %d, not %d to %d" % ((command,) + found))


def watched(command, pid, stdin=b""):
    """Runs another tool on PID: how long it stopped it, and how long it took."""
    watch = Stopwatch(pid)
    begin = time.monotonic_ns()
    done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=WATCH_MOST)
    total = time.monotonic_ns() - begin
    seen = watch.read()
    if done.returncode != 0 or not seen["stopped"]:
        raise Wrong("%s: exit status %d, stopped for %d ns\n%s"
                    % (" ".join(command), done.returncode, seen["stopped"], done.stdout[-500:].decode(errors="replace")))
    return {"stopped": seen["stopped"], "total": total}, done.stdout


def run_dlv(pid, goroutines):
    what, said = watched(["dlv", "attach", "--allow-non-terminal-interactive=true", str(pid)], pid,
                         b"goroutines\nquit\nn\n")
    if said.count(b"Goroutine ") < goroutines:
        raise Wrong("dlv lists %d of %d goroutines" % (said.count(b"Goroutine "), goroutines))
    return what


def run_grf(pid, scratch):
    return watched(["grf", "attach", str(pid), "--out", os.path.join(scratch, "grf.out")], pid)[0]


def place_for_dump(size, scratch):
    """A file in memory, when there is room for one."""
    shared = "/dev/shm"
    if os.path.isdir(shared) and shutil.disk_usage(shared).free > 4 * size:
        return tempfile.mkdtemp(prefix="memscope-bench-", dir=shared)
    return scratch


def measure_objects(objects, options, results, scratch):
    taken, reads, dumps, others = {command: [] for command in COMMANDS}, [], [], {"dlv": [], "grf": []}
    with GoTarget(objects, options.goroutines) as target:
        with open("/proc/%d/statm" % target.pid) as statm:
            resident = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        place = place_for_dump(resident, scratch)
        try:
            for _ in range(options.runs):
                reads.append(plain_read(target.pid))
                for command in COMMANDS:
                    report, took = run(command, target.pid, scratch)
                    check(command, report, objects, options.goroutines)
                    taken[command].append(took)
                path = os.path.join(place, "heap.dump")
                dumps.append(target.dump(path))
                written = os.path.getsize(path)
                os.unlink(path)
                if shutil.which("dlv"):
                    others["dlv"].append(run_dlv(target.pid, options.goroutines))
                if shutil.which("grf"):
                    others["grf"].append(run_grf(target.pid, scratch))
        finally:
            if place != scratch:
                shutil.rmtree(place, ignore_errors=True)
    results.head("%s objects of Go, %.0f MiB resident, %d goroutines; a heap dump has %.0f MiB"
                 % (format(objects, ","), resident / (1 << 20), options.goroutines, written / (1 << 20)))
    show(results, taken, column(reads, "ns"), dumps, others, resident)


def show(results, taken, plain, dumps, others, resident):
    results.add_ratio("leaks: pause / plain read", column(taken["leaks"], "pause"), plain)
    for command in "leaks", "heap", "memstats":
        results.add_ratio("%s: pause / heap dump" % command, column(taken[command], "pause"), dumps)
    for command in "leaks", "heap", "memstats":
        results.add_ratio("whole %s / heap dump" % command, column(taken[command], "total"), dumps)
    for tool, command in ("dlv", "goroutines"), ("grf", "heap"):
        if not others[tool]:
            results.say("%-34s not on this machine" % ("%s: pause / %s's stop" % (command, tool)))
            continue
        results.add_ratio("%s: pause / %s's stop" % (command, tool), column(taken[command], "pause"),
                          column(others[tool], "stopped"))
        results.add_ratio("whole %s / %s" % (command, tool), column(taken[command], "total"),
                          column(others[tool], "total"))
    for command in "leaks", "heap":
        peaks = column(taken[command], "peak")
        results.add("%s: peak memory / heap" % command, statistics.median(peaks) / resident, peaks, [resident], "MiB")


def parse():
    parser = argparse.ArgumentParser(description="memscope on Go beside a heap dump, Delve and goref")
    parser.add_argument("--objects", default="1e6")
    parser.add_argument("--goroutines", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json")
    options = parser.parse_args()
    options.objects = [int(float(n)) for n in options.objects.split(",") if n]
    return options


def main():
    options = parse()
    results = Results(quiet=options.json == "-")
    scratch = tempfile.mkdtemp(prefix="memscope-bench-")
    try:
        before = machine()
        results.say("%(cpus)d CPUs, Linux %(kernel)s, load %(load).1f" % before +
                    "; Go %s; medians of %d runs" % (golang.NEWEST, options.runs))
        golang.go_program("bigobjects")
        with Preference():
            for objects in options.objects:
                measure_objects(objects, options, results, scratch)
    except (Missing, golang.Failure) as error:
        print("gobench: %s" % error, file=sys.stderr)
        return 2
    except Wrong as error:
        print("gobench: %s" % error, file=sys.stderr)
        return 1
    finally:
        for target in list(bench.Target.running):
            target.stop()
        shutil.rmtree(scratch, ignore_errors=True)
    if options.json:
        document = {"gobench": 1, "machine": before, "runs": options.runs, "rows": results.rows}
        with (sys.stdout if options.json == "-" else open(options.json, "w")) as out:
            json.dump(document, out, indent=1)
            out.write("\n")
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *ignored: sys.exit(143))
    sys.exit(main())
