# typed.py - the type of each block, against fixtures that know: however the debug information comes.
"""
The truth is what the compiler laid out (tests/fixtures/typed.h). Outside of guesses, no answer may be
wrong; which must not be missing depends on what the facts allow. Each wrong one is shown with the truth.
"""

import os
import re
import shutil
import subprocess
import sys

import harness
import pyobjects
import typenames
from harness import cases, check, check_equal, test
from typetruth import check_answers, kinds_of, live_blocks, some

EVIDENCE = ("header", "vtable", "format", "container", "pointer", "guess", "nothing")
C = ("types_c", "types_c_O0", "types_c_O2", "types_c_clang", "types_c_clang_names", "types_c_dwarf4",
     "types_c_units", "types_c_units4", "types_c_split", "types_c_split4", "types_c_gz",
     "types_c_gnu_gz", "types_c_lto")
CXX = ("types_cxx", "types_cxx_O0", "types_cxx_O2", "types_cxx_clang", "types_cxx_dwarf4",
       "types_cxx_units", "types_cxx_split", "types_cxx_lto", "types_libcxx")
RUST = ("types_rust", "types_rust_O2")
# Where the facts allow it. Optimized code need not keep a local that is not needed any more.
LEAST = {"known": 1.0, "local": 0.5, "hint": 0.0, "open": 0.0}
LEAST_O0 = {"local": 1.0}


def check_sums(answers, report):
    """The shares, the groups and the list are the same blocks, counted in three ways."""
    live, typed = report["live"], report["typed"]
    check_equal(sorted(typed), sorted(EVIDENCE), "kinds of evidence")
    check_equal(len(answers), live["blocks"], "blocks in the list")
    listed = {}
    for block in report["blocks"]:
        counts = listed.setdefault(block["type_by"] or "nothing", [0, 0])
        counts[0] += 1
        counts[1] += block["size"]
        check_equal(block["type"] is None, block["type_by"] is None, "evidence of %s" % block)
    for by in EVIDENCE:
        check_equal([typed[by]["blocks"], typed[by]["bytes"]], listed.get(by, [0, 0]), "by " + by)
    groups, found = {}, {}
    for group in report["groups"]:
        if group["type"] is not None and group["type_by"] is not None:
            count(groups, group["type"], group["type_by"], group["blocks"])
    for text, by in answers.values():
        if text is not None:
            count(found, text, by, 1)
    differ = {k: (groups.get(k), found.get(k)) for k in set(groups) | set(found)
              if groups.get(k) != found.get(k)}
    check(not differ, "groups and list differ (in groups, in list): %s" % differ)


def count(counts, text, by, blocks):
    """
    Groups are of one element type: "struct entry []" is all arrays of them, whatever their length; those
    that are guessed are on their own, the others say the weakest of what their blocks have.
    """
    element = re.sub(r"^(\.\.\.|[\d,]+ bytes) \+ | \[[\d,]*\]| \+ (tail|[\d,]+ bytes)", "", text)
    key = element, by == "guess"
    counts[key] = counts.get(key, 0) + blocks


def least_of(name):
    return dict(LEAST, **LEAST_O0) if name.endswith("_O0") else dict(LEAST)


def check_fixture(path, least, *options):
    target = harness.Target([path])
    answers, report = live_blocks(target, *options)
    check_answers(target.truth, answers, least)
    check_sums(answers, report)
    target.check_unharmed()
    return report


@cases(*C + CXX + RUST)
def fixture(name):
    """As the compilers make it."""
    check_fixture(harness.fixture(name), least_of(name))


# What is done to a program after it is linked

def copy_of(name, what):
    """A copy of a fixture, in a directory of its own; its .dwo files are found by their own paths."""
    directory = os.path.join(harness.scratch(), what)
    os.makedirs(directory, exist_ok=True)
    return shutil.copy(harness.fixture(name), directory)


def run(*command, **more):
    subprocess.run([harness.tool(command[0])] + list(command[1:]), check=True,
                   stdout=subprocess.DEVNULL, **more)


