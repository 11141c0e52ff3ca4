#include "isthmus/models/autoencoder_trainer.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>

#include "isthmus/batches/block_walk.hpp"
#include "isthmus/batches/column_steps.hpp"
#include "isthmus/batches/sparse_kernels.hpp"
#include "isthmus/core/parallel.hpp"
#include "isthmus/core/random.hpp"
#include "isthmus/nn/dense.hpp"

namespace isthmus {

namespace {

constexpr index_t kRowsPerPiece = 16;
constexpr index_t kColumnsPerPiece = 64;

class Stopwatch {
public:
    // Seconds since the last lap.
    double lap() {
        const auto now = Clock::now();
        return std::chrono::duration<double>(now - std::exchange(last_, now)).count();
    }

private:
    using Clock = std::chrono::steady_clock;
    Clock::time_point last_ = Clock::now();
};

// rows[to[i]] = rows[i] for every i, in place, a cycle at a time
void permute_rows(Matrix& matrix, const std::int32_t* to) {
    const std::size_t bytes = static_cast<std::size_t>(matrix.stride()) * sizeof(float);
    std::vector<bool> done(static_cast<std::size_t>(matrix.rows()));
    Matrix carried(1, matrix.cols()), displaced(1, matrix.cols());
    for (index_t start = 0; start < matrix.rows(); ++start) {
        if (done[static_cast<std::size_t>(start)] || to[start] == start) continue;
        std::memcpy(carried.data(), matrix.row(start), bytes);
        index_t at = start;
        do {
            const index_t target = to[at];
            std::memcpy(displaced.data(), matrix.row(target), bytes);
            std::memcpy(matrix.row(target), carried.data(), bytes);
            std::swap(carried, displaced);
            done[static_cast<std::size_t>(target)] = true;
            at = target;
        } while (at != start);
    }
}

void permute_values(float* values, const std::vector<std::int32_t>& to) {
    std::vector<float> old(values, values + to.size());
    for (std::size_t i = 0; i < to.size(); ++i) values[to[i]] = old[i];
}

void permute_columns(Autoencoder& model, const std::vector<std::int32_t>& to) {
    permute_rows(model.encoder, to.data());
    permute_rows(model.decoder, to.data());
    permute_values(model.decoder_bias.data(), to);
}

std::vector<std::int32_t> forth(const ColumnLayout& layout) {
    return {layout.internal(), layout.internal() + layout.cols()};
}

std::vector<std::int32_t> back(const ColumnLayout& layout) {
    std::vector<std::int32_t> original(static_cast<std::size_t>(layout.cols()));
    for (index_t c = 0; c < layout.cols(); ++c) {
        original[static_cast<std::size_t>(layout.internal()[c])] = static_cast<std::int32_t>(c);
    }
    return original;
}

}  // namespace

Trainer::Trainer(Autoencoder& model, const std::vector<std::int64_t>& popularity, index_t rows,
                 TrainingOptions options)
    : model_(model),
      layout_(popularity, rows, options.batch_size, options.slice_of),
      options_(std::move(options)),
      work_(model.shape, layout_, std::min(options_.batch_size, std::max<index_t>(rows, 1)), true,
            options_.dropout > 0.0f, options_.precision),
      trained_(model, options_.optimizer.kind, options_.precision) {
    for (Parameter* late : {&trained_.encoder, &trained_.decoder}) {
        late->taken.resize(static_cast<std::size_t>(layout_.cols()));
        late->number.resize(options_.rounding.size());
        for (std::size_t c = 0; c < options_.rounding.size(); ++c) {
            late->number[static_cast<std::size_t>(layout_.internal()[c])] = options_.rounding[c];
        }
    }
    permute_columns(model_, forth(layout_));
}

Trainer::~Trainer() { finish(); }

void Trainer::finish() {
    if (finished_) return;
    finished_ = true;
    // the optimizer's state goes first: giving the columns back may need memory
    for (Parameter* parameter : {&trained_.encoder, &trained_.decoder}) {
        for (Matrix& state : parameter->state) state = Matrix();
    }
    join_weights();
    permute_columns(model_, back(layout_));
}

// The columns are no longer where the layout says, and the optimizer's state is gone.
void Trainer::require_unfinished() const {
    if (finished_) throw std::logic_error("the trainer has finished: make another to go on");
}

EpochResult Trainer::run_epoch(const CsrView& matrix, const RowTransform& transform, index_t epoch,
                               const std::vector<float>& rates, const Poll& poll,
                               const Reduction& reduce,
                               const std::optional<std::vector<std::int32_t>>& filled,
                               float* predictions) {
    require_unfinished();
    if (predictions && model_.shape.output_activation != Activation::identity) {
        throw std::logic_error("predictions of an epoch need an identity output");
    }
    if (predictions && transform.cell_weight) {
        throw std::logic_error("predictions of an epoch need cells without weights");
    }
    const auto order = shuffled(filled ? *filled : filled_rows(matrix), options_.seed, epoch);
    const index_t size = batch_rows();
    const index_t batches = (static_cast<index_t>(order.size()) + size - 1) / size;
    if (rates.size() != 1 && static_cast<index_t>(rates.size()) != batches) {
        throw std::invalid_argument("there must be one rate, or one for each of " +
                                    std::to_string(batches) + " batches, but there are " +
                                    std::to_string(rates.size()));
    }
    return run_batches(matrix, transform, order, epoch, rates, poll, reduce, predictions);
}

EpochResult Trainer::run_batches(const CsrView& matrix, const RowTransform& transform,
                                 const std::vector<std::int32_t>& order, index_t epoch,
                                 const std::vector<float>& rates, const Poll& poll,
                                 const Reduction& reduce, float* predictions) {
    EpochResult result;
    slice_errors_.assign(static_cast<std::size_t>(layout_.slices()), 0.0);
    split_weights();
    const auto train = [&](const EpochBatch& batch) {
        const float rate =
            rates.size() == 1 ? rates[0] : rates[static_cast<std::size_t>(batch.number)];
        result.cells += train_batch(matrix, transform, batch, rate, reduce, predictions);
        const double loss = batch_loss(batch.count);
        batch.require_finite(diverged_ ? std::numeric_limits<double>::quiet_NaN() : loss);
        result.squared_error += loss;
        for (index_t s = 0; s < layout_.slices(); ++s) {
            slice_errors_[static_cast<std::size_t>(s)] += slice_loss(s, batch.count);
        }
    };
    train_in_batches(order, batch_rows(), epoch, options_.num_threads, poll, train,
                     [this] { settle(); });
    return result;
}

// Momentum of 1 adds up the batches' gradients, and a rate of 0 leaves the weights where they are.
Evaluation Trainer::evaluate(const CsrView& matrix, const RowTransform& transform, index_t epoch,
                             const Poll& poll) {
    require_unfinished();
    if (options_.optimizer.kind != OptimizerKind::momentum || in_halves()) {
        throw std::logic_error("evaluate() needs a trainer whose optimizer is momentum in float32");
    }
    if (options_.corruption != Corruption::none || options_.dropout > 0.0f) {
        throw std::logic_error("evaluate() needs a trainer without corruption and dropout");
    }
    for (Matrix* gradient : gradients()) gradient->fill_zero();
    const float momentum = std::exchange(options_.optimizer.momentum, 1.0f);
    Evaluation result;
    try {
        result.errors =
            run_batches(matrix, transform, filled_rows(matrix), epoch, {0.0f}, poll, {}, nullptr);
    } catch (...) {
        options_.optimizer.momentum = momentum;
        throw;
    }
    options_.optimizer.momentum = momentum;
    result.penalty = penalty();
    return result;
}

double Trainer::penalty() const {
    double hidden = 0.0;
    for (const DenseLayer& layer : model_.hidden) hidden += squared_norm(layer.weights);
    const double outer = squared_norm(model_.encoder) + squared_norm(model_.decoder);
    return 0.5 * (double{options_.regularization} * outer +
                  double{options_.hidden_regularization} * hidden +
                  double{options_.bias_regularization} * squared_norm(model_.decoder_bias));
}

double Trainer::squared_norm(const Matrix& weights) const {
    std::vector<double> sums(static_cast<std::size_t>(weights.rows()));
    parallel_ranges(weights.rows(), kColumnsPerPiece, options_.num_threads,
                    [&](index_t begin, index_t end) {
                        for (index_t r = begin; r < end; ++r) {
                            const float* row = weights.row(r);
                            double sum = 0.0;
                            for (index_t j = 0; j < weights.cols(); ++j) {
                                sum += double{row[j]} * row[j];
                            }
                            sums[static_cast<std::size_t>(r)] = sum;
                        }
                    });
    double squares = 0.0;
    for (const double sum : sums) squares += sum;
    return squares;
}

double Trainer::slice_loss(index_t slice, index_t rows) const {
    const double* part = work_.squared_error.data() + slice * batch_rows();
    return std::accumulate(part, part + rows, 0.0);
}

double Trainer::batch_loss(index_t rows) const {
    double loss = 0.0;
    for (index_t s = 0; s < layout_.slices(); ++s) {
        const double* part = work_.squared_error.data() + s * batch_rows();
        for (index_t r = 0; r < rows; ++r) loss += part[r];
    }
    return loss;
}

index_t Trainer::train_batch(const CsrView& matrix, const RowTransform& transform,
                             const EpochBatch& batch, float rate, const Reduction& reduce,
                             float* predictions) {
    CorruptionPlan corruption{options_.corruption, options_.corruption_level, options_.seed,
                              static_cast<std::uint32_t>(batch.epoch)};
    corruption.transposed = options_.transposed;
    if (!options_.columns.empty()) corruption.columns = options_.columns.data();
    Stopwatch watch;
    work_.batch.assemble(matrix, batch.ids, batch.count, layout_, transform, corruption,
                         options_.num_threads, predictions != nullptr);
    phases_.assemble += watch.lap();
    encode_batch(batch, reduce);
    phases_.encode += watch.lap();
    ++step_;
    steps_.emplace_back(options_.optimizer, rate, step_, options_.regularization * batch.share);
    steps_.back().bias_decay = options_.bias_regularization * batch.share;
    const Philox draw(options_.seed, Stream::rounding, 0);
    steps_.back().noise = draw(static_cast<std::uint32_t>(step_), 0)[0];
    decode_and_update();
    if (predictions) store_predictions(matrix, transform, batch, predictions);
    phases_.decode += watch.lap();
    backward(options_.hidden_regularization * batch.share, reduce);
    phases_.backward += watch.lap();
    work_.batch.swap_lists(before_);
    encoder_waits_ = true;
    return work_.batch.nnz();
}

void Trainer::encode_batch(const EpochBatch& batch, const Reduction& reduce) {
    const Dropout dropout{options_.dropout, options_.seed, static_cast<std::uint32_t>(batch.epoch)};
    const bool waits = std::exchange(encoder_waits_, false);
    encode(model_, work_, batch.ids, dropout, reduce, options_.num_threads, [&](index_t block) {
        if (waits) update_encoder(block);
        catch_up_block(work_.batch, block, trained_.encoder.view(), steps_.data(), steps());
    });
}

// The encoder's step on the batch before, whose hidden errors are still there.
void Trainer::update_encoder(index_t block) {
    const auto update = [&](auto errors) {
        update_columns(before_, block, layout_.block(block), Cells::input, errors,
                       trained_.encoder.view(), steps_.back());
    };
    if (in_halves()) {
        update(work_.first_error.view());
    } else {
        update(std::as_const(work_.error.front()).view());
    }
}

// The decoder's step on this batch, whose codes and cells' errors are known.
void Trainer::update_decoder(index_t block) {
    Batch& batch = work_.batch;
    batch.list_columns(block);
    // with more threads than slices, another one has the next block
    const bool goes_on = options_.num_threads <= layout_.slices() && block + 1 < layout_.blocks();
    const Range upcoming = goes_on ? layout_.block(block + 1) : Range{};
    const auto update = [&](auto codes) {
        update_columns(batch.lists(), block, layout_.block(block), Cells::error, codes, decoder(),
                       steps_.back(), upcoming);
    };
    if (in_halves()) {
        update(std::as_const(work_.codes).view());
    } else {
        update(std::as_const(work_.after.back()).view());
    }
}

void Trainer::decode(index_t block, Range rows, MatrixView dh, double* squared_error) {
    const DecodeRule rule{model_.shape.output_activation, model_.decoder_bias.row(0)};
    const ConstMatrixView weights = std::as_const(model_.decoder).view();
    if (in_halves()) {
        decode_block(work_.batch, block, rows, split_halves(weights), rule, work_.codes.view(), dh,
                     squared_error);
    } else {
        decode_block(work_.batch, block, rows, weights, rule,
                     std::as_const(work_.after.back()).view(), dh, squared_error);
    }
}

// The decoder's weights and biases, which step together.
TrainedMatrix Trainer::decoder() {
    TrainedMatrix trained = trained_.decoder.view();
    trained.bias = trained_.decoder_bias.weights->data();
    for (int i = 0; i < 2; ++i) trained.bias_state[i] = trained_.decoder_bias.state[i].data();
    return trained;
}

// Takes the steps that columns have skipped.
void Trainer::settle() {
    Stopwatch watch;
    if (std::exchange(encoder_waits_, false)) {
        parallel_for(layout_.blocks(), options_.num_threads,
                     [&](index_t block) { update_encoder(block); });
    }
    for (const TrainedMatrix& trained : {trained_.encoder.view(), decoder()}) {
        parallel_ranges(layout_.cols(), kColumnsPerPiece, options_.num_threads,
                        [&](index_t begin, index_t end) {
                            catch_up_columns({begin, end}, trained, steps_.data(), steps());
                        });
    }
    steps_.clear();
    for (Parameter* parameter : {&trained_.encoder, &trained_.decoder}) {
        std::fill(parameter->taken.begin(), parameter->taken.end(), 0);
    }
    phases_.settle += watch.lap();
}

// Splits the weights, where they are read as halves.
void Trainer::split_weights() {
    if (std::exchange(work_.precision, options_.precision) == options_.precision) return;
    for (Matrix* weights : {&model_.encoder, &model_.decoder}) {
        split_rows(weights->view(), options_.num_threads);
    }
}

// Makes them whole again.
void Trainer::join_weights() {
    if (std::exchange(work_.precision, Precision::float32) == Precision::float32) return;
    for (Matrix* weights : {&model_.encoder, &model_.decoder}) {
        join_rows(weights->view(), options_.num_threads);
    }
}

// The decoder, its way back into the codes, and its own update: block by block, so that a block's
// weights are read while they are in the cache.
void Trainer::decode_and_update() {
    const index_t codes = model_.shape.hidden.back();
    const index_t width = round_up(codes, kLineFloats);

    const auto catch_up = [&](index_t block) {
        catch_up_block(work_.batch, block, decoder(), steps_.data(), steps() - 1);
    };
    const auto decode_rows = [&](index_t slice, index_t block, Range own) {
        MatrixView dh = work_.partial[static_cast<std::size_t>(slice)].view();
        dh.cols = codes;
        double* squared_error = work_.squared_error.data() + slice * batch_rows();
        if (block == layout_.slice_blocks(slice).begin) {
            for (index_t r = own.begin; r < own.end; ++r) {
                std::fill_n(dh.row(r), width, 0.0f);
                squared_error[r] = 0.0;
            }
        }
        decode(block, own, dh, squared_error);
    };
    walk_blocks(work_.batch, options_.num_threads, catch_up, decode_rows,
                [&](index_t block) { update_decoder(block); });
}

// decode_block() has replaced each target by 2 (output - target).
void Trainer::store_predictions(const CsrView& matrix, const RowTransform& transform,
                                const EpochBatch& batch, float* predictions) const {
    const Batch& cells = work_.batch;
    parallel_ranges(
        batch.count, kRowsPerPiece, options_.num_threads, [&](index_t begin, index_t end) {
            for (index_t r = begin; r < end; ++r) {
                const index_t row = batch.ids[r];
                for (index_t b = 0; b < layout_.blocks(); ++b) {
                    const Batch::Segment own = cells.segment(b, r);
                    for (index_t i = own.begin; i < own.end; ++i) {
                        const index_t place = matrix.indptr[row] + cells.place()[i];
                        predictions[place] = transform.target(matrix.values[place], row,
                                                              matrix.indices[place], place) +
                                             0.5f * cells.error()[i];
                    }
                }
            }
        });
}

void Trainer::backward(float hidden_decay, const Reduction& reduce) {
    const OptimizerStep& step = steps_.back();
    const index_t rows = work_.batch.rows();
    const int threads = options_.num_threads;
    const std::size_t layers = model_.shape.hidden.size();
    const Activation activation = model_.shape.hidden_activation;

    Matrix& last = work_.error.back();
    if (reduce) {
        // a row more tells all machines of a loss that is not finite on one
        for (index_t s = 0; s < layout_.slices(); ++s) {
            float* flags = work_.partial[static_cast<std::size_t>(s)].row(rows);
            std::fill_n(flags, last.width(), 0.0f);
            if (!std::isfinite(slice_loss(s, rows))) flags[0] = 1.0f;
        }
        sum_parts(work_.partial, rows + 1, last, reduce, threads);
        diverged_ = last.row(rows)[0] > 0.0f;
    } else {
        sum_parts(work_.partial, rows, last, reduce, threads);
    }
    for (std::size_t l = layers; l-- > 0;) {
        Matrix& error = work_.error[l];
        parallel_ranges(rows, kRowsPerPiece, threads, [&](index_t begin, index_t end) {
            for (index_t r = begin; r < end; ++r) {
                through_activation(activation, work_.before[l].row(r), work_.after[l].row(r),
                                   work_.kept.empty() ? nullptr : work_.kept[l].row(r),
                                   error.row(r), error.width());
            }
            if (l > 0) {
                multiply_rows_transposed(error.view(), model_.hidden[l - 1].weights.view(), begin,
                                         end, work_.error[l - 1].view());
            } else if (in_halves()) {
                work_.first_error.round(error, begin, end);
            }
        });
        sum_columns(error.view(), rows, trained_.bias_gradient[l].row(0));
        Parameter& bias = l == 0 ? trained_.encoder_bias : trained_.hidden_bias[l - 1];
        bias.step(trained_.bias_gradient[l], step.with_decay(0.0f));
        if (l > 0) {
            Matrix& gradient = trained_.hidden_gradient[l - 1];
            parallel_ranges(gradient.cols(), kColumnsPerPiece, threads,
                            [&](index_t begin, index_t end) {
                                multiply_columns(work_.after[l - 1].view(), error.view(), rows,
                                                 begin, end, gradient.view());
                            });
            trained_.hidden[l - 1].step(gradient, step.with_decay(hidden_decay));
        }
    }
}

void Trainer::encode_matrix(const CsrView& matrix, const RowTransform& transform, MatrixView codes,
                            const Reduction& reduce) {
    require_unfinished();
    join_weights();
    isthmus::encode_matrix(model_, work_, layout_, matrix, transform, options_.num_threads, codes,
                           reduce);
}

std::vector<Matrix*> Trainer::state() {
    require_unfinished();
    join_weights();
    return trained_.state();
}

std::vector<Matrix*> Trainer::gradients() {
    require_unfinished();
    std::vector<Matrix*> states;
    for (Parameter* parameter : trained_.parameters()) states.push_back(&parameter->state[0]);
    return states;
}

void Trainer::keep_best() {
    require_unfinished();
    join_weights();
    best_.keep(model_.parameters());
}

void Trainer::restore_best() {
    require_unfinished();
    join_weights();
    best_.restore(model_.parameters());
}

}  // namespace isthmus
