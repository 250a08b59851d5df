#!/bin/sh
# Rules of the source that no compiler knows: the direction of the flow, first comments, lists of files.
set -u
cd "${SRCDIR:-$(dirname "$0")/..}" || exit 1

# The flow of design, left to right: a public header, and who may include up to it.
flow="error units memory tops image live capture symbols profile types frames heap blocks graph go gofuncs goallocs gostacks goheap goleaks goqueues gotypes gostats gotrace goprofile goselection goescapes names typing known decode stacks leaks gosuspects histogram memstats regions growth heapmap goroutines path processes inspection output tui"

# The last header of the flow that each room may include.
last_of_room()
{
    case $1 in
    base) echo tops ;;
    target) echo capture ;;
    symbols) echo frames ;;
    heap) echo heap ;;
    graph) echo graph ;;
    go) echo goescapes ;;
    analysis) echo inspection ;;
    output) echo output ;;
    tui | cli) echo tui ;;
    *) echo none ;;
    esac
}

# rank NAME: its place in the flow, 0 if it is not in it.
rank()
{
    place=0
    for stage in $flow; do
        place=$((place + 1))
        [ "$stage" != "$1" ] || { echo "$place"; return; }
    done
    echo 0
}

# Every C and C++ source and header.
sources()
{
    find src include tests contrib -type f \( -name '*.c' -o -name '*.h' -o -name '*.cc' \) 2>/dev/null | sort
}

go_sources()
{
    find tests -type f -name '*.go' | sort
}

included()
{
    sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*"\([^"]*\)".*/\1/p' "$1"
}

# No source includes a header from its right.
check_flow()
{
    for file in $(find src include -name '*.[ch]' | sort); do
        case $file in
        include/memscope/*) limit=$(basename "$file" .h) ;;
        src/*/*) limit=${file#src/}; limit=$(last_of_room "${limit%%/*}") ;;
        *) echo "$file: in no room"; continue ;;
        esac
        limit_rank=$(rank "$limit")
        [ "$limit_rank" -ne 0 ] || echo "$file: its place in the flow is not known to tests/lint.sh"
        for header in $(included "$file"); do
            case $header in
            memscope/*.h)
                name=${header#memscope/}
                header_rank=$(rank "${name%.h}")
                if [ "$header_rank" -eq 0 ]; then
                    echo "$file: $header has no place in the flow"
                elif [ "$header_rank" -gt "$limit_rank" ]; then
                    echo "$file: $header is to the right of it in the flow"
                fi
                ;;
            config.h) ;;
            *) [ -e "$(dirname "$file")/$header" ] && [ "${header#*/}" = "$header" ] ||
                echo "$file: $header is neither a public header nor one of its own room" ;;
            esac
        done
    done
}

# The first line of a source is a comment that says its job: some words, not the file's name or licence.
check_first_line()
{
    for file in $(sources; go_sources); do
        head -n 1 "$file" | grep -Eq '^(/\*|//).*[[:alpha:]]+[[:space:]].*[[:alpha:]]+[[:space:]].*[[:alpha:]]' &&
            ! head -n 1 "$file" | grep -Eq 'SPDX|Copyright' ||
            echo "$file:1: no comment that says the job of the file"
    done
}

# Four spaces, never tabs; no blanks at the end of a line.
check_blanks()
{
    tab=$(printf '\t')
    files=$(sources; find tests contrib \( -name '*.py' -o -name '*.sh' \) 2>/dev/null | sort)
    grep -nE "$tab|[[:space:]]\$" $files /dev/null
}

# A file that no list in Makefile.am names is never built, run or distributed.
check_listed()
{
    for file in $(find src include -name '*.[ch]'; find tests -name '*.c' -o -name '*.cc' -o -name '*.rs' -o -name '*.py' | grep -v '^tests/fixtures/go/'); do
        case $file in
        tests/fixtures/*)
            grep -Eq "^[^ ]+ +(.* )?${file##*/}( |\$)" tests/fixtures/list.txt || echo "$file: not in list.txt"
            continue ;;
        tests/*.c | tests/*.cc) listed=${file%.*} ;;
        *) listed=$file ;;
        esac
        grep -Eq "(^|[[:space:]])$listed(\.so)?([[:space:]]|\$)" Makefile.am ||
            echo "$file: in no list of Makefile.am"
    done
}

number=0
# test_that DESCRIPTION CHECK: the check prints what is wrong, nothing if all is well.
test_that()
{
    number=$((number + 1))
    found=$("$2")
    if [ -z "$found" ]; then
        echo "ok $number - $1"
    else
        echo "not ok $number - $1"
        echo "$found" | sed 's/^/# /'
    fi
}

echo 1..4
test_that "no source includes from its right in the flow" check_flow
test_that "the first line of each source says its job" check_first_line
test_that "no tabs, no blanks at line ends" check_blanks
test_that "each file is in a list of Makefile.am" check_listed
