import csv
import sys

import numpy as np
import pytest
from test_models import EPOCHAL, assert_same_bits, maker, predict_all

from isthmus import (
    AutoRec,
    BiasedMF,
    Epoch,
    MultVAE,
    NotFittedError,
    Recommender,
    synthetic_ratings,
    train_test_split,
)
from isthmus.callbacks import Checkpoint, CsvLog, EarlyStopping, MLflow, TensorBoard, WandB


@pytest.fixture(scope="module")
def parts():
    return train_test_split(synthetic_ratings(50, 40, 900, random_state=1), random_state=0)


@pytest.fixture
def model():
    return MultVAE(hidden_units=(4,), latent_units=2, epochs=3, random_state=0)


# A fitted copy in the midst of training


@pytest.mark.parametrize("case", EPOCHAL)
def test_a_snapshot_is_the_model_after_the_epoch(case, parts):
    undisturbed = maker(*case)(epochs=4).fit(parts[0])
    model = maker(*case)(epochs=4)
    shots = []
    model.fit(parts[0], callbacks=[lambda epoch: shots.append(model.snapshot())])
    assert_same_bits(model, undisturbed)  # who asks does not change training
    assert_same_bits(shots[-1], model)
    for number, shot in enumerate(shots):
        assert len(shot.history_) == number + 1
        assert np.isfinite(predict_all(shot)).all()
    assert not np.array_equal(predict_all(shots[0]), predict_all(shots[-1]))


def test_a_snapshot_afterwards_is_a_copy(model, parts):
    with pytest.raises(NotFittedError):
        model.snapshot()
    model.fit(parts[0])
    copy = model.snapshot()
    assert_same_bits(copy, model)
    copy.partial_fit(parts[0])
    assert len(model.history_) == 3


def test_a_snapshot_has_the_receipt_of_its_own_data(model, parts):
    earlier, now = parts
    shots = []
    model.fit(earlier).fit(now, callbacks=[lambda epoch: shots.append(model.snapshot())])
    for shot in shots:
        assert shot.receipt_.data == model.receipt_.data
        assert shot.receipt_.steps == ("fit", "interruption")
        assert 0 < shot.receipt_.wall_seconds <= model.receipt_.wall_seconds
    assert model.receipt_.steps == ("fit",)


def test_a_snapshot_of_training_with_weights_refuses_an_update_without(parts):
    model = AutoRec(hidden_units=(3,), epochs=1, random_state=0)
    shots = []
    model.fit(parts[1], weights=parts[1], callbacks=[lambda _: shots.append(model.snapshot())])
    with pytest.raises(ValueError, match="was trained with weights"):
        shots[0].update(parts[1])


def test_partial_fit_with_weights_refuses_an_update_without(parts):
    model = AutoRec(hidden_units=(3,), epochs=1, random_state=0).fit(parts[1])
    model.partial_fit(parts[1], weights=parts[1]).partial_fit(parts[1])
    assert model.receipt_.steps == ("fit", "partial_fit")
    with pytest.raises(ValueError, match="was trained with weights"):
        model.update(parts[1])


def test_a_snapshot_during_an_update_is_of_the_new_model(parts):
    model = BiasedMF(factors=3, epochs=4, random_state=0).fit(parts[1])
    shots, users = [], []

    def look(epoch):
        shots.append(model.snapshot())
        users.append(len(model.user_ids_))  # the old model serves meanwhile

    model.update(parts[0], epochs=2, callbacks=[look])
    assert users == [parts[1].n_users] * 2
    assert_same_bits(shots[-1], model)


# Trackers


def test_csv(model, parts, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("of an earlier run")
    log = CsvLog(path)
    assert path.read_text() == "of an earlier run"
    model.fit(parts[0], validation=parts[1], callbacks=[log])
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2]
    for row, epoch in zip(rows, model.history_, strict=True):
        assert float(row["loss"]) == epoch.loss
        assert float(row["ndcg@10"]) == epoch.metrics["ndcg@10"]


def test_csv_takes_metrics_that_come_later(tmp_path):
    log = CsvLog(tmp_path / "log.csv")
    log(Epoch(0, 0.5, 2.0))
    log(Epoch(1, 0.5, 1.0, {"rmse": 0.75}))
    text = (tmp_path / "log.csv").read_text()
    assert text == "epoch,loss,seconds,rmse\n0,2.0,0.5,\n1,1.0,0.5,0.75\n"


def test_csv_refuses_a_place_where_nothing_can_be_written(tmp_path):
    with pytest.raises(OSError, match="no_such_folder"):
        CsvLog(tmp_path / "no_such_folder" / "log.csv")


