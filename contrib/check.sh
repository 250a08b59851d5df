#!/bin/sh
# All that must hold before a change is merged, from a bare Debian 12 on:
#     sh contrib/check.sh [STEP...]        steps: gcc clang sanitizers static dist, all of these without STEP;
#                                          programs: types in programs that it builds from Debian's sources
# Each step goes on whatever became of the others. The last line is the sum over all test runs;
# a build or an analysis counts as one test. Logs stay in build-check/ (or $MEMSCOPE_CHECK_DIR).
set -u

top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/contrib/common.sh"
work=${MEMSCOPE_CHECK_DIR:-$top/build-check}
source=$work/source
jobs=$(nproc)

test_packages="binutils clang clang-tidy cppcheck dwz elfutils g++ gdb git golang-go libc++-dev libc++abi-dev libc6-dbg
    libclang-rt-14-dev libcmocka-dev libsqlite3-dev libssl-dev llvm memcached nginx-light nodejs openssh-client
    openssh-server perl postgresql procps python3 redis-server rustc strace tmux util-linux valgrind zlib1g-dev"
program_packages="dpkg-dev libevent-dev python3-dbg" # for the step `programs`

passed=0 failed=0 skipped=0

# run NAME COMMAND...: one step, one test; its output goes to a log, the end of it here if it fails.
run()
{
    name=$1
    shift
    printf '== %s: ' "$name"
    began=$(date +%s)
    if "$@" >"$work/$name.log" 2>&1 </dev/null; then
        passed=$((passed + 1))
        echo "ok, $(($(date +%s) - began)) s"
    else
        failed=$((failed + 1))
        echo "FAILED, $(($(date +%s) - began)) s; the end of $work/$name.log:"
        tail -n 40 "$work/$name.log"
        return 1
    fi
}

# run_tests NAME DIR MAKE-ARGUMENT...: make check in DIR, each of its tests counted.
run_tests()
{
    name=$1 dir=$2
    shift 2
    printf '== %s: ' "$name"
    began=$(date +%s)
    rm -f "$dir/test-suite.log"
    make -C "$dir" -k -j"$jobs" check "$@" >"$work/$name.log" 2>&1 </dev/null
    status=$?
    # The head of automake's own summary, "# PASS:  12" and its like.
    counts=$(sed -n '/^# TOTAL:/,/^# ERROR:/p; /^# ERROR:/q' "$dir/test-suite.log" 2>/dev/null |
        awk '{ n[$2] = $3 } END { print n["PASS:"] + n["XFAIL:"],
            n["FAIL:"] + n["XPASS:"] + n["ERROR:"], n["SKIP:"] + 0 }')
    set -- ${counts:-0 0 0}
    # A check that failed without a failed test, or ran none, did not get as far as its tests.
    if [ "$2" -eq 0 ] && { [ "$status" -ne 0 ] || [ "$1" -eq 0 ]; }; then
        set -- "$1" 1 "$3"
    fi
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
    echo "$1 passed, $2 failed, $3 skipped, $(($(date +%s) - began)) s"
    [ "$2" -ne 0 ] || return 0
    echo "what failed, from $work/$name.log:"
    # The reasons first, then which: a reader may see only the head of what is printed.
    awk '/^(FAIL|ERROR):/ { next } /^not ok/ { wanted = 12 } !/^not ok/ && !/^#/ { wanted = 0 } wanted-- > 0' \
        "$dir/test-suite.log" 2>/dev/null | head -n 120
    grep -E '^(FAIL|XPASS|ERROR):|: error: |\*\*\*' "$work/$name.log" | head -n 60
    return 1
}

# build DIR CONFIGURE-ARGUMENT...: DIR may be the source tree itself.
build()
{
    dir=$1
    shift
    mkdir -p "$dir" && cd "$dir" && "$source/configure" --enable-werror "$@" && make -j"$jobs"
}

