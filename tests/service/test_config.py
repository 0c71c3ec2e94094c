"""Settings files: what they may say, what the environment may, and how mistakes are told."""

import os
from pathlib import Path

import pydantic
import pytest

from tacita.errors import ConfigError
from tacita.network.address import Address
from tacita.network.tls import Credentials
from tacita.service.config import Limits, load_client, load_dealer, load_network, load_party

NETWORK = """
[[parties]]
name = "alice"
front = "https://a.example.org:8441/"
peers = "a.example.org:8442"
[[parties]]
name = "bob"
front = "https://[::1]:8441"
peers = "[::1]:8442"
[dealer]
name = "dana"
address = "d.example.org:8450"
"""
CREDENTIALS = """
[credentials]
certificate = "a.pem"
key = "/keys/a.key"
authority = "../authority.pem"
"""
PARTY = """
name = "alice"
network = "network.toml"
data = "data"
front = "0.0.0.0:8441"
peers = "[::]:0"
"""
DEALER = 'name = "dana"\nnetwork = "network.toml"\ndata = "data"\naddress = "0.0.0.0:8450"\n'
CLIENT = 'network = "network.toml"\n'


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with all four files, which is not the current one; no variables of ours."""
    for variable in list(os.environ):
        if variable.upper().startswith("TACITA_"):
            monkeypatch.delenv(variable)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "network.toml").write_text(NETWORK)
    for name, text in (("party", PARTY), ("dealer", DEALER), ("client", CLIENT)):
        (tmp_path / f"{name}.toml").write_text(text + CREDENTIALS)
    return tmp_path


@pytest.fixture
def party(here):
    """party("[limits] …"): the settings of alice, with that at the file's end or beginning."""

    def load(more="", first=""):
        (here / "party.toml").write_text(first + PARTY + CREDENTIALS + more)
        return load_party(here / "party.toml")

    return load


@pytest.fixture
def refusal(party):
    def refused(more="", first=""):
        with pytest.raises(ConfigError) as caught:
            party(more, first)
        return str(caught.value)

    return refused


# ---- what they may say ---------------------------------------------------------------------------


def test_a_network_knows_its_order(here):
    network = load_network(here / "network.toml")
    assert network.names == ("alice", "bob")
    assert network.leader.name == "alice"
    assert network.leader.front == "https://a.example.org:8441"
    assert network.parties[1].peers == Address("::1", 8442)
    assert network.dealer.address == Address("d.example.org", 8450)
    assert [network.index_of(each) for each in ("alice", "bob")] == [0, 1]
    with pytest.raises(ConfigError, match="alice, bob"):
        network.index_of("dana")


def test_a_party_has_its_settings(party, here):
    config = party()
    assert (config.name, config.index) == ("alice", 0)
    assert config.network.names == ("alice", "bob")
    assert config.front == Address("0.0.0.0", 8441)  # noqa: S104
    assert config.peers == Address("::", 0)
    assert config.metrics is None
    assert config.policy is None
    assert config.limits == Limits()
    assert config.stock.low <= config.stock.high


def test_paths_count_from_the_file(party, here):
    config = party(first='policy = "policy.toml"\naudit = "/var/log/audit"\n')
    assert config.data == here / "data"
    assert config.policy == here / "policy.toml"
    assert config.audit_path == Path("/var/log/audit")
    assert config.credentials == Credentials(
        here / "a.pem", Path("/keys/a.key"), here / "../authority.pem"
    )
    assert party().audit_path == here / "data" / "audit.jsonl"


def test_paths_count_from_the_file_also_where_that_is_named_relatively(here, monkeypatch):
    monkeypatch.chdir(here)
    assert load_party(Path("party.toml")).data == here / "data"


LEDGERS = {
    "its own file": ("", "sqlite:///{here}/data/ledger.sqlite"),
    "a file": ("sqlite:///l.sqlite", "sqlite:///{here}/l.sqlite"),
    "a file somewhere": ("sqlite:////l.sqlite", "sqlite:////l.sqlite"),
    "a server": ("postgresql://u:p@h/d", "postgresql://u:p@h/d"),
}


