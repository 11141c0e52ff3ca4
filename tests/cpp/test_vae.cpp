#include "isthmus/models/vae.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "check.hpp"
#include "isthmus/core/random.hpp"
#include "isthmus/nn/epoch.hpp"
#include "random_data.hpp"

using isthmus::Activation;
using isthmus::Likelihood;
using isthmus::MatrixView;
using isthmus::MultinomialAutoencoder;
using isthmus::MultinomialOptions;
using isthmus::MultinomialResult;
using isthmus::MultinomialShape;
using isthmus::MultinomialTrainer;
using isthmus::OptimizerKind;
using isthmus::Philox;
using isthmus::Stream;
using testing::Doubles;
using testing::index_t;
using testing::Matrix;
using testing::same_bits;
using testing::Sparse;

namespace {

constexpr float kBeta = 0.3f;

float constant_beta(index_t) { return kBeta; }

MultinomialShape dae(index_t items) { return {items, {6}, 0, {}, Activation::tanh}; }
MultinomialShape deep_dae(index_t items) { return {items, {7, 3}, 0, {5}, Activation::sigmoid}; }
MultinomialShape vae(index_t items) { return {items, {6}, 3, {5}, Activation::tanh}; }
MultinomialShape linear_vae(index_t items) { return {items, {6, 4}, 3, {}, Activation::tanh}; }

MultinomialOptions options(OptimizerKind optimizer, int num_threads) {
    MultinomialOptions all;
    all.optimizer.kind = optimizer;
    all.regularization = 0.01f;
    all.batch_size = 16;
    all.dropout = 0.3f;
    all.seed = 7;
    all.num_threads = num_threads;
    return all;
}

// The model in doubles, a user at a time, without dropout.
class Naive {
public:
    Naive(MultinomialAutoencoder& model, Likelihood likelihood)
        : shape_(model.shape), likelihood_(likelihood) {
        for (const Matrix* weights : model.parameters()) weights_.emplace_back(weights->view());
    }

    std::vector<Doubles>& weights() { return weights_; }

    // Mean over the rows that have any cell of - log likelihood + beta KL.
    double loss(const Sparse& rows, double beta, std::uint64_t seed) const {
        double total = 0.0;
        int filled = 0;
        for (index_t r = 0; r < rows.rows(); ++r) {
            const auto at = static_cast<std::size_t>(r);
            if (rows.indptr[at] == rows.indptr[at + 1]) continue;
            ++filled;
            total += loss_of(rows, at, beta, Philox(seed, Stream::latent, 0));
        }
        return total / filled;
    }

private:
    // In the order of MultinomialAutoencoder::parameters().
    const Doubles& encoder() const { return weights_[0]; }
    const Doubles& decoder() const { return weights_[2]; }
    const Doubles& hidden(index_t layer) const {
        return weights_[2 + 2 * static_cast<std::size_t>(layer)];
    }
    const Doubles& bias(index_t layer) const {
        return layer == 0 ? weights_[1] : weights_[3 + 2 * static_cast<std::size_t>(layer)];
    }

    double activated(double z) const {
        return shape_.activation == Activation::tanh ? std::tanh(z) : 1.0 / (1.0 + std::exp(-z));
    }

    double loss_of(const Sparse& rows, std::size_t row, double beta, const Philox& noise) const {
        std::vector<double> h;
        double kl = 0.0;
        for (index_t layer = 0; layer < shape_.layers(); ++layer) {
            const index_t units = shape_.units(layer);
            std::vector<double> z(bias(layer).row(0), bias(layer).row(0) + units);
            for (index_t k = 0; k < units; ++k) {
                double& sum = z[static_cast<std::size_t>(k)];
                if (layer > 0) {
                    for (std::size_t j = 0; j < h.size(); ++j) {
                        sum += h[j] * hidden(layer).row(static_cast<index_t>(j))[k];
                    }
                    continue;
                }
                for (auto i = rows.indptr[row]; i < rows.indptr[row + 1]; ++i) {
                    const auto cell = static_cast<std::size_t>(i);
                    sum += double{rows.values[cell]} * encoder().row(rows.indices[cell])[k];
                }
            }
            if (!shape_.is_code(layer)) {
                h = z;
                for (double& unit : h) unit = activated(unit);
                continue;
            }
            h.assign(z.begin(), z.begin() + shape_.latent);
            for (std::size_t j = 0; j < h.size(); ++j) {
                const double log_variance = z[j + h.size()];
                kl += 0.5 * (z[j] * z[j] + std::exp(log_variance) - 1.0 - log_variance);
                h[j] +=
                    noise.normal(static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(j)) *
                    std::exp(0.5 * log_variance);
            }
        }
        return negative_log_likelihood(rows, row, h) + beta * kl;
    }

