"""Runs PostgreSQL servers for the demo."""

import ctypes
import os
import pwd
import secrets
import signal
import socket
import subprocess
import time

from servers import Failure, run

# What every server of the demo listens on.
HOST = "127.0.0.1"


def server_user():
    """Who servers run as: ourselves, or an ordinary user when we are root."""
    if os.geteuid() != 0:
        return {}
    for name in ["postgres", "nobody"]:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise Failure("PostgreSQL refuses to run as root, and there is no user postgres or nobody")


def end_with_parent():
    """In the child: a killed script leaves no server behind (SIGQUIT: immediate shutdown)."""
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGQUIT)


class Server:
    """A PostgreSQL server of the demo, under a scratch directory, with a random password."""

    def __init__(self, cache, major, scratch, settings):
        self.major = major
        self.bin = cache / major / "bin"
        self.clients = cache / "clients-18" / "bin"
        self.home = scratch / major
        self.password = secrets.token_urlsafe(12)
        self.process = None
        self.user = server_user()
        self.home.mkdir(mode=0o700)
        if self.user:
            os.chown(self.home, self.user["user"], self.user["group"])
        self.port = free_port()
        self._initdb(settings)

    def _initdb(self, settings):
        password = self.home / "password"
        password.write_text(self.password + "\n")
        if self.user:
            os.chown(password, self.user["user"], self.user["group"])
        self._as_user(
            [
                str(self.bin / "initdb"), "-D", str(self.home / "data"), "-U", "postgres",
                "-A", "scram-sha-256", f"--pwfile={password}", "--encoding=UTF8",
                f"--locale={utf8_locale()}", "--no-sync",
            ]
        )
        password.unlink()
        lines = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": str(self.home),
            "logging_collector": "off",
            **settings,
        }
        with open(self.home / "data/postgresql.conf", "a") as conf:
            for name, value in lines.items():
                conf.write(f"{name} = '{value}'\n")

    def _environment(self):
        return {"PATH": os.environ["PATH"], "LC_ALL": "C"}

    def _as_user(self, command):
        run(command, cwd=self.home, env=self._environment(), **self.user)

    def start(self):
        with open(self.home / "server.log", "w") as log:
            self.process = subprocess.Popen(
                [str(self.bin / "postgres"), "-D", str(self.home / "data")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.home,
                env=self._environment(), start_new_session=True, preexec_fn=end_with_parent,
                **self.user,
            )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                self.sql("postgres", "SELECT 1")
                return
            except Failure:
                time.sleep(0.1)
        log = (self.home / "server.log").read_text()
        raise Failure(f"PostgreSQL {self.major} did not start:\n{log}")

    def stop(self):
        """Fast shutdown; immediate when that takes too long."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(10)

    def sql(self, database, text, user="postgres", password=None):
        """Runs SQL with psql and returns what it wrote."""
        done = subprocess.run(
            [str(self.clients / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-f", "-"],
            input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={
                "PATH": os.environ["PATH"], "PGHOST": HOST, "PGPORT": str(self.port),
                "PGUSER": user, "PGPASSWORD": password or self.password,
                "PGDATABASE": database, "PGAPPNAME": "demo", "LC_ALL": "C",
                "PGCLIENTENCODING": "UTF8", "PGCONNECT_TIMEOUT": "5",
            },
        )
        if done.returncode != 0:
            raise Failure(f"psql on {database}: {done.stderr.strip()}")
        return done.stdout.strip()


def utf8_locale():
    """A UTF-8 locale that every glibc of the last years has built in, or plain C."""
    known = subprocess.run(["locale", "-a"], capture_output=True, text=True).stdout.split()
    return "C.UTF-8" if {"C.utf8", "C.UTF-8"} & set(known) else "C"


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]
