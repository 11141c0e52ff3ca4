#pragma once
// Training an autoencoder on observed cells by mini-batches of rows.
//
//     min over the weights of  sum over rows, observed cells of w (reconstruction - target)^2
//                              + (lambda / 2) (||V||^2 + ||W||^2) + (lambda_A / 2) ||A||^2
//
// where w is a cell's own weight, or 1. A batch's step has the gradient of its own rows' errors and
// its share of the rows of the decay: exactly what a dense framework computes with masked squared
// loss and the same optimizer.
//
// Every step moves every weight, by its decay and by what the optimizer remembers. Columns without
// a cell in the batch skip it, and catch up when a batch next reads them (sparse_kernels.hpp): up
// to kMostExactSteps skipped in a row come to the same bits, more to nearly the same weights. The
// encoder's step on a batch is taken while the next batch is encoded, which reads the same weights.
// So the time of an epoch depends on its cells, and on few steps a column, however many batches it
// has.

#include <cstdint>
#include <optional>
#include <vector>

#include "isthmus/batches/batch.hpp"
#include "isthmus/batches/column_layout.hpp"
#include "isthmus/core/csr.hpp"
#include "isthmus/core/parallel.hpp"
#include "isthmus/core/types.hpp"
#include "isthmus/models/autoencoder.hpp"
#include "isthmus/nn/epoch.hpp"
#include "isthmus/nn/layers.hpp"
#include "isthmus/nn/optimizers.hpp"
#include "isthmus/nn/parameter.hpp"

namespace isthmus {

struct TrainingOptions {
    OptimizerOptions optimizer;
    float regularization = 0.0f;         // lambda of V and W
    float hidden_regularization = 0.0f;  // lambda of A, between hidden layers
    float bias_regularization = 0.0f;    // of the outputs' biases
    index_t batch_size = 256;
    Corruption corruption = Corruption::none;
    float corruption_level = 0.0f;
    float dropout = 0.0f;
    // Of the encoder's and the decoder's weights and of what they are multiplied with. In bfloat16
    // the optimizer's state is in halves as well; weights are whole floats between epochs.
    Precision precision = Precision::float32;
    // Whether corruption is drawn as for the transposed matrix.
    bool transposed = false;
    std::uint64_t seed = 0;
    int num_threads = 1;
    // If columns are split over machines, for each of this one's: its number among all, by which
    // corruption is drawn; the number by which its state is rounded; and, for sums by slices,
    // its slice.
    std::vector<std::int32_t> columns, rounding, slice_of;
};

struct EpochResult {
    double squared_error = 0.0;  // on the targets' scale, weighted sum over the epoch's cells
    index_t cells = 0;
};

// Seconds that the parts of all batches have taken, to see where the time goes.
struct PhaseSeconds {
    double assemble = 0.0;
    double encode = 0.0;    // with the encoder's step on the batch before
    double decode = 0.0;    // with the codes' errors and the decoder's step
    double backward = 0.0;  // through the hidden layers, with their steps
    double settle = 0.0;    // the steps that columns have skipped
};

struct Evaluation {
    EpochResult errors;
    double penalty = 0.0;  // lambda / 2 times the squared weights

    double loss() const { return errors.squared_error + penalty; }
};

class Trainer {
public:
    // Reorders the model's columns by the layout until finish(). In bfloat16 an epoch leaves the
    // model's weights split, which encode_matrix(), keep_best(), restore_best() and finish() join.
    Trainer(Autoencoder& model, const std::vector<std::int64_t>& popularity, index_t rows,
            TrainingOptions options);
    ~Trainer();
    Trainer(const Trainer&) = delete;
    Trainer& operator=(const Trainer&) = delete;

    index_t inputs() const { return model_.shape.inputs; }
    index_t code_size() const { return model_.code_size(); }

