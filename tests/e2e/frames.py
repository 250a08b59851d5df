# frames.py - stacks, locals and thread-local variables: all that gdb and eu-stack say, and nothing else.
"""
gdb's frames and ours must be the same: pc, function, file and line, inlined ones too; each variable that
gdb has must be where and what gdb says. tests/e2e/stacks shows what memscope knows.

What gdb has beyond us, and by what a difference is known to be that: frames of tail calls that it makes up
(TAILCALL_FRAME); values on entry that it looks up in the caller, and pointers to what is optimised away
(both by the expressions that `info address` shows).
"""

import json
import os
import re
import subprocess
import sys
import time

import harness
from harness import cases, check, check_equal, test

STACKS = os.path.join(os.path.dirname(harness.MEMSCOPE), "tests", "e2e", "stacks")
WORDS = 2 ** 64

SCRIPT = r"""
import gdb, json, os

def variable(frame, symbol):
    value = symbol.value(frame)
    if value.is_optimized_out:
        return None
    if value.type.strip_typedefs().code in (gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF):
        return {"value": int(value.referenced_value().address), "address": None, "size": 8, "reference": True}
    said = {"address": None if value.address is None else int(value.address), "size": value.type.sizeof}
    said["value"] = None
    if value.address is None and value.type.strip_typedefs().code in (
            gdb.TYPE_CODE_INT, gdb.TYPE_CODE_PTR, gdb.TYPE_CODE_BOOL, gdb.TYPE_CODE_CHAR, gdb.TYPE_CODE_ENUM):
        said["value"] = int(value) & (1 << 64) - 1
    return said

def variables(frame):
    found = []
    try:
        block = frame.block()
    except RuntimeError:
        return found
    while block is not None:
        for symbol in block:
            fixed = (gdb.SYMBOL_LOC_STATIC, gdb.SYMBOL_LOC_CONST, gdb.SYMBOL_LOC_OPTIMIZED_OUT)
            if not (symbol.is_variable or symbol.is_argument) or symbol.addr_class in fixed:
                continue
            try:
                said = variable(frame, symbol)
            except (gdb.error, gdb.MemoryError) as error:
                said = {"error": str(error)}
            if said:
                said["name"], said["parameter"] = symbol.name, symbol.is_argument
                said["how"] = gdb.execute("info address " + symbol.name, to_string=True)
            found.append(said)
        if block.function:
            break
        block = block.superblock
    return [said for said in found if said]

stacks = {}
for thread in gdb.selected_inferior().threads():
    thread.switch()
    frames, frame = [], gdb.newest_frame()
    while frame is not None:
        if frame.type() != gdb.TAILCALL_FRAME:
            frame.select()
            sal = frame.find_sal()
            frames.append({
                "pc": frame.pc(), "function": frame.name(), "signal": frame.type() == gdb.SIGTRAMP_FRAME,
                "inlined": frame.type() == gdb.INLINE_FRAME, "variables": variables(frame),
                "file": os.path.basename(sal.symtab.filename) if sal.symtab else None, "line": sal.line})
        try:
            frame = frame.older()
        except gdb.error:
            break
    stacks[thread.ptid[1]] = frames
with open(os.environ["ANSWERS"], "w") as out:
    json.dump(stacks, out)
"""


def run_gdb(pid, script, *options):
    """Runs a script in gdb's Python that writes JSON to the file ANSWERS; the JSON."""
    directory = harness.scratch()
    answers = os.path.join(directory, "answers-%d" % pid)
    source = os.path.join(directory, "script.py")
    with open(source, "w") as out:
        out.write(script)
    done = subprocess.run([harness.tool("gdb"), "-nx", "-batch", "-iex", "set debuginfod enabled off",
                           "-ex", "set backtrace past-main on", *options, "-p", str(pid), "-x", source],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", env=dict(os.environ, ANSWERS=answers),
                          timeout=5 * harness.TIMEOUT)
    check(os.path.exists(answers), "gdb gave no answers:\n" + done.stdout[-3000:])
    with open(answers) as file:
        said = json.load(file)
    os.unlink(answers)
    return said


def ours(target, *addresses):
    """All stacks, or the variables at these addresses."""
    done = subprocess.run([STACKS, str(target)] + [hex(a) for a in addresses], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=harness.TIMEOUT)
    check_equal((done.returncode, done.stderr), (0, ""), "end of stacks")
    return json.loads(done.stdout)