@pytest.mark.parametrize(("given", "url"), LEDGERS.values(), ids=LEDGERS)
def test_a_ledger_is_a_file_or_a_server(party, here, given, url):
    config = party(first=f'ledger = "{given}"\n' if given else "")
    assert config.ledger_url == url.format(here=here)


def test_a_password_is_not_shown(party, refusal):
    config = party(first='ledger = "postgresql://u:hush@h/d"\n')
    assert "hush" not in repr(config) + str(config)
    text = refusal(first='ledger = "mysql://u:hush@h/d"\n')
    assert "hush" not in text
    assert "postgresql://" in text


def test_sizes_may_have_units(party):
    limits = party('[limits]\nrequest_bytes = "1 MiB"\nprogram_bytes = 5\nround = 1\n').limits
    assert (limits.request_bytes, limits.program_bytes, limits.round) == (1 << 20, 5, 1.0)
    assert limits.query == Limits().query


def test_dealer_and_client_have_theirs(here):
    dealer, client = load_dealer(here / "dealer.toml"), load_client(here / "client.toml")
    assert dealer.address.port == 8450
    assert dealer.data == here / "data"
    assert client.network == dealer.network
    assert client.credentials.certificate == here / "a.pem"


def test_settings_do_not_change(party):
    config = party()
    for owner, field in ((config, "name"), (config.limits, "round"), (config.network, "dealer")):
        with pytest.raises(pydantic.ValidationError, match="frozen"):
            setattr(owner, field, None)


# ---- the environment -----------------------------------------------------------------------------

VARIABLES = {
    "name": ("NAME", "bob", lambda c: c.name == "bob" and c.index == 1),
    "data": ("DATA", "other", lambda c: c.data.name == "other" and c.data.is_absolute()),
    "network": ("NETWORK", "network.toml", lambda c: c.network.names == ("alice", "bob")),
    "front": ("FRONT", "[::1]:5", lambda c: c.front == Address("::1", 5)),
    "metrics": ("METRICS", "h:5", lambda c: c.metrics == Address("h", 5)),
    "policy": ("POLICY", "p.toml", lambda c: c.policy.name == "p.toml"),
    "ledger": ("LEDGER", "postgresql://h/d", lambda c: c.ledger_url == "postgresql://h/d"),
    "audit": ("AUDIT", "/a", lambda c: c.audit_path == Path("/a")),
    "a key": ("CREDENTIALS__KEY", "/k", lambda c: c.credentials.key == Path("/k")),
    "seconds": ("LIMITS__ROUND", "0.5", lambda c: c.limits.round == 0.5),
    "bytes": ("LIMITS__REQUEST_BYTES", "2 KiB", lambda c: c.limits.request_bytes == 2048),
    "a count": ("STOCK__HIGH", "99", lambda c: c.stock.high == 99),
    "a table": ("STOCK", '{"low": 1}', lambda c: c.stock.low == 1),
}


@pytest.mark.parametrize(("variable", "value", "has"), VARIABLES.values(), ids=VARIABLES)
@pytest.mark.parametrize("case", [str.upper, str.lower])
def test_every_field_comes_from_the_environment(party, monkeypatch, variable, value, has, case):
    monkeypatch.setenv(case(f"TACITA_PARTY__{variable}"), value)
    assert has(party("[limits]\nround = 7\nquery = 8\n[stock]\nlow = 2\n"))


def test_the_environment_changes_what_it_names_alone(party, monkeypatch):
    monkeypatch.setenv("TACITA_PARTY__LIMITS__ROUND", "5")
    limits = party("[limits]\nround = 7\nquery = 8\n").limits
    assert (limits.round, limits.query) == (5, 8)


