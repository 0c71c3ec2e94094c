"""A PostgreSQL server of the tests' own: in a temporary folder, reached by a socket in it alone."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

BINARIES = ("initdb", "pg_ctl", "postgres")
USER = "tacita"
LIMIT = 90  # seconds to start or stop


def missing():
    """Which binaries are not there, if any; Debian keeps them out of PATH."""
    return [name for name in BINARIES if shutil.which(name) is None]


class Server:
    """Use it in a `with` block."""

    def __enter__(self):
        # Short, because a socket's path may have about 100 bytes; and not under pytest's folders,
        # which nobody but their owner may enter.
        self.folder = Path(tempfile.mkdtemp(prefix="tacita-pg-", dir="/tmp"))
        self.data = self.folder / "data"
        self.owner = {}
        if os.geteuid() == 0:  # as whom no server starts
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            self.owner = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        try:
            self._run(
                "initdb", "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync", "-D", self.data
            )
            self.start()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self

    def __exit__(self, *_):
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def start(self):
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder}"
        log = self.folder / "log"
        self._run(
            "pg_ctl", "start", "-w", "-t", str(LIMIT), "-D", self.data, "-l", log, "-o", options
        )

    def stop(self):
        self._run("pg_ctl", "stop", "-w", "-t", str(LIMIT), "-m", "immediate", "-D", self.data)

    def url(self, database):
        return f"postgresql://{USER}:sesame@/{database}?host={self.folder}"

    def say(self, statement, database="postgres"):
        """One statement, as the server's owner; the first thing that it returns."""
        import psycopg

        with psycopg.connect(
            host=str(self.folder),
            user=USER,
            dbname=database,
            autocommit=True,
            connect_timeout=LIMIT,
        ) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchone()[0] if cursor.description else None

    def _run(self, *command):
        environment = {**os.environ, "HOME": str(self.folder), "LC_ALL": "C"}
        done = subprocess.run(  # noqa: S603
            [shutil.which(command[0]), *map(str, command[1:])],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=2 * LIMIT,
            check=False,
            text=True,
            **self.owner,
        )
        assert done.returncode == 0, done.stdout
