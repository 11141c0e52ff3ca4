"""How much memory is available."""

from pathlib import Path

__all__ = ["available_memory", "format_bytes"]

_CGROUP = Path("/sys/fs/cgroup")


def available_memory() -> int | None:
    """Return the bytes that this process can still allocate, or None if the system does not say."""
    known = [size for size in (_system_memory(), _cgroup_memory()) if size is not None]
    return min(known) if known else None


def format_bytes(size: float) -> str:
    """Write a size in readable units, as 1.5 GiB."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} TiB"


def _system_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return None


def _cgroup_memory() -> int | None:
    for limit, used, cached in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            most = (_CGROUP / limit).read_text().strip()
            if most == "max":
                return None
            left = int(most) - int((_CGROUP / used).read_text())
            statistics = (_CGROUP / limit).with_name("memory.stat").read_text().split()
            # what the system would drop from its cache of files is free as well
            return left + int(statistics[statistics.index(cached) + 1])
        except (OSError, ValueError):
            continue
    return None