def test_roles_have_variables_of_their_own(here, monkeypatch):
    monkeypatch.setenv("TACITA_DEALER__LIMITS__DEAL", "5")
    monkeypatch.setenv("TACITA_CLIENT__LIMITS__DEAL", "6")
    monkeypatch.setenv("TACITA_NETWORK__DEALER__ADDRESS", "h:7")
    monkeypatch.setenv("TACITA_DATA", "/somewhere")  # of the data sets, and none of these
    dealer, client = load_dealer(here / "dealer.toml"), load_client(here / "client.toml")
    assert (dealer.limits.deal, client.limits.deal) == (5, 6)
    assert dealer.network.dealer.address == Address("h", 7)
    assert load_party(here / "party.toml").limits.deal == Limits().deal


def test_parties_may_come_as_json(here, monkeypatch):
    parties = '[{"name": "%s", "front": "https://%s", "peers": "%s:1"}, ' % (("a",) * 3)
    parties += '{"name": "b", "front": "https://b", "peers": "b:1"}]'
    monkeypatch.setenv("TACITA_NETWORK__PARTIES", parties)
    assert load_network(here / "network.toml").names == ("a", "b")


WRONG_VARIABLES = {
    "a field": ("ROUND", "5", "there is no such field"),
    "almost a field": ("LIMIT__ROUND", "5", "did you mean limits"),
    "a field of a table": ("LIMITS__ROUNDS", "5", "did you mean round"),
    "no number": ("LIMITS__ROUND", "soon", "more than 0"),
    "no JSON": ("LIMITS", "{", "JSON"),
    "an address": ("FRONT", "8441", "host:port"),
    "nothing": ("FRONT", "", "host:port"),
    "an empty path": ("NETWORK", "", "network.toml"),
}


@pytest.mark.parametrize(
    ("variable", "value", "said"), WRONG_VARIABLES.values(), ids=WRONG_VARIABLES
)
def test_a_mistake_in_the_environment_is_named(refusal, monkeypatch, variable, value, said):
    monkeypatch.setenv(f"TACITA_PARTY__{variable}", value)
    text = refusal()
    assert said in text
    assert "environment variable" in text
    assert "TACITA_PARTY__" in text


# ---- mistakes ------------------------------------------------------------------------------------

MISTAKES = {
    "an unknown field": ("", "colour = 1\n", "colour: there is no such field"),
    "an unknown field of a table": ("[limits]\nrond = 1\n", "", "limits.rond: there is no such"),
    "an unknown table": ("[stocks]\n", "", "did you mean stock"),
    "no seconds": ("[limits]\nround = 0\n", "", "limits.round"),
    "endless": ("[limits]\nround = inf\n", "", "limits.round"),
    "no number at all": ("[limits]\nround = nan\n", "", "limits.round"),
    "a truth": ("[limits]\nround = true\n", "", "to be a number"),
    "half a link": ("[limits]\nlinks = 1.5\n", "", "limits.links"),
    "no size": ('[limits]\nrequest_bytes = "many"\n', "", "limits.request_bytes"),
    "less than nothing": ("[limits]\nrequest_bytes = -1\n", "", "limits.request_bytes"),
    "low above high": ("[stock]\nlow = 20\n", "", "low is 20 and high 16"),
    "a number for a table": ("", "limits = 1\n", "a table of waits"),
    "a list for a path": ("", "policy = []\n", "policy"),
    "no database": ("", 'ledger = "oracle://h/d"\n', "sqlite:///FILE"),
    "no database file": ("", 'ledger = "sqlite:///"\n', "sqlite:///FILE"),
    "a number for an address": ("", "metrics = 9100\n", "host:port"),
    "a port that is none": ("", 'metrics = "h:99999"\n', "65535"),
}


