# names.py - chains as expressions, names of roots, decoded members: gdb evaluates the same to the same.
import os
import re
import sys

import debugger
import harness
import typenames
import typetruth
from harness import cases, check

# Fixture: blocks of each name that are looked at, the share of blocks that typed roots lead to whose
# chain must be an expression, and how many questions gdb must have been asked at least.
FIXTURES = {
    "types_c_O0": (2, 1.0, 300),
    "types_c_O2": (1, 1.0, 200),
    "types_c_clang": (1, 0.97, 200),
    "types_c_split": (1, 1.0, 200),
    "types_cxx": (1, 0.8, 100),
    "types_cxx_clang": (1, 0.8, 100),
    "types_rust": (1, 0.8, 20),
}
if not os.environ.get("NAMES_OF_ALL"):  # most of the time is gdb's; by hand all of them
    FEW = ("types_c_O2",) if os.environ.get("SANITIZERS") == "yes" else ("types_c_O0", "types_c_split", "types_cxx")
    FIXTURES = {name: FIXTURES[name] for name in (*FEW, "types_rust")}
# What gdb cannot be asked: clang 14 leaves the function of this static without a name.
UNKNOWN = {"types_c_clang": ("tree_root",)}
# Locals and parameters that the blocks of types_c_O0 hang from.
LOCALS = {("deepest", "local"), ("deepest", "session"), ("middle", "job")}


def chosen(truth, each):
    """EACH blocks of each name: [(address, name, need)]."""
    kinds, count, found = typetruth.kinds_of(truth), {}, []
    for address, block in sorted(truth.blocks.items()):
        name = block[0].rsplit(".", 1)[0]
        count[name] = count.get(name, 0) + 1
        if count[name] <= each:
            found.append((address, block[0], kinds[name].need))
    return found


def reports(target, each):
    """(address, name, need, report) of the chosen blocks."""
    for address, name, need in chosen(target.truth, each):
        run = harness.memscope("path", "-j", "-n", 3, target.pid, hex(address), expect=0)
        yield address, name, need, run.json["path"]


def context(root):
    """Where gdb must stand to know a root's name."""
    where = {}
    if root and root["kind"] in ("stack", "register", "tls") and root["thread"]:
        where["thread"] = root["thread"]
        where["frame"] = root.get("frame") or 0
    return where


# What gdb 13 cannot tell: thread-local variables of split units (DW_OP_constx), and members that bases share by
# the short names that a decoded block has for them. No more than one question in twenty may end so.
CANNOT = re.compile("Unhandled DWARF expression opcode|Request for member .* is ambiguous")


