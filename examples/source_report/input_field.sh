# SPDX-License-Identifier: Apache-2.0
# Sourced by the tools: `input_field NAME` prints a string member of the JSON object on standard
# input. Strings with escapes are refused rather than misread; paths rarely need them.

input_field() {
  value=$(sed -n "s/.*\"$1\"[[:space:]]*:[[:space:]]*\"\([^\"]*\)\".*/\1/p")
  case $value in
    '') echo "the input needs a member $1" >&2; return 1 ;;
    *\\*) echo "escapes in $1 are not supported: $value" >&2; return 1 ;;
  esac
  printf '%s\n' "$value"
}