def test_tensorboard(model, parts, tmp_path):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto import event_pb2

    board = TensorBoard(tmp_path / "run")
    model.fit(parts[0], validation=parts[1], callbacks=[board])
    del board  # which writes what is left
    (file,) = (tmp_path / "run").iterdir()
    content, values, at = file.read_bytes(), {}, 0
    while at < len(content):  # length, its checksum, an event, its checksum
        size = int.from_bytes(content[at : at + 8], "little")
        event = event_pb2.Event.FromString(content[at + 12 : at + 12 + size])
        at += 16 + size
        for value in event.summary.value:
            values.setdefault(value.tag, []).append((event.step, value.simple_value))
    assert [step for step, _ in values["loss"]] == [0, 1, 2]
    assert len(values) == 3
    losses = [epoch.loss for epoch in model.history_]
    np.testing.assert_allclose([loss for _, loss in values["loss"]], losses, rtol=1e-6)


@pytest.mark.filterwarnings("ignore")  # which are MLflow's own
def test_mlflow(model, parts, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    with mlflow.start_run() as run:
        model.fit(parts[0], validation=parts[1], callbacks=[MLflow(model)])
    client = mlflow.MlflowClient()
    logged = client.get_metric_history(run.info.run_id, "ndcg_at_10")
    assert [one.step for one in logged] == [0, 1, 2]
    assert [one.value for one in logged] == [epoch.metrics["ndcg@10"] for epoch in model.history_]
    assert client.get_run(run.info.run_id).data.params["latent_units"] == "2"


class Run:
    """As much of a run of Weights & Biases as the callback uses."""

    def __init__(self):
        self.config, self.logged = {}, []

    def log(self, figures, step, commit):
        self.logged.append((step, figures))


def test_wandb_takes_a_run(model, parts):
    pytest.importorskip("wandb")
    run = Run()
    model.fit(parts[0], callbacks=[WandB(model, run=run)])
    assert run.config["latent_units"] == 2
    assert [step for step, _ in run.logged] == [0, 1, 2]
    assert run.logged[0][1]["loss"] == model.history_[0].loss


@pytest.mark.filterwarnings("ignore")  # which are its own
def test_wandb_offline(model, parts, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with wandb.init(mode="offline", dir=tmp_path) as run:
        model.fit(parts[0], callbacks=[WandB(model)])
        assert run.summary["loss"] == model.history_[-1].loss
        assert run.config["latent_units"] == 2


@pytest.mark.parametrize(
    ("make", "module", "message"),
    [
        (lambda: TensorBoard("runs"), "tensorboardX", "^TensorBoard needs tensorboardX: pip ins"),
        (MLflow, "mlflow", "^MLflow needs mlflow: pip install mlflow-skinny$"),
        (WandB, "wandb", "^WandB needs wandb: pip install wandb$"),
    ],
)
def test_what_is_missing_is_named(make, module, message, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=message):
        make()


# Stopping and saving


def test_stops_by_a_score_of_ones_own_and_keeps_the_best(parts):
    scores = iter([1.0, 3.0, 2.0, 2.5, 9.0])
    model = BiasedMF(factors=3, epochs=10, random_state=0)
    stopping = EarlyStopping(model, lambda _: next(scores), patience=2)
    model.fit(parts[0], callbacks=[stopping])
    assert stopping.scores_ == [1.0, 3.0, 2.0, 2.5]
    second = BiasedMF(factors=3, epochs=2, random_state=0).fit(parts[0])
    np.testing.assert_array_equal(predict_all(stopping.best_), predict_all(second))


def test_stops_by_an_error_that_is_to_fall(parts):
    model = AutoRec(hidden_units=(3,), epochs=3, random_state=0)
    stopping = EarlyStopping(
        model, lambda it: it.evaluate(parts[1])["rmse"], patience=3, higher_is_better=False
    )
    model.fit(parts[0], callbacks=[stopping])
    assert stopping.best_.evaluate(parts[1])["rmse"] == min(stopping.scores_)
    with pytest.raises(ValueError, match=r"^patience must be"):
        EarlyStopping(model, len, patience=0)


def test_checkpoints(model, parts, tmp_path):
    model.set_params(epochs=5)
    newest = Checkpoint(model, tmp_path / "newest.safetensors", every=2)
    each = Checkpoint(model, tmp_path / "{epoch}.safetensors", every=2)
    model.fit(parts[0], callbacks=[newest, each])
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["2", "4", "newest"]
    saved = Recommender.load(tmp_path / "newest.safetensors")
    assert_same_bits(saved, Recommender.load(tmp_path / "4.safetensors"))
    assert len(saved.history_) == 4
    saved.partial_fit(parts[0])
    with pytest.raises(ValueError, match=r"^every must be"):
        Checkpoint(model, tmp_path / "x", every=0)
    with pytest.raises(OSError, match="no_such_folder"):
        Checkpoint(model, tmp_path / "no_such_folder" / "x")


def test_a_checkpoint_survives_what_ends_training(model, parts, tmp_path):
    def fail(epoch):
        if epoch.index == 1:
            raise KeyboardInterrupt

    checkpoint = Checkpoint(model, tmp_path / "model.safetensors")
    with pytest.raises(KeyboardInterrupt):
        model.fit(parts[0], callbacks=[checkpoint, fail])
    assert len(Recommender.load(tmp_path / "model.safetensors").history_) == 2
