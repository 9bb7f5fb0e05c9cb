# SPDX-License-Identifier: Apache-2.0
"""Checks the list of components of a build: sbom_test.py ss1.cdx.json libss1.so version"""
import json
import re
import subprocess
import sys

# The C library and the compiler's run time are part of the system that the library is made for.
SYSTEM = ["libc.so", "libm.so", "libdl.so", "libpthread.so", "libgcc_s.so", "ld-linux"]
COMPONENT_OF = {"libstdc++": "libstdc++", "libicuuc": "icu", "libicudata": "icu"}


def main(path, library, version):
    with open(path, encoding="utf-8") as file:
        bom = json.load(file)
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.5"), bom
    assert bom["metadata"]["component"]["version"] == version, bom["metadata"]
    versions = {component["bom-ref"]: component["version"] for component in bom["components"]}
    assert {"eigen", "highway", "nlohmann-json", "xsimd"} <= set(versions), versions
    for name, text in versions.items():
        assert re.fullmatch(r"\d+(\.\d+)+.*", text), f"{name} has the version '{text}'"
    assert bom["dependencies"] == [{"ref": "ss1", "dependsOn": list(versions)}], bom["dependencies"]
    dynamic = subprocess.run(["readelf", "-d", library], stdout=subprocess.PIPE, text=True, check=True).stdout
    for needed in re.findall(r"NEEDED.*\[(.*)\]", dynamic):
        if not any(needed.startswith(name) for name in SYSTEM):
            assert COMPONENT_OF.get(needed.split(".so")[0]) in versions, f"{library} needs {needed}, which is not listed"
    print(f"{len(versions)} components: {versions}")


main(*sys.argv[1:])
