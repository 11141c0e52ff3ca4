// The content network's passes share their work among more threads than this machine may have
// cores: the result is that of one, and the sanitizers have something to watch.

#include "isthmus/models/content_network.hpp"

#include <algorithm>

#include "check.hpp"
#include "isthmus/models/content_trainer.hpp"
#include "random_data.hpp"

using isthmus::CodeTarget;
using isthmus::ContentNetwork;
using isthmus::ContentOptions;
using isthmus::ContentResult;
using isthmus::ContentShape;
using isthmus::ContentTrainer;
using testing::index_t;
using testing::Matrix;
using testing::Sparse;

namespace {

constexpr index_t kRows = 70;

// Ratings from 0 to 5 as content in [0, 1].
Sparse content(index_t inputs) {
    Sparse sparse = testing::random_sparse(kRows, inputs, 1);
    for (float& value : sparse.values) value *= 0.2f;
    return sparse;
}

struct Trained {
    ContentNetwork model;
    Matrix codes;
    ContentResult first, last;
};

Trained trained(const Sparse& rows, const ContentShape& shape, float corruption, int num_threads) {
    Trained result{ContentNetwork(shape, 7, num_threads), {}, {}, {}};
    ContentOptions options;
    options.batch_size = 16;
    options.regularization = 0.001f;
    options.corruption = corruption;
    options.seed = 3;
    options.num_threads = num_threads;
    ContentTrainer trainer(result.model, rows.rows(), options);
    const Matrix drawn = testing::random_matrix(kRows, std::max<index_t>(shape.latent, 1), 2);
    CodeTarget target;
    if (shape.latent > 0) target = {drawn.view(), 0.5f};
    for (index_t epoch = 0; epoch < 8; ++epoch) {
        const ContentResult pass = trainer.run_epoch(rows.view(), target, epoch, 0.01f, {});
        (epoch == 0 ? result.first : result.last) = pass;
    }
    result.codes = Matrix(kRows, shape.outputs(shape.layers() - 1));
    encode_content(result.model, rows.view(), num_threads, result.codes.view());
    return result;
}

void check_shape(const ContentShape& shape, float corruption) {
    const Sparse rows = content(shape.inputs);
    Trained one = trained(rows, shape, corruption, 1);
    Trained many = trained(rows, shape, corruption, 5);
    const std::vector<Matrix*> left = one.model.parameters();
    const std::vector<Matrix*> right = many.model.parameters();
    CHECK_EQUAL(left.size(), right.size());
    for (std::size_t i = 0; i < left.size(); ++i) {
        CHECK(testing::same_bits(*left[i], *right[i]));
        CHECK(testing::padding_is_zero(left[i]->view()));
    }
    CHECK(testing::same_bits(one.codes, many.codes));
    CHECK_EQUAL(one.last.reconstruction, many.last.reconstruction);
    CHECK_EQUAL(one.last.divergence, many.last.divergence);
    CHECK_EQUAL(one.last.distance, many.last.distance);
    const auto filled = static_cast<index_t>(filled_rows(rows.view()).size());
    CHECK(filled < kRows);
    CHECK_EQUAL(one.first.rows, filled);
    CHECK(one.last.reconstruction < one.first.reconstruction);
    CHECK_EQUAL(one.last.divergence > 0.0, shape.latent > 0);
    CHECK_EQUAL(one.last.distance > 0.0, shape.latent > 0);
}

void best_weights_come_back() {
    const Sparse rows = content(30);
    ContentNetwork model({30, {6}, 3}, 7, 1);
    ContentTrainer trainer(model, rows.rows(), {});
    trainer.run_epoch(rows.view(), {}, 0, 0.01f, {});
    trainer.keep_best();
    const Matrix before = model.layers.front().weights.copy();
    trainer.run_epoch(rows.view(), {}, 1, 0.01f, {});
    CHECK(!testing::same_bits(before, model.layers.front().weights));
    trainer.restore_best();
    CHECK(testing::same_bits(before, model.layers.front().weights));
}

}  // namespace

int main() {
    check_shape({1100, {20, 9}, 5}, 0.0f);  // three blocks of inputs, the last one ragged
    check_shape({600, {17}, 0}, 0.3f);
    check_shape({21, {}, 3}, 0.0f);
    best_weights_come_back();
    return check::result();
}
