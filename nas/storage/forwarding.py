"""A storage around another one, written by what becomes of a call."""

from abc import abstractmethod
from collections.abc import Callable, Container, Sequence
from typing import Any, TypeVar, final

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

R = TypeVar("R")


class ForwardingStorage(BaseStorage):
    """Every method of a storage ends in ``_call``, which is all that a subclass has to define."""

    @abstractmethod
    def _call(self, method: Callable[..., R], *arguments: Any) -> R:
        """Answer a call of ``method``, one of ``BaseStorage``'s."""

    @final
    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        return self._call(BaseStorage.create_new_study, directions, study_name)

    @final
    def delete_study(self, study_id: int) -> None:
        self._call(BaseStorage.delete_study, study_id)

    @final
    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._call(BaseStorage.set_study_user_attr, study_id, key, value)

    @final
    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._call(BaseStorage.set_study_system_attr, study_id, key, value)

    @final
    def get_study_id_from_name(self, study_name: str) -> int:
        return self._call(BaseStorage.get_study_id_from_name, study_name)

    @final
    def get_study_name_from_id(self, study_id: int) -> str:
        return self._call(BaseStorage.get_study_name_from_id, study_id)

    @final
    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self._call(BaseStorage.get_study_directions, study_id)

    @final
    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return self._call(BaseStorage.get_study_user_attrs, study_id)

    @final
    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._call(BaseStorage.get_study_system_attrs, study_id)

    @final
    def get_all_studies(self) -> list[FrozenStudy]:
        return self._call(BaseStorage.get_all_studies)

    @final
    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        return self._call(BaseStorage.create_new_trial, study_id, template_trial)

    @final
    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        self._call(
            BaseStorage.set_trial_param, trial_id, param_name, param_value_internal, distribution
        )

    @final
    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        return self._call(BaseStorage.set_trial_state_values, trial_id, state, values)

    @final
    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        self._call(BaseStorage.set_trial_intermediate_value, trial_id, step, intermediate_value)

    @final
    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._call(BaseStorage.set_trial_user_attr, trial_id, key, value)

    @final
    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._call(BaseStorage.set_trial_system_attr, trial_id, key, value)

    @final
    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self._call(BaseStorage.get_trial, trial_id)

    @final
    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        return self._call(BaseStorage.get_all_trials, study_id, deepcopy, states)


def forward(storage: BaseStorage, method: Callable[..., R], *arguments: Any) -> R:
    """Call ``method`` of ``storage``, as its class defines it."""
    answer: R = getattr(storage, method.__name__)(*arguments)
    return answer
