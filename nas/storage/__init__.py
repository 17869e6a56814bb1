"""Where a study's trials are kept: a file, PostgreSQL, or either behind Optuna's gRPC proxy."""

from nas.storage.faults import StorageError
from nas.storage.opening import open_storage
from nas.storage.retrying import RetryingStorage
from nas.storage.urls import parse_url as check_url
from nas.storage.urls import shown

__all__ = ["RetryingStorage", "StorageError", "check_url", "open_storage", "shown"]
