# typetruth.py - what fixtures say of their blocks' types (tests/fixtures/typed.h), and how answers are judged.
import harness
import typenames
from harness import check


class Kind:
    """What the blocks of one name are: a line `note type` of the fixture."""

    def __init__(self, line):
        self.name, size, self.count, self.need, text = line.split(" ", 4)
        self.size = int(size)
        self.texts = text.split("; ")
        self.exact, *self.others = (typenames.canonical(t) for t in self.texts)

    def verdict(self, block, answer):
        """exact, less (precise), open, guess or wrong, for an answer (type, type_by)."""
        text, by = answer
        if text is None:
            return "open"
        if by == "guess":
            return "guess"
        name, count, tail = typenames.parse(text)
        _, requested, _, usable = block
        if name == self.exact:
            return self.extent(requested, usable, count, tail)
        return "less" if name in self.others else "wrong"

    def extent(self, requested, usable, count, tail):
        """Is that as many as there are? malloc rounds up: nobody can tell whether that is in use."""
        known = requested // self.size if self.count == "n" else int(self.count)
        # what is behind a single one, or behind a flexible array's head, is no further one
        rounding = known * self.size + 24 > requested
        most = max(usable // self.size if rounding else known, known)
        if count > most or count * self.size + tail > max(usable, self.size):
            return "wrong"
        return "exact" if count >= known else "less"


def kinds_of(truth):
    return {kind.name: kind for kind in map(Kind, truth.notes["type"])}


def live_blocks(target, *options, **more):
    """{address: (type, type_by)} of all live blocks, and the report."""
    run = harness.memscope("heap", "-j", "--list", "-n", 1000000, *options,
                           getattr(target, "pid", target), expect=0, **more)
    report = run.json["heap"]
    answers = {}
    for block in report["blocks"]:
        address = int(block["address"], 16)
        check(address not in answers, "%#x is listed twice" % address)
        answers[address] = (block["type"], block["type_by"])
    return answers, report


def judge(truth, answers):
    """{need: {verdict: count}}, and a line for each wrong answer and for each one that is missing."""
    kinds = kinds_of(truth)
    score, wrong, missing = {}, [], []
    for address, block in sorted(truth.blocks.items()):
        name = block[0].rsplit(".", 1)[0]
        check(name in kinds, "the fixture says no type of " + block[0])
        check(address in answers, "%s at %#x is not listed" % (block[0], address))
        kind = kinds[name]
        verdict = kind.verdict(block, answers[address])
        counts = score.setdefault(kind.need, {})
        counts[verdict] = counts.get(verdict, 0) + 1
        line = "%s at %#x, %d bytes: %s, reported as %s by %s" % (
            (block[0], address, block[1], kind.texts[0]) + answers[address])
        if verdict == "wrong":
            wrong.append(line)
        elif verdict != "exact" and verdict != "less" and kind.need == "known":
            missing.append(line)
    return score, wrong, missing


def some(lines, limit=30):
    more = ["and %d more" % (len(lines) - limit)] if len(lines) > limit else []
    return "\n".join(lines[:limit] + more)


def share(counts):
    return (counts.get("exact", 0) + counts.get("less", 0)) / sum(counts.values())


def check_answers(truth, answers, least):
    """Nothing is wrong, and enough is there. Prints the score as a comment."""
    score, wrong, missing = judge(truth, answers)
    for need, counts in sorted(score.items()):
        print("# %s: %.1f%% of %d typed: %s" % (need, 100 * share(counts), sum(counts.values()), counts))
    check(not wrong, "%d are typed wrongly:\n%s" % (len(wrong), some(wrong)))
    for need, counts in score.items():
        check(share(counts) >= least.get(need, 0),
              "%.3f of the %s ones are typed, not %.3f: %s\n%s"
              % (share(counts), need, least.get(need, 0), counts, some(missing)))
