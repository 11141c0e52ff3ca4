#include "isthmus/models/content_network.hpp"

#include <algorithm>
#include <utility>

#include "isthmus/batches/sparse_kernels.hpp"
#include "isthmus/nn/dense.hpp"
#include "isthmus/nn/layers.hpp"

namespace isthmus {

namespace {

constexpr index_t kRowsPerPiece = 32;

// A layer's z = its inputs' products + bias, and what it hands on: the sigmoid, or the code's mean.
void finish_layer(const ContentShape& shape, index_t layer, const Matrix& bias, Matrix& before,
                  Matrix& after, index_t begin, index_t end) {
    for (index_t r = begin; r < end; ++r) {
        if (shape.is_code(layer)) {
            add_row(bias.row(0), before.row(r), before.width());
            std::copy_n(before.row(r), shape.latent, after.row(r));
        } else {
            activate_row(Activation::sigmoid, bias.row(0), before.row(r), after.row(r),
                         before.cols());
        }
    }
}

}  // namespace

ContentNetwork::ContentNetwork(ContentShape shape_, std::uint64_t seed, int num_threads)
    : shape(std::move(shape_)) {
    for (index_t l = 0; l < shape.layers(); ++l) {
        const index_t inputs = shape.inputs_of(l);
        ContentLayer& layer = layers.emplace_back();
        layer.weights = Matrix(inputs, shape.units(l));
        layer.bias = Matrix(1, shape.units(l));
        layer.decoder_bias = Matrix(1, inputs);
        initialize_uniform(layer.weights, seed, static_cast<int>(l), num_threads);
        if (!shape.is_code(l)) continue;
        layer.own_decoder = Matrix(inputs, shape.latent);
        initialize_uniform(layer.own_decoder, seed, static_cast<int>(l) + 1, num_threads);
    }
}

std::vector<Matrix*> ContentNetwork::parameters() {
    std::vector<Matrix*> all;
    for (ContentLayer& layer : layers) {
        all.insert(all.end(), {&layer.weights, &layer.bias, &layer.decoder_bias});
        if (!layer.own_decoder.empty()) all.push_back(&layer.own_decoder);
    }
    return all;
}

void encode_rows(const ContentNetwork& model, const Batch& batch, index_t begin, index_t end,
                 std::vector<Matrix>& before, std::vector<Matrix>& after) {
    for (index_t l = 0; l < model.shape.layers(); ++l) {
        const auto at = static_cast<std::size_t>(l);
        const ContentLayer& layer = model.layers[at];
        if (l == 0) {
            encode_rows(batch, {begin, end}, layer.weights.view(), before[at].view());
        } else {
            multiply_rows(after[at - 1].view(), layer.weights.view(), begin, end,
                          before[at].view());
        }
        finish_layer(model.shape, l, layer.bias, before[at], after[at], begin, end);
    }
}

void encode_content(const ContentNetwork& model, const CsrView& matrix, int num_threads,
                    MatrixView codes) {
    const ContentShape& shape = model.shape;
    std::vector<Matrix> before, after;
    for (index_t l = 0; l < shape.layers(); ++l) {
        before.emplace_back(rows_at_once(matrix), shape.units(l));
        after.emplace_back(rows_at_once(matrix), shape.outputs(l));
    }
    const auto encode = [&](const Batch& batch, const std::int32_t*, index_t begin, index_t end) {
        encode_rows(model, batch, begin, end, before, after);
    };
    encode_in_batches(matrix, {}, kRowsPerPiece, num_threads, after.back(), codes, encode);
}

}  // namespace isthmus
