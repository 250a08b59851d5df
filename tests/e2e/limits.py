# limits.py - when memory is short memscope says so before it takes any: cgroups v1 and v2, address space.
import os
import resource
import subprocess
import sys

import golang
import harness
from harness import cases, check, test

TARGET_BLOCKS = 2000000  # some 200 MB of heap


def in_cgroup(version, limit, pid, *options, name="leaks"):
    """Runs `memscope NAME` where the cgroup file system says that LIMIT bytes are allowed."""
    if version == 2:
        files = {"memory.max": limit, "memory.current": 4096}
        base, own = "/sys/fs/cgroup", "0::/\n"
    else:
        files = {"memory.limit_in_bytes": limit, "memory.usage_in_bytes": 4096}
        base, own = "/sys/fs/cgroup/memory", "4:memory:/\n"
    script = ["set -e", "mount -t tmpfs none /sys/fs/cgroup", "mkdir -p %s" % base]
    script += ["echo %s > %s/%s" % (value, base, name) for name, value in files.items()]
    # Bound over /proc/self/cgroup of the shell, which memscope then is by exec.
    path = os.path.join(harness.scratch(), "cgroup")
    with open(path, "w") as file:
        file.write(own)
    script += ["mount --bind %s /proc/$$/cgroup" % path, 'exec "$@"']
    command = [harness.tool("unshare"), "--mount"]
    if os.geteuid() != 0:
        command.append("--map-root-user")
    return subprocess.run(command + ["sh", "-c", "\n".join(script), "sh", os.environ["MEMSCOPE"],
                                     name, *options, str(pid)],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=harness.TIMEOUT)


@cases(1, 2)
def refused(version):
    """A cgroup that has no room for even a lean image: one clear line, exit 3, nothing harmed."""
    target = harness.start("bigheap", TARGET_BLOCKS)
    run = in_cgroup(version, 64 << 20, target.pid)
    check(run.returncode == 3, "exit status %d: %s" % (run.returncode, run.stderr))
    check(run.stderr.count("\n") == 1 and "memory" in run.stderr and "MiB" in run.stderr,
          "not one clear line: %r" % run.stderr)
    target.check_unharmed()


@cases(1, 2)
def lean_instead_of_full(version):
    """Room for a lean image only: --full is given up, and that is said."""
    target = harness.start("bigheap", TARGET_BLOCKS)
    heap = harness.kib(target.pid, "Rss")
    run = in_cgroup(version, heap, target.pid, "--full")
    check(run.returncode == 1, "exit status %d: %s" % (run.returncode, run.stderr))
    check("contents were not kept" in run.stdout, "does not say what it gave up:\n" + run.stdout[-800:])


@cases("heap", "leaks")
def go_needs_a_full_image(command):
    """The heap of a Go program is read from a copy: where there is no room for one, one clear line."""
    with harness.Target([golang.go_program("heap"), "6000000"]) as target:
        run = in_cgroup(2, harness.kib(target.pid, "Rss"), target.pid, name=command)
        check(run.returncode == 3, "exit status %d: %s" % (run.returncode, run.stderr))
        check(run.stderr.count("\n") == 1 and "copy of all its memory" in run.stderr,
              "not one clear line: %r" % run.stderr)
        target.check_unharmed()


@test
def no_room_for_retained():
    """Room for the image, but not for what `heap` works out: one clear line, exit 3."""
    count = 8000000  # each a block of 48 bytes with its header
    script = "import sys; held = list(range(1000, %d)); print('ready', flush=True); sys.stdin.read()"
    target = harness.Target([harness.tool("python3"), "-c", script % count], truth=False,
                            environment={"PYTHONMALLOC": "malloc"})
    image, retained = harness.kib(target.pid, "Rss") // 3 + (64 << 20), 32 * count
    check(image * 1.05 < retained, "the image takes %d, what is retained %d" % (image, retained))
    limit = int((image + retained) / 2 / 0.9)
    run = in_cgroup(2, limit, target.pid, name="heap")
    check(run.returncode == 3, "exit status %d: %s" % (run.returncode, run.stderr))
    check(run.stderr.count("\n") == 1 and "retains" in run.stderr and "MiB" in run.stderr,
          "not one clear line: %r" % run.stderr)
    check(in_cgroup(2, 2 * limit, target.pid, "-q", name="heap").returncode == 0, "refused with more")
    target.check_unharmed()


@cases(1, 2)
def unlimited(version):
    """What the kernel writes for 'no limit' is no limit."""
    target = harness.start("direct")
    run = in_cgroup(version, "max" if version == 2 else 0x7ffffffffffff000, target.pid)
    check(run.returncode == 1, "exit status %d: %s" % (run.returncode, run.stderr))


@test
def small_address_space():
    """Under a limit on address space memscope reserves no more than it needs."""
    target = harness.start("bigheap", TARGET_BLOCKS)
    limit = 2 << 30
    done = subprocess.run([os.environ["MEMSCOPE"], "leaks", str(target.pid)],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=harness.TIMEOUT,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
    if os.environ.get("SANITIZERS") == "yes":
        return  # the sanitizers' own shadow does not fit into any limit
    check(done.returncode == 1, "exit status %d: %s" % (done.returncode, done.stderr))


sys.exit(harness.main())