def at_rest(name, *arguments):
    """A fixture whose threads all wait for what never comes."""
    target = harness.start(name, *arguments, truth=False)
    time.sleep(0.2)
    return target


def running(command, seconds=1.0):
    target = harness.Target(command, wait=False, truth=False, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    check(target.process.poll() is None, "%s ended" % command)
    return target


def plain(name):
    """A function's name without what gdb and demanglers spell in ways of their own."""
    if name is None:
        return None
    name = re.sub(r"\{lambda.*?\}|<lambda.*?>|\{\.\.\.\}|\$_\d+", "LAMBDA", name)
    name = re.sub(r"\(anonymous namespace\)", "ANON", name)
    while re.search(r"<[^<>]*>", name):
        name = re.sub(r"<[^<>]*>", "", name)
    name = re.sub(r"\(.*", "", name.replace("operator()", "operator"))
    return name.split(" ")[-1].split("::")[-1].lstrip("_")


def same_function(theirs, mine):
    """The same, but for what libc puts before the aliases of its functions."""
    a, b = (re.sub("^(GI_+)?(libc_(?!start))?|_impl$", "", plain(name) or "") for name in (theirs, mine))
    return a == b


class Tally:
    """What was compared, and what was wrong."""

    def __init__(self):
        self.frames = self.inlined = self.locals = self.registers = self.beyond = 0
        self.entered = self.inlined_entered = 0  # parameters that the caller's code has
        self.wrong = []

    def expect(self, right, *what):
        if not right:
            self.wrong.append(" ".join(str(w) for w in what))
        return right


def is_beyond(said):
    return "entry_value" in said["how"] or "implicit_pointer" in said["how"]


def compare_variable(tally, where, said, mine, inlined):
    """One variable of gdb's with that of ours; both are of the same name and frame."""
    if mine is not None and "entry_value" in said["how"] and mine["valued"] and mine["register"] < 0:
        # gdb 13 looks for the caller of what is inlined in its own frame, and finds another value
        tally.inlined_entered += inlined
        tally.entered += not inlined
        if inlined:
            return
    if mine is None:
        if is_beyond(said):
            tally.beyond += 1
        else:
            tally.expect("error" in said, where, "is not found; gdb:", said)
        return
    tally.locals += 1
    tally.registers += mine["register"] >= 0
    if not tally.expect("error" not in said, where, mine, "gdb:", said):
        return
    tally.expect(mine["size"] == said["size"], where, "size", mine, "gdb:", said)
    tally.expect(mine["parameter"] == said["parameter"], where, "parameter", mine, "gdb:", said)
    if said["address"] is not None:
        tally.expect(mine["address"] == said["address"], where, mine, "gdb:", said)
    elif mine["valued"]:
        mask = (1 << 8 * min(said["size"], 8)) - 1
        tally.expect(said["value"] is None or mine["value"] % WORDS & mask == said["value"] & mask, where, mine,
                     "gdb:", said)
    else: # of a reference gdb only tells where it leads to
        tally.expect(said.get("reference"), where, mine, "gdb:", said)


def compare_variables(tally, where, said, mine, inlined):
    left = list(mine)
    for variable in said:
        same = [m for m in left if m["name"] == variable["name"]]
        if same:
            left.remove(same[0])
        compare_variable(tally, where + " " + variable["name"], variable, same[0] if same else None,
                         inlined)
    for local in left: # of what is only partly there gdb says that it is not
        tally.expect(local["valued"] and local["size"] > 8, where, "gdb does not have", local)


def compare(pid):
    """All stacks of a process with gdb's."""
    stacks, theirs, tally = ours(pid), run_gdb(pid, SCRIPT), Tally()
    check_equal({str(s["thread"]) for s in stacks}, set(theirs), "threads")
    for stack in stacks:
        said = theirs[str(stack["thread"])]
        tally.expect(stack["complete"], "thread", stack["thread"], "is not complete")
        tally.expect(len(said) == len(stack["frames"]), "thread", stack["thread"], "frames:",
                     [f["function"] for f in said], [f["function"] for f in stack["frames"]])
        for i, (a, b) in enumerate(zip(said, stack["frames"])):
            where = "thread %d frame %d %s" % (stack["thread"], i, a["function"])
            tally.frames += 1
            tally.inlined += a["inlined"]
            tally.expect(a["pc"] == b["pc"], where, "pc", hex(a["pc"]), hex(b["pc"]))
            tally.expect(a["inlined"] == b["inlined"], where, "inlined", b)
            if a["signal"]:
                tally.expect(b["function"] == "<signal handler called>", where, b)
                continue
            tally.expect(same_function(a["function"], b["function"]), where, "is", b["function"])
            if a["line"]:
                tally.expect((a["file"], a["line"]) == (b["file"], b["line"]), where, a["file"], a["line"], "is",
                             b["file"], b["line"])
            compare_variables(tally, where, a["variables"], b["locals"], a["inlined"])
    check(not tally.wrong, "%d differences:\n%s" % (len(tally.wrong), "\n".join(tally.wrong[:30])))
    return tally


@cases("frames_c", "frames_c_O0", "frames_c_O2", "frames_c_clang", "frames_c_static", "frames_c_nopie",
       "frames_c_debug_frame", "frames_cxx", "frames_cxx_O0", "frames_cxx_clang", "frames_cxx_split")
def as_gdb(name):
    with at_rest(name) as target:
        tally = compare(target.pid)
    print("# values at the entry: %d, %d of them in inlined functions" % (tally.entered + tally.inlined_entered, tally.inlined_entered))
    check(tally.frames >= 19 and tally.inlined >= 2, "frames: %s" % vars(tally))
    check(tally.locals >= 20, "locals: %s" % vars(tally))
    check(tally.registers >= 2 or "O0" in name, "registers: %s" % vars(tally))
    check(tally.entered >= 1 or name != "frames_c_O2", "values at the entry: %s" % vars(tally))


@test
def python3_as_gdb():
    """A real program, optimised, with the debug information that the test brings: libc's at least."""
    program = [sys.executable, "-c", "import time\nprint('ready', flush=True)\ntime.sleep(1000)"]
    with harness.Target(program, truth=False) as target:
        time.sleep(0.3)
        tally = compare(target.pid)
    check(tally.frames >= 5, "frames: %s" % vars(tally))


def pcs_of_eu_stack(pid):
    done = subprocess.run([harness.tool("eu-stack"), "-n", "1024", "-p", str(pid)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=harness.TIMEOUT)
    stacks, thread = {}, None
    for line in done.stdout.splitlines():
        words = line.split()
        if words[0] == "TID":
            thread = stacks.setdefault(int(words[1].rstrip(":")), [])
        elif re.match(r"#\d+$", words[0]):
            thread.append(int(words[1], 16))
    return stacks


def compare_pcs(pid):
    """The two look one after the other: a server that wakes between them, for its clock, is looked at again."""
    for _ in range(5):
        mine = {s["thread"]: [f["pc"] for f in s["frames"] if not f["inlined"]] for s in ours(pid)}
        theirs = pcs_of_eu_stack(pid)
        if mine == theirs:
            break
        time.sleep(0.05)
    check_equal(mine, theirs, "stacks of eu-stack")
    return mine


@test
def stripped_as_eu_stack():
    """Without debug information and symbols: by .eh_frame alone."""
    with at_rest("frames_c_stripped") as target:
        stacks = compare_pcs(target.pid)
        check_equal(len(stacks), 3, "threads")
        check(min(map(len, stacks.values())) >= 6, stacks)


@test
def redis_as_eu_stack():
    with running([harness.tool("redis-server"), "--port", "0", "--save", "", "--unixsocket",
                  os.path.join(harness.scratch(), "redis")]) as target:
        stacks = compare_pcs(target.pid)
        check(len(stacks) >= 4, stacks)


@test
def nginx_as_eu_stack():
    directory = harness.scratch()
    with open(os.path.join(directory, "nginx.conf"), "w") as conf:
        conf.write("daemon off; pid %s/nginx.pid; error_log /dev/null; events {}\n" % directory)
    with running([harness.tool("nginx"), "-p", directory, "-c", "nginx.conf"]) as target:
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(target.pid)], stdout=subprocess.PIPE,
                                  text=True).stdout.split()
        check(children, "nginx has no worker")
        for pid in [target.pid] + [int(c) for c in children]:
            compare_pcs(pid)


