"""Write a model as one file, from the pixels of an image to people, for runtimes without this package.

rle-onestage export --model people --output people.onnx
rle-onestage export --config-file output/run/config.yaml --output mine.xml --format openvino MODEL.WEIGHTS W
rle-onestage export --model people --output people_int8.onnx --int8 --calibration photographs
rle-onestage export --model people --output triton/people.onnx --batch 8 --server triton triton/models
rle-onestage export --describe people.onnx

The file is compared with PyTorch on some images, but one for Core ML. If the numbers differ, no file is kept.
"""

import argparse
import json
import os
from collections.abc import Sequence

from rle_onestage.cli.checks import check_config, check_images, check_output_folder
from rle_onestage.cli.options import add_options, parse_options, read_config, start
from rle_onestage.errors import ConfigError, exits_with_sentence
from rle_onestage.utils.arguments import CommandParser, positive_int
from rle_onestage.utils.packaged_files import MODELS, config_names, find_config, near_names


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; options of the config may stand anywhere, with ``--opts`` or without."""
    parser = CommandParser("export", __doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--model", metavar="NAME", help="a model with weights that come with the package, such as people")
    what.add_argument("--config-file", metavar="FILE", help="a YAML file, a run's config.yaml, or one of the package")
    what.add_argument("--describe", metavar="FILE", help="print what an exported file says about itself, as JSON")
    parser.add_argument("--output", metavar="FILE", help="file to write; its ending says the format")
    parser.add_argument(
        "--format", metavar="F",
        help="onnx (.onnx), openvino (.xml), torchscript (.pt), torch_export (.pt2), executorch (.pte), litert "
        "(.tflite) or coreml (.mlpackage); default: by the ending of --output",
    )  # fmt: skip
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--size", type=positive_int, nargs=2, metavar=("H", "W"),
        help="height and width that the network runs at, multiples of 32 for most models; images are resized to fit "
        "and padded, but see --static",
    )  # fmt: skip
    size.add_argument("--dynamic", action="store_true", help="resize each image as the config does (the default)")
    parser.add_argument(
        "--static", action="store_true",
        help="with --size: the images have that size already, the file resizes nothing; the fastest",
    )  # fmt: skip
    parser.add_argument("--batch", type=positive_int, default=0, metavar="N", help="take N images of one size at once")
    parser.add_argument("--rgb", action="store_true", help="the images are RGB (default: BGR, as OpenCV reads them)")
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument("--half", action="store_true", help="store the weights in float16")
    weights.add_argument("--int8", action="store_true", help="run the convolutions in 8 bits")
    parser.add_argument(
        "--calibration", nargs="+", default=[], metavar="PATH", help="images, folders or globs for --int8"
    )
    parser.add_argument(
        "--images", nargs="+", default=[], metavar="PATH",
        help="images, folders or globs to compare with PyTorch on (default: two of the package)",
    )  # fmt: skip
    parser.add_argument("--dataset", metavar="NAME", help="measure PyTorch and the file on it too")
    parser.add_argument(
        "--server", nargs=2, metavar=("KIND", "FOLDER"),
        help="write the file, by its name, into the models of a server too: triton, or ovms (OpenVINO Model Server)",
    )  # fmt: skip
    parser.add_argument("--licence", metavar="TEXT", help="of the weights, instead of the one that is known of them")
    add_options(parser)
    return parse_options(parser, arguments)


def check_flags(args: argparse.Namespace) -> None:
    """Whether the flags go together.

    Raises:
        ConfigError: they do not.
    """
    if args.output is None:
        raise ConfigError("where to write is not given; name a file with --output")
    if args.static and args.size is None:
        raise ConfigError("--static needs the size of the images; give it with --size H W")
    if args.int8 != bool(args.calibration):
        raise ConfigError(
            "--int8 needs images to calibrate on; give some with --calibration" if args.int8
            else "--calibration is for --int8; leave it out, or give --int8 too"
        )  # fmt: skip


def check_model(name: str | None) -> None:
    """Raises ConfigError where ``--model`` names no config of the package and nothing that is near one."""
    if name is None or os.path.isfile(name) or find_config(MODELS.get(name, name)) is not None:
        return
    if not near_names(name, [*MODELS, *config_names()]):
        raise ConfigError(f"{name!r} is not in the model zoo; choose among {', '.join(MODELS)}, or give --config-file")


@exits_with_sentence
def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    if args.describe is None:
        check_flags(args)
        check_images(args.images, "--images")
        check_images(args.calibration, "--calibration")
        check_model(args.model)
        check_config(args.config_file, args.opts)
        check_output_folder(args.server[1] if args.server else None, "--server")
    start(log=args.describe is None)
    if args.describe is not None:
        _describe(args)
    else:
        _export(args)


def _describe(args: argparse.Namespace) -> None:
    from rle_onestage.engine.config.imports import import_modules
    from rle_onestage.export import describe

    import_modules(args.imports)
    entries = describe(args.describe).items()
    print("{\n" + ",\n".join(f' "{key}": {json.dumps(value, ensure_ascii=False)}' for key, value in entries) + "\n}")


def _export(args: argparse.Namespace) -> None:
    from rle_onestage.data.lookup import check_sets
    from rle_onestage.export import (
        FORMATS,
        ExportOptions,
        check_server,
        export_model,
        measure,
        read_images,
        write_server,
    )

    args.output = args.output.rstrip(os.sep)  # of a folder that was completed by Tab
    name, ending = os.path.splitext(os.path.basename(args.output))
    server, folder = args.server or (None, "")
    if server is not None:
        check_server(server, folder, ending, name)
    if args.model is not None:
        from rle_onestage.model_zoo import get_checkpoint_url, get_config_file

        args.config_file = get_config_file(args.model)
        if "MODEL.WEIGHTS" not in args.opts[::2]:
            args.opts = ["MODEL.WEIGHTS", get_checkpoint_url(args.model), *args.opts]
    cfg = read_config(args, task="inference")  # with formats of the modules that it imports
    if args.format is None:
        args.format = next((name for name, kind in FORMATS if args.output.endswith(kind.ending)), "onnx")
    if args.dataset and not FORMATS.get(args.format).runs:
        raise ConfigError(
            f"--dataset runs the file, which for the format {args.format} cannot be done here; leave it out"
        )
    if args.dataset:
        check_sets(cfg, [], needed=[args.dataset], images=True)
    options = ExportOptions(
        canvas=None if args.size is None else tuple(args.size),
        static=args.static,
        rgb=args.rgb,
        batch=args.batch,
        half=args.half,
        calibration=read_images(args.calibration) if args.int8 else (),
        licence=args.licence,
    )
    made = export_model(cfg, args.output, args.format, images=read_images(args.images), options=options)
    print("\n".join(made.lines), flush=True)
    if args.dataset:
        print("\n".join(measure(cfg, args.output, args.dataset)), flush=True)
    if server is not None:
        written = write_server(server, folder, args.output, name)
        print(f"for {server}: {', '.join(written)}")
