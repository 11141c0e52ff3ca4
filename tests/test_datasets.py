"""Data sets by name, from a server on this machine."""

import base64
import hashlib
import io
import re
import runpy
import threading
import zipfile
import zlib
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from isthmus import datasets, read_ratings, synthetic_ratings
from isthmus.cli import app

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

pytest.importorskip("pooch")
pytest.importorskip("xlrd")


class Handler(SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    """A server of archives, and the files that it was asked for."""
    served = tmp_path / "served"
    served.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=served))
    server.asked, server.folder = [], served
    server.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ISTHMUS_DATASETS", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def serve(server, cache, monkeypatch):
    """Put an archive on the server, and let a data set come from there."""

    def serve(name, files, *, known=True):
        found = datasets._SETS[name]
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for member, content in files.items():
                packed.writestr(member, content)
        (server.folder / found.archive).write_bytes(archive.getvalue())
        digest = hashlib.sha256(archive.getvalue()).hexdigest() if known else found.hash
        entry = found._replace(url=server.url + found.archive, hash=digest)
        monkeypatch.setitem(datasets._SETS, name, entry)

    return serve


SMALL = {
    "ml-100k/u.data": "196\t242\t3\t881250949\n22\t377\t1\t878887116\n",
    "ml-100k/u.item": "242|Kolya (1996)|24-Jan-1997\n377|Am\xe9lie|x\n".encode("latin-1"),
    "ml-100k/README": "terms",
}


def test_downloads_once_and_shows_the_licence(serve, server, cache, capsys):
    serve("ml-100k", SMALL)
    ratings = datasets.fetch("ml-100k")
    assert ratings.user_ids.tolist() == [22, 196]
    assert ratings.timestamps.tolist() == [878887116, 881250949]
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"downloading ml-100k: {datasets.licence('ml-100k')}\n"
    assert "Harper & Konstan" in err
    again = datasets.fetch("ml-100k")
    assert datasets.fetch_items("ml-100k") == {242: "Kolya (1996)", 377: "Am\xe9lie"}
    assert again.has_same_ids(ratings)
    assert server.asked == ["/ml-100k.zip"]
    assert capsys.readouterr() == ("", "")
    assert (cache / "ml-100k.zip").exists()
    assert {path.name for path in cache.iterdir()} == {
        "ml-100k.zip",
        "ml-100k-u.data",
        "ml-100k-u.item",
    }


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("ml-1m", {"ml-1m/ratings.dat": "1::1193::5::978300760\n"}),
        ("ml-10m", {"ml-10M100K/ratings.dat": "1::1193::5::978300760\n"}),
        *(
            (name, {f"{name}/ratings.csv": "userId,movieId,rating,timestamp\n1,1193,5,978300760\n"})
            for name in ("ml-20m", "ml-25m", "ml-32m", "ml-latest-small")
        ),
    ],
)
def test_reads_every_movielens(serve, name, files):
    serve(name, files)
    users, items, values, stamps = datasets.fetch(name).to_arrays()
    assert (*users, *items, *values, *stamps) == (1, 1193, 5, 978300760)


