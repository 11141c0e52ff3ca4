"""The API and the guards of `isthmus serve`, by a server on this machine."""

import json
import logging
import re
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import sparse

from isthmus import EASE, AutoRec, BiasedMF, Blend, Ratings, Recommender, synthetic_ratings
from isthmus.serving import create_app, serve

pytest.importorskip("starlette", reason="needs the extra serve")
pytest.importorskip("uvicorn", reason="needs the extra serve")

from test_models import CASES, maker
from web_server import TOKEN, running, until

from isthmus.serving import _app, _explorer, _requests
from isthmus.serving._app import STATIC
from isthmus.serving._catalogue import Catalogue
from isthmus.serving._explorer import Explorer
from isthmus.serving._map import plane_of
from isthmus.serving._openapi import DESCRIPTION

SCRIPT = "<script>window.hacked = true</script>"
HISTORY = [{"item": 501, "rating": 5}, {"item": 502, "rating": 1.5}, {"item": 529, "rating": 4}]


@pytest.fixture(scope="module")
def ratings():
    made = synthetic_ratings(60, 40, 900, random_state=1)
    return Ratings.from_matrix(
        made.to_matrix(), user_ids=np.arange(100, 160), item_ids=np.arange(500, 540)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory, ratings):
    folder = tmp_path_factory.mktemp("serving")
    titles = [f"{item},Film {item} (1999),Drama|Crime" for item in range(502, 540)]
    named = [f'500,"{SCRIPT}",Horror', "501,Amélie de Montmartre,Romance"]
    (folder / "movies.csv").write_text(
        "\n".join(["movieId,title,genres", *named, *titles]), encoding="utf-8"
    )
    AutoRec(hidden_units=(6,), epochs=3, random_state=0).fit(ratings).save(folder / "rates.st")
    EASE(regularization=5.0).fit(ratings.binarize(3)).save(folder / "ranks.st")
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return Recommender.load(folder / "rates.st")


@pytest.fixture(scope="module")
def client(folder):
    with running(folder / "rates.st", items=folder / "movies.csv") as client:
        yield client


@pytest.fixture(scope="module")
def implicit(folder):
    with running(folder / "ranks.st", items=folder / "movies.csv") as client:
        yield client


def row_of(history):
    cells = sorted((one["item"] - 500, one.get("rating", 1)) for one in history)
    columns, values = zip(*cells, strict=True)
    matrix = np.array(values, np.float32), np.array(columns), np.array([0, len(cells)])
    return sparse.csr_array(matrix, shape=(1, 40))


def listed(content):
    return [one["item"] for one in content["items"]]


