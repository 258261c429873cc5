"""A worker on the original's SDK: the skills of the demonstration, and one that does whatever a
test asks of it. What a profile offers is set the way the SDK's users set it, by its variables."""

import asyncio
import hashlib
import json
import os
import pathlib

PROFILES = {
    "gpu": {
        "COST_PER_SKILL": json.dumps({"transcode_video": 0.0005, "analyze_file": 0.0001}),
        "CPU_CORES": "8",
        "RAM_GB": "16",
        "GPU_MODEL": "NVIDIA T4",
        "GPU_VRAM_GB": "16",
        "INSTALLED_SOFTWARE": json.dumps({"ffmpeg": "5.1"}),
    },
    "cpu": {"COST_PER_SKILL": json.dumps({"analyze_file": 0.00005}), "RAM_GB": "16"},
    "flaky": {"COST_PER_SKILL": json.dumps({"analyze_file": 0.000045}), "RAM_GB": "16"},
    "probe": {"COST_PER_SKILL": json.dumps({"probe": 0.25}), "WORKER_EXTRA_ZONE": "eu"},
}
PROFILE = os.environ.get("WORKER_PROFILE", "probe")
SPEED = float(os.environ.get("WORKER_SPEED", "1"))
for name, value in PROFILES[PROFILE].items():
    os.environ.setdefault(name, value)

# The SDK reads its variables when a worker is made, and some of its modules when they are loaded.
from avtomatika_worker import SkillBlueprint, TaskFiles, Worker  # noqa: E402

worker = Worker(worker_type={"gpu": "gpu_worker", "probe": "probe_worker"}.get(PROFILE, "cpu_worker"))
TRANSCODED = ["success", "failure", "needs_review"]
transient_failures: dict[str, int] = {}
runs: list[str] = []


def failure(code: str, message: str) -> dict:
    return {"status": "failure", "error": {"code": code, "message": message}}


def chance(task_id: str, params: dict) -> float:
    """The task's lot between 0 and 1; 1, which nothing is beyond, where none is to be drawn."""
    if params.get("deterministic"):
        return 1.0
    return int.from_bytes(hashlib.sha256(task_id.encode()).digest()[:4], "big") / 2**32


async def work(seconds: float) -> None:
    await asyncio.sleep(seconds / SPEED)


async def transcode_video(params: dict, task_id: str, job_id: str, send_progress) -> dict:
    """Simulates transcoding a video in five steps."""
    trigger = params.get("trigger", "")
    for step in range(1, 6):
        await work(0.6)
        await send_progress(task_id, job_id, step / 5, f"Step {step} of 5 complete.")
        if step != 2 or not trigger:
            continue
        if trigger == "transient":
            count = transient_failures.get(job_id, 0) + 1
            transient_failures[job_id] = count
            if count <= 2:
                return failure("TRANSIENT_ERROR", "the encoder lost its device for a moment")
        if trigger == "security":
            return failure("SECURITY_ERROR", "the input fails its virus check")
        if trigger == "needs_review":
            return {"status": "needs_review", "data": {"review_reason": "picture quality"}}
    name = pathlib.PurePath(params.get("input_path", "input")).stem
    return {"status": "success", "data": {"output_path": f"/transcoded/{name}.mp4", "duration": 120}}


async def analyze_file(params: dict, task_id: str) -> dict:
    """Simulates the analysis of a media file; the flaky profile fails at half of them."""
    await work(1.0)
    if PROFILE == "flaky" and chance(task_id, params) < 0.5:
        return failure("PERMANENT_ERROR", "the analyzer crashed")
    name = params["file_name"]
    codec = {".h264": "h264", ".aac": "aac", ".srt": "subrip"}.get(pathlib.PurePath(name).suffix)
    size = 100 + int.from_bytes(hashlib.sha256(name.encode()).digest()[:2], "big") % 4900
    analysis = {"file_name": name, "codec": codec or "unknown", "size_kb": size, "location": "local"}
    return {"status": "success", "data": {"analysis": analysis}}


async def process_blobs(params: dict, files: TaskFiles) -> dict:
    """Stores `content` in a file of the task's own and answers with the file's place."""
    await files.write("blob.txt", params["content"])
    text = await files.read("blob.txt")
    data = {"path": await files.path_to("blob.txt"), "size": len(text), "names": await files.list()}
    return {"status": "success", "data": data}


async def learned(params: dict) -> dict:
    """Was not there when the worker registered."""
    return {"status": "success", "data": {"learned": True}}


async def probe(params: dict, task_id: str, job_id: str, send_progress, add_to_hot_skills) -> dict:
    """Does what `act` says."""
    act = params.get("act", "echo")
    if act == "fail":
        return failure(params["code"], f"failed with {params['code']}")
    if act == "review":
        return {"status": "needs_review", "data": {"looked_at": "twice"}}
    if act == "bad_value":
        raise ValueError("the checksum differs")
    if act == "crash":
        raise RuntimeError("something broke")
    if act == "count":
        runs.append(task_id)
        return {"status": "success", "data": {"runs": len(runs)}}
    if act == "heat":
        add_to_hot_skills("probe")
    if act == "learn":
        more = SkillBlueprint()
        more.skill("learned")(learned)
        worker.include_blueprint(more)
    if act == "hold":
        await send_progress(task_id, job_id, 0.5, "held at the gate")
        try:
            while not os.path.exists(params["gate"]):
                await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            print(f"told to drop {job_id}", flush=True)
            raise
    return {"status": "success", "data": {"echo": params}, "costs": {"energy": 1.5}}


async def strict(params: dict) -> dict:
    """Has a contract, and breaks it when told to."""
    return {"status": "success", "data": {"n": "no number" if params.get("cheat") else params["n"]}}


async def unready(params: dict, nowhere_to_be_had) -> dict:
    """Wants of the SDK what it does not have."""
    return {"status": "success", "data": {}}


if PROFILE == "gpu":
    worker.skill("transcode_video", output_statuses=TRANSCODED)(transcode_video)
if PROFILE != "probe":
    worker.skill("analyze_file")(analyze_file)
if PROFILE in ("gpu", "probe"):
    worker.skill("process_blobs")(process_blobs)
if PROFILE == "probe":
    number = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    worker.skill("probe", output_statuses=TRANSCODED)(probe)
    worker.skill("strict", input_schema=number, output_schema=number)(strict)
    worker.skill("unready")(unready)

if __name__ == "__main__":
    worker.run()
