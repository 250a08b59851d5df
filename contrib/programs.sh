#!/bin/sh
# Builds real programs with debug information, from Debian's sources: programs.sh DIR.
# Debian's own debug packages are not in the main archive, which is all that a bare machine has.
# Packages: dpkg-dev g++ gcc libevent-dev make python3 zlib1g-dev.
set -eu
mkdir -p "$1/lists/partial"
cd "$1"
flags="-g -O2"

cat >sources.sources <<'END'
Types: deb-src
URIs: http://deb.debian.org/debian
Suites: bookworm
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END

# apt-get with a list of its own: the system's stays as it is.
get()
{
    apt-get -q -o Dir::Etc::SourceList="$PWD/sources.sources" -o Dir::Etc::SourceParts=/nonexistent \
        -o Dir::State::Lists="$PWD/lists" -o APT::Sandbox::User= "$@"
}

get update
get source --download-only memcached nginx ninja-build
for archive in memcached_*.orig.tar.* nginx_*.orig.tar.* ninja-build_*.orig.tar.*; do
    tar xf "$archive"
done

(cd nginx-*/ && ./configure --with-cc-opt="$flags" --without-http_rewrite_module && make && cp objs/nginx ..)
(cd memcached-*/ && ./configure CFLAGS="$flags" && make CFLAGS="$flags -pthread" memcached && cp memcached ..)
(cd ninja-*/ && CFLAGS="$flags" ./configure.py --bootstrap && cp ninja ..)
