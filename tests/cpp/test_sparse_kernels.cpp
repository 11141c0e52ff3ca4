#include "isthmus/batches/column_steps.hpp"
#include "isthmus/batches/sparse_kernels.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "check.hpp"
#include "random_data.hpp"

using isthmus::Activation;
using isthmus::Batch;
using isthmus::Cells;
using isthmus::ColumnLayout;
using isthmus::Corruption;
using isthmus::OptimizerKind;
using isthmus::OptimizerOptions;
using isthmus::Range;
using testing::Doubles;
using testing::index_t;
using testing::Matrix;
using testing::Sparse;

namespace {

constexpr index_t kUnits[] = {1, 15, 16, 17, 48, 130, 257};  // chunks of every kind, and rests

// A batch of all rows of a random matrix, a third of its cells masked.
struct Fixture {
    Sparse sparse;
    ColumnLayout layout = sparse.layout();
    std::vector<std::int32_t> ids = testing::first_integers(20);
    Batch batch;

    explicit Fixture(std::uint32_t seed = 3) : sparse(testing::random_sparse(20, 300, seed)) {
        batch.assemble(sparse.view(), ids.data(), 20, layout, {}, {Corruption::mask, 0.33f, 1, 0},
                       1);
        for (index_t b = 0; b < layout.blocks(); ++b) batch.list_columns(b);
    }

