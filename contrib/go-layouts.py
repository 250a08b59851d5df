#!/usr/bin/env python3
# go-layouts.py - makes src/go/layout_table.c from the DWARF that each version of Go writes.
"""
    contrib/go-layouts.py BUILD-DIRECTORY [VERSION...]

Builds programs with every version of Go that tests know (or those given: then the table is only
compared, and differences are printed), has tests/e2e/goinfo of BUILD-DIRECTORY (`make check
run_e2e= TESTS=` builds it) say where the fields are that some reader asks for, and writes the
table anew. To be run when a reader asks for another field, and for a new version of Go (NEWEST and
ALL_VERSIONS in tests/e2e/golang.py).
"""

import os
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "tests", "e2e"))
import golang  # noqa: E402
from harness import Target  # noqa: E402
import json  # noqa: E402

TABLE = os.path.join(TOP, "src", "go", "layout_table.c")
PROGRAMS = ("busy",)  # between them, all types that readers ask for

HEAD = """/* Layouts of the runtime by version of Go: made by contrib/go-layouts.py, not by hand. */
#include "layout.h"

/* Made with
 * %s. */
const unsigned ms_go_first_known = %d, ms_go_last_known = %d;

/* clang-format off */
const struct ms_go_known_place ms_go_known_places[] = {
"""
TAIL = """};
/* clang-format on */
const size_t ms_go_known_place_count = sizeof ms_go_known_places / sizeof *ms_go_known_places;
"""


def fields_of(build, version):
    """{(type, path): (place, needed, place in the table)} of one version."""
    fields = {}
    for name in PROGRAMS:
        with Target([golang.go_program(name, version)]) as target:
            said = subprocess.run([os.path.join(build, "tests", "e2e", "goinfo"), str(target.pid)],
                                  stdout=subprocess.PIPE, check=True).stdout
        for field in json.loads(said)["fields"]:
            key = (field["type"], field["path"])
            if fields.get(key, (None,))[0] is None:
                fields[key] = (field["dwarf"], field["needed"], field["table"])
    for (type_name, path), (place, needed, _) in sorted(fields.items()):
        if place is None and needed:
            print("go%s: no %s of %s" % (version, path or "size", type_name))
    return fields


def write_table(places):
    """PLACES: {(type, path): {minor: place}}."""
    minors = [golang.minor(version) for version in golang.ALL_VERSIONS]
    lines = []
    for key in sorted(places, key=lambda key: (key[0].encode(), key[1].encode())):
        runs = []  # [first, last, place]
        for minor in minors:
            place = places[key].get(minor)
            if place and runs and runs[-1][1:] == [minor - 1, place]:
                runs[-1][1] = minor
            elif place:
                runs.append([minor, minor, place])
        lines += ['    {"%s", "%s", %d, %d, %d, %d},\n' % (key + (first, last) + tuple(place))
                  for first, last, place in runs]
    with open(TABLE, "w") as out:
        out.write(HEAD % (", ".join(golang.ALL_VERSIONS), minors[0], minors[-1]))
        out.writelines(lines)
        out.write(TAIL)
    print("%s: %d lines for %d fields" % (TABLE, len(lines), len(places)))


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    build, asked = sys.argv[1], sys.argv[2:]
    places = {}
    for version in asked or golang.ALL_VERSIONS:
        for key, (place, _, known) in fields_of(build, version).items():
            if asked and place != known:
                print("go%s: %s of %s is %s, not %s" % (version, key[1], key[0], place, known))
            if place:
                places.setdefault(key, {})[golang.minor(version)] = place
    if not asked:
        write_table(places)


main()
