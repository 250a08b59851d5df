# targets.py - unusual targets: stopped, in namespaces, deleted, in vfork, changing all the time.
import os
import shutil
import signal
import subprocess
import sys
import time

import harness
from harness import cases, check, check_equal, test


class Other:
    """Another process than the one that was started, with the truth that this one printed."""

    def __init__(self, pid, truth):
        self.pid = int(pid)
        self.truth = truth


def compare(target):
    run = harness.leaks(target)
    harness.compare(target.truth, harness.listed(run))
    return run


@test
def stopped_before():
    """A stopped target is still stopped after, and its parent hears nothing of it."""
    parent = harness.start("selfstop")
    child = Other(parent.truth.note("child"), parent.truth)
    check_equal(parent.ask("events"), "events 0 T", "before")
    for _ in range(5):
        compare(child)
        check_equal(parent.ask("events"), "events 0 T", "after")
    check_equal(parent.ask("continue"), "events 1 S", "after SIGCONT")
    compare(child)
    check_equal(parent.ask("events"), "events 0 S", "after another look")


@test
def stopped_from_outside():
    target = harness.start("arenas")
    os.kill(target.pid, signal.SIGSTOP)
    time.sleep(0.1)
    compare(target)
    target.check_unharmed(stopped=True)
    os.kill(target.pid, signal.SIGCONT)
    time.sleep(0.1)
    target.check_unharmed()


@test
def signals_during_attach():
    """Signals that arrive while the target is held are neither lost nor doubled."""
    target = harness.start("load", 2)
    sender = subprocess.Popen([sys.executable, "-c", "import os, time\nfor i in range(300):\n"
                               "    os.kill(%d, 28)\n    time.sleep(.002)" % target.pid])
    while sender.poll() is None:
        harness.memscope("leaks", target.pid, expect=(0, 4))
    target.check_unharmed()
    check(target.ask("gap").startswith("gap "), "no answer")


def only_child(pid):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
            children = file.read().split()
        if children:
            return int(children[0])
        time.sleep(0.01)
    raise harness.Failure("%d has no child" % pid)


@cases("direct", "cxx", "roots_data", "arenas_static")
def other_namespaces(name):
    """In a PID and mount namespace of its own, its executable on a file system of that one."""
    arguments = " leaky" if name == "cxx" else ""
    outer = harness.Target([
        harness.tool("unshare"), "--pid", "--fork", "--mount", "--mount-proc", "sh", "-c",
        "mount -t tmpfs none /mnt && cp '%s' /mnt/inner && cd / && exec /mnt/inner%s"
        % (harness.fixture(name), arguments)])
    inner = Other(only_child(outer.pid), outer.truth)
    check(not os.path.exists("/mnt/inner"), "the namespace leaks out")
    compare(inner)
    check_equal(outer.status("TracerPid", inner.pid), "0", "TracerPid")


@test
def dropped_rights():
    target = harness.start("dropped")
    compare(target)
    target.check_unharmed()


@cases(("direct", "deleted"), ("cxx", "deleted"), ("roots_data", "replaced"),
       ("direct", "replaced"))
def executable_gone(case):
    name, how = case
    path = os.path.join(harness.scratch(), "gone-%s-%s" % (name, how))
    shutil.copy(harness.fixture(name), path)
    target = harness.Target([path, "leaky"])
    os.unlink(path)
    if how == "replaced":
        shutil.copy(shutil.which("true"), path)
    compare(target)
    target.check_unharmed()


@test
def library_gone():
    """A module that was deleted while in use, as a package upgrade does."""
    directory = os.path.join(harness.scratch(), "upgrade")
    os.makedirs(directory, exist_ok=True)
    shutil.copy(harness.fixture("roots_dtls"), directory)
    module = os.path.join(directory, "dtls_module.so")
    shutil.copy(harness.fixture("dtls_module.so"), module)
    target = harness.Target([os.path.join(directory, "roots_dtls")])
    os.unlink(module)
    compare(target)