@test
def core_as_live():
    """A core, which leaves text to its files, has the stacks of the process it was taken from."""
    with at_rest("frames_c_O2") as target:
        live = ours(target.pid)
        core = os.path.join(harness.scratch(), "frames.core")
        subprocess.run([harness.tool("gcore"), "-o", core, str(target.pid)], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    dead = ours("%s.%d" % (core, target.pid))
    check_equal([(s["thread"], s["complete"]) for s in dead], [(s["thread"], True) for s in live], "threads")
    for a, b in zip(dead, live):
        # a system call that gdb interrupted may leave another result
        check_equal(a["frames"][2:], b["frames"][2:], "frames of thread %d" % a["thread"])
        check(len(a["frames"]) >= 8, a)


TLS_SCRIPT = r"""
import gdb, json, os

def places(text):
    where = gdb.parse_and_eval(text)
    return [int(where.address), where.type.sizeof]

found = []
for thread in gdb.selected_inferior().threads():
    thread.switch()
    for name, text in %s.items():
        try:
            found.append([name, thread.ptid[1]] + places(text))
        except gdb.error as error:
            found.append([name, thread.ptid[1], None, str(error)])
with open(os.environ["ANSWERS"], "w") as out:
    json.dump(found, out)
"""


def check_tls(target, names):
    """Every byte of each variable of each thread that has it is found as such; how many there are."""
    said = run_gdb(target.pid, TLS_SCRIPT % json.dumps(names))
    found = [s for s in said if s[2] is not None]
    asked = [(name, thread, address + offset, offset) for name, thread, address, size in found
             for offset in (0, size // 2, size - 1)]
    answers = ours(target.pid, *[a[2] for a in asked])
    for (name, thread, address, offset), answer in zip(asked, answers):
        check_equal(answer, {"name": name, "offset": offset, "thread": thread}, "%#x" % address)
    return {(name, thread) for name, thread, _, _ in found}


@test
def tls_as_gdb():
    """Of the executable in all threads; of a library that dlopen() brought where a thread has used it."""
    names = {"of_thread": "of_thread", "errno_buf": "'frames_c.c'::errno_buf",
             "in_library": "'frames_tls.c'::in_library", "number": "number"}
    with at_rest("frames_c", harness.fixture("frames_tls.so")) as target:
        found = check_tls(target, names)
    check_equal(len([f for f in found if f[0] in ("of_thread", "errno_buf")]), 6, "variables of the executable")
    check_equal(len({f[1] for f in found if f[0] == "in_library"}), 1, "threads that use the library")


@cases("frames_c_static", "frames_c_nopie", "frames_c_clang")
def tls_of_executable(name):
    with at_rest(name) as target:
        found = check_tls(target, {"of_thread": "of_thread", "errno_buf": "'frames_c.c'::errno_buf"})
    check_equal(len(found), 6, "variables")


@test
def names_of_places():
    """What `path` calls a local, a parameter, a saved register and a thread-local variable."""
    with at_rest("frames_c_O0") as target:
        stacks = ours(target.pid)
        for stack in [s for s in stacks if s["thread"] == target.pid]:
            for i, frame in enumerate(stack["frames"]):
                if frame["function"] not in ("fault", "inlined_inner", "inlined_outer", "handler"):
                    continue
                for local in frame["locals"]:
                    check(local["address"], "%s is in memory" % local)
                    check_name(target, stack["thread"], i, frame, local)


def check_name(target, thread, number, frame, local):
    run = harness.memscope("path", "-j", target.pid, hex(local["address"]), expect=0)
    place = run.json["path"]["region"]["place"]
    name = local["name"]
    check_equal((place["thread"], place["frame"], place["function"]), (thread, number, frame["function"]), name)
    check(re.match(re.escape(name) + r"($|[.\[])", place["variable"]), "%s is %s" % (name, place))
    kind = "parameter" if local["parameter"] else "local"
    said = " frame %d %s() %s %s" % (number, frame["function"], kind, place["variable"])
    check(place["name"].endswith(said) and place["name"].startswith("thread %d" % thread),
          "%r does not end in %r" % (place["name"], said))


if __name__ == "__main__":
    sys.exit(harness.main())
