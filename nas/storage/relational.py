"""Trials in Optuna's tables, made and read with few statements.

Optuna's own code makes a trial of 41 parameters with 131 statements, most of which look up the
trial itself, and reads one with six. Here the one takes five, and the other two for any number.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
    json_to_distribution,
)
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import (
    BindParameter,
    Connection,
    Double,
    Engine,
    Integer,
    Row,
    Select,
    String,
    Table,
    bindparam,
    cast,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    union_all,
)

SCHEMA = "v3.2.0.a"
"""The revision of Optuna's tables that this module knows."""

_STUDIES: Table = models.StudyModel.__table__
_TRIALS: Table = models.TrialModel.__table__
_PARAMS: Table = models.TrialParamModel.__table__
_VALUES: Table = models.TrialValueModel.__table__
_USER: Table = models.TrialUserAttributeModel.__table__
_SYSTEM: Table = models.TrialSystemAttributeModel.__table__
_INTERMEDIATE: Table = models.TrialIntermediateValueModel.__table__
_IDS_A_STATEMENT = 500

# Statements are built once: to build one takes as long as to have it answered.
_LOCK = (
    select(_STUDIES.c.study_id).where(_STUDIES.c.study_id == bindparam("study")).with_for_update()
)
_NUMBER = select(func.count()).where(_TRIALS.c.study_id == bindparam("study")).scalar_subquery()
_MAKE = insert(_TRIALS).values(number=_NUMBER)
_CHOICES = (
    select(_PARAMS.c.param_name, func.min(_PARAMS.c.distribution_json))
    .join(_TRIALS)
    .where(_TRIALS.c.study_id == bindparam("study"))
    .group_by(_PARAMS.c.param_name)
)
_ONE_OF: BindParameter[Any] = bindparam("ids", expanding=True)
_HEADS = (
    select(_TRIALS)
    .where(_TRIALS.c.study_id == bindparam("study"))
    .where(or_(_TRIALS.c.trial_id > bindparam("after"), _TRIALS.c.trial_id.in_(_ONE_OF)))
    .order_by(_TRIALS.c.trial_id)
)


def _details_of(
    table: Table, place: str, *, text: str, key: str | None = None, number: str | None = None
) -> Select[Any]:
    """A table's rows, under names that all tables share."""
    absent = null()
    return select(
        literal(table.name).label("table"),
        table.c.trial_id,
        cast(table.c[place], Integer).label("place"),
        cast(absent if key is None else table.c[key], String).label("key"),
        cast(absent if number is None else table.c[number], Double).label("number"),
        cast(table.c[text], String).label("text"),
    ).where(table.c.trial_id.in_(_ONE_OF))


_DETAILS = union_all(
    _details_of(
        _PARAMS, "param_id", key="param_name", number="param_value", text="distribution_json"
    ),
    _details_of(_VALUES, "objective", number="value", text="value_type"),
    _details_of(_USER, "trial_user_attribute_id", key="key", text="value_json"),
    _details_of(_SYSTEM, "trial_system_attribute_id", key="key", text="value_json"),
    _details_of(_INTERMEDIATE, "step", number="intermediate_value", text="intermediate_value_type"),
).order_by("place")

_Details: TypeAlias = defaultdict[tuple[int, str], list[Row[Any]]]