    double negative_log_likelihood(const Sparse& rows, std::size_t row,
                                   const std::vector<double>& h) const {
        const index_t items = shape_.inputs;
        std::vector<double> logits(weights_[3].row(0), weights_[3].row(0) + items);
        double total = 0.0;
        for (index_t i = 0; i < items; ++i) {
            for (std::size_t k = 0; k < h.size(); ++k) {
                logits[static_cast<std::size_t>(i)] += h[k] * decoder().row(i)[k];
            }
            total += std::exp(logits[static_cast<std::size_t>(i)]);
        }
        double sum = 0.0;
        for (const double z : logits) {
            if (likelihood_ == Likelihood::bernoulli) sum += std::log1p(std::exp(z));
            if (likelihood_ == Likelihood::gaussian) sum += 0.5 * z * z;
        }
        for (auto i = rows.indptr[row]; i < rows.indptr[row + 1]; ++i) {
            const std::int32_t item = rows.indices[static_cast<std::size_t>(i)];
            sum -= logits[static_cast<std::size_t>(item)];
            if (likelihood_ == Likelihood::multinomial) sum += std::log(total);
            if (likelihood_ == Likelihood::gaussian) sum += 0.5;
        }
        return sum;
    }

    MultinomialShape shape_;
    Likelihood likelihood_;
    std::vector<Doubles> weights_;
};

// A step of SGD at a rate of 1 on all rows at once is the gradient: compared with differences of
// the loss at every fifth weight, two for each.
void a_step_follows_the_gradient_of_the_loss(const MultinomialShape& shape, Likelihood likelihood) {
    const Sparse rows = testing::unit_rows(10, shape.inputs, 4);
    MultinomialAutoencoder model(shape, 5, 1);
    MultinomialOptions plain = options(OptimizerKind::sgd, 2);
    plain.regularization = 0.0f;
    plain.batch_size = 10;
    plain.dropout = 0.0f;
    plain.likelihood = likelihood;
    Naive naive(model, likelihood);
    const Naive before = naive;
    MultinomialTrainer trainer(model, 10, plain);
    const MultinomialResult result = trainer.run_epoch(rows.pattern(), 0, 1.0f, constant_beta, {});
    const auto filled = static_cast<index_t>(isthmus::filled_rows(rows.pattern()).size());
    CHECK_EQUAL(result.rows, filled);
    const double loss = before.loss(rows, kBeta, plain.seed);
    CHECK_CLOSE((result.likelihood + kBeta * result.divergence) / static_cast<double>(filled), loss,
                1e-5 * loss);
    CHECK_EQUAL(result.divergence > 0.0, shape.latent > 0);

    constexpr double kDifference = 1e-4;
    const std::vector<Matrix*> after = model.parameters();
    for (std::size_t p = 0; p < after.size(); ++p) {
        Doubles& weights = naive.weights()[p];
        for (std::size_t i = 0; i < weights.numbers.size(); i += 5) {
            const auto at = static_cast<index_t>(i);
            const double weight = weights.numbers[i];
            weights.numbers[i] = weight + kDifference;
            const double above = naive.loss(rows, kBeta, plain.seed);
            weights.numbers[i] = weight - kDifference;
            const double below = naive.loss(rows, kBeta, plain.seed);
            weights.numbers[i] = weight;
            const double moved = weight - after[p]->row(at / weights.cols)[at % weights.cols];
            CHECK_CLOSE(moved, (above - below) / (2.0 * kDifference), 2e-5);
        }
    }
}

struct Run {
    MultinomialAutoencoder model;
    std::vector<double> losses;
    Matrix codes;
};

Run run(const MultinomialShape& shape, const MultinomialOptions& options) {
    const int num_threads = options.num_threads;
    const Sparse rows = testing::unit_rows(60, shape.inputs, 5);
    MultinomialAutoencoder model(shape, 3, num_threads);
    Matrix codes(60, model.decoder.cols());
    std::vector<double> losses;
    MultinomialTrainer trainer(model, 48, options);
    for (index_t epoch = 0; epoch < 3; ++epoch) {
        const auto result = trainer.run_epoch(rows.pattern(), epoch, 0.01f, constant_beta, {});
        losses.push_back(result.likelihood);
        losses.push_back(result.divergence);
    }
    encode_multinomial(model, rows.pattern(), num_threads, codes.view());
    return {std::move(model), std::move(losses), std::move(codes)};
}

void check_same_bits(Run& one, Run& other) {
    CHECK(one.losses == other.losses);
    CHECK(same_bits(one.codes, other.codes));
    const auto a = one.model.parameters(), b = other.model.parameters();
    for (std::size_t i = 0; i < a.size(); ++i) {
        CHECK(same_bits(*a[i], *b[i]));
        CHECK(testing::padding_is_zero(a[i]->view()));
    }
}

constexpr index_t kManyItems = 2500;  // several blocks of the output in every slice

void the_number_of_threads_changes_no_bit(const MultinomialShape& shape,
                                          MultinomialOptions options) {
    Run one = run(shape, options);
    CHECK(one.losses[4] < one.losses[0]);
    for (const int threads : {2, 3, 5}) {
        options.num_threads = threads;
        Run other = run(shape, options);
        check_same_bits(one, other);
    }
}

void a_sample_of_all_items_is_all_items() {
    for (const OptimizerKind optimizer : {OptimizerKind::adam, OptimizerKind::adagrad}) {
        MultinomialOptions all = options(optimizer, 2);
        Run whole = run(vae(kManyItems), all);
        all.sampled_items = kManyItems;
        Run sampled = run(vae(kManyItems), all);
        check_same_bits(whole, sampled);
        all.sampled_items = 50;
        CHECK(run(vae(kManyItems), all).losses != whole.losses);
    }
}

// One machine that has all items, in slices whose sums it adds up itself.
Run run_in_slices(const MultinomialShape& shape, MultinomialOptions options) {
    const Sparse rows = testing::unit_rows(60, shape.inputs, 5);
    MultinomialAutoencoder model(shape, 3, options.num_threads);
    Matrix codes(60, model.decoder.cols());
    for (index_t i = 0; i < shape.inputs; ++i) {
        options.share.numbers.push_back(static_cast<std::int32_t>(i));
    }
    options.share.slices = {{0, 1200}, {1200, 1216}, {1216, shape.inputs}};
    isthmus::SplitRows split;
    split.filled = isthmus::filled_rows(rows.pattern());
    split.reduce.by_slices = true;
    split.reduce.add = [](MatrixView sums, const std::vector<MatrixView>& parts) {
        if (parts.empty()) return;
        CHECK_EQUAL(static_cast<index_t>(parts.size()), 3);
        for (index_t r = 0; r < sums.rows; ++r) {
            for (index_t c = 0; c < parts.front().cols; ++c) {
                float sum = 0.0f;
                for (const auto& part : parts) sum += part.row(r)[c];
                sums.row(r)[c] = sum;
            }
        }
    };
    std::vector<double> ones;
    for (index_t r = 0; r < 60; ++r) {
        ones.push_back(static_cast<double>(rows.pattern().row_nnz(r)));
    }
    split.ones = ones.data();
    std::vector<double> losses;
    MultinomialTrainer trainer(model, 48, options);
    for (index_t epoch = 0; epoch < 3; ++epoch) {
        const auto result =
            trainer.run_epoch(rows.pattern(), epoch, 0.01f, constant_beta, {}, &split);
        losses.push_back(result.likelihood);
        losses.push_back(result.divergence);
    }
    trainer.encode(rows.pattern(), split, codes.view());
    return {std::move(model), std::move(losses), std::move(codes)};
}

void check_close(const Matrix& one, const Matrix& other) {
    for (index_t r = 0; r < one.rows(); ++r) {
        for (index_t c = 0; c < one.cols(); ++c) {
            CHECK_CLOSE(double{one.row(r)[c]}, double{other.row(r)[c]}, 1e-6);
        }
    }
}

void slices_train_as_the_whole(const MultinomialShape& shape) {
    for (const Likelihood likelihood :
         {Likelihood::multinomial, Likelihood::bernoulli, Likelihood::gaussian}) {
        MultinomialOptions all = options(OptimizerKind::sgd, 2);
        all.likelihood = likelihood;
        Run whole = run(shape, all);
        Run sliced = run_in_slices(shape, all);
        for (std::size_t i = 0; i < whole.losses.size(); ++i) {
            CHECK_CLOSE(sliced.losses[i], whole.losses[i], 1e-6 * (1.0 + whole.losses[i]));
        }
        const auto a = whole.model.parameters(), b = sliced.model.parameters();
        for (std::size_t i = 0; i < a.size(); ++i) check_close(*a[i], *b[i]);
        check_close(whole.codes, sliced.codes);
        all.num_threads = 3;
        Run other = run_in_slices(shape, all);
        check_same_bits(sliced, other);
    }
}

void training_can_be_stopped_and_diverges_with_an_error() {
    const Sparse rows = testing::unit_rows(60, 300, 5);
    MultinomialAutoencoder model(vae(300), 1, 1);
    MultinomialTrainer trainer(model, 48, options(OptimizerKind::sgd, 3));
    const auto stop = [](index_t done) {
        if (done > 0) throw std::runtime_error("stop");
    };
    CHECK_THROWS(trainer.run_epoch(rows.pattern(), 0, 0.01f, constant_beta, stop),
                 std::runtime_error);
    CHECK_EQUAL(trainer.steps(), 1);
    trainer.keep_best();
    const Matrix kept = model.decoder.copy();
    CHECK(std::isfinite(trainer.run_epoch(rows.pattern(), 1, 0.01f, constant_beta, {}).likelihood));
    CHECK(!same_bits(kept, model.decoder));
    trainer.restore_best();
    CHECK(same_bits(kept, model.decoder));
    const auto ruin = [&] {
        for (index_t epoch = 2; epoch < 6; ++epoch) {
            trainer.run_epoch(rows.pattern(), epoch, 1e30f, constant_beta, {});
        }
    };
    CHECK_THROWS(ruin(), isthmus::Diverged);
}

}  // namespace

