"""The loop: propose, sample, train, judge; a stopped campaign is resumed by running it again."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from idnn.checkpoint import BadModelFile, load, read_header, save_network
from idnn.data import Derivatives
from idnn.ensemble import train_committee
from idnn.equilibrium import TieLineEstimate
from idnn.files import exclusive, write_atomically
from idnn.network import IntegrableNetwork
from idnn.runtime import one_torch_thread, versions
from sampling import aim, candidates
from sampling.cluster import dask_executor
from sampling.energetics import prepare_expansion, read_campaign_energies
from sampling.expansion import ClusterExpansion
from sampling.judge import Judgement, judge, solution_tie_line
from sampling.label import LabelTask, label
from sampling.labels import derivatives, is_known, to_json
from sampling.lattice import Supercell
from sampling.settings import CampaignSettings
from sampling.store import Proposal, Store
from sampling.strategies import Learned
from sampling.workers import pool

logger = logging.getLogger(__name__)

Observer = Callable[[str, int, int], None]
"""observe(stage, done, total), called whenever something is done."""

STORE = "campaign.sqlite"
MODEL = "model.safetensors"
POOL = 4096
"""States over which the error of μ is judged."""

COMPUTING = ("scalebridge", "torch", "numpy", "numba")
"""Packages of which another version may change the last bits of a result."""

PACKAGES = (*COMPUTING, "icet", "pymatgen")
"""Packages whose versions are kept."""


class NothingSampled(RuntimeError):
    """There is no point to learn from."""


@dataclass(frozen=True, eq=False)
class Campaign:
    """A campaign whose loop is over.

    Attributes:
        network: the learned free energy, a committee.
        rounds: what was found after each round.
        outcome: why the loop stopped: "tolerance" or "budget".
        directory: where everything is.
    """

    network: IntegrableNetwork
    rounds: tuple[Judgement, ...]
    outcome: str
    directory: Path


def run_campaign(settings: CampaignSettings, observe: Observer | None = None) -> Campaign:
    """Fit the expansion, then sample and train until the tolerances are met or the budget is spent.

    Everything is kept in `settings.directory`. Killed at any moment and run again, the campaign
    ends with the same points, weights and tie-line, bit for bit. A finished one goes on when
    `rounds` is raised or the tolerances are tightened, and ends as if asked for that at once;
    rounds once done are never taken back. Worker processes import the calling script: guard it
    with `if __name__ == "__main__"`.

    Raises:
        ValueError: settings or energies that break a rule, or a directory of another campaign.
        DirectoryInUse: another process runs this campaign.
        CannotWrite: the disk refused a write; nothing stored before is lost.
        NothingSampled: the chemical potential of no point could be estimated.
        WorkerDied: a worker process was killed from outside; nothing stored before is lost.
        ClusterFailed: the cluster cannot be used or was lost; nothing stored before is lost.
    """
    with ExitStack() as stack:
        stack.enter_context(exclusive(settings.directory))
        stack.enter_context(one_torch_thread())
        energies = read_campaign_energies(settings)
        store = Store(settings.directory / STORE, settings.identity(energies.source_hash))
        stack.callback(store.close)
        _begin_session(store, settings.session(energies.source_hash))
        clock = _Clock(store)
        with clock.stage("expansion"):
            expansion = prepare_expansion(settings, energies)
        executor = stack.enter_context(
            pool(settings.workers, preload=__name__)
            if settings.cluster is None
            else dask_executor(
                settings.cluster, settings.workers, preload=__name__, packages=COMPUTING
            )
        )
        return _Loop(settings, store, clock, expansion, executor, observe or _ignore).run()


def is_over(rounds: Sequence[Judgement], learning: Mapping[str, Any]) -> bool:
    """Whether no round is to follow: the tolerances of `learning` are met, or its budget spent."""
    return len(rounds) >= learning["rounds"] or is_known_twice(rounds, learning)


def is_known_twice(rounds: Sequence[Judgement], learning: Mapping[str, Any]) -> bool:
    """Whether the last two rounds met the tolerances of `learning`, and there were enough."""
    return len(rounds) >= max(2, learning["least_rounds"]) and all(
        r.within(composition=learning["tolerance_composition"], mu=learning["tolerance_mu"])
        for r in rounds[-2:]
    )


@dataclass(frozen=True, eq=False)
class _Loop:
    settings: CampaignSettings
    store: Store
    clock: _Clock
    expansion: ClusterExpansion
    executor: Executor
    observe: Observer

    def run(self) -> Campaign:
        learning = self.settings.active_learning.model_dump()
        rounds = [Judgement.from_stored(content) for content in self.store.rounds()]
        learned = self._learned(len(rounds) - 1) if rounds else None
        while learned is None or not is_over(rounds, learning):
            learned, judgement = self._round(len(rounds), learned)
            self.store.add_round(judgement.round, asdict(judgement))
            rounds.append(judgement)
        outcome = "tolerance" if is_known_twice(rounds, learning) else "budget"
        return Campaign(learned.network, tuple(rounds), outcome, self.settings.directory)

    def _round(self, index: int, previous: Learned | None) -> tuple[Learned, Judgement]:
        if not self.store.proposals(index):
            with self.clock.stage("proposing"):
                self.store.add_proposals(self._propose(index, previous))
        with self.clock.stage("sampling"):
            self._label(index)
        with self.clock.stage("training"):
            network = self._model(index)
        with self.clock.stage("equilibrium"):
            data = self._data(index)
            floor = self.settings.network.discrepancy
            judgement, estimate = judge(
                network,
                None if previous is None else previous.network,
                data.with_floor(floor),
                self._data(index, only=True).with_floor(floor),
                round_index=index,
                composition=self.settings.ensemble.composition,
                pool=self._spread(POOL, seed=0),
            )
        return self._known(index, network, estimate), judgement

    def _learned(self, index: int) -> Learned:
        """What a finished round left behind; models that were damaged are made again."""
        with self.clock.stage("training"):
            for earlier in range(index):
                self._network(earlier)
            network = self._model(index)
        estimate = solution_tie_line(network, self.settings.ensemble.composition)
        return self._known(index, network, estimate)

    def _known(
        self, index: int, network: IntegrableNetwork, estimate: TieLineEstimate | None
    ) -> Learned:
        labels = [label for label in self._labels(index) if is_known(label)]
        cost = torch.tensor([label["flips"] for label in labels], dtype=torch.float64)
        composition = self.settings.ensemble.composition
        return Learned(network, self._data(index), cost, estimate, composition)

    def _propose(self, index: int, learned: Learned | None) -> list[Proposal]:
        first = len(self.store.proposals())
        seed = self.settings.seed * 1000 + index
        if learned is None:
            chosen = self._first_batch(seed)
        else:
            chosen = self.settings.strategy(learned, self.settings.active_learning.batch, seed)
        schedule = self.settings.schedule()
        smallest = Supercell(self.settings.system, self.settings.ensemble.cells[0])
        looks = smallest.sites_per_sublattice * schedule.walkers * schedule.samples
        proposals = []
        for reason, wished in chosen.items():
            eta = candidates.with_something_to_see(self.settings.system, wished, looks)
            kappa = self._centre(eta, learned)
            for target, centre in zip(eta.tolist(), kappa.tolist(), strict=True):
                point = first + len(proposals)
                proposals.append(
                    Proposal(point, index, reason, tuple(target), tuple(centre), seed=point)
                )
        return proposals

    def _centre(self, eta: torch.Tensor, learned: Learned | None) -> torch.Tensor:
        """κ of the bias that is to bring ⟨η⟩ to each η."""
        ensemble = self.settings.ensemble
        stiffness = torch.tensor(ensemble.stiffness, dtype=torch.float64)
        if learned is not None:
            return aim.bias_centre(learned.network, eta, stiffness)
        return aim.first_bias_centre(
            self.expansion, self.settings.system, ensemble.temperature, eta, stiffness
        )

    def _first_batch(self, seed: int) -> dict[str, torch.Tensor]:
        count = self.settings.active_learning.first
        lines = candidates.along_prototypes(
            self.settings.system, self.settings.ensemble.composition, count // 2, seed
        )
        return {"spread": self._spread(count - count // 2, seed), "prototypes": lines}

    def _spread(self, count: int, seed: int) -> torch.Tensor:
        return candidates.spread_over(
            self.settings.system, self.settings.ensemble.composition, count, seed
        )

    def _label(self, index: int) -> None:
        done = self.store.labels()
        proposals = self.store.proposals(index)
        missing = [p for p in proposals if p.point not in done]
        size = max(1, 128 // self.settings.monte_carlo.walkers)
        chunks = [missing[i : i + size] for i in range(0, len(missing), size)]
        futures = {self.executor.submit(label, self._task(chunk)): chunk for chunk in chunks}
        count = len(proposals) - len(missing)
        self.observe(f"round {index + 1}: sampling", count, len(proposals))
        for future in as_completed(futures):
            points = [p.point for p in futures[future]]
            contents = map(to_json, future.result())
            self.store.add_labels(dict(zip(points, contents, strict=True)))
            self.clock.record()
            count += len(points)
            self.observe(f"round {index + 1}: sampling", count, len(proposals))

    def _task(self, proposals: list[Proposal]) -> LabelTask:
        ensemble = self.settings.ensemble
        centre = np.array([p.kappa for p in proposals])
        return LabelTask(
            expansion=self.expansion,
            system=ensemble.system,
            cells=ensemble.cells,
            temperature=ensemble.temperature,
            centre=centre,
            stiffness=np.broadcast_to(np.array(ensemble.stiffness), centre.shape).copy(),
            point_seeds=tuple(p.seed for p in proposals),
            seed=self.settings.seed,
            schedule=self.settings.schedule(),
        )

    def _data(self, index: int, *, only: bool = False) -> Derivatives:
        """Labels up to a round, or of that round only, as training data."""
        return derivatives(self._labels(index, only=only), self.settings.system)

    def _labels(self, index: int, *, only: bool = False) -> list[Mapping[str, Any]]:
        rounds = {p.point: p.round for p in self.store.proposals()}
        return [
            content
            for point, content in self.store.labels().items()
            if rounds[point] == index or (not only and rounds[point] < index)
        ]

    def _model(self, index: int) -> IntegrableNetwork:
        """The committee of a round, now also the campaign's."""
        network = self._network(index)
        content = self._model_path(index).read_bytes()
        write_atomically(self.settings.directory / MODEL, content)
        return network

    def _network(self, index: int) -> IntegrableNetwork:
        """The committee of a round: from its file if whole, else trained."""
        path = self._model_path(index)
        data = self._data(index)
        if len(data) == 0:
            raise NothingSampled(
                f"`monte_carlo`: μ could be estimated at none of the points of {index + 1} "
                "rounds: at each, no walker ever changed some sublattice. Raise `sweeps` or "
                "`ensemble.cells`, in another `directory`."
            )
        settings = self.settings.committee(index)
        data_hash = _hash(data, asdict(settings))
        if path.exists():
            with suppress(BadModelFile):
                if read_header(path)["data_hash"] == data_hash:
                    return load(path)
        members = settings.members

        def trained(done: int) -> None:
            self.clock.record()
            self.observe(f"round {index + 1}: training", done, members)

        self.observe(f"round {index + 1}: training", 0, members)
        temperature = self.settings.ensemble.temperature
        start = IntegrableNetwork(
            self.settings.system, temperature, settings.network, settings.seeds
        )
        network = train_committee(
            start, data, settings, executor=self.executor, observe=trained
        ).network
        path.parent.mkdir(exist_ok=True)
        save_network(network, path, data_hash=data_hash)
        return load(path)

    def _model_path(self, index: int) -> Path:
        return self.settings.directory / "models" / f"round-{index}.safetensors"


def _begin_session(store: Store, settings: Mapping[str, Any]) -> None:
    """Store what is computed with from now on; warn if that can change the result."""
    now = versions(PACKAGES)
    before = store.sessions()[-1].versions if store.sessions() else now
    changed = [
        f"{name} was {before[name]}, is {now[name]}"
        for name in COMPUTING
        if before[name] != now[name]
    ]
    if changed:
        logger.warning(
            "This campaign last ran with other versions (%s): what is computed from here on is "
            "not bit for bit what one uninterrupted run would give.",
            "; ".join(changed),
        )
    store.add_session(settings, now)


class _Clock:
    """Wall time per stage, stored in instalments: a killed session loses only the last."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What is done inside belongs to the stage."""
        self._name, self._since = name, time.monotonic()
        try:
            yield
        finally:
            self.record()

    def record(self) -> None:
        """Store the time since the last instalment."""
        now = time.monotonic()
        self._store.add_seconds(self._name, now - self._since)
        self._since = now


def _hash(data: Derivatives, settings: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for tensor in (data.eta, data.mu, data.sigma):
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _ignore(stage: str, done: int, total: int) -> None:
    """The silent observer."""
    del stage, done, total
