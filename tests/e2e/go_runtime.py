# go_runtime.py - a Go program is known as one, with its version and what it was built from.
"""The oracle is the program: runtime.Version() and debug.ReadBuildInfo() in it."""

import json
import os
import subprocess
import sys

import golang
import harness
from harness import Target, cases, check, check_equal

GOINFO = os.path.join(os.path.dirname(harness.MEMSCOPE), "tests", "e2e", "goinfo")


def goinfo(target, *names):
    """What memscope knows of the runtime in a target; null when it is no Go program."""
    done = subprocess.run([GOINFO, str(target.pid)] + list(names), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=harness.TIMEOUT)
    check(done.returncode == 0, "goinfo: %d\n%s" % (done.returncode, done.stderr))
    return json.loads(done.stdout)


@cases(*golang.versions())
def version_and_module(version):
    with Target([golang.go_program("objects", version)]) as target:
        found = goinfo(target)
        check(found is not None, "a Go program is not known as one")
        check_equal(found["version"], target.truth.note("version"), "the version")
        check_equal(found["minor"], golang.minor(version), "the minor version")
        check_equal(found["module"], target.truth.note("module"), "the main module")


if __name__ == "__main__":
    sys.exit(harness.main())
