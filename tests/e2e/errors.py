# errors.py - targets that cannot be inspected, wrong command lines: a clear line, the right status.
import os
import shutil
import signal
import subprocess
import sys
import time

import harness
from harness import cases, check, check_equal, test

NOBODY = 65534


def refused(run, *words):
    """Exit status 3, one message that says which target and why, and no report."""
    check_equal(run.status, 3, "exit status")
    lines = [line for line in run.err.splitlines() if line.strip()]
    check(0 < len(lines) <= 6, "not a short message:\n%s" % run)
    for word in words:
        check(any(w.lower() in run.err.lower() for w in word.split("|")),
              "the message does not say '%s':\n%s" % (word, run))
    check(run.json is None or "leaks" not in run.json, "a report all the same:\n%s" % run)


def both(target, *words):
    """leaks and memstats refuse alike."""
    pid = getattr(target, "pid", target)
    refused(harness.memscope("leaks", pid), *words)
    refused(harness.memscope("memstats", "-j", pid), *words)


def for_everybody():
    """The program in a place where other users can start it."""
    path = os.path.join(harness.scratch(), "memscope")
    shutil.copy(harness.MEMSCOPE, path)
    os.chmod(path, 0o755)
    return path


def as_user(uid, *arguments):
    prefix = [harness.tool("setpriv"), "--reuid", str(uid), "--regid", str(uid), "--clear-groups"]
    done = subprocess.run(prefix + [for_everybody()] + [str(a) for a in arguments],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=harness.TIMEOUT, cwd="/")
    return harness.Run([str(a) for a in arguments], done.returncode, done.stdout, done.stderr, 0)


def need_root():
    check_equal(os.geteuid(), 0, "this test switches users; effective uid")


@test
def no_such_process():
    child = subprocess.Popen(["true"])
    child.wait()
    both(child.pid, str(child.pid), "no such process|not running|does not exist|no process")


@test
def another_users_process():
    need_root()
    target = harness.start("direct")
    refused(as_user(NOBODY, "leaks", target.pid), str(target.pid), "CAP_SYS_PTRACE|root|sudo")
    target.check_unharmed()


@test
def process_that_dropped_its_rights():
    """The same user, but not dumpable: ptrace is refused to all without CAP_SYS_PTRACE."""
    need_root()
    target = harness.start("dropped", NOBODY)
    check_equal(target.truth.note("dumpable"), "0", "dumpable")
    refused(as_user(NOBODY, "leaks", target.pid), "dumpable|CAP_SYS_PTRACE")
    harness.compare(target.truth, harness.listed(harness.leaks(target)))


@test
def own_users_process():
    """No rights are needed for one's own processes, where Yama does not object."""
    need_root()
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope") as file:
            scope = int(file.read())
    except FileNotFoundError:
        scope = 0
    path = os.path.join(harness.scratch(), "direct-for-nobody")
    shutil.copy(harness.fixture("direct"), path)
    os.chmod(path, 0o755)
    target = harness.Target([harness.tool("setpriv"), "--reuid", str(NOBODY), "--regid",
                             str(NOBODY), "--clear-groups", path])
    run = as_user(NOBODY, "leaks", target.pid)
    if scope == 0:
        check_equal(run.status, 1, "exit status")
    else:
        refused(run, "ptrace_scope")
    target.check_unharmed()


def wait_traced(target, tracer):
    deadline = time.monotonic() + 20
    while target.status("TracerPid") == "0":
        check(time.monotonic() < deadline and tracer.poll() is None, "the tracer did not attach")
        time.sleep(0.02)


@cases("strace", "gdb")
def already_traced(name):
    """The message names the tracer, and the tracer keeps its target."""
    target = harness.start("direct")
    if name == "strace":
        command = [harness.tool("strace"), "-o", "/dev/null", "-p", str(target.pid)]
    else:
        command = [harness.tool("gdb"), "-nx", "-q", "-iex", "set debuginfod enabled off", "-p",
                   str(target.pid)]
    tracer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        wait_traced(target, tracer)
        by = target.status("TracerPid")
        both(target, "trace", by + "|" + name)
        check_equal(target.status("TracerPid"), by, "TracerPid afterwards")
    finally:
        tracer.terminate()
        tracer.wait()