# Excel sheets, compressed: [[2, -7.82, 99, 0.0], [1, 99, 99, 9.5]], and [[1, "x"]].
NUMBERS = (
    "eNrtWD1oFEEU/mbvPySX3XgREuE4AomapBEbm2SjEFMZoo0igrmYLTThEtY02hiNVyqClWITSJMiURt/UEE7QSGiha"
    "AId1paiQoWyY1v3s7C5afIgYYo8y3zzbs382bmZt7b2Zk3S05p9n5rGWvQiwgqMoV4lU5QSoU/bFC5lEoM8yQlafBP"
    "IZWkhYzH8KThdUKtoVrvMizci74gBj5TOoVJDE4UvNwW4hCPIS/UGHqIBe6QJo0WHlUT8xnmHcx3ueZT5j7WXGPuob"
    "olcRJL7mDnAe3FJ6w2LktDtfuQbT6wZh+a8VJ58aUbIqgbw0H/bH58exZko/WYA63bgFfw/Px4CRlawDn8lDngRxip"
    "z3NGv7V6AdL/Wq1PbKC/aUWBachhdvAiOeRCJAjCc975Kc9f5ldqgDr18uVgtVcFawM7cT3xKBpZdtiVbbJdnv/29s"
    "jIkHuaNdO6NeVD7apnSFxWFmSc5hKLWZV0stzFfIVb3cVyK3OGHJDyjqFmLRye4TpXubSD+tnPeOfurpL3kFz8evRR"
    "tvjF3Uvy4kD5YmbxvTuLNtpWRslePTPoFt3i9i2Fx26YCx3yn5hb1oV/0rL12KXeqxrxDFkWHZ47B6++S+nguoCeoQ"
    "hbiQ2sBNePMwf1A/6YVla9VhMe8FT1VW2OdTAwMDAwMDAwMDDY9hD6sz+iP/xj+liR0Pc6K5Qq5prkv8UxTNAzRQfT"
    "fhQo93GhJv/ZiZgI2xKbtAnvCxWOU+8+xjDC4xir2X/pWCiq/8+mDe0/F0K19l+pZZx/uf/f1MTAfw=="
)
WORDS = (
    "eNq7cF7wwcKNUg8Z0IAdAzPDv/+cDGxIYoxAzAnjCDAA5f//BzFhNAcQ/x8FQwpwcgAjko2VYTfvGXZQHILi+yEDE8"
    "MGloNAkoHhERDHMBQw+OXnpSrQETiB3ZDICHKDLZBkZJgDFOFjkAS7SghMJoNJYTC5HqxyD5h0AIv0gklboNoHjFEM"
    "5+39tCygqTiCSQksx8cAMnc7WM8tsIghgyjDCVAqrp/ACFHLyuBYlJmYMzgl5Fh4GJYwAOPNPTUvtSgx5wGDCDAClz"
    "B8/a/AwPAFllMPKIyK01eckQEo/gNVnB2L+GQmFgaGBob/CeAE3gpMkBuZIZkwK7W4JLXoDwMPuNCF4gouUAEMzrAC"
    "KBmWF5yQeYBkCgM/mC0ITs4CwCL5z8qPl3yTAuzjwSIN4EIaYqIqyHaG/wyNIB1AzXxwGQawWi0wqQ0mm8CmSoPZUm"
    "BSBJgIgbRagCiU4dYMVtMCllUD2mMMBpft1ZHYGkB26+vAHXKtj+01gex17g+rRNZdt1/IoASsWlKA+kGwmUGHUYdx"
    "1kwQ2GkPoxmh2f4umJTEKAI4mASgbv8Pra/4GeqYuMBMQXA4/WXgAvtQEFLFMQkxbANpBBYYCMDFMApGwSgYBaNgFI"
    "yCUTAKRsGwBYzQxj6o3wHqDrBCuxTs0HGdv0D8b3SYZNiCIIZ8ICwBdkxdGfKAdBFDJUnpR4yBlRFmFiORemDjhSAQ"
    "DrS9iCGbIQnsjmyS0y+wS8iI7B+iNQpQLwuRav8/UtxJY/sB81+44A=="
)


def sheet(packed):
    return zlib.decompress(base64.b64decode(packed))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_reads_jester(serve, number):
    serve(f"jester-{number}", {f"jester-data-{number}.xls": sheet(NUMBERS)})
    users, items, values, stamps = datasets.fetch(f"jester-{number}").to_arrays()
    assert users.tolist() == [1, 1, 2]
    assert items.tolist() == [1, 3, 3]
    np.testing.assert_allclose(values, [-7.82, 0, 9.5], rtol=1e-6)
    assert stamps is None
    with pytest.raises(
        ValueError, match=r"must be of a data set with titles, but jester-\d has no"
    ):
        datasets.fetch_items(f"jester-{number}")


def test_a_jester_that_is_no_sheet_is_refused(serve):
    serve("jester-1", {"jester-data-1.xls": b"no sheet at all"})
    with pytest.raises(ValueError, match=r"1\.xls cannot be read as an Excel file"):
        datasets.fetch("jester-1")
    serve("jester-2", {"jester-data-2.xls": sheet(WORDS)})
    with pytest.raises(ValueError, match=r"2\.xls cannot be read as an Excel file"):
        datasets.fetch("jester-2")


def test_another_archive_is_refused_and_not_kept(serve, cache):
    serve("ml-100k", SMALL, known=False)
    with pytest.raises(ValueError, match=r"ml-100k\.zip is not the archive of ml-100k that is"):
        datasets.fetch("ml-100k")
    assert not any(cache.iterdir())


def test_a_file_that_was_cut_off_is_downloaded_again(serve, server, cache):
    serve("ml-100k", SMALL)
    datasets.fetch("ml-100k")
    archive = cache / "ml-100k.zip"
    archive.write_bytes(archive.read_bytes()[:-10])
    assert datasets.fetch("ml-100k").nnz == 2
    assert len(server.asked) == 2