    // body(row, place of the cell, whether it reaches the input), for every cell
    template <class Body>
    void for_each_cell(Body&& body) const {
        for (index_t b = 0; b < layout.blocks(); ++b) {
            for (index_t r = 0; r < batch.rows(); ++r) {
                const Batch::Segment segment = batch.segment(b, r);
                for (index_t i = segment.begin; i < segment.end; ++i)
                    body(r, i, i < segment.input_end);
            }
        }
    }
};

void encode_adds_inputs_times_weights() {
    const Fixture f;
    for (const index_t k : kUnits) {
        const Matrix v = testing::random_matrix(300, k, 1);
        Matrix h = testing::random_matrix(20, k, 2);
        Doubles expected(h.view());
        f.for_each_cell([&](index_t r, index_t i, bool is_input) {
            if (!is_input) return;
            const float* weights = v.row(f.batch.column()[i]);
            for (index_t j = 0; j < k; ++j) {
                expected.row(r)[j] += double{f.batch.input()[i]} * weights[j];
            }
        });
        // rows in two parts, as two threads would take them
        for (index_t b = 0; b < f.layout.blocks(); ++b) {
            encode_block(f.batch, b, {0, 7}, v.view(), h.view());
            encode_block(f.batch, b, {7, 20}, v.view(), h.view());
        }
        CHECK(difference(h.view(), expected) < 1e-3);
        CHECK(testing::padding_is_zero(h.view()));
    }
}

double activated(Activation activation, double z) {
    return activation == Activation::sigmoid ? 1.0 / (1.0 + std::exp(-z)) : z;
}

double slope(Activation activation, double z) {
    const double y = activated(activation, z);
    return activation == Activation::sigmoid ? y * (1.0 - y) : 1.0;
}

void decode_gives_errors_losses_and_the_way_back() {
    for (const Activation activation : {Activation::identity, Activation::sigmoid}) {
        for (const index_t k : kUnits) {
            Fixture f;
            const Matrix w = testing::random_matrix(300, k, 1);
            const Matrix h = testing::random_matrix(20, k, 2);
            const Matrix bias = testing::random_matrix(1, 300, 3);
            Matrix dh = testing::random_matrix(20, k, 4);

            Doubles back(dh.view());
            std::vector<double> errors, losses(20, 1.0), squared_error(20, 1.0);
            f.for_each_cell([&](index_t r, index_t i, bool) {
                const index_t column = f.batch.column()[i];
                double z = bias.row(0)[column];
                for (index_t j = 0; j < k; ++j) z += double{w.row(column)[j]} * h.row(r)[j];
                const double wrong = activated(activation, z) - f.batch.target()[i];
                const double error = 2.0 * wrong * slope(activation, z);
                errors.push_back(error);
                losses[static_cast<std::size_t>(r)] += wrong * wrong;
                for (index_t j = 0; j < k; ++j) back.row(r)[j] += error * w.row(column)[j];
            });
            for (index_t b = 0; b < f.layout.blocks(); ++b) {
                decode_block(f.batch, b, {0, 20}, w.view(), {activation, bias.row(0)}, h.view(),
                             dh.view(), squared_error.data());
            }
            CHECK_EQUAL(static_cast<index_t>(errors.size()), f.batch.nnz());
            double worst = 0.0;
            f.for_each_cell([&](index_t, index_t i, bool) {
                worst = std::max(
                    worst, std::abs(f.batch.error()[i] - errors[static_cast<std::size_t>(i)]));
            });
            CHECK(worst < 1e-4);
            CHECK(difference(dh.view(), back) < 1e-2);  // of sums in the thousands
            CHECK(testing::padding_is_zero(dh.view()));
            for (std::size_t r = 0; r < 20; ++r) {
                CHECK_CLOSE(squared_error[r], losses[r], 1e-5 * losses[r]);
            }
        }
    }
}

// One number's step by the textbook; `state` is two numbers.
double stepped(const OptimizerOptions& options, double rate, double step, double weight,
               double gradient, double* state) {
    switch (options.kind) {
        case OptimizerKind::sgd: return weight - rate * gradient;
        case OptimizerKind::momentum:
            state[0] = options.momentum * state[0] + gradient;
            return weight - rate * state[0];
        case OptimizerKind::adagrad:
            state[0] += gradient * gradient;
            return weight - rate * gradient / (std::sqrt(state[0]) + options.epsilon);
        case OptimizerKind::rprop: {
            const double agreement = gradient * state[0];
            double length = state[1] > 0.0 ? state[1] : rate;
            if (agreement > 0.0) length = std::min(1.2 * length, 50.0);
            if (agreement < 0.0) length = std::max(0.5 * length, 1e-6);
            state[0] = agreement < 0.0 ? 0.0 : gradient;
            state[1] = length;
            return weight - (state[0] > 0.0 ? length : state[0] < 0.0 ? -length : 0.0);
        }
        case OptimizerKind::adam: break;
    }
    state[0] = options.beta1 * state[0] + (1.0 - options.beta1) * gradient;
    state[1] = options.beta2 * state[1] + (1.0 - options.beta2) * gradient * gradient;
    const double m = state[0] / (1.0 - std::pow(options.beta1, step));
    const double v = state[1] / (1.0 - std::pow(options.beta2, step));
    return weight - rate * m / (std::sqrt(v) + options.epsilon);
}

constexpr OptimizerKind kOptimizers[] = {OptimizerKind::sgd, OptimizerKind::momentum,
                                         OptimizerKind::adagrad, OptimizerKind::adam,
                                         OptimizerKind::rprop};

void updates_step_along_the_gradient_and_the_decay() {
    const Fixture f;
    const float rate = 0.01f, decay = 0.1f;
    for (const OptimizerKind kind : kOptimizers) {
        const OptimizerOptions options{kind};
        for (const Cells cells : {Cells::input, Cells::error}) {
            for (const index_t k : kUnits) {
                const Matrix h = testing::random_matrix(20, k, 1);
                Matrix weights = testing::random_matrix(300, k, 2);
                Matrix state[2] = {Matrix(300, k), Matrix(300, k)};
                Doubles expected(weights.view()), first(300, k), second(300, k);
                for (index_t step = 1; step <= 2; ++step) {
                    Doubles gradient(300, k);
                    f.for_each_cell([&](index_t r, index_t i, bool is_input) {
                        if (cells == Cells::input && !is_input) return;
                        const double value =
                            cells == Cells::input ? f.batch.input()[i] : f.batch.error()[i];
                        double* sum = gradient.row(f.batch.column()[i]);
                        for (index_t j = 0; j < k; ++j) sum[j] += value * h.row(r)[j];
                    });
                    for (std::size_t i = 0; i < expected.numbers.size(); ++i) {
                        double both[2] = {first.numbers[i], second.numbers[i]};
                        const double total = gradient.numbers[i] + decay * expected.numbers[i];
                        expected.numbers[i] = stepped(options, rate, static_cast<double>(step),
                                                      expected.numbers[i], total, both);
                        first.numbers[i] = both[0];
                        second.numbers[i] = both[1];
                    }
                    const isthmus::TrainedMatrix trained{weights.view(),
                                                         {state[0].view(), state[1].view()}};
                    for (index_t b = 0; b < f.layout.blocks(); ++b) {
                        update_columns(f.batch.lists(), b, f.layout.block(b), cells, h.view(),
                                       trained, {options, rate, step, decay});
                    }
                }
                CHECK(difference(weights.view(), expected) < 2e-5);
                CHECK(testing::padding_is_zero(weights.view()));
            }
        }
    }
}

// Weights, biases and state after some steps, the first five on three batches in turn; columns step
// at once, or skip batches and catch up.
struct Trained {
    Matrix weights, bias;
    Matrix state[2], bias_state[2];
    std::vector<std::int32_t> taken;

