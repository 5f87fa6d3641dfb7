# SPDX-License-Identifier: Apache-2.0
"""The official Python SDK's client against `code_mode mcp`, over stdio and HTTP.

Usage: mcp_client.py CODE_MODE CONFIG FOLDER. Prints one line for each check; status 1 when one failed.
CONFIG has the servers everything, files (over FOLDER) and memory.
"""

import asyncio
import os
import subprocess
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

JOB = """
const [sum, listing, graph, picture] = await Promise.all([
  tools.everything__get_sum({ a: 2, b: 40 }),
  tools.files__list_directory({ path: FOLDER }),
  tools.memory__create_entities({ entities: [{ name: 'Ada', entityType: 'person', observations: ['counts'] }] })
    .then(() => tools.memory__read_graph({})),
  tools.everything__get_tiny_image({}),
]);
text(`| what | value |\\n|---|---|\\n| sum | ${JSON.stringify(sum)} |`);
text({ files: JSON.stringify(listing).includes('mcp.json'), graph: JSON.stringify(graph).includes('Ada') });
for (const block of picture) if (block.type === 'image') image(block);
"""
TOKEN = "a-token-of-the-check-0123456789"
failures = 0


def check(name, good, detail=""):
    global failures
    print(f"python sdk, {name}: {'ok' if good else 'FAILED ' + str(detail)}", flush=True)
    failures += not good


async def examine(name, streams, job):
    async with ClientSession(streams[0], streams[1]) as session:
        await session.initialize()
        listed = await session.list_tools()
        names = [tool.name for tool in listed.tools]
        check(f"{name}, tools/list", names == ["exec", "wait", "search"], names)
        result = await session.call_tool("exec", {"code": job})
        kinds = [block.type for block in result.content]
        good = kinds == ["text", "text", "image"] and "42" in result.content[0].text
        check(f"{name}, exec over three servers", good, result)
        structured = getattr(result, "structured_content", None) or getattr(result, "structuredContent", None)
        check(f"{name}, structured content", structured == {"files": True, "graph": True}, structured)
        found = await session.call_tool("search", {"query": "read the graph"})
        check(f"{name}, search", "memory__read_graph" in found.content[0].text, found)
        running = await session.call_tool("exec", {"code": "text(1); yield_control(); await new Promise(() => {})"})
        check(f"{name}, yield", "runs on as cell" in running.content[-1].text, running)
        ended = await session.call_tool("wait", {"cell_id": "2", "terminate": True})
        check(f"{name}, terminate", "was terminated" in ended.content[-1].text, ended)


def http_streams(url):
    client = create_mcp_http_client(headers={"Authorization": f"Bearer {TOKEN}"})
    return streamable_http_client(url, http_client=client)


async def main():
    program, config, folder = sys.argv[1:]
    job = JOB.replace("FOLDER", repr(folder))
    parameters = StdioServerParameters(command=program, args=["mcp", "--config", config], env=dict(os.environ))
    async with stdio_client(parameters) as streams:
        await examine("stdio", streams, job)
    server = subprocess.Popen(
        [program, "mcp", "--config", config, "--listen", "http://127.0.0.1:0"],
        env=os.environ | {"CODE_MODE_MCP_TOKEN": TOKEN},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = next(line for line in server.stderr if "http://" in line)
        url = line[line.index("http://"):].strip()
        async with http_streams(url) as streams:
            await examine("http", streams, job)
    finally:
        server.terminate()
        server.wait()
    sys.exit(1 if failures else 0)


asyncio.run(main())
