"""`tacita party` and `tacita dealer` where they cannot run: one clear line, and exit code 1.

That they run, and end when they are told to, is shown in tests/client/test_local_network.py.
"""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from tacita.cli.daemon import serving_metrics
from tacita.client.local_network import LocalNetwork, free_ports
from tacita.errors import ConfigError
from tacita.network.address import Address

WAIT = 60.0  # seconds: the limit of every wait in these tests


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return LocalNetwork(tmp_path_factory.mktemp("network") / "local")


def complaint(command, config):
    """What the daemon says on stderr before it ends."""
    ended = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "tacita", command, str(config)],
        capture_output=True, text=True, timeout=WAIT, check=False,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout == ""
    last = ended.stderr.strip().splitlines()[-1]
    assert "Traceback" not in ended.stderr
    assert last.startswith("tacita: ")
    return last


def altered(network, name, old, new):
    path = network.config(name).with_name("altered.toml")
    text = network.config(name).read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_a_file_that_is_not_there(tmp_path):
    assert "there is no file" in complaint("party", tmp_path / "party.toml")


def test_a_field_that_is_wrong(network):
    config = altered(network, "alice", "[credentials]", "frnt = 1\n[credentials]")
    assert "did you mean front?" in complaint("party", config)


def test_the_front_of_a_party_is_taken(network):
    front = network.network.parties[0].front
    host, _, port = front.removeprefix("https://").partition(":")
    with socket.create_server((host, int(port))):
        assert f"cannot listen on {host}:{port}" in complaint("party", network.config("alice"))


def test_a_key_that_others_can_read(network):
    key = network.folder / "bob" / "bob.key"
    key.chmod(0o644)
    try:
        assert "bob.key" in complaint("party", network.config("bob"))
    finally:
        key.chmod(0o600)


def test_a_dealer_with_the_certificate_of_a_party(network):
    config = altered(network, "dana", '"dana.', '"../alice/alice.')
    assert "party:alice" in complaint("dealer", config)


def test_metrics_are_served_in_the_clear():
    class Counted:
        def render(self):
            return b"tacita_queries_total 3\n"

    (port,) = free_ports(1)
    with serving_metrics(Address("127.0.0.1", port), Counted()):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=WAIT) as answer:
            assert answer.read() == b"tacita_queries_total 3\n"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/other", timeout=WAIT)
        with (
            pytest.raises(ConfigError, match=rf"metrics: cannot listen on 127\.0\.0\.1:{port}"),
            serving_metrics(Address("127.0.0.1", port), Counted()),
        ):
            pass
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=WAIT)


def metrics_at(port):
    """What a daemon says at its plain address; nothing while it does not listen yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=WAIT) as answer:
            return answer.read().decode()
    except urllib.error.URLError:
        return ""


def test_both_kinds_of_daemons_serve_their_metrics(tmp_path, monkeypatch):
    network = LocalNetwork(tmp_path / "local")
    ports = dict(zip(("dana", "alice"), free_ports(2), strict=True))
    try:
        monkeypatch.setenv("TACITA_DEALER__METRICS", f"127.0.0.1:{ports['dana']}")
        network.launch("dana")
        monkeypatch.setenv("TACITA_PARTY__METRICS", f"127.0.0.1:{ports['alice']}")
        network.launch("alice")
        deadline = time.monotonic() + WAIT
        wanted = {
            "dana": [
                'tacita_role_info{role="dealer:dana"} 1.0',
                'tacita_link_up{peer="alice"} 1.0',
            ],
            "alice": [
                'tacita_role_info{role="party:alice"} 1.0',
                'tacita_link_up{peer="dana"} 1.0',
                'tacita_link_up{peer="bob"} 0.0',  # who was not started
            ],
        }
        while missing := [
            f"{line} at {name}"
            for name, lines in wanted.items()
            for line in lines
            if line not in metrics_at(ports[name])
        ]:
            network.require_alive()
            assert time.monotonic() < deadline, missing
            time.sleep(0.1)
    finally:
        network.stop()
