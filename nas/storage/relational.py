"""Trials in Optuna's tables, made and read with few statements.

Optuna's own code makes a trial of 41 parameters with 125 statements, most of which look up the
trial itself, and reads one with six. Here it takes five, and six for any number of trials.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
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
    Engine,
    Row,
    Table,
    bindparam,
    func,
    insert,
    or_,
    select,
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
_DETAILS = (_PARAMS, _VALUES, _USER, _SYSTEM, _INTERMEDIATE)
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
_OF_TRIALS = {
    table: select(table).where(table.c.trial_id.in_(_ONE_OF)).order_by(*table.primary_key.columns)
    for table in _DETAILS
}

_Details: TypeAlias = defaultdict[int, list[Row[Any]]]


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
            details = [_details(connection, table, ids) for table in _DETAILS] if ids else []
        return [self._trial(head, *(rows[head.trial_id] for rows in details)) for head in heads]

    def _trial(
        self,
        head: Row[Any],
        params: Sequence[Row[Any]],
        values: Sequence[Row[Any]],
        user: Sequence[Row[Any]],
        system: Sequence[Row[Any]],
        intermediate: Sequence[Row[Any]],
    ) -> FrozenTrial:
        distributions = {
            row.param_name: self._distribution(row.distribution_json) for row in params
        }
        as_value = models.TrialValueModel.stored_repr_to_value
        as_step = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value
        by_objective = sorted(values, key=lambda row: int(row.objective))
        return FrozenTrial(
            number=head.number,
            trial_id=head.trial_id,
            state=head.state,
            value=None,
            values=[as_value(row.value, row.value_type) for row in by_objective] or None,
            datetime_start=_to_local(head.datetime_start),
            datetime_complete=_to_local(head.datetime_complete),
            params={
                row.param_name: distributions[row.param_name].to_external_repr(row.param_value)
                for row in params
            },
            distributions=distributions,
            user_attrs={row.key: json.loads(row.value_json) for row in user},
            system_attrs={row.key: json.loads(row.value_json) for row in system},
            intermediate_values={
                row.step: as_step(row.intermediate_value, row.intermediate_value_type)
                for row in intermediate
            },
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


def _details(connection: Connection, table: Table, ids: list[int]) -> _Details:
    """The rows of another table by trial, in the order in which they were written."""
    found: _Details = defaultdict(list)
    for begin in range(0, len(ids), _IDS_A_STATEMENT):
        part = ids[begin : begin + _IDS_A_STATEMENT]
        for row in connection.execute(_OF_TRIALS[table], {"ids": part}):
            found[row.trial_id].append(row)
    return found


def _to_utc(time: datetime | None) -> datetime | None:
    """Optuna's tables hold UTC, its trials local time, both without saying so."""
    return None if time is None else time.astimezone(UTC).replace(tzinfo=None)


def _to_local(time: datetime | None) -> datetime | None:
    return None if time is None else time.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