class TestAnswers:
    def test_recommends_to_users_of_training(self, client, model):
        status, content = client.get("/api/recommend?user=107&n=5")
        items, scores = model.recommend(107, n=5)
        assert (status, listed(content)) == (200, items.tolist())
        np.testing.assert_allclose([one["score"] for one in content["items"]], scores, rtol=1e-6)
        choice = {"candidates": [503, 504, 505, 506, 507], "exclude": [504, 505]}
        address = "&".join(f"{name}={one}" for name, ids in choice.items() for one in ids)
        _, content = client.get(f"/api/recommend?user=107&{address}&exclude_seen=false")
        expected, _ = model.recommend(107, n=3, exclude_seen=False, **choice)
        assert listed(content) == expected.tolist()
        _, content = client.get("/api/recommend?user=107&n=5&order=rating")
        assert listed(content) == model.recommend(107, n=5, order="rating")[0].tolist()

    def test_recommends_from_a_history(self, client, model):
        body = {"history": HISTORY, "n": 6, "exclude": [510, 511], "order": "rating"}
        status, content = client.post("/api/recommend", body)
        expected, scores = model.recommend(
            ratings=row_of(HISTORY), n=6, exclude=[510, 511], order="rating"
        )
        assert (status, listed(content)) == (200, expected[0].tolist())
        np.testing.assert_allclose([o["score"] for o in content["items"]], scores[0], rtol=1e-6)
        body = {"history": HISTORY, "candidates": [501, 503], "exclude_seen": False}
        assert set(listed(client.post("/api/recommend", body)[1])) == {501, 503}

    def test_somebody_without_a_history_gets_a_list(self, client, implicit):
        for one in (client, implicit):
            status, content = one.post("/api/recommend", {"history": []})
            assert (status, len(content["items"])) == (200, 10)

    def test_lists_end_where_nothing_is_left(self, client):
        _, content = client.post("/api/recommend", {"history": HISTORY, "n": 1000})
        assert len(content["items"]) == 40 - 3
        for left in ([], [501]):
            body = {"history": HISTORY, "candidates": left}
            assert client.post("/api/recommend", body) == (200, {"items": []})

    def test_are_the_same_whatever_else_is_asked_meanwhile(self, client):
        rng = np.random.default_rng(0)
        chosen = [rng.choice(np.arange(500, 540), 4, replace=False).tolist() for _ in range(60)]
        bodies = [
            {
                "history": [{"item": one, "rating": 1 + one % 5} for one in items[1:]],
                "item": items[0],
            }
            for items in chosen
        ]

        def answers(body):
            listing = {"history": body["history"]}
            return client.post("/api/recommend", listing), client.post("/api/explain", body)

        alone = list(map(answers, bodies))
        with ThreadPoolExecutor(12) as pool:
            assert list(pool.map(answers, bodies)) == alone

    def test_finds_similar_items(self, client, model):
        _, content = client.get("/api/similar?item=507&n=4")
        assert listed(content) == model.similar_items(507, n=4)[0].tolist()

    def test_explains_what_a_history_does(self, client, model):
        body = {"history": HISTORY, "item": 520, "n": 2}
        status, content = client.post("/api/explain", body)
        expected = model.explain(0, 520, n=2, ratings=row_of(HISTORY))
        assert status == 200
        assert content["score"] == pytest.approx(expected.score)
        assert content["remainder"] == pytest.approx(expected.remainder)
        effects = content["effects"]
        assert [one["item"] for one in effects] == expected.ids.tolist()
        assert [one["rating"] for one in effects] == expected.ratings.tolist()
        np.testing.assert_allclose([one["effect"] for one in effects], expected.effects, rtol=1e-5)

    def test_explains_what_users_of_training_have(self, implicit, folder):
        _, content = implicit.get("/api/explain?user=107&item=520&n=3")
        expected = Recommender.load(folder / "ranks.st").explain(107, 520, n=3)
        assert [one["item"] for one in content["effects"]] == expected.ids.tolist()

    def test_explains_by_a_history_alone_where_values_are_weights(self, ratings, tmp_path):
        model = EASE(regularization=5.0, weights="values").fit(ratings)
        model.save(tmp_path / "weighted.st")
        explorer = Explorer(tmp_path / "weighted.st")
        assert not explorer.about()["explains_users"]
        with pytest.raises(ValueError, match="had, but not how often: POST the ratings"):
            explorer.explain(_requests.Asked(user=107, item=520, n=2))
        history = _requests.History(
            [one["item"] for one in HISTORY], [one["rating"] for one in HISTORY]
        )
        found = explorer.explain(_requests.Asked(history=history, item=520, n=2))
        expected = model.explain(0, 520, n=2, ratings=row_of(HISTORY))
        assert found["score"] == pytest.approx(expected.score)

    def test_likes_need_no_rating(self, implicit, folder):
        likes = [{"item": 501}, {"item": 502}]
        _, content = implicit.post("/api/recommend", {"history": likes})
        expected, _ = Recommender.load(folder / "ranks.st").recommend(ratings=row_of(likes))
        assert listed(content) == expected[0].tolist()

    def test_finds_titles(self, client):
        for query in ("amelie", "MONTMARTRE%20Am%C3%A9", "%20amelie%20de"):
            _, content = client.get(f"/api/items?query={query}")
            assert content == {
                "items": [{"item": 501, "title": "Amélie de Montmartre", "detail": "Romance"}]
            }
        assert client.get("/api/items?query=xyz")[1] == {"items": []}
        _, content = client.get("/api/items?query=film%2051&n=3")
        assert [one["detail"] for one in content["items"]] == ["Drama · Crime"] * 3
        assert client.get("/api/items?query=script")[1]["items"][0]["title"] == SCRIPT

    def test_without_words_lists_the_best_known(self, client, ratings):
        _, content = client.get("/api/items?n=3")
        counts = np.bincount(ratings.indices, minlength=40)
        assert counts[np.array(listed(content)) - 500].tolist() == sorted(counts)[:-4:-1]

    def test_places_all_items_on_a_map(self, client):
        _, content = client.get("/api/map")
        assert sorted(listed(content)) == list(range(500, 540))
        places = np.array([(one["x"], one["y"]) for one in content["items"]])
        assert np.abs(places).max() <= 1
        assert np.ptp(places, axis=0).min() > 0.5
        assert client.get("/api/map")[1] == content

    def test_says_what_the_model_is(self, client, implicit):
        assert client.get("/api/model")[1] == {
            "model": "AutoRec",
            "users": 60,
            "items": 40,
            "titled": True,
            "rates": True,
            "explains_users": False,
            "scale": [1.0, 5.0],
            "levels": [1.0, 2.0, 3.0, 4.0, 5.0],
        }
        about = implicit.get("/api/model")[1]
        assert (about["rates"], about["explains_users"]) == (False, True)
        assert client.get("/healthz")[1] == {"status": "ok"}

    def test_ids_are_titles_without_a_file_of_them(self, folder):
        explorer = Explorer(folder / "ranks.st")
        assert explorer.search("507", 1) == {"items": [{"item": 507, "title": "507", "detail": ""}]}