def dwz(name):
    path = copy_of(name, "dwz")
    run("dwz", path)
    return path


def dwz_common(name):
    """What three files share, here all of it, is in a fourth one, which they name (.gnu_debugaltlink)."""
    path = copy_of(name, "dwz-common")
    paths = [path, copy_of(name, "dwz-common/second"), copy_of(name, "dwz-common/third")]
    run("dwz", "-m", os.path.join(os.path.dirname(path), "common.debug"), "-M", "common.debug", *paths)
    sections = subprocess.run([harness.tool("readelf"), "-SW", path], check=True, text=True,
                              stdout=subprocess.PIPE).stdout
    check(".gnu_debugaltlink" in sections, "dwz found nothing in common")
    return path


def compressed(name):
    path = copy_of(name, "compressed")
    run("objcopy", "--compress-debug-sections=zlib", path)
    return path


def indexed(name):
    path = copy_of(name, "indexed")
    run("gdb-add-index", path)
    return path


def indexed5(name):
    path = copy_of(name, "indexed5")
    run("gdb-add-index", "-dwarf-5", path)
    return path


def no_aranges(name):
    path = copy_of(name, "no-aranges")
    run("objcopy", "--remove-section=.debug_aranges", path)
    return path


def linked(name):
    """The debug file lies beside it, in .debug, named by .gnu_debuglink."""
    path = copy_of(name, "linked")
    debug = os.path.join(os.path.dirname(path), ".debug", name + ".debug")
    os.makedirs(os.path.dirname(debug), exist_ok=True)
    run("objcopy", "--only-keep-debug", path, debug)
    run("strip", "--strip-all", path)
    run("objcopy", "--remove-section=.gnu_debuglink", "--add-gnu-debuglink=" + debug, path)
    return path


def by_build_id(name):
    """The debug file is where distributions have it, below a root of its own."""
    path = copy_of(name, "build-id")
    notes = subprocess.run([harness.tool("readelf"), "-n", path], check=True, text=True,
                           stdout=subprocess.PIPE).stdout
    build_id = re.search(r"Build ID: ([0-9a-f]+)", notes).group(1)
    root = os.path.join(os.path.dirname(path), "root")
    debug = os.path.join(root, "usr/lib/debug/.build-id", build_id[:2], build_id[2:] + ".debug")
    os.makedirs(os.path.dirname(debug), exist_ok=True)
    run("objcopy", "--only-keep-debug", path, debug)
    run("strip", "--strip-all", path)
    return path, "--sysroot", root


def packed(name):
    """The .dwo files are in one .dwp, and gone. binutils' dwp knows DWARF 4 only."""
    directory = os.path.join(harness.scratch(), "packed")
    os.makedirs(directory, exist_ok=True)
    path = harness.build(name, directory)
    run("dwp", "-e", path, "-o", path + ".dwp", cwd=directory)
    removed = [f for f in os.listdir(directory) if f.endswith(".dwo")]
    check(removed, "no .dwo files were there")
    for file in removed:
        os.unlink(os.path.join(directory, file))
    return path


@cases((dwz, "types_c"), (dwz, "types_cxx"), (dwz, "types_cxx_dwarf4"), (dwz_common, "types_cxx_dwarf4"),
       (compressed, "types_cxx"), (indexed, "types_c"), (indexed, "types_cxx"),
       (indexed5, "types_cxx"), (no_aranges, "types_c"), (linked, "types_c"), (linked, "types_cxx"),
       (by_build_id, "types_c"), (by_build_id, "types_cxx"), (by_build_id, "types_rust"),
       (packed, "types_c_split4"))
def reworked(case):
    """The same debug information after other tools had it."""
    rework, name = case
    made = rework(name)
    path, *options = made if isinstance(made, tuple) else (made,)
    check_fixture(path, least_of(name), *options)


