"""A stand-in for the kubelet: runs pods as processes.

A container is the program that its image is named after, with the pod's arguments, variables, user and volumes, in a root of its own
that is read-only and has nothing else to write to. ConfigMaps are brought up to date as a kubelet does it, by one rename. Only what the
chart uses is there: one container for each pod, HTTP probes, no images, no limits.
"""

import base64
import dataclasses
import json
import os
import shlex
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

# Files that are in every image.
ETC = {"passwd": "root:x:0:0::/:/bin/sh\n", "group": "root:x:0:\n", "nsswitch.conf": "hosts: files\n"}


@dataclasses.dataclass
class Node:
    cluster: object     # .get(namespace, kind, name), .services(namespace), .tell(namespace, pod, status)
    programs: str       # folder of what would be in the images
    folder: Path        # logs/POD.log, claims/NAME, pods/UID
    address: str        # of every pod and every service


class Pod:
    def __init__(self, node: Node, pod: dict):
        self.node, self.namespace, self.name, self.spec = node, pod["metadata"]["namespace"], pod["metadata"]["name"], pod["spec"]
        self.container = self.spec["containers"][0]
        self.folder = node.folder / "pods" / pod["metadata"]["uid"]
        self.seen: dict[str, str] = {}
        self.ready, self.exit_code, self.restarts, self.asked = False, None, 0, False
        user = self.spec["securityContext"]
        self.user, self.group = user["runAsUser"], user["fsGroup"]
        self.lay_out()
        self.start()

    def lay_out(self) -> None:
        root = self.folder / "root"
        for place in ("etc", "proc", "dev", "tmp", "usr", "pgrm"):
            (root / place).mkdir(parents=True)
        for link in ("bin", "sbin", "lib", "lib64"):
            (root / link).symlink_to(f"usr/{link}")
        names = " ".join(self.node.cluster.services(self.namespace))
        for name, text in (ETC | {"hosts": f"127.0.0.1 localhost\n{self.node.address} {names}\n"}).items():
            (root / "etc" / name).write_text(text)
        for mount in self.container["volumeMounts"]:
            (root / mount["mountPath"].lstrip("/")).mkdir(parents=True)
        for volume in self.spec["volumes"]:
            (self.folder / "volumes" / volume["name"]).mkdir(parents=True)
        self.bring_up_to_date()

    def source(self, volume: dict) -> Path:
        if "persistentVolumeClaim" in volume:
            claim = self.node.folder / "claims" / volume["persistentVolumeClaim"]["claimName"]
            if not claim.exists():
                claim.mkdir(parents=True)
                os.chown(claim, 0, self.group)
                claim.chmod(0o2770)
            return claim
        return self.folder / "volumes" / volume["name"]

    def bring_up_to_date(self) -> None:
        for volume in self.spec["volumes"]:
            for kind, name in (("configMap", "name"), ("secret", "secretName")):
                if kind not in volume:
                    continue
                data = self.node.cluster.get(self.namespace, kind.lower() + "s", volume[kind][name])["data"]
                if self.seen.get(volume["name"]) == json.dumps(data):
                    continue
                self.seen[volume["name"]] = json.dumps(data)
                self.write(self.source(volume), data, volume[kind].get("defaultMode", 0o644), kind == "secret")

    def write(self, folder: Path, data: dict, mode: int, encoded: bool) -> None:
        """As the kubelet's AtomicWriter: a new folder, and one rename of the link to it."""
        new = folder / f"..{time.time_ns()}"
        new.mkdir()
        for name, text in data.items():
            (new / name).write_bytes(base64.b64decode(text) if encoded else text.encode())
            os.chown(new / name, 0, self.group)
            (new / name).chmod(mode)
            if not (folder / name).is_symlink():
                (folder / name).symlink_to(f"..data/{name}")
        (folder / "..data_tmp").symlink_to(new.name)
        (folder / "..data_tmp").rename(folder / "..data")

    def start(self) -> None:
        root, sources = self.folder / "root", {volume["name"]: self.source(volume) for volume in self.spec["volumes"]}
        mounts = [f"mount --bind {where} {root}/{name} && mount -o remount,bind,ro {root}/{name}"
                  for where, name in (("/usr", "usr"), (self.node.programs, "pgrm"))]
        mounts += [f"mount --bind /dev {root}/dev", f"mount -t proc proc {root}/proc"]
        for mount in self.container["volumeMounts"]:
            target = f"{root}{mount['mountPath']}"
            mounts.append(f"mount --bind {sources[mount['name']]} {target}")
            if mount.get("readOnly"):
                mounts.append(f"mount -o remount,bind,ro {target}")
        assert self.container["securityContext"]["readOnlyRootFilesystem"]
        mounts = [f"mount --bind {root} {root}", *mounts, f"mount -o remount,bind,ro {root}"]
        program = self.container["image"].split("/")[-1].split(":")[0].removeprefix("replica-migration-")
        env = {"PATH": "/pgrm:/usr/bin", **{row["name"]: row["value"] for row in self.container["env"]}}
        run = ["chroot", str(root), "setpriv", f"--reuid={self.user}", f"--regid={self.user}", f"--groups={self.group}",
               "--bounding-set=-all", "--no-new-privs", "env", "-i", *(f"{name}={value}" for name, value in env.items()),
               program, *self.container.get("args", [])]
        # Process 1 is the program itself, or, where the pod's processes are in one space, one that does nothing else.
        begin = f"{shlex.join(run)}; exit $?" if self.spec.get("shareProcessNamespace") else f"exec {shlex.join(run)}"
        log = self.node.folder / "logs" / f"{self.name}.log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", "\n".join([*mounts, "set +e", begin])],
                                            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        self.ready, self.exit_code, self.started = False, None, time.monotonic()
        self.tell()

    def main_process(self) -> int | None:
        """The program's, as this machine numbers it: what a runtime sends a signal to."""
        def children(pid: int) -> list[int]:
            try:
                return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
            except OSError:
                return []
        pids = children(self.process.pid)
        if pids and self.spec.get("shareProcessNamespace"):
            pids = children(pids[0])
        return pids[0] if pids else None

    def probe(self) -> bool:
        probe = self.container.get("readinessProbe")
        if probe is None:
            return True
        port = next(port["containerPort"] for port in self.container["ports"] if port["name"] == probe["httpGet"]["port"])
        try:
            with urllib.request.urlopen(f"http://{self.node.address}:{port}{probe['httpGet']['path']}", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def look(self) -> None:
        if self.exit_code is not None:
            return
        status = self.process.poll()
        if status is not None and self.spec["restartPolicy"] == "Always" and not self.asked:
            if time.monotonic() > self.started + 2:
                self.restarts += 1
                self.start()
            return
        if status is not None:
            self.exit_code = status if status >= 0 else 128 - status
            self.tell()
            return
        self.bring_up_to_date()
        ready = self.probe()
        if ready != self.ready:
            self.ready = ready
            self.tell()

    def tell(self) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self.exit_code is None:
            phase, state = "Running", {"running": {"startedAt": now}}
        else:
            phase = "Failed" if self.exit_code else "Succeeded"
            state = {"terminated": {"exitCode": self.exit_code, "reason": "Error" if self.exit_code else "Completed", "finishedAt": now}}
        ready = self.ready and self.exit_code is None
        conditions = [{"type": kind, "status": str(ready), "lastTransitionTime": now} for kind in ("Ready", "ContainersReady")]
        self.node.cluster.tell(self.namespace, self.name, {
            "phase": phase, "podIP": self.node.address, "conditions": conditions, "containerStatuses": [{
                "name": self.container["name"], "image": self.container["image"], "imageID": "", "ready": ready, "started": ready,
                "restartCount": self.restarts, "state": state}]})

    def end(self) -> bool:
        """Asked to: SIGTERM. True once it has ended."""
        pid = None if self.asked else self.main_process()
        if pid is not None:
            self.asked = True
            os.kill(pid, signal.SIGTERM)
        if self.process.poll() is None:
            return False
        if self.exit_code is None:
            self.look()
        return True

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
