"""Train on several machines: read TF_CONFIG, and keep the workers of MultiWorkerMirroredStrategy in agreement.

https://www.tensorflow.org/guide/distributed_training#TF_CONFIG describes the variable. The workers take each step
together, so all of them must decide alike about each step, each save and the end.
"""

import json
import os
import re
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facemask.core import command_line
from facemask.core.errors import UserError
from facemask.data.manifest import Split

VARIABLE = "TF_CONFIG"
CONNECT_SECONDS = 600
"""Seconds that a worker waits for the others to start. TensorFlow's own limit is an hour."""

_EXAMPLE = '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, "task": {"type": "worker", "index": 0}}'
_JOBS = ("chief", "worker")  # in the order in which TensorFlow counts them
_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):[0-9]{1,5}")
_LOST = ("UnavailableError", "AbortedError", "CancelledError", "DeadlineExceededError", "InternalError")
"""Names of the TensorFlow errors that a lost worker can cause. Their messages then match `_OF_CLUSTER`."""
_OF_CLUSTER = re.compile(r"Collective ops|[Cc]oordination|heartbeat|[Bb]arrier|grpc|GRPC|[Ss]ocket|[Cc]onnect")


@dataclass(frozen=True)
class Cluster:
    """The workers that train together, and which of them this process is.

    Attributes:
        jobs: The name of each job in TF_CONFIG ("chief", "worker") with its addresses, the chief first.
        index: This process's number among all workers, from 0. Number 0 is the chief: it saves and validates.

    Example:
        >>> Cluster((("worker", ("host0:12345", "host1:12345")),), 1).is_chief
        False
    """

    jobs: tuple[tuple[str, tuple[str, ...]], ...]
    index: int

    @property
    def addresses(self) -> tuple[str, ...]:
        """The address of each worker."""
        return tuple(address for _, addresses in self.jobs for address in addresses)

    @property
    def is_chief(self) -> bool:
        """Whether this process is worker 0."""
        return self.index == 0

    def __str__(self) -> str:
        """One line for the user."""
        return f"worker {self.index} of {len(self.addresses)}; worker 0, {self.addresses[0]}, saves and validates"

    def named(self, job: str, task: int) -> str:
        """A name to display for the worker that TensorFlow calls /job:<job>/task:<task>."""
        names = [(name, number) for name, addresses in self.jobs for number in range(len(addresses))]
        if (job, task) not in names:
            return f"/job:{job}/task:{task}"
        return _name_of(self, names.index((job, task)))


def read_tf_config(environment: Mapping[str, str]) -> Cluster | None:
    """Read TF_CONFIG.

    Args:
        environment: The environment's variables.

    Returns:
        The cluster; None if this process trains alone, because TF_CONFIG is not set or names one worker.

    Raises:
        UserError: TF_CONFIG does not have the documented form. The message names the mistake and shows an example.
    """
    text = environment.get(VARIABLE, "").strip()
    if not text:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise _refused(f"not JSON ({error})") from None
    if value == {}:
        return None
    cluster = value.get("cluster") if isinstance(value, dict) else None
    task = value.get("task") if isinstance(value, dict) else None
    if not isinstance(cluster, dict) or not isinstance(task, dict):
        raise _refused('needs "cluster" and "task"')
    if unknown := sorted(set(cluster) - set(_JOBS)):
        raise _refused(f"has the job {unknown[0]!r}; training knows chief and worker")
    jobs = tuple((job, _addresses(job, cluster[job])) for job in _JOBS if job in cluster)
    everybody = [address for _, addresses in jobs for address in addresses]
    if twice := [address for address in everybody if everybody.count(address) > 1]:
        raise _refused(f"has {twice[0]} twice")
    if len(dict(jobs).get("chief", ())) > 1:
        raise _refused("has more than one chief")
    job, number = str(task.get("type")), str(task.get("index"))
    if job not in cluster:
        raise _refused(f'its task\'s "type" is {job!r}, which is not a job of the cluster')
    # TensorFlow takes "0" for 0, and so do those who write the variable in a shell.
    if not re.fullmatch(r"[0-9]{1,6}", number):
        raise _refused(f'its task\'s "index" is {number}, which is not a whole number from 0')
    if int(number) >= len(dict(jobs)[job]):
        raise _refused(f'its task\'s "index" is {number}, but the cluster has {len(dict(jobs)[job])} of {job}')
    if len(everybody) == 1:
        return None
    before = 0 if job == _JOBS[0] else len(dict(jobs).get(_JOBS[0], ()))
    return Cluster(jobs, before + int(number))


def refuse_cluster(cluster: Cluster, train: Split, batch: int, to_remove: Path | None) -> None:
    """Refuse options that several workers cannot train with, before waiting for the others. Raises UserError.

    Args:
        cluster: The workers.
        train: The records of the train split. Each worker reads its own files.
        batch: Images per step, of all workers together.
        to_remove: The run's folder if FRESH=1 is given, else None.
    """
    workers, files = len(cluster.addresses), len(train.files)
    if files < workers:
        raise UserError(
            f"the train split has {files} record file{'s' * (files != 1)}, but each of the {workers} workers needs its "
            f"own: `make records SHARDS={workers}` (or a multiple of it) makes as many."
        )
    if train.images < files:
        raise UserError(f"the train split has {train.images} images in {files} files, so a worker would have none.")
    if batch % workers:
        raise UserError(f"BATCH={batch}: cannot be split evenly over {workers} workers. Use a multiple of {workers}.")
    if to_remove is not None:
        raise UserError(f"FRESH=1: not with several workers, which start one after another. Remove {to_remove} first.")


