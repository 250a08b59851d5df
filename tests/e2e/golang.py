# golang.py - Go toolchains of many versions, and fixtures that are built with them.
"""
toolchain("1.22.12") is the GOROOT of that version: one that is installed, or else what the module
proxy has of it, in Go's module cache. Any Go there is, Debian's 1.19 too, can fetch the others.

    go_program("objects")                                    tests/fixtures/go/objects, newest Go
    go_program("objects", "1.19", ["-ldflags=-s -w"])        ... stripped, with Go 1.19
    go_program("objects", cgo=True)                          ... linked by gcc against libc

    @cases(*golang.versions())                               a test for each version

Environment: GO_VERSIONS is `all`, or a list of versions with commas, instead of the default ones.
As a program, fetches what versions() names and fills the build cache.
"""

import glob
import json
import os
import re
import subprocess
import sys

import harness
from harness import Failure

DEBIAN = "1.19.8"  # golang-go of Debian 12
NEWEST = "1.26.8"
DEFAULT_VERSIONS = (DEBIAN, "1.22.12", "1.24.13", NEWEST)
ALL_VERSIONS = ("1.17.13", "1.18.10", "1.19.13", "1.20.14", "1.21.13", "1.22.12", "1.23.12",
                "1.24.13", "1.25.5", NEWEST)
SOURCES = os.path.join(harness.FIXTURE_SOURCES, "go")

_roots = {}
_programs = {}


def versions():
    """The versions that tests run with: under the sanitizers, which make them slow, the oldest and the newest."""
    asked = os.environ.get("GO_VERSIONS", "")
    if asked == "all":
        return ALL_VERSIONS
    if not asked and os.environ.get("SANITIZERS") == "yes":
        return DEFAULT_VERSIONS[0], DEFAULT_VERSIONS[-1]
    return tuple(asked.replace(",", " ").split()) or DEFAULT_VERSIONS


def minor(version):
    """22 of "1.22.12"."""
    return int(version.split(".")[1])


def environment(**more):
    """For go: nothing that was set for other builds has a say."""
    clean = {name: value for name, value in os.environ.items()
             if not name.startswith(("GO", "CGO_")) or name in ("GOCACHE", "GOMODCACHE", "GOPATH",
                                                               "GOPROXY", "GOSUMDB", "GONOSUMDB")}
    clean.update(GOENV="off", GOTOOLCHAIN="local", GO111MODULE="on")
    if not clean.get("HOME"):
        clean["HOME"] = "/var/tmp"
    clean.update(more)
    return clean


def _run(command, where, **more):
    done = subprocess.run(command, cwd=where, env=environment(**more), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Failure("%s failed (%d):\n%s%s" % (" ".join(command), done.returncode, done.stdout,
                                                 done.stderr))
    return done.stdout


def _installed():
    """Directories of the toolchains that are on this machine."""
    path = os.environ.get("PATH", "")
    for directory in path.split(":") + ["/usr/local/go/bin"]:
        if os.access(os.path.join(directory, "go"), os.X_OK):
            yield os.path.dirname(os.path.dirname(os.path.realpath(os.path.join(directory, "go"))))
    yield from sorted(glob.glob("/usr/lib/go-*"))


def _version_of(root):
    try:
        with open(os.path.join(root, "VERSION")) as text:
            found = re.match(r"go(\S+)", text.readline())
        return found.group(1) if found else None
    except OSError:
        return None


def _fetch(version):
    """By the module proxy: from 1.21 on go itself gets its toolchains so, and it has older ones."""
    fetcher = next((os.path.join(root, "bin", "go") for root in _installed()), None)
    if fetcher is None:
        raise Failure("this test needs go, which is not installed (Debian: golang-go)")
    module = "golang.org/toolchain@v0.0.1-go%s.linux-amd64" % version
    where = os.path.join(harness.scratch(), "go-fetch")
    os.makedirs(where, exist_ok=True)
    said = _run([fetcher, "mod", "download", "-json", module], where, GOFLAGS="-mod=mod")
    root = json.loads(said)["Dir"]
    # modules have no executable files; go itself does this when it switches toolchains
    for program in glob.glob(root + "/bin/*") + glob.glob(root + "/pkg/tool/*/*"):
        if not os.access(program, os.X_OK):
            os.chmod(program, 0o555)
    return root


def toolchain(version):
    """The GOROOT of a version, "1.22.12"."""
    if version not in _roots:
        _roots[version] = next((root for root in _installed() if _version_of(root) == version),
                               None) or _fetch(version)
    return _roots[version]


def go(version, *arguments, where=SOURCES, **more):
    """Runs the go command of a version; returns what it printed."""
    root = toolchain(version)
    return _run([os.path.join(root, "bin", "go")] + list(arguments), where, GOROOT=root, **more)


def go_program(name, version=None, flags=(), cgo=False, **more):
    """
    The path of a fixture that is built with FLAGS of `go build`. With CGO, the fixture's `import "C"`
    and what the standard library has for it count; MORE are variables of the environment.
    """
    version = version or NEWEST
    key = (name, version, tuple(flags), cgo, tuple(sorted(more.items())))
    if key not in _programs:
        directory = os.path.join(harness.scratch(), "go-%d" % len(_programs))
        os.makedirs(directory)
        out = os.path.join(directory, name)
        vcs = ["-buildvcs=false"] if minor(version) >= 18 else []
        go(version, "build", *vcs, *flags, "-o", out, "./" + name,
           CGO_ENABLED="1" if cgo else "0", **more)
        _programs[key] = out
    return _programs[key]


def prepare():
    """Fetches the toolchains, and compiles what all programs have in common."""
    for version in versions():
        print("go%s: %s" % (version, toolchain(version)), flush=True)
        for cgo in (False, True):
            go_program("objects", version, cgo=cgo)


if __name__ == "__main__":
    sys.exit(prepare())