    Trained(index_t k, OptimizerKind kind, float rate, float decay, bool may_skip,
            index_t last_step = 5, index_t together = 300)
        : weights(testing::random_matrix(300, k, 1)),
          bias(testing::random_matrix(1, 300, 3)),
          state{Matrix(300, k), Matrix(300, k)},
          bias_state{Matrix(1, 300), Matrix(1, 300)} {
        if (may_skip) taken.resize(300);
        const Fixture batches[3] = {Fixture(3), Fixture(4), Fixture(5)};
        const Matrix h = testing::random_matrix(20, k, 2);
        const isthmus::TrainedMatrix trained{weights.view(),
                                             {state[0].view(), state[1].view()},
                                             may_skip ? taken.data() : nullptr,
                                             bias.data(),
                                             {bias_state[0].data(), bias_state[1].data()}};
        const Sparse nothing = testing::random_sparse(0, 300, 1);
        isthmus::Batch empty;
        std::vector<isthmus::OptimizerStep> steps;
        for (index_t step = 1; step <= last_step; ++step) {
            const Fixture& f = batches[step % 3];
            steps.emplace_back(OptimizerOptions{kind}, rate, step,
                               last_step == 5 ? decay * static_cast<float>(step) : decay);
            if (step > 5 && may_skip) continue;
            if (step > 5) {
                empty.assemble(nothing.view(), nullptr, 0, f.layout, {}, {}, 1);
            }
            for (index_t b = 0; b < f.layout.blocks(); ++b) {
                if (step > 5) empty.list_columns(b);
                if (may_skip) catch_up_block(f.batch, b, trained, steps.data(), step - 1);
                update_columns(step > 5 ? empty.lists() : f.batch.lists(), b, f.layout.block(b),
                               Cells::error, h.view(), trained, steps.back());
            }
        }
        if (!may_skip) return;
        for (index_t c = 0; c < 300; c += together) {
            catch_up_columns({c, c + together}, trained, steps.data(), last_step);
        }
    }
};

bool same_bits(const Matrix& a, const Matrix& b) {
    return std::equal(a.data(), a.data() + a.size(), b.data(), b.data() + b.size());
}

void few_skipped_steps_come_to_the_same_bits() {
    for (const OptimizerKind kind : kOptimizers) {
        for (const float decay : {0.0f, 0.3f}) {
            for (const index_t k : kUnits) {
                const Trained at_once(k, kind, 0.01f, decay, false);
                const Trained skipped(k, kind, 0.01f, decay, true);
                CHECK(same_bits(skipped.weights, at_once.weights));
                CHECK(same_bits(skipped.bias, at_once.bias));
                for (int i = 0; i < 2; ++i) {
                    CHECK(same_bits(skipped.state[i], at_once.state[i]));
                    CHECK(same_bits(skipped.bias_state[i], at_once.bias_state[i]));
                }
                for (const std::int32_t taken : skipped.taken) CHECK_EQUAL(taken, 5);
                CHECK(testing::padding_is_zero(skipped.weights.view()));
            }
        }
    }
}

void columns_that_catch_up_together_come_to_the_bits_of_each_alone() {
    for (const OptimizerKind kind : kOptimizers) {
        for (const index_t k : kUnits) {
            for (const index_t steps : {5, 30, 200}) {
                const Trained alone(k, kind, 0.001f, 0.1f, true, steps, 1);
                const Trained all(k, kind, 0.001f, 0.1f, true, steps);
                CHECK(same_bits(alone.weights, all.weights));
                CHECK(same_bits(alone.bias, all.bias));
                for (int i = 0; i < 2; ++i) CHECK(same_bits(alone.state[i], all.state[i]));
            }
        }
    }
}

double largest_difference(const Matrix& a, const Matrix& b) {
    return testing::difference(a.view(), Doubles(b.view()));
}

void many_skipped_steps_come_to_nearly_the_same_weights() {
    struct Case {
        OptimizerKind kind;
        float rate, decay;
        double tolerance;  // of the way that weights go
    };
    for (const Case& c : {Case{OptimizerKind::sgd, 0.01f, 0.1f, 1e-4},
                          Case{OptimizerKind::momentum, 0.001f, 0.1f, 1e-4},
                          Case{OptimizerKind::momentum, 0.001f, 0.0f, 1e-4},
                          Case{OptimizerKind::adagrad, 0.01f, 0.1f, 0.1},
                          Case{OptimizerKind::adam, 0.001f, 0.0f, 0.1},
                          Case{OptimizerKind::adam, 0.001f, 0.01f, 0.1},
                          Case{OptimizerKind::adam, 0.01f, 1.0f, 0.1},
                          Case{OptimizerKind::adam, 0.001f, 10.0f, 0.1},
                          Case{OptimizerKind::rprop, 0.01f, 1.0f, 0.0}}) {
        const Matrix start = Trained(17, c.kind, c.rate, c.decay, false).weights.copy();
        for (const index_t steps : {100, 300, 2000}) {
            const Trained exact(17, c.kind, c.rate, c.decay, false, steps);
            const Trained leapt(17, c.kind, c.rate, c.decay, true, steps);
            const double way = largest_difference(start, exact.weights);
            CHECK(largest_difference(leapt.weights, exact.weights) <= c.tolerance * way);
            const double bias_way =
                largest_difference(testing::random_matrix(1, 300, 3), exact.bias);
            CHECK(largest_difference(leapt.bias, exact.bias) <= c.tolerance * bias_way);
            for (const std::int32_t taken : leapt.taken) CHECK_EQUAL(taken, steps);
            CHECK(testing::padding_is_zero(leapt.weights.view()));
        }
    }
}

void biases_step_along_the_sum_of_the_errors() {
    const Fixture f;
    for (const OptimizerKind kind : kOptimizers) {
        const OptimizerOptions options{kind};
        Matrix bias = testing::random_matrix(1, 300, 1);
        Matrix state[2] = {Matrix(1, 300), Matrix(1, 300)};
        Doubles expected(bias.view()), gradient(1, 300);
        f.for_each_cell([&](index_t, index_t i, bool) {
            gradient.row(0)[f.batch.column()[i]] += f.batch.error()[i];
        });
        for (index_t c = 0; c < 300; ++c) {
            double both[2] = {};
            double& weight = expected.row(0)[c];
            weight = stepped(options, 0.01f, 1.0, weight, gradient.row(0)[c], both);
        }
        const Matrix h(20, 1);
        Matrix weights(300, 1), weight_state[2] = {Matrix(300, 1), Matrix(300, 1)};
        const isthmus::TrainedMatrix trained{weights.view(),
                                             {weight_state[0].view(), weight_state[1].view()},
                                             nullptr,
                                             bias.data(),
                                             {state[0].data(), state[1].data()}};
        for (index_t b = 0; b < f.layout.blocks(); ++b) {
            update_columns(f.batch.lists(), b, f.layout.block(b), Cells::error, h.view(), trained,
                           {options, 0.01f, 1, 0.0f});
        }
        CHECK(difference(bias.view(), expected) < 1e-5);
    }
}

void arrays_step_along_their_gradient() {
    for (const OptimizerKind kind : kOptimizers) {
        const OptimizerOptions options{kind};
        const Matrix gradient = testing::random_matrix(5, 19, 1);
        Matrix weights = testing::random_matrix(5, 19, 2);
        Doubles expected(weights.view());
        const Doubles along(gradient.view());
        for (std::size_t i = 0; i < expected.numbers.size(); ++i) {
            double both[2] = {};
            double& weight = expected.numbers[i];
            weight = stepped(options, 0.01f, 1.0, weight, along.numbers[i] + 0.1f * weight, both);
        }
        isthmus::Parameter(weights, kind).step(gradient, {options, 0.01f, 1, 0.1f});
        CHECK(difference(weights.view(), expected) < 1e-6);
        CHECK(testing::padding_is_zero(weights.view()));
    }
}

}  // namespace

int main() {
    encode_adds_inputs_times_weights();
    decode_gives_errors_losses_and_the_way_back();
    updates_step_along_the_gradient_and_the_decay();
    few_skipped_steps_come_to_the_same_bits();
    columns_that_catch_up_together_come_to_the_bits_of_each_alone();
    many_skipped_steps_come_to_nearly_the_same_weights();
    biases_step_along_the_sum_of_the_errors();
    arrays_step_along_their_gradient();
    return check::result();
}
