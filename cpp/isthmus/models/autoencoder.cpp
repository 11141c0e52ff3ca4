#include "isthmus/models/autoencoder.hpp"

#include <algorithm>
#include <utility>

#include "isthmus/batches/block_walk.hpp"
#include "isthmus/batches/sparse_kernels.hpp"
#include "isthmus/core/parallel.hpp"
#include "isthmus/core/random.hpp"
#include "isthmus/nn/dense.hpp"

namespace isthmus {

namespace {

constexpr index_t kRowsPerPiece = 16;

void drop(const Dropout& dropout, int layer, const std::int32_t* ids, index_t begin, index_t end,
          Matrix& after, Matrix& kept) {
    const Philox draw(dropout.seed, Stream::dropout + layer, dropout.epoch);
    const float scale = 1.0f / (1.0f - dropout.rate);
    for (index_t r = begin; r < end; ++r) {
        float* h = after.row(r);
        float* mask = kept.row(r);
        for (index_t j = 0; j < after.cols(); ++j) {
            const float u =
                draw.uniform(static_cast<std::uint32_t>(ids[r]), static_cast<std::uint32_t>(j));
            mask[j] = u < dropout.rate ? 0.0f : scale;
            h[j] *= mask[j];
        }
    }
}

std::vector<LayerStack::Size> sizes(const AutoencoderShape& shape) {
    std::vector<LayerStack::Size> layers;
    for (const index_t units : shape.hidden) layers.push_back({units, units});
    return layers;
}

}  // namespace

Autoencoder::Autoencoder(AutoencoderShape shape_, std::uint64_t seed, int num_threads,
                         const InputShare& share)
    : LayerStack(shape_.inputs, sizes(shape_), seed, num_threads, share),
      shape(std::move(shape_)) {}

Workspace::Workspace(const AutoencoderShape& shape, const ColumnLayout& layout, index_t rows,
                     bool trains, bool drops, Precision most) {
    const index_t first = shape.hidden.front();
    const index_t last = shape.hidden.back();
    for (index_t s = 0; s < layout.slices(); ++s) {
        partial.emplace_back(rows + 1, trains ? std::max(first, last) : first);
    }
    for (const index_t units : shape.hidden) {
        before.emplace_back(rows, units);
        after.emplace_back(rows, units);
        if (trains) error.emplace_back(rows + 1, units);
        if (drops) kept.emplace_back(rows, units);
    }
    if (trains) squared_error.resize(static_cast<std::size_t>(layout.slices() * rows));
    if (most == Precision::bfloat16) {
        codes = HalfMatrix(rows, last);
        first_error = HalfMatrix(rows, first);
    }
}

void encode(const Autoencoder& model, Workspace& work, const std::int32_t* ids,
            const Dropout& dropout, const Reduction& reduce, int num_threads,
            const std::function<void(index_t)>& prepare) {
    const Batch& batch = work.batch;
    const ColumnLayout& layout = batch.layout();
    const index_t rows = batch.rows();
    const index_t first = model.shape.hidden.front();
    const index_t width = round_up(first, kLineFloats);
    const ConstMatrixView v = model.encoder.view();

    const auto before = [&](index_t block) {
        if (prepare) prepare(block);
    };
    const auto add_block = [&](index_t slice, index_t block, Range own) {
        MatrixView sums = work.partial[static_cast<std::size_t>(slice)].view();
        sums.cols = first;
        if (block == layout.slice_blocks(slice).begin) {
            for (index_t r = own.begin; r < own.end; ++r) std::fill_n(sums.row(r), width, 0.0f);
        }
        if (work.precision == Precision::float32) {
            encode_block(batch, block, own, v, sums);
        } else {
            encode_block(batch, block, own, split_halves(v), sums);
        }
    };
    walk_blocks(batch, num_threads, before, add_block, [](index_t) {});

    sum_parts(work.partial, rows, work.before.front(), reduce, num_threads);
    parallel_ranges(rows, kRowsPerPiece, num_threads, [&](index_t begin, index_t end) {
        for (std::size_t l = 0; l < model.shape.hidden.size(); ++l) {
            Matrix& z = work.before[l];
            Matrix& h = work.after[l];
            if (l > 0) {
                multiply_rows(work.after[l - 1].view(), model.hidden[l - 1].weights.view(), begin,
                              end, z.view());
            }
            const float* bias =
                l == 0 ? model.encoder_bias.row(0) : model.hidden[l - 1].bias.row(0);
            for (index_t r = begin; r < end; ++r) {
                activate_row(model.shape.hidden_activation, bias, z.row(r), h.row(r), z.cols());
            }
            if (dropout.rate > 0.0f) {
                drop(dropout, static_cast<int>(l), ids, begin, end, h, work.kept[l]);
            }
        }
        if (work.precision == Precision::float32) return;
        work.codes.round(work.after.back(), begin, end);
    });
}

void encode_matrix(const Autoencoder& model, Workspace& work, const ColumnLayout& layout,
                   const CsrView& matrix, const RowTransform& transform, int num_threads,
                   MatrixView codes, const Reduction& reduce) {
    const index_t step = std::min(work.rows(), rows_at_once(matrix));
    for_each_batch(work.batch, matrix, step, layout, transform, num_threads,
                   [&](const std::int32_t* ids, index_t first, index_t count) {
                       encode(model, work, ids, {}, reduce, num_threads);
                       const Matrix& h = work.after.back();
                       for (index_t r = 0; r < count; ++r) {
                           std::copy_n(h.row(r), codes.width(), codes.row(first + r));
                       }
                   });
}

}  // namespace isthmus
