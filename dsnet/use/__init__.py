"""Using a trained detector: the commands of ``dsnet`` that do; each yields the lines to print.

Each imports what it alone needs, since pandas loads slowly.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from dsnet.config.load import CONFIG, ConfigFile, config_files, read_config


def export(
    run: Annotated[Path, typer.Argument(help="Run folder: results/models/resnet50/ds/seed0.")],
    output: Annotated[Path, typer.Option(help="File to write; .onnx for ONNX.")],
    licence: Annotated[str, typer.Option(help="Of the weights; default: dsnet's own.")] = "",
    configfile: ConfigFile = CONFIG,
) -> Iterator[str]:
    """Write a trained detector as one file that stands alone, and its model card."""
    from dsnet.use.trained import export_model

    model = export_model(run, output, read_config(configfile), licence=licence)
    card = output.with_suffix(".md")
    yield f"{output}: SHA-256 of its content {model.sha256}; card {card}"


def predict_studies(
    model: Annotated[Path, typer.Argument(help="Run folder, or a file of dsnet export.")],
    studies: Annotated[list[Path], typer.Argument(help="Folders or zip files of DICOM.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    levels: Annotated[str, typer.Option(help="L1=z1:z2,L2=z3:z4; z in mm of the patient.")] = "",
    span: Annotated[str, typer.Option("--range", help="z1:z2 of the lumbar slices.")] = "",
    anchor: Annotated[
        str, typer.Option(help="Count from sacrum=z, last-rib=z or a level such as L3=z.")
    ] = "",
    annotations: Annotated[
        Path | None, typer.Option(help="Mask or box file, or a folder of them.")
    ] = None,
    name: Annotated[str, typer.Option(help="Patient's name in outputs; default patient-1.")] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Predict on what the criteria refuse, and say so.")
    ] = False,
    dicom: Annotated[
        bool, typer.Option(help="Write SR and SEG; they carry the identity of the study.")
    ] = True,
    configfile: ConfigFile = CONFIG,
) -> Iterator[str]:
    """Find and grade the vertebrae of studies without annotations and DXA. No medical device."""
    from dsnet.use.levels import parse_levels
    from dsnet.use.predict import predict
    from dsnet.use.study import read_study
    from dsnet.use.trained import load_model

    source = parse_levels(levels, span, anchor, annotations)
    own = configfile or config_files()[0].exists()
    loaded = load_model(model, read_config(configfile) if own else None)
    study = read_study(*studies, ingest=loaded.facts.ingest, patient_name=name or None)
    result = predict(loaded, study, levels=source, force=force)
    result.save(output, dicom=dicom)
    yield from result.summary()
    yield f"{output / 'index.html'}: open it in any browser"


def compare(
    results_a: Annotated[Path, typer.Argument(help="Results folder.")],
    results_b: Annotated[Path, typer.Argument(help="Another one.")],
) -> Iterator[str]:
    """Set two runs side by side: settings that differ, metrics, patients whose grade changed."""
    from dsnet.use.runs import compare_results

    return compare_results(results_a, results_b).lines()


def tensorboard(
    results: Annotated[Path, typer.Argument(help="Results folder.")],
    output: Annotated[Path, typer.Option(help="Folder to write, for tensorboard --logdir.")],
) -> Iterator[str]:
    """Write losses and validation of all trainings, also of those under way, for TensorBoard."""
    from dsnet.use.runs import log_trainings
    from dsnet.use.runs import tensorboard as loggers

    for run, epochs in log_trainings(results, loggers(output)).items():
        yield f"{run}: {epochs} epochs"


COMMANDS: Final[dict[str, Callable[..., Iterator[str]]]] = {
    "export": export,
    "predict": predict_studies,
    "compare": compare,
    "tensorboard": tensorboard,
}
