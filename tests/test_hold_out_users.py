"""Strong generalisation: nothing of a held-out user is in the training part."""

import numpy as np
import pytest

from isthmus import hold_out_users, synthetic_ratings
from isthmus.data.splits import HeldOutUsers


@pytest.fixture(scope="module")
def ratings():
    return synthetic_ratings(100, 60, 1500, random_state=0)


def cells(part):
    users, items, _, _ = part.to_arrays()
    return set(zip(users.tolist(), items.tolist(), strict=True))


def test_parts_share_no_user_and_no_rating(ratings):
    split = hold_out_users(ratings, test_users=0.2, validation_users=10, random_state=1)
    parts = [split.train, *split.test, *split.validation]
    everything = cells(ratings)
    assert all(cells(part) <= everything for part in parts)
    assert len(set.union(*map(cells, parts))) == sum(part.nnz for part in parts)
    groups = [
        set(part.user_ids.tolist()) for part in (split.train, split.test[0], split.validation[0])
    ]
    assert not (groups[0] & groups[1])
    assert not (groups[0] & groups[2])
    assert not (groups[1] & groups[2])
    assert len(groups[1]) <= 20
    assert len(groups[2]) <= 10
    for held_out in (split.test, split.validation):
        assert held_out.fold_in.has_same_ids(held_out.test)
        counts = [np.diff(part.indptr) for part in held_out]
        assert (counts[0] >= 1).all()
        np.testing.assert_array_equal(counts[1], np.maximum(sum(counts) * 2 // 10, 1))
    for part in parts[1:]:
        np.testing.assert_array_equal(part.item_ids, split.train.item_ids)
    assert (np.bincount(split.train.indices, minlength=split.train.n_items) > 0).all()


def test_a_seed_fixes_the_split(ratings):
    one, again = (hold_out_users(ratings, random_state=3) for _ in range(2))
    assert one.validation is None
    assert isinstance(one.test, HeldOutUsers)
    for left, right in zip([one.train, *one.test], [again.train, *again.test], strict=True):
        assert cells(left) == cells(right)
    assert cells(one.train) != cells(hold_out_users(ratings, random_state=4).train)


def test_by_time_the_latest_are_to_be_found():
    from isthmus import Ratings

    users, items = map(np.ravel, np.mgrid[:10, :6])
    ratings = Ratings.from_arrays(users, items, np.ones(60), (items * 7) % 6 + 100)
    split = hold_out_users(ratings, test_users=4, test_size=2, by="time", random_state=0)
    assert split.test.fold_in.timestamps.max() < split.test.test.timestamps.min()


def test_bad_arguments_are_refused(ratings):
    with pytest.raises(ValueError, match="must leave users in every part"):
        hold_out_users(ratings, test_users=60, validation_users=60)
    with pytest.raises(ValueError, match="by must be one of 'random', 'time'"):
        hold_out_users(ratings, by="user")
    with pytest.raises(TypeError, match="test_users must be a float or an integer"):
        hold_out_users(ratings, test_users="10")
    with pytest.raises(ValueError, match=r"validation_users must lie .* but it was 1\.5"):
        hold_out_users(ratings, validation_users=1.5)
