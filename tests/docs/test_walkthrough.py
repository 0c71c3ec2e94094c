"""The steps of docs/deploy.md on three hosts, as they stand there: a folder for each host.

What differs from the page: `scp` copies between folders, everybody listens on loopback, and on free
ports, which are named in the environment.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tacita.client.local_network import free_ports
from tacita.service.audit_chain import verify

from .pages import DEPLOY, blocks, page

HOSTS = ("ca", "alice", "bob", "dana", "acme", "carol")
READY_SECONDS = 120
COMMAND_SECONDS = 300
END_SECONDS = 60
BASH = shutil.which("bash") or "/bin/bash"

TACITA = f"""#!/bin/sh
exec {sys.executable} -m tacita "$@"
"""
PYTHON = f"""#!/bin/sh
exec {sys.executable} "$@"
"""
SCP = """#!/bin/sh
# host.example.org:path is a path in the folder of that host
for last; do :; done
while [ "$#" -gt 1 ]; do
    from=$1 && shift
    case $from in *:*) from=$HOSTS/${from%%.*}/${from#*:} ;; esac
    case $last in *:*) to=$HOSTS/${last%%.*}/${last#*:} ;; *) to=$last ;; esac
    cp "$from" "$to" || exit 1
done
"""


class Hosts:
    """A folder for each host, and the daemons that run there."""

    def __init__(self, folder):
        self.folder = folder
        self.daemons = {}
        ports = free_ports(6)
        self.places = {
            "alice.example.org:8441": ports[0],
            "alice.example.org:8442": ports[1],
            "bob.example.org:8441": ports[2],
            "bob.example.org:8442": ports[3],
            "dana.example.org:8450": ports[4],
        }
        tools = folder / "tools"
        tools.mkdir()
        for name, text in (("tacita", TACITA), ("python", PYTHON), ("scp", SCP)):
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        examples = folder / "home" / "tacita" / "deploy"
        examples.mkdir(parents=True)
        for path in DEPLOY.glob("*.toml"):
            text = path.read_text()
            for place, port in self.places.items():
                text = text.replace(place, f"127.0.0.1:{port}")
            (examples / path.name).write_text(text)
        for name in HOSTS:
            (folder / name).mkdir()

    def environment(self, host):
        given = {key: value for key, value in os.environ.items() if not key.startswith("TACITA_")}
        given |= {
            "PATH": f"{self.folder / 'tools'}:{os.environ['PATH']}",
            "HOME": str(self.folder / "home"),
            "HOSTS": str(self.folder),
            "COLUMNS": "120",
        }
        ports = {
            place.split(":")[1]: port
            for place, port in self.places.items()
            if place.startswith(f"{host}.")
        }
        if host in ("alice", "bob"):
            given["TACITA_PARTY__FRONT"] = f"127.0.0.1:{ports['8441']}"
            given["TACITA_PARTY__PEERS"] = f"127.0.0.1:{ports['8442']}"
            given["TACITA_PARTY__METRICS"] = "127.0.0.1:0"
        if host == "dana":
            given["TACITA_DEALER__ADDRESS"] = f"127.0.0.1:{ports['8450']}"
            given["TACITA_DEALER__METRICS"] = "127.0.0.1:0"
        return given

    def run(self, host, text):
        done = subprocess.run(  # noqa: S603
            [BASH, "-euo", "pipefail", "-c", text],
            cwd=self.folder / host,
            env=self.environment(host),
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )
        assert done.returncode == 0, f"on {host}:\n{text}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, host, text):
        log = (self.folder / host / "log").open("wb")
        with log:
            self.daemons[host] = subprocess.Popen(  # noqa: S603
                [BASH, "-c", f"exec {text}"],
                cwd=self.folder / host,
                env=self.environment(host),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_ready(self):
        deadline = time.monotonic() + READY_SECONDS
        for host, process in self.daemons.items():
            while " is ready: " not in (self.folder / host / "log").read_text():
                assert process.poll() is None, (self.folder / host / "log").read_text()
                assert time.monotonic() < deadline, f"{host} is not ready"
                time.sleep(0.1)

    def end(self):
        """The exit codes, after SIGTERM."""
        for process in self.daemons.values():
            process.send_signal(signal.SIGTERM)
        return {host: process.wait(END_SECONDS) for host, process in self.daemons.items()}

    def kill(self):
        for process in self.daemons.values():
            if process.poll() is None:
                process.kill()
                process.wait(END_SECONDS)


@pytest.fixture
def hosts(tmp_path):
    made = Hosts(tmp_path)
    yield made
    made.kill()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_page_works_as_it_is_written(hosts):
    steps = [block for block in blocks(page("deploy.md")) if block.language == "sh"]
    said = []
    for step in steps:
        host, *kind = step.words
        if kind == ["daemon"]:
            hosts.start(host, step.text)
            continue
        if "doctor" in step.text:
            hosts.wait_ready()
            # A daemon that was early dials again a moment later.
            wait_until_they_see_each_other(hosts)
        said.append((host, step.text, hosts.run(host, step.text)))
    output = {text.split("\n")[-2]: result for _, text, result in said}
    assert "all is well" in output["tacita doctor"]
    classes = output["tacita predict scans images.npy --classes"].split()[-6:]
    assert all(0 <= int(each) < 10 for each in classes)
    checks = [result for text, result in output.items() if text.startswith("tacita keys show")]
    assert len(checks) == 3
    assert all(
        result.endswith("checked:       key, authority and dates fit\n") for result in checks
    )
    verified = next(result for text, result in output.items() if text.startswith("tacita audit"))
    assert verified.count("  reveal  client:carol  model=scans  ") == 2
    assert re.search(r"^\d+ records verified, 2 shown\. Digest .*: [0-9a-f]{64}$", verified, re.M)
    assert hosts.end() == {"dana": 0, "alice": 0, "bob": 0}
    for name in ("alice", "bob"):
        # Two queries of four rows; the beginning, a publication and the end.
        assert verify(hosts.folder / name / "data" / "audit.jsonl").records == 5
    private = sorted(path.parent.name for path in hosts.folder.glob("*/*.key"))
    assert private == ["acme", "alice", "bob", "carol", "dana"]  # each on its own host


def wait_until_they_see_each_other(hosts):
    deadline = time.monotonic() + READY_SECONDS
    while True:
        states = json.loads(hosts.run("carol", "tacita status --json || true"))
        if all("links" in each and all(each["links"].values()) for each in states.values()):
            return
        assert time.monotonic() < deadline, f"the daemons do not see each other: {states}"
        time.sleep(0.5)
