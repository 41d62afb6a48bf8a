"""A server that ends finishes what it took."""

import asyncio
import socket
import threading

import httpx
import uvicorn

from made_serving import NAME, HeldEncoder
from nestvec.serve.app import create_app
from nestvec.serve.served import Served


def test_accepted_requests_are_answered_during_shutdown():
    model = HeldEncoder()
    app = create_app(Served(NAME, model))
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"

    async def asked():
        async with httpx.AsyncClient(base_url=address, timeout=30) as client:
            bodies = [{"model": NAME, "input": [f"text {n}", f"more {n}"]} for n in range(12)]
            requests = [
                asyncio.create_task(client.post("/v1/embeddings", json=body)) for body in bodies
            ]
            await asyncio.to_thread(model.begun.wait, 10)
            while (await client.get("/healthz")).status_code != 200 or len(
                server.server_state.tasks
            ) < 12:
                await asyncio.sleep(0.01)
            server.should_exit = True
            await asyncio.sleep(0.2)
            model.go.set()
            return await asyncio.gather(*requests)

    answers = asyncio.run(asked())
    thread.join(30)
    listening.close()
    assert [answer.status_code for answer in answers] == [200] * 12
    assert not thread.is_alive()
    assert sum(map(len, model.batches)) == 24