def test_without_a_known_hash_damage_is_found_in_the_archive(serve, cache):
    serve("jester-1", {"other.xls": b""}, known=False)
    with pytest.raises(ValueError, match=r"jester-data-1\.zip cannot be read as an archive of a"):
        datasets.fetch("jester-1")
    (cache / "jester-data-1.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"jester-data-1\.zip cannot be read as an archive of a"):
        datasets.fetch("jester-1")


def test_offline_the_error_says_where_to_put_the_file(serve, server, cache, monkeypatch):
    serve("ml-100k", SMALL)
    archive = (server.folder / "ml-100k.zip").read_bytes()
    found = datasets._SETS["ml-100k"]
    gone = found._replace(url="http://127.0.0.1:9/ml-100k.zip")
    monkeypatch.setitem(datasets._SETS, "ml-100k", gone)
    with pytest.raises(ConnectionError, match=r"put that file into .*cache, as ml-100k\.zip, or l"):
        datasets.fetch("ml-100k")
    (server.folder / "ml-100k.zip").unlink()
    monkeypatch.setitem(datasets._SETS, "ml-100k", found)
    with pytest.raises(ConnectionError, match=r"\(HTTPError\): put that file into"):
        datasets.fetch("ml-100k")
    (cache / "ml-100k.zip").write_bytes(archive)
    monkeypatch.setitem(datasets._SETS, "ml-100k", gone)
    assert datasets.fetch("ml-100k").nnz == 2


@pytest.mark.parametrize("function", [datasets.fetch, datasets.fetch_items, datasets.licence])
@pytest.mark.parametrize("name", ["ml-2m", 7, None])
def test_other_names_are_refused(function, name):
    with pytest.raises(ValueError, match=r"name must be one of ml-100k, .*, but it was "):
        function(name)


def test_without_pooch_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    with pytest.raises(ImportError, match=r"pip install 'isthmus\[datasets\]'"):
        datasets.fetch("ml-100k")


def test_hashes_are_well_formed():
    for name, found in datasets._SETS.items():
        known = found.hash
        assert (known is None) == name.startswith("jester")
        if known is not None:
            kind, _, digits = known.rpartition(":")
            assert len(bytes.fromhex(digits)) == (16 if kind == "md5" else 32)


def test_the_example_runs(serve, monkeypatch, capsys):
    made = synthetic_ratings(60, 40, 1200, random_state=0)
    users, items, values, _ = made.to_arrays()
    lines = [f"{u + 1}\t{i + 1}\t{v:g}\t9\n" for u, i, v in zip(users, items, values, strict=True)]
    titles = [f"{item}|Film {item} ({1985 + item // 4})|x\n" for item in range(1, 41)]
    serve("ml-100k", {"ml-100k/u.data": "".join(lines), "ml-100k/u.item": "".join(titles)})
    monkeypatch.setattr("sys.argv", ["films.py"])
    runpy.run_path(str(EXAMPLES / "films.py"))
    first, *lists = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"ndcg@10 0\.\d+", first)
    assert len(lists) == 3
    for line in lists:
        years = re.findall(r"\((\d{4})\)", line)
        assert years
        assert min(years) >= "1990"
        assert max(Counter(years).values()) <= 2


def run(capsys, *args):
    with pytest.raises(SystemExit) as end:
        app([str(arg) for arg in args], prog_name="isthmus")
    return (end.value.code or 0, *capsys.readouterr())


def test_the_program_takes_a_name_for_a_file(serve, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines = (
        f"{user}\t{item}\t{(user + item) % 5 + 1}\t9\n" for user in range(9) for item in range(9)
    )
    titles = "3|Heat (1995)|x\n"
    serve("ml-100k", {"ml-100k/u.data": "".join(lines), "ml-100k/u.item": titles})
    model = ("--model", "ease", "--output", "m.safetensors")
    code, out, err = run(capsys, "train", "ml-100k", *model, "--threshold", "3")
    assert code == 0
    assert out.startswith("ml-100k: 9 users x 9 items, 49 ratings from 1 to 1\n")
    assert err.startswith("downloading ml-100k: for research")
    code, out, _ = run(capsys, "evaluate", "m.safetensors", "ml-100k", "--include-seen")
    assert code == 0
    assert "ndcg@10" in out
    asked = ("recommend", "m.safetensors", "--user", "1", "--items", "ml-100k", "--include-seen")
    assert re.search(r"^ +\d+  3  .*  Heat \(1995\)$", run(capsys, *asked)[1], re.M)
    code, _, err = run(capsys, "train", "ml-100k", *model, "--encoding", "latin-1")
    assert code == 1
    assert "there must be no options for reading ratings, but there is --encoding" in err
    read_file = "user,item,rating\n1,2,3\n1,3,4\n2,2,5\n"
    (tmp_path / "ml-100k").write_text(read_file)
    assert read_ratings("ml-100k").nnz == 3
    _, out, _ = run(capsys, "train", "ml-100k", *model)
    assert out.startswith("ml-100k: 2 users x 2 items, 3 ratings")
