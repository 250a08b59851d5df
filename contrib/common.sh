# Shared by demo.sh and check.sh: installing packages on Debian, a clean copy of the sources.

build_packages="autoconf automake gcc libc6-dev make pkg-config
    libdw-dev libelf-dev libiberty-dev libjansson-dev libncurses-dev zlib1g-dev"

# have_package NAME: is it installed?
have_package()
{
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q '^install ok installed$'
}

# install_packages NAME...: installs what is missing, starts no service, and leaves apt alone when
# nothing is.
install_packages()
{
    if ! command -v apt-get >/dev/null; then
        echo "no apt-get here: trusting that these, or what they are called here, are installed:" $* >&2
        return 0
    fi
    missing=
    for package in "$@"; do
        have_package "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0

    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "missing packages, and neither root nor sudo to install them:$missing" >&2
            return 1
        fi
        as_root=sudo
    fi
    echo "installing:$missing" >&2
    # What a server package asks before it starts its service; 101 is "not allowed".
    policy=/usr/sbin/policy-rc.d
    ours=
    if [ ! -e "$policy" ]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' | $as_root sh -c "cat >$policy; chmod 755 $policy"
    fi
    $as_root apt-get -q update &&
        $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
            apt-get -q install -y --no-install-recommends $missing
    status=$?
    [ -z "$ours" ] || $as_root rm -f "$policy"
    return "$status"
}

# copy_source FROM TO: the sources without anything that was built among them, so that a tree
# configured in place does not stand in the way of other builds.
copy_source()
{
    mkdir -p "$2" || return 1
    if git -c safe.directory='*' -C "$1" rev-parse --git-dir >/dev/null 2>&1; then
        (cd "$1" && git -c safe.directory='*' ls-files -co --exclude-standard |
            while IFS= read -r file; do [ ! -e "$file" ] || printf '%s\n' "$file"; done |
            tar -c -T -) | tar -x -C "$2"
    else
        (cd "$1" && tar -c --exclude='./build-*' .) | tar -x -C "$2" &&
            { [ ! -e "$2/Makefile" ] || make -C "$2" distclean; }
    fi
}
