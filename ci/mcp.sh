#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs `code_mode mcp` with MCP servers and clients of others, in pinned versions: three servers and the Inspector's
# command-line mode from npm, and the client of the Python SDK.
# Usage: ci/mcp.sh CODE_MODE HOST
# Prints one line for each check, "NAME: ok" or "NAME: FAILED ..."; status 1 when one failed or could not run. Needs
# python3 of 3.10 or newer, Node 20 or newer and npm, and fetches about 150 MB into a folder that goes at the end.
set -uo pipefail

if [ $# != 2 ] || [ ! -x "$1" ] || [ ! -x "$2" ]; then
  echo "usage: ci/mcp.sh CODE_MODE HOST, the command line and a code-mode host" >&2
  exit 2
fi
code_mode=$(realpath -- "$1")
CODE_MODE_HOST=$(realpath -- "$2")
export CODE_MODE_HOST
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
checks=$PWD/ci/mcp_client.py
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 2
failures=0

echo '{"private": true}' >package.json
npm install --no-audit --no-fund --silent --save-exact \
  @modelcontextprotocol/server-everything@2026.8.31 \
  @modelcontextprotocol/server-filesystem@2026.8.31 \
  @modelcontextprotocol/server-memory@2026.8.31 \
  @modelcontextprotocol/inspector@2.12.0 || exit 1
python3 -m venv python && python/bin/pip install --quiet mcp==2.3.0 || exit 1
bin=$work/node_modules/.bin

cat >mcp.json <<END
{
  // One server of each kind: everything that the protocol has, files, and a store.
  "mcpServers": {
    "everything": { "command": "$bin/mcp-server-everything" },
    "files": { "command": "$bin/mcp-server-filesystem", "args": ["$work"] },
    "memory": { "command": "$bin/mcp-server-memory", "env": { "MEMORY_FILE_PATH": "$work/memory.jsonl" } },
  },
}
END
cat >inspector.json <<END
{
  "mcpServers": {
    "code_mode": {
      "command": "$code_mode",
      "args": ["mcp", "--config", "$work/mcp.json"],
      "env": { "CODE_MODE_HOST": "$CODE_MODE_HOST" }
    }
  }
}
END

# Says whether the output of a command, given behind the name and the pattern, has the pattern in it.
check() {
  local name=$1 pattern=$2 output
  shift 2
  output=$(timeout 120 "$@" 2>&1)
  if grep -qE "$pattern" <<<"$output"; then
    echo "$name: ok"
  else
    echo "$name: FAILED"
    tail -n 20 <<<"$output" >&2
    failures=1
  fi
}

for server in everything files memory; do
  check "server $server" "^$server: works, [0-9]+ tools" "$code_mode" mcp test "$server" --config mcp.json
done
inspector=("$bin/mcp-inspector" --cli --config "$work/inspector.json" --server code_mode)
check 'inspector, tools/list' '"name": "search"' "${inspector[@]}" --method tools/list --strict
check 'inspector, exec' 'The sum of 2 and 40 is 42' "${inspector[@]}" --method tools/call --tool-name exec \
  --tool-arg 'code=text(await tools.everything__get_sum({ a: 2, b: 40 }))'
check 'inspector, search' 'files__read_text_file' "${inspector[@]}" --method tools/call --tool-name search \
  --tool-arg 'query=read a text file'

timeout 300 python/bin/python "$checks" "$code_mode" "$work/mcp.json" "$work" 2>python.log || {
  failures=1
  tail -n 20 python.log >&2
}
exit $failures
