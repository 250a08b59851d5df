# names.py - chains as expressions, names of roots, decoded members: gdb evaluates the same to the same.
import sys

import debugger
import harness
import typenames
import typetruth
from harness import cases, check, test

# Blocks of each name that are looked at.
EACH = 2
# The share of blocks that typed roots lead to whose chain must be an expression.
LEAST = {"types_c": 1.0, "types_cxx": 0.8, "types_rust": 0.0}


def chosen(truth):
    """Some blocks of each name: [(address, name, need)]."""
    kinds, count, found = typetruth.kinds_of(truth), {}, []
    for address, block in sorted(truth.blocks.items()):
        name = block[0].rsplit(".", 1)[0]
        count[name] = count.get(name, 0) + 1
        if count[name] <= EACH:
            found.append((address, block[0], kinds[name].need))
    return found


def reports(target):
    """(address, name, need, report) of the chosen blocks."""
    for address, name, need in chosen(target.truth):
        run = harness.memscope("path", "-j", "-n", 3, target.pid, hex(address), expect=0)
        yield address, name, need, run.json["path"]


def context(root):
    """Where gdb must stand to know a root's name."""
    where = {}
    if root and root["kind"] in ("stack", "register", "tls") and root["thread"]:
        where["thread"] = root["thread"]
        where["frame"] = root.get("frame") or 0
    return where


class Questions:
    """Questions to gdb, each with what must be the answer; one run of gdb answers all."""

    def __init__(self):
        self.asked, self.expected = [], []

    def add(self, what, question, expected):
        self.asked.append(question)
        self.expected.append((what, expected))

    def check(self, pid, name):
        # threads wait in libc, where gdb would speak C
        options = ("-iex", "set language c++") if "cxx" in name else ()
        wrong = []
        for question, (what, expected), answer in zip(
                self.asked, self.expected, debugger.ask(pid, self.asked, options)):
            said = expected(answer)
            if said is not None:
                wrong.append("%s: %s: %s; gdb: %s" % (what, said, question, answer))
        check(not wrong, "%d of %d are not what gdb says:\n%s"
              % (len(wrong), len(self.asked), typetruth.some(wrong)))
        return len(self.asked)


def is_pointer(address):
    def expected(answer):
        return None if answer.get("pointer") == address else "it is not %#x" % address
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


FIXTURES = ("types_c", "types_c_O0", "types_c_O2", "types_c_clang", "types_c_split", "types_cxx",
            "types_cxx_O0", "types_cxx_O2", "types_cxx_clang", "types_rust")


@cases(*FIXTURES)
def expressions(name):
    """The value of each chain's expression is the block's address."""
    target = harness.start(name)
    questions, known, without = Questions(), 0, []
    for address, block, need, report in reports(target):
        given = 0
        for chain in report["chains"]:
            if chain["expression"]:
                given += 1
                questions.add("%s at %#x" % (block, address),
                              dict(context(chain["root"]), evaluate=chain["expression"]),
                              is_pointer(address))
        if need == "known":
            known += 1
            if not given:
                without.append("%s at %#x: %s" % (block, address, [
                    (c["root"] or {}).get("name") for c in report["chains"]]))
    asked = questions.check(target.pid, name)
    print("# %d expressions, %d of %d known blocks have one" % (asked, known - len(without), known))
    least = next(v for k, v in LEAST.items() if name.startswith(k))
    check(known - len(without) >= least * known, "%d of %d blocks have no expression:\n%s"
          % (len(without), known, typetruth.some(without)))
    target.check_unharmed()


def variable_of(root):
    """A root's variable as gdb can be asked for it, in its frame."""
    name = root["variable"]
    if root["kind"] in ("data", "tls") and root["function"] and root.get("frame") is None:
        return "%s::%s" % (root["function"].split("(")[0], name)
    if root["kind"] == "data" and root["unit"] and root["unit"].endswith(".c"):
        return "'%s'::%s" % (root["unit"], name)
    return name


