#include "isthmus/nn/epoch.hpp"

#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.hpp"
#include "random_data.hpp"

using isthmus::Diverged;
using isthmus::EpochBatch;
using isthmus::train_in_batches;
using testing::index_t;

namespace {

const std::vector<std::int32_t> kOrder = isthmus::shuffled(testing::first_integers(10), 3, 2);

void every_row_is_in_one_batch() {
    std::vector<std::int32_t> seen;
    std::vector<index_t> done;
    double shares = 0.0;
    int settled = 0;
    train_in_batches(
        kOrder, 4, 2, 2, [&](index_t rows) { done.push_back(rows); },
        [&](const EpochBatch& batch) {
            CHECK_EQUAL(batch.epoch, 2);
            CHECK_EQUAL(batch.number, static_cast<index_t>(seen.size()) / 4);
            seen.insert(seen.end(), batch.ids, batch.ids + batch.count);
            shares += double{batch.share};
        },
        [&] { ++settled; });
    CHECK(seen == kOrder);
    CHECK(done == (std::vector<index_t>{0, 4, 8}));
    CHECK_CLOSE(shares, 1.0, 1e-6);
    CHECK_EQUAL(settled, 1);
}

void what_throws_is_settled_and_goes_on() {
    int settled = 0;
    const auto settle = [&] { ++settled; };
    const auto diverge = [](const EpochBatch& batch) {
        batch.require_finite(batch.number == 1 ? std::nan("") : 0.0);
    };
    std::string message;
    try {
        train_in_batches(kOrder, 4, 2, 2, {}, diverge, settle);
    } catch (const Diverged& error) {
        message = error.what();
    }
    CHECK_EQUAL(message, "training diverged in epoch 3, batch 2: the loss is no longer finite");
    const auto interrupt = [](index_t) { throw std::runtime_error("Ctrl-C"); };
    CHECK_THROWS(train_in_batches(kOrder, 4, 2, 2, interrupt, diverge, settle), std::runtime_error);
    CHECK_EQUAL(settled, 2);
    train_in_batches({}, 4, 2, 2, interrupt, diverge);
}

}  // namespace

int main() {
    every_row_is_in_one_batch();
    what_throws_is_settled_and_goes_on();
    return check::result();
}