int main() {
    for (const index_t items : {3, 40}) {
        for (const auto& shape : {dae(items), deep_dae(items), vae(items), linear_vae(items)}) {
            a_step_follows_the_gradient_of_the_loss(shape, Likelihood::multinomial);
        }
        for (const auto likelihood : {Likelihood::bernoulli, Likelihood::gaussian}) {
            a_step_follows_the_gradient_of_the_loss(dae(items), likelihood);
            a_step_follows_the_gradient_of_the_loss(vae(items), likelihood);
        }
    }
    for (const auto& shape : {dae(kManyItems), deep_dae(kManyItems), vae(kManyItems)}) {
        for (const auto optimizer : {OptimizerKind::adam, OptimizerKind::sgd}) {
            the_number_of_threads_changes_no_bit(shape, options(optimizer, 1));
        }
    }
    MultinomialOptions other = options(OptimizerKind::adam, 1);
    other.sampled_items = 100;
    the_number_of_threads_changes_no_bit(vae(kManyItems), other);
    other.sampled_items = 0;
    other.likelihood = Likelihood::bernoulli;
    the_number_of_threads_changes_no_bit(vae(kManyItems), other);
    a_sample_of_all_items_is_all_items();
    for (const auto& shape : {deep_dae(kManyItems), linear_vae(kManyItems)}) {
        slices_train_as_the_whole(shape);
    }
    training_can_be_stopped_and_diverges_with_an_error();
    return check::result();
}
