"""Apply a JSON suite to a frame and turn every failed row into a located defect.

Each expectation's `meta` says what a failure means: code, severity (error | warning | note), field,
message and fix; `{column}` in them is the failing row's value. `field` is the key's path from what
the place names: the file's top, the conversation or the training pair. `line` in meta names the
column with the line, where it is another than `line`.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from brightrun.conversations import DefectLog
from brightrun.errors import ConfigurationError
from brightrun.shapes import Place
from expectations.columns import Columns

SUITES = Path(__file__).with_name("suites")
NO_WORDS: Mapping[str, str] = MappingProxyType({})
NAMES = ("turns", "conversations", "file")


def load_suite(name: str, folder: Path = SUITES) -> dict[str, Any]:
    """{name, expectations: [{type, kwargs, meta}]}; ConfigurationError when it is not readable."""
    path = folder / f"{name}.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"cannot read the suite {path.name}: {error}", fault="suite_unusable"
        ) from None


class Runner:
    """One Great Expectations context for all suites; its import takes seconds, so it is lazy."""

    def __init__(self, folder: Path = SUITES) -> None:
        self.folder = folder
        # Before the import: no telemetry of any library.
        os.environ["GX_ANALYTICS_ENABLED"] = "false"
        with warnings.catch_warnings():
            # It still imports a module that Python 3.11 deprecates; nobody here can mend that.
            warnings.filterwarnings("ignore", "module 'sre_", DeprecationWarning)
            import great_expectations as gx

        self.context = gx.get_context(mode="ephemeral")
        self.context.variables.progress_bars = {"globally": False}
        source = self.context.data_sources.add_pandas("training_file")
        self.batches = {
            name: source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("whole")
            for name in NAMES
        }

    def apply(
        self,
        name: str,
        columns: Columns,
        log: DefectLog,
        ids: Sequence[str | None] = (),
        words: Mapping[str, str] = NO_WORDS,
    ) -> None:
        """Log a defect for each row that an expectation refuses.

        ids: conversation ids by 0-based conversation; words: texts that messages and fixes may name
        beside the row's values. ConfigurationError when an expectation
        cannot be evaluated (a column that the frame lacks): a silent pass would be worse.
        """
        from great_expectations import ExpectationSuite

        if not columns.rows:
            return
        suite = ExpectationSuite(**load_suite(name, self.folder))
        batch = self.batches[name].get_batch({"dataframe": columns.frame()})
        told = batch.validate(suite, result_format="BOOLEAN_ONLY").results
        refused = [result.expectation_config for result in told if not result.success]
        if not refused:
            return
        # The rows cost as much as the answers, so only what was refused is asked for them.
        suite = ExpectationSuite(name=name, expectations=refused)
        for result in batch.validate(suite, result_format="COMPLETE").results:
            config = result.expectation_config
            if "unexpected_index_list" not in result.result:
                raise ConfigurationError(
                    f"suite {name}: {config.type} {config.kwargs.get('column')!r} "
                    "could not be evaluated",
                    cause="the frame has no such column, or the expectation's arguments are wrong",
                    fix=f"correct expectations/suites/{name}.json",
                    fault="suite_unusable",
                )
            self._report(
                config.meta, result.result["unexpected_index_list"], columns, log, ids, words
            )

    @staticmethod
    def _report(
        meta: dict[str, Any],
        rows: Sequence[int],
        columns: Columns,
        log: DefectLog,
        ids: Sequence[str | None],
        words: Mapping[str, str],
    ) -> None:
        warning = meta["severity"] == "warning"
        room = log.room(meta["code"], warning=warning)
        for index in rows[:room]:
            row = {name: shown(value) for name, value in columns.row(index).items()}
            conversation = _whole(row.get("conversation"))
            place = Place(
                conversation=conversation,
                conversation_id=ids[conversation - 1] if conversation and ids else None,
                turn_number=_whole(row.get("turn_number")),
                pair=_whole(row.get("pair")),
                line=_whole(row.get(meta.get("line", "line"))),
                file=words.get("file", ""),
            )
            known = {**row, **words}
            what, fix = meta["message"].format(**known), meta["fix"].format(**known)
            field = meta["field"] and meta["field"].format(**known)
            defect = place.defect(meta["code"], what, field=field, fix=fix)
            if meta["severity"] == "note":
                log.notes.append(defect)
            else:
                log.add(defect, warning=warning)
        if meta["severity"] != "note":
            log.count_more(meta["code"], len(rows[room:]), warning=warning)


def shown(value: float) -> int | float | None:
    """A cell as a person reads it: 3, 3.2, or None for NaN."""
    if math.isnan(value):
        return None
    return int(value) if value.is_integer() else round(value, 3)


def _whole(value: int | float | None) -> int | None:
    return None if value is None else int(value)