class TestDescription:
    def test_is_openapi_and_names_every_route(self, client):
        validator = pytest.importorskip("openapi_spec_validator")
        status, described = client.get("/api/openapi.json")
        validator.validate(described)
        assert (status, described) == (200, DESCRIPTION)
        for path, operations in described["paths"].items():
            for method in ("get", "post"):
                allowed = client.ask(method.upper(), path)[0] != 405
                assert allowed == (method in operations), (method, path)

    def test_answers_are_as_described(self, client, implicit):
        schemas = pytest.importorskip("openapi_schema_validator")
        history = {"history": HISTORY}
        answers = {
            "Model": client.get("/api/model"),
            "Items": client.get("/api/items"),
            "Map": client.get("/api/map"),
            "Scored": client.post("/api/recommend", history),
            "Explanation": client.post("/api/explain", {**history, "item": 520}),
            "Error": client.get("/api/similar"),
        }
        for name, (_, content) in answers.items():
            schema = {"$ref": f"#/components/schemas/{name}", **DESCRIPTION}
            schemas.OAS31Validator(schema).validate(content)
        body = DESCRIPTION["paths"]["/api/recommend"]["post"]["requestBody"]
        schema = {**body["content"]["application/json"]["schema"], **DESCRIPTION}
        schemas.OAS31Validator(schema).validate({**history, "n": 5, "exclude": [1, "a"]})


