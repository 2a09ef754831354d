"""Where the cells of a study run: one after the other here, or as tasks of a Ray cluster.

An engine takes the work of a cell and the cells still to do, and yields each cell when it is finished,
with the error if it failed. A cell leaves what it finds in a folder that all machines see, so nothing
but its name travels back.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from ropediag.errors import ConfigError, RopediagError
from ropediag.study.cells import Cell

Work = Callable[[Cell], None]
Finished = Iterator[tuple[Cell, RopediagError | None]]
ENGINES = ("local", "ray")


def run_cells(engine: str, work: Work, cells: Sequence[Cell], resources: Mapping[str, float]) -> Finished:
    """Run ``work`` on every cell.

    Parameters
    ----------
    engine : ``local`` or ``ray``
    work : picklable for Ray
    resources : of one cell, as ``ray.remote`` takes them

    Raises
    ------
    ConfigError
        If there is no such engine, or Ray is not installed.
    """
    if engine not in ENGINES:
        raise ConfigError(f"no engine {engine!r}: it is one of {', '.join(ENGINES)}.")
    return _run_here(work, cells) if engine == "local" else _run_on_ray(work, cells, resources)


def _run_here(work: Work, cells: Sequence[Cell]) -> Finished:
    for cell in cells:
        try:
            work(cell)
        except RopediagError as error:
            yield cell, error
        else:
            yield cell, None


def _run_on_ray(work: Work, cells: Sequence[Cell], resources: Mapping[str, float]) -> Finished:
    """Hand all cells to Ray at once; it queues them by their resources and runs lost ones again."""
    try:
        import ray
    except ImportError as error:
        raise ConfigError("--engine ray needs Ray: pip install 'ropediag[ray]'.") from error
    if not ray.is_initialized():
        ray.init(log_to_driver=False)  # RAY_ADDRESS names a cluster; without it Ray starts one here

    def run(cell: Cell) -> None:
        work(cell)

    task = ray.remote(**{"num_cpus": 1, "max_retries": 2, **resources})(run)
    waiting = {task.remote(cell): cell for cell in cells}
    while waiting:
        (done,), _ = ray.wait(list(waiting), num_returns=1)
        cell = waiting.pop(done)
        try:
            ray.get(done)
        except RopediagError as error:  # Ray raises the task's own error, as a subclass of its class
            yield cell, error
        else:
            yield cell, None
