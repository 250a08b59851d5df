#!/bin/sh
# Builds memscope and shows it at work on a program that leaks, from a bare Debian 12 on:
#     sh contrib/demo.sh
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/contrib/common.sh"
work=$top/build-demo
log=$work/build.log

install_packages $build_packages

echo "== Building memscope in $work"
build()
{
    copy_source "$top" "$work/source" && (cd "$work/source" && autoreconf -fi) &&
        (cd "$work" && source/configure && make -j"$(nproc)")
}
rm -rf "$work"
mkdir -p "$work"
if ! build >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    echo "the build failed; all of it is in $log" >&2
    exit 1
fi
cc -g -O1 -o "$work/leaky" "$top/contrib/leaky.c"

echo "== Starting a program that leaks: contrib/leaky.c"
"$work/leaky" >"$work/leaky.out" &
pid=$!
trap 'kill "$pid" 2>/dev/null || :' EXIT
# It says that it is ready when everything is leaked that will be.
tries=0
until grep -q ready "$work/leaky.out"; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { echo "leaky did not start" >&2; exit 1; }
    sleep 0.1
done
cat "$work/leaky.out"

echo
echo "== memscope leaks $pid"
status=0
"$work/memscope" leaks "$pid" || status=$?
if [ "$status" -ne 1 ]; then
    echo "memscope leaks ended with $status, not with 1 for \"there are leaks\"" >&2
    exit 1
fi

echo
echo "== memscope memstats $pid"
"$work/memscope" memstats "$pid"

echo
echo "== The program goes on, in state $(sed -n 's/^State:[[:space:]]*//p' "/proc/$pid/status")"
echo "== Try it on one of yours: $work/memscope leaks PID"
