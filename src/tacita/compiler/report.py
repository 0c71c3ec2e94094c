"""A report on one run of a program: what it costs by layer, and how long it is going to take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any

from tacita.compiler.costs import LayerCost
from tacita.compiler.prediction import Prediction, Time
from tacita.program.cost import Cost
from tacita.program.program import Program
from tacita.program.schedule import cost_of

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """layers: in the order in which they take part. cost: of the run, the sum of the layers'.
    prediction: None where no time was asked for. inputs, outputs: their names and shapes.
    """

    layers: tuple[LayerCost, ...]
    cost: Cost
    parties: int
    inputs: tuple[tuple[str, Shape], ...]
    outputs: tuple[tuple[str, Shape], ...]
    prediction: Prediction | None = None

    @classmethod
    def of(
        cls,
        program: Program,
        layers: Sequence[LayerCost],
        parties: int,
        prediction: Prediction | None = None,
    ) -> Report:
        wires = program.wires
        return cls(
            layers=tuple(layers),
            cost=cost_of(program.instructions),
            parties=parties,
            inputs=tuple((port.name, wires[port.wire].shape) for port in program.inputs),
            outputs=tuple((port.name, wires[port.wire].shape) for port in program.outputs),
            prediction=prediction,
        )

    def __repr__(self) -> str:
        return f"Report({len(self.layers)} layers, {self.parties} parties, {self.cost})"

    def __str__(self) -> str:
        """The layers as a table, and what the time rests on; see table.py."""
        from tacita.compiler.table import text  # which imports this module

        return text(self)

    @property
    def ahead(self) -> bool:
        """Whether a run can be dealt for ahead of it: not where the dealer is consulted in it."""
        return not self.cost.consultations

    @property
    def online_bytes(self) -> int:
        """What one party sends in a run, to all others together."""
        return self.cost.online_bytes(self.parties)

    @property
    def multiply_adds(self) -> int:
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def comparisons(self) -> int:
        return sum(layer.comparisons for layer in self.layers)

    @property
    def times(self) -> tuple[Time, ...]:
        """The time of each layer; of zeros where none was asked for."""
        return self.prediction.layers if self.prediction else (Time(),) * len(self.layers)

    def dominating(self) -> list[str]:
        """For rounds, bytes and time, the layer that has most of it, and the share it has."""
        found = []
        quantities: list[tuple[str, list[float]]] = [
            ("rounds", [layer.rounds for layer in self.layers]),
            ("online bytes", [layer.opened_bytes for layer in self.layers]),
            ("dealt bytes", [layer.handed_bytes for layer in self.layers]),
        ]
        if self.prediction:
            quantities.append(("live time", [time.live for time in self.times]))
        for what, values in quantities:
            total = sum(values)
            if total:
                most = max(range(len(values)), key=values.__getitem__)
                share = round(100 * values[most] / total)
                found.append(f"{share} % of the {what}: {self.layers[most].place}")
        return found

    def assumptions(self) -> str:
        """What the predicted time rests on, in one sentence; empty without a prediction."""
        if self.prediction is None:
            return ""
        machine, link = self.prediction.machine, self.prediction.link
        if link.local:
            cores = f"{machine.cores} core{'s' * (machine.cores > 1)}"
            return (
                f"all roles in one process on {cores} of {machine.name}, where each instruction "
                "was timed by itself"
            )
        return (
            f"{link}; a machine for each role, as fast as one core of {machine.name}; open "
            "connections; half a round trip a round, since all parties send at once"
            + ("" if self.ahead else ", and a whole one where the dealer answers")
        )

    def as_dict(self) -> dict[str, Any]:
        """The report in numbers: seconds, bytes and counts, ready for JSON."""
        layers = [
            {
                "place": layer.place,
                **self._costs(layer.cost),
                "multiply_adds": layer.multiply_adds,
                "comparisons": layer.comparisons,
                "instructions": dict(layer.parts),
                **self._seconds(time),
            }
            for layer, time in zip(self.layers, self.times, strict=True)
        ]
        kinds = sum((layer.parts for layer in self.layers), start=Counter())
        return {
            "parties": self.parties,
            "inputs": {name: list(shape) for name, shape in self.inputs},
            "outputs": {name: list(shape) for name, shape in self.outputs},
            "layers": layers,
            "total": {
                **self._costs(self.cost),
                "multiply_adds": self.multiply_adds,
                "comparisons": self.comparisons,
                "instructions": dict(kinds),
                **(self._seconds(self.prediction.total) if self.prediction else {}),
            },
            "prediction": self._prediction_as_dict(),
        }

    def _costs(self, cost: Cost) -> dict[str, int]:
        return {**asdict(cost), "online_bytes": cost.online_bytes(self.parties)}

    def _seconds(self, time: Time) -> dict[str, dict[str, float | None]]:
        """Nothing without a prediction; where nothing can be dealt ahead, the live time alone."""
        if self.prediction is None:
            return {}
        return {"seconds": time_as_dict(time, self.ahead)}

    def _prediction_as_dict(self) -> dict[str, Any] | None:
        if self.prediction is None:
            return None
        link, machine = self.prediction.link, self.prediction.machine
        return {
            "network": link.name,
            "rtt_seconds": link.rtt,
            "bandwidth_bytes_per_second": None if link.local else link.bandwidth,
            "fixed_seconds": time_as_dict(self.prediction.fixed, self.ahead),
            "processor": machine.name,
            "cores": machine.cores,
            "rests_on": self.assumptions(),
        }

    def draw(self, path: str | PathLike[str], title: str = "") -> None:
        """Draws the layers as bars, into a PNG, SVG or PDF file by the path's ending.

        title: what the picture says that it is of, such as the network's name.
        Raises UsageError where Matplotlib is missing or the ending is another. See chart.py.
        """
        from tacita.compiler.chart import draw  # which takes a second to import

        draw(self, path, title)


def time_as_dict(time: Time, ahead: bool) -> dict[str, float | None]:
    """Seconds; None for what there is not where nothing can be dealt ahead."""
    return {name: each if ahead or name == "live" else None for name, each in asdict(time).items()}
