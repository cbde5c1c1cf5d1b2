"""A SavedModel in a session of its own.

A session answers a small call in about half of the time that the eager signature takes, lets
other Python threads run meanwhile, and gives back all that it holds, batching threads
included, when its last reference goes.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the ops that tokenizers in a graph need
from tensorflow.core.protobuf import config_pb2

# The public function around it logs at every start that it is old.
from tensorflow.python.saved_model.loader_impl import SavedModelLoader

from serving import errors
from serving.server.engine import EngineOptions

Step = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
"""Takes an array per tensor that is fed and gives one per tensor that is fetched.

Raises `tf.errors.OpError` where the graph fails.
"""


class LoadedGraph:
    """The graph of a SavedModel with its variables and tables. Safe to use from many threads.

    Args:
        folder: The version folder, with `saved_model.pb` in it.
        options: Which graph of the SavedModel, and its threads.

    Attributes:
        signature_defs: SignatureDef messages by name, as the file has them.
        graph: The `tf.Graph`.

    Raises:
        NotFound: There is no SavedModel in the folder, or none with these tags.
        DataLoss: The file is not a SavedModel.
        tf.errors.OpError: Its operations, variables or tables cannot be had.
    """

    def __init__(self, folder: Path, options: EngineOptions) -> None:
        loader = _loader(folder)
        meta_graph = _meta_graph(loader, options.tags)
        # Copies: a part of a message would keep the whole graph in memory.
        self.signature_defs: dict[str, Any] = {
            name: copy.deepcopy(each) for name, each in meta_graph.signature_def.items()
        }
        self._lock = threading.RLock()
        self._steps: dict[tuple[tuple[str, ...], tuple[str, ...]], Step] = {}
        config = config_pb2.ConfigProto(
            intra_op_parallelism_threads=options.intra_op_threads,
            inter_op_parallelism_threads=options.inter_op_threads,
            allow_soft_placement=True,
        )
        self.graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=self.graph, config=config)
        loader.load(self._session, options.tags)

    @contextmanager
    def extended(self) -> Iterator[None]:
        """Make it the default graph, to add operations to; for one thread at a time."""
        with self._lock, self.graph.as_default():
            yield

    def step(self, feeds: Sequence[str], fetches: Sequence[str]) -> Step:
        """Return what runs the graph from the tensors that are fed to those that are fetched.

        Raises:
            tf.errors.OpError: There are no such tensors, or the graph is broken between them.
        """
        key = (tuple(feeds), tuple(fetches))
        step = self._steps.get(key)
        if step is None:
            with self._lock:
                step = self._steps.get(key) or self._make_step(feeds, fetches)
                self._steps[key] = step
        return step

    def _make_step(self, feeds: Sequence[str], fetches: Sequence[str]) -> Step:
        """Compile a step, which is slow where a feed dictionary would make every run slow."""
        places = {name: place for place, name in enumerate(dict.fromkeys(fetches))}
        run = self._session._make_callable_from_options(
            config_pb2.CallableOptions(feed=feeds, fetch=places)
        )

        def step(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
            try:
                fetched = [_as_array(value) for value in run(*arrays)]
            except UnicodeDecodeError as error:
                # The graph's message, which came without its code, quotes bytes that are not
                # text. An operation quotes what it was given where it refuses that.
                said = error.object.decode(errors="replace")
                raise tf.errors.InvalidArgumentError(None, None, said) from error
            return [fetched[places[name]] for name in fetches]

        return step


def _loader(folder: Path) -> Any:
    """Read the SavedModel's file, with the reference's words where there is none."""
    file = folder / "saved_model.pb"
    if not file.is_file():
        raise errors.NotFound(
            "Could not find SavedModel .pb or .pbtxt at supplied export directory path: "
            f"{folder}. Check that the directory exists and that you have the right permissions "
            "for accessing it."
        )
    try:
        return SavedModelLoader(str(folder))
    except OSError as error:
        raise errors.DataLoss(f"Can't parse {file} as binary proto") from error


def _meta_graph(loader: Any, tags: Sequence[str]) -> Any:
    """Return the graph that has exactly these tags."""
    try:
        return loader.get_meta_graph_def_from_tags(tags)
    except RuntimeError as error:
        raise errors.NotFound(
            f"Could not find meta graph def matching supplied tags: {{ {' '.join(tags)} }}. To "
            "inspect available tag-sets in the SavedModel, please use the SavedModel CLI: "
            "`saved_model_cli`"
        ) from error


def _as_array(value: Any) -> np.ndarray:
    """Return what a session gave as an array; it gives scalars as plain values."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, bytes):
        array = np.empty((), object)
        array[()] = value
        return array
    return np.asarray(value)