GET_ERRORS = {
    "/api/nothing": (404, "There is nothing at this address."),
    "/api/model/": (404, "There is nothing"),
    "/../pyproject.toml": (404, "There is nothing"),
    "/api/recommend": (400, "There must be a parameter user, but there is none."),
    "/api/recommend?user=1": (404, "user must be known to the model, but 1 is not."),
    "/api/recommend?user=ann": (400, "user must be integers, .* but 'ann' is a string."),
    "/api/recommend?user=-1": (400, "user must be integers"),
    "/api/recommend?user=9999999999999999999": (400, "user must be integers"),
    "/api/recommend?user=": (400, "user must not be empty"),
    "/api/recommend?user=107&user=108": (400, "user must be there once"),
    "/api/recommend?user=107&n=0": (400, "n must be an integer from 1 to 1,000, but it was 0."),
    "/api/recommend?user=107&n=1001": (400, "n must be an integer from 1 to 1,000"),
    "/api/recommend?user=107&n=ten": (400, "n must be an integer from 1 to 1,000"),
    "/api/recommend?user=107&order=best": (400, "order must be one of 'likely', 'rating'"),
    "/api/recommend?user=107&exclude=1": (404, "exclude must be known to the model, but 1 is not."),
    "/api/recommend?user=107&exclude_seen=1": (400, "exclude_seen must be true or false"),
    "/api/recommend?user=107&sort=up": (400, "Every parameter must be one of user, n, .* 'sort'."),
    "/api/similar?item=7": (404, "item must be known to the model, but 7 is not."),
    "/api/items?query=" + 201 * "a": (400, "query must have at most 200 characters, but it has"),
    "/api/items?q=heat": (400, "Every parameter must be one of query, n, but one is 'q'."),
    "/api/explain?user=107&item=501": (400, "AutoRec keeps what a user has rated, but not how"),
}

LISTS = "/api/recommend"
POST_ERRORS = {
    "no JSON": (LISTS, b"{", 400, "The body must be JSON, but it cannot be read as such."),
    "no text": (LISTS, b"\xff\xfe\xfd", 400, "The body must be JSON"),
    "deep": (LISTS, b"[" * 100_000, 400, "The body must be JSON"),
    "a list": (LISTS, [], 400, "The body must be a JSON object."),
    "nothing": (LISTS, {}, 400, "There must be a field history, but there is none."),
    "unknown field": (LISTS, {"history": [], "k": 1}, 400, "Every field must be one of .* 'k'."),
    "no list": (LISTS, {"history": {"1": 5}}, 400, "history must be a list of objects"),
    "bare": (LISTS, {"history": [501]}, 400, "Every entry of history must be an object as"),
    "typo": (LISTS, {"history": [{"item": 501, "stars": 1}]}, 400, "Every entry of history"),
    "unknown": (
        *(LISTS, {"history": [{"item": 7, "rating": 5}]}, 400),
        "every item of history must be known to the model, but 7 is not.",
    ),
    "string": (LISTS, {"history": [{"item": "a", "rating": 5}]}, 400, "every item of history must"),
    "bool": (LISTS, {"history": [{"item": True, "rating": 5}]}, 400, "every item of history must"),
    "object": (LISTS, {"history": [{"item": {}, "rating": 5}]}, 400, "every item of history must"),
    "huge": (LISTS, {"history": [{"item": 10**30, "rating": 5}]}, 400, "every item of history"),
    "unrated": (LISTS, {"history": [{"item": 501}]}, 400, "history must have ratings for AutoRec"),
    "half rated": (
        *(LISTS, {"history": [{"item": 501}, {"item": 502, "rating": 2}]}, 400),
        "Either all entries of history must have a rating or none, but 1 of 2 have one.",
    ),
    "twice": (LISTS, {"history": HISTORY + HISTORY[:1]}, 400, "history must have every item once"),
    "above": (
        *(LISTS, {"history": [{"item": 501, "rating": 6}]}, 400),
        "every rating of history must be from 1 to 5, but one is 6.",
    ),
    "NaN": (LISTS, b'{"history": [{"item": 501, "rating": NaN}]}', 400, "every rating must be a"),
    "text": (LISTS, {"history": [{"item": 501, "rating": "5"}]}, 400, "every rating must be a"),
    "n": (LISTS, {"history": [], "n": 1.5}, 400, "n must be an integer from 1 to 1,000"),
    "seen": (LISTS, {"history": [], "exclude_seen": "no"}, 400, "exclude_seen must be True or"),
    "order": (LISTS, {"history": [], "order": []}, 400, "order must be one of"),
    "exclude": (LISTS, {"history": [], "exclude": 501}, 400, "exclude must be a list of ids"),
    "nested": (LISTS, {"history": [], "exclude": [[501]]}, 400, "exclude must"),
    "other ids": (LISTS, {"history": [], "candidates": [1]}, 400, "candidates must be known"),
    "long": (
        *(LISTS, {"history": [{"item": 501, "rating": 5}] * 1001}, 400),
        "history must have at most 1,000 entries, but it has 1,001.",
    ),
    "many": (LISTS, {"history": [], "exclude": [1] * 10_001}, 400, "exclude must have at most"),
    "big": (LISTS, b" " * (1 << 18) + b"{}", 413, "The body must have at most 262,144 bytes."),
    "no item": ("/api/explain", {"history": HISTORY}, 400, "There must be a field item"),
    "no history": (
        *("/api/explain", {"history": [], "item": 501}, 400),
        "history must have an item for a score to be explained by.",
    ),
    "not here": ("/api/similar", {}, 405, "POST must not be used at this address."),
}


