# real.py - programs that nobody here wrote: no crash, no false leak, and a planted leak found.
"""
Each program is started in a directory of its own on a free port of the loopback, and inspected idle
and under a short load. Where memcheck sees no loss at these moments, none may be reported; where it
does, `own_losses` says how many blocks and which. Whatever is reported of an idle program is proved
by looking for pointers to it in all of its memory. Then all of it again with plant.so preloaded,
which loses known blocks.
"""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import harness
import where
from harness import cases, check, check_equal, test

NOBODY = 65534


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_port(port, seconds=20):
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            check(time.monotonic() < deadline, "nothing listens on port %d" % port)
            time.sleep(0.02)


def descendants(pid):
    """Children and theirs; those that end meanwhile are left out."""
    found = []
    try:
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/children" % (pid, task)) as file:
                for child in map(int, file.read().split()):
                    found += [child] + descendants(child)
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


class Program:
    """A real program: how it is started and loaded, and which of its processes are inspected."""

    comm = None      # name of the process that plants
    as_user = None   # a user that is not root
    own_losses = 0   # blocks that a process of it is known to lose, at most
    whose_losses = ""

    def __init__(self, environment=None):
        self.directory = os.path.join(harness.scratch(), "%s-%d" % (type(self).__name__,
                                                                   time.monotonic_ns()))
        os.mkdir(self.directory)
        self.environment = environment or {}
        self.port = free_port()
        if self.as_user:
            os.chown(self.directory, self.as_user, self.as_user)
        self.prepare()
        command = self.command()
        if self.as_user:
            command = self.user_prefix() + command
        self.log = open(os.path.join(self.directory, "log"), "wb")
        self.target = harness.Target(command, wait=False, truth=False, cwd=self.directory,
                                     environment=self.environment, stderr=self.log,
                                     start_new_session=True)
        self.pid = self.target.pid
        self.wait_started()

    def user_prefix(self):
        return [harness.tool("setpriv"), "--reuid", str(self.as_user), "--regid",
                str(self.as_user), "--clear-groups"]

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, text, mode=0o644):
        with open(self.path(name), "w") as file:
            file.write(text)
        os.chmod(self.path(name), mode)
        return self.path(name)

    def prepare(self):
        pass

    def wait_started(self):
        wait_port(self.port)

    def inspected(self):
        return [self.pid] + descendants(self.pid)

    def load(self, until):
        """Called by two threads; works until the time is over."""

    def stop(self):
        try:
            os.killpg(self.pid, signal.SIGTERM)
            self.target.process.wait(3)
        except (subprocess.TimeoutExpired, ProcessLookupError):
            pass
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.target.stop()
        self.log.close()


class Nginx(Program):
    comm = "nginx"

    def prepare(self):
        self.write("page", "text " * 5000)
        self.write("nginx.conf", """
            daemon off; master_process on; worker_processes 2; user root;
            pid %(dir)s/pid; error_log %(dir)s/error.log;
            events { worker_connections 64; }
            http { access_log %(dir)s/access.log; client_body_temp_path %(dir)s/body;
              proxy_temp_path %(dir)s/proxy; fastcgi_temp_path %(dir)s/fastcgi;
              uwsgi_temp_path %(dir)s/uwsgi; scgi_temp_path %(dir)s/scgi; gzip on;
              server { listen 127.0.0.1:%(port)d; root %(dir)s; gzip_types *; } }
            """ % {"dir": self.directory, "port": self.port})

    def command(self):
        return [harness.tool("nginx"), "-p", self.directory, "-c", self.path("nginx.conf")]

    def load(self, until):
        while time.monotonic() < until:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            for _ in range(20):
                connection.request("GET", "/page", headers={"Accept-Encoding": "gzip"})
                check_equal(connection.getresponse().read()[:2], b"\x1f\x8b", "gzip's magic")
            connection.close()