    // One pass over the rows that hold any cell, in an order drawn for this epoch. `rates` has a
    // learning rate for each batch, or one for all. `predictions` (or null) gets the output for
    // every cell of the matrix, by its batch's weights and its corrupted inputs, on the targets'
    // scale; it needs an identity output and cells without weights. `poll` is called
    // before each batch with the number of rows done; if it throws, the weights stay as after the
    // last whole batch (while it runs, some have steps to catch up). If columns are split over
    // machines, `filled` lists the rows that hold a cell on any of them, in ascending order, so
    // that all draw the same batches.
    EpochResult run_epoch(const CsrView& matrix, const RowTransform& transform, index_t epoch,
                          const std::vector<float>& rates, const Poll& poll,
                          const Reduction& reduce,
                          const std::optional<std::vector<std::int32_t>>& filled = {},
                          float* predictions = nullptr);

    // Whether columns come in slices whose sums other machines add.
    bool by_slices() const { return !options_.slice_of.empty(); }

    // The squared error of the last epoch in each slice of columns.
    const std::vector<double>& slice_errors() const { return slice_errors_; }

    // The loss over all rows, and its gradient in gradients(), for optimizers outside of the core.
    // The weights stay, so long as the loss is finite. Throws std::logic_error unless the trainer's
    // optimizer is momentum, in float32, without corruption and dropout. `epoch` is what Diverged
    // names.
    Evaluation evaluate(const CsrView& matrix, const RowTransform& transform, index_t epoch,
                        const Poll& poll);

    // Gradients of the last evaluation, in the shapes of the model's weights and in their order:
    // encoder, its bias, decoder, its bias, and each hidden layer's weights and bias.
    std::vector<Matrix*> gradients();

    // Codes of every row, uncorrupted, by the model as it stands.
    void encode_matrix(const CsrView& matrix, const RowTransform& transform, MatrixView codes,
                       const Reduction& reduce = {});

    const PhaseSeconds& phases() const { return phases_; }

    // Rows of the model's decoder while it trains: original column -> row.
    const ColumnLayout& layout() const { return layout_; }

    // Keeps a copy of the weights; restores it.
    void keep_best();
    void restore_best();

    // Between epochs, what goes on with the weights: the optimizer's state, up to two matrices a
    // parameter and in the order of the model's parameters; the steps taken so far; the weights
    // that were kept, or none.
    std::vector<Matrix*> state();
    std::vector<Matrix*> best() { return best_.copies(); }
    index_t step() const { return step_; }
    void set_step(index_t step) { step_ = step; }

    // Restores the order of the columns. All of the above throws std::logic_error afterwards.
    void finish();

private:
    void require_unfinished() const;
    // Returns the batch's cells.
    index_t train_batch(const CsrView& matrix, const RowTransform& transform,
                        const EpochBatch& batch, float rate, const Reduction& reduce,
                        float* predictions);
    EpochResult run_batches(const CsrView& matrix, const RowTransform& transform,
                            const std::vector<std::int32_t>& order, index_t epoch,
                            const std::vector<float>& rates, const Poll& poll,
                            const Reduction& reduce, float* predictions);
    void store_predictions(const CsrView& matrix, const RowTransform& transform,
                           const EpochBatch& batch, float* predictions) const;
    double penalty() const;
    double squared_norm(const Matrix& weights) const;
    double slice_loss(index_t slice, index_t rows) const;
    double batch_loss(index_t rows) const;
    void encode_batch(const EpochBatch& batch, const Reduction& reduce);
    void decode_and_update();
    void backward(float hidden_decay, const Reduction& reduce);
    void decode(index_t block, Range rows, MatrixView dh, double* squared_error);
    void update_encoder(index_t block);
    void update_decoder(index_t block);
    void split_weights();
    void join_weights();
    bool in_halves() const { return options_.precision == Precision::bfloat16; }
    TrainedMatrix decoder();
    void settle();
    index_t steps() const { return static_cast<index_t>(steps_.size()); }
    index_t batch_rows() const { return work_.rows(); }

    Autoencoder& model_;
    ColumnLayout layout_;
    TrainingOptions options_;
    Workspace work_;
    TrainedStack trained_;
    BestWeights best_;
    PhaseSeconds phases_;
    index_t step_ = 0;
    std::vector<OptimizerStep> steps_;  // since all columns had last caught up
    ColumnLists before_;                // of the batch whose step the encoder has yet to take
    bool encoder_waits_ = false;
    bool diverged_ = false;  // on any machine
    std::vector<double> slice_errors_;
    bool finished_ = false;
};

}  // namespace isthmus