# As README says, in the source tree itself; the others build outside it, so it gets its own copy.
check_gcc()
{
    cp -R "$source" "$work/gcc" &&
        run gcc-build in_tree_build CC=gcc CXX=g++ &&
        run gcc-go fetch_go && run_tests gcc-tests "$work/gcc"
}

in_tree_build()
{
    cd "$work/gcc" && ./configure --enable-werror "$@" && make -j"$jobs"
}

# The Go toolchains that tests build programs with, and what those programs have in common. Needs the
# network once; go keeps them in its caches.
fetch_go()
{
    PYTHONDONTWRITEBYTECODE=1 python3 "$source/tests/e2e/golang.py"
}

# The other compiler's warnings, and unit tests; end-to-end tests would only repeat themselves.
check_clang()
{
    run clang-build build "$work/clang" CC=clang CXX=clang++ &&
        run_tests clang-tests "$work/clang" run_e2e=
}

check_sanitizers()
{
    run sanitizers-build build "$work/sanitizers" --enable-sanitizers CC=gcc CXX=g++ &&
        run sanitizers-go fetch_go && run_tests sanitizers-tests "$work/sanitizers"
}

check_static()
{
    mkdir -p "$work/static" && run static-configure configure_only &&
        { run cppcheck run_cppcheck; run clang-tidy run_clang_tidy; }
}

configure_only()
{
    cd "$work/static" && "$source/configure" CC=clang CXX=clang++
}

# missingIncludeSystem: libc's headers are not shown to it, on purpose, it knows what they declare.
# __typeof__: cppcheck 2.10 does not see that (__typeof__(x))y is a cast, and gives up on the file.
run_cppcheck()
{
    cd "$source" && cppcheck --quiet -j "$jobs" --std=c11 --enable=warning,performance,portability \
        --inline-suppr --suppress=missingIncludeSystem --suppress=unmatchedSuppression \
        --error-exitcode=1 -D'__typeof__(x)=void *' \
        -I include -I src -include "$work/static/config.h" src
}

run_clang_tidy()
{
    cd "$source" && find src -name '*.c' | xargs -P "$jobs" -n 4 sh -c \
        'clang-tidy --quiet "$@" -- -std=gnu11 -include "$0" -Iinclude -Isrc' "$work/static/config.h"
}

# Types in programs that are built with debug information for it. Needs the network.
check_programs()
{
    run programs-packages install_packages $program_packages &&
    run programs-build sh "$source/contrib/programs.sh" "$work/programs" &&
        run programs-memscope build "$work/programs-memscope" &&
        run programs-tests env PROGRAMS="$work/programs" MEMSCOPE="$work/programs-memscope/memscope" \
            SRCDIR="$source" python3 "$source/tests/e2e/programs.py"
}

# Tarball, read-only sources, install and uninstall; end-to-end tests ran above.
check_dist()
{
    run dist-configure configure_dist && run distcheck make -C "$work/dist" -j"$jobs" distcheck run_e2e=
}

configure_dist()
{
    mkdir -p "$work/dist" && cd "$work/dist" && "$source/configure"
}

prepare()
{
    install_packages $build_packages $test_packages && rm -rf "$work" && mkdir -p "$work" &&
        copy_source "$top" "$source" && (cd "$source" && autoreconf -fi)
}

if prepare >"${TMPDIR:-/tmp}/memscope-check-$$.log" 2>&1 </dev/null; then
    [ $# -gt 0 ] || set -- gcc clang sanitizers static dist
    for step in "$@"; do
        case $step in
        gcc | clang | sanitizers | static | dist | programs) "check_$step" ;;
        *) echo "no such step: $step" >&2; failed=$((failed + 1)) ;;
        esac
    done
else
    failed=$((failed + 1))
    echo "preparing failed:"
    tail -n 40 "${TMPDIR:-/tmp}/memscope-check-$$.log"
fi
rm -f "${TMPDIR:-/tmp}/memscope-check-$$.log"

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