class RelationalRows:
    """``TrialRows`` of a database; ``reads`` is its engine for single reading statements."""

    sees_states = True

    def __init__(self, storage: RDBStorage, reads: Engine) -> None:
        self._storage = storage
        self._reads = reads
        self._parsed: dict[str, BaseDistribution] = {}
        self._choices: dict[tuple[int, str], BaseDistribution] = {}

    def create(self, study_id: int, template: FrozenTrial) -> int:
        if template.values is not None or template.intermediate_values:
            return self._storage.create_new_trial(study_id, template)
        with self._storage.engine.begin() as connection:
            # Like Optuna's own code, it locks the study: numbers are given out one after another.
            if connection.execute(_LOCK, {"study": study_id}).one_or_none() is None:
                raise KeyError(f"there is no study of id {study_id}")
            self._check_choices(connection, study_id, template.distributions)
            head = {
                "study": study_id,
                "study_id": study_id,
                "state": template.state,
                "datetime_start": _to_utc(template.datetime_start),
                "datetime_complete": _to_utc(template.datetime_complete),
            }
            key = connection.execute(_MAKE, head).inserted_primary_key
            assert key is not None
            trial_id = int(key[0])
            for table, rows in _rows_of(template, trial_id):
                if rows:
                    connection.execute(insert(table), rows)
        return trial_id

    def _check_choices(
        self, connection: Connection, study_id: int, given: Mapping[str, BaseDistribution]
    ) -> None:
        if any((study_id, name) not in self._choices for name in given):
            for name, written in connection.execute(_CHOICES, {"study": study_id}):
                self._choices.setdefault((study_id, name), self._distribution(written))
        for name, distribution in given.items():
            known = self._choices.setdefault((study_id, name), distribution)
            check_distribution_compatibility(known, distribution)

    def read(
        self, study_id: int, *, after: int, again: Collection[int], states: Mapping[int, TrialState]
    ) -> list[FrozenTrial]:
        with self._reads.connect() as connection:
            asked = {"study": study_id, "after": after, "ids": [*states]}
            heads = [
                head
                for head in connection.execute(_HEADS, asked)
                if head.trial_id in again or states.get(head.trial_id) != head.state
            ]
            ids = [head.trial_id for head in heads]
            details = _details(connection, ids)
        return [self._trial(head, details) for head in heads]

    def _trial(self, head: Row[Any], details: _Details) -> FrozenTrial:
        params, values, user, system, steps = (
            details[head.trial_id, table.name]
            for table in (_PARAMS, _VALUES, _USER, _SYSTEM, _INTERMEDIATE)
        )
        distributions = {row.key: self._distribution(row.text) for row in params}
        return FrozenTrial(
            number=head.number,
            trial_id=head.trial_id,
            state=head.state,
            value=None,
            values=[_to_value(row) for row in values] or None,
            datetime_start=_to_local(head.datetime_start),
            datetime_complete=_to_local(head.datetime_complete),
            params={row.key: distributions[row.key].to_external_repr(row.number) for row in params},
            distributions=distributions,
            user_attrs={row.key: json.loads(row.text) for row in user},
            system_attrs={row.key: json.loads(row.text) for row in system},
            intermediate_values={row.place: _to_step(row) for row in steps},
        )

    def _distribution(self, written: str) -> BaseDistribution:
        parsed = self._parsed.get(written)
        if parsed is None:
            parsed = self._parsed[written] = json_to_distribution(written)
        return parsed


def _rows_of(template: FrozenTrial, trial_id: int) -> Iterator[tuple[Table, list[dict[str, Any]]]]:
    """What a trial's other tables hold of it."""
    params = [
        {
            "trial_id": trial_id,
            "param_name": name,
            "param_value": distribution.to_internal_repr(template.params[name]),
            "distribution_json": distribution_to_json(distribution),
        }
        for name, distribution in template.distributions.items()
    ]
    yield _PARAMS, params
    for table, attributes in ((_USER, template.user_attrs), (_SYSTEM, template.system_attrs)):
        yield (
            table,
            [
                {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
                for key, value in attributes.items()
            ],
        )


def _details(connection: Connection, ids: list[int]) -> _Details:
    """The rows of all other tables by trial and table, in the order in which they were written."""
    found: _Details = defaultdict(list)
    for begin in range(0, len(ids), _IDS_A_STATEMENT):
        part = ids[begin : begin + _IDS_A_STATEMENT]
        for row in connection.execute(_DETAILS, {"ids": part}):
            found[row.trial_id, row.table].append(row)
    return found


def _to_value(row: Row[Any]) -> float:
    kind = models.TrialValueModel.TrialValueType[row.text]
    return models.TrialValueModel.stored_repr_to_value(row.number, kind)


def _to_step(row: Row[Any]) -> float:
    model = models.TrialIntermediateValueModel
    kind = model.TrialIntermediateValueType[row.text]
    return model.stored_repr_to_intermediate_value(row.number, kind)


def _to_utc(time: datetime | None) -> datetime | None:
    """Optuna's tables hold UTC, its trials local time, both without saying so."""
    return None if time is None else time.astimezone(UTC).replace(tzinfo=None)


def _to_local(time: datetime | None) -> datetime | None:
    return None if time is None else time.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
