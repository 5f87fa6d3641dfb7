#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs `code_mode mcp` with MCP servers and clients of others, in pinned versions: three servers, the Inspector's
# command-line mode, Claude Code, the Codex CLI and the Gemini CLI from npm, and the client of the Python SDK. The three
# agents are installed for and list their servers, which needs no account.
# Usage: ci/mcp.sh CODE_MODE HOST
# Prints one line for each check, "NAME: ok" or "NAME: FAILED ..."; status 1 when one failed or could not run. Needs
# python3 of 3.10 or newer, Node 20 or newer and npm, and fetches about 450 MB into a folder that goes at the end.
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
# shellcheck source=tools/versions.sh
. tools/versions.sh
servers=$(version_of MCP_SERVERS) || exit 2
inspector_version=$(version_of MCP_INSPECTOR) || exit 2
python_version=$(version_of MCP_PYTHON) || exit 2
claude_code=$(version_of CLAUDE_CODE) || exit 2
codex=$(version_of CODEX) || exit 2
gemini=$(version_of GEMINI_CLI) || exit 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 2
failures=0

echo '{"private": true}' >package.json
npm install --no-audit --no-fund --silent --save-exact \
  "@modelcontextprotocol/server-everything@$servers" \
  "@modelcontextprotocol/server-filesystem@$servers" \
  "@modelcontextprotocol/server-memory@$servers" \
  "@modelcontextprotocol/inspector@$inspector_version" || exit 1
python3 -m venv python && python/bin/pip install --quiet "mcp==$python_version" || exit 1
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

# Claude Code, Codex and Gemini, each with a configuration of its own: `code_mode mcp install` takes its servers over,
# the client itself says that it knows us, and `uninstall` leaves the client's file as it was.
agents=$work/agents
mkdir -p "$agents/home/.codex" "$agents/home/.gemini"
(
  cd "$agents" && echo '{"private": true}' >package.json &&
    npm install --no-audit --no-fund --silent --save-exact \
      "@anthropic-ai/claude-code@$claude_code" "@openai/codex@$codex" "@google/gemini-cli@$gemini"
) || exit 1
cat >"$agents/home/.claude.json" <<END
{
  "mcpServers": {
    "memory": { "command": "$bin/mcp-server-memory", "args": [], "env": { "MEMORY_FILE_PATH": "$work/memory.jsonl" } }
  }
}
END
cat >"$agents/home/.codex/config.toml" <<END
# Mine.
model = "o"   # kept

[mcp_servers.files]
command = "$bin/mcp-server-filesystem" # kept
args = ["$work"]

[tui]
notifications = true
END
cat >"$agents/home/.gemini/settings.json" <<END
{
  // Mine.
  "mcpServers": {
    "everything": { "command": "$bin/mcp-server-everything" }
  }
}
END
# Gemini starts nothing in a folder that nobody has said to trust.
printf '{"%s": "TRUST_FOLDER"}' "$agents" >"$agents/home/.gemini/trustedFolders.json"

# Runs a command as the user of the agents.
as_user() {
  (
    cd "$agents" &&
      env -u CLAUDE_CONFIG_DIR -u CODEX_HOME HOME="$agents/home" XDG_CONFIG_HOME="$agents/home/.config" "$@" </dev/null
  )
}
export -f as_user
export agents

# Installs for a client, lets it list its servers, and uninstalls. Given are the client's name here, its program, its
# file below its home, and the line in which it lists us.
agent() {
  local client=$1 program=$2 file=$agents/home/$3 listed=$4
  # A client that writes into its file by itself does it here.
  as_user timeout 120 "$agents/node_modules/.bin/$program" mcp list >/dev/null 2>&1
  cp "$file" "$agents/before"
  check "$client, install" '^taken over: ' \
    bash -c 'as_user "$@"' - "$code_mode" mcp install "$client" --take-over --yes
  check "$client, its own list" "$listed" bash -c 'as_user "$@"' - "$agents/node_modules/.bin/$program" mcp list
  check "$client, uninstall" '^given back: ' bash -c 'as_user "$@"' - "$code_mode" mcp uninstall "$client" --yes
  # shellcheck disable=SC2016 # The shell that is started expands them.
  check "$client, its file as before" '^same$' \
    bash -c 'cmp "$1" "$2" && echo same' - "$agents/before" "$file"
}
agent claude-code claude .claude.json '^code_mode: .* mcp - .*Connected'
agent codex codex .codex/config.toml '^code_mode +.* enabled '
agent gemini gemini .gemini/settings.json 'code_mode: .* mcp \(stdio\) - Connected$'

timeout 300 python/bin/python "$checks" "$code_mode" "$work/mcp.json" "$work" 2>python.log || {
  failures=1
  tail -n 20 python.log >&2
}
exit $failures