@cases("types_cxx", "types_cxx_none", "types_c_none")
def stripped(name):
    """Without debug information and symbols, RTTI still names classes; nothing else is named."""
    path = copy_of(name, "stripped")
    run("strip", "--strip-all", path)
    target = harness.Target([path])
    answers, report = live_blocks(target)
    check_sums(answers, report)
    kinds = kinds_of(target.truth)
    classes = {"circle", "square", "file", "holder", "hidden", "made", "weak_only", "made_shape", "control"}
    if not name.startswith("types_cxx"):
        classes = set()
    wrong = []
    for address, block in target.truth.blocks.items():
        kind, answer = kinds[block[0].rsplit(".", 1)[0]], answers[address]
        if kind.name in classes and (answer[1] != "vtable" or kind.exact != typenames.parse(answer[0])[0]) \
           or kind.name not in classes and answer[0] is not None:
            wrong.append("%s at %#x: %s, reported as %s by %s"
                         % ((block[0], address, kind.texts[0]) + answer))
    check(not wrong, "%d are not right:\n%s" % (len(wrong), some(wrong)))


@test
def a_missing_dwo():
    """Split debug information whose .dwo files are gone: less is known, nothing is wrong."""
    directory = os.path.join(harness.scratch(), "no-dwo")
    os.makedirs(directory)
    path = harness.build("types_c_split", directory)
    for file in os.listdir(directory):
        if file.endswith(".dwo"):
            os.unlink(os.path.join(directory, file))
    target = harness.Target([path])
    answers, report = live_blocks(target)
    check_answers(target.truth, answers, {})
    check_sums(answers, report)


@cases("types_c", "types_cxx", "types_rust")
def a_core_says_the_same(name):
    """A core's blocks have the types that those of the process have."""
    target = harness.start(name)
    answers, _ = live_blocks(target)
    core = os.path.join(harness.scratch(), name + ".core")
    run("gcore", "-o", core, str(target.pid), stderr=subprocess.DEVNULL)
    dead, _ = live_blocks("%s.%d" % (core, target.pid))
    differ = {hex(a): (answers[a], dead[a]) for a in set(answers) & set(dead) if answers[a] != dead[a]}
    check_equal(sorted(answers), sorted(dead), "addresses")
    check(not differ, "differ (live, dead): %s" % list(differ.items())[:10])


@test
def lost_blocks():
    """leaks names what a lost block is, when its class does; and groups have the same names."""
    target = harness.start("cxx", "leaky")
    report = harness.leaks(target, expect=1).json["leaks"]
    for what in report["blocks"] + report["groups"]:
        check("type" in what and "type_by" in what, "no type in %s" % what)
        check((what["type"] is None) == (what["type_by"] is None), "evidence of %s" % what)
    check(any(b["type_by"] == "vtable" for b in report["blocks"]), "no class of a lost block is known")


# The truth is checked too: by gdb, which reads the same debug information with code of its own.

@test
def formats():
    """What libraries make is named without debug information, and nothing that is almost like it."""
    target = harness.start("formats")
    answers, report = live_blocks(target)
    check_answers(target.truth, answers, {"known": 1})
    check_sums(answers, report)
    check(sum(by == "format" for _, by in answers.values()) >= 30, "by something else: %s" % answers)


@test
def python():
    """Objects of Python are known by their class, also without debug information."""
    target = pyobjects.start()
    more = pyobjects.check_objects(target, 0.6)
    check(not more, "no objects at all: %s" % more)


@test
def lost_formats():
    """Of a lean image too what getaddrinfo() gave is named, and all that is lost in a full one."""
    target = harness.start("formats")
    for option, kinds in ((), ("addresses",)), (("--full",), ("addresses", "directory", "deflate", "connection", "bio")):
        run = harness.memscope("leaks", "-j", "--list", *option, target.pid, expect=1)
        answers = {int(b["address"], 16): (b["type"], b["type_by"]) for b in run.json["leaks"]["blocks"]}
        blocks = {a: b for a, b in target.truth.blocks.items() if a in answers}
        known, seen = kinds_of(target.truth), set()
        for address, block in blocks.items():
            name = block[0].split(".")[0]
            verdict = known[name].verdict(block, answers[address])
            check(verdict != "wrong", "%s is said to be %s" % (block[0], answers[address]))
            check(verdict == "exact" or name not in kinds, "%s is not named" % block[0])
            seen.add(name)
        check(seen >= set(kinds), "not lost: %s" % (set(kinds) - seen))


