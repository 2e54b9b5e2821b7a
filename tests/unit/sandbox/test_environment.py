from __future__ import annotations

from pathlib import Path

import pytest

from conformance.sandbox import environment


def of(
    inherited: dict[str, str], own: dict[str, str] | None = None, *, threads: int = 1, cache: Path | None = None
) -> dict[str, str]:
    return environment.process_environment(own or {}, inherited, threads=threads, home=Path("/home"), cache=cache)


@pytest.mark.parametrize(
    "leaking",
    [
        "KERAS_BACKEND",
        "KERAS_HOME",
        "TF_USE_LEGACY_KERAS",
        "TF_ENABLE_ONEDNN_OPTS",
        "TF_XLA_FLAGS",
        "JAX_ENABLE_X64",
        "JAX_DEFAULT_MATMUL_PRECISION",
        "XLA_FLAGS",
        "NVIDIA_TF32_OVERRIDE",
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
        "TORCHDYNAMO_DISABLE",
        "ONEDNN_DEFAULT_FPMATH_MODE",
        "PYTEST_CURRENT_TEST",
        "PYTHONWARNINGS",
    ],
)
def test_variables_that_change_a_framework_are_removed(leaking: str) -> None:
    assert of({leaking: "leaked"}).get(leaking) != "leaked"
    assert environment.removed_names({leaking: "leaked", "PATH": "/bin"}) == (leaking,)


@pytest.mark.parametrize(
    "name", ["PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS", "TF_CPP_VMODULE"]
)
def test_variables_that_describe_the_machine_stay(name: str) -> None:
    assert of({name: "stays"})[name] == "stays"
    assert environment.removed_names({name: "stays"}) == ()


def test_a_read_only_home_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert of({"HOME": str(tmp_path)})["HOME"] == str(tmp_path)
    for unusable in ("", str(tmp_path / "none"), str(tmp_path / "file"), "/proc", "/sys"):
        assert of({"HOME": unusable})["HOME"] == of({})["HOME"] == of({})["KERAS_HOME"]


def test_a_cache_is_a_writable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert environment.writable_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()
    for unusable in (
        tmp_path / "file",
        tmp_path / "file" / "b",
        Path("/proc/b"),
        Path("/sys"),
        Path("~no-such-user/b"),
    ):
        assert environment.writable_folder(unusable) is None


def test_log_level_is_low_unless_it_was_set() -> None:
    assert of({})["TF_CPP_MIN_LOG_LEVEL"] == "2"
    assert of({"TF_CPP_MIN_LOG_LEVEL": "0"})["TF_CPP_MIN_LOG_LEVEL"] == "0"


def test_threads_are_limited_everywhere() -> None:
    assert {of({"OMP_NUM_THREADS": "64"}, threads=3)[each] for each in environment.THREAD_COUNTS} == {"3"}


def test_the_registry_wins() -> None:
    own = {"KERAS_BACKEND": "jax", "OMP_NUM_THREADS": "7"}
    assert own.items() <= of({"KERAS_BACKEND": "torch"}, own).items()


def test_compiled_programs_have_a_folder_for_each_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"jax": "0.10.2", "jaxlib": "0.10.1"}
    monkeypatch.setattr("importlib.metadata.version", versions.__getitem__)
    folder = Path(of({}, cache=tmp_path)["JAX_COMPILATION_CACHE_DIR"])
    assert folder.parent == tmp_path
    assert folder.name.startswith("jax-0.10.2-jaxlib-0.10.1-python-3.")
    versions["jaxlib"] = "0.10.2"
    assert of({}, cache=tmp_path)["JAX_COMPILATION_CACHE_DIR"] != str(folder)
    assert "JAX_COMPILATION_CACHE_DIR" not in of({"JAX_COMPILATION_CACHE_DIR": "/shared"})
