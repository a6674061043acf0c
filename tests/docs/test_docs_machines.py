"""The manifests of the page on many machines: what they start is a command of ours, with what a restart needs."""

import re
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


# Kind, and by the path of a part the fields that it may have there, with their types; those with a star it must have.
# They are those of the operators' definitions, as far as the manifests use them.
QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|[kMGT]i?)?")
KINDS = {
    "pytorchjob": ("kubeflow.org/v1", "PyTorchJob"),
    "trainjob": ("trainer.kubeflow.org/v1alpha1", "TrainJob"),
    "rayjob": ("ray.io/v1", "RayJob"),
}
FIELDS = {
    "pytorchjob": {
        "spec": {"nprocPerNode": str, "elasticPolicy": dict, "runPolicy": dict, "*pytorchReplicaSpecs": dict},
        "spec.elasticPolicy": {
            "rdzvBackend": str, "minReplicas": int, "maxReplicas": int, "maxRestarts": int, "rdzvConf": list,
        },
        "spec.runPolicy": {"cleanPodPolicy": ("All", "Running", "None"), "backoffLimit": int},
        "spec.pytorchReplicaSpecs": {"Master": dict, "Worker": dict},
        "spec.pytorchReplicaSpecs.Worker": {
            "replicas": int, "restartPolicy": ("Always", "OnFailure", "Never", "ExitCode"), "*template": dict,
        },
    },
    "trainjob": {
        "spec": {"*runtimeRef": dict, "trainer": dict, "runtimePatches": list, "suspend": bool},
        "spec.runtimeRef": {"*name": str, "kind": ("TrainingRuntime", "ClusterTrainingRuntime"), "apiGroup": str},
        "spec.trainer": {
            "image": str, "numNodes": int, "numProcPerNode": int, "command": list, "args": list, "env": list,
            "resourcesPerNode": dict,
        },
        "spec.runtimePatches.0": {"*manager": str, "trainingRuntimeSpec": dict},
        "spec.runtimePatches.0.trainingRuntimeSpec": {"template": dict},
        "spec.runtimePatches.0.trainingRuntimeSpec.template": {"metadata": dict, "spec": dict},
        "spec.runtimePatches.0.trainingRuntimeSpec.template.spec": {"replicatedJobs": list},
        "spec.runtimePatches.0.trainingRuntimeSpec.template.spec.replicatedJobs.0": {"*name": str, "template": dict},
    },
    "rayjob": {
        "spec": {
            "entrypoint": str, "shutdownAfterJobFinishes": bool, "ttlSecondsAfterFinished": int, "backoffLimit": int,
            "*rayClusterSpec": dict,
        },
        _CLUSTER: {"rayVersion": str, "*headGroupSpec": dict, "workerGroupSpecs": list},
        f"{_CLUSTER}.headGroupSpec": {"rayStartParams": dict, "*template": dict},
        f"{_CLUSTER}.workerGroupSpecs.0": {
            "*groupName": str, "replicas": int, "minReplicas": int, "maxReplicas": int, "rayStartParams": dict,
            "*template": dict,
        },
    },
}  # fmt: skip
# Of Kubernetes itself. An image is the runtime's where a patch leaves it out.
CONTAINER = {"*name": str, "image": str, "command": list, "env": list, "resources": dict, "volumeMounts": list}
POD = {"*containers": list, "volumes": list}
VOLUME = {"*name": str, "persistentVolumeClaim": dict, "emptyDir": dict}


def manifest(name):
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


def at(node, path):
    for part in path.split("."):
        node = node[int(part) if part.isdecimal() else part]
    return node


def check_fields(part, fields, where):
    """A part has the fields that it must have, no other than it may have, each of its type or among its choices."""
    known = {name.removeprefix("*"): kind for name, kind in fields.items()}
    assert part.keys() <= known.keys(), f"{where}: {part.keys() - known.keys()}"
    assert {name[1:] for name in fields if name.startswith("*")} <= part.keys(), where
    for name, value in part.items():
        kind = known[name]
        assert value in kind if isinstance(kind, tuple) else type(value) is kind, f"{where}.{name}: {value!r}"


def check_training(words):
    """A command of torchrun that starts a training which goes on where it can."""
    assert words[0] == "torchrun"
    given = get_args_parser().parse_args(words[1:])
    assert given.module and given.training_script == "rle_onestage.cli"
    assert given.training_script_args[0] == "train"
    arguments = argument_parser().parse_args(given.training_script_args[1:])
    assert arguments.resume and arguments.config_file and "OUTPUT_DIR" in arguments.opts
    return given


@pytest.mark.parametrize("name", KINDS)
def test_manifests_have_the_fields_of_their_operators(name):
    whole = manifest(name)
    assert (whole["apiVersion"], whole["kind"]) == KINDS[name] and whole.keys() == {
        "apiVersion", "kind", "metadata", "spec",
    }  # fmt: skip
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", whole["metadata"]["name"])
    for path, fields in FIELDS[name].items():
        check_fields(at(whole, path), fields, f"{name} {path}")
    for each in FOLDER.glob("*.yaml"):
        assert each.stem in KINDS, f"{each.name} is not checked"


@pytest.mark.parametrize("name", PODS)
def test_pods_have_the_fields_of_kubernetes(name):
    whole = manifest(name)
    resources = [whole["spec"]["trainer"]["resourcesPerNode"]] if name == "trainjob" else []
    for path in PODS[name]:
        pod = at(whole, path)
        check_fields(pod, POD, path)
        for volume in pod["volumes"]:
            check_fields(volume, VOLUME, path)
            assert len(volume) == 2  # one source
        for container in pod["containers"]:
            check_fields(container, CONTAINER, path)
            assert name == "trainjob" or "image" in container
            resources += [container["resources"]] if "resources" in container else []
            for mount in container["volumeMounts"]:
                check_fields(mount, {"*name": str, "*mountPath": str}, path)
            for variable in container.get("env", []):
                check_fields(variable, {"*name": str, "*value": str}, path)  # a number is refused
    assert resources
    for each in resources:
        check_fields(each, {"requests": dict, "limits": dict}, name)
        for given in each.values():
            assert all(isinstance(value, str) and QUANTITY.fullmatch(value) for value in given.values()), given


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
