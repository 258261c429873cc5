"""The original's orchestrator with its store in memory and blueprints of our own, on a port that it
says on standard error, where its log is not. Tokens, keys and limits are its usual variables, but
for rate limits, which are off unless they are asked for."""

import asyncio
import os
import signal
import sys

from avtomatika import Blueprint, OrchestratorEngine
from avtomatika.config import Config
from avtomatika.storage import MemoryStorage

errand = Blueprint(name="errand", api_endpoint="/jobs/errand", api_version="v1")
conformance = Blueprint(name="conformance", api_endpoint="/jobs/conformance", api_version="v1")
ticks = Blueprint(name="ticks", api_endpoint="/jobs/ticks", api_version="v1")


def say(line):
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


@errand.handler(is_start=True)
async def start(initial_data, actions):
    if initial_data.get("needs_approval"):
        actions.await_human_approval(
            integration="webhook",
            message="May it run?",
            transitions={"approved": "run", "rejected": "refused"},
        )
    else:
        actions.go_to("run")


@errand.handler
async def run(initial_data, actions):
    actions.dispatch_task(
        task_type=initial_data.get("skill", "probe"),
        params=dict(initial_data),
        transitions={"success": "finished", "failure": "broken", "needs_review": "reviewed"},
    )


@errand.handler(is_end=True)
async def finished(job_id):
    say(f"finished {job_id}")


@errand.handler(is_end=True)
async def reviewed(job_id):
    say(f"reviewed {job_id}")


@errand.handler(is_end=True)
async def broken(job_id):
    say(f"broken {job_id}")


@errand.handler(is_end=True)
async def refused(job_id):
    say(f"refused {job_id}")


@conformance.handler(is_start=True)
async def ask(initial_data, actions):
    actions.dispatch_task(
        task_type="conformance_probe",
        params={"probe": initial_data.get("probe")},
        transitions={"success": "finished", "failure": "failed"},
    )


# The state that a job ends in is its status.
@conformance.handler("finished", is_end=True)
async def conformance_finished(job_id):
    pass


@conformance.handler("failed", is_end=True)
async def conformance_failed(job_id):
    pass


count = 0


@ticks.handler("tick", is_start=True)
async def tick(job_id, actions):
    global count
    count += 1
    say(f"tick {count} {job_id}")
    actions.go_to("finished")


@ticks.handler("finished", is_end=True)
async def ticked(job_id):
    pass


async def main():
    config = Config()
    config.API_HOST, config.API_PORT = "127.0.0.1", 0
    config.RATE_LIMITING_ENABLED = os.environ.get("RATE_LIMITING_ENABLED") == "true"
    config.DETAILED_API_RESPONSES = True
    engine = OrchestratorEngine(MemoryStorage(), config)
    engine.register_blueprint(errand)
    engine.register_blueprint(conformance)
    engine.register_blueprint(ticks)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await engine.start()
    host, port = engine.runner.addresses[0][:2]
    say(f"listening at http://{host}:{port}")
    await stopped.wait()
    await engine.stop()


asyncio.run(main())