@test
def vfork_parent():
    """A parent that waits in vfork cannot be stopped before its child goes on; nor need it be."""
    target = harness.start("vforkparent")
    child = only_child(target.pid)
    compare(target)
    check_equal(target.status("TracerPid"), "0", "TracerPid of the parent")
    check_equal(target.status("TracerPid", child), "0", "TracerPid of the child")
    # the child goes on, and so does the parent
    target.process.stdin.close()
    check_equal(target.process.wait(10), 0, "exit status of the target")


@cases(1, 3, 10)
def exec_during_attach(milliseconds):
    target = harness.start("execloop", milliseconds)
    statuses = {}
    for _ in range(40):
        run = harness.memscope("leaks", "-j", target.pid, expect=(0, 1, 3, 4), timeout=20)
        statuses[run.status] = statuses.get(run.status, 0) + 1
        check(target.process.poll() is None, "the target is gone")
    target.check_unharmed()
    check(statuses.get(3, 0) < 40, "never a report: %s" % statuses)


@test
def exit_during_attach():
    """Targets that end at any moment of the inspection."""
    for i in range(40):
        target = subprocess.Popen([sys.executable, "-S", "-c",
                                   "import time; time.sleep(%f)" % (0.03 + 0.002 * i)],
                                  stdin=subprocess.DEVNULL)
        run = harness.memscope("leaks", "-j", target.pid, expect=(0, 1, 3, 4), timeout=20)
        check_equal(target.wait(), 0, "exit status of the target")
        check(run.status != 3 or run.err.strip(), "no message")


@test
def killed_during_attach():
    for i in range(20):
        target = harness.start("bigheap", 100000)
        process = subprocess.Popen([harness.MEMSCOPE, "leaks", "-j", str(target.pid)],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.001 * i)
        os.kill(target.pid, signal.SIGKILL)
        status = process.wait(20)
        check(status in (0, 1, 3, 4), "exit status %d" % status)
        check_equal(target.process.wait(), -signal.SIGKILL, "exit status of the target")
        target.stop()


@test
def two_thousand_threads():
    target = harness.start("manythreads", 2000)
    run = compare(target)
    check_equal(len(os.listdir("/proc/%d/task" % target.pid)), 2001, "threads")
    target.check_unharmed()
    check(run.json["pause_ns"] < 2000000000, "stopped for %d ms" % (run.json["pause_ns"] / 1e6))


@test
def threads_born_and_dying():
    """What is lost stays the same, whatever else comes and goes."""
    target = harness.start("churn")
    strange = 0
    for _ in range(15):
        run = harness.leaks(target, expect=(1, 4))
        found = harness.listed(run)
        extra = {a: b for a, b in found.items() if a not in target.truth.blocks}
        harness.compare(target.truth, {a: b for a, b in found.items() if a not in extra})
        strange += len(extra) > 0
    check_equal(strange, 0, "reports with blocks that nobody lost")
    target.check_unharmed()


@cases(("load", 4), ("load", 1), ("loadsingle",))
def under_load(case):
    """Threads in the middle of malloc and free: nothing is lost, whenever one looks."""
    target = harness.start(*case)
    rounds = 25 if case[0] == "load" else 100
    busy = 0
    for _ in range(rounds):
        run = harness.leaks(target, expect=(0, 1, 4))
        lost = {hex(a): b for a, b in harness.listed(run).items()}
        check(not lost, "after %s: %s" % (run.status, lost))
        busy += run.status == 4
    # a thread that does nothing else is nearly always found inside the allocator
    limit = rounds // 2 if case[0] == "load" else rounds - 1
    check(busy <= limit, "%d of %d reports were incomplete" % (busy, rounds))
    target.check_unharmed()
    target.process.stdin.close()
    check_equal(target.process.wait(10), 0, "exit status of the target")


if __name__ == "__main__":
    sys.exit(harness.main())