class Postgres(Program):
    comm = "postgres"
    as_user = NOBODY
    own_losses = 2
    whose_losses = "memcheck: save_ps_display_args' new environment, a strdup in PostmasterMain"

    def prepare(self):
        initdb = harness.tool_in(["/usr/lib/postgresql/15/bin"], "initdb")
        subprocess.run(self.user_prefix() + [initdb, "-D", self.path("data"), "-A", "trust", "-N",
                                             "--no-locale", "-U", "test"], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")

    def command(self):
        return [harness.tool_in(["/usr/lib/postgresql/15/bin"], "postgres"), "-D",
                self.path("data"), "-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-c",
                "unix_socket_directories=" + self.directory]

    def psql(self):
        return subprocess.Popen([harness.tool("psql"), "-q", "-h", "127.0.0.1", "-p",
                                 str(self.port), "-U", "test", "postgres"],
                                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)

    def load(self, until):
        session = self.psql()
        while time.monotonic() < until:
            session.stdin.write(b"create temp table t as select i, repeat('x', i) as s from "
                                b"generate_series(1, 300) i;\nselect i, count(*) from t group by "
                                b"i order by i;\ndrop table t;\n")
            session.stdin.flush()
            time.sleep(0.02)
        session.stdin.close()
        session.wait()


class Python(Program):
    code = """
import collections, http.server, json, re, sqlite3, ssl, sys, threading, zlib
database = sqlite3.connect(':memory:', check_same_thread=False)
database.execute('create table t (a, b)')
context = ssl.create_default_context()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = json.dumps([{'a': i, 'b': str(i) * 50} for i in range(200)])
        assert json.loads(text) and re.search('1+9', text) and zlib.compress(text.encode())
        with lock:
            database.execute('insert into t values (?, ?)', (1, text[:1000]))
        self.send_response(200); self.end_headers(); self.wfile.write(text.encode())
    def log_message(self, *ignored): pass
lock = threading.Lock()
http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
"""

    def command(self):
        return [sys.executable, "-c", self.code, str(self.port)]

    def load(self, until):
        while time.monotonic() < until:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            connection.request("GET", "/")
            connection.getresponse().read()
            connection.close()


class Node(Program):
    code = """
const http = require('http'), zlib = require('zlib'), crypto = require('crypto');
http.createServer((request, response) => {
  const text = JSON.stringify(Array.from({length: 500}, (_, i) => ({i, s: 'x'.repeat(i)})));
  zlib.gzip(text, (error, data) => {
    response.end(crypto.createHash('sha256').update(data).digest('hex'));
  });
}).listen(+process.argv[1], '127.0.0.1');
"""
    load = Python.load

    def command(self):
        return [harness.tool("node"), "-e", self.code, str(self.port)]


class Perl(Program):
    code = r"""
use IO::Socket::INET; use Data::Dumper; use POSIX;
my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $ARGV[0], Listen => 5,
  ReuseAddr => 1) or die $!;
my %kept;
while (my $client = $server->accept) {
  my $line = <$client>;
  my %hash = map { $_ => { list => [1 .. 20], text => 'x' x $_ } } 1 .. 300;
  $kept{$_ % 50} = Dumper($hash{$_}) =~ s/\s+/ /gr for 1 .. 100;
  print $client "HTTP/1.0 200 OK\r\n\r\n", scalar(keys %kept), "\n"; close $client;
}
"""
    load = Python.load

    def command(self):
        return [harness.tool("perl"), "-e", self.code, str(self.port)]


class GitDaemon(Program):
    def prepare(self):
        environment = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", HOME=self.directory)
        script = ("git init -q repo && cd repo && for i in $(seq 60); do seq $i > $i; done && "
                  "git add . && git -c user.name=n -c user.email=e commit -qm one && git gc -q")
        subprocess.run(["sh", "-c", script], cwd=self.directory, env=environment, check=True)

    def command(self):
        return [harness.tool("git"), "-c", "safe.directory=*", "daemon", "--reuseaddr",
                "--export-all", "--listen=127.0.0.1", "--port=%d" % self.port,
                "--base-path=" + self.directory, self.directory]

    def load(self, until):
        while time.monotonic() < until:
            subprocess.run([harness.tool("git"), "ls-remote", "-q",
                            "git://127.0.0.1:%d/repo" % self.port], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def inspected(self):
        # `git` runs `git-daemon`; the ones that serve end by themselves
        return [self.pid] + descendants(self.pid)[:1]


class GitCatFile(GitDaemon):
    lock = threading.Lock()

    def command(self):
        return [harness.tool("git"), "-C", self.path("repo"), "-c", "safe.directory=*", "cat-file",
                "--batch"]

    def ask(self):
        with self.lock:
            process = self.target.process
            process.stdin.write(b"HEAD\nHEAD:60\nHEAD^{tree}\n")
            process.stdin.flush()
            for _ in range(3):
                size = int(process.stdout.readline().split()[2])
                process.stdout.read(size + 1)

    def wait_started(self):
        self.ask()

    def load(self, until):
        while time.monotonic() < until:
            self.ask()


class Memcached(Program):
    comm = "memcached"

    def command(self):
        return [harness.tool("memcached"), "-u", "root", "-l", "127.0.0.1", "-p", str(self.port),
                "-U", "0", "-t", "4"]

    def load(self, until):
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            file = connection.makefile("rwb")
            i = 0
            while time.monotonic() < until:
                i += 1
                value = b"v" * (i * 37 % 5000)
                file.write(b"set key%d 0 0 %d\r\n%s\r\nget key%d\r\n"
                           % (i % 1000, len(value), value, i % 1000))
                file.flush()
                while file.readline() not in (b"END\r\n", b""):
                    pass


class Sshd(Program):
    comm = "sshd"
    own_losses = 24
    whose_losses = "sshbufs of a session whose state went through the privilege separation"

    def prepare(self):
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        for name in ("host", "user"):
            subprocess.run([harness.tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f",
                            self.path(name)], check=True)
        os.rename(self.path("user.pub"), self.path("authorized"))
        self.write("conf", "\n".join((
            "ListenAddress 127.0.0.1", "Port %d" % self.port, "HostKey " + self.path("host"),
            "PidFile " + self.path("pid"), "AuthorizedKeysFile " + self.path("authorized"),
            "StrictModes no", "UsePAM no", "PermitRootLogin yes", "MaxStartups 100")) + "\n")
        self.sessions = []
        self.lasting = None

    def command(self):
        return [harness.tool("sshd"), "-D", "-e", "-f", self.path("conf")]

    def ssh(self, *command):
        return subprocess.Popen(
            [harness.tool("ssh"), "-F", "/dev/null", "-p", str(self.port), "-i", self.path("user"),
             "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o",
             "BatchMode=yes", "-o", "LogLevel=ERROR", "root@127.0.0.1"] + list(command),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def wait_started(self):
        wait_port(self.port)
        session = self.ssh("echo here; exec cat")
        check_equal(session.stdout.readline(), b"here\n", "the session's first line")
        self.sessions.append(session)

    def inspected(self):
        # the listener, and the processes of the session that stays open; not its shell
        if self.lasting is None:
            self.lasting = [self.pid]
            for pid in descendants(self.pid):
                with open("/proc/%d/comm" % pid) as file:
                    if file.read().strip() == "sshd":
                        self.lasting.append(pid)
        return self.lasting

    def load(self, until):
        while time.monotonic() < until:
            self.ssh("true").communicate(timeout=20)

    def stop(self):
        for session in self.sessions:
            session.kill()
            session.communicate()
        super().stop()


PROGRAMS = [Nginx, Postgres, Python, Node, Perl, GitDaemon, GitCatFile, Memcached, Sshd]


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def truth_of(pid, directory):
    """What plant.so wrote down for a process, or for the one that it was forked from."""
    while pid > 1:
        path = os.path.join(directory, "truth.%d" % pid)
        if os.path.exists(path):
            truth = harness.Truth()
            with open(path) as lines:
                for line in lines:
                    truth.read(line)
            truth.finish()
            return truth
        with open("/proc/%d/stat" % pid) as file:
            pid = int(file.read().rsplit(")", 1)[1].split()[1])
    raise harness.Failure("plant.so has planted nothing")


def prove(pid, lost):
    """No word of a program that does nothing points to a lost block, but from other lost ones."""
    sizes = {address: block[1] for address, block in lost.items()}
    for target, _, place, what in where.pointers(pid, sizes):
        if lost[target][0] == "definite":
            inside = [a for a in sizes if a <= place < a + sizes[a]]
            check(inside, "%#x is called lost, but %s at %#x points to it" % (target, what, place))


def compare_planted(pid, name, planted, found):
    """
    Planted blocks are lost, in their kinds. A program that nobody scrubbed may have a word that by
    chance points into a large one: then, and only then, may that one be possibly lost.
    """
    ours = {a: b for a, b in found.items() if a in planted.blocks}
    wrong = {a: b[3] for a, b in planted.blocks.items()
             if found.get(a, ("reachable",))[0] not in b[2]}
    places = where.pointers(pid, wrong) if wrong else []
    by_chance = {place[0] for place in places if 0 < place[1] < wrong[place[0]]
                 and found.get(place[0], ("",))[0] == "possible"}
    # what such a block holds is then possibly lost with it
    held = {place[0] for place in places if found.get(place[0], ("",))[0] == "possible"
            and any(a <= place[2] < a + wrong[a] for a in by_chance)}
    for address in held - by_chance:
        planted.blocks.pop(address)
        ours.pop(address)
    check(len(by_chance) <= 4, "%d blocks possibly lost by chance is too much" % len(by_chance))
    for address in by_chance:
        block = planted.blocks.pop(address)
        ours.pop(address)
        check(block[2] == {"definite"} and block[3] >= 4096, "%s is not large" % block[0])
    try:
        harness.compare(planted, ours)
    except harness.Failure as failure:
        raise harness.Failure("%s: %s\npointers to these now: %s" % (name, failure, [
            "%#x+%d at %#x in %s" % place for place in places[:20]]))


def look(program, pid, directory=None, idle=False):
    """
    A program that nobody scrubbed may have a stale word in a register or a live frame just when it
    is stopped, and that can hide a planted block: what three looks in turn do not show right is wrong.
    """
    for last in (False, False, True):
        try:
            return look_once(program, pid, directory, idle)
        except harness.Failure as failure:
            if last or not directory or "differences" not in str(failure):
                raise
            time.sleep(0.1)


def look_once(program, pid, directory=None, idle=False):
    """One report: complete, and nothing lost but what was planted or is known to be."""
    run = harness.memscope("leaks", "-j", "--list", pid, expect=(0, 1, 3, 4))
    if run.status == 3 and ("has ended" in run.err or not alive(pid)):
        return  # a process of a server may end at any time
    try:
        with open("/proc/%d/cmdline" % pid) as file:
            name = "%d (%s)" % (pid, file.read().replace("\0", " ")[:60])
        planted = truth_of(pid, directory) if directory else harness.Truth()
    except (FileNotFoundError, ProcessLookupError):
        return
    check(run.status in (0, 1), "%s: %s" % (name, run))
    found = harness.listed(run)
    lost = {a: b for a, b in found.items()
            if b[0] in ("definite", "indirect") and a not in planted.blocks}
    listing = [(hex(a),) + b for a, b in sorted(lost.items())]
    check(len(lost) <= program.own_losses, "%s has lost %d blocks: %s"
          % (name, len(lost), listing[:8]))
    if idle and lost:
        prove(pid, lost)
    compare_planted(pid, name, planted, found)


def with_load(program, seconds, work):
    """Does the work while two threads load the program."""
    errors = []
    until = time.monotonic() + seconds

    def body():
        try:
            program.load(until)
        except Exception as error:  # told by the thread that waits
            errors.append(error)

    threads = [threading.Thread(target=body) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        while time.monotonic() < until:
            work()
    finally:
        for thread in threads:
            thread.join()
    check(not errors, "the program failed under load: %r" % errors)


def inspect(program, directory=None):
    try:
        for pid in program.inspected():
            look(program, pid, directory, idle=True)

        def everybody():
            for pid in program.inspected():
                if alive(pid):
                    look(program, pid, directory)

        with_load(program, 1, everybody)
        time.sleep(0.1)
        for pid in program.inspected():
            look(program, pid, directory)
        program.target.check_unharmed()
    finally:
        program.stop()


@cases(*PROGRAMS)
def clean(kind):
    inspect(kind())


@cases(*PROGRAMS)
def planted(kind):
    """Children have the planted blocks of their parent, unless they run a program of their own."""
    directory = os.path.join(harness.scratch(), "plant-%d" % time.monotonic_ns())
    os.mkdir(directory)
    os.chmod(directory, 0o777)
    # the build directory may be closed to the user that a server runs as
    shim = shutil.copy(harness.fixture("plant.so"), directory)
    environment = {"LD_PRELOAD": shim,
                   "PLANT_FILE": os.path.join(directory, "truth")}
    if kind.comm:
        environment["PLANT_COMM"] = kind.comm
    program = kind(environment)
    try:
        count = len(truth_of(program.pid, directory).of_kind("definite"))
        check(count >= 40, "only %d blocks were planted" % count)
    except harness.Failure:
        program.stop()
        raise
    inspect(program, directory)


@test
def memstats_of_all():
    """The account adds up for each of them."""
    for kind in PROGRAMS:
        program = kind()
        try:
            for pid in program.inspected():
                try:
                    before = harness.kib(pid, "Rss")
                    run = harness.memscope("memstats", "-j", pid, expect=0)
                    after = harness.kib(pid, "Rss")
                except (FileNotFoundError, ProcessLookupError, harness.Failure):
                    if alive(pid):
                        raise
                    continue
                rss = run.json["memstats"]["rss"]
                check(min(before, after) * 0.99 <= rss["total"] <= max(before, after) * 1.01,
                      "%s: %d, Rss is %d" % (kind.__name__, rss["total"], after))
                check_equal(sum(r["bytes"] for r in rss["rows"]), rss["total"],
                            "sum of rows of " + kind.__name__)
        finally:
            program.stop()


@test
def jemalloc_is_named():
    """redis-server's heap is not glibc's: it says so, and gives no wrong report."""
    port = free_port()
    target = harness.Target([harness.tool("redis-server"), "--port", str(port), "--bind",
                             "127.0.0.1", "--save", "", "--dir", harness.scratch()], wait=False,
                            truth=False, stderr=subprocess.DEVNULL)
    # its output is not read: what it prints at the start fits into the pipe
    wait_port(port)
    run = harness.memscope("leaks", "-j", target.pid, expect=(3, 4))
    said = run.err + " ".join(map(str, (run.json or {}).get("warnings", [])))
    check("jemalloc" in said, "jemalloc is not named:\n%s" % run)
    target.check_unharmed()


if __name__ == "__main__":
    sys.exit(harness.main())
