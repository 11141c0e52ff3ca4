#include "isthmus/models/rbm.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "isthmus/core/parallel.hpp"
#include "isthmus/core/random.hpp"
#include "isthmus/models/softmax.hpp"
#include "isthmus/nn/dense.hpp"
#include "isthmus/nn/epoch.hpp"
#include "isthmus/nn/layers.hpp"

namespace isthmus {

namespace {

constexpr index_t kRowsPerPiece = 8;
constexpr index_t kColumnsPerPiece = 16;
constexpr index_t kStrip = 256;  // cells whose random words are drawn at once

// out += the rows row_of(i) of `matrix`, eight vectors of them at a time
template <class RowOf>
ISTHMUS_INLINE void add_rows(const Matrix& matrix, index_t count, const RowOf& row_of, float* out) {
    constexpr index_t kVectors = 8;
    const index_t width = matrix.width();
    index_t begin = 0;
    for (; begin + kVectors * kLanes <= width; begin += kVectors * kLanes) {
        Floats sums[kVectors];
#pragma GCC unroll 8
        for (index_t v = 0; v < kVectors; ++v) sums[v] = load(out + begin + v * kLanes);
        for (index_t i = 0; i < count; ++i) {
            const float* row = matrix.row(row_of(i)) + begin;
#pragma GCC unroll 8
            for (index_t v = 0; v < kVectors; ++v) sums[v] += load(row + v * kLanes);
        }
#pragma GCC unroll 8
        for (index_t v = 0; v < kVectors; ++v) store(out + begin + v * kLanes, sums[v]);
    }
    if (begin == width) return;
    for (index_t i = 0; i < count; ++i) {
        const float* row = matrix.row(row_of(i));
        for (index_t p = begin; p < width; p += kLanes)
            store(out + p, load(out + p) + load(row + p));
    }
}

// h = p(hidden = 1 | the row's levels); z is scratch
void hidden_probabilities(const Rbm& model, const LevelRows& rows, index_t id,
                          const std::uint8_t* levels, float* z, float* h) {
    std::fill_n(z, model.hidden_bias.width(), 0.0f);
    const std::int32_t* columns = rows.cells.indices + rows.cells.indptr[id];
    add_rows(
        model.weights, rows.cells.row_nnz(id),
        [&](index_t i) { return columns[i] * model.levels() + levels[i]; }, z);
    activate_row(Activation::sigmoid, model.hidden_bias.data(), z, h, model.hidden());
}

// weights += step after step = momentum x step + rate x (gradient x scale - decay x weights)
void move(float* weights, float* step, const float* gradient, index_t width, float scale,
          float momentum, float rate, float decay) {
    for (index_t p = 0; p < width; p += kLanes) {
        const Floats old = load(weights + p);
        const Floats next = multiply_add(momentum, load(step + p),
                                         rate * (scale * load(gradient + p) - decay * old));
        store(step + p, next);
        store(weights + p, old + next);
    }
}

}  // namespace

Rbm::Rbm(index_t cols, index_t levels, index_t hidden, float deviation, std::uint64_t seed,
         int num_threads)
    : weights(cols * levels, hidden), visible_bias(cols, levels), hidden_bias(1, hidden) {
    initialize_normal(weights, deviation, seed, 0, num_threads);
}

void encode_rows(const Rbm& model, const LevelRows& rows, int num_threads, MatrixView codes) {
    parallel_ranges(rows.cells.rows, kRowsPerPiece, num_threads, [&](index_t begin, index_t end) {
        Matrix z(1, model.hidden());
        for (index_t r = begin; r < end; ++r) {
            hidden_probabilities(model, rows, r, rows.levels + rows.cells.indptr[r], z.data(),
                                 codes.row(r));
        }
    });
}

RbmTrainer::RbmTrainer(Rbm& model, RbmOptions options)
    : model_(model),
      options_(std::move(options)),
      weights_step_(model.weights.rows(), model.hidden()),
      visible_step_(model.cols(), model.levels()),
      hidden_step_(1, model.hidden()),
      column_count_(static_cast<std::size_t>(model.cols())),
      units_(static_cast<std::size_t>(model.hidden())) {
    std::iota(units_.begin(), units_.end(), 0);
}

double RbmTrainer::run_epoch(const LevelRows& rows, index_t epoch, int steps, float rate,
                             const Poll& poll) {
    const auto order = shuffled(filled_rows(rows.cells), options_.seed, epoch);
    const index_t batch_rows =
        std::min(options_.batch_size, std::max<index_t>(static_cast<index_t>(order.size()), 1));
    if (positive_.rows() != batch_rows) {
        positive_ = Matrix(batch_rows, model_.hidden());
        negative_ = Matrix(batch_rows, model_.hidden());
        squared_error_.resize(static_cast<std::size_t>(batch_rows));
    }
    double squared_error = 0.0;
    const auto train = [&](const EpochBatch& batch) {
        const double loss = sample_rows(rows, batch.ids, batch.count, epoch, steps);
        batch.require_finite(loss);
        squared_error += loss;
        update(rows, batch, rate);
    };
    train_in_batches(order, batch_rows, epoch, options_.num_threads, poll, train);
    return squared_error;
}

void RbmTrainer::update(const LevelRows& rows, const EpochBatch& batch, float rate) {
    const float share = 1.0f / static_cast<float>(batch.count);
    list_columns(rows, batch.ids, batch.count);
    const auto touched = static_cast<index_t>(touched_.size());
    parallel_ranges(touched, kColumnsPerPiece, options_.num_threads,
                    [&](index_t first, index_t last) {
                        Matrix gradient(model_.levels() + 1, model_.hidden());
                        for (index_t t = first; t < last; ++t) {
                            update_column(t, share, rate, gradient.view());
                        }
                    });
    update_hidden_bias(batch.count, rate);
}

double RbmTrainer::sample_rows(const LevelRows& rows, const std::int32_t* ids, index_t count,
                               index_t epoch, int steps) {
    cell_begin_.resize(static_cast<std::size_t>(count + 1));
    cell_begin_[0] = 0;
    for (index_t r = 0; r < count; ++r) {
        cell_begin_[static_cast<std::size_t>(r + 1)] = cell_begin_[static_cast<std::size_t>(r)] +
                                                       rows.cells.indptr[ids[r] + 1] -
                                                       rows.cells.indptr[ids[r]];
    }
    sampled_.resize(static_cast<std::size_t>(cell_begin_.back()));
    parallel_ranges(count, kRowsPerPiece, options_.num_threads, [&](index_t begin, index_t end) {
        Matrix scratch(3, std::max(model_.hidden(), model_.levels()));
        std::vector<std::uint32_t> words(
            static_cast<std::size_t>(std::max(kStrip, model_.hidden())));
        for (index_t r = begin; r < end; ++r) {
            squared_error_[static_cast<std::size_t>(r)] =
                sample_row(rows, ids[r], r, epoch, steps, scratch.view(), words.data());
        }
    });
    return std::accumulate(squared_error_.begin(), squared_error_.begin() + count, 0.0);
}

double RbmTrainer::sample_row(const LevelRows& rows, std::int32_t id, index_t place, index_t epoch,
                              int steps, MatrixView scratch, std::uint32_t* words) {
    const auto epoch32 = static_cast<std::uint32_t>(epoch);
    const auto row = static_cast<std::uint32_t>(id);
    const index_t first = rows.cells.indptr[id], cells = rows.cells.indptr[id + 1] - first;
    const index_t hidden = model_.hidden(), levels = model_.levels();
    const std::uint8_t* data = rows.levels + first;
    std::uint8_t* sampled = sampled_.data() + cell_begin_[static_cast<std::size_t>(place)];
    float *z = scratch.row(0), *h = scratch.row(1), *p = scratch.row(2);

    hidden_probabilities(model_, rows, id, data, z, positive_.row(place));
    const float* probabilities = positive_.row(place);
    double squared_error = 0.0;
    for (int step = 0; step < steps; ++step) {
        const Philox hidden_draw(options_.seed, Stream::hidden_units + step, epoch32);
        const Philox visible_draw(options_.seed, Stream::visible_units + step, epoch32);
        hidden_draw.words(row, units_.data(), hidden, words);
        for (index_t j = 0; j < hidden; ++j) {
            h[j] = Philox::to_uniform(words[j]) < probabilities[j] ? 1.0f : 0.0f;
        }
        std::fill(h + hidden, h + model_.hidden_bias.width(), 0.0f);
        for (index_t strip = 0; strip < cells; strip += kStrip) {
            const index_t size = std::min(kStrip, cells - strip);
            const std::int32_t* columns = rows.cells.indices + first + strip;
            visible_draw.words(row, columns, size, words);
            for (index_t i = 0; i < size; ++i) {
                level_probabilities(model_.weights.view(), columns[i] * levels,
                                    model_.visible_bias.row(columns[i]), levels, h, p);
                sampled[strip + i] = draw_level(p, levels, Philox::to_uniform(words[i]));
                if (step == 0) {
                    const float* values = options_.values.data();
                    const double error =
                        expected_value(p, values, levels) - values[data[strip + i]];
                    squared_error += error * error;
                }
            }
        }
        hidden_probabilities(model_, rows, id, sampled, z, negative_.row(place));
        probabilities = negative_.row(place);
    }
    return squared_error;
}

void RbmTrainer::list_columns(const LevelRows& rows, const std::int32_t* ids, index_t count) {
    const CsrView& matrix = rows.cells;
    touched_.clear();
    for (index_t r = 0; r < count; ++r) {
        for (index_t i = matrix.indptr[ids[r]]; i < matrix.indptr[ids[r] + 1]; ++i) {
            if (column_count_[static_cast<std::size_t>(matrix.indices[i])]++ == 0)
                touched_.push_back(matrix.indices[i]);
        }
    }
    std::sort(touched_.begin(), touched_.end());
    list_begin_.resize(touched_.size() + 1);
    index_t total = 0;
    for (std::size_t t = 0; t < touched_.size(); ++t) {
        list_begin_[t] = total;
        total += std::exchange(column_count_[static_cast<std::size_t>(touched_[t])], total);
    }
    list_begin_[touched_.size()] = total;
    list_.resize(static_cast<std::size_t>(total));
    for (index_t r = 0; r < count; ++r) {
        const index_t begin = matrix.indptr[ids[r]];
        for (index_t i = begin; i < matrix.indptr[ids[r] + 1]; ++i) {
            const index_t cell = cell_begin_[static_cast<std::size_t>(r)] + i - begin;
            index_t& next = column_count_[static_cast<std::size_t>(matrix.indices[i])];
            list_[static_cast<std::size_t>(next++)] =
                Cell{static_cast<std::int32_t>(r), rows.levels[i],
                     sampled_[static_cast<std::size_t>(cell)]};
        }
    }
    for (const std::int32_t column : touched_) column_count_[static_cast<std::size_t>(column)] = 0;
}

// gradient: a row a level, and one for the biases
void RbmTrainer::update_column(index_t listed, float share, float rate, MatrixView gradient) {
    const index_t column = touched_[static_cast<std::size_t>(listed)];
    const index_t begin = list_begin_[static_cast<std::size_t>(listed)];
    const index_t end = list_begin_[static_cast<std::size_t>(listed) + 1];
    const index_t levels = model_.levels(), width = gradient.width();
    float bias[kMaxLevels] = {};
    std::fill_n(gradient.data, levels * gradient.stride, 0.0f);
    for (index_t i = begin; i < end; ++i) {
        const Cell cell = list_[static_cast<std::size_t>(i)];
        add_row(positive_.row(cell.row), gradient.row(cell.level), width);
        add_scaled_row(-1.0f, negative_.row(cell.row), gradient.row(cell.sampled), width);
        bias[cell.level] += 1.0f;
        bias[cell.sampled] -= 1.0f;
    }
    for (index_t k = 0; k < levels; ++k) {
        move(model_.weights.row(column * levels + k), weights_step_.row(column * levels + k),
             gradient.row(k), width, share, options_.momentum, rate, options_.decay);
        float& step = visible_step_.row(column)[k];
        step = options_.momentum * step + rate * share * bias[k];
        model_.visible_bias.row(column)[k] += step;
    }
}

void RbmTrainer::update_hidden_bias(index_t count, float rate) {
    Matrix gradient(1, model_.hidden());
    for (index_t r = 0; r < count; ++r) {
        add_row(positive_.row(r), gradient.data(), gradient.width());
        add_scaled_row(-1.0f, negative_.row(r), gradient.data(), gradient.width());
    }
    move(model_.hidden_bias.data(), hidden_step_.data(), gradient.data(), gradient.width(),
         1.0f / static_cast<float>(count), options_.momentum, rate, 0.0f);
}

}  // namespace isthmus