def where_is(root):
    """What to ask for a root's variable, and what must be the answer."""
    address, variable = int(root["address"] or "0", 16), variable_of(root)
    if address and "saved register" not in root["name"]:
        return dict(context(root), evaluate="(void *) &(%s)" % variable), is_pointer(address)
    # gdb knows no address of what is in a register, also where that is saved by the next frame
    first = int(root["first"], 16)
    return dict(context(root), evaluate="(void *) (%s)" % variable), is_pointer(first)


@cases(*FIXTURES[:-1])
def roots(name):
    """A root's variable is at the root's address, and its frame is of the function that is named."""
    target = harness.start(name)
    questions, unnamed, seen = Questions(), [], set()
    for address, block, need, report in reports(target):
        for chain in report["chains"]:
            root = chain["root"]
            if not root or (root["name"], root["address"]) in seen:
                continue
            seen.add((root["name"], root["address"]))
            first = chain["steps"][0]
            root["first"] = hex(int(first["address"], 16) + first["into"])
            if root["variable"]:
                questions.add("root '%s'" % root["name"], *where_is(root))
            elif root["kind"] in ("data", "tls") and need == "known":
                unnamed.append("%s, which leads to %s at %#x" % (root["name"], block, address))
            if root.get("frame") is not None and root["function"]:
                questions.add("frame of '%s'" % root["name"], dict(context(root), function=True),
                              is_function(root["function"]))
    check(not unnamed, "%d roots in data have no variable:\n%s"
          % (len(unnamed), typetruth.some(unnamed)))
    check(questions.check(target.pid, name) >= 10, "hardly any root has a variable")


@cases("types_c_O0", "types_c_O2", "types_c_clang")
def locals_are_named(name):
    """Where a local or a parameter holds a block, its name says thread, frame, function and variable."""
    target = harness.start(name)
    named = set()
    for _, block, _, report in reports(target):
        for chain in report["chains"]:
            root = chain["root"]
            if root and root.get("frame") is not None and root["variable"]:
                for part in ("thread %d" % root["thread"], "frame %d" % root["frame"],
                             root["function"], root["variable"]):
                    check(part in root["name"], "no '%s' in '%s'" % (part, root["name"]))
                named.add((root["function"].split("(")[0], root["variable"].split(".")[0]))
    least = {"types_c_O0": {("deepest", "local"), ("deepest", "session"), ("middle", "job")}}
    missing = least.get(name, set()) - named
    check(not missing, "not named: %s; named: %s" % (missing, sorted(named)))


@cases("types_c", "types_c_O2", "types_c_clang", "types_cxx", "types_cxx_O0")
def members(name):
    """Members of decoded blocks have the values that gdb prints; so have words, their holders' members."""
    target = harness.start(name)
    kinds, questions, without = typetruth.kinds_of(target.truth), Questions(), []
    for address, block, need, report in reports(target):
        kind = kinds[block.rsplit(".", 1)[0]]
        what = report["block"]
        structure = kind.exact not in ("char", "int", "long", "?") and "(" not in kind.texts[0] \
            and "{" not in kind.texts[0] and kind.texts[0][-1] not in "]*"
        if not structure or what["type"] is None or what["type_by"] == "guess":
            continue
        if typenames.parse(what["type"])[0] != kind.exact:
            continue
        if not what["members"]:
            without.append("%s at %#x, %s" % (block, address, what["type"]))
        for member in what["members"]:
            path = member["name"]
            whole = "(('%s' *) %#x)" if "<" in kind.texts[0] else "((%s *) %#x)"
            whole = whole % (kind.texts[0], address)
            expression = whole + path if path.startswith("[") else "%s->%s" % (whole, path)
            questions.add("%s of %s at %#x" % (path, block, address), {"evaluate": expression},
                          is_value(member["value"]))
    check(not without, "typed, but not decoded:\n" + typetruth.some(without))
    check(questions.check(target.pid, name) >= 50, "hardly anything is decoded")


if __name__ == "__main__":
    sys.exit(harness.main())
