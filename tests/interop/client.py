"""A client in the style of the original's: creates jobs of the blueprint `errand`, asks for them until
they are where it wants them, cancels, approves, and reads what a detailed answer holds. Prints what
it has seen as one JSON object, without what differs from run to run."""

import asyncio
import json
import os
import pathlib

import aiohttp

BASE = os.environ["ORCHESTRATOR_URL"]
TOKEN = {"X-Client-Token": os.environ["CLIENT_TOKEN"]}
GATES = pathlib.Path(os.environ["GATES"])
TERMINAL = ("finished", "failed", "cancelled", "quarantined", "error")
PATIENCE = 60.0


async def call(session, method, path, body=None, headers=TOKEN):
    async with session.request(method, BASE + path, json=body, headers=headers) as answer:
        text = await answer.text()
        return answer.status, json.loads(text) if answer.content_type == "application/json" else text


async def create(session, act, gate="", needs_approval=False):
    data = {"act": act, "gate": str(gate), "needs_approval": needs_approval}
    status, answer = await call(session, "POST", "/api/v1/jobs/errand", {"initial_data": data})
    assert status == 202 and answer["status"] == "accepted", (status, answer)
    return answer["job_id"]


async def until(session, job_id, fits):
    async with asyncio.timeout(PATIENCE):
        while True:
            status, job = await call(session, "GET", f"/api/v1/jobs/{job_id}")
            assert status == 200 and job["id"] == job_id, (status, job)
            if fits(job):
                return job
            assert job["status"] not in TERMINAL, job
            await asyncio.sleep(0.05)


def some(job, *names):
    return {name: job.get(name) for name in names}


async def plain(session):
    gate = GATES / "plain"
    job_id = await create(session, "hold", gate)
    held = await until(session, job_id, lambda job: "progress_message" in job)
    gate.touch()
    done = await until(session, job_id, lambda job: job["status"] == "finished")
    echo = done["state_history"]["echo"]
    assert echo["gate"] == str(gate), done
    echo["gate"] = "GATE"
    _, fields = await call(session, "GET", f"/api/v1/jobs/{job_id}?fields=status,blueprint_name")
    assert fields.pop("id") == job_id, fields
    status, history = await call(session, "GET", f"/api/v1/jobs/{job_id}/history")
    return {
        "held": some(held, "status", "blueprint_name", "current_state", "progress", "progress_message"),
        "done": some(done, "status", "current_state", "state_history"),
        "fields": fields,
        "history": [status, isinstance(history, list)],
    }


async def reviewed(session):
    job_id = await create(session, "review")
    job = await until(session, job_id, lambda job: job["status"] in TERMINAL)
    return some(job, "status", "current_state", "state_history")


async def cancelled(session):
    gate = GATES / "cancelled"
    job_id = await create(session, "hold", gate)
    await until(session, job_id, lambda job: "progress_message" in job)
    first = await call(session, "POST", f"/api/v1/jobs/{job_id}/cancel")
    job = await until(session, job_id, lambda job: job["status"] == "cancelled")
    again, _ = await call(session, "POST", f"/api/v1/jobs/{job_id}/cancel")
    gate.touch()
    return {"answer": first, "job": some(job, "status", "current_state"), "again": again}


async def approved(session, decision):
    job_id = await create(session, "echo", needs_approval=True)
    asked = await until(session, job_id, lambda job: job["status"] == "waiting_for_human")
    path = f"/_public/webhooks/approval/{job_id}"
    wrong, _ = await call(session, "POST", path, {"decision": "perhaps"})
    status, answer = await call(session, "POST", path, {"decision": decision})
    assert answer.pop("job_id") == job_id, answer
    job = await until(session, job_id, lambda job: job["status"] in TERMINAL)
    late, _ = await call(session, "POST", path, {"decision": decision})
    return {
        "asked": some(asked, "status", "current_state"),
        "wrong": wrong,
        "answer": [status, answer],
        "job": some(job, "status", "current_state"),
        "late": late,
    }


async def refusals(session):
    nobody = "/api/v1/jobs/00000000-0000-0000-0000-000000000000"
    _, unknown = await call(session, "GET", nobody)
    return {
        "no token": (await call(session, "GET", nobody, headers={}))[0],
        "bad token": (await call(session, "GET", nobody, headers={"X-Client-Token": "no"}))[0],
        "unknown job": [(await call(session, "GET", nobody))[0], unknown["error"]],
        "unknown blueprint": (await call(session, "POST", "/api/v1/jobs/nothing", {}))[0],
        "status": await call(session, "GET", "/_public/status"),
    }


async def main():
    async with aiohttp.ClientSession() as session:
        seen = {
            "plain": await plain(session),
            "reviewed": await reviewed(session),
            "cancelled": await cancelled(session),
            "approved": await approved(session, "approved"),
            "rejected": await approved(session, "rejected"),
            "refusals": await refusals(session),
        }
        _, workers = await call(session, "GET", "/api/v1/workers")
        seen["workers"] = [some(one, "worker_id", "worker_type", "status") for one in workers]
    print(json.dumps(seen, sort_keys=True))


asyncio.run(main())