class TestErrors:
    @pytest.mark.parametrize("path", GET_ERRORS)
    def test_of_addresses(self, client, path):
        status, sentence = GET_ERRORS[path]
        self._check(client.get(path), status, sentence)

    @pytest.mark.parametrize("case", POST_ERRORS)
    def test_of_bodies(self, client, case):
        path, body, status, sentence = POST_ERRORS[case]
        self._check(client.post(path, body), status, sentence)

    def _check(self, answer, status, sentence):
        assert answer[0] == status, answer
        assert answer[1].keys() == {"error"}
        assert re.match(sentence, answer[1]["error"]), answer
        assert "\n" not in answer[1]["error"]

    def test_order_of_implicit_models(self, implicit):
        status, content = implicit.post(LISTS, {"history": [], "order": "rating"})
        assert (status, content["error"][:34]) == (400, 'order must be "likely" for EASE, w')

    def test_bodies_must_be_json(self, client):
        for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
            status, content = client.post(LISTS, {"history": []}, **{"Content-Type": kind})
            self._check((status, content), 415, "The header Content-Type must be application/json")

    def test_bodies_in_parts_are_limited_too(self, client):
        headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
        parts = (b" " * 1000 for _ in range(1000))
        status, _, content = client.ask("POST", LISTS, parts, headers, encode_chunked=True)
        self._check((status, content), 413, "The body must have at most")

    def test_bodies_must_come_in_time(self, client, monkeypatch):
        monkeypatch.setattr(_app, "BODY_SECONDS", 0.1)
        headers = {"Content-Type": "application/json", "Content-Length": "100"}
        status, _, content = client.ask("POST", LISTS, b"{", headers)
        self._check((status, content), 408, "The body must be there within")

    def test_too_many_at_once_are_refused(self, client, monkeypatch):
        monkeypatch.setattr(_app, "MAX_WAITING", 0)
        status, headers, content = client.ask("GET", "/api/similar?item=501")
        self._check((status, content), 503, "There are too many requests at once")
        assert headers["retry-after"] == "1"

    def test_mistakes_of_the_server(self, client, monkeypatch, caplog):
        def fail(*_):
            raise RuntimeError("a secret")

        monkeypatch.setattr(Explorer, "similar", fail)
        with caplog.at_level(logging.ERROR):
            status, headers, content = client.ask("GET", "/api/similar?item=501")
            until(lambda: "a secret" in caplog.text)
        self._check((status, content), 500, "The server made a mistake, which its log describes")
        assert "a secret" not in content["error"]
        assert headers["x-content-type-options"] == "nosniff"


class TestPage:
    def test_files_are_there(self, client):
        for path, kind in {
            "/": "text/html; charset=utf-8",
            "/app.js": "text/javascript; charset=utf-8",
            "/map.js": "text/javascript; charset=utf-8",
            "/style.css": "text/css; charset=utf-8",
            "/icon.svg": "image/svg+xml",
        }.items():
            status, headers, content = client.ask("GET", path)
            assert (status, headers["content-type"]) == (200, kind)
            assert content == (STATIC / (path[1:] or "index.html")).read_bytes()

    def test_nothing_is_inline_and_nothing_comes_from_elsewhere(self):
        html = (STATIC / "index.html").read_text()
        assert re.findall(r"<script[^>]*>(.*?)</script>", html, re.S) == [""]
        assert not re.search(r"<style|\sstyle=|\son\w+=", html)
        for path in STATIC.iterdir():
            text = path.read_text().replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"https?:|//\w+\.\w", text), path
            assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval", text)

    @pytest.mark.parametrize("path", ["/", "/app.js", "/api/model", "/api/nothing", "/healthz"])
    def test_headers_keep_browsers_from_doing_more(self, client, path):
        _, headers, _ = client.ask("GET", path)
        policy = headers["content-security-policy"].split("; ")
        assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= set(policy)
        assert not any("unsafe" in part or "*" in part for part in policy)
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"


