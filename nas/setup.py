"""Configuration → the objects and plain values of a search. No DictConfig goes past this."""

import inspect
import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from latency.devices import Device
from latency.plan import MeasureSettings
from nas.configuration import check_whole, plain_values
from nas.data import ImageData
from nas.evaluators import Evaluator, ScoresAtOnce
from nas.executors import Executor
from nas.limits import LIMITED, Limits
from nas.problem import Problem
from nas.resolvers import register_resolvers
from nas.reward import Reward
from nas.second_stage import SecondStage
from nas.settings import SearchSettings
from nas.storage import check_url, shown
from nas.units import format_latency, parse_latency_ms
from search_spaces.spaces import SearchSpace

register_resolvers()


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatorRecipe:
    """Makes an evaluator where it works: in this process, in another, on another machine.

    Attributes:
        config: of space, data and evaluator, as JSON, so that a recipe can be pickled and hashed.
        folder: of the run.
    """

    config: str
    folder: Path

    def __call__(self) -> Evaluator:
        config = json.loads(self.config)
        nodes = {name: OmegaConf.create(config[name]) for name in ("data", "space", "evaluator")}
        data: ImageData = build("data", nodes["data"])
        return build_evaluator(
            nodes["evaluator"],
            data,
            build_space(nodes["space"], data, config["resolutions"]),
            self.folder,
            config["seed"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerRecipe:
    """Makes samplers, when the problem is known.

    Attributes:
        node: what ``conf/sampler`` says, without ``objectives``.
        pareto: whether the sampler wants accuracy and latency as two objectives.
    """

    node: DictConfig
    pareto: bool

    @staticmethod
    def of(node: DictConfig) -> "SamplerRecipe":
        """Read the configuration; what can be wrong with it shows now, as far as possible.

        Raises:
            ValueError: there is no such sampler, or it has no such setting.
        """
        settings: dict[str, Any] = OmegaConf.to_container(node, resolve=True)  # type: ignore[assignment]
        objectives = settings.pop("objectives", "reward")
        if objectives not in ("reward", "pareto"):
            raise ValueError(f"sampler.objectives must be reward or pareto, but got {objectives!r}")
        node = OmegaConf.create(settings)
        check_settings("sampler", node, ("seed", "problem"))
        if "problem" not in _parameters(node):
            build("sampler", node, seed=0)
        return SamplerRecipe(node=node, pareto=objectives == "pareto")

    def make(self, problem: Problem, seed: int) -> optuna.samplers.BaseSampler:
        """A sampler of networks of the problem."""
        sampler: optuna.samplers.BaseSampler = build(
            "sampler", self.node, offered={"seed": seed, "problem": problem}
        )
        return sampler


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """All that a search is made of.

    Attributes:
        evaluator: this process's own; the ones that work are made by ``recipe``.
        config: what the run folder keeps.
    """

    settings: SearchSettings
    space: SearchSpace
    data: ImageData
    evaluator: Evaluator
    recipe: EvaluatorRecipe
    reward: Reward
    limits: Limits
    device: Device
    executor: Executor
    pruner: optuna.pruners.BasePruner
    sampler: SamplerRecipe
    second_stage: SecondStage | None
    folder: Path
    config: dict[str, Any]
    command: str

    def folder_of(self, target_ms: float) -> Path:
        """Where the winner for a target is: each of several has a folder of its own."""
        several = len(self.settings.targets_ms) > 1
        return self.folder / format_latency(target_ms) if several else self.folder

    @property
    def prunes(self) -> bool:
        """Whether the pruner ever ends an evaluation early."""
        can = not self.sampler.pareto and not isinstance(self.evaluator, ScoresAtOnce)
        return can and self._has_pruner

    @property
    def notes(self) -> list[str]:
        """What a person should know before the search begins, a line each."""
        notes = [f"data: {note}" for note in self.data.notes]
        if self._has_pruner and not self.prunes:
            notes.append(
                "the pruner ends nothing early here: that takes a sampler that follows the reward, "
                "and an evaluator that has accuracies on the way"
            )
        return notes

    @property
    def _has_pruner(self) -> bool:
        return not isinstance(self.pruner, optuna.pruners.NopPruner)


def build_search(config: DictConfig, *, command: str) -> Search:
    """Build everything that ``conf/search.yaml`` describes.

    Raises:
        ValueError: a value is out of range or of the wrong type; the message names it.
    """
    plain = plain_values(config)
    check_whole(plain, "search")
    device: Device = build("device", config.device)
    second_stage = SecondStage.of(plain)
    headroom = 1.0 if second_stage is None else second_stage.headroom
    settings = _settings(config, plain, device, headroom)
    folder = Path(str(plain["runs"])) / settings.name
    data: ImageData = build("data", config.data)
    space = build_space(config.space, data, settings.resolutions)
    return Search(
        settings=settings,
        space=space,
        data=data,
        evaluator=build_evaluator(config.evaluator, data, space, folder, settings.seed),
        recipe=_recipe(plain, settings, folder),
        reward=build("reward", config.reward),
        limits=Limits(**{name: plain[name] for name in LIMITED}),
        device=device,
        executor=build("executor", config.executor),
        pruner=build("pruner", config.pruner),
        sampler=SamplerRecipe.of(config.sampler),
        second_stage=second_stage,
        folder=folder,
        # What is written to files, or shown, has no password in it.
        config=plain
        | {"storage": settings.storage and shown(settings.storage), "headroom": headroom},
        # As it was typed, the storage need not be written as it was read.
        command=shlex.join(map(shown, shlex.split(command))),
    )


def build_space(node: DictConfig, data: ImageData, resolutions: Sequence[int]) -> SearchSpace:
    """The space of networks for the data's classes, at one or several image sizes."""
    resolution = resolutions[0] if len(resolutions) == 1 else tuple(resolutions)
    space: SearchSpace = build("space", node, resolution=resolution, num_classes=data.num_classes)
    return space


def build_evaluator(
    node: DictConfig, data: ImageData, space: SearchSpace, folder: Path, seed: int
) -> Evaluator:
    """An evaluator; of data (without its test part), space, folder and seed it gets what it asks.

    ``folder`` is that of the run, and ``full_resolution`` the largest image size of the space.
    """
    evaluator: Evaluator = build(
        "evaluator",
        node,
        offered={
            "data": data.for_search(),
            "seed": seed,
            "space": space,
            "folder": folder,
            "full_resolution": space.resolution,
        },
    )
    return evaluator


def _recipe(plain: dict[str, Any], settings: SearchSettings, folder: Path) -> EvaluatorRecipe:
    config = {name: plain[name] for name in ("data", "space", "evaluator", "seed")}
    config["resolutions"] = settings.resolutions
    return EvaluatorRecipe(config=json.dumps(config), folder=folder.absolute())


def _settings(
    config: DictConfig, plain: dict[str, Any], device: Device, headroom: float
) -> SearchSettings:
    targets = _several(plain["target_latency"])
    if plain["storage"] is not None:
        check_url(str(plain["storage"]))
    names = {field: str(plain[field]) for field in ("name", "study")}
    for field, name in names.items():
        check_run_name(field, name)
    measure: MeasureSettings = build("measure", config.measure)
    return SearchSettings(
        **names,
        storage=plain["storage"],
        targets_ms=tuple(sorted(headroom * parse_latency_ms(target) for target in targets)),
        resolutions=tuple(_several(plain["resolution"])),
        proxy_resolution=plain["proxy_resolution"],
        trials=plain["trials"],
        finalists=plain["finalists"],
        seed=plain["seed"],
        handover=plain["handover"],
        driver_patience_s=plain["driver_patience_s"],
        table=table_path(plain["table"], device, measure),
        measure=measure,
        final=build("final", config.final),
    )


def check_run_name(field: str, name: str) -> None:
    """Refuse what cannot name a folder.

    Raises:
        ValueError: it cannot.
    """
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise ValueError(
            f"{field} must be letters, digits, '.', '_', '+' and '-' (it names a folder), but "
            f"got {name!r}"
        )


def table_path(given: object, device: Device, measure: MeasureSettings) -> Path:
    """A table holds for one device, precision, number of threads and batch: one file each."""
    kind = f"{device.name}-{measure.precision}-t{measure.threads}-b{measure.batch}"
    return Path(str(given or f"tables/{kind}.jsonl"))


def _several(value: Any) -> list[Any]:
    """A list as it is, and a single value as a list; ``8ms,12ms`` is a list, too."""
    if isinstance(value, list):
        return value
    return value.split(",") if isinstance(value, str) else [value]


def build(
    field: str, node: DictConfig, *, offered: dict[str, Any] | None = None, **given: Any
) -> Any:
    """Instantiate what ``node._target_`` names; its ``ValueError`` comes out as it is.

    ``given`` is handed over, and of ``offered`` what its signature has a parameter for.
    """
    try:
        accepted = _parameters(node)
        given |= {name: value for name, value in (offered or {}).items() if name in accepted}
        # Given to Hydra, dataclass arguments would be turned into configurations.
        return instantiate(node, _partial_=True)(**given)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, ValueError):
            raise ValueError(f"{field}: {cause}") from cause
        raise ValueError(f"{field} cannot be built: {' '.join(str(error).split())}") from error
    except (ValueError, TypeError, ImportError, AttributeError) as error:
        raise ValueError(f"{field}: {' '.join(str(error).split())}") from error


def check_settings(field: str, node: DictConfig, offered: Sequence[str]) -> None:
    """Refuse a setting that ``node._target_`` does not have, before it is built.

    Raises:
        ValueError: there is such a setting, or no such target.
    """
    try:
        known = _parameters(node)
    except (ValueError, ImportError, AttributeError) as error:
        raise ValueError(f"{field} cannot be built: {' '.join(str(error).split())}") from error
    for name in node:
        if name not in known and not str(name).startswith("_"):
            settings = sorted(known - set(offered))
            raise ValueError(f"{field} has no setting {name!r}; it has {settings}")


def _parameters(node: DictConfig) -> set[str]:
    if (target := node.get("_target_")) is None:
        raise ValueError("_target_ is missing; it names what is built")
    return set(inspect.signature(get_object(str(target))).parameters)
