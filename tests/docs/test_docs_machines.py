"""The manifests of the page on many machines: what they start is a command of ours, with what a restart needs."""

import shlex
import shutil
import subprocess

import pytest
import yaml
from doc_pages import ROOT
from torch.distributed.run import get_args_parser

from rle_onestage.cli import COMMANDS
from rle_onestage.engine import argument_parser

FOLDER = ROOT / "docs" / "many_machines"
_JOB = "spec.runtimePatches.0.trainingRuntimeSpec.template.spec.replicatedJobs.0.template"
_CLUSTER = "spec.rayClusterSpec"
PODS = {
    "pytorchjob": ["spec.pytorchReplicaSpecs.Worker.template.spec"],
    "trainjob": [f"{_JOB}.spec.template.spec"],
    "rayjob": [f"{_CLUSTER}.headGroupSpec.template.spec", f"{_CLUSTER}.workerGroupSpecs.0.template.spec"],
}


def manifest(name):
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


def at(node, path):
    for part in path.split("."):
        node = node[int(part) if part.isdecimal() else part]
    return node


def check_training(words):
    """A command of torchrun that starts a training which goes on where it can."""
    assert words[0] == "torchrun"
    given = get_args_parser().parse_args(words[1:])
    assert given.module and given.training_script == "rle_onestage.cli"
    assert given.training_script_args[0] == "train"
    arguments = argument_parser().parse_args(given.training_script_args[1:])
    assert arguments.resume and arguments.config_file and "OUTPUT_DIR" in arguments.opts
    return given


@pytest.mark.parametrize("name", PODS)
def test_pods_have_the_volumes_that_their_containers_mount(name):
    for path in PODS[name]:
        pod = at(manifest(name), path)
        (container,) = pod["containers"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes and "shared" in volumes


def test_the_elastic_job_starts_a_training():
    job = manifest("pytorchjob")
    (container,) = job["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]["containers"]
    check_training(container["command"])
    assert {"name": "TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "value": "1"} in container["env"]
    assert container["name"] == "pytorch"
    assert job["spec"]["elasticPolicy"]["minReplicas"] < job["spec"]["elasticPolicy"]["maxReplicas"]
    assert job["spec"]["nprocPerNode"] == container["resources"]["limits"]["nvidia.com/gpu"]


def test_the_job_of_a_fixed_number_starts_a_training():
    trainer = manifest("trainjob")["spec"]["trainer"]
    check_training(trainer["command"])
    assert str(trainer["numProcPerNode"]) == trainer["resourcesPerNode"]["limits"]["nvidia.com/gpu"]


def test_the_prediction_is_a_command():
    words = shlex.split(manifest("rayjob")["spec"]["entrypoint"])
    assert words[0] == "rle-onestage" and words[1] == "predict"
    if "predict" not in COMMANDS:
        pytest.skip("this version has no command predict")
    from rle_onestage.cli.predict import parse as parse_predict

    assert parse_predict(words[2:]).ray == "auto"


def test_the_script_for_slurm_starts_a_training():
    script = FOLDER / "train.sbatch"
    text = script.read_text(encoding="utf-8")
    line = text[text.index("torchrun --nnodes") :].replace("\\\n", " ")
    for variable, value in (
        ("$SLURM_NNODES", "4"),
        ("$SLURM_GPUS_ON_NODE", "8"),
        ("$config", "my.yaml"),
        ('"$@"', "OUTPUT_DIR /shared/run"),
    ):
        assert variable in line
        line = line.replace(variable, value)
    given = check_training(shlex.split(line))
    assert given.nnodes == "1:4" and given.nproc_per_node == "8" and given.max_restarts > 10
    assert "export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1" in text
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", script], check=True)
