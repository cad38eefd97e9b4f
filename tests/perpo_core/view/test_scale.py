"""A hundred thousand lists: a page costs what it shows, and a search stops when its time is up."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perpo_core.view import Query, RunView, render_tab
from perpo_core.view.choosing import PER_PAGE, choose
from tests.perpo_core.view.rows import build_store

NUM_LISTS = 100_000
MAX_SHARE = 0.05  # of the memory that all lists take, loaded
MAX_RATIO = 5.0  # of a deep page's time to the first's; they are the same work
SEARCH_S = 0.2
POOLS: list[pa.MemoryPool] = []  # what was allocated in one is freed there, long after


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> RunView:
    return RunView(*build_store(tmp_path_factory.mktemp("store"), NUM_LISTS, part_lists=4096))


@contextmanager
def measuring() -> Iterator[dict[str, float]]:
    """Seconds and the most bytes held meanwhile, by Python, numpy and Arrow."""
    found: dict[str, float] = {}
    pool, before = pa.proxy_memory_pool(pa.default_memory_pool()), pa.default_memory_pool()
    POOLS.append(pool)
    gc.collect()
    pa.set_memory_pool(pool)
    tracemalloc.start()
    started = time.perf_counter()
    try:
        yield found
    finally:
        found["seconds"] = time.perf_counter() - started
        found["bytes"] = tracemalloc.get_traced_memory()[1] + (pool.max_memory() or 0)
        tracemalloc.stop()
        pa.set_memory_pool(before)


def time_page(view: RunView, query: Query) -> float:
    """Seconds, the least of three."""

    def run() -> float:
        started = time.perf_counter()
        render_tab(view, "lists", query)
        return time.perf_counter() - started

    return min(run() for _ in range(3))


@pytest.mark.timeout(300)
def test_pages_of_a_hundred_thousand_lists(view: RunView) -> None:
    paths = sorted(view.files.open("materialize", "part-").values())
    loaded = sum(pq.read_table(path).nbytes for path in paths)
    with measuring() as first:
        html = render_tab(view, "lists", Query())
    assert f"of {NUM_LISTS + 4:,}" in html
    deep = Query(page=NUM_LISTS // PER_PAGE - 7)
    with measuring() as later:
        render_tab(view, "lists", deep)
    print(f"loaded {loaded:,} B; page 1 {first}; deep page {later}")
    assert first["bytes"] < MAX_SHARE * loaded and later["bytes"] < MAX_SHARE * loaded
    near, far = time_page(view, Query()), time_page(view, deep)
    widest = time_page(view, Query(order="widest", least=0.95))
    print(f"page 1 {near:.4f} s, deep {far:.4f} s, filtered and sorted {widest:.4f} s")
    assert far < MAX_RATIO * near and widest < MAX_RATIO * near


@pytest.mark.timeout(300)
def test_every_list_is_on_one_page_and_no_other(view: RunView) -> None:
    tab = view.get_tab("lists")
    whole = choose(tab, Query())
    assert whole.num_pages == -(-(NUM_LISTS + 4) // PER_PAGE)
    shown = [
        n for page in (1, 2, 5000, whole.num_pages) for n in choose(tab, Query(page=page)).numbers
    ]
    assert len(set(shown)) == len(shown)
    assert choose(tab, Query(page=10**9)).numbers[-1] == NUM_LISTS + 3
    narrowest = choose(tab, Query(order="narrowest", least=0.9)).numbers
    assert narrowest[0] == NUM_LISTS + 3


@pytest.mark.timeout(300)
def test_a_search_stops_in_time_says_how_far_it_got_and_goes_on(view: RunView) -> None:
    tab, query = view.get_tab("lists"), Query(q="nowhere to be found")
    started = time.perf_counter()
    chosen = choose(tab, query, SEARCH_S)
    took = time.perf_counter() - started
    search = chosen.search
    assert search is not None and not len(chosen.numbers)
    one_chunk = choose(tab, query, 0.0).search
    assert one_chunk is not None and one_chunk.num_looked == 256
    assert took < 10 * SEARCH_S
    assert search.num_looked >= 256 and search.goes_on == (search.num_looked < NUM_LISTS + 4)
    on = choose(tab, query.model_copy(update={"start": search.num_looked}), SEARCH_S).search
    assert on is not None and on.num_looked > search.num_looked
    page = render_tab(view, "lists", Query(q="red square", start=50_000))
    assert "looked through 50,010 of 100,004, more on the next page" in page
    assert "start=50010" in page
