"""What can be measured. A scene is a function from a plan to charts, in a file of its own; add it to `SCENES`."""

from collections.abc import Callable, Iterator

from charts import Chart
from plan import Plan

from . import (
    accept,
    echo,
    files,
    http,
    loop,
    memory,
    micro,
    preemption,
    prefork,
    scaling,
    simulation,
    structure,
    text,
    threads,
)

SCENES: dict[str, Callable[[Plan], Iterator[Chart]]] = {
    "echo-python": echo.python,
    "echo-rust": echo.rust,
    "accept": accept.scene,
    "http": http.scene,
    "files": files.scene,
    "text": text.scene,
    "micro": micro.scene,
    "structure": structure.scene,
    "asyncio": loop.scene,
    "prefork": prefork.scene,
    "preemption": preemption.scene,
    "threads": threads.scene,
    "memory": memory.scene,
    "scaling": scaling.scene,
    "simulation": simulation.scene,
}
