# where.py - debug aid: shows each word in a fixture's memory that points into one of its blocks.
"""
Usage: where.py NAME-PREFIX FIXTURE [ARGUMENT...]

Starts the fixture, stops nothing and scans all readable memory, whether a leak checker would look
there or not. For each block whose name starts with the prefix prints the places and the map or the
block they lie in. A fixture whose `definite` block has a pointer in a live place is wrong.
"""

import bisect
import struct
import sys

import harness


def readable_maps(pid):
    with open("/proc/%d/maps" % pid) as lines:
        for line in lines:
            words = line.split(None, 5)
            begin, end = (int(x, 16) for x in words[0].split("-"))
            name = words[5].strip() if len(words) > 5 else "anonymous"
            if name not in ("[vvar]", "[vsyscall]", "[vvar_vclock]"):
                yield begin, end, words[1], name


def pages_present(pagemap, begin, end):
    pagemap.seek(begin // 4096 * 8)
    data = pagemap.read((end - begin) // 4096 * 8)
    entries = struct.unpack("<%dQ" % (len(data) // 8), data)
    return [begin + 4096 * i for i, e in enumerate(entries) if e >> 62]


def main():
    prefix, name, arguments = sys.argv[1], sys.argv[2], sys.argv[3:]
    target = harness.start(name, *arguments)
    blocks = sorted((a, a + b[3], b[0]) for a, b in target.truth.blocks.items())
    starts = [b[0] for b in blocks]
    low, high = blocks[0][0], max(b[1] for b in blocks)

    def block_at(address):
        i = bisect.bisect_right(starts, address) - 1
        return blocks[i] if i >= 0 and address < blocks[i][1] else None

    found = {}
    memory = open("/proc/%d/mem" % target.pid, "rb", 0)
    with open("/proc/%d/pagemap" % target.pid, "rb") as pagemap:
        for begin, end, rights, what in readable_maps(target.pid):
            for page in pages_present(pagemap, begin, end):
                try:
                    memory.seek(page)
                    words = struct.unpack("<512Q", memory.read(4096))
                except (OSError, struct.error):
                    continue
                for i, word in enumerate(words):
                    if low <= word < high and block_at(word) is not None:
                        holder = block_at(page + 8 * i)
                        place = holder[2] if holder else "%s %s+%#x" % (what, rights,
                                                                       page + 8 * i - begin)
                        found.setdefault(block_at(word)[0], []).append(
                            (word, page + 8 * i, place))
    for begin, end, block_name in blocks:
        if block_name.startswith(prefix):
            print("%s %#x %s" % (block_name, begin, "|".join(target.truth.blocks[begin][2])))
            for word, place, what in found.get(begin, []):
                print("    +%d at %#x in %s" % (word - begin, place, what))


if __name__ == "__main__":
    main()