@test
def kernel_thread():
    for entry in sorted(filter(str.isdigit, os.listdir("/proc")), key=int):
        try:
            with open("/proc/%s/stat" % entry) as file:
                flags = int(file.read().rsplit(")", 1)[1].split()[6])
        except OSError:
            continue
        if flags & 0x00200000:  # PF_KTHREAD
            both(entry, "kernel")
            return
    raise harness.Failure("no kernel thread is visible here; run this test outside of containers")


@test
def zombie():
    target = harness.start("zombie")
    both(target.truth.note("child"), "zombie|ended|exited|dead")
    target.check_unharmed()


@test
def itself():
    done = subprocess.run(["sh", "-c", 'exec "$0" leaks $$', harness.MEMSCOPE],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=harness.TIMEOUT)
    run = harness.Run(["leaks", "$$"], done.returncode, done.stdout, done.stderr, 0)
    refused(run, "itself|own")


THIRTY_TWO_BITS = """
    .globl _start
_start:
    movl $4, %eax; movl $1, %ebx; movl $text, %ecx; movl $6, %edx; int $0x80
1:  movl $29, %eax; int $0x80; jmp 1b
    .data
text: .ascii "ready\\n"
"""


@test
def thirty_two_bits():
    source = os.path.join(harness.scratch(), "thirtytwo.S")
    with open(source, "w") as file:
        file.write(THIRTY_TWO_BITS)
    program = os.path.join(harness.scratch(), "thirtytwo")
    subprocess.run(["gcc", "-m32", "-nostdlib", "-static", "-no-pie", "-o", program, source],
                   check=True)
    target = harness.Target([program], truth=False)
    both(target, "32")
    target.check_unharmed()


@cases(
    (), ("nonsense", "1"), ("leaks",), ("leaks", "1", "2"), ("leaks", "--nonsense", "1"),
    ("leaks", "--kinds", "nonsense", "1"), ("leaks", "--format", "xml", "1"),
    ("leaks", "--min-bytes", "many", "1"), ("leaks", "--color", "blue", "1"), ("memstats",),
    ("leaks", "--suppressions", "/nonexistent", "1"), ("leaks", "--min-bytes"), ("leaks", ""))
def bad_usage(arguments):
    run = harness.memscope(*arguments)
    check_equal(run.status, 2, "exit status")
    check(run.err.strip() != "" and run.out == "", "message and report are mixed up:\n%s" % run)


@cases(("--help",), ("leaks", "--help"), ("memstats", "--help"), ("--version",))
def help(arguments):
    run = harness.memscope(*arguments, expect=0)
    check(run.out.strip() != "" and run.err == "", "not on stdout:\n%s" % run)


@cases("text", "empty", "directory", "program", "device", "nonexistent")
def not_a_core(kind):
    path = os.path.join(harness.scratch(), "not-a-core-" + kind)
    if kind == "text":
        with open(path, "w") as file:
            file.write("no core\n" * 1000)
    elif kind == "empty":
        open(path, "w").close()
    elif kind == "directory":
        os.makedirs(path, exist_ok=True)
    elif kind == "program":
        path = harness.fixture("direct")
    elif kind == "device":
        path = "/dev/zero"
    refused(harness.memscope("leaks", path, timeout=20), os.path.basename(path))


@test
def full_disk():
    """A report that could not be written is not a success."""
    target = harness.start("cxx", "clean")
    with open("/dev/full", "w") as full:
        done = subprocess.run([harness.MEMSCOPE, "leaks", "-j", str(target.pid)], stdout=full,
                              stderr=subprocess.PIPE, timeout=harness.TIMEOUT)
    check(done.returncode > 1, "exit status %d for a report that was lost" % done.returncode)
    target.check_unharmed()


@test
def closed_pipe():
    """Nobody reads the report: no crash, and the target is free."""
    target = harness.start("bigheap", 100000)
    process = subprocess.Popen([harness.MEMSCOPE, "leaks", "-j", "--list", str(target.pid)],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdout.close()
    status = process.wait(harness.TIMEOUT)
    check(status != -signal.SIGSEGV and status != -signal.SIGABRT, "crashed: %d" % status)
    target.check_unharmed()


if __name__ == "__main__":
    sys.exit(harness.main())
