# bench.py - memscope's speed and memory beside those of other tools, as ratios within one run.
"""
`make bench BENCHFLAGS="..."` runs this:

    --blocks 1e6,1e7   sizes of the heap: so many blocks, linked at random, one in a hundred lost
    --runs N           measure everything N times and take medians (5)
    --quick            3 times
    --threads N        threads of the sleeping target (1000)
    --without TOOLS    gcore, lsan: leave these out
    --json FILE        all figures, with every single measurement; - is stdout, instead of the table

What is compared with what:

    plain read   tests/bench/plainread: one process_vm_readv after another, into populated memory,
                 of the same pages, at the same priority: what no stop can avoid
    gcore        gdb's; its stop is seen from outside by tests/bench/stopwatch
    LSan         LeakSanitizer's own check of a heap made by the same generator; the world is
                 stopped throughout, so that its stop is its check

Nothing here fails because it is slow: each row says whether it meets its targets. Times vary with
the machine and what else it does; ratios of one run vary less. All that is measured gets the same
priority, a high one where that is permitted. A wrong answer of memscope's is an error (exit status
1), and so is a tool that is missing (2).
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

MEMSCOPE = os.path.abspath(os.environ.get("MEMSCOPE", os.path.join(os.getcwd(), "memscope")))
FIXTURES = os.environ.get("FIXTURES") or os.path.join(os.getcwd(), "tests", "fixtures")
PROGRAMS = os.path.join(os.path.dirname(FIXTURES), "bench")

# Targets by (row, blocks; None: any number): the ratio to reach, and the one to aim at.
TARGETS = {
    ("pause / plain read", None): (1.3, 0.8),
    ("pause / gcore's stop", None): (0.25, 0.1),
    ("pause / LSan's stop", 10 ** 7): (0.05, 0.015),
    ("whole leaks / LSan's check", 10 ** 6): (0.5, 0.2),
    ("whole leaks / LSan's check", 10 ** 7): (0.2, 0.08),
    ("peak memory / heap", None): (0.4, 0.2),
    ("stop beyond the copy, us a thread", None): (30, 15),
}


class Missing(Exception):
    """A tool or program that the bench needs is not there."""


class Wrong(Exception):
    """Something answered what cannot be right."""


# --- measuring

class Target:
    """A process that prints `note` lines, then `ready`, and stays until its stdin is closed."""

    running = []

    def __init__(self, name, *arguments, directory=FIXTURES, environment=None):
        path = os.path.join(directory, name)
        if not os.access(path, os.X_OK):
            raise Missing("%s is not built: run `make bench`" % path)
        self.process = subprocess.Popen([path] + [str(a) for a in arguments],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True,
                                        env=dict(os.environ, **(environment or {})))
        self.pid = self.process.pid
        self.running.append(self)
        self.counts = {}
        for line in self.process.stdout:
            words = line.split()
            if words[:2] == ["note", "count"]:
                self.counts[words[2]] = (int(words[3]), int(words[4]))
            if words == ["ready"]:
                return
        raise Wrong("%s ended before it was ready" % name)

    def ask(self):
        """Sends an empty line and returns the words of the answer."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().split()

    def stop(self):
        self.process.kill()
        self.process.communicate()
        self.running.remove(self)

    def __enter__(self):
        return self

    def __exit__(self, kind, *ignored):
        if kind is None: # else main() looks at it first
            self.stop()


def words_of(*command):
    """The output of a helper as {word: number}."""
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Wrong("%s failed" % " ".join(str(c) for c in command))
    words = done.stdout.split()
    return {words[i]: int(words[i + 1]) for i in range(0, len(words), 2)}


def plain_read(pid):
    return words_of(os.path.join(PROGRAMS, "plainread"), pid)


def run_leaks(pid, expected, scratch):
    """Runs `memscope leaks -j`; what it took. Losses other than EXPECTED are an error."""
    path = os.path.join(scratch, "report.json")
    with open(path, "wb") as out:
        begin = time.monotonic_ns()
        child = os.posix_spawn(MEMSCOPE, [MEMSCOPE, "leaks", "-j", str(pid)], os.environ,
                               file_actions=[(os.POSIX_SPAWN_DUP2, out.fileno(), 1)])
        _, status, usage = os.wait4(child, 0)
        total = time.monotonic_ns() - begin
    status = os.waitstatus_to_exitcode(status)
    if status not in (0, 1):
        raise Wrong("memscope leaks %d: exit status %d" % (pid, status))
    with open(path) as text:
        report = json.load(text)
    for kind, (blocks, size) in expected.items():
        found = (report["leaks"][kind]["blocks"], report["leaks"][kind]["bytes"])
        if kind != "reachable" and found != (blocks, size):
            raise Wrong("%s: %d blocks, %d bytes found, the target lost %d, %d"
                        % (kind, found[0], found[1], blocks, size))
    return {"pause": report["pause_ns"], "total": total, "attempts": report.get("attempts", 1),
            "cpu": int((usage.ru_utime + usage.ru_stime) * 1e9), "peak": usage.ru_maxrss * 1024}


