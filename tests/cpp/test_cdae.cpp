#include "isthmus/models/cdae.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <stdexcept>
#include <vector>

#include "check.hpp"
#include "isthmus/batches/negatives.hpp"
#include "isthmus/core/random.hpp"
#include "isthmus/nn/epoch.hpp"
#include "random_data.hpp"

using isthmus::Activation;
using isthmus::Cdae;
using isthmus::CdaeOptions;
using isthmus::CdaeResult;
using isthmus::CdaeShape;
using isthmus::CdaeTrainer;
using isthmus::OptimizerKind;
using isthmus::Philox;
using isthmus::Stream;
using testing::Doubles;
using testing::index_t;
using testing::Matrix;
using testing::same_bits;
using testing::Sparse;

namespace {

std::vector<std::int32_t> sampled(std::uint32_t row, const std::vector<std::int32_t>& positives,
                                  index_t items, index_t count) {
    isthmus::ItemSet chosen(items);
    std::vector<std::int32_t> out;
    isthmus::sample_negatives(Philox(7, Stream::negatives, 2), row, positives.data(),
                              static_cast<index_t>(positives.size()), items, count, chosen, out);
    chosen.drain([](std::int32_t) { CHECK(false); });
    return out;
}

void negatives_are_no_positives_each_once_and_a_function_of_the_row() {
    const std::vector<std::int32_t> positives = {2, 3, 11};
    // few of many are drawn until they are new; of many of few, those that are left out
    for (const index_t items : {20, 400}) {
        for (const index_t count : {1, 5, 12}) {
            const auto one = sampled(4, positives, items, count);
            const std::set<std::int32_t> distinct(one.begin(), one.end());
            CHECK_EQUAL(static_cast<index_t>(distinct.size()), count);
            for (const std::int32_t item : one) {
                CHECK(item >= 0 && item < items);
                CHECK(!std::binary_search(positives.begin(), positives.end(), item));
            }
            CHECK(one == sampled(4, positives, items, count));
            if (count > 1) CHECK(one != sampled(5, positives, items, count));
        }
    }
    const std::vector<std::int32_t> rest = {0, 1, 4};
    auto all = sampled(1, {2, 3}, 5, 50);
    std::sort(all.begin(), all.end());
    CHECK(all == rest);
    CHECK(sampled(1, {0, 1}, 2, 3).empty());
}

void negatives_are_drawn_alike() {
    std::vector<int> times(30);
    for (std::uint32_t row = 0; row < 6000; ++row) {
        for (const std::int32_t item : sampled(row, {0, 29}, 30, 7)) {
            ++times[static_cast<std::size_t>(item)];
        }
    }
    CHECK_EQUAL(times[0] + times[29], 0);
    // 1500 expected of each, with a standard deviation of less than 34
    for (std::size_t item = 1; item < 29; ++item) CHECK_CLOSE(times[item], 1500, 170);
}

const Sparse& positives() {
    static const Sparse sparse = testing::random_sparse(60, 500, 40);
    return sparse;
}

CdaeOptions options(OptimizerKind optimizer, int num_threads) {
    CdaeOptions all;
    all.optimizer.kind = optimizer;
    all.regularization = 0.1f;
    all.batch_size = 16;
    all.cells = positives().view().nnz();  // so many that there are several blocks
    all.negatives = 3;
    all.corruption = 0.3f;
    all.seed = 7;
    all.num_threads = num_threads;
    return all;
}

double sigmoid(double z) { return 1.0 / (1.0 + std::exp(-z)); }

// One step on all users at once, in the order of the paper's equations: W, V, W', b and b'.
void a_step_follows_the_gradient_of_the_loss() {
    const index_t users = 12, items = 40, units = 5, negatives = 2;
    const Sparse data = testing::random_sparse(users, items, 3);
    Cdae model({users, items, units, Activation::sigmoid, true, false}, 9, 1);
    const Doubles w(model.encoder.view()), v(model.users.view()), out(model.decoder.view());
    CdaeOptions plain = options(OptimizerKind::sgd, 2);
    plain.regularization = 0.0f;
    plain.batch_size = users;
    plain.negatives = negatives;
    plain.corruption = 0.0f;
    const float rate = 0.1f;
    CdaeTrainer trainer(model, plain);
    const CdaeResult result = trainer.run_epoch(data.pattern(), 0, rate, {});

    Doubles new_w = w, new_v = v, new_out = out;
    Doubles new_bias(1, units), new_out_bias(1, items);
    double loss = 0.0;
    index_t cells = 0;
    for (index_t u = 0; u < users; ++u) {
        const auto at = static_cast<std::size_t>(u);
        const std::vector<std::int32_t> own(data.indices.begin() + data.indptr[at],
                                            data.indices.begin() + data.indptr[at + 1]);
        if (own.empty()) continue;
        isthmus::ItemSet chosen(items);
        std::vector<std::int32_t> wanted;
        isthmus::sample_negatives(Philox(plain.seed, Stream::negatives, 0),
                                  static_cast<std::uint32_t>(u), own.data(),
                                  static_cast<index_t>(own.size()), items,
                                  negatives * static_cast<index_t>(own.size()), chosen, wanted);
        const std::size_t drawn = wanted.size();
        wanted.insert(wanted.end(), own.begin(), own.end());
        std::vector<double> z(units), back(units);
        for (index_t k = 0; k < units; ++k) {
            double sum = v.row(u)[k];
            for (const std::int32_t i : own) sum += w.row(i)[k];
            z[static_cast<std::size_t>(k)] = sigmoid(sum);
        }
        for (std::size_t n = 0; n < wanted.size(); ++n) {
            const std::int32_t i = wanted[n];
            double score = 0.0;
            for (index_t k = 0; k < units; ++k) {
                score += out.row(i)[k] * z[static_cast<std::size_t>(k)];
            }
            const double target = n < drawn ? 0.0 : 1.0;
            loss -= std::log(target > 0.0 ? sigmoid(score) : sigmoid(-score));
            ++cells;
            const double error = sigmoid(score) - target;
            new_out_bias.row(0)[i] -= double{rate} * error;
            for (index_t k = 0; k < units; ++k) {
                const double code = z[static_cast<std::size_t>(k)];
                new_out.row(i)[k] -= double{rate} * error * code;
                back[static_cast<std::size_t>(k)] += error * out.row(i)[k] * code * (1.0 - code);
            }
        }
        for (index_t k = 0; k < units; ++k) {
            const double step = double{rate} * back[static_cast<std::size_t>(k)];
            new_v.row(u)[k] -= step;
            new_bias.row(0)[k] -= step;
            for (const std::int32_t i : own) new_w.row(i)[k] -= step;
        }
    }
    CHECK_EQUAL(result.cells, cells);
    CHECK_CLOSE(result.loss, loss, 1e-4 * loss);
    CHECK_CLOSE(testing::difference(model.encoder.view(), new_w), 0.0, 1e-5);
    CHECK_CLOSE(testing::difference(model.users.view(), new_v), 0.0, 1e-5);
    CHECK_CLOSE(testing::difference(model.decoder.view(), new_out), 0.0, 1e-5);
    CHECK_CLOSE(testing::difference(model.encoder_bias.view(), new_bias), 0.0, 1e-5);
    CHECK_CLOSE(testing::difference(model.decoder_bias.view(), new_out_bias), 0.0, 1e-5);
}

struct Run {
    Cdae model;
    std::vector<double> losses;
    Matrix codes;
};

Run run(bool tied, OptimizerKind optimizer, int num_threads) {
    Run result{Cdae({60, 500, 20, Activation::tanh, !tied, tied}, 3, num_threads), {}, {60, 20}};
    CdaeTrainer trainer(result.model, options(optimizer, num_threads));
    for (index_t epoch = 0; epoch < 3; ++epoch) {
        result.losses.push_back(trainer.run_epoch(positives().pattern(), epoch, 0.01f, {}).loss);
    }
    encode_cdae(result.model, positives().view(), true, num_threads, result.codes.view());
    return result;
}

void the_number_of_threads_changes_no_bit() {
    for (const bool tied : {false, true}) {
        for (const OptimizerKind optimizer : {OptimizerKind::adagrad, OptimizerKind::adam}) {
            Run one = run(tied, optimizer, 1);
            CHECK(one.losses[2] < one.losses[0]);
            for (const int threads : {2, 3, 5}) {
                Run other = run(tied, optimizer, threads);
                CHECK(one.losses == other.losses);
                CHECK(same_bits(one.codes, other.codes));
                const auto a = one.model.parameters(), b = other.model.parameters();
                for (std::size_t i = 0; i < a.size(); ++i) {
                    CHECK(same_bits(*a[i], *b[i]));
                    CHECK(testing::padding_is_zero(a[i]->view()));
                }
            }
        }
    }
}

// Momentum carries on users who are not in a batch; an epoch that ends early has moved them as
// well.
void users_move_on_in_batches_that_they_are_not_in() {
    const auto stop = [](index_t done) {
        if (done >= 32) throw std::runtime_error("stop");
    };
    const auto train = [&](float second_rate) {
        Cdae model({60, 500, 9, Activation::sigmoid, true, false}, 1, 1);
        CdaeOptions momentum = options(OptimizerKind::momentum, 3);
        momentum.regularization = 0.0f;
        CdaeTrainer trainer(model, momentum);
        trainer.run_epoch(positives().pattern(), 0, 0.01f, {});
        const Matrix before = model.users.copy();
        CHECK_THROWS(trainer.run_epoch(positives().pattern(), 1, second_rate, stop),
                     std::runtime_error);
        index_t moved = 0;
        for (index_t u = 0; u < 60; ++u) {
            moved += !std::equal(before.row(u), before.row(u) + 9, model.users.row(u));
        }
        return moved;
    };
    CHECK_EQUAL(train(0.0f), 0);
    CHECK_EQUAL(train(0.01f),
                static_cast<index_t>(isthmus::filled_rows(positives().view()).size()));
}

void users_who_come_later_have_no_node() {
    const Run trained = run(false, OptimizerKind::adagrad, 2);
    Run nodeless = run(false, OptimizerKind::adagrad, 2);
    nodeless.model.users.fill_zero();
    Matrix with(60, 20), without(60, 20), zeroed(60, 20);
    encode_cdae(trained.model, positives().view(), true, 2, with.view());
    encode_cdae(trained.model, positives().view(), false, 2, without.view());
    encode_cdae(nodeless.model, positives().view(), true, 2, zeroed.view());
    CHECK(!same_bits(with, without));
    CHECK(same_bits(zeroed, without));
}

void training_can_be_stopped_and_diverges_with_an_error() {
    Cdae model({60, 500, 9, Activation::sigmoid, true, false}, 1, 1);
    CdaeTrainer trainer(model, options(OptimizerKind::sgd, 3));
    const auto stop = [](index_t done) {
        if (done > 0) throw std::runtime_error("stop");
    };
    CHECK_THROWS(trainer.run_epoch(positives().pattern(), 0, 0.01f, stop), std::runtime_error);
    trainer.keep_best();
    const Matrix kept = model.decoder.copy();
    CHECK(std::isfinite(trainer.run_epoch(positives().pattern(), 1, 0.01f, {}).loss));
    CHECK(!same_bits(kept, model.decoder));
    trainer.restore_best();
    CHECK(same_bits(kept, model.decoder));
    const auto ruin = [&] {
        for (index_t epoch = 2; epoch < 6; ++epoch) {
            trainer.run_epoch(positives().pattern(), epoch, 1e30f, {});
        }
    };
    CHECK_THROWS(ruin(), isthmus::Diverged);
}

}  // namespace

int main() {
    negatives_are_no_positives_each_once_and_a_function_of_the_row();
    negatives_are_drawn_alike();
    a_step_follows_the_gradient_of_the_loss();
    the_number_of_threads_changes_no_bit();
    users_move_on_in_batches_that_they_are_not_in();
    users_who_come_later_have_no_node();
    training_can_be_stopped_and_diverges_with_an_error();
    return check::result();
}