@pytest.mark.parametrize(("more", "first", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named(refusal, here, more, first, said):
    text = refusal(more, first)
    assert said in text
    assert str(here / "party.toml") in text


def test_all_mistakes_are_told_at_once(refusal):
    text = refusal("[limits]\nround = 0\nquery = -1\nlinkz = 2\n")
    assert "has 3 mistakes" in text
    for each in ("limits.round", "limits.query", "limits.linkz"):
        assert each in text


@pytest.mark.parametrize("field", ["name", "network", "data", "front", "peers", "credentials"])
def test_a_missing_field_is_named_with_what_would_be_right(here, field):
    lines = (PARTY + CREDENTIALS.replace("[credentials]", "[credentials]\n")).splitlines()
    if field == "credentials":
        text = PARTY
    else:
        text = "\n".join(each for each in lines if not each.startswith(f"{field} ="))
    (here / "party.toml").write_text(text)
    with pytest.raises(ConfigError, match=f"{field} is missing; right is: "):
        load_party(here / "party.toml")


def test_a_party_is_one_of_the_network(here):
    (here / "party.toml").write_text(PARTY.replace("alice", "carol") + CREDENTIALS)
    with pytest.raises(ConfigError, match="'carol' is none of the parties"):
        load_party(here / "party.toml")


def test_a_dealer_is_the_network_s(here):
    (here / "dealer.toml").write_text(DEALER.replace("dana", "dora") + CREDENTIALS)
    with pytest.raises(ConfigError, match="'dora' is not the network's dealer, 'dana'"):
        load_dealer(here / "dealer.toml")


NETWORKS = {
    "one party": (NETWORK[NETWORK.index("[[parties]]", 5) :], "2 parties or more, not 1"),
    "no party": (NETWORK[NETWORK.index("[dealer]") :], "parties is missing"),
    "no dealer": (NETWORK[: NETWORK.index("[dealer]")], "dealer is missing"),
    "a name twice": (NETWORK.replace('"bob"', '"alice"'), "alice is there twice"),
    "a front twice": (NETWORK.replace("[::1]:8441", "a.example.org:8441"), "fronts"),
    "an address twice": (NETWORK.replace('"[::1]:8442"', '"a.example.org:8442"'), "peers"),
    "a party that deals": (NETWORK.replace('"dana"', '"bob"'), "bob would know all masks"),
    "a plain front": (NETWORK.replace("https://a", "http://a"), "https://"),
    "a front without a host": (NETWORK.replace("a.example.org:8441/", "/"), "https://"),
    "a front with a path": (NETWORK.replace("8441/", "8441/v2"), "more than host and port"),
    "a front with a user": (NETWORK.replace("https://a", "https://u:p@a"), "more than host"),
    "a front with a bad port": (NETWORK.replace("8441/", "x/"), "https://"),
    "no port": (NETWORK.replace(':8442"\n[[', ':0"\n[['), "cannot be reached"),
    "a name that is none": (NETWORK.replace('"bob"', '"Bob"'), "parties.1.name"),
    "more than it has": (NETWORK + 'peers = "h:1"\n', "dealer.peers: there is no such field"),
    "parties that are one": ("parties = 5\n" + NETWORK[NETWORK.index("[dealer]") :], "parties"),
}


@pytest.mark.parametrize(("text", "said"), NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("through", ["network", "client"])
def test_a_network_that_cannot_be_is_refused(here, text, said, through):
    (here / "network.toml").write_text(text)
    load = {"network": load_network, "client": load_client}[through]
    with pytest.raises(ConfigError) as caught:
        load(here / f"{through}.toml")
    assert said in str(caught.value)
    assert str(here / "network.toml") in str(caught.value)


FILES = {
    "not TOML": (b"name = ", "is not TOML"),
    "not text": (b"\xff\xfe\0", "UTF-8"),
    "twice": (b"name = 1\nname = 2\n", "is not TOML"),
    "huge": (b"#" * (1 << 20) + b"\n", "no settings file"),
    "deep": (b"a = " + b"[" * 100_000, "party.toml"),
}


@pytest.mark.parametrize(("data", "said"), FILES.values(), ids=FILES)
def test_a_file_of_something_else_is_named(here, data, said):
    (here / "party.toml").write_bytes(data)
    with pytest.raises(ConfigError, match=said):
        load_party(here / "party.toml")


def test_a_missing_file_is_named(here):
    with pytest.raises(ConfigError, match=r"there is no file .*nowhere\.toml"):
        load_party(here / "nowhere.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_party(here)
    (here / "network.toml").unlink()
    with pytest.raises(ConfigError, match=r"there is no file .*network\.toml"):
        load_party(here / "party.toml")