class TestGuard:
    @pytest.mark.parametrize("path", ["/", "/api/model", "/healthz"])
    @pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.org", ""])
    def test_other_names_are_refused(self, client, path, host):
        status, headers, content = client.ask("GET", path, headers={"Host": host})
        assert (status, content["error"][:20]) == (421, "The Host header must")
        assert "content-security-policy" in headers

    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "[::1]:9", "[::1]", "127.0.0.1"])
    def test_names_of_this_machine_are_not(self, client, host):
        assert client.ask("GET", "/api/model", headers={"Host": host})[0] == 200

    def test_a_token_is_needed_where_there_is_one(self, folder):
        with running(folder / "rates.st", token=TOKEN) as client:
            for wrong in ({}, {"Authorization": "Bearer no"}, {"Authorization": TOKEN}):
                for path in ("/api/model", "/api/map", "/api/openapi.json", "/api/nothing"):
                    status, headers, content = client.ask("GET", path, headers=wrong)
                    assert (status, headers["www-authenticate"]) == (401, "Bearer")
                    assert "Authorization" in content["error"]
            right = {"Authorization": f"Bearer {TOKEN}", "Host": "elsewhere.example"}
            assert client.get("/api/model", **right)[0] == 200
            assert client.post(LISTS, {"history": []}, **right)[0] == 200
            assert client.get("/healthz")[0] == client.get("/?token=any")[0] == 200

    @pytest.mark.parametrize("token", ["", "short", "with a space in the middle", "ü" * 20, 5])
    def test_tokens_are_long_and_plain(self, folder, token):
        with pytest.raises(ValueError, match=r"token must be at least 16 visible ASCII"):
            create_app(folder / "rates.st", token=token)

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.org"])
    def test_hosts_that_others_reach_need_one(self, folder, host):
        with pytest.raises(ValueError, match=f"token must be given for the host {host}"):
            serve(folder / "rates.st", host=host)


class TestReload:
    def test_a_replaced_model_answers_and_no_request_is_lost(self, folder, tmp_path, ratings):
        served = tmp_path / "m.st"
        shutil.copy(folder / "rates.st", served)
        codes, stop = [], threading.Event()

        def hammer():
            while not stop.is_set():
                codes.append(client.post(LISTS, {"history": HISTORY})[0])

        with running(served, items=folder / "movies.csv", reload_seconds=0.05) as client:
            threads = [threading.Thread(target=hammer) for _ in range(3)]
            for thread in threads:
                thread.start()
            for model in (BiasedMF(factors=3, epochs=1), AutoRec(hidden_units=(3,), epochs=1)):
                model.set_params(random_state=0).fit(ratings).save(served)
                name = type(model).__name__
                until(lambda name=name: client.get("/api/model")[1]["model"] == name)
            stop.set()
            for thread in threads:
                thread.join()
        assert set(codes) == {200}

    @pytest.mark.parametrize("damage", [b"", b"no model", None])
    def test_a_damaged_one_leaves_the_old_one(self, folder, tmp_path, damage, caplog):
        served = tmp_path / "m.st"
        shutil.copy(folder / "rates.st", served)
        content = served.read_bytes()
        with (
            caplog.at_level(logging.INFO, "isthmus.serving"),
            running(served, reload_seconds=0.05) as client,
        ):
            served.write_bytes(content[:-1000] if damage is None else damage)
            until(lambda: "kept what was read before" in caplog.text)
            assert str(served) in caplog.text
            assert client.get("/api/model")[1]["model"] == "AutoRec"
            served.unlink()
            until(lambda: "does not exist" in caplog.text)
            assert client.post(LISTS, {"history": HISTORY})[0] == 200
            shutil.copy(folder / "ranks.st", served)
            until(lambda: client.get("/api/model")[1]["model"] == "EASE")

    def test_titles_are_read_again_too(self, folder, tmp_path):
        titles = tmp_path / "titles.csv"
        titles.write_text("501,Old\n")
        with running(folder / "rates.st", items=titles, reload_seconds=0.05) as client:
            titles.write_text("501,Newer\n")
            until(lambda: client.get("/api/items?query=newer")[1]["items"])


