"""A SLURM cluster on this machine alone: munge, MariaDB, slurmdbd, slurmctld and two slurmd.

Debian's packages slurm-wlm, slurmdbd, munge and mariadb-server must be installed, and root must run
it. Every daemon listens on 127.0.0.1, keeps its files in one folder, and ends with the cluster.
"""

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = ("munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd", "srun", "sacct")
NODES = 2
_CONFIGURED = Path("/etc/slurm/slurm.conf")
_OWN = "ClusterName=loopback"
_START_S = 60.0
_STOP_S = 15.0


def missing_programs() -> list[str]:
    """Return which of the programs are not installed."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


class Cluster:
    """Two nodes of 16 cores, 64 GB and two GPUs each, which only the configuration has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        self.environment["PATH"] += ":/usr/sbin:/sbin"
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Cluster":
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End the jobs, then the daemons, the last one first."""
        if len(self._daemons) > 3:
            self.ask("scancel", "--quiet", "--user=root", check=False)
            self._wait(lambda: not self.ask("squeue", "--noheader", check=False), "end of jobs")
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        if _CONFIGURED.is_symlink() and _CONFIGURED.readlink() == self.folder / "slurm.conf":
            _CONFIGURED.unlink()

    def ask(self, *command: str, check: bool = True) -> str:
        """Return what one of SLURM's commands prints."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        if check and done.returncode:
            raise RuntimeError(f"{command}: {done.stderr}{self.logs()}")
        return done.stdout.strip()

    def logs(self) -> str:
        """Return the end of every daemon's log."""
        ends = [
            f"== {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-15:])
            for path in sorted(self.folder.glob("*.log"))
        ]
        return "\n" + "\n".join(ends)

    def _start(self) -> None:
        if _CONFIGURED.exists() and _OWN not in _CONFIGURED.read_text():
            raise RuntimeError(f"{_CONFIGURED} exists: this machine has a SLURM of its own")
        _CONFIGURED.unlink(missing_ok=True)  # a link that a killed test has left
        self.folder.chmod(0o755)
        # munge refuses a socket in a folder that others may write to.
        munge = self.folder / "munge"
        munge.mkdir(mode=0o755)
        key = munge / "key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "seed-file": "seed"}
        options = [f"--{option}={munge / name}" for option, name in files.items()]
        self._daemon("munged", "--foreground", "--force", *options)
        self._wait((munge / "socket").exists, "munged")

        data, database = self.folder / "mysql", _free_port()
        data.mkdir()
        install = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=root"]
        self.ask(*install, "--auth-root-authentication-method=normal", "--skip-test-db")
        self._daemon(
            "mariadbd",
            "--no-defaults",
            "--user=root",
            f"--datadir={data}",
            f"--socket={data / 'socket'}",
            "--bind-address=127.0.0.1",
            f"--port={database}",
            "--innodb-buffer-pool-size=64M",
        )
        self._wait(_listening(database), "mariadbd")

        accounts, controller = _free_port(), _free_port()
        self._write("slurmdbd.conf", _SLURMDBD.format(accounts=accounts, database=database), 0o600)
        self._daemon("slurmdbd", "-D")
        self._wait(_listening(accounts), "slurmdbd")
        nodes = [
            f"NodeName=n{number} NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1"
            f" Port={_free_port()} CPUs=16 RealMemory=64000 Gres=gpu:2"
            for number in range(NODES)
        ]
        self._write(
            "slurm.conf",
            _SLURM.format(accounts=accounts, controller=controller, nodes="\n".join(nodes)),
        )
        # Where srun looks within a job: the executor removes SLURM's variables there.
        _CONFIGURED.symlink_to(self.folder / "slurm.conf")
        self._write("gres.conf", f"NodeName=n[0-{NODES - 1}] Name=gpu File=/dev/null,/dev/zero\n")
        self.ask("sacctmgr", "--immediate", "add", "cluster", "loopback")
        self._daemon("slurmctld", "-D", "-i")
        self._wait(_listening(controller), "slurmctld")
        for number in range(NODES):
            self._daemon("slurmd", "-D", "-N", f"n{number}")
        idle = ("sinfo", "--noheader", "--format=%T %D")
        self._wait(lambda: self.ask(*idle, check=False) == f"idle {NODES}", "nodes")

    def _write(self, name: str, text: str, mode: int = 0o644) -> None:
        path = self.folder / name
        path.write_text(text.replace("FOLDER", str(self.folder)))
        path.chmod(mode)

    def _daemon(self, *command: str) -> None:
        log = self.folder / f"{len(self._daemons)}-{command[0]}.log"
        with log.open("wb") as stream:
            daemon = subprocess.Popen(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        self._daemons.append(daemon)

    def _wait(self, ready: Callable[[], bool], name: str) -> None:
        end = time.monotonic() + _START_S
        while not ready():
            if time.monotonic() > end:
                raise RuntimeError(f"{name}: not there after {_START_S:.0f} s{self.logs()}")
            time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listening(port: int) -> Callable[[], bool]:
    def ready() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return ready


_SLURMDBD = """\
AuthType=auth/munge
AuthInfo=socket=FOLDER/munge/socket
DbdHost=localhost
DbdPort={accounts}
SlurmUser=root
LogFile=FOLDER/slurmdbd.log
PidFile=FOLDER/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser=root
StorageLoc=slurm
"""

_SLURM = """\
ClusterName=loopback
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=FOLDER/munge/socket
CryptoType=crypto/munge
StateSaveLocation=FOLDER/state
SlurmdSpoolDir=FOLDER/spool-%n
SlurmctldPidFile=FOLDER/slurmctld.pid
SlurmdPidFile=FOLDER/slurmd-%n.pid
SlurmctldLogFile=FOLDER/slurmctld.log
SlurmdLogFile=FOLDER/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
GresTypes=gpu
ReturnToService=2
JobRequeue=1
KillWait=5
OverTimeLimit=0
MinJobAge=300
SchedulerParameters=batch_sched_delay=1,sched_interval=5,bf_interval=5
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={accounts}
AccountingStoragePass=FOLDER/munge/socket
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
