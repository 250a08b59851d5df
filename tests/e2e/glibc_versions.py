# glibc_versions.py - fixtures on other versions of glibc: those of other Debian suites, fetched by apt.
"""
The C libraries are unpacked into a temporary directory; fixtures are linked to them, dynamically and
statically, and name them as their dynamic linker, so that they run without a chroot. The mirror is
the one that this machine's apt uses. GLIBC_DEBS may name directories (separated by colons) with
libc6 and libc6-dev packages of further versions, however they came there.
"""
import glob
import os
import re
import subprocess
import sys

import harness
from harness import cases, check, check_equal

# Suites that Debian serves for certain while this release is supported, and others.
REQUIRED = ("trixie",)
WELCOME = ("bullseye", "sid", "experimental")
if os.environ.get("SANITIZERS") == "yes":  # they are slow
    WELCOME = WELCOME[:1]
# What Debian takes up after this was written may differ; that must not fail what has not changed.
NEWEST_KNOWN = (2, 44)
FIXTURES = [("direct",), ("arenas",), ("freed",), ("memalign",), ("mmapped",), ("stale",),
            ("roots_threads",), ("roots_libc",), ("roots_dtls",), ("brkblocked",), ("direct_static",)]
PACKAGES = ("libc6", "libc6-dev")

_apt = None


def run(command, **options):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=harness.TIMEOUT, **options)


def mirror():
    """The address of the Debian mirror that this machine's apt has for its own suite."""
    with open("/etc/os-release") as lines:
        own = dict(line.strip().split("=", 1) for line in lines if "=" in line)["VERSION_CODENAME"]
    done = run([harness.tool("apt-get"), "indextargets", "--format", "$(RELEASE) $(REPO_URI)",
                "Created-By: Packages"])
    for line in done.stdout.splitlines():
        if line.startswith(own.strip('"') + " "):
            return line.split()[1]
    raise harness.Failure("apt has no mirror for %s:\n%s" % (own, done.stdout))


def apt():
    """An environment in which apt-get knows all the suites, and changes nothing of the machine's."""
    global _apt
    if _apt is not None:
        return _apt
    root = os.path.join(harness.scratch(), "apt")
    for directory in ("etc/apt.conf.d", "etc/sources.list.d", "state/lists/partial",
                      "cache/archives/partial"):
        os.makedirs(os.path.join(root, directory))
    open(os.path.join(root, "state/status"), "w").close()
    keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
    signed = "[signed-by=%s] " % keys if os.path.exists(keys) else ""
    with open(os.path.join(root, "etc/sources.list"), "w") as file:
        for suite in REQUIRED + WELCOME:
            file.write("deb %s%s %s main\n" % (signed, mirror(), suite))
    config = os.path.join(root, "apt.conf")
    with open(config, "w") as file:
        file.write('Dir::Etc "%s/etc"; Dir::Etc::trustedparts "/etc/apt/trusted.gpg.d";\n'
                   'Dir::State "%s/state"; Dir::State::status "%s/state/status";\n'
                   'Dir::Cache "%s/cache"; APT::Sandbox::User ""; Acquire::Languages "none";\n'
                   'APT::Architecture "amd64"; APT::Architectures { "amd64"; };\n'
                   'Acquire::Retries "2"; Acquire::Check-Valid-Until "false";\n' % ((root,) * 4))
    _apt = dict(os.environ, APT_CONFIG=config)
    # a suite that is not served fails alone, when its packages are asked for
    run([harness.tool("apt-get"), "update"], env=_apt)
    return _apt


def fetch(suite):
    """Downloads a suite's packages; None when the mirror has none that may be missing."""
    directory = os.path.join(harness.scratch(), "debs-" + suite)
    os.makedirs(directory)
    done = run([harness.tool("apt-get"), "download"] + ["%s/%s" % (p, suite) for p in PACKAGES],
               env=apt(), cwd=directory)
    if done.returncode == 0:
        return directory
    check(suite not in REQUIRED, "the mirror does not have %s any more:\n%s" % (suite, done.stdout))
    return None