def gdb(arguments, commands):
    """What gdb prints for each command, in turn."""
    script = []
    for command in commands:
        script += ["-ex", "echo \\n@@\\n", "-ex", command]
    done = subprocess.run([harness.tool("gdb"), "-nx", "-batch", "-iex", "set debuginfod enabled off",
                           "-iex", "set language auto", *arguments, *script, "-ex", "echo \\n@@\\n"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                          text=True, errors="replace", timeout=5 * harness.TIMEOUT)
    answers = [a.strip() for a in done.stdout.split("\n@@\n")[1:-1]]
    check_equal(len(answers), len(commands), "answers of gdb\n%s\n" % done.stdout[-2000:])
    return answers


def asked(kind, name):
    """A type as gdb can be asked for it, or None: its parser of Rust knows no generics."""
    text = kind.texts[0]
    if text == "?" or "{" in text or "(anonymous" in text:
        return None
    if name in RUST and not re.fullmatch(r"types_rust::\w+|[iu]\d+", text):
        return None
    if "clang" in name:
        text = text.replace("(__gnu_cxx::_Lock_policy)2", "__gnu_cxx::_S_atomic")
    return text


@cases(*C + CXX + RUST)
def truth_is_gdbs(name):
    """gdb knows the types that the fixture names, with the sizes that it says."""
    target = harness.start(name)
    kinds = [(asked(k, name), k.size) for k in kinds_of(target.truth).values()]
    kinds = [(text, size) for text, size in kinds if text]
    answers = gdb([harness.fixture(name)], ["print sizeof(%s)" % text for text, _ in kinds])
    wrong = ["sizeof(%s) is %s, not %d" % (text, answer, size)
             for (text, size), answer in zip(kinds, answers) if not answer.endswith(" = %d" % size)]
    check(not wrong, "gdb does not agree:\n" + some(wrong))


@test
def names_are_compared():
    """canonical() brings spellings of one type together, and keeps types apart."""
    same = (
        ("std::map<int, std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >, "
         "std::less<int>, std::allocator<std::pair<int const, std::string> > >",
         "std::map<int, std::string>"),
        ("std::_Rb_tree_node<std::pair<const long, app::Point *>>",
         "std::_Rb_tree_node<std::pair<long const, app::Point*> >"),
        ("app::Holder<app::Point, 3ul>", "app::Holder<app::Point, 3>"),
        ("a::{anonymous}::B", "a::(anonymous namespace)::B"),
        ("long unsigned int", "unsigned long"), ("const char *", "char const*"),
        ("alloc::vec::Vec<u16, alloc::alloc::Global>", "alloc::vec::Vec<u16>"),
    )
    apart = (("char *", "char * const"), ("char *", "const char *"), ("std::vector<int>", "std::vector<long>"),
             ("std::less<int>", "std::less<long>"), ("app::Holder<3>", "app::Holder<4>"),
             ("std::shared_ptr<int>", "std::shared_ptr<const int>"), ("A<B<C>, D>", "A<B<C, D>>"),
             ("long", "unsigned long"), ("a::B", "b::B"), ("int [16]", "int"))
    for one, other in same:
        check_equal(typenames.canonical(one), typenames.canonical(other), one)
    for one, other in apart:
        check(typenames.canonical(one) != typenames.canonical(other), "%s == %s" % (one, other))
    check_equal(typenames.parse("struct entry [1,012] + 24 bytes"), ("entry", 1012, 24), "parts")
    check_equal(typenames.parse("int [16] [8]"), ("int[16]", 8, 0), "parts")


if __name__ == "__main__":
    sys.exit(harness.main())