class Stopwatch:
    """Sees from outside how long a process stands still for a tracer."""

    def __init__(self, pid):
        self.process = subprocess.Popen([os.path.join(PROGRAMS, "stopwatch"), str(pid)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline().split() != ["ready"]:
            raise Wrong("stopwatch is not ready")

    def read(self):
        words = self.process.communicate()[0].split()
        return {words[i]: int(words[i + 1]) for i in range(0, len(words), 2)}


def run_gcore(pid, scratch):
    if shutil.which("gcore") is None:
        raise Missing("gcore is missing: install gdb")
    prefix = os.path.join(scratch, "core")
    watch = Stopwatch(pid)
    done = subprocess.run(["gcore", "-o", prefix, str(pid)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    seen = watch.read()
    core = "%s.%d" % (prefix, pid)
    if done.returncode != 0 or not os.path.exists(core):
        raise Wrong("gcore failed: %s" % done.stderr.strip())
    os.unlink(core)
    return seen


# --- rows

class Results:
    """All rows; each is printed as soon as it is known."""

    def __init__(self, quiet):
        self.rows = []
        self.quiet = quiet

    def say(self, text):
        if not self.quiet:
            print(text, flush=True)

    def head(self, title):
        self.section = title
        self.say("\n%s\n%-34s %-22s %-22s %8s %7s %7s" % (title, "", "memscope (range)",
                                                          "other (range)", "value", "must", "aim"))

    def add(self, name, value, ours=None, other=None, unit="ms", blocks=None):
        """One row: ours and other are lists of measurements, in ns or bytes."""
        target = TARGETS.get((name, blocks)) or TARGETS.get((name, None))
        verdict = ""
        if target:
            verdict = ("meets aim" if value <= target[1] else
                       "meets must" if value <= target[0] else "misses")
        self.rows.append({"section": self.section, "name": name, "value": value, "unit": unit,
                          "memscope": ours, "other": other, "must": target and target[0],
                          "aim": target and target[1], "verdict": verdict})
        self.say("%-34s %-22s %-22s %8s %7s %7s  %s" % (
            name, spread(ours, unit), spread(other, unit), significant(value),
            "%g" % target[0] if target else "", "%g" % target[1] if target else "", verdict))

    def add_ratio(self, name, ours, other, unit="ms", blocks=None):
        ratio = statistics.median(ours) / statistics.median(other)
        self.add(name, ratio, ours, other, unit, blocks)


def significant(value):
    return "%.4f" % value if value < 0.1 else "%.3f" % value if value < 10 else "%.1f" % value


def spread(values, unit):
    """The median, and the range in brackets."""
    if not values:
        return ""
    scale = {"ms": 1e6, "MiB": 1 << 20, "us": 1e3}[unit]
    scaled = [v / scale for v in values]
    digits = 0 if min(scaled) >= 100 else 1 if min(scaled) >= 10 else 2
    middle, low, high = ("%.*f" % (digits, v)
                         for v in (statistics.median(scaled), min(scaled), max(scaled)))
    return "%s %s" % (middle, unit) if low == high else "%s %s (%s-%s)" % (middle, unit, low, high)


def column(runs, name):
    return [run[name] for run in runs]


# --- what is measured

def measure_heap(blocks, options, results, scratch):
    reads, leaks, checks, cores = [], [], [], []
    lsan_options = "symbolize=0:max_leaks=1:detect_leaks=1:exitcode=0"
    with Target("bigheap", blocks) as target:
        heap = sum(size + 8 * count for count, size in target.counts.values())
        expected = target.counts
        for _ in range(options.runs):
            reads.append(plain_read(target.pid))
            leaks.append(run_leaks(target.pid, expected, scratch))
        watch = Stopwatch(target.pid)
        watched = run_leaks(target.pid, expected, scratch)
        seen = watch.read()
        if "gcore" not in options.without:
            cores = [run_gcore(target.pid, scratch) for _ in range(options.runs)]
        if "lsan" not in options.without:
            with Target("lsanheap", blocks, directory=PROGRAMS,
                        environment={"LSAN_OPTIONS": lsan_options}) as checked:
                for _ in range(options.runs):
                    answer = checked.ask()
                    if answer[:1] != ["check"] or answer[2] != "1":
                        raise Wrong("LeakSanitizer found no leak: %s" % " ".join(answer))
                    checks.append(int(answer[1]))
                    reads.append(plain_read(target.pid))
                    leaks.append(run_leaks(target.pid, expected, scratch))
    results.head("%s blocks, heap of %.0f MiB" % (format(blocks, ","), heap / (1 << 20)))
    pauses, totals = column(leaks, "pause"), column(leaks, "total")
    plain = column(reads, "ns")
    results.add_ratio("pause / plain read", pauses, plain, blocks=blocks)
    if cores:
        results.add_ratio("pause / gcore's stop", pauses, column(cores, "stopped"), blocks=blocks)
    if checks:
        results.add_ratio("pause / LSan's stop", pauses, checks, blocks=blocks)
        results.add_ratio("whole leaks / LSan's check", totals, checks, blocks=blocks)
    results.add_ratio("whole leaks / plain read", totals, plain, blocks=blocks)
    results.add("whole leaks, ns a block", statistics.median(totals) / blocks, totals)
    results.add("its CPU time, ns a block", statistics.median(column(leaks, "cpu")) / blocks,
                column(leaks, "cpu"))
    peaks = column(leaks, "peak")
    results.add("peak memory / heap", statistics.median(peaks) / heap, peaks, [heap], "MiB", blocks)
    results.add("peak memory, bytes a block", statistics.median(peaks) / blocks, peaks, unit="MiB")
    results.add("stop seen from outside / pause", seen["stopped"] / watched["pause"],
                [watched["pause"]], [seen["stopped"]])
    again = sum(run["attempts"] > 1 for run in leaks)
    if again:
        results.say("%d of %d runs stopped the target more than once" % (again, len(leaks)))


def measure_threads(options, results, scratch):
    results.head("a sleeping target with 1 and with %d threads" % options.threads)
    for threads in (1, options.threads):
        reads, leaks = [], []
        with Target("manythreads", threads) as target:
            for _ in range(options.runs):
                reads.append(plain_read(target.pid))
                leaks.append(run_leaks(target.pid, {}, scratch))
        pauses, plain = column(leaks, "pause"), column(reads, "ns")
        name = "%d thread%s: " % (threads, "" if threads == 1 else "s")
        beyond = statistics.median(pauses) - statistics.median(plain)
        results.add(name + "pause / plain read",
                    statistics.median(pauses) / statistics.median(plain), pauses, plain, "us")
        if threads > 1:
            results.add("stop beyond the copy, us a thread", beyond / 1000 / threads)
        totals, peaks = column(leaks, "total"), column(leaks, "peak")
        results.add(name + "whole leaks, ms", statistics.median(totals) / 1e6, totals)
        results.add(name + "peak memory, MiB", statistics.median(peaks) / (1 << 20), peaks,
                    unit="MiB")


class Preference:
    """While it lasts, what is measured goes before other work on the machine, where permitted."""

    GROUP = "/proc/self/autogroup"

    def __enter__(self):
        try:
            os.setpriority(os.PRIO_PROCESS, 0, -20)
            with open(self.GROUP, "w") as group: # else it counts only within this session
                group.write("-20")
        except OSError:
            pass
        return self

    def __exit__(self, *ignored):
        try:
            with open(self.GROUP, "w") as group:
                group.write("0")
        except OSError:
            pass


def machine():
    with open("/proc/loadavg") as load, open("/proc/sys/kernel/osrelease") as release:
        return {"cpus": len(os.sched_getaffinity(0)), "kernel": release.read().strip(),
                "load": float(load.read().split()[0])}


def parse():
    parser = argparse.ArgumentParser(description="memscope's speed and memory beside other tools'")
    parser.add_argument("--blocks", default="1e6,1e7")
    parser.add_argument("--runs", type=int)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=1000)
    parser.add_argument("--without", default="")
    parser.add_argument("--json")
    options = parser.parse_args()
    options.blocks = [int(float(n)) for n in options.blocks.split(",") if n]
    options.without = [tool for tool in options.without.split(",") if tool]
    options.runs = options.runs or (3 if options.quick else 5)
    return options


def measure(options, results):
    scratch = tempfile.mkdtemp(prefix="memscope-bench-")
    try:
        before = machine()
        results.say("%(cpus)d CPUs, Linux %(kernel)s, load %(load).1f" % before +
                    "; medians of %d runs" % options.runs)
        if before["load"] > 0.5:
            results.say("the machine is busy: times are too long, and ratios less sure")
        with Preference():
            for blocks in options.blocks:
                measure_heap(blocks, options, results, scratch)
            if options.threads:
                measure_threads(options, results, scratch)
        return before
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def main():
    options = parse()
    results = Results(quiet=options.json == "-")
    try:
        before = measure(options, results)
    except Missing as error:
        print("bench: %s" % error, file=sys.stderr)
        return 2
    except Wrong as error:
        ended = ["%s ended with %d" % (t.process.args[0], t.process.poll()) for t in Target.running
                 if t.process.poll() is not None]
        print("bench: %s" % "; ".join([str(error)] + ended), file=sys.stderr)
        return 1
    finally:
        for target in list(Target.running):
            target.stop()
    if options.json:
        document = {"bench": 1, "machine": before, "runs": options.runs, "rows": results.rows}
        with (sys.stdout if options.json == "-" else open(options.json, "w")) as out:
            json.dump(document, out, indent=1)
            out.write("\n")
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *ignored: sys.exit(143))
    sys.exit(main())
