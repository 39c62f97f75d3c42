"""Pins of Maven artifacts: consistent in themselves, kept once, and clear when they cannot come."""

import importlib.util
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from recgraph import jars
from recgraph.config import Settings, load_settings
from recgraph.errors import ServiceError
from recgraph.jars import JarSet, Pin, benchmark_set, kafka_jars, kafka_set, spark_jars, spark_set
from tests.conftest import java_problem, requires


def names_in(folder: Path) -> set[str]:
    return {jar.name.rsplit("-", 1)[0] for jar in folder.glob("*.jar")}


def pyspark_jars() -> Path:
    spec = importlib.util.find_spec("pyspark")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "jars"


def make_set(*pins: Pin, megabytes: int = 1) -> JarSet:
    return JarSet("sample", pins, len(pins), megabytes)


def test_every_pin_says_why(settings: Settings) -> None:
    for pin in (*spark_set(settings).pins, *kafka_set().pins, *benchmark_set().pins):
        assert len(pin.why) > 10


def test_spark_gets_no_jar_that_pyspark_has(settings: Settings) -> None:
    shipped = names_in(pyspark_jars())
    assert shipped > {"spark-core_2.13", "antlr4-runtime"}
    assert shipped.isdisjoint(pin.artifact for pin in spark_set(settings).pins)


def test_spark_pins_take_no_dependencies_with_them(settings: Settings) -> None:
    assert not any(pin.transitive for pin in spark_set(settings).pins)


def test_benchmarks_are_of_the_brokers_version() -> None:
    (tools,) = benchmark_set().pins
    assert not tools.transitive  # the broker's jars have what it needs
    assert tools.version in {pin.version for pin in kafka_set().pins if pin.transitive}


def test_graphframes_carrier_follows_the_setting(settings: Settings) -> None:
    official = load_settings(data_dir=settings.data_dir, graphframes_source="official")
    carriers = [set(spark_set(s).pins) - set(jars.SPARK_PINS) for s in (settings, official)]
    assert [[pin.group for pin in carrier] for carrier in carriers] == [
        ["org.apache.sedona"],
        ["io.graphframes"],
    ]
    assert spark_set(settings).folder != spark_set(official).folder


@pytest.mark.parametrize("field", ["group", "artifact", "version"])
def test_another_pin_is_another_folder(field: str) -> None:
    pin = Pin("a", "b", "1", "to be changed in one place")
    other = pin._replace(**{field: "x"})
    assert make_set(pin).folder != make_set(other).folder
    assert make_set(pin).folder == make_set(pin._replace(why="a better reason")).folder


def test_ivy_file_names_every_pin() -> None:
    tree = ElementTree.fromstring(jars._ivy_xml(kafka_set()))
    found = [(d.get("org"), d.get("name"), d.get("rev")) for d in tree.iter("dependency")]
    assert found == [(pin.group, pin.artifact, pin.version) for pin in kafka_set().pins]
    transitive = [d.get("transitive") for d in tree.iter("dependency")]
    assert transitive == ["true", "false"]


@pytest.mark.services
def test_jars_are_there_and_need_no_network_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    requires(java_problem() is None, java_problem() or "")
    for jar_set, resolve in ((spark_set(settings), spark_jars), (kafka_set(), kafka_jars)):
        first = resolve(settings)
        assert len(first) == jar_set.n_jars
        assert {pin.artifact for pin in jar_set.pins} <= names_in(first[0].parent)
        megabytes = sum(jar.stat().st_size for jar in first) / 1_000_000
        assert megabytes == pytest.approx(jar_set.megabytes, rel=0.1)
        with monkeypatch.context() as patch:
            patch.setenv("PATH", "/nowhere")  # neither Java nor anything else
            assert resolve(settings) == first


@pytest.mark.services
def test_no_network_is_one_line(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    requires(java_problem() is None, java_problem() or "")
    nobody = "-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=9 -Duser.home=/nowhere"
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", nobody)
    empty = load_settings(data_dir=settings.data_dir, cache_dir=settings.data_dir / "cache")
    with pytest.raises(ServiceError, match=r"^no network: the jars for kafka \(44 MB\)") as caught:
        kafka_jars(empty)
    assert "\n" not in str(caught.value)
    assert not jars.is_downloaded(kafka_set(), empty.cache_dir)


def test_full_disk_is_one_line(tmp_path: Path) -> None:
    huge = make_set(Pin("a", "b", "1", "larger than any disk"), megabytes=10**12)
    with pytest.raises(ServiceError, match=r"MB are free on the disk of .* RECGRAPH_CACHE_DIR"):
        jars._resolve(huge, tmp_path)


def test_cache_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ServiceError, match=r"cannot be written .* Not a directory"):
        jars._resolve(kafka_set(), tmp_path / "file")


def test_missing_artifact_is_named() -> None:
    log = "\t\t:: org.slf4j#slf4j-simple;9.9: not found\n"
    said = jars.explain_failure(kafka_set(), log, Path("ivy.log"))
    assert "org.slf4j#slf4j-simple;9.9: not found" in said
    assert "ivy.log" in said