class Questions:
    """Questions to gdb, each with what must be the answer; one run of gdb answers all."""

    def __init__(self):
        self.asked, self.expected = [], []

    def add(self, what, question, expected):
        self.asked.append(question)
        self.expected.append((what, expected))

    def check(self, pid, name):
        # threads wait in libc, where gdb speaks C
        language = "c++" if "cxx" in name else "rust" if "rust" in name else "c"
        options = ("-iex", "set language " + language)
        wrong, unable = [], 0
        for question, (what, expected), answer in zip(
                self.asked, self.expected, debugger.ask(pid, self.asked, options)):
            if CANNOT.search(str(answer.get("error"))):
                unable += 1
                continue
            said = expected(answer)
            if said is not None:
                wrong.append("%s: %s: %s; gdb: %s" % (what, said, question, answer))
        check(not wrong, "%d of %d are not what gdb says:\n%s"
              % (len(wrong), len(self.asked), typetruth.some(wrong)))
        check(unable <= len(self.asked) // 20, "gdb cannot answer %d of %d" % (unable, len(self.asked)))
        return len(self.asked)


def is_address(address):
    """As a pointer, or as the integer that a program keeps it in."""
    def expected(answer):
        return None if address in (answer.get("pointer"), answer.get("number")) else "it is not %#x" % address
    return expected


def is_function(name):
    """gdb names templates and parameters of functions in its own way: the plain name is compared."""
    def plain(text):
        return (text or "").split("(")[0].split("<")[0].split("::")[-1]

    def expected(answer):
        return None if plain(answer.get("function")) == plain(name) else "the function is not " + name
    return expected


def is_value(value):
    """A decoded value, as JSON has it."""
    def expected(answer):
        if value is None or "other" in answer:
            return None
        if "pointer" in answer:
            same = isinstance(value, str) and answer["pointer"] == int(value, 16)
        elif "real" in answer:
            same = abs(answer["real"] - float(value)) <= 1e-6 * abs(answer["real"])
        elif "text" in answer:
            text = bytes(answer["text"]).split(b"\0")[0].decode(errors="replace")
            same = isinstance(value, str) and text.startswith(value[:8])
        elif isinstance(value, str) and not value.lstrip("-").isdigit():
            same = ord(value[0]) == answer.get("number", -1) & 255 if value else answer["number"] == 0
        else:
            same = "number" in answer and int(value) == answer["number"]
        return None if same else "it is not %r" % value
    return expected


def ask_expressions(questions, address, block, report):
    """The value of each chain's expression is the block's address. Says how many there are."""
    given = [chain for chain in report["chains"] if chain["expression"]]
    for chain in given:
        questions.add("%s at %#x" % (block, address),
                      dict(context(chain["root"]), evaluate=chain["expression"]), is_address(address))
    return len(given)


def variable_of(root, rust):
    """A root's variable as gdb can be asked for it, in its frame."""
    name = root["variable"]
    if rust:  # the variant that is there goes without saying, and members without a name are numbered
        return re.sub(r"\.__(\d)", r".\1", re.sub(r"\.[A-Z]\w*(?=\.)", "", name))
    if root["kind"] in ("data", "tls") and root["function"] and root.get("frame") is None:
        return "%s::%s" % (root["function"].split("(")[0], name)
    if root["kind"] == "data" and root["unit"] and root["unit"].endswith(".c"):
        return "'%s'::%s" % (root["unit"], name)
    return name


def where_is(root, rust):
    """What to ask for a root's variable, and what must be the answer."""
    address, variable = int(root["address"] or "0", 16), variable_of(root, rust)
    cast = "(%s) as usize" if rust else "(void *) (%s)"
    if address and "saved register" not in root["name"]:
        return dict(context(root), evaluate=cast % ("&(%s)" % variable)), is_address(address)
    # gdb knows no address of what is in a register, also where that is saved by the next frame
    first = int(root["first"], 16)
    return dict(context(root), evaluate=cast % variable), is_address(first)


def ask_root(questions, chain, rust):
    """A root's variable is at the root's address, and its frame is of the function that is named."""
    root, first = chain["root"], chain["steps"][0]
    root["first"] = hex(int(first["address"], 16) + first["into"])
    if root["variable"]:
        questions.add("root '%s'" % root["name"], *where_is(root, rust))
    if root.get("frame") is not None and root["function"]:
        questions.add("frame of '%s'" % root["name"], dict(context(root), function=True),
                      is_function(root["function"]))
        for part in ("thread %d" % root["thread"], "frame %d" % root["frame"], root["function"],
                     root["variable"] or ""):
            check(part in root["name"], "no '%s' in '%s'" % (part, root["name"]))


def ask_members(questions, kind, address, block, what):
    """Each member of a structure that is typed right has the value that gdb prints."""
    name = kind.texts[0]
    if what["type"] is None or what["type_by"] == "guess" or kind.size < 16 or name[-1] in "*]?}" \
       or "::" in name and "<" in name or "(" in name or typenames.parse(what["type"])[0] != kind.exact:
        return
    check(what["members"], "%s at %#x is typed, but not decoded" % (block, address))
    whole = "((%s *) %#x)" % (name, address)
    for member in what["members"]:
        path = member["name"]
        if path and "_vptr." not in path:  # gdb takes the point for an operator
            questions.add("%s of %s at %#x" % (path, block, address),
                          {"evaluate": whole + path if path[0] == "[" else whole + "->" + path},
                          is_value(member["value"]))


@cases(*FIXTURES)
def as_gdb_says(name):
    """Expressions, roots and members of some blocks of each name, in one run of gdb."""
    each, least, asked = FIXTURES[name]
    target = harness.start(name)
    kinds, questions = typetruth.kinds_of(target.truth), Questions()
    known, without, seen, held = 0, [], set(), set()
    for address, block, need, report in reports(target, each):
        roots = [c["root"] for c in report["chains"] if c["root"]]
        if any(v in str(r["variable"]) for r in roots for v in UNKNOWN.get(name, ())):
            continue
        if need == "known":
            known += 1
        if not ask_expressions(questions, address, block, report) and need == "known":
            without.append("%s at %#x: %s" % (block, address, [r["name"] for r in roots]))
        for chain in report["chains"]:
            root = chain["root"]
            if root and (root["name"], root["address"]) not in seen:
                seen.add((root["name"], root["address"]))
                ask_root(questions, chain, "rust" in name)
                if root.get("frame") is not None and root["variable"]:
                    held.add((root["function"].split("(")[0], root["variable"].split(".")[0]))
        if "rust" not in name:
            ask_members(questions, kinds[block.rsplit(".", 1)[0]], address, block, report["block"])
    check(len(questions.asked) >= asked, "only %d questions to gdb" % len(questions.asked))
    print("# %d questions; %d of %d known blocks have an expression"
          % (len(questions.asked), known - len(without), known))
    questions.check(target.pid, name)
    check(known - len(without) >= least * known, "%d of %d blocks have no expression:\n%s"
          % (len(without), known, typetruth.some(without)))
    if name == "types_c_O0":
        check(LOCALS <= held, "not named: %s; named: %s" % (LOCALS - held, sorted(held)))
    target.check_unharmed()


if __name__ == "__main__":
    sys.exit(harness.main())
