"""The original orchestrator with the bench's blueprints, on its memory store or on Redis.

Written against the package's public API: `python serve.py PORT [redis://HOST:PORT]`. The blueprints do the same as the
files in `benches/blueprints`: same names, same endpoints, same tasks with the same parameters.
Tokens and rate limits come from the environment, as the package has it.
"""

import asyncio
import logging
import signal
import sys

from avtomatika import Blueprint, OrchestratorEngine
from avtomatika.config import Config
from avtomatika.storage import MemoryStorage


def flow(name):
    return Blueprint(f"bench_{name}", api_endpoint=f"/jobs/bench_{name}", api_version="v1")


def task_params(data, step):
    return {"run": data["run"], "n": data["n"], "step": step, "payload": data["payload"]}


noop = flow("noop")


@noop.handler("start", is_start=True)
async def noop_start(actions):
    actions.go_to("finished")


@noop.handler("finished", is_end=True)
async def noop_finished():
    pass


one_task = flow("one_task")


@one_task.handler("start", is_start=True)
async def one_task_start(initial_data, actions):
    actions.dispatch_task(
        "bench",
        params=task_params(initial_data, 0),
        transitions={"success": "finished", "failure": "failed"},
    )


@one_task.handler("finished", is_end=True)
async def one_task_finished():
    pass


@one_task.handler("failed", is_end=True)
async def one_task_failed():
    pass


chain5 = flow("chain5")


@chain5.handler("start", is_start=True)
async def chain5_start(initial_data, actions):
    actions.dispatch_task(
        "bench",
        params=task_params(initial_data, 0),
        transitions={"success": "second", "failure": "failed"},
    )


@chain5.handler("second")
async def chain5_second(initial_data, actions):
    actions.dispatch_task(
        "bench",
        params=task_params(initial_data, 1),
        transitions={"success": "third", "failure": "failed"},
    )


@chain5.handler("third")
async def chain5_third(initial_data, actions):
    actions.dispatch_task(
        "bench",
        params=task_params(initial_data, 2),
        transitions={"success": "fourth", "failure": "failed"},
    )


@chain5.handler("fourth")
async def chain5_fourth(initial_data, actions):
    actions.dispatch_task(
        "bench",
        params=task_params(initial_data, 3),
        transitions={"success": "fifth", "failure": "failed"},
    )


@chain5.handler("fifth")
async def chain5_fifth(initial_data, actions):
    actions.dispatch_task(
        "bench",
        params=task_params(initial_data, 4),
        transitions={"success": "finished", "failure": "failed"},
    )


@chain5.handler("finished", is_end=True)
async def chain5_finished():
    pass


@chain5.handler("failed", is_end=True)
async def chain5_failed():
    pass


fan = flow("fan")


@fan.handler("start", is_start=True)
async def fan_start(initial_data, actions):
    tasks = [
        {"type": "bench", "params": task_params(initial_data, step)}
        for step in range(initial_data["width"])
    ]
    actions.dispatch_parallel(tasks=tasks, aggregate_into="gather")


@fan.aggregator("gather")
async def fan_gather(aggregation_results, state_history, actions):
    state_history["count"] = len(aggregation_results)
    actions.go_to("finished")


@fan.handler("finished", is_end=True)
async def fan_finished():
    pass


nested = flow("nested")


@nested.handler("start", is_start=True)
async def nested_start(initial_data, actions):
    actions.run_blueprint(
        blueprint_name="bench_child",
        initial_data=initial_data,
        transitions={"success": "finished", "failure": "failed"},
    )


@nested.handler("finished", is_end=True)
async def nested_finished():
    pass


@nested.handler("failed", is_end=True)
async def nested_failed():
    pass


child = Blueprint("bench_child")


@child.handler("start", is_start=True)
async def child_start(initial_data, actions):
    actions.dispatch_task(
        "bench",
        params=task_params(initial_data, 0),
        transitions={"success": "finished", "failure": "failed"},
    )


@child.handler("finished", is_end=True)
async def child_finished():
    pass


@child.handler("failed", is_end=True)
async def child_failed():
    pass


# Each of its workers' polls holds a connection; the client's own limit of 100 would be an error each.
CONNECTIONS_MAX = 10_000


def storage(addresses):
    if not addresses:
        return MemoryStorage()
    # Only where it is asked for: the memory store needs no client.
    from avtomatika.storage.redis import RedisStorage
    from redis.asyncio import Redis

    return RedisStorage(Redis.from_url(addresses[0], max_connections=CONNECTIONS_MAX))


async def main():
    config = Config()
    config.API_HOST = "127.0.0.1"
    config.API_PORT = int(sys.argv[1])
    engine = OrchestratorEngine(storage(sys.argv[2:]), config)
    for blueprint in (noop, one_task, chain5, fan, nested, child):
        engine.register_blueprint(blueprint)
    # A line for each request would cost it a good part of its speed.
    logging.getLogger("aiohttp.access").disabled = True
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await engine.start()
    await stop.wait()
    await engine.stop()


if __name__ == "__main__":
    asyncio.run(main())