class Libc:
    """An unpacked C library, and how to link with it."""

    def __init__(self, name, debs):
        self.tree = os.path.join(harness.scratch(), "libc-" + name)
        self.fixtures = os.path.join(harness.scratch(), "fixtures-" + name)
        os.makedirs(self.fixtures)
        for package in PACKAGES:
            packed = glob.glob(os.path.join(debs, package + "_*_amd64.deb"))
            check(len(packed) == 1, "%s has %d packages %s" % (debs, len(packed), package))
            done = run([harness.tool("dpkg-deb"), "-x", packed[0], self.tree])
            check(done.returncode == 0, done.stdout)
            if package == "libc6":
                self.version = re.search(r"_(\d+\.\d+)", os.path.basename(packed[0])).group(1)
        self._mend()
        self.minor = int(self.version.split(".")[1])
        self.linker = os.path.realpath(self._find("ld-linux-x86-64.so.2"))
        self.directory = os.path.dirname(self._find("libc.so.6"))
        development = os.path.join(self.tree, "usr/lib/x86_64-linux-gnu")
        # the kernel's headers are the machine's own
        self.static = ["--sysroot=" + self.tree, "-B" + development + "/", "-L" + development,
                       "-L" + self.directory, "-idirafter", "/usr/include", "-idirafter",
                       "/usr/include/x86_64-linux-gnu"]
        if self.minor < 35:  # the compiler's own libgcc_eh.a wants it
            self.static.append("-Wl,--defsym=_dl_find_object=0")
        if self.minor < 28:
            self.static.append("-DMAP_FIXED_NOREPLACE=0x100000")
        self.dynamic = self.static + ["-static-libgcc", "-Wl,--dynamic-linker=" + self.linker,
                                      "-Wl,-rpath,%s:%s" % (self.directory, self.fixtures)]

    def _mend(self):
        """Links of the whole system point into the tree, and lib and lib64 are there."""
        for name in ("lib", "lib64"):
            if not os.path.lexists(os.path.join(self.tree, name)):
                os.symlink("usr/" + name, os.path.join(self.tree, name))
        for directory, _, names in os.walk(self.tree):
            for path in (os.path.join(directory, name) for name in names):
                if os.path.islink(path) and os.readlink(path).startswith("/"):
                    to = self.tree + os.readlink(path)
                    os.unlink(path)
                    os.symlink(to, path)

    def _find(self, name):
        for directory in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"):
            path = os.path.join(self.tree, directory, name)
            if os.path.exists(path):
                return path
        raise harness.Failure("no %s in %s" % (name, self.tree))

    def build(self, name):
        path = os.path.join(self.fixtures, name)
        if os.path.exists(path):
            return path
        static = "-static" in harness.catalogue()[name][1]
        return harness.build(name, self.fixtures, self.static if static else self.dynamic)


def inspect(libc, command):
    """All blocks, lost and kept, are those of the truth; nothing is uncertain; memstats adds up."""
    with harness.Target(command) as target:
        report = harness.leaks(target, kinds=("all",))
        check_equal(report.json.get("warnings"), [], "warnings")
        harness.compare(target.truth, harness.listed(report), reachable_listed=True)
        text = harness.memscope("leaks", target.pid, expect=1).out
        # static programs have no banner in them that would say more
        called = "glibc" if command[0].endswith("_static") else "glibc " + libc.version
        check(called in text, "not called %s: %s" % (called, text[-300:]))
        account = harness.memscope("memstats", "-j", target.pid, expect=0).json["memstats"]["rss"]
        check_equal(sum(row["bytes"] for row in account["rows"]), account["total"], "sum of the rows")
        target.check_unharmed()


def inspect_all(libc):
    wrong = []
    libc.build("dtls_module.so")
    for fixture in FIXTURES:
        try:
            inspect(libc, [libc.build(fixture[0])] + list(fixture[1:]))
        except harness.Failure as failure:
            wrong.append("%s: %s" % (" ".join(fixture), str(failure)[:600]))
    try:  # the program is a file that ld.so was told to load
        inspect(libc, [libc.linker, "--library-path", libc.directory, libc.build("direct")])
    except harness.Failure as failure:
        wrong.append("direct, by way of ld.so: %s" % str(failure)[:600])
    check(not wrong, "glibc %s\n%s" % (libc.version, "\n".join(wrong)))
    print("# %s is glibc %s: %d fixtures" % (os.path.basename(libc.tree), libc.version,
                                             len(FIXTURES) + 1))


@cases(*(REQUIRED + WELCOME))
def suite(name):
    """Fixtures on the C library of another suite."""
    debs = fetch(name)
    if debs is None:
        print("# %s is not served any more" % name)
        return
    libc = Libc(name, debs)
    if tuple(int(part) for part in libc.version.split(".")[:2]) > NEWEST_KNOWN:
        print("# %s has glibc %s by now: newer than what memscope knows" % (name, libc.version))
        return
    inspect_all(libc)


@cases(*filter(None, os.environ.get("GLIBC_DEBS", "").split(":")))
def given(directory):
    """Fixtures on C libraries that are already here."""
    inspect_all(Libc(directory.strip("/").replace("/", "-"), directory))


if __name__ == "__main__":
    sys.exit(harness.main())