class TestExplorer:
    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_serves_every_model(self, case, tmp_path):
        kind, settings = case
        fitted = maker(kind, settings)().fit(synthetic_ratings(50, 40, 700, random_state=1))
        fitted.save(tmp_path / "m.st")
        explorer = Explorer(tmp_path / "m.st")
        assert len(json.loads(explorer.item_map)["items"]) == 40
        low, high = fitted._range
        rating = {"rating": (low + high) / 2} if fitted._rates else {}
        body = {"history": [{"item": 3, **rating}, {"item": 8, **rating}]}
        asked = _requests.asked_in_body(json.dumps(body).encode(), ("history",), ())
        assert len(explorer.recommend(asked)["items"]) == 10
        assert len(explorer.explain(asked._replace(item=5))["effects"]) == 2
        assert len(explorer.similar(5, 3)["items"]) == 3
        assert len(explorer.recommend(_requests.Asked(user=7))["items"]) == 10

    def test_requests_use_one_thread_each(self, tmp_path, ratings):
        members = [BiasedMF(factors=2, epochs=1), AutoRec(hidden_units=(2,), epochs=1)]
        Blend(members).fit(ratings).save(tmp_path / "m.st")
        model = Explorer(tmp_path / "m.st")._model
        assert [one.num_threads for one in (model, *model.models_)] == [1, 1, 1]

    def test_titles_of_other_items_are_refused(self, folder, tmp_path):
        (tmp_path / "titles.csv").write_text("1,Heat\n2,Alien\n")
        with pytest.raises(ValueError, match=r"titles\.csv must have titles of the model's items"):
            create_app(folder / "rates.st", items=tmp_path / "titles.csv")

    def test_ids_are_exact_in_javascript(self, tmp_path, ratings):
        large = 2**53 + np.arange(40)
        renamed = Ratings.from_matrix(ratings.to_matrix().tocoo(), item_ids=large)
        EASE(regularization=5.0).fit(renamed).save(tmp_path / "m.st")
        with running(tmp_path / "m.st") as client:
            _, content = client.get("/api/items?n=1")
            name = content["items"][0]["item"]
            assert isinstance(name, str)
            status, content = client.post(LISTS, {"history": [{"item": name}]})
            assert (status, all(isinstance(one, str) for one in listed(content))) == (200, True)
            assert client.get(f"/api/similar?item={name}")[0] == 200

    def test_string_ids_that_look_like_numbers(self, tmp_path, ratings):
        names = np.array([f"{n:03}" for n in range(40)])
        renamed = Ratings.from_matrix(ratings.to_matrix().tocoo(), item_ids=names)
        EASE(regularization=5.0).fit(renamed).save(tmp_path / "m.st")
        explorer = Explorer(tmp_path / "m.st")
        assert len(explorer.similar("007", 2)["items"]) == 2
        with pytest.raises(_explorer.UnknownId):
            explorer.similar("7", 2)

    @pytest.mark.parametrize(
        ("scale", "levels"),
        [
            ((1, 5), [1, 2, 3, 4, 5]),
            ((0.5, 5), [1, 2, 3, 4, 5]),
            ((1, 10), list(range(1, 11))),
            ((0, 100), [0, 25, 50, 75, 100]),
            ((-9.95, 10), [-9.95, -4.96, 0.03, 5.01, 10]),
            ((0, 1), [0, 1]),
        ],
    )
    def test_levels_to_choose_from(self, scale, levels):
        assert _explorer._levels(*map(float, scale)) == pytest.approx(levels, abs=0.011)

    def test_search_puts_beginnings_before_the_well_known(self):
        from isthmus.data.items import ItemText

        titles = ["The Heat", "Heat", "Red Heat", "Cold"]
        texts = {at: ItemText(title, "") for at, title in enumerate(titles)}
        catalogue = Catalogue(np.arange(4), texts, np.array([5, 1, 9, 20]))
        assert catalogue.search("heat", 9).tolist() == [1, 2, 0]
        assert catalogue.search("", 2).tolist() == [3, 2]

    def test_the_plane_is_that_of_the_principal_components(self):
        rng = np.random.default_rng(0)
        vectors = (rng.standard_normal((200, 12)) * [9, 5, *[1] * 10]).astype(np.float32)
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        left, values, _ = np.linalg.svd(unit - unit.mean(axis=0), full_matrices=False)
        places = plane_of(vectors)
        for axis in (0, 1):
            order = np.argsort(left[:, axis] * values[axis])
            same = np.array_equal(np.argsort(places[:, axis]), order)
            assert same or np.array_equal(np.argsort(places[:, axis]), order[::-1])

    @pytest.mark.parametrize("shape", [(1, 5), (5, 1), (2, 2), (4, 3)])
    def test_the_plane_of_few_or_equal_vectors(self, shape):
        for vectors in (np.zeros(shape), np.ones(shape), np.arange(np.prod(shape)).reshape(shape)):
            places = plane_of(vectors.astype(np.float32))
            assert places.shape == (shape[0], 2)
            assert np.isfinite(places).all()


