"""An export from end to end: files, their latency, every number in ``export.json``."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from latency.console import Terminal
from nas.exporting.latency_proof import prove_latency
from nas.exporting.making import Made, Maker
from nas.exporting.metadata import describe_network, graph_digest, with_metadata
from nas.exporting.printing import record_lines
from nas.exporting.settings import Export
from nas.run_folder import Folder, locked
from search_spaces.precision import Precision

RECORD_FILE = "export.json"


def run_export(export: Export, terminal: Terminal) -> dict[str, Any]:
    """Write the files that the settings ask for; returns what is known of them, by name.

    A file that is there, of the same weights and settings, is not made again.

    Raises:
        any of ``nas.pipeline.FAILURES``: with a message for the person who gave the command.
    """
    for note in export.data.notes:
        terminal.line(f"data: {note}")
    with locked(export.run.config_folder):
        records = _Files(export, Folder(export.folder), terminal).write()
    terminal.line()
    for name, record in records.items():
        for line in record_lines(name, record, export.settings.max_accuracy_loss):
            terminal.line(line)
    terminal.line(f"{export.folder}/: {', '.join(records)}, {RECORD_FILE}")
    return records


@dataclass(frozen=True, slots=True)
class _Files:
    """The files of one command."""

    export: Export
    folder: Folder
    terminal: Terminal

    def write(self) -> dict[str, Any]:
        known = self._known()
        names = {precision: self._name(precision) for precision in self.export.settings.precisions}
        made_of = {precision: self._made_of(precision) for precision in names}
        missing = [p for p, name in names.items() if not self._is_there(known, name, made_of[p])]
        if missing:
            maker = Maker(export=self.export, terminal=self.terminal, known=known)
            for precision in missing:
                made = maker.make(precision)
                record = {"made_of": made_of[precision], "precision": str(precision), **made.found}
                known[names[precision]] = self._write(names[precision], precision, made, record)
                self.folder.write_json(RECORD_FILE, known)
        if self.export.measures:
            self._measure(names, known)
            self.folder.write_json(RECORD_FILE, known)
        return {name: known[name] for name in names.values()}

    def _known(self) -> dict[str, Any]:
        """Records of files that are there; those of other weights go, with their files."""
        known: dict[str, Any] = self.folder.read_json(RECORD_FILE) or {}
        weights = self._weights_digest()
        old = [name for name, each in known.items() if each["made_of"]["weights"] != weights]
        self.folder.remove(*old)
        return {name: each for name, each in known.items() if name not in old}

    def _is_there(self, known: Mapping[str, Any], name: str, made_of: Mapping[str, Any]) -> bool:
        path, record = self.folder.path / name, known.get(name)
        if record is None or record["made_of"] != made_of or not path.exists():
            return False
        try:
            return bool(graph_digest(path.read_bytes()) == record["graph_sha256"])
        except ValueError:
            return False  # it is damaged

    def _name(self, precision: Precision) -> str:
        within = "-with-preprocessing" if self.export.settings.with_preprocessing else ""
        return f"model-{precision}{within}.onnx"

    def _made_of(self, precision: Precision) -> dict[str, Any]:
        """What a file follows from, as it stands in JSON."""
        settings = self.export.settings
        if precision is Precision.FP32:  # calibration is none of its matter
            plain = type(settings)(with_preprocessing=settings.with_preprocessing)
            settings = replace(plain, precisions=(precision,))
        else:
            settings = replace(settings, precisions=(precision,))
        decides = {**settings.decides, "batch": self.export.measure.batch}
        made_of = {"weights": self._weights_digest(), "settings": decides}
        found: dict[str, Any] = json.loads(json.dumps(made_of, sort_keys=True))
        return found

    def _weights_digest(self) -> str:
        return hashlib.sha256(self.export.run.weights).hexdigest()

    def _write(
        self, name: str, precision: Precision, made: Made, record: dict[str, Any]
    ) -> dict[str, Any]:
        content = made.graph.SerializeToString()
        record |= {"graph_sha256": graph_digest(content), "latency": None}
        content = self._described(content, precision, record)
        self.folder.write(name, content)
        return record | {"bytes": len(content)}

    def _described(self, content: bytes, precision: Precision, record: Mapping[str, Any]) -> bytes:
        """The model with all that is known of it inside."""
        run, data = self.export.run, self.export.data
        described = describe_network(run.architecture, data, precision)
        described["preprocessing"]["in_graph"] = self.export.settings.with_preprocessing
        described["command"] = self.export.command
        for name in ("accuracy", "quantisation", "latency"):
            if record.get(name) is not None:
                described[name] = record[name]
        return with_metadata(content, described)

    def _measure(self, names: Mapping[Precision, str], known: dict[str, Any]) -> None:
        files = {
            precision: (name, (self.folder.path / name).read_bytes())
            for precision, name in names.items()
        }
        with self.terminal.progress("measuring the files"):
            proofs = prove_latency(self.export, files)
        for precision, (name, content) in files.items():
            record = known[name]
            if record["latency"] != proofs[precision]:
                record["latency"] = proofs[precision]
                content = self._described(content, precision, record)
                self.folder.write(name, content)
                record["bytes"] = len(content)
