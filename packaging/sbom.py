#!/usr/bin/env python3
"""What is in the programs of a build, as SPDX 2.3: sbom.py BUILD

Looked at, and not listed by hand: the libraries that the programs load (ldd), the packages whose headers were compiled in
(ninja -t deps), and the versions of both (dpkg). Only for a build on Debian or Ubuntu.
"""
import datetime
import hashlib
import json
import os
import re
import subprocess
import sys

PROGRAMS = ["agent", "exporter", "loadgen"]


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def packages_of(files):
    """{package: (version, source)}; dpkg knows a file of /usr/lib by the name that it has there, or in /lib."""
    names = sorted({name for file in files for name in (os.path.realpath(file), os.path.realpath(file).removeprefix("/usr"))})
    found = subprocess.run(["dpkg-query", "--search", *names], capture_output=True, text=True).stdout
    packages = sorted({name.strip() for line in found.splitlines() if not line.startswith("diversion ")
                       for name in line.partition(": ")[0].split(",")})
    rows = run("dpkg-query", "--show", "--showformat", "${Package}\t${Version}\t${source:Package}\n", *packages)
    return {name: (version, source) for name, version, source in (row.split("\t") for row in rows.splitlines())}


def main():
    build = sys.argv[1]
    cache = open(f"{build}/CMakeCache.txt").read()
    version = re.search(r"^CMAKE_PROJECT_VERSION:STATIC=(.*)$", cache, re.M)[1]
    loaded = {path for program in PROGRAMS for path in re.findall(r"=> (/\S+)", run("ldd", f"{build}/bin/{program}"))}
    compiled_in = {line.strip() for line in run("ninja", "-C", build, "-t", "deps").splitlines()
                   if line.startswith("    /usr/include/")}
    loaded, compiled_in = packages_of(loaded), packages_of(compiled_in)

    moment = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.timezone.utc)
    release = re.search(r'^ID="?(\w+)', open("/etc/os-release").read(), re.M)[1]

    def package(identifier, name, package_version, **more):
        return {"SPDXID": f"SPDXRef-{identifier}", "name": name, "versionInfo": package_version,
                "downloadLocation": "NOASSERTION", "filesAnalyzed": False, "licenseConcluded": "NOASSERTION",
                "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION", **more}

    packages = [package("replica-migration", "replica-migration", version, licenseDeclared="Apache-2.0",
                        licenseConcluded="Apache-2.0", primaryPackagePurpose="APPLICATION")]
    relations = [("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-replica-migration")]
    for name, (its_version, source) in sorted({**compiled_in, **loaded}.items()):
        identifier = re.sub(r"[^A-Za-z0-9.-]", "-", name)
        purl = f"pkg:deb/{release}/{name}@{its_version}?upstream={source}".replace("+", "%2B")
        packages.append(package(identifier, name, its_version, externalRefs=[{
            "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}]))
        kind = "DYNAMIC_LINK" if name in loaded else "BUILD_DEPENDENCY_OF"
        ends = ("SPDXRef-replica-migration", f"SPDXRef-{identifier}")
        relations.append((ends[0], kind, ends[1]) if name in loaded else (ends[1], kind, ends[0]))

    document = {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"replica-migration-{version}",
        "creationInfo": {"created": moment.strftime("%Y-%m-%dT%H:%M:%SZ"), "creators": ["Tool: replica-migration-packaging-sbom"]},
        "packages": packages,
        "relationships": [{"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
                          for one, kind, other in relations],
    }
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    document["documentNamespace"] = f"https://spdx.org/spdxdocs/replica-migration-{version}-{digest}"
    json.dump(document, sys.stdout, indent=1)
    print()


main()
