#include "isthmus/cdae.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "isthmus/autoencoder.hpp"
#include "isthmus/dense.hpp"
#include "isthmus/negatives.hpp"
#include "isthmus/parallel.hpp"
#include "isthmus/random.hpp"
#include "isthmus/trainer.hpp"

namespace isthmus {

namespace {

constexpr index_t kRowsPerPiece = 16;
constexpr index_t kSampledRows = 32;  // that share one array of marks
constexpr index_t kEncodeRows = 512;

// Codes of batch rows [begin, end).
void encode_rows(const Cdae& model, const Batch& batch, const std::int32_t* ids, index_t begin,
                 index_t end, Matrix& before, Matrix& after) {
    for (index_t r = begin; r < end; ++r) {
        if (ids) {
            std::copy_n(model.users.row(ids[r]), before.width(), before.row(r));
        } else {
            std::fill_n(before.row(r), before.width(), 0.0f);
        }
    }
    for (index_t b = 0; b < batch.layout().blocks(); ++b) {
        encode_block(batch, b, {begin, end}, model.encoder.view(), before.view());
    }
    for (index_t r = begin; r < end; ++r) {
        activate_row(model.shape.activation, model.encoder_bias.row(0), before.row(r), after.row(r),
                     before.cols());
    }
}

}  // namespace

Cdae::Cdae(CdaeShape shape_, std::uint64_t seed, int num_threads)
    : shape(shape_),
      encoder(shape.items, shape.units),
      encoder_bias(1, shape.units),
      users(shape.users, shape.units),
      decoder_bias(1, shape.items) {
    initialize_uniform(encoder, seed, 0, num_threads);
    initialize_uniform(users, seed, 2, num_threads);
    if (!shape.tied) {
        decoder = Matrix(shape.items, shape.units);
        initialize_uniform(decoder, seed, 1, num_threads);
    }
}

std::vector<Matrix*> Cdae::parameters() {
    std::vector<Matrix*> all = {&encoder, &encoder_bias, &users, &decoder_bias};
    if (!shape.tied) all.push_back(&decoder);
    return all;
}

CdaeTrainer::CdaeTrainer(Cdae& model, CdaeOptions options)
    : model_(model),
      options_(options),
      layout_(ColumnLayout::in_order(model.shape.items)),
      batch_rows_(std::min(options.batch_size, std::max<index_t>(model.shape.users, 1))),
      before_(batch_rows_, model.shape.units),
      after_(batch_rows_, model.shape.units),
      error_(batch_rows_, model.shape.units),
      loss_(static_cast<std::size_t>(batch_rows_)),
      indptr_(static_cast<std::size_t>(model.shape.users) + 1),
      bias_gradient_(1, model.shape.units) {
    const auto parameter = [this](Matrix& weights) {
        return Parameter(weights, options_.optimizer.kind);
    };
    encoder_ = parameter(model.encoder);
    encoder_bias_ = parameter(model.encoder_bias);
    users_ = parameter(model.users);
    decoder_bias_ = parameter(model.decoder_bias);
    if (!model.shape.tied) decoder_ = parameter(model.decoder);
}

CdaeResult CdaeTrainer::run_epoch(const CsrView& matrix, index_t epoch, float rate,
                                  const std::function<void(index_t)>& poll) {
    std::vector<std::int32_t> order = filled_rows(matrix);
    shuffle(order, options_.seed, static_cast<std::uint32_t>(epoch));
    const auto rows = static_cast<index_t>(order.size());
    CorruptionPlan corruption{Corruption::mask, options_.corruption, options_.seed,
                              static_cast<std::uint32_t>(epoch)};
    corruption.zeros_are_targets = true;
    CdaeResult result;
    with_team(options_.num_threads, [&] {
        for (index_t begin = 0; begin < rows; begin += batch_rows_) {
            if (poll) poll(begin);
            const index_t count = std::min(batch_rows_, rows - begin);
            std::int32_t* ids = order.data() + begin;
            std::sort(ids, ids + count);
            const CsrView cells = with_negatives(matrix, ids, count, epoch);
            batch_.assemble(cells, ids, count, layout_, {}, corruption, options_.num_threads);
            ++step_;
            const double loss = forward_and_back(ids);
            if (!std::isfinite(loss)) throw Diverged(epoch, begin / batch_rows_);
            update(ids, static_cast<float>(static_cast<double>(count) / static_cast<double>(rows)),
                   rate);
            result.loss += loss;
            result.cells += batch_.nnz();
        }
    });
    return result;
}

CsrView CdaeTrainer::with_negatives(const CsrView& matrix, const std::int32_t* ids, index_t count,
                                    index_t epoch) {
    const index_t items = matrix.cols;
    std::int64_t total = 0;
    for (index_t r = 0; r < count; ++r) {
        const index_t positives = matrix.row_nnz(ids[r]);
        // ids ascend: a row's end is where the next one of the batch begins
        indptr_[static_cast<std::size_t>(ids[r])] = total;
        total += positives + std::min(options_.negatives * positives, items - positives);
        indptr_[static_cast<std::size_t>(ids[r]) + 1] = total;
    }
    if (indices_.size() < static_cast<std::size_t>(total)) {
        indices_.resize(static_cast<std::size_t>(total));
        values_.resize(static_cast<std::size_t>(total));
    }
    const Philox draw(options_.seed, Stream::negatives, static_cast<std::uint32_t>(epoch));
    parallel_ranges(count, kSampledRows, options_.num_threads, [&](index_t begin, index_t end) {
        std::vector<std::uint8_t> marks(static_cast<std::size_t>(items));
        std::vector<std::int32_t> negatives;
        for (index_t r = begin; r < end; ++r) {
            const std::int32_t* positives = matrix.indices + matrix.indptr[ids[r]];
            const index_t n = matrix.row_nnz(ids[r]);
            sample_negatives(draw, static_cast<std::uint32_t>(ids[r]), positives, n, items,
                             options_.negatives * n, marks, negatives);
            const auto at = indptr_[static_cast<std::size_t>(ids[r])];
            std::copy_n(positives, n, indices_.begin() + at);
            std::copy(negatives.begin(), negatives.end(), indices_.begin() + at + n);
            std::fill_n(values_.begin() + at, n, 1.0f);
            std::fill_n(values_.begin() + at + n, negatives.size(), 0.0f);
        }
    });
    return {matrix.rows, items, indptr_.data(), indices_.data(), values_.data()};
}

double CdaeTrainer::forward_and_back(const std::int32_t* ids) {
    DecodeRule rule;
    rule.bias = model_.decoder_bias.row(0);
    rule.logistic = model_.shape.logistic;
    const ConstMatrixView w = model_.output().view();
    parallel_ranges(
        batch_.rows(), kRowsPerPiece, options_.num_threads, [&](index_t begin, index_t end) {
            encode_rows(model_, batch_, ids, begin, end, before_, after_);
            for (index_t r = begin; r < end; ++r) {
                std::fill_n(error_.row(r), error_.width(), 0.0f);
                loss_[static_cast<std::size_t>(r)] = 0.0;
            }
            for (index_t b = 0; b < layout_.blocks(); ++b) {
                decode_block(batch_, b, {begin, end}, w, rule, std::as_const(after_).view(),
                             error_.view(), loss_.data());
            }
            for (index_t r = begin; r < end; ++r) {
                through_activation(model_.shape.activation, before_.row(r), after_.row(r), nullptr,
                                   error_.row(r), error_.width());
            }
        });
    double total = 0.0;
    for (index_t r = 0; r < batch_.rows(); ++r) total += loss_[static_cast<std::size_t>(r)];
    return total;
}

void CdaeTrainer::update(const std::int32_t* ids, float share, float rate) {
    const ConstMatrixView h = std::as_const(after_).view();
    const ConstMatrixView dz = std::as_const(error_).view();
    const OptimizerStep step(options_.optimizer, rate, step_, options_.regularization * share);
    const TrainedMatrix encoder = encoder_.view();
    float* const bias_state[2] = {decoder_bias_.state[0].data(), decoder_bias_.state[1].data()};
    parallel_for(layout_.blocks(), options_.num_threads, [&](index_t block) {
        const ColumnRange columns = layout_.block(block);
        batch_.list_columns(block);
        if (model_.shape.tied) {
            update_tied_columns(batch_.lists(), columns, h, dz, encoder, step);
        } else {
            update_columns(batch_.lists(), columns, Cells::error, h, decoder_.view(), step);
            update_columns(batch_.lists(), columns, Cells::input, dz, encoder, step);
        }
        update_biases(batch_.lists(), columns, model_.decoder_bias.row(0), bias_state, step);
    });
    parallel_ranges(
        batch_.rows(), kRowsPerPiece, options_.num_threads, [&](index_t begin, index_t end) {
            for (index_t r = begin; r < end; ++r) {
                users_.step(error_.row(r), ids[r] * model_.users.stride(), error_.width(),
                            options_.regularization, options_.optimizer, rate, step_);
            }
        });
    sum_columns(dz, batch_.rows(), bias_gradient_.row(0));
    encoder_bias_.step(bias_gradient_, 0.0f, options_.optimizer, rate, step_);
}

void CdaeTrainer::keep_best() { best_.keep(model_.parameters()); }

void CdaeTrainer::restore_best() { best_.restore(model_.parameters()); }

void encode_cdae(const Cdae& model, const CsrView& matrix, bool known, int num_threads,
                 MatrixView codes) {
    const index_t step = std::min(kEncodeRows, std::max<index_t>(matrix.rows, 1));
    const ColumnLayout layout = ColumnLayout::in_order(model.shape.items);
    Matrix before(step, model.shape.units), after(step, model.shape.units);
    Batch batch;
    const auto encode = [&](const std::int32_t* ids, index_t first, index_t count) {
        parallel_ranges(count, kRowsPerPiece, num_threads, [&](index_t begin, index_t end) {
            encode_rows(model, batch, known ? ids : nullptr, begin, end, before, after);
            for (index_t r = begin; r < end; ++r) {
                std::copy_n(after.row(r), codes.cols, codes.row(first + r));
            }
        });
    };
    for_each_batch(batch, matrix, step, layout, {}, num_threads, encode);
}

}  // namespace isthmus
