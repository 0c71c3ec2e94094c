"""The classification notebook runs from its first cell to its last, and its answers are right."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tacita.client.local_network import LocalNetwork

NOTEBOOK = Path(__file__).parents[2] / "examples" / "secure_classification.ipynb"
EPOCHS, BATCHES, BATCH_SIZE = 1, 4, 50

# Runs before the model is shared: afterwards the weights are shares only.
KEEP = """
import copy
plain = copy.deepcopy(model).double()
"""

# The same images through the same network with weights rounded as `fix_precision` rounds them.
# What is left is truncation: of each hidden value and of each score, less than one unit in the
# third decimal. The hidden ones reach a score through its weights. Where the two best scores are
# closer than that, either class is a right answer.
CHECK = """
import json
unit = 1e-3
for parameter in plain.parameters():
    parameter.data = parameter.data.div(unit).round().mul(unit)
reach = unit * (plain.fc2.weight.abs().sum(dim=1) + 1)
right = doubtful = 0
for data, target in private_test_loader[:n_test_batches]:
    scores = plain(data.get().float_precision().double())
    best = scores.topk(2, dim=1)
    right += int((best.indices[:, 0] == target.get().float_precision().long()).sum())
    doubtful += int((best.values[:, 0] - best.values[:, 1] <= reach[best.indices].sum(dim=1)).sum())
print(json.dumps({"right": right, "doubtful": doubtful}))
"""


def printed(cell):
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def test_the_committed_notebook_has_no_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


WORKERS = """
import tacita as sy
hook = sy.TorchHook(torch)
client = sy.VirtualWorker(hook, id="client")
bob = sy.RemoteWorker(hook, id="bob", config="{config}")
alice = sy.RemoteWorker(hook, id="alice", config="{config}")
crypto_provider = sy.RemoteWorker(hook, id="crypto-provider", config="{config}")
"""


@pytest.fixture
def shortened(monkeypatch):
    """The notebook with less to train and to classify, which keeps what `CHECK` needs."""
    # On a busy machine torch's threads wait for each other for most of the time.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = {cell.id: cell for cell in notebook.cells}
    assert cells["first"].source == "epochs = 10\nn_test_batches = 200"
    cells["first"].source = f"epochs = {EPOCHS}\nn_test_batches = {BATCHES}"
    notebook.cells.insert(notebook.cells.index(cells["share"]), nbformat.v4.new_code_cell(KEEP))
    notebook.cells.append(nbformat.v4.new_code_cell(CHECK))
    return notebook


def run_and_check(notebook, folder):
    NotebookClient(notebook, timeout=100, resources={"metadata": {"path": folder}}).execute()
    cells = {cell.id: cell for cell in notebook.cells}
    assert "Train Epoch: 1 [0/" in printed(cells["fit"])
    accuracies = re.findall(r"Test set: Accuracy: (\d+)/(\d+) \(\d+%\)", printed(cells["prun"]))
    assert [int(total) for _, total in accuracies] == [
        BATCH_SIZE * done for done in range(1, BATCHES + 1)
    ]
    expected = json.loads(printed(notebook.cells[-1]))
    assert abs(int(accuracies[-1][0]) - expected["right"]) <= expected["doubtful"]
    # Both would be met by a network that knows nothing, or by one that is never sure.
    assert expected["right"] > 0.75 * BATCH_SIZE * BATCHES
    assert expected["doubtful"] < 0.1 * BATCH_SIZE * BATCHES


@pytest.mark.slow
@pytest.mark.parametrize("protocol", [None, "tables", "fss", "snn"])
def test_every_cell_runs_and_the_private_count_is_the_plaintext_model_s(
    tmp_path, shortened, protocol
):
    if protocol is not None:
        with_dealer = "crypto_provider=crypto_provider"
        for cell in shortened.cells:
            if f"share(alice, bob, {with_dealer})" in cell.source:
                cell.source = cell.source.replace(
                    f"{with_dealer})", f"{with_dealer}, protocol={protocol!r})"
                )
        assert sum(repr(protocol) in cell.source for cell in shortened.cells) == 2
    run_and_check(shortened, tmp_path)


@pytest.mark.slow
def test_it_runs_on_daemons_with_nothing_changed_but_the_workers(tmp_path, shortened):
    (workers,) = (cell for cell in shortened.cells if "VirtualWorker" in cell.source)
    with LocalNetwork(tmp_path / "network", dealer="crypto-provider") as network:
        workers.source = WORKERS.format(config=network.client_config("client", "hospital"))
        run_and_check(shortened, tmp_path)
