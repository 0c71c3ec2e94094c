"""`tacita keys`: from an authority to certificates that work, and how it refuses."""

import pytest
from typer.testing import CliRunner

from tacita.cli.keys import keys
from tacita.network.authority import requested
from tacita.network.tls import Credentials


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path


@pytest.fixture
def run(here):
    """run("issue", …): what the command says; it has to succeed."""

    def invoke(*arguments):
        result = CliRunner().invoke(keys, list(arguments))
        assert result.exit_code == 0, result.stderr
        return result.stdout

    return invoke


def refusal(*arguments):
    result = CliRunner().invoke(keys, list(arguments))
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("tacita: ")
    assert "Traceback" not in result.stderr
    return result.stderr


def credentials(folder, name):
    return Credentials(folder / f"{name}.pem", folder / f"{name}.key", folder / "authority.pem")


def test_the_way_of_one_pair_of_hands(run, here):
    assert "keep it to yourself" in run("authority", "ca", "--name", "Ours")
    said = run("issue", "party:alice", "--authority", "ca", "--out", "alice", "--host", "localhost")
    assert "alice/alice.key: its private key" in said
    assert str(credentials(here / "alice", "alice").check()) == "party:alice"
    shown = run("show", "alice/alice.pem")
    for each in ("party:alice", "localhost", "CN=Ours", "key, authority and dates fit"):
        assert each in shown


def test_the_way_of_two_organisations(run, here):
    run("authority", "ca")
    said = run("request", "dealer:dana", "--out", "dana", "--host", "d.org", "--host", "::1")
    digest = requested(here / "dana" / "dana.csr").key
    assert digest in said
    assert digest in run("show", "dana/dana.csr")
    arguments = ("sign", "dana/dana.csr", "--for", "dealer:dana", "--authority", "ca")
    signed = run(*arguments, "--out", "back", "--key", digest)
    assert "hosts: d.org, ::1" in signed
    assert "compare" not in signed
    for each in ("dana.pem", "authority.pem"):
        (here / "back" / each).rename(here / "dana" / each)
    assert str(credentials(here / "dana", "dana").check("dealer")) == "dealer:dana"
    assert "compare that digest" in run(*arguments, "--out", "again")


@pytest.mark.parametrize(
    ("options", "days"), [((), 365), (("--development",), 30), (("--days", "7"), 7)]
)
def test_how_long(run, here, options, days):
    from tacita.network.tls import certificate_in

    run("authority", "ca")
    run("issue", "client:carol", "--authority", "ca", "--out", "carol", *options)
    own = certificate_in(here / "carol" / "carol.pem")
    assert (own.not_valid_after_utc - own.not_valid_before_utc).days == days


def test_an_authority_s_certificate_is_shown(run):
    run("authority", "ca", "--name", "Ours")
    assert "CN=Ours, no role" in run("show", "ca/authority.pem")


REFUSED = {
    "no authority": (["issue", "party:alice", "--authority", "nowhere"], "tacita keys authority"),
    "no role": (["issue", "alice", "--authority", "ca"], "party:alice"),
    "an unknown role": (["request", "root:alice"], "party, dealer, owner, client"),
    "an authority twice": (["authority", "ca"], "not overwritten"),
    "a host of a client": (["request", "client:carol", "--host", "a.org"], "no hosts"),
    "no days": (["issue", "party:alice", "--authority", "ca", "--days", "0"], "days"),
    "no request": (["sign", "a.csr", "--for", "party:alice", "--authority", "ca"], "a.csr"),
    "no file": (["show", "nothing.pem"], "nothing.pem"),
    "a key": (["show", "ca/authority.key"], "no certificate"),
}


@pytest.mark.parametrize(("arguments", "said"), REFUSED.values(), ids=REFUSED)
def test_what_it_cannot_take_is_refused_in_plain_words(run, arguments, said):
    run("authority", "ca")
    assert said in refusal(*arguments)


def test_another_key_is_refused(run, here):
    run("authority", "ca")
    run("request", "party:alice")
    text = refusal(
        "sign", "alice.csr", "--for", "party:alice", "--authority", "ca", "--key", "00" * 32
    )
    assert "exchanged" in text
    assert not (here / "alice.pem").exists()


def test_a_key_open_to_others_is_told(run, here):
    run("authority", "ca")
    run("issue", "party:alice", "--authority", "ca")
    (here / "alice.key").chmod(0o644)
    result = CliRunner().invoke(keys, ["show", "alice.pem"])
    assert result.exit_code == 2
    assert "chmod 600" in result.stderr


def test_no_key_is_ever_printed(run, here):
    run("authority", "ca")
    said = run("issue", "party:alice", "--authority", "ca") + run("show", "alice.pem")
    key = (here / "alice.key").read_text().splitlines()
    assert "PRIVATE" not in said
    assert all(line not in said for line in key)


def test_help_tells_a_newcomer_where_to_begin(run):
    text = " ".join(run("--help").split())
    for each in ("tacita keys authority ca", "tacita keys request", "never leaves it"):
        assert each in text
    assert "by phone" in " ".join(run("request", "--help").split())