class TestProgram:
    def test_serves_until_ctrl_c(self, folder):
        from web_server import Client

        program = [sys.executable, "-m", "isthmus", "serve", folder / "rates.st", "--port", "0"]
        titles = ["--items", folder / "movies.csv"]
        process = subprocess.Popen([*program, *titles], stdout=subprocess.PIPE, text=True)
        try:
            line = process.stdout.readline()
            found = re.fullmatch(r"serving .*rates\.st at http://127\.0\.0\.1:(\d+); .*\n", line)
            client = Client(int(found[1]))
            assert client.get("/api/items?query=amelie")[1]["items"][0]["item"] == 501
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.stdout.close()
            process.wait()

    def test_says_what_is_wrong(self, run, folder, client):
        for arguments, sentence in {
            ("--host", "0.0.0.0"): "--token must be given for the host 0.0.0.0, which others may",
            ("--token", "secret"): "--token must be at least 16 visible ASCII characters",
            ("--port", client.port): f"127.0.0.1, port {client.port}, cannot be listened at: Addr",
            ("--items", "nothing.csv"): "nothing.csv must be a file, but there is none.",
        }.items():
            code, out, err = run("serve", folder / "rates.st", *arguments)
            assert (code, out) == (1, "")
            assert err.startswith(f"isthmus: error: {sentence}"), err
            assert "secret" not in err

    def test_names_the_extra(self, run, folder, monkeypatch):
        for name in [name for name in sys.modules if name.startswith("isthmus.serving._app")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.delattr("isthmus.serving._app", raising=False)
        for name in [name for name in sys.modules if name.split(".")[0] == "starlette"]:
            monkeypatch.setitem(sys.modules, name, None)
        code, _, err = run("serve", folder / "rates.st")
        assert (code, "pip install 'isthmus[serve]'" in err) == (1, True)

    def test_import_needs_no_extra(self):
        code = (
            "import isthmus, isthmus.cli, isthmus.serving, sys; "
            "sys.exit(any(name in sys.modules for name in ('starlette', 'uvicorn', 'anyio')))"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_static_files_are_part_of_the_package():
    assert sorted(path.name for path in STATIC.iterdir()) == sorted(_app.MEDIA)
