#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Checks the manifests of host/fleet against the published schemas of Kubernetes: each value, and that there is no field
# which the schemas do not know. They come with the checker, so nothing is asked of a cluster.
# Usage: ci/manifests.sh   Needs python3 with venv, and PyPI.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/root/lib.sh
. tools/root/lib.sh
# shellcheck source=tools/versions.sh
. tools/versions.sh

manifests=host/fleet/kubernetes.yaml
version=$(version_of KUBERNETES_VALIDATE)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check "kubernetes-validate==$version"

validate() { "$scratch/venv/bin/kubernetes-validate" --strict "$1"; }

validate "$manifests"

# The check itself can fail, over a wrong value, an unknown field and a missing one, in the first manifest and the last.
refused() {
  local said
  sed "$1" "$manifests" >"$scratch/broken.yaml"
  said=$(validate "$scratch/broken.yaml" 2>&1) && die "nothing was said of manifests that $1 has broken"
  [[ $said == *"$2"* ]] || die "of manifests that $1 has broken it was said: $said"
}
refused 's/^  replicas: 3$/  replicas: three/' "spec.replicas: 'three'"
refused 's/^  replicas: 3$/  replica: 3/' "'replica' was unexpected"
refused 's/^        - name: host$/        - image: host/' "'name' is a required property"
refused 's/^  policyTypes: .*/  policyTypes: Ingress/' "spec.policyTypes: 'Ingress'"
printf 'the manifests are as Kubernetes %s wants them\n' "$version"