@contextmanager
def hidden_tf_config() -> Iterator[None]:
    """Hide a TF_CONFIG with a single worker inside a block, because MirroredStrategy would connect to its address."""
    text = os.environ.pop(VARIABLE, None)
    try:
        yield
    finally:
        if text is not None:
            os.environ[VARIABLE] = text


def end_if_not_met(cluster: Cluster, met: threading.Event) -> None:
    """End this process with an error if `met` is not set within `CONNECT_SECONDS`.

    It must be called before TensorFlow's first operation. TensorFlow's own limit, which is also set here, ends the wait
    for the chief. The chief's wait has no limit, and Python receives no signal during it.
    """
    from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
    from tensorflow.python.eager import context

    # The strategy has no argument for the limit, and keeps what is already configured.
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader=f"/job:{cluster.jobs[0][0]}/replica:0/task:0",
        cluster_register_timeout_in_ms=CONNECT_SECONDS * 1000,
        coordinated_jobs=[
            coordination_config_pb2.CoordinatedJob(name=job, num_tasks=len(addresses))
            for job, addresses in cluster.jobs
        ],
    )

    def wait() -> None:
        if not met.wait(CONNECT_SECONDS + 30):
            os.write(2, f"\nerror: {_not_met(cluster, 'they did not come')}\n".encode())
            os._exit(command_line.USER_ERROR)

    threading.Thread(target=wait, daemon=True, name="meeting").start()


def make_sum_of_workers(strategy: Any, cluster: Cluster | None) -> Callable[[Sequence[float]], list[float]]:
    """Make a function that adds up the numbers of all workers, element by element, and returns the sums to each.

    All workers must call the function equally often. It computes in float32, in which integers are exact to 2**24. If
    one process trains alone, it returns its argument.
    """
    if cluster is None:
        return list
    import tensorflow as tf

    devices = strategy.num_replicas_in_sync / len(cluster.addresses)

    @tf.function(reduce_retracing=True)
    def total(values: Any) -> Any:
        # Each of a worker's devices adds the same.
        of_devices = strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(tf.identity, args=(values,)), axis=None)
        return of_devices / devices

    return lambda values: [float(value) for value in total(tf.constant(values, tf.float32)).numpy()]


def refuse_differences(cluster: Cluster, strategy: Any, facts: Mapping[str, Any]) -> None:
    """Refuse, on all workers, to train if they were not started with the same settings.

    Args:
        cluster: The workers.
        strategy: Their strategy.
        facts: The values that must be the same on all workers, by the names to display.

    Raises:
        UserError: The values differ. The message on every worker names the differences.
    """
    total = make_sum_of_workers(strategy, cluster)
    # 16 bits: float32 then holds the exact sum over a worker's up to 255 devices, and the quotient is the same number.
    own = [float(zlib.crc32(repr(value).encode()) & 0xFFFF) for value in facts.values()]
    of_chief = total([value if cluster.is_chief else 0.0 for value in own])
    others = total([float(mine != chiefs) for mine, chiefs in zip(own, of_chief, strict=True)])
    told = [
        f"{name} (here {value!r}; {count:.0f} of the others differ from worker 0)"
        for (name, value), count in zip(facts.items(), others, strict=True)
        if count
    ]
    if told:
        raise UserError(
            "the workers have different settings or folders. They need the same settings, and must share the folders "
            f"of the run and of the records. Different: {'; '.join(told)}."
        )


def is_lost_worker(error: BaseException) -> bool:
    """Whether an exception means that another worker, or the connection to it, was lost."""
    return type(error).__name__ in _LOST and bool(_OF_CLUSTER.search(str(error)))


def lost_worker_error(error: BaseException, cluster: Cluster, last: int) -> UserError:
    """The error to raise if `is_lost_worker`.

    Args:
        error: TensorFlow's exception.
        cluster: The workers.
        last: Step of the last checkpoint, 0 without one.
    """
    named = re.findall(r"/job:(\w+)(?:/replica:\d+)?/task:(\d+)", str(error))
    others = {cluster.named(job, int(task)) for job, task in named} - {_name_of(cluster, cluster.index)}
    who = " and ".join(sorted(others)) or "another worker"
    reason = next((line for line in str(error).splitlines() if _OF_CLUSTER.search(line)), "")
    then = f"continues from the last checkpoint, of step {last}" if last else "starts over"
    return UserError(
        f"{who} was lost, so training stops here too ({reason.strip()[:200]}). Start the same command again on all "
        f"{len(cluster.addresses)} machines: it {then}."
    )


def not_met_error(error: BaseException, cluster: Cluster) -> UserError:
    """The error to raise if TensorFlow could not connect the workers."""
    return UserError(_not_met(cluster, str(error).strip().split("\n")[0]))


def _not_met(cluster: Cluster, why: str) -> str:
    minutes = CONNECT_SECONDS // 60
    return (
        f"{_name_of(cluster, cluster.index)} did not meet the other workers: {why}. Start the same command on all of "
        f"{', '.join(cluster.addresses)} within {minutes} minutes; each must reach the others at these addresses, and "
        "the port in its own must be free."
    )


def _name_of(cluster: Cluster, index: int) -> str:
    return f"worker {index} ({cluster.addresses[index]})"


def _addresses(job: str, value: Any) -> tuple[str, ...]:
    if not (isinstance(value, list) and value and all(isinstance(address, str) for address in value)):
        raise _refused(f'its "{job}" is not a list of addresses')
    for address in value:
        if not _ADDRESS.fullmatch(address):
            raise _refused(f"{address!r} is not an address such as host0:12345")
    return tuple(value)


def _refused(what: str) -> UserError:
    return UserError(f"{VARIABLE}: {what}. Example: {_EXAMPLE}. It is the same on all workers except for the index.")
