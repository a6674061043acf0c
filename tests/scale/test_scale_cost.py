"""The model of cost: what bounds a job, and where more machines stop helping."""

import pytest

from rle_onestage.cli.predict import main
from rle_onestage.errors import ConfigError
from rle_onestage.scale import Machine, Summary, estimate, most_actors
from rle_onestage.scale.progress import write_summary

MEASURED = Summary(
    output="out", images=500, people=900, errors=0, samples=(), computed=500, seconds=60.0, start_seconds=10.0,
    images_per_second=10.0, actor_rate=10.0, actors=1, threads=1, read_bytes=100e3, written_bytes=10e3, rows=1000,
    max_errors=0.01,
)  # fmt: skip
PLENTY = 1e12


def test_work_is_shared_out_in_whole_units():
    four_cores = Machine(actors=4, cores=4, threads=1)
    one = estimate(1_000_000, 1, four_cores, MEASURED, PLENTY)
    assert one.seconds == pytest.approx(10 + 1_000_000 / 40) and one.limit == "actors" and one.efficiency == 1
    three = estimate(10_000, 3, four_cores, MEASURED, PLENTY)  # ten units for twelve actors
    assert three.seconds == pytest.approx(10 + 100) and three.limit == "units"
    assert estimate(10_000, 30, four_cores, MEASURED, PLENTY).seconds == three.seconds
    few = estimate(200, 1, four_cores, MEASURED, PLENTY)
    assert few.seconds == pytest.approx(10 + 20)


def test_actors_share_the_cores_of_a_machine():
    alone = estimate(100_000, 1, Machine(2, 2, 1), MEASURED, PLENTY)
    crowded = estimate(100_000, 1, Machine(4, 2, 1), MEASURED, PLENTY)
    assert crowded.seconds == pytest.approx(alone.seconds) and crowded.actors == 4
    assert estimate(100_000, 1, Machine(1, 2, 1), MEASURED, PLENTY).seconds > 1.9 * alone.seconds


def test_the_storage_bounds_what_machines_do():
    """110 kB an image at 110 MB/s: a thousand images a second, whatever the machines."""
    many = estimate(1_000_000, 100, Machine(4, 4, 1), MEASURED, 110e6)
    assert many.seconds == pytest.approx(1010) and many.limit == "storage" and many.efficiency < 0.3
    assert most_actors(1_000_000, MEASURED, 110e6) == (100, "storage")
    assert most_actors(10_000, MEASURED, 110e6) == (10, "units")
    with pytest.raises(ConfigError, match="no measured rate"):
        estimate(10, 1, Machine(1, 1, 1), MEASURED._replace(actor_rate=0.0), PLENTY)


def test_the_command_prints_a_table(tmp_path, capsys):
    write_summary(MEASURED._replace(output=str(tmp_path)))
    words = ["--plan", "1000000", "--machines", "1", "8", "--cores", "16", "--output", str(tmp_path)]
    assert main([*words, "--bandwidth", "300"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:3] == ["1", "16", "158.5"] and lines[2].split()[0] == "8"
    assert "10.0 images/s an actor" in lines[3] and "more than 272 working actors" in lines[4]
    assert main(words) == 0 and "MB/s" in capsys.readouterr().out  # measured by writing
    assert sorted(path.name for path in tmp_path.iterdir()) == ["_summary.json"]
    with pytest.raises(SystemExit) as stopped:
        main(["--plan", "10", "--output", str(tmp_path / "none")])
    assert stopped.value.code == 2 and "end a job" in capsys.readouterr().err
